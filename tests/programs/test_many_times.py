#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong only now and then: many restarts from one snapshot, many checkpoints of one process."""
import os
import resource
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, Case, main  # noqa: E402  pylint: disable=wrong-import-position

TIMES = int(os.environ.get("CRS_TEST_TIMES", "15"))
BEAT = "60"  # milliseconds: `growing` must outlive the start of crs, which a sanitized one takes its time for


class ManyTimes(Case):
    def test_restarts_with_every_layout_of_the_restorer(self):
        """The kernel places heap, stack and vdso of the restorer anew each time; the program's must fit in each time."""
        popen = self.start("growing", "12", BEAT)
        self.wait_for_lines("program.out", 3)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        for number in range(TIMES):
            restarted = self.foreground(snapshot)
            self.assertEqual(restarted.wait(20), 0, f"restart {number + 1}")
            self.assertEqual(self.text("program.out"), "".join(f"beat {n}\n" for n in range(1, 13)))

    def test_restart_with_an_unlimited_stack(self):
        """The restorer then has the old layout, with its mappings growing upwards."""
        popen = self.start("growing", "12", BEAT)
        self.wait_for_lines("program.out", 3)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)

        def unlimited():
            resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY:
            self.skipTest("the stack may not be unlimited here")
        self.assertEqual(self.foreground(snapshot, preexec_fn=unlimited).wait(20), 0)

    def test_restart_without_address_space_randomisation(self):
        popen = self.start("growing", "12", BEAT)
        self.wait_for_lines("program.out", 3)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        restarted = subprocess.Popen(["setarch", "-R", self.crs_path, "restart", snapshot], stdin=subprocess.DEVNULL,
                                     env=self.environment(), cwd=self.work, **self.account.popen_arguments())
        self.popens.append(restarted)
        self.assertEqual(restarted.wait(20), 0)

    def test_program_without_address_space_randomisation(self):
        popen = self.start("setarch", "-R", self.program("growing"), "12", BEAT)
        self.wait_for_lines("program.out", 3)
        self.assertEqual(self.there_and_back(popen, lambda _: None), 0)

    def test_checkpoints_under_load(self):
        popen = self.start("endure", "beats")
        time.sleep(0.1)
        for number in range(TIMES):
            answer = self.crs("checkpoint", popen.pid, "-o", self.path(f"s{number}"))
            self.assertEqual(answer.status, OK, answer)
        self.write("stop", "")
        self.assertEqual(popen.wait(20), 0, self.text("program.out.err"))

    def test_generations_of_one_process(self):
        """Restored, checkpointed, restored ... by itself each time."""
        popen = self.start("endure", "beats")
        time.sleep(0.1)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        for _ in range(TIMES - 1):
            pid = self.restart(snapshot)
            time.sleep(0.02)
            snapshot = self.checkpoint(pid)
            self.kill(pid)
        restarted = self.foreground(snapshot)
        time.sleep(0.1)
        self.write("stop", "")
        self.assertEqual(restarted.wait(20), 0, self.text("program.out.err"))


if __name__ == "__main__":
    main()
