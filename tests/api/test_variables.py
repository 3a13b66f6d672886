#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Variables that a restart hands over (--env): in the environment of a program that is started anew, for one that comes
back to ask for."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, REFUSED, RESTART_FAILED, USAGE, Case, main  # noqa: E402  pylint: disable=wrong-import-position


class Variables(Case):
    def setUp(self):
        super().setUp()
        self.folder = os.path.join(self.work, "snapshots")
        os.mkdir(self.folder, 0o700)
        self.account.own(self.folder)
        self.snapshot = os.path.join(self.folder, "1")

    def begin(self):
        popen = self.start("variables", self.folder)
        self.assertEqual(popen.wait(60), OK, self.text("program.out"))
        self.assertEqual(self.text("program.out"), "CONTINUE FIRST (none) SECOND (none) getenv (none)\n")

    def again(self, *options, **environment):
        self.extra_environment = environment
        answer = self.crs("restart", self.snapshot, "--stdio", "inherit", *options)
        self.assertEqual(answer.status, OK, answer)
        return answer.out

    def test_a_program_that_comes_back_asks_for_them(self):
        self.begin()
        self.assertEqual(self.again("--env", "FIRST=a=b c", "--env", "SECOND="),
                         "RESTART FIRST a=b c SECOND  getenv (none)\n")
        # Those of one restart are not those of another.
        self.assertEqual(self.again("--env", "SECOND", SECOND="from here"),
                         "RESTART FIRST (none) SECOND from here getenv (none)\n")
        self.assertEqual(self.again(), "RESTART FIRST (none) SECOND (none) getenv (none)\n")
        long = "x" * 60000
        self.assertEqual(self.again("--env", "FIRST=" + long), f"RESTART FIRST {long} SECOND (none) getenv (none)\n")

    def test_a_program_brings_another_back_with_them(self):
        self.begin()
        popen = self.start("variables", self.folder, "restart", "FIRST", "by its parent", out="parent.out")
        self.assertEqual(popen.wait(60), OK, self.text("parent.out"))
        self.assertEqual(self.text("program.out").split("\n")[-2], "RESTART FIRST by its parent SECOND (none) getenv (none)")

    def test_too_many_are_refused_before_there_is_a_process(self):
        self.begin()
        answer = self.crs("restart", self.snapshot, "--env", "FIRST=" + "x" * 70000)
        self.assertEqual(answer.status, RESTART_FAILED, answer)
        self.assert_says(answer, "--env", "room for 65536")

    def test_a_program_that_takes_no_part_cannot_be_told(self):
        popen = self.start("/bin/sleep", "100")
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        answer = self.crs("restart", snapshot, "--env", "FIRST=1", "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "environment is in its memory", "without --env")

    def test_what_is_started_anew_has_them_in_its_environment(self):
        os.mkfifo(self.path("gate"))
        self.account.own(self.path("gate"))
        popen = self.start("/bin/sh", "-c", 'echo "$FIRST-$SECOND"; read line <gate')
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid, "--component", "none")
        self.kill(popen)
        os.unlink(self.path("gate"))
        self.write("gate", "go\n")
        self.extra_environment = {"SECOND": "two"}
        answer = self.crs("restart", snapshot, "--env", "FIRST=one", "--env", "SECOND")
        self.assertEqual((answer.status, answer.out), (OK, "one-two\n"), answer)

    def test_what_makes_no_sense_is_told(self):
        self.begin()
        for words, said in ((("--env", "=1"), "NAME=VALUE"), (("--env", "NO_SUCH_VARIABLE"), "no such variable here"),
                            (("--env", "A=1", "--env", "A=2"), "names A twice")):
            with self.subTest(words=words):
                answer = self.crs("restart", self.snapshot, *words)
                self.assertEqual(answer.status, USAGE, answer)
                self.assert_says(answer, said)


if __name__ == "__main__":
    main()
