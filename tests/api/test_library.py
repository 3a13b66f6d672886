#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that take part through libcrs: they have themselves saved, keep checkpoints out of their critical sections,
and bring others back."""
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import (OK, REFUSED, TIMED_OUT, Case, main, state_letter, wait_until)  # noqa: E402  pylint: disable=wrong-import-position


class Library(Case):
    def setUp(self):
        super().setUp()
        self.folder = os.path.join(self.work, "snapshots")
        os.mkdir(self.folder, 0o700)
        self.account.own(self.folder)

    def lines(self, name="program.out"):
        return self.text(name).split("\n")[:-1]

    # ---------------------------------------------------------------------------------- saving oneself

    def test_a_thread_has_the_process_saved(self):
        popen = self.start("saves_itself", self.folder)
        self.assertEqual(popen.wait(60), OK, self.text("program.out"))
        self.assertEqual(self.lines(), ["1 CONTINUE restarts 0"])
        for _ in range(2):
            self.assertEqual(self.foreground(os.path.join(self.folder, "1")).wait(60), OK)
            self.assertEqual(self.lines(), ["1 RESTART restarts 1"])

    def test_again_in_the_restored_process(self):
        popen = self.start("saves_itself", self.folder, "", "3")
        self.assertEqual(popen.wait(60), OK, self.text("program.out"))
        self.assertEqual(self.lines(), [f"{n} CONTINUE restarts 0" for n in (1, 2, 3)])
        for number in (2, 3):
            os.rename(os.path.join(self.folder, str(number)), os.path.join(self.folder, f"first.{number}"))
        self.assertEqual(self.foreground(os.path.join(self.folder, "1")).wait(60), OK)
        self.assertEqual(self.lines(), ["1 RESTART restarts 1", "2 CONTINUE restarts 1", "3 CONTINUE restarts 1"])
        self.assertEqual(self.foreground(os.path.join(self.folder, "3")).wait(60), OK)
        self.assertEqual(self.lines()[-1], "3 RESTART restarts 2")

    def test_term_ends_the_original_only(self):
        popen = self.start("saves_itself", self.folder, "term")
        self.assertEqual(popen.wait(60), -signal.SIGKILL)
        self.assertEqual(self.lines(), [])
        self.assertEqual(self.foreground(os.path.join(self.folder, "1")).wait(60), OK)
        self.assertEqual(self.lines(), ["1 RESTART restarts 1"])

    def test_stop_leaves_it_stopped(self):
        popen = self.start("saves_itself", self.folder, "stop")
        wait_until(lambda: state_letter(popen.pid) == "T", 30, "the process to be stopped")
        self.assertEqual(self.crs("verify", os.path.join(self.folder, "1")).status, OK)
        popen.send_signal(signal.SIGCONT)
        self.assertEqual(popen.wait(60), OK)
        self.assertEqual(self.lines(), ["1 CONTINUE restarts 0"])

    def test_a_failure_is_told_and_the_process_goes_on(self):
        os.mkdir(os.path.join(self.folder, "1"))
        popen = self.start("saves_itself", self.folder)
        self.assertEqual(popen.wait(60), 1)
        self.assertRegex(self.text("program.out"), r"checkpoint: CRS_ERR_\w+: .*" + re.escape(self.folder))
        self.assertEqual(os.listdir(self.folder), ["1"])

    def test_without_the_program_crs(self):
        popen = self.start("/bin/sh", "-c", 'CRS_PROGRAM=/no/such/crs exec "$0" "$@"', self.program("saves_itself"), self.folder)
        self.assertEqual(popen.wait(60), 1)
        self.assertIn("CRS_ERR_NOT_FOUND: CRS_PROGRAM, /no/such/crs", self.text("program.out"))

    # ------------------------------------------------------------------------------- critical sections

    def checkpoint_in_background(self, pid, *more):
        process = subprocess.Popen([self.crs_path, "checkpoint", str(pid), "-o", os.path.join(self.folder, "s"), *more], cwd=self.work,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=self.environment(), **self.account.popen_arguments())
        self.popens.append(process)
        return process

    def test_a_checkpoint_waits_for_the_end_of_a_critical_section(self):
        popen = self.start("long_section")
        self.wait_for_lines("program.out", 1)
        checkpoint = self.checkpoint_in_background(popen.pid)
        line = checkpoint.stderr.readline()
        self.assertIn("delayed by a critical section called 'long one'", line)
        self.assertIsNone(checkpoint.poll())
        self.assertFalse(os.path.exists(os.path.join(self.folder, "s")))
        self.write("leave", "")
        _, err = checkpoint.communicate(timeout=30)
        self.assertEqual(checkpoint.returncode, OK, err)
        self.assertEqual(popen.wait(30), OK)
        self.assertEqual(self.foreground(os.path.join(self.folder, "s")).wait(30), OK)
        self.assertEqual(self.lines()[-1], "left")

    def test_its_deadline_ends_the_wait_and_the_program_is_unharmed(self):
        popen = self.start("long_section")
        self.wait_for_lines("program.out", 1)
        answer = self.crs("checkpoint", popen.pid, "-o", os.path.join(self.folder, "s"), "--timeout", "400ms")
        self.assertEqual(answer.status, TIMED_OUT, answer)
        self.assert_says(answer, "long one")
        self.assertEqual(os.listdir(self.folder), [])
        self.write("leave", "")
        self.assertEqual(popen.wait(30), OK)

    def test_a_checkpointer_that_dies_while_it_waits_stops_nobody(self):
        popen = self.start("long_section")
        self.wait_for_lines("program.out", 1)
        checkpoint = self.checkpoint_in_background(popen.pid)
        checkpoint.stderr.readline()
        second = self.crs("checkpoint", popen.pid, "-o", os.path.join(self.folder, "t"), "--timeout", "5")
        self.assertEqual(second.status, 6, second)  # busy, at once
        checkpoint.kill()
        checkpoint.wait(10)
        self.write("leave", "")
        self.assertEqual(popen.wait(30), OK)

    def killed_while_it_waits(self, popen, *more):
        checkpoint = self.checkpoint_in_background(popen.pid, *more)
        self.assertIn("delayed by", checkpoint.stderr.readline())
        return checkpoint

    def test_after_a_dead_checkpointer_nobody_finds_it_busy(self):
        popen = self.start("long_section", "try")
        self.wait_for_lines("program.out", 1)
        checkpoint = self.killed_while_it_waits(popen)
        self.wait_for_lines("program.out", 2)
        checkpoint.kill()
        checkpoint.wait(60)
        self.wait_for_lines("program.out", 3)  # the section has not been left yet
        self.assertEqual(self.lines()[1:], ["busy", "open"])
        self.write("leave", "")
        self.assertEqual(popen.wait(60), OK)

    def test_a_gate_that_was_left_closed_is_open_in_a_restored_process(self):
        popen = self.start("long_section")
        self.wait_for_lines("program.out", 1)
        closer = self.killed_while_it_waits(popen, "--component", "self")
        closer.kill()
        closer.wait(60)
        checkpoint = self.checkpoint_in_background(popen.pid)
        self.assertIn("delayed by", checkpoint.stderr.readline())
        self.write("leave", "")
        _, err = checkpoint.communicate(timeout=60)
        self.assertEqual(checkpoint.returncode, OK, err)
        self.assertEqual(popen.wait(60), OK)
        self.assertEqual(self.foreground(os.path.join(self.folder, "s")).wait(60), OK)
        self.assertEqual(self.lines()[-1], "left")

    def test_a_label_makes_no_lines_of_its_own(self):
        popen = self.start("long_section", "forge")
        self.wait_for_lines("program.out", 1)
        answer = self.crs("checkpoint", popen.pid, "-o", os.path.join(self.folder, "s"), "--timeout", "400ms")
        self.assertEqual(answer.status, TIMED_OUT, answer)
        self.assertIn("called 'one\\x0acrs: note: two'", answer.err)
        self.assertNotIn("\ncrs: note: two", answer.err)
        self.write("leave", "")
        self.assertEqual(popen.wait(60), OK)

    def test_a_forked_child_is_in_no_section(self):
        popen = self.start("long_section", "fork")
        self.wait_for_lines("program.out", 1)
        child = int(self.lines()[0].split()[1])
        wait_until(lambda: os.path.exists(self.path("child")), 20, "the child")
        answer = self.crs("checkpoint", child, "-o", os.path.join(self.folder, "s"), "--timeout", "20")
        self.assertEqual(answer.status, OK, answer)
        self.assertNotIn("delayed", answer.err)
        self.write("leave", "")
        self.assertEqual(popen.wait(30), OK)

    def test_no_checkpoint_is_made_inside_a_section(self):
        """Eight threads enter and leave all the time; each snapshot is made between sections."""
        popen = self.start("sections", "8", "20000")
        self.wait_for_lines("program.out", 1)
        for number in range(8):
            answer = self.crs("checkpoint", popen.pid, "-o", os.path.join(self.folder, str(number)), "--compress", "none")
            self.assertEqual(answer.status, OK, answer)
        self.write("enough", "")
        self.assertEqual(popen.wait(120), OK, self.text("program.out"))
        for number in (0, 4, 7):
            self.assertEqual(self.foreground(os.path.join(self.folder, str(number))).wait(120), OK)
            self.assertEqual(self.lines()[-1], "done")

    # ------------------------------------------------------------------------------------------- others

    def test_a_page_that_could_be_taken_away_is_none(self):
        """crs would read behind the end of what is left, and die of it."""
        self.write("page.py", "import os, time\npage = os.memfd_create('crs-control')\nos.ftruncate(page, 65536)\n"
                              "open('there', 'w').close()\nwhile True:\n    time.sleep(0.01)\n")
        popen = self.start("python3", "page.py")
        wait_until(lambda: os.path.exists(self.path("there")), 30, "the page")
        before = self.look(popen.pid)
        answer = self.crs("checkpoint", popen.pid, "-o", os.path.join(self.folder, "1"))
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "control page", "sealed")
        self.assert_unharmed(popen.pid, before)

    def test_misuse_is_answered(self):
        popen = self.start("misuse")
        self.assertEqual(popen.wait(60), OK, self.text("program.out"))

    def test_the_cpp_interface(self):
        popen = self.start("wrapped", self.folder)
        self.assertEqual(popen.wait(60), OK, self.text("program.out"))
        self.assertEqual(self.lines(), ["continued"])
        self.assertEqual(self.foreground(os.path.join(self.folder, "1")).wait(60), OK)
        self.assertEqual(self.lines(), ["restarted"])

    def test_the_table_drives_every_operation(self):
        popen = self.start("table", self.folder)
        self.assertEqual(popen.wait(60), OK, self.text("program.out"))
        self.assertEqual(self.lines()[-1], "finalize, in the restored process: well")


if __name__ == "__main__":
    main()
