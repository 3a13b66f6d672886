#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Operations: checkpoints and restarts that go on in the background, are looked at, and cancelled; and the event lines that
they are made of (crs checkpoint --events)."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import NOT_FOUND, OK, USAGE, Case, is_alive, main  # noqa: E402  pylint: disable=wrong-import-position


class Operations(Case):
    def setUp(self):
        super().setUp()
        self.folder = os.path.join(self.work, "snapshots")
        os.mkdir(self.folder, 0o700)
        self.account.own(self.folder)

    def operate(self, what, *more):
        popen = self.start("operations", self.folder, what, *map(str, more))
        self.assertEqual(popen.wait(120), OK, self.text("program.out"))
        return self.text("program.out")

    def made(self):
        """What is in the folder, half-made ones among it."""
        return sorted(os.listdir(self.folder))

    def test_a_process_has_itself_saved_meanwhile(self):
        self.assertEqual(self.operate("oneself"), "CONTINUE\n")
        for _ in range(2):
            self.assertEqual(self.foreground(os.path.join(self.folder, "1")).wait(60), OK)
            self.assertEqual(self.text("program.out"), "RESTART\n")

    def test_they_are_made_one_after_the_other(self):
        self.assertEqual(self.operate("queue"), "done\n")
        self.assertEqual(self.made(), ["1", "3"])
        self.assertEqual(self.foreground(os.path.join(self.folder, "3")).wait(60), OK)

    def test_one_that_is_given_up_leaves_nothing(self):
        self.assertEqual(self.operate("give-up"), "done\n")
        self.assertEqual(self.made(), [])

    def test_another_process_survives_cancelled_ones_and_comes_back(self):
        self.write("memory.py", "import time\nblock = bytearray(b'x' * (48 << 20))\nprint('ready', flush=True)\n"
                                "while True:\n    time.sleep(0.01)\n")
        popen = self.start("python3", "memory.py", out="memory.out")
        self.wait_for_lines("memory.out", 1, 60)
        lines = self.operate("cancel", popen.pid).split("\n")
        self.assert_unharmed(popen.pid)
        made = [line.split()[0] for line in lines if line.endswith(" made")]
        self.assertEqual(self.made(), sorted(made + ["last"]))
        for name in made[:1]:
            self.assertEqual(self.crs("verify", os.path.join(self.folder, name)).status, OK)
        self.kill(popen)
        self.assertEqual(self.operate("restart"), "done\n")
        self.assertFalse(is_alive(popen.pid))

    def test_a_forked_child_has_operations_of_its_own(self):
        self.assertEqual(self.operate("fork"), "done\n")
        self.assertEqual(self.made(), ["1", "child"])

    def test_misuse_is_answered(self):
        self.assertEqual(self.operate("misuse"), "done\n")
        self.assertEqual(self.made(), [])

    def test_a_process_may_end_meanwhile(self):
        for _ in range(5):
            self.assertEqual(self.operate("exit"), "")
        self.assertEqual(self.made(), [])

    def test_the_cpp_interface(self):
        popen = self.start("background", self.folder)
        self.assertEqual(popen.wait(60), OK, self.text("program.out"))
        self.assertEqual(self.text("program.out"), "continued\n")
        self.assertEqual(self.foreground(os.path.join(self.folder, "1")).wait(60), OK)
        self.assertEqual(self.text("program.out"), "restarted\n")

    # ----------------------------------------------------------------------------------------- event lines

    def events(self, *words):
        """Exit status, and what was told."""
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen([self.crs_path, "checkpoint", *map(str, words), "--events", str(writing)], cwd=self.work,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       pass_fds=[writing], env=self.environment(), **self.account.popen_arguments())
            os.close(writing)
            writing = -1
            with os.fdopen(reading, encoding="utf-8") as file:
                reading = -1
                lines = [json.loads(line) for line in file]
            return process.wait(60), lines
        finally:
            for fd in (reading, writing):
                if fd >= 0:
                    os.close(fd)

    def test_event_lines_tell_what_it_is_at(self):
        popen = self.start("/bin/sleep", "100")
        status, lines = self.events(popen.pid, "-o", os.path.join(self.folder, "1"))
        self.assertEqual(status, OK)
        phases = [line["phase"] for line in lines if line["event"] == "phase"]
        self.assertEqual(phases, ["freeze", "collect", "memory", "commit"])
        self.assertTrue(any(line["event"] == "progress" and line["done_bytes"] == line["total_bytes"] > 0 for line in lines))
        self.assertEqual({key: lines[-1][key] for key in ("event", "exit", "dropped")}, {"event": "end", "exit": 0, "dropped": 0})
        times = [line["time_ns"] for line in lines]
        self.assertEqual(times, sorted(times))

    def test_event_lines_tell_why_there_is_no_snapshot(self):
        popen = self.start("/bin/true")
        self.assertEqual(popen.wait(60), OK)
        status, lines = self.events(popen.pid)
        self.assertEqual(status, NOT_FOUND)
        self.assertEqual((lines[-1]["event"], lines[-1]["exit"], lines[-1]["code"]), ("end", NOT_FOUND, "not-found"))

    def test_event_lines_want_a_descriptor_for_writing(self):
        popen = self.start("/bin/sleep", "100")
        with open("/dev/null", encoding="utf-8") as file:
            answer = self.crs("checkpoint", popen.pid, "--events", file.fileno(), pass_fds=[file.fileno()])
        self.assertEqual(answer.status, USAGE, answer)
        self.assert_says(answer, "not open for writing")
        self.assert_unharmed(popen.pid)


if __name__ == "__main__":
    main()
