#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one target (tests/target.h) through a checkpoint and a restart, and passes on its judgement.

Variants
  once      checkpoint, kill -9, restart in the foreground (the exit status must be the target's)
  twice     checkpoint, kill -9, detached restart, and all of it again with the restored process
  running   checkpoint only: the process runs on and must not have noticed anything
  none      no checkpoint: is the target itself right on this machine?
In each of them the process is also compared from outside (support/outside_view.py) before and after.

Exit status: 0 passed, 1 failed (the directory is kept and the command that repeats it is printed), 77 skipped.
"""
import argparse
import os
import random
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
# pylint: disable=wrong-import-position
from outside_view import differences, settled_view  # noqa: E402
from processes import (SKIPPED, Account, Failure, Skip, become_subreaper, child_pids, end_descendants,  # noqa: E402
                       exists, is_alive, kill_and_wait, reap, reap_zombies, state_letter, status_field, wait_until)

CRS_SECONDS = 30  # the longest that one crs command may take
EXIT_REFUSED = 5


def directives(source):
    """The comments at the head of a target that are meant for the harness, as {name: value}."""
    found = {}
    names = "flags|compiler|needs|lock|expect|outside-view|timeout|checkpoint-args|restart-args|notes|settle|checkpoints|dead-time|variants"
    with open(source, encoding="utf-8") as file:
        for line in file:
            match = re.match(rf"^// ({names}): *(.*\S)", line)
            if match:
                found[match[1]] = match[2]
    return found


class Run:
    def __init__(self, options):
        self.options = options
        self.wishes = directives(options.source)
        self.account = Account(options.who)
        self.work = tempfile.mkdtemp(prefix=f"crs-{options.name}-{options.variant}-{options.who}.", dir=options.scratch)
        os.chmod(self.work, 0o755)
        self.cwd = os.path.join(self.work, "cwd")
        self.snapshots = os.path.join(self.work, "snapshots")
        for path in (self.cwd, self.snapshots):
            os.mkdir(path)
            self.account.own(path)
        self.crs = self.reachable(options.crs) if options.variant != "none" else options.crs
        self.target = self.reachable(options.target)
        self.deadline = time.monotonic() + float(self.wishes.get("timeout", 20))
        self.log = open(os.path.join(self.work, "crs.log"), "a", encoding="utf-8")
        self.snapshot_number = 0
        self.pid = None
        self.foreground = None  # the `crs restart` that stands for the target
        self.started = None     # the first process; Popen, so that its status is ours to collect

    def reachable(self, program):
        """The program, or a copy where the ordinary user cannot reach it (a build tree below /root)."""
        if self.account.can_execute(program):
            return program
        copy = os.path.join(self.work, os.path.basename(program))
        shutil.copyfile(program, copy)
        os.chmod(copy, stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
        return copy

    def command(self, *arguments):
        """Runs crs to its end: (status, stdout, stderr)."""
        environment = self.account.environment(CRS_STORE=os.path.join(self.work, "store"))
        if self.options.shuffle:
            environment["CRS_TEST_SHUFFLE_KINDS"] = str(self.options.shuffle)
        words = [self.crs, *map(str, arguments)]
        started = time.monotonic()
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   cwd=self.work, env=environment, text=True, errors="replace",
                                   **self.account.popen_arguments())
        try:
            out, err = process.communicate(timeout=CRS_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failure(f"{shlex.join(words)}: still running after {CRS_SECONDS} seconds") from None
        self.note(words, process.returncode, out, err, time.monotonic() - started)
        return process.returncode, out, err

    def note(self, words, status, out, err, seconds):
        self.log.write(f"$ {shlex.join(words)}\n{out}{err}[exit status {status}, {seconds:.3f} s]\n")
        self.log.flush()

    def start(self):
        with open(os.path.join(self.work, "stdout"), "wb") as out, open(os.path.join(self.work, "stderr"), "wb") as err:
            self.account.own(out.name)
            self.account.own(err.name)
            self.started = subprocess.Popen([self.target], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=self.cwd,
                                            env=self.account.environment(), start_new_session=True,
                                            **self.account.popen_arguments())
        self.pid = self.started.pid

    def path(self, name):
        return os.path.join(self.cwd, name)

    def alive(self):
        return is_alive(self.pid)

    def await_file(self, *names):
        """Waits for one of the files of the target and tells which; a target that ends without one has crashed."""
        def found():
            for name in names:
                if os.path.exists(self.path(name)):
                    return name
            if self.foreground is not None and self.foreground.poll() is not None:
                for name in names:  # written since
                    if os.path.exists(self.path(name)):
                        return name
                raise Failure(f"the foreground restart ended with status {self.foreground.returncode}{crash(self.foreground.returncode)}")
            if not self.alive():
                for name in names:
                    if os.path.exists(self.path(name)):
                        return name
                status = self.started.poll() if self.started.pid == self.pid else reap(self.pid)
                raise Failure(f"the target is gone without a result (status {status}{crash(status)})")
            return None
        return wait_until(found, max(1.0, self.deadline - time.monotonic()), f"the target writing {' or '.join(names)}")

    def checkpoint(self):
        self.snapshot_number += 1
        directory = os.path.join(self.snapshots, str(self.snapshot_number))
        status, out, err = self.command("checkpoint", self.pid, "-o", directory,
                                        *shlex.split(self.wishes.get("checkpoint-args", "")))
        self.unharmed()
        if status != 0:
            raise Failure(f"crs checkpoint: exit status {status}\n{out}{err}")
        lines = out.strip().splitlines()
        if not lines or not os.path.exists(os.path.join(lines[-1], "manifest.json")):
            raise Failure(f"crs checkpoint: the last line of stdout is not a snapshot: {lines[-1:]}")
        self.expect_notes(err.replace(self.work, ""))
        return lines[-1]

    def expect_notes(self, notes):
        for word in self.wishes.get("notes", "").split():
            wanted = not word.startswith("!")
            if (word.lstrip("!").lower() in notes.lower()) != wanted:
                raise Failure(f"the notes of crs checkpoint {'lack' if wanted else 'hold'} {word.lstrip('!')!r}:\n{notes}")

    def checkpoints(self):
        """One, or as many as the target wishes, the same while apart as before the first; answers the last."""
        for number in range(int(self.wishes.get("checkpoints", 1))):
            if number > 0:
                time.sleep(float(self.wishes.get("settle", 0)))
            snapshot = self.checkpoint()
        return snapshot

    def unharmed(self):
        """After any checkpoint, good or failed, the target runs on: not stopped, not traced."""
        if not is_alive(self.pid):
            raise Failure(f"the target (pid {self.pid}) did not survive the checkpoint")
        for tid in os.listdir(f"/proc/{self.pid}/task"):
            tracer = status_field(tid, "TracerPid")
            if tracer not in ("0", None):
                raise Failure(f"after the checkpoint thread {tid} is still traced by {tracer}")
            wait_until(lambda t=tid: state_letter(t) not in ("T", "t"), 2, f"thread {tid} running after the checkpoint")

    def kill(self):
        if self.foreground is not None:
            os.kill(self.pid, signal.SIGKILL)
            self.foreground.wait(10)
            self.foreground = None
        if self.started is not None and self.pid == self.started.pid:
            self.started.kill()
            self.started.wait(10)
            self.started = None
        else:
            kill_and_wait(self.pid)
        wait_until(lambda: not exists(self.pid), 10, f"pid {self.pid} being free")
        time.sleep(float(self.wishes.get("dead-time", 0)))

    def restart(self, snapshot, detach):
        pidfile = os.path.join(self.snapshots, f"pid.{self.snapshot_number}")
        words = ["restart", snapshot, "--pidfile", pidfile, *shlex.split(self.wishes.get("restart-args", ""))]
        if detach:
            status, out, err = self.command(*words, "--detach")
            if status != 0:
                raise Failure(f"crs restart --detach: exit status {status}\n{out}{err}")
        else:
            log = open(os.path.join(self.work, "restart.log"), "wb")
            environment = self.account.environment(CRS_STORE=os.path.join(self.work, "store"))
            self.foreground = subprocess.Popen([self.crs, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                               cwd=self.work, env=environment, **self.account.popen_arguments())

        def pid_written():
            if os.path.exists(pidfile):
                with open(pidfile, encoding="ascii") as file:
                    return file.read().strip()
            if self.foreground is not None and self.foreground.poll() is not None:
                raise Failure(f"crs restart: exit status {self.foreground.returncode}")
            return None
        self.pid = int(wait_until(pid_written, CRS_SECONDS, "crs restart writing its --pidfile"))

    def compare(self, before, restored):
        skip = set()
        for word in self.wishes.get("outside-view", "").split():
            skip.add(word)
        if restored and not self.account.is_root:
            # In a user namespace of its own the process's bounding set is the namespace's.
            before = {**before, "status": {k: v for k, v in before["status"].items() if k != "CapBnd"}}
        after = self.look()
        if restored and not self.account.is_root:
            after["status"].pop("CapBnd", None)
        found = differences(before, after, skip)
        if found:
            raise Failure("seen from outside the process is not the same:\n    " + "\n    ".join(found))

    def look(self):
        try:
            return settled_view(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            raise Failure(f"the target (pid {self.pid}) is gone") from None

    def one_checkpoint(self, number):
        """Everything between READY and GO."""
        with open(self.path(f"READY.{number}"), encoding="ascii") as file:
            during = file.read().strip() == "during"
        if during:
            times = int(self.wishes.get("checkpoints", 1)) if self.options.variant == "none" else 1
            time.sleep(float(self.wishes.get("settle", 0.15)) * times)
        before = self.look()
        if self.options.variant == "none":
            self.go(number)
            return
        expectation = self.wishes.get("expect", "")
        if expectation.startswith("refused"):
            self.expect_refusal(shlex.split(expectation)[1:])
            self.compare(before, restored=False)
        elif self.options.variant == "running":
            self.checkpoints()
            self.compare(before, restored=False)
        else:
            for round_number in range(2 if self.options.variant == "twice" else 1):
                snapshot = self.checkpoints()
                self.kill()
                self.restart(snapshot, detach=self.options.variant == "twice")
                try:
                    self.compare(before, restored=True)
                except Failure as failure:
                    raise Failure(f"after restart {round_number + 1}: {failure}") from None
        self.go(number)

    def without_names(self, text):
        """Without the test's own directory and the target's name, in which the words of its subject stand as well."""
        for name in (self.work, self.options.name, self.options.name[:15]):  # a command's name is cut to 15 bytes
            text = text.replace(name, "")
        return text

    def expect_refusal(self, words):
        status, out, err = self.command("checkpoint", self.pid, "-o", os.path.join(self.snapshots, "refused"))
        self.unharmed()
        if status != EXIT_REFUSED:
            raise Failure(f"crs checkpoint: exit status {status} where a refusal ({EXIT_REFUSED}) is expected\n{out}{err}")
        said = self.without_names(out + err).lower()
        missing = [word for word in words if word.lower() not in said]
        if missing:
            raise Failure(f"the refusal does not name {missing}:\n{out}{err}")
        if os.path.exists(os.path.join(self.snapshots, "refused")):
            raise Failure("the refused checkpoint left a snapshot behind")

    def go(self, number):
        with open(self.path(f"GO.{number}"), "w", encoding="ascii"):
            pass

    def verdict(self):
        with open(self.path("RESULT"), encoding="utf-8", errors="replace") as file:
            result = file.read().strip()
        if result.startswith("SKIP"):
            raise Skip(result[5:])
        status = self.exit_status()
        if not result.startswith("PASS"):
            raise Failure("the target found something wrong (see its output)")
        if status not in (0, None):
            raise Failure(f"the target passed but its exit status is {status}{crash(status)}")
        return result

    def exit_status(self):
        """Of the target, as whoever started or restarted it gets to see it."""
        try:
            if self.foreground is not None:
                return self.foreground.wait(10)
            if self.started is not None:
                return self.started.wait(10)
        except subprocess.TimeoutExpired:
            raise Failure("the target wrote its result but does not end") from None
        wait_until(lambda: reap(self.pid) is not None or not exists(self.pid), 10, f"the end of pid {self.pid}")
        return None

    def run(self):
        self.start()
        number = 1
        while True:
            name = self.await_file("RESULT", f"READY.{number}")
            if name == "RESULT":
                break
            self.one_checkpoint(number)
            number += 1
        result = self.verdict()
        if number == 1:
            raise Failure("the target made no checkpoint")

        def nobody_left():
            reap_zombies()
            return not child_pids_alive()
        wait_until(nobody_left, 5, "every process of the test being gone")
        return result

    def report(self, text):
        print(f"FAILED {self.options.name} ({self.options.variant}, {self.options.who}): {text}")
        for name in ("stdout", "stderr", "restart.log", "crs.log"):
            path = os.path.join(self.work, name)
            if os.path.exists(path) and os.path.getsize(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    print(f"--- {name}\n{file.read()[-6000:]}", end="")
        print(f"--- kept: {self.work}")
        print(f"--- repeat: {shlex.join([sys.executable, *sys.argv])}"
              + (f" --shuffle {self.options.shuffle}" if self.options.shuffle and "--shuffle" not in sys.argv else ""))


def child_pids_alive():
    return [pid for pid in child_pids(os.getpid()) if is_alive(pid)]


def crash(status):
    if status is None:
        return ""
    if status < 0:
        return f", {signal.Signals(-status).name}"
    if status > 128 and status - 128 in signal.valid_signals():
        return f", {signal.Signals(status - 128).name}?"
    return ""


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crs", required=True, help="the program under test")
    parser.add_argument("--target", required=True, help="the compiled target")
    parser.add_argument("--source", required=True, help="its source, for the comments at its head")
    parser.add_argument("--variant", default="once", choices=("once", "twice", "running", "none"))
    parser.add_argument("--who", default="root" if os.geteuid() == 0 else "user", choices=("root", "user"))
    parser.add_argument("--shuffle", type=int, default=0, help="order of the kinds; 0: as they are")
    parser.add_argument("--scratch", default=os.environ.get("TMPDIR", "/tmp"), help="where working directories are made")
    parser.add_argument("--keep", action="store_true", help="keep the working directory of a test that passed, too")
    options = parser.parse_args()
    options.name = os.path.splitext(os.path.basename(options.source))[0]
    if options.variant == "twice" and not options.shuffle:
        options.shuffle = random.randrange(1, 1 << 31)
    for name in ("crs", "target", "source"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    return options


def main():
    options = parse()
    wishes = directives(options.source)
    if not os.path.exists(options.target):
        if "compiler" not in wishes:
            print(f"FAILED {options.name}: {options.target} was not built")
            return 1
        print(f"SKIP: {wishes['compiler']} is missing")
        return SKIPPED
    become_subreaper()
    try:
        run = Run(options)
    except Skip as skip:
        print(f"SKIP: {skip}")
        return SKIPPED
    keep = options.keep
    try:
        print(f"PASS {options.name} ({options.variant}, {options.who}): {run.run()}")
        return 0
    except Skip as skip:
        print(f"SKIP: {skip}")
        return SKIPPED
    except Failure as failure:
        keep = True
        run.report(failure)
        return 1
    finally:
        left = end_descendants()
        if left and keep:
            print("--- ended: " + ", ".join(f"{pid} ({text})" for pid, text in left))
        if keep:
            print(f"--- kept: {run.work}" if options.keep else "", end="")
        else:
            shutil.rmtree(run.work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
