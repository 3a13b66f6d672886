#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A process that was saved or brought back stands until a debugger has it (--attach-debugger); whatever becomes of debugger,
guard and crs, it runs on."""
import os
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import (OK, REFUSED, USAGE, Case, child_pids, is_alive, main, state_letter, status_field,  # noqa: E402  pylint: disable=wrong-import-position
                  wait_until)

PATIENCE = 120  # seconds; gdb takes its time on a busy machine


def thread_ids(pid):
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def states(pid):
    return {state_letter(tid) for tid in thread_ids(pid)}


class Debugger(Case):
    def setUp(self):
        super().setUp()
        if not shutil.which("gdb"):
            self.skipTest("gdb is missing")
        try:
            with open("/proc/sys/kernel/yama/ptrace_scope", encoding="utf-8") as file:
                scope = int(file.read())
        except OSError:
            scope = 0
        if scope > (1 if self.account.is_root else 0):
            self.skipTest(f"kernel.yama.ptrace_scope is {scope}: this user may attach no debugger")
        self.folder = os.path.join(self.work, "snapshots")
        os.mkdir(self.folder, 0o700)
        self.account.own(self.folder)
        self.snapshot = os.path.join(self.folder, "1")
        self.command = []

    def begin(self):
        popen = self.start("stands")
        self.wait_for_lines("program.out", 1)
        return popen

    def in_background(self, *words):
        process = subprocess.Popen([self.crs_path, *map(str, words)], cwd=self.work, env=self.environment(),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   **self.account.popen_arguments())
        self.addCleanup(process.stderr.close)
        self.popens.append(process)
        return process

    def invited(self, process):
        """The pid of the process that stands and waits. How a debugger gets to it is in self.command."""
        line = process.stderr.readline()
        found = re.search(r"pid (\d+) waits for a debugger: (.*)", line)
        self.assertTrue(found, line + process.stderr.read() if not found else "")
        pid = int(found.group(1))
        self.command = found.group(2).split()
        wait_until(lambda: states(pid) == {"T"}, PATIENCE, "all threads standing")
        return pid

    def checkpoint_and_stand(self, *more):
        popen = self.begin()
        process = self.in_background("checkpoint", popen.pid, "-o", self.snapshot, "--attach-debugger", *more)
        self.assertEqual(self.invited(process), popen.pid)
        self.assertEqual(self.crs("verify", self.snapshot).status, OK)
        return popen, process

    def gdb(self, *commands):
        at = self.command.index("gdb") + 1
        words = [*self.command[:at], "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", *self.command[at:]]
        for command in commands:
            words += ["-ex", command]
        done = subprocess.run(words, cwd=self.work, env=self.account.environment(), stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=PATIENCE, errors="replace",
                              **self.account.popen_arguments())
        self.log.append(done.stdout)
        return done.stdout

    def assert_runs(self, pid):
        wait_until(lambda: is_alive(pid) and not states(pid) & {"T", "t"}, PATIENCE, "the process running")
        for tid in thread_ids(pid):
            self.assertIn(status_field(tid, "TracerPid"), ("0", None))

    def assert_ends_well(self, popen):
        self.write("go", "")
        self.assertEqual(popen.wait(PATIENCE), OK, self.text("program.out"))
        os.remove(self.path("go"))

    # ------------------------------------------------------------------------------- after a checkpoint

    def test_a_debugger_takes_it_over_and_lets_it_go(self):
        popen, process = self.checkpoint_and_stand()
        told = self.gdb("info threads", "thread apply all bt 1", "detach")
        self.assertIn("Thread 3", told)
        self.assertEqual(process.wait(PATIENCE), OK, told)
        self.assertEqual(process.stderr.read().count("note:"), 0)
        self.assert_runs(popen.pid)
        self.assert_ends_well(popen)

    def test_a_debugger_that_continues_it_gets_to_its_breakpoint(self):
        popen, process = self.checkpoint_and_stand()
        told = self.gdb("handle SIGCONT nostop noprint pass", "break tick", "continue", "bt 2", "delete", "detach")
        self.assertRegex(told, r"hit Breakpoint 1\b|Breakpoint 1, ")
        self.assertEqual(process.wait(PATIENCE), OK, told)
        self.assert_runs(popen.pid)
        self.assert_ends_well(popen)

    def test_no_debugger_comes(self):
        popen, process = self.checkpoint_and_stand("--debugger-limit", "3")
        self.assertEqual(process.wait(PATIENCE), OK)
        self.assertIn("no debugger came within 3 s", process.stderr.read())
        self.assert_runs(popen.pid)
        self.assert_ends_well(popen)

    def test_the_debugger_is_killed(self):
        popen, process = self.checkpoint_and_stand()
        debugger = subprocess.Popen(["gdb", "-nx", "-q", "-iex", "set debuginfod enabled off", "-p", str(popen.pid), "-ex", "echo has\\ it\\n"],
                                    cwd=self.work, env=self.account.environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL, **self.account.popen_arguments())
        self.popens.append(debugger)
        self.assertEqual(process.wait(PATIENCE), OK)  # when the debugger has all of it
        self.assertEqual(states(popen.pid), {"t"})
        debugger.kill()
        debugger.wait(PATIENCE)
        debugger.stdin.close()
        self.assert_runs(popen.pid)
        self.assert_ends_well(popen)

    def test_crs_is_killed_or_interrupted(self):
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number):
                popen, process = self.checkpoint_and_stand()
                process.send_signal(number)
                status = process.wait(PATIENCE)
                self.assertEqual(status, -number if number == signal.SIGKILL else OK)
                self.assert_runs(popen.pid)
                self.assertEqual(self.crs("verify", self.snapshot).status, OK)
                self.assert_ends_well(popen)
                shutil.rmtree(self.snapshot)

    def test_the_guard_is_killed(self):
        popen, process = self.checkpoint_and_stand()
        guards = child_pids(process.pid)
        self.assertEqual(len(guards), 1)
        os.kill(guards[0], signal.SIGKILL)
        self.assertEqual(process.wait(PATIENCE), OK)
        self.assertIn("the guard of the stop has ended", process.stderr.read())
        self.assert_runs(popen.pid)
        self.assert_ends_well(popen)

    def test_another_checkpoint_is_no_debugger(self):
        popen, process = self.checkpoint_and_stand()
        self.assertEqual(self.crs("checkpoint", popen.pid, "-o", os.path.join(self.folder, "2")).status, OK)
        self.assertIsNone(process.poll())
        self.assertEqual(states(popen.pid), {"T"})
        self.gdb("detach")
        self.assertEqual(process.wait(PATIENCE), OK)
        self.assert_runs(popen.pid)
        self.assert_ends_well(popen)

    def test_a_failed_checkpoint_stops_nobody(self):
        popen = self.begin()
        os.mkdir(self.snapshot)
        answer = self.crs("checkpoint", popen.pid, "-o", self.snapshot, "--attach-debugger")
        self.assertNotEqual(answer.status, OK, answer)
        self.assert_runs(popen.pid)
        self.assert_ends_well(popen)

    def test_a_process_that_is_stopped_stays_stopped(self):
        popen = self.begin()
        os.kill(popen.pid, signal.SIGSTOP)
        wait_until(lambda: states(popen.pid) == {"T"}, PATIENCE, "the stop")
        answer = self.crs("checkpoint", popen.pid, "-o", self.snapshot, "--attach-debugger")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "is stopped already", "--detach-debugger")
        self.assertEqual(states(popen.pid), {"T"})
        os.kill(popen.pid, signal.SIGCONT)
        self.assert_ends_well(popen)

    def test_a_process_that_saves_itself(self):
        popen = self.start("stands", self.folder)
        wait_until(lambda: os.path.exists(os.path.join(self.snapshot, "manifest.json")), PATIENCE, "the snapshot")
        wait_until(lambda: states(popen.pid) == {"T"}, PATIENCE, "all threads standing")
        self.command = ["gdb", "-p", str(popen.pid)]
        self.gdb("thread apply all bt 1", "detach")
        self.wait_for_lines("program.out", 1, PATIENCE)
        self.assertEqual(self.text("program.out"), "CRS_SUCCESS CONTINUE\n")
        self.assert_runs(popen.pid)
        self.assert_ends_well(popen)

    # --------------------------------------------------------------------------------- after a restart

    def test_a_restored_process_stands_before_it_runs(self):
        popen = self.begin()
        self.checkpoint(popen.pid, "-o", self.snapshot)
        self.kill(popen)
        process = self.in_background("restart", self.snapshot, "--attach-debugger")
        pid = self.invited(process)
        told = self.gdb("handle SIGCONT nostop noprint pass", "info threads", "break tick", "continue", "delete", "detach")
        self.assertRegex(told, r"(?m)^\s*\*?\s*3\s")
        self.assertRegex(told, r"hit Breakpoint 1\b|Breakpoint 1, ")
        self.assert_runs(pid)
        self.write("go", "")
        self.assertEqual(process.wait(PATIENCE), OK)

    def test_a_restored_process_for_which_no_debugger_comes(self):
        popen = self.begin()
        self.checkpoint(popen.pid, "-o", self.snapshot)
        self.kill(popen)
        process = self.in_background("restart", self.snapshot, "--attach-debugger", "--debugger-limit", "3")
        pid = self.invited(process)
        self.assert_runs(pid)
        self.write("go", "")
        self.assertEqual(process.wait(PATIENCE), OK)

    def test_crs_is_killed_while_a_restored_process_stands(self):
        popen = self.begin()
        self.checkpoint(popen.pid, "-o", self.snapshot)
        self.kill(popen)
        process = self.in_background("restart", self.snapshot, "--attach-debugger", "--detach")
        pid = self.invited(process)
        process.kill()
        process.wait(PATIENCE)
        wait_until(lambda: not is_alive(pid) or not states(pid) & {"T", "t"}, PATIENCE, "nobody standing")
        if is_alive(pid):
            self.kill(pid)

    # ---------------------------------------------------------------------------------------- options

    def test_the_parameter_and_who_comes_before_it(self):
        popen = self.begin()
        parameters = ("--param", "service.attach_debugger=yes", "--param", "service.debugger_limit=2")
        answer = self.crs("checkpoint", popen.pid, "-o", self.snapshot, "--detach-debugger", *parameters)
        self.assertEqual(answer.status, OK, answer)
        self.assertNotIn("debugger", answer.err)
        answer = self.crs("checkpoint", popen.pid, "-o", os.path.join(self.folder, "2"), *parameters)
        self.assertEqual(answer.status, OK, answer)
        self.assert_says(answer, "no debugger came within 2 s")
        self.assert_runs(popen.pid)
        self.assert_ends_well(popen)

    def test_options_that_exclude_each_other(self):
        popen = self.begin()
        for words in (("--term",), ("--stop",), ("--detach-debugger",), ("--debugger-limit", "0")):
            answer = self.crs("checkpoint", popen.pid, "-o", self.snapshot, "--attach-debugger", *words)
            self.assertEqual(answer.status, USAGE, answer)
        self.checkpoint(popen.pid, "-o", self.snapshot)
        self.assertEqual(self.crs("restart", self.snapshot, "--attach-debugger", "--in-place").status, USAGE)
        self.checkpoint(popen.pid, "-o", os.path.join(self.folder, "2"), "--component", "none")
        answer = self.crs("restart", os.path.join(self.folder, "2"), "--attach-debugger", "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "starts the program anew")
        self.assert_ends_well(popen)


if __name__ == "__main__":
    main()
