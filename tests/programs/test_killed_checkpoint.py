#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of `crs checkpoint` at random moments: the target runs on, and ends with the right result.

CRS_TEST_KILLS says how many times (20 if it is not set); CRS_TEST_SEED repeats a run."""
import os
import random
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, Case, is_alive, main, state_letter, status_field, wait_until  # noqa: E402  pylint: disable=wrong-import-position

KILLS = int(os.environ.get("CRS_TEST_KILLS", "20"))


class Killed(Case):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("CRS_TEST_SEED", random.randrange(1 << 30)))
        self.random = random.Random(self.seed)
        print(f"CRS_TEST_SEED={self.seed}", flush=True)

    def how_long(self, pid):
        """The length of one whole checkpoint: the moments to kill at are spread over it."""
        started = time.monotonic()
        answer = self.crs("checkpoint", pid, "-o", self.path("whole"))
        self.assertEqual(answer.status, OK, answer)
        return time.monotonic() - started

    def kill_one(self, pid, longest, number):
        """Starts a checkpoint and kills it some time later; true if it was still running."""
        process = subprocess.Popen([self.crs_path, "checkpoint", str(pid), "--store", self.store, "--job", f"job{number}"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=self.environment(), cwd=self.work, **self.account.popen_arguments())
        end = time.monotonic() + self.random.uniform(0, longest * 1.1)
        while time.monotonic() < end:
            pass
        process.kill()
        return process.wait() == -signal.SIGKILL

    def harmless(self, pid, progress):
        self.assertTrue(is_alive(pid), "the target died with the checkpoint")
        for tid in os.listdir(f"/proc/{pid}/task"):
            wait_until(lambda t=tid: status_field(t, "TracerPid") in ("0", None), 2, f"thread {tid} being left by the killed crs")
            wait_until(lambda t=tid: state_letter(t) not in ("T", "t"), 2, f"thread {tid} running after the killed crs")
        before = progress()
        wait_until(lambda: progress() != before, 10, "the target making progress")

    def test_vector_loops_and_sleeps(self):
        popen = self.start("endure", "beats")

        def beats():
            data = self.bytes("beats") if os.path.exists(self.path("beats")) else b""
            return struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
        wait_until(lambda: beats() > 10, 10, "the target working")
        longest = self.how_long(popen.pid)
        hits = 0
        for number in range(KILLS):
            hits += self.kill_one(popen.pid, longest, number)
            self.harmless(popen.pid, beats)
        self.write("stop", "")
        self.assertEqual(popen.wait(20), 0, self.text("program.out.err"))
        self.assertGreater(hits, KILLS // 4, "too few of the checkpoints were still running when they were killed")

    def test_go_program(self):
        self.run_to_end("goroutines", "wanted")
        popen = self.start("goroutines", "result")
        self.wait_for_cpu(popen.pid, 0.05)
        number = 0
        while popen.poll() is None and number < KILLS:
            self.kill_one(popen.pid, 0.1, number)
            number += 1
        self.assertEqual(popen.wait(60), 0, self.text("program.out.err"))
        self.assertEqual(self.text("result"), self.text("wanted"))
        self.assertGreater(number, 3)

    def test_a_later_checkpoint_works(self):
        popen = self.start("rows", "out", "150", "10")
        self.wait_for_lines("out", 5)
        longest = self.how_long(popen.pid)
        for number in range(max(5, KILLS // 4)):
            if popen.poll() is not None:
                break
            self.kill_one(popen.pid, longest, number)
        if popen.poll() is not None:
            self.assertEqual(popen.returncode, 0)
            self.skipTest("the program ended before its last checkpoint: the machine is too busy")
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        self.assertEqual(self.foreground(snapshot).wait(30), 0)
        self.assertEqual(self.text("out"), "".join(f"row {n}\n" for n in range(1, 151)))


if __name__ == "__main__":
    main()
