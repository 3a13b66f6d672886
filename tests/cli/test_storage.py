#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stores that are full, unwritable or were left by a killed checkpoint: what was good stays good."""
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, STORAGE, Case, main, wait_until  # noqa: E402  pylint: disable=wrong-import-position


class Storage(Case):
    def mounted(self, megabytes):
        """A small tmpfs that the account may write to; unmounted at the end of the case."""
        if os.geteuid() != 0:
            self.skipTest("mounting a small tmpfs needs root")
        where = self.path("small")
        os.mkdir(where)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", where], check=False,
                              capture_output=True, text=True)
        if done.returncode != 0:
            self.skipTest(f"cannot mount a tmpfs: {done.stderr.strip()}")
        self.mounts.append(where)
        self.account.own(where)
        return where

    def setUp(self):
        self.mounts = []
        super().setUp()

    def tearDown(self):
        for where in self.mounts:
            subprocess.run(["umount", "-l", where], check=False)
        super().tearDown()

    def inside(self, directory):
        return sorted(os.path.join(folder, name) for folder, folders, names in os.walk(directory) for name in folders + names)

    def test_full_disk(self):
        small = self.mounted(8)
        little = self.start("rows", "out", "60", "25")
        self.wait_for_lines("out", 3)
        good = self.checkpoint(little.pid, "--store", small, "--job", "little")
        self.kill(little)
        before = self.inside(small)
        big = self.start("memory", "48")
        self.wait_for_lines("program.out", 1)
        view = self.look(big.pid)
        answer = self.crs("checkpoint", big.pid, "--store", small, "--job", "big")
        self.assertEqual(answer.status, STORAGE, answer)
        self.assert_says(answer, ("space", "full"), small)
        self.assert_unharmed(big.pid, view)
        self.assertEqual([path for path in self.inside(small) if path not in before and "/big" not in path], [])
        self.assertEqual([path for path in self.inside(small) if "/big" in path and os.path.isfile(path)], [], "partial files stay behind")
        big.send_signal(signal.SIGTERM)
        self.assertEqual(big.wait(20), 0)
        self.assertEqual(self.foreground(good).wait(20), 0)
        self.assertEqual(self.text("out"), "".join(f"row {n}\n" for n in range(1, 61)))

    def test_unwritable_store(self):
        if self.account.is_root:
            store = "/proc/crs-store"  # root may write nearly everywhere, but not there
        else:
            store = self.path("locked")
            os.mkdir(store, 0o555)
        popen = self.start("rows", "out", "100000", "10")
        self.wait_for_lines("out", 3)
        view = self.look(popen.pid)
        answer = self.crs("checkpoint", popen.pid, "--store", store)
        self.assertEqual(answer.status, STORAGE, answer)
        self.assert_says(answer, store)
        answer = self.crs("checkpoint", popen.pid, "-o", os.path.join(store, "snapshot"))
        self.assertEqual(answer.status, STORAGE, answer)
        self.assert_unharmed(popen.pid, view, skip=("fds",))

    def test_snapshots_are_private(self):
        popen = self.start("rows", "out", "100000", "10")
        self.wait_for_lines("out", 3)
        snapshot = self.checkpoint(popen.pid, "--store", os.path.join(self.store, "new"), "--job", "private")
        self.assertEqual(os.stat(snapshot).st_mode & 0o777, 0o700)
        for name in self.files_below(snapshot):
            self.assertEqual(os.stat(os.path.join(snapshot, name)).st_mode & 0o777, 0o600, name)

    def test_killed_while_writing_the_latest_stays_good(self):
        popen = self.start("memory", "64")
        self.wait_for_lines("program.out", 1)
        chance = random.Random(int(os.environ.get("CRS_TEST_SEED", "7")))
        started = time.monotonic()
        self.checkpoint(popen.pid, "--store", self.store, "--job", "job")
        longest = time.monotonic() - started
        for _ in range(8):
            process = subprocess.Popen([self.crs_path, "checkpoint", str(popen.pid), "--store", self.store, "--job", "job"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.work, env=self.environment(),
                                       **self.account.popen_arguments())
            time.sleep(chance.uniform(0, longest))
            process.kill()
            process.wait()
            answer = self.crs("verify", "job", "--store", self.store)
            self.assertEqual(answer.status, OK, answer)
        self.assert_unharmed(popen.pid)
        answer = self.crs("list", "--store", self.store)
        self.assertEqual(answer.status, OK, answer)
        self.kill(popen)
        pidfile = self.path("pid")
        restarted = self.foreground("job", "--store", self.store, "--pidfile", pidfile)
        wait_until(lambda: os.path.exists(pidfile) and os.path.getsize(pidfile), 30, "the pid file")
        restarted.send_signal(signal.SIGTERM)
        self.assertEqual(restarted.wait(30), 0)

    def test_removing_snapshots(self):
        popen = self.start("rows", "out", "100000", "10")
        self.wait_for_lines("out", 3)
        first = self.checkpoint(popen.pid, "--store", self.store, "--job", "job")
        second = self.checkpoint(popen.pid, "--store", self.store, "--job", "job")
        self.assertNotEqual(first, second)
        answer = self.crs("rm", "job@1", "--store", self.store)
        self.assertEqual(answer.status, OK, answer)
        self.assertFalse(os.path.exists(first))
        self.assertTrue(os.path.exists(second))
        self.assertEqual(self.crs("verify", "job", "--store", self.store).status, OK)


if __name__ == "__main__":
    main()
