#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that watch files by epoll: what they watch is replaced at the restart, or shared with somebody else."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import Case, main  # noqa: E402  pylint: disable=wrong-import-position

WATCHER = """
import select, sys
poll = select.epoll()
poll.register(0, select.EPOLLIN)
ends = __import__("os").pipe()
poll.register(ends[0], select.EPOLLIN)
for round in range(10**9):
    poll.poll(0.02)
    print(round, flush=True)
"""

SHARING = """
import os, select, time
poll = select.epoll()
child = os.fork()
if child == 0:
    time.sleep(100)
    os._exit(0)
print(child, flush=True)
os.waitpid(child, 0)
"""


class WatchedFiles(Case):
    def watcher(self):
        self.write("watcher.py", WATCHER)
        ends = os.pipe()
        self.addCleanup(os.close, ends[1])
        popen = self.start("/usr/bin/python3", "watcher.py", stdin=ends[0])
        os.close(ends[0])
        self.wait_for_lines("program.out", 3)
        return popen

    def test_a_watched_stream_that_becomes_a_plain_file_is_told_of_and_left_out(self):
        popen = self.watcher()
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        answer = self.crs("restart", snapshot, "--detach", "--fd", "0=/dev/null")
        self.assertEqual(answer.status, 0, answer)
        self.assert_says(answer, "fd 0", "cannot be watched")
        lines = len(self.text("program.out").splitlines())
        self.wait_for_lines("program.out", lines + 3)
        self.kill(int(answer.last_line()))

    def test_an_epoll_shared_with_the_parent_is_refused(self):
        self.write("sharing.py", SHARING)
        self.start("/usr/bin/python3", "sharing.py")
        self.wait_for_lines("program.out", 1)
        child = int(self.text("program.out"))
        answer = self.crs("checkpoint", child, "-o", self.path("refused"))
        self.assertEqual(answer.status, 5, answer)
        self.assert_says(answer, "epoll", "shared with", "python3")
        os.kill(child, 9)


if __name__ == "__main__":
    main()
