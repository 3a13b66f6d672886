#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory costs what it holds: reservations and zero pages nothing, and crs itself little."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, Case, main, wait_until  # noqa: E402  pylint: disable=wrong-import-position

RESERVE = """
import ctypes, mmap, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
TIB = 1 << 40
for size in (TIB, 16 * TIB):
    where = libc.mmap(None, size, 3, 0x4022, -1, 0)
    for i in range(64): ctypes.memset(where + i * (size // 64), i + 1, 8)
print('ready', flush=True)
time.sleep(100)
"""


class Sizes(Case):
    def size_of(self, snapshot):
        return sum(os.stat(os.path.join(snapshot, name)).st_blocks * 512 for name in self.files_below(snapshot))

    def test_reservations_of_tebibytes_cost_nothing(self):
        plain = self.start("/usr/bin/python3", "-c", "import ctypes, mmap, time\nprint('ready', flush=True)\ntime.sleep(100)", out="plain")
        self.wait_for_lines("plain", 1)
        floor = self.size_of(self.checkpoint(plain.pid))
        huge = self.start("/usr/bin/python3", "-c", RESERVE, out="huge")
        self.wait_for_lines("huge", 1)
        answer = self.crs("checkpoint", huge.pid, "-o", self.path("snapshot"))
        self.assertEqual(answer.status, OK, answer)
        self.assertLess(self.size_of(self.path("snapshot")), floor + (1 << 20))

    def test_zero_pages_cost_nothing(self):
        for compress in ("none", "zstd"):
            popen = self.start("memory", "256", "zero", out=compress)
            self.wait_for_lines(compress, 1)
            snapshot = self.checkpoint(popen.pid, "--compress", compress)
            self.assertLess(self.size_of(snapshot), 6 << 20)
            self.kill(popen)
            pid = self.restart(snapshot)
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                resident = int(file.read().split()[1]) * 4096
            self.assertLess(resident, 20 << 20, "zeros are resident after the restart")
            self.kill(pid)

    def test_memory_of_the_tool_stays_small(self):
        popen = self.start("memory", "400")
        self.wait_for_lines("program.out", 1, 60)
        self.crs_in_little_memory("checkpoint", popen.pid, "-o", self.path("snapshot"))
        self.kill(popen)
        pid = self.restart(self.path("snapshot"))
        os.kill(pid, signal.SIGTERM)  # it checks every byte before it ends
        self.wait_gone(pid)

    def test_four_hundred_mebibytes_come_back_right(self):
        popen = self.start("memory", "400")
        self.wait_for_lines("program.out", 1, 60)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        restarted = self.foreground(snapshot, "--pidfile", self.path("pid"))
        wait_until(lambda: os.path.exists(self.path("pid")) and os.path.getsize(self.path("pid")), 60, "the pid file")
        restarted.send_signal(signal.SIGTERM)
        self.assertEqual(restarted.wait(30), 0, "some byte of its memory is wrong")


if __name__ == "__main__":
    main()
