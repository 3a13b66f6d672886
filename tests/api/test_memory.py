#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that a program excludes from its snapshots, includes all the same, and rebuilds after a restart."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import (OK, REFUSED, RESTART_FAILED, TIMED_OUT, NOT_FOUND, Case, child_pids, exists, is_alive, main, status_field,  # noqa: E402  pylint: disable=wrong-import-position
                  wait_until)  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20
LEAST = 16 * MIB  # what is left out of every snapshot of the program


class Memory(Case):
    def run_program(self, *words):
        popen = self.start("regions", *words)
        self.wait_for_lines("program.out", 1)
        return popen

    def give(self, what):
        self.write("order", "")
        os.rename(self.path("order"), self.path(what))

    def order(self, what):
        """The line with which the program answers."""
        count = self.bytes("program.out").count(b"\n")
        self.give(what)
        self.wait_for_lines("program.out", count + 1)
        return self.text("program.out").split("\n")[count]

    def check(self):
        self.assertEqual(self.order("check"), "well")

    def size(self, snapshot):
        return sum(os.path.getsize(os.path.join(snapshot, name)) for name in os.listdir(snapshot))

    def saved(self, pid, *more):
        """The path, and what the checkpoint tells."""
        self.snapshot_count += 1
        answer = self.crs("checkpoint", pid, "-o", self.path(f"snapshot.{self.snapshot_count}"), "--compress", "none", "--json", *more)
        self.assertEqual(answer.status, OK, answer)
        told = json.loads(answer.out)
        return told["snapshot"], told

    def left_out(self, snapshot):
        return json.loads(self.crs("inspect", snapshot, "--json").out)["sections"].get("left_out", [])

    # ------------------------------------------------------------------------------ the ordinary way

    def test_what_is_excluded_is_not_saved_and_all_else_is(self):
        for words in ((), ("rebuild",), ("many",)):
            with self.subTest(words=words):
                popen = self.run_program(*words)
                snapshot, told = self.saved(popen.pid)
                self.assertGreater(told["left_out_bytes"], LEAST)
                self.assertLess(self.size(snapshot), told["memory_bytes"] + 4 * MIB)
                self.check()
                self.kill(popen)
                pid = self.restart(snapshot)
                self.check()
                self.check()
                # Once more, in the process that was restored.
                again, told_again = self.saved(pid)
                self.assertEqual(told_again["left_out_bytes"], told["left_out_bytes"])
                self.kill(pid)
                process = self.foreground(again)
                self.check()
                self.give("end")
                self.assertEqual(process.wait(30), OK)

    def test_a_snapshot_is_smaller_by_what_is_left_out(self):
        popen = self.run_program("many")
        snapshot, told = self.saved(popen.pid)
        resident = int(status_field(popen.pid, "RssAnon").split()[0])
        self.assertLess(told["memory_bytes"], (resident << 10) - told["left_out_bytes"] + 10 * MIB)
        self.assertLess(self.size(snapshot), 24 * MIB)
        self.assertGreater(told["left_out_bytes"], LEAST + 2500 * 4096)
        self.assertGreaterEqual(told["left_out_regions"], 2500)

    def test_it_is_told_with_labels_and_reasons(self):
        popen = self.run_program("rebuild")
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("s"))
        self.assertRegex(answer.err, r"of memory, 20 MiB in 7 regions left out\)")
        rows = {row["label"]: row for row in self.left_out(self.path("s"))}
        self.assertEqual(rows["scratch"]["reason"], "excluded by the program")
        self.assertEqual(rows["scratch"]["bytes"], 4 * MIB - 2 * 4096)
        self.assertEqual(rows["arena"]["bytes"], 4 * MIB - 2 * 4096)
        self.assertEqual(rows["kept"]["reason"], "included by the program")
        self.assertEqual(rows["kept"]["bytes"], 2 * 4096)
        self.assertEqual(rows["cache"]["comes_back_as"], "rebuilt by the program")
        self.assertEqual(rows["shared"]["bytes"], 4 * MIB - 2 * 4096)
        self.assertEqual(rows["of a file"]["bytes"], 4 * 4096)
        self.assertEqual((rows["to a file"]["bytes"], rows["unmapped"]["bytes"]), (0, 0))
        self.assertNotIn("libcrs", rows)
        text = self.crs("inspect", self.path("s")).out
        self.assertRegex(text, r"memory .* \(20 MiB were left out\)")
        self.assertIn("label cache", text)
        manifest = json.loads(self.text("s/manifest.json"))
        self.assertEqual(manifest["format_version"], 2)  # an older crs would not rebuild anything
        self.check()

    def test_a_check_counts_it_apart(self):
        popen = self.run_program()
        answer = self.crs("check", popen.pid, "--json")
        self.assertEqual(answer.status, OK, answer)
        told = json.loads(answer.out)
        snapshot, saved = self.saved(popen.pid)
        for key in ("left_out_bytes", "left_out_regions"):
            self.assertEqual(told[key], saved[key])
        self.assertLess(abs(told["memory_bytes"] - saved["memory_bytes"]), MIB)
        self.assertRegex(self.crs("check", popen.pid).out, r"space: at most .* left out")
        self.assertEqual(json.loads(self.text(os.path.join(snapshot, "manifest.json")))["format_version"], 1)

    def test_other_components_are_not_concerned(self):
        popen = self.run_program("rebuild")
        snapshot = self.checkpoint(popen.pid, "--component", "none", "--skip-dontdump")
        self.kill(popen)
        process = self.foreground(snapshot)
        wait_until(lambda: "ready\n" in self.text("restart.err"), 30, "the program that was started anew")
        self.give("check")
        wait_until(lambda: "well\n" in self.text("restart.err"), 30, "its answer")
        self.give("end")
        self.assertEqual(process.wait(30), OK)

    def test_saving_itself(self):
        popen = self.run_program("rebuild")
        self.assertEqual(self.order("self"), "CONTINUE spared well")
        self.kill(popen)
        count = self.bytes("program.out").count(b"\n") - 1  # what it had not told yet when it was saved
        process = self.foreground(self.path("own"))
        wait_until(lambda: self.text("program.out").count("\n") > count and "RESTART" in self.text("program.out"), 30, "the restart")
        self.assertIn("RESTART spared well\n", self.text("program.out"))
        self.check()
        self.give("end")
        self.assertEqual(process.wait(30), OK)

    def test_the_cpp_interface(self):
        popen = self.start("guards", self.path("guarded"))
        self.assertEqual(popen.wait(60), OK, self.text("program.out"))
        self.assertEqual(self.text("program.out"), "continued\n")
        self.assertEqual(self.foreground(self.path("guarded")).wait(60), OK)
        self.assertEqual(self.text("program.out"), "restarted\n")
        self.assertEqual([row["label"] for row in self.left_out(self.path("guarded")) if row["bytes"]], ["zeros", "included", "rebuilt"])

    # ------------------------------------------------------------------------------------ going back

    def test_rolling_back(self):
        for words in ((), ("rebuild",)):
            popen = self.run_program(*words)
            snapshot, _ = self.saved(popen.pid)
            self.check()
            answer = self.crs("rollback", popen.pid, snapshot)
            if words and not self.account.is_root:
                self.assertEqual(answer.status, REFUSED, answer)
            else:
                self.assertEqual(answer.status, OK, answer)
            self.check()
            self.give("end")
            self.assertEqual(popen.wait(30), OK)

    def test_save_points(self):
        for words in ((), ("rebuild",), ("plain",), ("plain", "rebuild")):
            popen = self.run_program(*words)
            self.give("point")
            # What it told before it went back is cut off.
            refused = words == ("rebuild",) and not self.account.is_root
            wanted = "ready\nCONTINUE well\nCRS_ERR_REFUSED\n" if refused else "ready\nRESTART well\n"
            wait_until(lambda w=wanted: self.text("program.out") == w, 30, wanted)
            self.check()
            self.give("end")
            self.assertEqual(popen.wait(30), OK)

    def test_restarting_in_place(self):
        popen = self.run_program()
        snapshot, _ = self.saved(popen.pid)
        self.kill(popen)
        process = self.foreground(snapshot, "--pid", "namespace")
        self.check()
        self.give("end")
        self.assertEqual(process.wait(30), OK)

    # -------------------------------------------------------------------------------------- failures

    def failed(self, word, status, *said, more=()):
        popen = self.run_program("rebuild", word)
        snapshot, _ = self.saved(popen.pid)
        self.check()
        self.kill(popen)
        files = {name: self.bytes(os.path.join(snapshot, name)) for name in ("manifest.json", "state.pb")}
        for detach in (["--detach"], []):
            answer = self.crs("restart", snapshot, *detach, *more)
            self.assertEqual(answer.status, status if detach else RESTART_FAILED, answer)
            self.assert_says(answer, *said)
        self.assertFalse(exists(popen.pid))
        self.assert_no_processes()
        for name, content in files.items():
            self.assertEqual(self.bytes(os.path.join(snapshot, name)), content)
        self.assertEqual(self.crs("verify", snapshot).status, OK)

    def test_one_that_fails_fails_the_restart(self):
        self.failed("fail", REFUSED, "'cache' answered 7")

    def test_one_that_hangs_fails_it_after_a_limit(self):
        self.failed("hang", TIMED_OUT, "rebuilding its memory 'cache'", "service.hook_limit", more=("--param", "service.hook_limit=1"))

    def test_one_that_hangs_ends_with_the_deadline(self):
        # Of a pid namespace, who is outside may be the first to say so.
        self.failed("hang", TIMED_OUT, "time limit", ("rebuilding its memory 'cache'", "was being rebuilt"), more=("--timeout", "2"))

    def test_one_that_ends_the_process_fails_it(self):
        self.failed("crash", NOT_FOUND, "ended while it was rebuilding its memory 'cache'")

    def test_a_restart_that_is_killed_meanwhile_leaves_nobody(self):
        popen = self.run_program("rebuild", "hang")
        snapshot, _ = self.saved(popen.pid)
        self.kill(popen)
        # In a pid namespace its init goes on without crs, until the limit.
        more = ["--pid", "same"] if self.account.is_root else ["--param", "service.hook_limit=2"]
        process = self.foreground(snapshot, *more)

        def restored():
            pid = process.pid
            while children := child_pids(pid):
                pid = children[0]
            return pid if pid != process.pid and status_field(pid, "Name") == "regions" else 0
        wait_until(restored, 30, "the process that is being restored")
        pid = restored()
        process.kill()
        process.wait(10)
        wait_until(lambda: not is_alive(pid), 30, "the end of the half-made process")

    def test_rolling_back_that_fails_ends_the_process_and_says_so(self):
        if not self.account.is_root:
            self.skipTest("with threads only root rolls back")
        popen = self.run_program("rebuild", "fail")
        snapshot, _ = self.saved(popen.pid)
        answer = self.crs("rollback", popen.pid, snapshot)
        self.assertNotEqual(answer.status, OK)
        self.assert_says(answer, "'cache' answered 7", "point of no return")
        self.assertNotEqual(popen.wait(30), OK)

    # -------------------------------------------------------------------------------------- children

    def test_a_forked_child_has_its_parents_regions(self):
        for words, rebuilt in ((("rebuild",), False), (("rebuild", "init"), True)):
            with self.subTest(words=words):
                popen = self.run_program(*words)
                self.give("fork")
                wait_until(lambda p=popen: child_pids(p.pid), 20, "the child")
                child = child_pids(popen.pid)[0]
                os.kill(popen.pid, 9)
                popen.wait(10)
                if rebuilt:
                    wait_until(lambda c=child: len(os.listdir(f"/proc/{c}/task")) == 2, 20, "the child's thread")
                answer = self.crs("checkpoint", child, "-o", self.path(f"of.{rebuilt}"))
                self.assertEqual(answer.status, OK, answer)
                rows = {row["label"]: row for row in self.left_out(self.path(f"of.{rebuilt}"))}
                self.assertEqual(rows["scratch"]["bytes"], 4 * MIB - 2 * 4096)
                self.assertEqual("cache" in rows, rebuilt)
                self.assertEqual("no thread of it is ready" in answer.err, not rebuilt, answer)
                self.kill(child)


if __name__ == "__main__":
    main()
