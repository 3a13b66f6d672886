#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Locks that cannot come back, or on files that are not what they were: named, and before the program runs."""
import fcntl
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, REFUSED, Case, main  # noqa: E402  pylint: disable=wrong-import-position

HOLDER = """
import fcntl, os, sys, time
file = open("data", sys.argv[1])
if sys.argv[2] == "flock":
    fcntl.flock(file, fcntl.LOCK_EX)
else:
    fcntl.lockf(file, fcntl.LOCK_EX, 10, 5)
print("up", flush=True)
while not os.path.exists("go"): time.sleep(0.01)
if sys.argv[2] == "append":
    os.write(file.fileno(), b"more")
    print("more", flush=True)
while not os.path.exists("end"): time.sleep(0.01)
raise SystemExit(3)
"""


class FileLocks(Case):
    def holder(self, sort, mode="r+b"):
        self.write("data", "0123456789")
        popen = self.start("/usr/bin/python3", "-c", HOLDER, mode, sort)
        self.wait_for_lines("program.out", 1)
        return popen

    def saved(self, sort):
        popen = self.holder(sort)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        return snapshot

    def test_a_lock_that_somebody_else_holds_refuses_the_restart(self):
        for sort in ("flock", "record"):
            snapshot = self.saved(sort)
            with open(self.path("data"), "r+b") as other:
                if sort == "flock":
                    fcntl.flock(other, fcntl.LOCK_SH)
                else:
                    fcntl.lockf(other, fcntl.LOCK_EX, 1, 12)
                answer = self.crs("restart", snapshot, "--detach")
                self.assertEqual(answer.status, REFUSED, answer)
                self.assert_says(answer, "exclusive lock", "data", "holds it now", "wait")
                if sort == "record":
                    self.assert_says(answer, f"process {os.getpid()}")
            self.write("go", "")
            self.write("end", "")
            self.assertEqual(self.foreground(snapshot).wait(20), 3)
            os.unlink(self.path("go"))
            os.unlink(self.path("end"))
        self.assert_no_processes()

    def test_a_locked_file_that_was_changed_refuses_the_restart(self):
        snapshot = self.saved("record")
        self.write("data", "0123456780")
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "data", "changed since the checkpoint", "--allow-changed-files")
        self.write("go", "")
        self.write("end", "")
        self.assertEqual(self.foreground(snapshot, "--allow-changed-files").wait(20), 3)
        self.write("data", "0123456789")
        self.assertEqual(self.foreground(snapshot).wait(20), 3, "the content is what it was, whatever its time says")

    def test_a_locked_file_that_the_program_appended_to_is_cut_back(self):
        popen = self.holder("append", "ab")
        snapshot = self.checkpoint(popen.pid)
        self.write("go", "")
        self.wait_for_lines("program.out", 2)
        self.kill(popen)
        self.write("end", "")
        self.assertEqual(self.foreground(snapshot).wait(20), 3)
        self.assertEqual(self.bytes("data"), b"0123456789more", "cut back, and appended again")

    def test_a_lock_of_a_shared_open_file_is_refused(self):
        self.write("data", "")
        with open(self.path("data"), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            popen = self.start("rows", "out", "20", "20", pass_fds=[file.fileno()])
            self.wait_for_lines("out", 2)
            answer = self.crs("checkpoint", popen.pid, "-o", self.path("refused"))
            if self.account.is_root or os.geteuid() != 0:  # a user may not look into this process where it is root's
                self.assertEqual(answer.status, REFUSED, answer)
                self.assert_says(answer, f"fd {file.fileno()}", "data", f"process {os.getpid()}", "lock")
                self.assertEqual(popen.wait(20), 0)
                return
            self.assertEqual(answer.status, OK, answer)
            self.kill(popen)
            answer = self.crs("restart", self.path("refused"), "--detach")
            self.assertEqual(answer.status, REFUSED, answer)
            self.assert_says(answer, "data", "lock", "holds it now")


if __name__ == "__main__":
    main()
