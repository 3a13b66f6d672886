#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the clocks that count from the start of the system show after a restart (--clock).

The program writes by how much its wall clock is ahead of each of them. That difference grows by what they did not see of the
time, however slow the machine is."""
import ctypes
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, REFUSED, Case, main  # noqa: E402  pylint: disable=wrong-import-position

PROGRAM = """
import time
while True:
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    boot, wall = time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
    if time.clock_gettime(time.CLOCK_MONOTONIC) - before < 0.02:  # else somebody else ran in between
        print(wall - before, wall - boot, before, flush=True)
    time.sleep(0.02)
"""
AWAY = 2.0  # seconds, at least
CLOSE = 0.2


def rewrite(manifest, path):
    """With the checksum that such a manifest has in itself: XXH3 of it without blanks."""
    class Hash(ctypes.Structure):
        _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]
    library = ctypes.CDLL("libxxhash.so.0")
    library.XXH3_128bits.restype = Hash
    library.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    manifest.pop("checksum")
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    found = library.XXH3_128bits(text, len(text))
    manifest["checksum"] = f"{found.high:016x}{found.low:016x}"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(manifest, file)


class Clocks(Case):
    def begin(self):
        self.write("clocks.py", PROGRAM)
        return self.start("python3", "clocks.py")

    def last(self):
        """Of a line that is written from now on."""
        count = self.bytes("program.out").count(b"\n")
        self.wait_for_lines("program.out", count + 2, 60)
        return [float(word) for word in self.text("program.out").split("\n")[-2].split()]

    def away(self, popen_or_pid, *options):
        """The snapshot, and the pid of the process that came back from it after a while."""
        pid = popen_or_pid if isinstance(popen_or_pid, int) else popen_or_pid.pid
        snapshot = self.checkpoint(pid)
        self.kill(popen_or_pid)
        time.sleep(AWAY)
        return snapshot, self.restart(snapshot, *options)

    def move_to_another_start(self, snapshot, shift):
        """As if the snapshot were of a system that had run `shift` seconds longer."""
        path = os.path.join(snapshot, "manifest.json")
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        manifest["boot_id"] = "another-one"
        for clock in ("monotonic_ns", "boottime_ns"):
            manifest["clocks"][clock] += int(shift * 1e9)
        rewrite(manifest, path)

    def test_they_have_gone_on_since_the_same_start_of_the_system(self):
        for choice in ((), ("--clock", "auto"), ("--clock", "host")):
            with self.subTest(choice=choice):
                popen = self.begin()
                before = self.last()
                _, pid = self.away(popen, *choice)
                after = self.last()
                self.assertLess(abs(after[0] - before[0]), CLOSE)
                self.assertLess(abs(after[1] - before[1]), CLOSE)
                self.kill(pid)

    def test_they_go_on_where_they_stood_on_request(self):
        popen = self.begin()
        before = self.last()
        snapshot, pid = self.away(popen, "--clock", "continue")
        after = self.last()
        self.assertGreater(after[0] - before[0], AWAY - CLOSE)
        self.assertGreater(after[1] - before[1], AWAY - CLOSE)
        # Saved again, it gets the same clocks again, which have gone on meanwhile.
        _, pid = self.away(pid)
        again = self.last()
        self.assertLess(abs(again[0] - after[0]), CLOSE)
        self.assertLess(abs(again[1] - after[1]), CLOSE)
        self.kill(pid)
        # The clocks of here, for which nothing has to be shifted.
        pid = self.restart(snapshot, "--clock", "host")
        host = self.last()
        self.assertLess(abs(host[0] - before[0]), CLOSE)
        self.kill(pid)

    def test_they_go_on_after_another_start_of_the_system(self):
        popen = self.begin()
        before = self.last()
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        self.move_to_another_start(snapshot, 100000)
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, OK, answer)
        self.assertNotIn("started since", answer.err)
        after = self.last()
        self.assertGreater(after[2], before[2] + 100000 - CLOSE)
        self.assertLess(after[0], before[0] - 100000 + 100)
        self.kill(int(answer.last_line()))
        answer = self.crs("restart", snapshot, "--detach", "--clock", "host")
        self.assertEqual(answer.status, OK, answer)
        self.assert_says(answer, "started since the checkpoint")
        self.assertLess(abs(self.last()[0] - before[0]), CLOSE)
        self.kill(int(answer.last_line()))

    def test_a_snapshot_that_does_not_tell_its_clocks(self):
        popen = self.begin()
        self.last()
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        path = os.path.join(snapshot, "manifest.json")
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        del manifest["clocks"]
        rewrite(manifest, path)
        answer = self.crs("restart", snapshot, "--detach", "--clock", "continue")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "--clock host")
        self.kill(self.restart(snapshot))


if __name__ == "__main__":
    main()
