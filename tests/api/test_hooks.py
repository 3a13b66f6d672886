#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hooks of a program are called around every checkpoint and after a restart, whatever the hooks and their callers do."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import (BUSY, NOT_FOUND, OK, REFUSED, TIMED_OUT, Case, Failure, child_pids, exists, is_alive, main,  # noqa: E402  pylint: disable=wrong-import-position
                  state_letter, wait_until)  # noqa: E402  pylint: disable=wrong-import-position

NAMES = ["first", "second", "third"]
UP = [f"{name} {phase}" for phase in ("PREPARE", "PRE_IMAGE") for name in NAMES]


def down(*phases, names=("third", "second", "first")):
    return [f"{name} {phase}" for phase in phases for name in names]


ON = down("POST_IMAGE", "CONTINUE")
BACK = down("RESTART_PRE", "RESTART")


class Hooks(Case):
    def run_hooks(self, *script):
        read_end, self.write_end = os.pipe()
        self.addCleanup(os.close, self.write_end)
        popen = self.start("hooks", *script, stdin=read_end)
        os.close(read_end)
        self.wait_for_lines("program.out", 1)
        return popen

    def say(self, line):
        os.write(self.write_end, line.encode() + b"\n")

    def lines(self):
        return self.text("program.out").split("\n")[1:-1]

    def wait_for(self, wanted):
        try:
            wait_until(lambda: self.lines() == wanted, 30, "the lines")
        except Failure:
            self.assertEqual(self.lines(), wanted)

    @staticmethod
    def restored_pid(process):
        """Of the program that `crs restart` stands for: below it, or below the init of its namespace."""
        pid = process.pid
        while children := child_pids(pid):
            pid = children[0]
        return pid

    def begin(self, pid, *more):
        process = subprocess.Popen([self.crs_path, "checkpoint", str(pid), "-o", self.path("begun"), *more], cwd=self.work,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=self.environment(), **self.account.popen_arguments())
        self.popens.append(process)
        return process

    # ------------------------------------------------------------------------------ the ordinary way

    def test_a_checkpoint_from_outside_calls_them_in_order_and_back(self):
        popen = self.run_hooks()
        for time in (1, 2):
            self.checkpoint(popen.pid)
            self.wait_for((UP + ON) * time)
        self.assert_unharmed(popen.pid)

    def test_a_restored_process_is_told_so_and_can_be_saved_again(self):
        popen = self.run_hooks()
        snapshot = self.checkpoint(popen.pid)
        self.wait_for(UP + ON)
        self.kill(popen)
        process = self.foreground(snapshot, stdin=subprocess.PIPE)
        self.wait_for(UP + BACK)
        pid = self.restored_pid(process)
        again = self.checkpoint(pid)
        self.wait_for(UP + BACK + UP + ON)
        process.stdin.write(b"fork\n")
        process.stdin.flush()
        wait_until(lambda: self.lines()[-1].startswith("fork"), 60, "its child's end")
        self.assertEqual(self.lines()[-1], "fork well")
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(process.wait(30), -signal.SIGKILL)
        process.stdin.close()
        for which, lines in ((again, UP + BACK + UP + BACK), (snapshot, UP + BACK)):
            self.assertEqual(self.foreground(which, stdin=subprocess.DEVNULL).wait(30), OK)
            self.assertEqual(self.lines(), lines + ["finalize CRS_SUCCESS "])

    def test_saving_itself_returns_when_they_are_done(self):
        popen = self.run_hooks()
        self.say("self own")
        self.wait_for(UP + ON + ["state CONTINUE", "self CRS_SUCCESS "])
        self.kill(popen)
        self.assertEqual(self.foreground(self.path("own")).wait(30), OK)
        self.assertEqual(self.lines()[:14], UP + BACK + ["state RESTART", "self CRS_SUCCESS "])

    def test_before_the_end_they_are_told_of_it(self):
        popen = self.run_hooks()
        self.checkpoint(popen.pid, "--term")
        self.assertEqual(popen.wait(30), -signal.SIGKILL)
        self.assertEqual(self.lines(), UP + down("TERM"))

    def test_a_stop_comes_first(self):
        popen = self.run_hooks()
        self.checkpoint(popen.pid, "--stop")
        wait_until(lambda: state_letter(popen.pid) == "T", 30, "the stop")
        self.assertEqual(self.lines(), UP)
        popen.send_signal(signal.SIGCONT)
        self.wait_for(UP + ON)

    def test_they_may_enter_critical_sections_and_nothing_else(self):
        popen = self.run_hooks("first:PREPARE:section", "third:CONTINUE:section", "second:PREPARE:save")
        self.checkpoint(popen.pid)
        self.wait_for(UP + ON)

    def test_one_that_was_taken_away_is_not_called(self):
        popen = self.run_hooks()
        self.say("unregister")
        self.wait_for(["unregister CRS_SUCCESS "])
        self.checkpoint(popen.pid)
        some = [line for line in UP + ON if not line.startswith("second")]
        self.wait_for(["unregister CRS_SUCCESS "] + some)
        self.say("end")
        self.assertEqual(popen.wait(30), OK)

    def test_a_forked_child_has_them_once_it_takes_part(self):
        popen = self.run_hooks()
        self.say("fork")
        wait_until(lambda: any(line.startswith("fork") for line in self.lines()), 60, "the child's end")
        self.assertEqual(self.lines()[-1], "fork well")
        self.assertEqual([line for line in self.lines() if line.startswith("child ")],
                         [f"child {phase}" for phase in ("PREPARE", "PRE_IMAGE", "POST_IMAGE", "CONTINUE")])
        self.checkpoint(popen.pid)
        wait_until(lambda: self.lines()[-12:] == UP + ON, 30, "the parent's own")

    # -------------------------------------------------------------------------------------- failures

    def refused(self, popen, before):
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("none"))
        self.assertEqual(answer.status, REFUSED, answer)
        self.assertFalse(os.path.exists(self.path("none")))
        self.wait_for(before)
        return answer

    def test_one_that_fails_ends_it_and_those_before_it_are_told(self):
        for position, name in enumerate(NAMES):
            with self.subTest(name):
                popen = self.run_hooks(f"{name}:PREPARE:fail")
                answer = self.refused(popen, UP[:position + 1] + down("ERROR", names=NAMES[:position][::-1]))
                self.assert_says(answer, f"'{name}'", "7", "PREPARE")
                self.assert_unharmed(popen.pid)
                self.kill(popen)

    def test_one_that_fails_before_the_image_has_all_told(self):
        popen = self.run_hooks("second:PRE_IMAGE:fail")
        for time in (1, 2):
            answer = self.refused(popen, (UP[:5] + down("ERROR")) * time)
            self.assert_says(answer, "'second'", "PRE_IMAGE")

    def test_what_cannot_be_saved_has_all_told(self):
        popen = self.run_hooks()
        self.say("child")
        self.wait_for(["child kept"])
        answer = self.refused(popen, ["child kept"] + UP + down("ERROR"))
        self.assert_says(answer, "child")
        self.say("alone")
        self.wait_for(["child kept"] + UP + down("ERROR") + ["child gone"])
        self.checkpoint(popen.pid)
        self.wait_for(["child kept"] + UP + down("ERROR") + ["child gone"] + UP + ON)

    def test_one_that_is_not_ready_yet_is_waited_for(self):
        popen = self.run_hooks("second:PREPARE:once")
        self.checkpoint(popen.pid)
        self.wait_for(UP[:2] + down("ERROR", names=["first"]) + UP + ON)

    def test_one_that_hangs_is_given_up(self):
        popen = self.run_hooks("second:PREPARE:hang")
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("none"), "--timeout", "500ms")
        self.assertEqual(answer.status, TIMED_OUT, answer)
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("none"), "--param", "service.hook_limit=1")
        self.assertEqual(answer.status, TIMED_OUT, answer)
        self.assert_says(answer, "hook_limit")
        self.write("go", "")
        self.checkpoint(popen.pid)
        self.assertEqual(self.lines()[-12:], UP + ON)

    def test_one_that_is_never_ready_is_given_up(self):
        popen = self.run_hooks("second:PREPARE:never")
        for limit in (["--timeout", "500ms"], ["--param", "service.hook_limit=1"]):
            answer = self.crs("checkpoint", popen.pid, "-o", self.path("none"), *limit)
            self.assertEqual(answer.status, TIMED_OUT, answer)
        self.assert_says(answer, "not been ready", "hook_limit")
        self.assertFalse(os.path.exists(self.path("none")))
        self.write("go", "")
        self.checkpoint(popen.pid)
        self.assertEqual(self.lines()[-12:], UP + ON)

    def test_a_process_that_is_stopped_cannot_run_them(self):
        popen = self.run_hooks()
        popen.send_signal(signal.SIGSTOP)
        wait_until(lambda: state_letter(popen.pid) == "T", 30, "the stop")
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("none"))
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "stopped", "kill -CONT")
        self.assertEqual(self.lines(), [])
        popen.send_signal(signal.SIGCONT)
        self.checkpoint(popen.pid)
        self.assertEqual([line for line in self.lines() if not line.endswith("ERROR")], UP + ON)

    def test_a_process_that_ends_or_executes_in_one_is_told_of(self):
        for what in ("exit", "exec"):
            with self.subTest(what):
                popen = self.run_hooks(f"second:PREPARE:{what}")
                answer = self.crs("checkpoint", popen.pid, "-o", self.path("none"))
                self.assertEqual(answer.status, NOT_FOUND, answer)
                self.assertFalse(os.path.exists(self.path("none")))
                self.assertEqual(popen.poll() is None, what == "exec")
                self.kill(popen)

    def test_a_requester_that_dies_is_not_waited_for(self):
        popen = self.run_hooks("third:PRE_IMAGE:hang")
        process = self.begin(popen.pid)
        wait_until(lambda: len(self.lines()) == 6, 30, "the last hook")
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("none"))
        self.assertEqual(answer.status, BUSY, answer)
        process.kill()
        process.wait(30)
        self.write("go", "")
        self.wait_for(UP + down("ERROR"))
        self.checkpoint(popen.pid)
        self.wait_for(UP + down("ERROR") + UP + ON)

    # -------------------------------------------------------------------------------------- sessions

    def test_several_checkpoints_in_one_session(self):
        popen = self.run_hooks()
        self.say("begin 0")
        self.wait_for(UP + ["begin CRS_SUCCESS "])
        snapshots = [self.checkpoint(popen.pid) for _ in range(2)]
        self.assertEqual(self.lines(), UP + ["begin CRS_SUCCESS "])
        self.say("stop")
        self.wait_for(UP + ["begin CRS_SUCCESS "] + ON + ["stop CRS_SUCCESS "])
        self.say("stop")
        wait_until(lambda: "stop CRS_ERR_TIMEOUT" in self.lines()[-1], 30, "an error")
        self.say("unregister")
        wait_until(lambda: "unregister CRS_SUCCESS" in self.lines()[-1], 30, "a free list")
        self.kill(popen)
        for snapshot in snapshots:
            self.assertEqual(self.foreground(snapshot).wait(30), OK)
            self.assertEqual(self.lines()[7:13], BACK)

    def test_a_session_ends_by_itself(self):
        popen = self.run_hooks()
        self.say("begin 200000000")
        self.wait_for(UP + ["begin CRS_SUCCESS "] + ON)
        self.say("stop")
        wait_until(lambda: "stop CRS_ERR_TIMEOUT" in self.lines()[-1], 30, "an error")
        self.say("begin 0")
        wait_until(lambda: self.lines()[-1] == "begin CRS_SUCCESS ", 30, "another session")
        self.say("begin 0")
        wait_until(lambda: self.lines()[-1].startswith("begin CRS_ERR_BUSY"), 30, "only one session")
        self.say("unregister")
        wait_until(lambda: self.lines()[-1].startswith("unregister CRS_ERR_BUSY"), 30, "hooks that stay")
        self.assertTrue(is_alive(popen.pid) and exists(popen.pid))

    def test_a_session_that_a_hook_refuses_does_not_begin(self):
        self.run_hooks("third:PREPARE:fail")
        for time in (1, 2):
            self.say("begin 0")
            wait_until(lambda t=time: len([line for line in self.lines() if line.startswith("begin CRS_ERR_REFUSED")]) == t, 30, "no")

    # ------------------------------------------------------------------------------- in C++

    def test_scoped_objects(self):
        popen = self.start("scoped", self.cwd)
        self.assertEqual(popen.wait(60), OK)
        self.assertEqual(self.text("program.out"), "continued: PREPARE PRE_IMAGE POST_IMAGE CONTINUE\n")
        self.assertEqual([os.path.exists(self.path(name)) for name in "123"], [True, True, False])
        self.assertEqual(self.foreground(self.path("1")).wait(60), OK)
        self.assertIn("restarted: PREPARE PRE_IMAGE RESTART_PRE RESTART\n", self.text("program.out"))


if __name__ == "__main__":
    main()
