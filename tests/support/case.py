# SPDX-License-Identifier: Apache-2.0
"""The base of the tests that use crs as a user would: unittest, with processes and snapshots at hand.

    class Terminal(Case):
        def test_rows_go_on(self):
            program = self.start("rows", "out", "200")
            ...
    if __name__ == "__main__":
        main()

Every case has a directory of its own (self.cwd), which is kept when the case fails. Whatever it started is ended
afterwards by pid; what crs left running is a failure of the case (tearDown).
"""
import argparse
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

from outside_view import differences, settled_view
from processes import (SKIPPED, Account, Failure, Skip, become_subreaper, child_pids, end_descendants, exists, is_alive,
                       kill_and_wait, reap, state_letter, status_field, wait_until)

# What crs answers (crs(1), "Exit status").
OK, USAGE, NOT_FOUND, NO_PERMISSION, REFUSED, BUSY, TIMED_OUT, BAD_SNAPSHOT, STORAGE, OTHER = 0, 2, 3, 4, 5, 6, 7, 8, 9, 10
RESTART_FAILED = 125
CRS_SECONDS = 60
MOST_MEMORY = 64 << 10  # KiB that one crs command may use, whatever it saves
OUR_PROGRAMS = ("endure", "growing", "memory", "rows", "thirty_two_bits")  # what the build always makes

OPTIONS = None


class Answer:
    """What one crs command did."""

    def __init__(self, words, status, out, err, seconds):
        self.words, self.status, self.out, self.err, self.seconds = words, status, out, err, seconds

    def __str__(self):
        return f"$ {shlex.join(self.words)}\n{self.out}{self.err}[exit status {self.status}, {self.seconds:.3f} s]"

    def last_line(self):
        lines = self.out.strip().splitlines()
        return lines[-1] if lines else ""


class Case(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        try:
            self.account = Account(OPTIONS.who)
        except Skip as skip:
            self.skipTest(str(skip))
        self.work = tempfile.mkdtemp(prefix=f"crs-{self._testMethodName[5:45]}-{OPTIONS.who}.", dir=OPTIONS.scratch)
        os.chmod(self.work, 0o755)
        self.cwd = os.path.join(self.work, "cwd")
        self.store = os.path.join(self.work, "store")
        os.mkdir(self.cwd)
        os.mkdir(self.store, 0o700)
        self.account.own(self.cwd)
        self.account.own(self.store)
        self.log = []
        self.popens = []
        self.crs_path = self.reachable(OPTIONS.crs)
        self.snapshot_count = 0
        self.extra_environment = {}  # of every crs command

    def tearDown(self):
        time.sleep(0.02)
        end_descendants()
        for popen in self.popens:
            if popen.returncode is None:
                popen.returncode = popen.poll() if popen.poll() is not None else -9
        outcome = self._outcome
        failed = any(error for _, error in getattr(outcome, "errors", [])) or bool(
            getattr(outcome, "result", None) and any(test is self for test, _ in
                                                     outcome.result.failures + outcome.result.errors))
        if failed:
            print("\n".join(str(entry) for entry in self.log[-12:]))
            for name in sorted(os.listdir(self.cwd)):
                path = os.path.join(self.cwd, name)
                if name.endswith(".err") and os.path.getsize(path):
                    with open(path, encoding="utf-8", errors="replace") as file:
                        print(f"--- {name}\n{file.read()[-2000:]}", end="")
            print(f"--- kept: {self.work}\n--- repeat: {sys.executable} {sys.argv[0]} --crs {OPTIONS.crs} --programs "
                  f"{OPTIONS.programs} --who {OPTIONS.who} {'--sanitized ' if OPTIONS.sanitized else ''}{type(self).__name__}.{self._testMethodName}")
        elif not OPTIONS.keep:
            shutil.rmtree(self.work, ignore_errors=True)

    # ---------------------------------------------------------------------------------------- programs

    def reachable(self, program):
        """The program, or a copy where the ordinary user cannot reach it."""
        if self.account.can_execute(program):
            return program
        copy = os.path.join(self.work, os.path.basename(program))
        if not os.path.exists(copy):
            shutil.copyfile(program, copy)
            os.chmod(copy, stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
        return copy

    def program(self, name):
        """A program of tests/programs, built by the build; or one of the machine."""
        built = os.path.join(OPTIONS.programs, name)
        if os.path.exists(built):
            return self.reachable(built)
        if name in OUR_PROGRAMS:
            self.fail(f"{built} was not built")
        found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
        if not found:
            self.skipTest(f"{name} is missing")
        return found

    def path(self, name):
        return os.path.join(self.cwd, name)

    def write(self, name, text):
        with open(self.path(name), "w" if isinstance(text, str) else "wb") as file:
            file.write(text)
        self.account.own(self.path(name))
        return self.path(name)

    def text(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def bytes(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def start(self, *words, out="program.out", stdin=None, **more):
        """Starts a program as the account, in self.cwd, its output in files; a Popen. `stdin` is a file's name or a descriptor."""
        stdin_file = open(self.path(stdin), "rb") if isinstance(stdin, str) else stdin or subprocess.DEVNULL
        environment = self.account.environment(**more.pop("environment", {}))
        with open(self.path(out), "wb") as out_file, open(self.path(out + ".err"), "wb") as err_file:
            self.account.own(out_file.name)
            self.account.own(err_file.name)
            more = {"start_new_session": True, **more}
            popen = subprocess.Popen([self.program(words[0]), *words[1:]], stdin=stdin_file, stdout=out_file, stderr=err_file,
                                     cwd=self.cwd, env=environment, **more, **self.account.popen_arguments())
        if isinstance(stdin, str):
            stdin_file.close()
        self.popens.append(popen)
        return popen

    def run_to_end(self, *words, seconds=120, **more):
        popen = self.start(*words, **more)
        self.assertEqual(popen.wait(seconds), 0, f"{words} by itself, without a checkpoint")

    def cpu_seconds(self, pid):
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_for_cpu(self, pid, seconds):
        """Until the program has computed for so long: in its middle, however busy the machine is."""
        def reached():
            if not is_alive(pid):
                self.fail("the program ended before it could be checkpointed")
            return self.cpu_seconds(pid) >= seconds
        wait_until(reached, 60, f"pid {pid} using {seconds} s of processor time")

    def wait_for_lines(self, name, count, seconds=20):
        def reached():
            return os.path.exists(self.path(name)) and self.bytes(name).count(b"\n") >= count
        wait_until(reached, seconds, f"{count} lines in {name}")

    # --------------------------------------------------------------------------------------------- crs

    def environment(self):
        return self.account.environment(CRS_STORE=self.store, **self.extra_environment)

    def crs(self, *words, seconds=CRS_SECONDS, **more):
        """One crs command to its end, as the account."""
        words = [self.crs_path, *map(str, words)]
        started = time.monotonic()
        more = {"cwd": self.work, **more}
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   errors="replace", env=self.environment(), **more, **self.account.popen_arguments())
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.fail(f"{shlex.join(words)}: still running after {seconds} seconds")
        answer = Answer(words, process.returncode, out, err, time.monotonic() - started)
        self.log.append(answer)
        return answer

    def crs_in_little_memory(self, *words):
        """One crs command that succeeds, and its peak memory is small: measured where the build allows it (--sanitized)."""
        process = subprocess.Popen([self.crs_path, *map(str, words)], stdout=subprocess.DEVNULL, env=self.environment(),
                                   cwd=self.work, **self.account.popen_arguments())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, OK)
        if OPTIONS.sanitized:
            print("(its peak memory is not judged: this crs is sanitized)", end=" ", flush=True)
        else:
            self.assertLess(usage.ru_maxrss, MOST_MEMORY, "peak memory of crs in KiB")

    def checkpoint(self, pid, *more):
        """The path of a new snapshot; the process must run on unharmed."""
        self.snapshot_count += 1
        words = list(more) if "--store" in more or "-o" in more else ["-o", self.path(f"snapshot.{self.snapshot_count}"), *more]
        answer = self.crs("checkpoint", pid, *words)
        self.assertEqual(answer.status, OK, answer)
        path = answer.last_line()
        self.assertTrue(os.path.exists(os.path.join(path, "manifest.json")), f"no snapshot: {answer}")
        return path

    def restart(self, snapshot, *more):
        """Detached; the pid of the restored process as we see it."""
        answer = self.crs("restart", snapshot, "--detach", *more)
        self.assertEqual(answer.status, OK, answer)
        self.assertRegex(answer.last_line(), r"^\d+$", answer)
        pid = int(answer.last_line())
        self.assertTrue(exists(pid), f"{answer}: no such process")
        return pid

    def foreground(self, snapshot, *more, **popen):
        """`crs restart` standing for the program: a Popen, whose output is in restart.log."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        log = None
        if "stdout" not in popen:
            log = open(self.path("restart.err"), "ab")
            popen.update(stdout=log, stderr=log)
        process = subprocess.Popen([self.crs_path, "restart", snapshot, *map(str, more)], cwd=self.work, env=self.environment(),
                                   **popen, **self.account.popen_arguments())
        if log:
            log.close()
        self.popens.append(process)
        return process

    def kill(self, popen_or_pid):
        """kill -9, and the pid is free again."""
        if isinstance(popen_or_pid, int):
            kill_and_wait(popen_or_pid)
            return
        popen_or_pid.kill()
        popen_or_pid.wait(10)

    def wait_gone(self, pid, seconds=60):
        """Until a process that is not ours to wait for has ended."""
        wait_until(lambda: reap(pid) is not None or not exists(pid), seconds, f"the end of pid {pid}")

    def look(self, pid):
        return settled_view(pid)

    def assert_unharmed(self, pid, before=None, skip=()):
        """Not stopped, not traced, no zombie of ours among its children, and the same from outside as before."""
        self.assertTrue(is_alive(pid), f"pid {pid} did not survive")
        for tid in os.listdir(f"/proc/{pid}/task"):
            self.assertIn(status_field(tid, "TracerPid"), ("0", None), f"thread {tid} is still traced")
            wait_until(lambda t=tid: state_letter(t) not in ("T", "t"), 2, f"thread {tid} running")
        for child in child_pids(pid):
            self.assertNotEqual(state_letter(child), "Z", f"pid {pid} was left a zombie, pid {child}")
        if before is not None:
            found = differences(before, settled_view(pid), skip)
            self.assertEqual(found, [], "seen from outside the process has changed:\n" + "\n".join(found))

    def files_below(self, directory):
        found = []
        for folder, _, names in os.walk(directory):
            found += [os.path.relpath(os.path.join(folder, name), directory) for name in names]
        return sorted(found)

    def assert_says(self, answer, *words):
        """The message names cause and remedy: each word (or one of a tuple) is in it, and it is not empty talk."""
        text = (answer.out + answer.err).lower()
        for word in words:
            choices = word if isinstance(word, tuple) else (word,)
            self.assertTrue(any(str(choice).lower() in text for choice in choices), f"nothing about {word} in:\n{answer}")

    def assert_no_processes(self):
        """crs left nobody behind (what the case itself started is not counted)."""
        known = {popen.pid for popen in self.popens}

        def clean():
            for pid in child_pids(os.getpid()):
                if state_letter(pid) == "Z" and pid not in known:
                    reap(pid)
            return not [pid for pid in child_pids(os.getpid()) if pid not in known and is_alive(pid)]
        wait_until(clean, 5, "crs leaving no process behind")

    # -------------------------------------------------------------------------- the usual round trip

    def there_and_back(self, popen, middle, times=2, end_by_checkpoint=False):
        """Checkpoint, kill, restart, `times` times; the last one in the foreground, whose exit status is returned.

        middle(pid) waits until the process is worth a checkpoint. Between checkpoint and kill it runs on, unless it is
        ended by the checkpoint (--term)."""
        pid = popen.pid
        for round_number in range(times):
            middle(pid)
            snapshot = self.checkpoint(pid, *(["--term"] if end_by_checkpoint else []))
            self.kill(popen if round_number == 0 else pid)
            if round_number < times - 1:
                pid = self.restart(snapshot)
        return self.foreground(snapshot).wait(120)


def main():
    global OPTIONS
    parser = argparse.ArgumentParser(description="tests that use crs as a user would")
    parser.add_argument("--crs", required=True)
    parser.add_argument("--programs", default="", help="where the programs of tests/programs were built")
    parser.add_argument("--who", default="root" if os.geteuid() == 0 else "user", choices=("root", "user"))
    parser.add_argument("--scratch", default=os.environ.get("TMPDIR", "/tmp"))
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--sanitized", action="store_true", help="crs was built with sanitizers: its memory says nothing")
    OPTIONS, rest = parser.parse_known_args()
    OPTIONS.crs = os.path.abspath(OPTIONS.crs)
    OPTIONS.programs = os.path.abspath(OPTIONS.programs) if OPTIONS.programs else os.path.join(os.path.dirname(OPTIONS.crs), "programs")
    become_subreaper()
    program = unittest.main(argv=[sys.argv[0], *rest], exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun == 0:
        print("no case was run")
        sys.exit(1)
    if len(result.skipped) == result.testsRun:
        for _, reason in result.skipped:
            print(f"SKIP: {reason}")
        sys.exit(SKIPPED)
    sys.exit(0)


__all__ = ["Case", "Failure", "main", "OK", "USAGE", "NOT_FOUND", "NO_PERMISSION", "REFUSED", "BUSY", "TIMED_OUT", "BAD_SNAPSHOT",
           "STORAGE", "OTHER", "RESTART_FAILED", "re", "signal", "wait_until", "state_letter", "status_field", "exists",
           "is_alive", "kill_and_wait", "reap", "child_pids"]
