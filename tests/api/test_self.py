#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that save their own state (component self): what they protected and wrote is there again after a restart."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import BAD_SNAPSHOT, OK, REFUSED, RESTART_FAILED, Case, main, signal, state_letter, wait_until  # noqa: E402  pylint: disable=wrong-import-position


class Self(Case):
    def begin(self, *words, mode=""):
        read_end, self.write_end = os.pipe()
        self.write("mode", mode)
        popen = self.start("self_state", *words, stdin=read_end)
        os.close(read_end)
        self.addCleanup(os.close, self.write_end)
        self.count = 2 + sum(word.count("\n") for word in words)
        self.wait_for_lines("program.out", self.count)
        self.assertEqual(self.text("program.out"),
                         "restarted 0 of 0, CRS_SUCCESS \n" + "".join(f"[{word}]" for word in words) + "\n")
        return popen

    def say(self, line, answer):
        os.write(self.write_end, line.encode() + b"\n")
        self.wait_for_lines("program.out", self.count + 1)
        self.count += 1
        self.assertEqual(self.text("program.out").split("\n")[self.count - 1], answer)

    def again(self, snapshot, *lines, **environment):
        """Exit status and output lines of the restarted program."""
        done = subprocess.run([self.crs_path, "restart", snapshot], input="".join(line + "\n" for line in lines), text=True,
                              capture_output=True, cwd=self.work, env={**self.environment(), **environment}, timeout=60,
                              check=False, **self.account.popen_arguments())
        self.log.append(done)
        return done.returncode, done.stdout.split("\n")[:-1], done.stderr

    def test_state_is_there_again_and_again(self):
        popen = self.begin()
        self.say("set first state", "set")
        first = self.checkpoint(popen.pid, "--component", "self")
        self.say("show", "text first state, continued 1")
        self.say("set changed", "set")
        self.kill(popen)
        second = self.path("second")
        status, lines, _ = self.again(first, "show", f"save {second}", "end")
        self.assertEqual((status, lines), (9, ["restarted 1 of 1, CRS_SUCCESS ", "", "text first state, continued 0",
                                               "CRS_SUCCESS ", "CRS_SUCCESS "]))
        self.assertEqual(self.again(second, "show")[1][:3], ["restarted 1 of 2, CRS_SUCCESS ", "", "text first state, continued 0"])
        self.assertEqual(self.crs("verify", first).status, OK)
        shown = json.loads(self.crs("inspect", first, "--json").out)["sections"]["self"]
        self.assertEqual(shown["regions"], [{"name": "text", "bytes": 100}, {"name": "other", "bytes": 9000}])
        self.assertEqual(shown["sections"], [{"name": "empty", "bytes": 0}, {"name": "how", "bytes": 11}])

    def test_callbacks_are_found_by_their_names(self):
        for mode in ("symbols", "prefix"):
            with self.subTest(mode=mode):
                popen = self.begin(mode=mode)
                self.say("set by name", "set")
                snapshot = self.checkpoint(popen.pid, "--component", "self")
                self.kill(popen)
                self.assertEqual(self.again(snapshot, "show")[1][:3], ["restarted 1 of 1, CRS_SUCCESS ", "", "text by name, continued 0"])

    def test_a_callback_that_fails_leaves_nothing(self):
        popen = self.begin()
        self.say("set kept", "set")
        self.say("fail", "failing")
        answer = self.crs("checkpoint", popen.pid, "--component", "self", "-o", self.path("none"))
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "answered 7")
        self.assertEqual([name for name in os.listdir(self.cwd) if "none" in name], [])
        self.say("show", "text kept, continued 0")
        self.checkpoint(popen.pid)  # that of another component does not call it

    def test_words_survive(self):
        words = ["", "a b", "'\"\\", "$(id)", "two\nlines", "x"]
        popen = self.begin(*words)
        snapshot = self.checkpoint(popen.pid, "--component", "self")
        self.kill(popen)
        _, lines, _ = self.again(snapshot)
        self.assertEqual("\n".join(lines[1:-1]), "".join(f"[{word}]" for word in words))

    def test_a_restart_command_of_its_own(self):
        popen = self.begin(mode="command")
        self.say("set commanded", "set")
        snapshot = self.checkpoint(popen.pid, "--component", "self")
        self.kill(popen)
        there = self.path("there")
        status, lines, err = self.again(snapshot, "show")
        self.assertEqual((status, lines), (RESTART_FAILED, []), err)  # it is not there yet
        os.mkdir(there)
        self.account.own(there)
        self.write("there/mode", "")
        status, lines, err = self.again(snapshot, "show", "where")
        self.assertEqual(lines[:4], ["restarted 1 of 1, CRS_SUCCESS ", "[other words][]", "text commanded, continued 0",
                                     f"{there} ONE of its own HOME (none)"], err)

    def test_it_may_end_or_stop_the_process(self):
        popen = self.begin()
        self.say("set stopped", "set")
        self.checkpoint(popen.pid, "--component", "self", "--stop", "-o", self.path("stop"))
        wait_until(lambda: state_letter(popen.pid) == "T", 60, "the stop")
        popen.send_signal(signal.SIGCONT)  # the continue callback is called some time after it
        self.say("set stopped", "set")
        self.say("set ended", "set")
        self.checkpoint(popen.pid, "--component", "self", "--term", "-o", self.path("term"))
        self.assertEqual(popen.wait(60), -signal.SIGKILL)
        for name, text in (("stop", "stopped"), ("term", "ended")):
            self.assertEqual(self.again(self.path(name), "show")[1][2], f"text {text}, continued 0")

    def test_no_snapshot_holds_half_a_section(self):
        """Threads enter and leave sections, and children are forked, while the gate is closed and opened."""
        popen = self.start("self_threads")
        self.wait_for_lines("program.out", 1, 60)
        snapshots = [self.checkpoint(popen.pid, "--component", "self") for _ in range(12)]
        self.write("enough", "")
        self.assertEqual(popen.wait(60), OK, self.text("program.out"))
        last = -1
        for snapshot in snapshots:
            status, lines, err = self.again(snapshot)
            self.assertEqual((status, lines[0].split()[0]), (OK, "equal"), err)
            self.assertGreaterEqual(int(lines[0].split()[1]), last)
            last = int(lines[0].split()[1])
        self.assertGreater(last, 0)

    def test_what_does_not_fit_is_named_and_not_loaded(self):
        for mode, name in (("less", "'text'"), ("large", "'text' has 99"), ("more", "'third'")):
            with self.subTest(mode=mode):
                popen = self.begin()
                snapshot = self.checkpoint(popen.pid, "--component", "self")
                self.kill(popen)
                self.write("mode", mode)
                status, lines, _ = self.again(snapshot)
                self.assertEqual((status, len(lines)), (3, 1))
                self.assertIn(name, lines[0])
                self.assertIn("CRS_ERR_REFUSED", lines[0])
                self.assertIn("nothing was loaded", lines[0])

    def test_a_damaged_snapshot_starts_nothing(self):
        popen = self.begin()
        self.say("set " + "x" * 90, "set")
        snapshot = self.checkpoint(popen.pid, "--component", "self", "--compress", "none")
        self.kill(popen)
        path = os.path.join(snapshot, "pages-0.bin")
        data = bytearray(self.bytes(path))
        data[data.index(b"x" * 80)] ^= 1
        with open(path, "wb") as file:
            file.write(data)
        self.assertEqual(self.crs("verify", snapshot).status, BAD_SNAPSHOT)
        status, lines, _ = self.again(snapshot)
        self.assertEqual((status, lines), (RESTART_FAILED, []))

    def test_a_process_that_has_no_state_of_its_own_is_refused(self):
        popen = self.start("/bin/sleep", "100")
        answer = self.crs("checkpoint", popen.pid, "--component", "self", "-o", self.path("none"))
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_unharmed(popen.pid)

    def test_a_stencil_goes_on_with_another_build_to_the_last_bit(self):
        self.run_to_end("stencil", "300", "whole", out="whole.out")
        popen = self.start("stencil", "100000000", "rest", out="part.out")
        self.wait_for_lines("part.out", 1)
        snapshot = self.checkpoint(popen.pid, "--component", "self")
        self.kill(popen)
        self.assertEqual(self.crs("verify", snapshot).status, OK)
        self.run_to_end("stencil", "300", "rest", out="again.out", environment={"STENCIL_SAVE_AT": "100", "STENCIL_PLAIN":
                        self.program("stencil_plain"), "CRS_STORE": self.store})
        process = self.foreground("stencil")
        self.assertEqual(process.wait(60), OK)
        self.assertEqual(self.bytes("rest"), self.bytes("whole"))


if __name__ == "__main__":
    main()
