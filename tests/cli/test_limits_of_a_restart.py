#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A restart that takes too long or is not wanted any more ends at once, and nothing is left of the half-made process."""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, TIMED_OUT, Case, exists, main, status_field, wait_until  # noqa: E402  pylint: disable=wrong-import-position

MEGABYTES = "700"  # filling so much takes longer than the limits below


class Limits(Case):
    def make(self):
        popen = self.start("memory", MEGABYTES)
        self.wait_for_lines("program.out", 1, 60)
        snapshot = self.checkpoint(popen.pid, "--compress", "none")
        self.kill(popen)
        with open(os.path.join(snapshot, "manifest.json"), encoding="utf-8") as file:
            return snapshot, json.load(file)["pid"]

    def assert_nothing_left(self, pid):
        self.assert_no_processes()
        self.assertFalse(exists(pid) and self.account.is_root, f"there is a process {pid}")

    @staticmethod
    def listens(pid):
        """Whether the process catches SIGINT and SIGTERM, as crs does once it has read its arguments."""
        caught = int(status_field(pid, "SigCgt") or "0", 16)
        return all(caught >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM))

    def test_time_limit_holds_while_the_process_is_rebuilt(self):
        snapshot, pid = self.make()
        for where in ("auto", "namespace"):
            answer = self.crs("restart", snapshot, "--detach", "--pid", where, "--timeout", "40ms", seconds=20)
            self.assertEqual(answer.status, TIMED_OUT, answer)
            self.assert_says(answer, "time limit", "--timeout")
            self.assert_nothing_left(pid)
        restored = self.restart(snapshot, "--timeout", "60")
        os.kill(restored, signal.SIGTERM)  # it checks all of its memory
        self.wait_gone(restored)

    def test_interrupt_is_answered_while_the_process_is_rebuilt(self):
        snapshot, pid = self.make()
        for number in (signal.SIGINT, signal.SIGTERM):
            for where in ("auto", "namespace"):
                for delay in (None, 0, 0.06, 0.18):  # after it listens to signals; None: before it may
                    process = subprocess.Popen([self.crs_path, "restart", snapshot, "--detach", "--pid", where], cwd=self.work,
                                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                               env=self.environment(), **self.account.popen_arguments())
                    if delay is None:
                        time.sleep(0.02)
                    else:
                        wait_until(lambda p=process: p.poll() is not None or self.listens(p.pid), 20, "crs listening")
                        time.sleep(delay)
                    process.send_signal(number)
                    out, err = process.communicate(timeout=20)
                    if process.returncode == OK:  # it was faster
                        restored = int(out)
                        os.kill(restored, signal.SIGKILL)
                        self.wait_gone(restored)
                        continue
                    self.assertEqual(process.returncode, -number, err)
                    if delay is not None:
                        self.assertIn("interrupted", err)
                    self.assert_nothing_left(pid)


if __name__ == "__main__":
    main()
