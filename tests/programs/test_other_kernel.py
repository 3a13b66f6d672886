#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that come back under a kernel whose vdso is another one: CRS_TEST_OTHER_VDSO makes ours pass for one."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import Case, OK, REFUSED, main  # noqa: E402  pylint: disable=wrong-import-position

# clock_gettime, time and getcpu by way of the vdso; a clock that stands still or runs backwards ends it.
CLOCKS = """
import ctypes, time
libc = ctypes.CDLL(None)
last = time.monotonic()
for round in range(10**9):
    now = time.monotonic()
    wall = time.time()
    cpu = libc.sched_getcpu()
    good = now >= last and abs(libc.time(None) - wall) < 3 and 0 <= cpu < 4096 and wall > 1.7e9
    print("good" if good else "wrong %s %s %s" % (now, wall, cpu), flush=True)
    last = now
    time.sleep(0.02)
"""


def vdso_of(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        return re.search(r"^(\w+)-\w+ .*\[vdso\]$", file.read(), re.M).group(1)


class OtherKernel(Case):
    other_kernel = True

    def environment(self):
        return {**super().environment(), **({"CRS_TEST_OTHER_VDSO": "1"} if self.other_kernel else {})}

    def test_clocks_go_on_through_one_and_two_foreign_kernels(self):
        self.write("clocks.py", CLOCKS)
        popen = self.start("/usr/bin/python3", "clocks.py")
        self.wait_for_lines("program.out", 5)
        before = vdso_of(popen.pid)
        running = popen
        for _ in range(3):
            snapshot = self.checkpoint(running if isinstance(running, int) else running.pid)
            self.kill(running)
            lines = self.bytes("program.out").count(b"\n")
            running = self.restart(snapshot)
            self.assertNotEqual(vdso_of(running), before)
            before = vdso_of(running)
            self.wait_for_lines("program.out", lines + 5)
        self.kill(running)
        self.assertEqual(set(self.text("program.out").split("\n")[:-1]), {"good"})

    def test_go(self):
        self.run_to_end("goroutines", "wanted")
        popen = self.start("goroutines", "result")
        self.wait_for_cpu(popen.pid, 0.4)
        snapshots = []
        for _ in range(5):
            snapshots.append(self.checkpoint(popen.pid))
        self.kill(popen)
        # A thread may have been in the vdso at one of the moments; it cannot be led elsewhere from its middle.
        for snapshot in snapshots:
            status = self.foreground(snapshot).wait(60)
            if status == 0:
                break
            self.assertIn("a thread was in the middle of it", self.text("restart.err"))
        self.assertEqual(status, 0)
        self.assertEqual(self.bytes("result"), self.bytes("wanted"))

    def check_interrupted_by_handler(self, stack):
        popen = self.start("stepped", stack)
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        answer = self.crs("restart", "--detach", snapshot)
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "a thread was in the middle of it")
        # Under its own kernel it is no matter.
        self.other_kernel = False
        self.write("go", "")
        self.assertEqual(self.foreground(snapshot).wait(60), OK)
        self.assertEqual(self.text("program.out"), "inside\ndone\n")

    def test_the_middle_that_a_handler_interrupted_is_refused(self):
        self.check_interrupted_by_handler("normal")

    def test_the_middle_that_a_handler_on_another_stack_interrupted_is_refused(self):
        self.check_interrupted_by_handler("alternate")


if __name__ == "__main__":
    main()
