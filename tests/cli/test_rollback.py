#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""crs rollback: a running process goes back to its own snapshot, with its pid and its parent; and restart --in-place.

CRS_TEST_TIMES says how many rollbacks in a row (30 if it is not set), CRS_TEST_KILLS how often crs is killed (15)."""
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import (BAD_SNAPSHOT, NO_PERMISSION, NOT_FOUND, OK, REFUSED, TIMED_OUT, USAGE, Case, main,  # noqa: E402  pylint: disable=wrong-import-position
                  state_letter, status_field, wait_until)
from processes import Skip, is_alive, ordinary_user  # noqa: E402  pylint: disable=wrong-import-position

TIMES = int(os.environ.get("CRS_TEST_TIMES", "30"))
KILLS = int(os.environ.get("CRS_TEST_KILLS", "15"))
POSITIONS = ("fds",)  # where a program has got to in its output
COUNTER = """
import os, sys, time
out = open("out", "a", buffering=1)
count = 0
while not os.path.exists("stop"):
    count += 1
    out.write(f"{count} {os.getpid()} {os.getppid()}\\n")
    time.sleep(0.005)
sys.exit(9)
"""
# Then something that a rollback cannot put back in the process that there is.
SHARING = COUNTER.replace("count = 0", "import mmap\ncount, shared = 0, None").replace(
    "    count += 1", "    count += 1\n    if os.path.exists('share') and shared is None: shared = mmap.mmap(-1, 4096)")
PARENT = """
import subprocess, sys, time
time.sleep(0.3)
print("alone", flush=True)
sys.stdin.read()
child = subprocess.Popen(["sleep", "60"])
print("with child", flush=True)
while True:
    time.sleep(1)
"""


class Rollback(Case):
    def start_counter(self):
        self.write("counter.py", COUNTER)
        popen = self.start("python3", "counter.py")
        self.wait_for_lines("out", 20)
        return popen

    def rollback(self, pid, snapshot, *more):
        answer = self.crs("rollback", pid, snapshot, *more)
        self.assertEqual(answer.status, OK, answer)
        return answer

    def assert_refused(self, popen, snapshot, status, *words, more=()):
        before = self.look(popen.pid)
        answer = self.crs("rollback", popen.pid, snapshot, *more)
        self.assertEqual(answer.status, status, answer)
        self.assert_says(answer, *words)
        self.assert_unharmed(popen.pid, before, skip=POSITIONS)

    def beats(self):
        data = self.bytes("beats") if os.path.exists(self.path("beats")) else b""
        return struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0

    def start_threads(self):
        popen = self.start("endure", "beats")
        wait_until(lambda: self.beats() > 10, 10, "the program working")
        return popen

    # ------------------------------------------------------------------------------------------ it works

    def test_output_has_no_gap_and_the_parent_gets_the_exit_status(self):
        popen = self.start("rows", "out", "120", "10", "7")
        self.wait_for_lines("out", 10)
        snapshot = self.checkpoint(popen.pid)
        at_checkpoint = self.bytes("out").count(b"\n")
        self.wait_for_lines("out", at_checkpoint + 20)
        answer = self.rollback(popen.pid, snapshot, "--json")
        told = json.loads(answer.out)
        self.assertEqual(told["pid"], popen.pid)
        self.assertGreater(told["stop_ns"], 0)
        self.assertTrue(any("cut back" in note for note in told["notes"]), told)
        self.assertEqual(popen.wait(30), 7)
        self.assertEqual(self.text("out"), "".join(f"row {n}\n" for n in range(1, 121)))

    def test_python_goes_back_and_looks_as_before(self):
        popen = self.start_counter()
        before = self.look(popen.pid)
        snapshot = self.checkpoint(popen.pid)
        self.wait_for_lines("out", self.bytes("out").count(b"\n") + 50)
        self.rollback(popen.pid, snapshot)
        self.assert_unharmed(popen.pid, before, skip=POSITIONS)
        self.assertEqual(os.readlink(f"/proc/{popen.pid}/exe"), os.path.realpath(self.program("python3")))
        self.write("stop", "")
        self.assertEqual(popen.wait(20), 9)
        counted = [line.split() for line in self.text("out").splitlines()]
        self.assertEqual([int(fields[0]) for fields in counted], list(range(1, len(counted) + 1)))
        self.assertEqual({(int(fields[1]), int(fields[2])) for fields in counted}, {(popen.pid, os.getpid())})

    def test_threads(self):
        popen = self.start_threads()
        before = self.look(popen.pid)
        snapshot = self.checkpoint(popen.pid)
        if not self.account.is_root:
            self.assert_refused(popen, snapshot, REFUSED, "threads", "CAP_CHECKPOINT_RESTORE")
        else:
            for _ in range(3):
                self.rollback(popen.pid, snapshot)
                now = self.beats()
                wait_until(lambda n=now: self.beats() != n, 10, "the program going on")
            self.assert_unharmed(popen.pid, before)
        self.write("stop", "")
        self.assertEqual(popen.wait(20), 0, self.text("program.out.err"))

    def test_files_may_be_kept(self):
        popen = self.start("rows", "out", "200", "10")
        self.wait_for_lines("out", 10)
        snapshot = self.checkpoint(popen.pid)
        size = self.bytes("out").count(b"\n")
        self.wait_for_lines("out", size + 20)
        self.assert_refused(popen, snapshot, REFUSED, "grown", more=("--files", "refuse"))
        grown = len(self.bytes("out"))
        self.rollback(popen.pid, snapshot, "--files", "keep")
        self.assertGreaterEqual(len(self.bytes("out")), grown)
        self.assert_unharmed(popen.pid)

    def test_what_it_changed_about_itself_since_is_gone(self):
        """Limits, mask, umask, directory, CPUs, ignored and pending signals, timers, a death signal."""
        self.write("changes.py", """
import os, signal, time
print("ready", flush=True)
while not os.path.exists("change"):
    time.sleep(0.01)
os.umask(0o70)
os.chdir("/")
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGALRM, signal.SIGTERM})
os.kill(os.getpid(), signal.SIGUSR2)
os.kill(os.getpid(), signal.SIGTERM)
signal.setitimer(signal.ITIMER_REAL, 0.001)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import ctypes
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
print("changed", flush=True)
while True:
    time.sleep(0.01)
""")
        popen = self.start("python3", "changes.py")
        self.wait_for_lines("program.out", 1)
        before = self.look(popen.pid)
        cpus = status_field(popen.pid, "Cpus_allowed")
        snapshot = self.checkpoint(popen.pid)
        self.write("change", "")
        self.wait_for_lines("program.out", 2)
        os.unlink(self.path("change"))
        self.rollback(popen.pid, snapshot)
        self.assertEqual(self.text("program.out"), "ready\n")
        self.assertEqual(status_field(popen.pid, "ShdPnd"), "0" * 16)
        self.assertEqual(status_field(popen.pid, "Cpus_allowed"), cpus)
        self.assert_unharmed(popen.pid, before)

    def test_many_times(self):
        popen = self.start_counter()
        snapshot = self.checkpoint(popen.pid, "--compress", "none")

        def look():
            with open(f"/proc/{popen.pid}/maps", encoding="utf-8", errors="replace") as file:
                return len(file.readlines()), len(os.listdir(f"/proc/{popen.pid}/fd")), int(status_field(popen.pid, "VmRSS").split()[0])
        self.rollback(popen.pid, snapshot)
        mappings, descriptors, resident = look()
        for _ in range(TIMES):
            self.rollback(popen.pid, snapshot, "-q")
        after = look()
        self.assertLessEqual(after[0], mappings + 2)
        self.assertEqual(after[1], descriptors)
        self.assertLess(after[2], resident * 1.2)
        self.assert_unharmed(popen.pid)
        self.assert_no_processes()

    # ------------------------------------------------------------- without a new process (memory_keeper.h)

    def keeper_of(self, snapshot):
        with open(os.path.join(snapshot, "manifest.json"), encoding="utf-8") as file:
            return json.load(file)["component_data"]["native"]["memory_keeper"]["pid"]

    def test_process_that_is_not_made_anew(self):
        popen = self.start_counter()
        before = self.look(popen.pid)
        snapshot = self.checkpoint(popen.pid, "--for-rollback")
        keeper = self.keeper_of(snapshot)
        for _ in range(TIMES // 3):
            self.wait_for_lines("out", self.bytes("out").count(b"\n") + 5)
            told = json.loads(self.rollback(popen.pid, snapshot, "--json").out)
            self.assertFalse(told["made_anew"], told)
        self.assert_unharmed(popen.pid, before, skip=POSITIONS)
        self.assertEqual(os.listdir(f"/proc/{keeper}/task"), [str(keeper)])
        self.assertEqual(len(os.listdir(f"/proc/{keeper}/fd")), 1, "it holds on to nothing but the program's end")
        self.assertNotEqual(os.getsid(keeper), os.getsid(popen.pid))
        self.write("stop", "")
        self.assertEqual(popen.wait(20), 9)
        counted = [int(line.split()[0]) for line in self.text("out").splitlines()]
        self.assertEqual(counted, list(range(1, len(counted) + 1)))
        self.assert_no_processes()

    def test_threads_that_are_not_made_anew(self):
        popen = self.start_threads()
        before = self.look(popen.pid)
        snapshot = self.checkpoint(popen.pid, "--for-rollback")
        for _ in range(5):
            told = json.loads(self.rollback(popen.pid, snapshot, "--json").out)
            self.assertFalse(told["made_anew"], told)
            now = self.beats()
            wait_until(lambda n=now: self.beats() != n, 10, "the program going on")
        self.assert_unharmed(popen.pid, before)
        self.write("stop", "")
        self.assertEqual(popen.wait(20), 0, self.text("program.out.err"))

    def test_where_too_much_has_changed_it_is_made_anew(self):
        self.write("counter.py", SHARING)
        popen = self.start("python3", "counter.py")
        self.wait_for_lines("out", 5)
        snapshot = self.checkpoint(popen.pid, "--for-rollback")
        self.write("share", "")
        self.wait_for_lines("out", self.bytes("out").count(b"\n") + 20)
        told = json.loads(self.rollback(popen.pid, snapshot, "--json").out)
        self.assertTrue(told["made_anew"], told)
        self.assertTrue(any("shared anonymous memory" in note for note in told["notes"]), told)
        self.write("stop", "")
        self.assertEqual(popen.wait(20), 9)
        counted = [int(line.split()[0]) for line in self.text("out").splitlines()]
        self.assertEqual(counted, list(range(1, len(counted) + 1)))

    def test_memory_that_nobody_keeps_any_more(self):
        popen = self.start_counter()
        snapshot = self.checkpoint(popen.pid, "--for-rollback")
        os.kill(self.keeper_of(snapshot), signal.SIGKILL)
        wait_until(lambda: not is_alive(self.keeper_of(snapshot)), 10, "the keeper's end")
        self.assert_refused(popen, snapshot, REFUSED, "kept the memory", "gone")
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "kept the memory")
        self.assert_unharmed(popen.pid)

    def test_memory_is_kept_no_longer_than_the_program_lives(self):
        popen = self.start_counter()
        snapshot = self.checkpoint(popen.pid, "--for-rollback")
        self.kill(popen)
        wait_until(lambda: not is_alive(self.keeper_of(snapshot)), 10, "the keeper's end")

    def test_program_in_a_pid_namespace(self):
        """Where a restart brought it back under its old number inside; for us it has another one."""
        popen = self.start("rows", "out", "150", "10", "8")
        self.wait_for_lines("out", 10)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        answer = self.crs("restart", snapshot, "--detach", "--pid", "namespace", "--json")
        self.assertEqual(answer.status, OK, answer)
        told = json.loads(answer.out)
        self.wait_for_lines("out", 40)
        before = self.look(told["pid"])
        self.rollback(told["pid"], snapshot)
        self.assert_unharmed(told["pid"], before, skip=POSITIONS)
        _, status = os.waitpid(told["child"], 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 8)
        self.assertEqual(self.text("out"), "".join(f"row {n}\n" for n in range(1, 151)))

    def test_snapshot_that_the_process_may_not_read(self):
        """The process restarts it itself: one that belongs to root is none for another user's process."""
        if not self.account.is_root:
            self.skipTest("only root may look into others' processes")
        try:
            somebody = ordinary_user()
        except Skip as skip:
            self.skipTest(str(skip))
        os.chmod(self.cwd, 0o777)
        popen = self.start("rows", "out", "1000", "10", user=somebody.pw_uid, group=somebody.pw_gid, extra_groups=[])
        self.wait_for_lines("out", 10)
        snapshot = self.checkpoint(popen.pid)
        self.assert_refused(popen, snapshot, NO_PERMISSION, "as the process", "user")

    def test_static_program(self):
        """It has no loader that could run crs under its name."""
        compiler = shutil.which("cc")
        if not compiler:
            self.skipTest("cc is missing")
        self.write("count.c", '#include <stdio.h>\n#include <unistd.h>\nint main(void) { FILE *f = fopen("out", "w");\n'
                   'for (int i = 1;; i++) { fprintf(f, "%d\\n", i); fflush(f); usleep(5000); } }\n')
        if subprocess.run([compiler, "-static", "-o", self.path("count"), self.path("count.c")], check=False).returncode != 0:
            self.skipTest("static programs cannot be made here")
        popen = self.start(self.path("count"))
        self.wait_for_lines("out", 10)
        snapshot = self.checkpoint(popen.pid)
        if not self.account.is_root:
            self.assert_refused(popen, snapshot, REFUSED, "/proc/PID/exe")
            return
        self.wait_for_lines("out", self.bytes("out").count(b"\n") + 20)
        self.rollback(popen.pid, snapshot)
        self.assertEqual(os.readlink(f"/proc/{popen.pid}/exe"), self.path("count"))
        self.wait_for_lines("out", self.bytes("out").count(b"\n") + 5)
        numbers = self.text("out").split()
        self.assertEqual(numbers, [str(n) for n in range(1, len(numbers) + 1)])

    # --------------------------------------------------------------------------------- it is refused, unharmed

    def test_snapshot_of_another_process(self):
        other = self.start("rows", "other", "1000", "10")
        self.wait_for_lines("other", 2)
        snapshot = self.checkpoint(other.pid)
        popen = self.start_counter()
        self.assert_refused(popen, snapshot, REFUSED, "number", "restart")

    def test_snapshot_of_another_program(self):
        popen = self.start_counter()
        snapshot = self.checkpoint(popen.pid)
        manifest = os.path.join(snapshot, "manifest.json")
        with open(manifest, encoding="utf-8") as file:
            content = json.load(file)
        self.assertEqual(content["pid"], popen.pid)
        content["executable"] = "/usr/bin/env"
        with open(manifest, "w", encoding="utf-8") as file:
            json.dump(content, file)
        answer = self.crs("rollback", popen.pid, snapshot)
        self.assertIn(answer.status, (REFUSED, BAD_SNAPSHOT), answer)  # where the manifest proves itself
        self.assert_unharmed(popen.pid)

    def test_children(self):
        self.write("parent.py", PARENT)
        read_end, write_end = os.pipe()
        popen = self.start("python3", "parent.py", stdin=read_end)
        os.close(read_end)
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        os.close(write_end)
        self.wait_for_lines("program.out", 2)
        self.assert_refused(popen, snapshot, REFUSED, "children", "sleep")

    def test_damaged_snapshot(self):
        popen = self.start_counter()
        snapshot = self.checkpoint(popen.pid, "--compress", "none")
        pages = os.path.join(snapshot, "pages-0.bin")
        with open(pages, "r+b") as file:
            file.seek(os.path.getsize(pages) // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        self.assert_refused(popen, snapshot, BAD_SNAPSHOT, "checksum")

    def test_stopped_process(self):
        popen = self.start_counter()
        snapshot = self.checkpoint(popen.pid)
        popen.send_signal(signal.SIGSTOP)
        wait_until(lambda: state_letter(popen.pid) == "T", 10, "the stop")
        answer = self.crs("rollback", popen.pid, snapshot)
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "stopped", "-CONT")
        self.assertEqual(state_letter(popen.pid), "T")
        popen.send_signal(signal.SIGCONT)
        self.assert_unharmed(popen.pid)

    def test_execution_that_fails_leaves_it_as_it_was(self):
        """The new program's environment is too long for a process with so small a stack: E2BIG, at the last moment."""
        self.write("marks.py", "import os\nos.set_inheritable(os.dup(1), True)\nos.dup2(1, 9)\nos.set_inheritable(0, False)\n" + COUNTER)
        popen = self.start("python3", "marks.py", preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_STACK, (256 << 10, resource.getrlimit(resource.RLIMIT_STACK)[1])))
        self.wait_for_lines("out", 5)
        snapshot = self.checkpoint(popen.pid)
        self.extra_environment = {f"CRS_JUNK{n}": "x" * 100_000 for n in range(3)}

        def marks():
            found = {}
            for fd in os.listdir(f"/proc/{popen.pid}/fd"):
                with open(f"/proc/{popen.pid}/fdinfo/{fd}", encoding="utf-8") as file:
                    found[fd] = [line for line in file if line.startswith("flags")]
            return found
        before = marks()
        self.assert_refused(popen, snapshot, REFUSED, "too long")
        self.assertEqual(marks(), before)
        now = self.bytes("out").count(b"\n")
        self.wait_for_lines("out", now + 5)
        self.extra_environment = {}
        self.rollback(popen.pid, snapshot)

    def test_bad_requests(self):
        popen = self.start_counter()
        snapshot = self.checkpoint(popen.pid)
        gone = self.start("true")
        gone.wait(10)
        for words, status in (((gone.pid, snapshot), NOT_FOUND), (("x", snapshot), USAGE), ((popen.pid,), USAGE),
                              ((popen.pid, self.path("nothing")), NOT_FOUND),
                              ((popen.pid, snapshot, "--timeout", "1ms"), TIMED_OUT)):
            answer = self.crs("rollback", *words)
            self.assertEqual(answer.status, status, answer)
        self.assert_unharmed(popen.pid)
        if not self.account.is_root and os.geteuid() == 0:
            answer = self.crs("rollback", os.getpid(), snapshot)
            self.assertIn(answer.status, (NO_PERMISSION, REFUSED), answer)

    # --------------------------------------------------------------------------------------- crs is killed

    def test_killed_at_random_moments(self):
        for more in ((), ("--for-rollback",)):
            with self.subTest(more=more):
                self.kill_at_random_moments(more)

    def kill_at_random_moments(self, more):
        seed = int(os.environ.get("CRS_TEST_SEED", random.randrange(1 << 30)))
        moments = random.Random(seed)
        print(f"CRS_TEST_SEED={seed}", flush=True)
        popen, snapshot, longest, gone = None, None, 0.2, 0
        for _ in range(KILLS):
            if popen is None or popen.poll() is not None:
                popen = self.start_counter()
                snapshot = self.checkpoint(popen.pid, *more)
                longest = self.rollback(popen.pid, snapshot).seconds
            process = subprocess.Popen([self.crs_path, "rollback", str(popen.pid), snapshot], cwd=self.work, env=self.environment(),
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       **self.account.popen_arguments())
            end = time.monotonic() + moments.uniform(0, longest * 1.1)
            while time.monotonic() < end:
                pass
            process.kill()
            process.wait()
            self.runs_or_is_gone(popen)
            gone += popen.poll() is not None
        most = KILLS if more else max(3, KILLS // 3)
        self.assertLess(gone, most, "it should be gone only where the kill came after the point of no return")
        if popen.poll() is None:
            self.rollback(popen.pid, snapshot)
            popen.kill()
            popen.wait()

    def runs_or_is_gone(self, popen):
        """What another helper finishes is waited for; never stopped, never left traced."""
        seen = []

        def settled():
            if popen.poll() is not None:
                return True
            seen.append(os.path.getsize(self.path("out")))
            traced = any(status_field(tid, "TracerPid") not in ("0", None) for tid in os.listdir(f"/proc/{popen.pid}/task"))
            return not traced and len(seen) > 2 and seen[-1] != seen[-2] and state_letter(popen.pid) not in ("T", "t")
        wait_until(settled, 20, "the program running on, or gone")

    # ----------------------------------------------------------------------------------- restart --in-place

    def test_in_place_needs_the_saved_number(self):
        popen = self.start("rows", "out", "1000", "10")
        self.wait_for_lines("out", 2)
        snapshot = self.checkpoint(popen.pid)
        answer = self.crs("restart", snapshot, "--in-place")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, popen.pid, "--in-place")

    def test_in_place_crs_becomes_the_program(self):
        if not self.account.is_root:
            self.skipTest("only root may choose a pid")
        popen = self.start("rows", "out", "100", "10", "6")
        self.wait_for_lines("out", 10)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)

        for _ in range(20):
            with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
                file.write(str(popen.pid - 1))
            became = os.fork()
            if became == 0:
                if os.getpid() == popen.pid:
                    os.execve(self.crs_path, ["crs", "restart", "--in-place", snapshot], self.environment())
                os._exit(77)
            _, status = os.waitpid(became, 0)
            if os.waitstatus_to_exitcode(status) != 77:
                break
        self.assertEqual(os.waitstatus_to_exitcode(status), 6)
        self.assertEqual(self.text("out"), "".join(f"row {n}\n" for n in range(1, 101)))


if __name__ == "__main__":
    main()
