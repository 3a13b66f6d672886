#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that go back to snapshots of their own through libcrs, and save points in memory.

CRS_TEST_TIMES says how often a program goes back to its save point (20 if it is not set)."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, Case, child_pids, is_alive, main, wait_until  # noqa: E402  pylint: disable=wrong-import-position

TIMES = int(os.environ.get("CRS_TEST_TIMES", "20"))
REFUSED = 4  # exit status of rolls_back


def command_of(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


class GoingBack(Case):
    def setUp(self):
        super().setUp()
        self.folder = os.path.join(self.work, "snapshots")
        os.mkdir(self.folder, 0o700)
        self.account.own(self.folder)

    def places(self, pid):
        """What the process has in memory."""
        base = f"/dev/shm/crs-{os.stat(self.folder).st_uid}"
        return [name for name in os.listdir(base) if name.split("-")[1] == str(pid)] if os.path.isdir(base) else []

    def go_back(self, *words):
        popen = self.start("rolls_back", self.folder, *words)
        return popen, popen.wait(60)

    def test_a_process_goes_back_with_its_pid_and_parent(self):
        for manner in ("rollback", "restart"):
            popen, status = self.go_back(manner)
            self.assertEqual(status, OK, self.text("program.out"))
            self.assertEqual(self.text("program.out"), "RESTART value 1 restarts 1\n")
            os.rename(os.path.join(self.folder, "1"), os.path.join(self.folder, f"old.{popen.pid}"))
        self.assert_no_processes()

    def test_with_threads(self):
        _, status = self.go_back("rollback", "3")
        if self.account.is_root:
            self.assertEqual(status, OK, self.text("program.out"))
            self.assertEqual(self.text("program.out"), "RESTART value 1 restarts 1\n")
        else:
            self.assertEqual(status, REFUSED, self.text("program.out"))
            self.assertIn("CRS_ERR_REFUSED", self.text("program.out"))
            self.assertIn("CAP_CHECKPOINT_RESTORE", self.text("program.out"))

    def test_where_it_cannot_go_back_another_process_stands_for_it(self):
        """crs_restart() of a program with threads: in place for root, else crs takes the caller's place. The first thread
        ends the process while the others are still to be let go."""
        _, status = self.go_back("restart", "300")
        self.assertEqual(status, OK, self.text("program.out"))
        where = "" if self.account.is_root else " somewhere else"
        self.assertEqual(self.text("program.out"), f"RESTART value 1 restarts 1{where}\n")

    def test_save_point_many_times(self):
        popen = self.start("save_points", str(TIMES))
        self.assertEqual(popen.wait(120), OK, self.text("program.out.err"))
        self.assertEqual(self.text("log"), "continue\n" + "restarts\n" * TIMES)
        self.assertEqual(self.places(popen.pid), [])

    def keepers(self):
        """Processes that keep the memory of others (their names are in no case's way: each has its own parent)."""
        return [pid for pid in child_pids(os.getpid()) if command_of(pid) == "crs-memory" and is_alive(pid)]

    def test_changes_are_undone_in_the_process_that_there_is(self):
        """With threads, which an ordinary user's process could not make anew."""
        popen = self.start("rewinds", str(TIMES))
        self.assertEqual(popen.wait(120), OK, self.text("program.out.err"))
        self.assertEqual(self.text("program.out"), f"rounds {TIMES}\n")
        wait_until(lambda: not self.keepers(), 10, "the end of those that kept its memory")

    def test_a_thread_that_has_ended_comes_back(self):
        popen = self.start("rewinds", "3", "end")
        status = popen.wait(120)
        if self.account.is_root:
            self.assertEqual(status, OK, self.text("program.out.err"))
        else:
            self.assertEqual(status, REFUSED, self.text("program.out.err"))
            self.assertIn("CAP_CHECKPOINT_RESTORE", self.text("program.out.err"))

    def test_what_a_killed_process_leaves_is_removed_by_the_next(self):
        popen = self.start("save_points", "1", "stay")
        wait_until(lambda: self.text("program.out") == "stays\n", 60, "the program that stays")
        self.assertEqual(len(self.places(popen.pid)), 1)
        self.kill(popen)
        self.assertEqual(len(self.places(popen.pid)), 1)
        os.unlink(self.path("log"))
        self.assertEqual(self.start("save_points", "0").wait(60), OK, self.text("program.out.err"))
        self.assertEqual(self.places(popen.pid), [])


if __name__ == "__main__":
    main()
