#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Processes that cannot be saved: a named reason, the documented exit status, an unharmed target, nothing left over."""
import errno
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import (BUSY, NO_PERMISSION, NOT_FOUND, OK, OTHER, REFUSED, TIMED_OUT, USAGE, Case, child_pids, is_alive, main,  # noqa: E402  pylint: disable=wrong-import-position
                  state_letter, status_field, wait_until)

IO_URING = """
import ctypes, mmap, sys, time
parameters = ctypes.create_string_buffer(120)
ring = ctypes.CDLL(None, use_errno=True).syscall(425, 4, parameters)
print('ready' if ring >= 0 else 'missing', flush=True)
for n in range(100000):
    with open('beats', 'w') as file: file.write(f'{n}\\n')
    time.sleep(0.005)
"""


class BadInput(Case):
    def refused(self, pid, statuses, *words, more=()):
        """The checkpoint of `pid` is refused with one of the statuses; nothing is left in the store."""
        answer = self.crs("checkpoint", pid, "--store", self.store, *more, seconds=30)
        self.assertIn(answer.status, statuses, answer)
        self.assert_says(answer, *words)
        self.assertEqual(self.left_in_store(), [], f"left in the store by {answer}")
        self.assertEqual(answer.out.strip(), "", "a refused checkpoint prints no path")
        self.assert_no_processes()
        return answer

    def left_in_store(self):
        """Files, and directories of jobs that have nothing."""
        return sorted(os.path.join(folder, name) for folder, folders, names in os.walk(self.store) for name in folders + names)

    def test_usage(self):
        for words in ([], ["checkpoint"], ["checkpoint", "abc"], ["checkpoint", "1", "--no-such-option"], ["nonsense"],
                      ["restart"], ["checkpoint", "-5"], ["checkpoint", "0x10"], ["checkpoint", "99999999999999999999"]):
            answer = self.crs(*words)
            self.assertEqual(answer.status, USAGE, answer)
            self.assertNotEqual(answer.err.strip(), "", f"{words}: a usage error says something on stderr")
        answer = self.crs("--help")
        self.assertEqual(answer.status, OK, answer)
        self.assert_says(answer, "checkpoint", "restart")
        self.assertEqual(self.crs("--version").status, OK)

    def test_an_empty_value_is_no_default(self):
        popen = self.start("rows", "out", "100000", "10")
        self.wait_for_lines("out", 1)
        for option in ("-o", "--output", "--store", "--job", "--component", "--timeout"):
            answer = self.crs("checkpoint", popen.pid, option, "")
            self.assertEqual(answer.status, USAGE, answer)
            self.assert_says(answer, option if option != "-o" else "--output", "empty")
        self.assertEqual(self.left_in_store(), [])
        for words in (["list", "--store", ""], ["restart", "job", "--pidfile", ""], ["verify", "job", "--store", ""]):
            answer = self.crs(*words)
            self.assertEqual(answer.status, USAGE, answer)
            self.assert_says(answer, "empty")

    def test_no_such_process(self):
        popen = self.start("rows", "out", "1", "1")
        popen.wait(10)
        self.refused(popen.pid, [NOT_FOUND], str(popen.pid))
        self.assertEqual(self.crs("check", popen.pid).status, NOT_FOUND)

    def test_zombie(self):
        popen = self.start("rows", "out", "1", "1")
        wait_until(lambda: state_letter(popen.pid) == "Z", 10, "a zombie")
        self.refused(popen.pid, [NOT_FOUND, REFUSED], str(popen.pid), ("zombie", "ended", "exited"))

    def test_kernel_thread(self):
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                    flags = int(file.read().rpartition(")")[2].split()[6])
            except OSError:
                continue
            if flags & 0x00200000:  # PF_KTHREAD
                self.refused(pid, [REFUSED, NO_PERMISSION], str(pid), ("kernel thread", "permi"))
                return
        self.skipTest("no kernel thread to be seen here (a pid namespace)")

    def test_process_of_somebody_else(self):
        if self.account.is_root:
            self.skipTest("root may save every process")
        other = None
        if os.geteuid() != 0:
            strangers = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
                         if pid != 1 and status_field(pid, "VmSize") and status_field(pid, "Uid").split()[0] == "0"]
            if not strangers:
                self.skipTest("no process of root is to be seen here")
            other = strangers[0]
        else:
            popen = subprocess.Popen(["/bin/sleep", "100"])  # ours, who are root; crs runs as the ordinary user
            self.popens.append(popen)
            other = popen.pid
        self.refused(other, [NO_PERMISSION], str(other), ("permission", "another user", "not yours", "owner", "belongs"))

    def test_process_that_is_traced(self):
        popen = self.start("rows", "out", "100000", "5")
        self.wait_for_lines("out", 3)
        tracer = self.start("strace", "-qq", "-o", "trace", "-p", str(popen.pid), out="strace.out")
        wait_until(lambda: status_field(popen.pid, "TracerPid") == str(tracer.pid), 10, "strace being attached")
        self.log.append(self.crs("check", popen.pid))
        self.refused(popen.pid, [BUSY, REFUSED], "traced", "strace", str(tracer.pid))
        self.assertEqual(status_field(popen.pid, "TracerPid"), str(tracer.pid), "strace lost its target")
        rows = self.text("out").count("\n")
        self.wait_for_lines("out", rows + 5)
        self.assertTrue(is_alive(tracer.pid))
        tracer.terminate()
        tracer.wait(10)
        self.checkpoint(popen.pid)

    def test_thirty_two_bit_process(self):
        try:
            popen = self.start("thirty_two_bits")
        except OSError as error:
            self.assertEqual(error.errno, errno.ENOEXEC)
            self.skipTest("the kernel runs no 32-bit programs")
        before = self.look(popen.pid)
        self.refused(popen.pid, [REFUSED], ("32-bit", "32 bit"), str(popen.pid))
        self.assert_unharmed(popen.pid, before)

    def test_ourselves(self):
        words = f"exec {self.crs_path} checkpoint $$ --store {self.store}"
        process = subprocess.run(["/bin/sh", "-c", words], capture_output=True, text=True, timeout=30, check=False,
                                 env=self.environment(), **self.account.popen_arguments())
        self.assertIn(process.returncode, (REFUSED, USAGE), process.stderr)
        self.assertRegex(process.stderr.lower(), "itself|self|ourselves")

    def test_the_shell_that_runs_crs(self):
        """A script that saves its own shell: it works with crs left out, or is refused at once, but never hangs."""
        script = self.write("script.sh", f"{self.crs_path} checkpoint $$ --store {self.store}\necho status $?\necho done\n")
        process = subprocess.run(["/bin/sh", script], capture_output=True, text=True, timeout=30, check=False, cwd=self.cwd,
                                 env=self.environment(), **self.account.popen_arguments())
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertIn("done", process.stdout)
        self.assertRegex(process.stdout, f"status ({OK}|{REFUSED})\n")

    def test_init(self):
        answer = self.crs("check", 1)
        self.assertNotEqual(answer.status, OTHER, answer)

    def test_object_that_cannot_be_saved_leaves_the_target_unharmed(self):
        popen = self.start("/usr/bin/python3", "-c", IO_URING)
        self.wait_for_lines("program.out", 1)
        if "missing" in self.text("program.out"):
            self.skipTest("no io_uring here")
        before = self.look(popen.pid)
        answer = self.refused(popen.pid, [REFUSED], "io_uring", str(popen.pid))
        self.assertRegex(answer.err, r"(?i)(fd|descriptor) *3", "the message names the descriptor")
        self.assert_unharmed(popen.pid, before, skip=("fds",))
        beat = self.text("beats")
        wait_until(lambda: self.text("beats") not in ("", beat), 5, "the target going on")
        check = self.crs("check", popen.pid)
        self.assertEqual(check.status, REFUSED, check)
        self.assert_says(check, "io_uring")

    def test_every_reason_is_given_at_once(self):
        code = ("import ctypes, time\nlibc = ctypes.CDLL(None)\np = ctypes.create_string_buffer(120)\na = libc.syscall(425, 4, p)\n"
                "b = libc.syscall(425, 8, p)\nprint('ready' if min(a, b) >= 0 else 'missing', flush=True)\ntime.sleep(100)\n")
        popen = self.start("/usr/bin/python3", "-c", code)
        self.wait_for_lines("program.out", 1)
        if "missing" in self.text("program.out"):
            self.skipTest("no io_uring here")
        answer = self.refused(popen.pid, [REFUSED])
        self.assertRegex(answer.err, r"(?is)\b3\b.*\b4\b", "both descriptors are named")

    def test_refusal_as_json_lists_each_reason(self):
        code = ("import os, socket, subprocess, time\na = socket.socket()\nb = os.dup(a.fileno())\nprint(a.fileno(), b, flush=True)\n"
                "child = subprocess.Popen(['/bin/sleep', '100'])\ntime.sleep(100)\n")
        popen = self.start("/usr/bin/python3", "-c", code)
        self.wait_for_lines("program.out", 1)
        numbers = [int(word) for word in self.text("program.out").split()]
        wait_until(lambda: child_pids(popen.pid), 10, "the child")
        answer = self.crs("checkpoint", popen.pid, "--json")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assertEqual(answer.err, "", "with --json nothing goes to stderr")
        error = json.loads(answer.out)["error"]
        self.assertEqual((error["code"], error["exit"]), ("refused", REFUSED))
        blockers = {blocker["kind"]: blocker for blocker in error["blockers"]}
        for blocker in error["blockers"]:
            self.assertEqual(sorted(blocker), ["descriptors", "kind", "object", "path", "reason", "remedy"], blocker)
            self.assertTrue(blocker["kind"] and blocker["object"] and blocker["reason"] and blocker["remedy"], blocker)
        sockets = [blocker for blocker in error["blockers"] if blocker["descriptors"]]
        if sockets:  # refused as long as nothing saves them
            self.assertEqual(sockets[0]["descriptors"], numbers)
            self.assertRegex(sockets[0]["path"], r"^socket:\[\d+\]$")
        if "children" in blockers:
            self.assertIn(str(child_pids(popen.pid)[0]), str(blockers["children"]))
        check = json.loads(self.crs("check", popen.pid, "--json").out)
        self.assertEqual(check["blockers"], error["blockers"])
        self.assertFalse(os.path.exists(os.path.join(self.store, f"python3-{popen.pid}")), "an empty job stays behind")

    def test_error_as_json_has_a_list_of_blockers_always(self):
        error = json.loads(self.crs("checkpoint", 4194304, "--json").out)["error"]
        self.assertEqual((error["code"], error["blockers"]), ("not-found", []))
        error = json.loads(self.crs("checkpoint", 1, "--json").out)["error"]
        self.assertEqual(error["code"], "refused")
        self.assertEqual(len(error["blockers"]), 1)

    def test_parameters_that_do_not_exist(self):
        for variable, nearest in (("CRS_NATVE_WORKERS", "CRS_NATIVE_WORKERS"), ("CRS_NATIVE_WOKERS", "CRS_NATIVE_WORKERS"),
                                  ("CRS_STOR", "CRS_STORE")):
            self.extra_environment = {variable: "1"}
            answer = self.crs("list")
            self.assertEqual(answer.status, USAGE, answer)
            self.assert_says(answer, variable, nearest)

    def test_verbose_tells_the_phases(self):
        popen = self.start("rows", "out", "100000", "5")
        self.wait_for_lines("out", 3)
        quiet = self.crs("checkpoint", popen.pid, "--job", "quiet")
        self.assertNotIn("collect", quiet.err)
        self.extra_environment = {"CRS_NATIVE_VERBOSE": "1"}
        answer = self.crs("checkpoint", popen.pid, "--job", "told")
        self.assertEqual(answer.status, OK, answer)
        for phase in ("freeze", "collect", "memory", "commit"):
            self.assertRegex(answer.err, rf"(?m)^crs: native: {phase}, after \d+ us$")
        self.kill(popen)
        answer = self.crs("restart", "told", "--detach")
        self.assertRegex(answer.err, r"(?m)^crs: native: restore, after \d+ us$")

    def test_process_that_exits_during_the_checkpoint(self):
        for delay in range(8):
            popen = self.start("/usr/bin/python3", "-c", f"import time\nprint('up', flush=True)\ntime.sleep({0.002 * delay})")
            self.wait_for_lines("program.out", 1)
            answer = self.crs("checkpoint", popen.pid, "--store", self.store, "--job", f"exits{delay}", seconds=20)
            self.assertIn(answer.status, (OK, NOT_FOUND, REFUSED), answer)  # refused: a zombie, until we wait for it
            self.assertEqual(popen.wait(10), 0, "the target did not end as it wanted to")
        self.assert_no_processes()

    def test_process_that_is_killed_during_the_checkpoint(self):
        for delay in range(12):
            popen = self.start("memory", "8", out=f"killed.{delay}")
            self.wait_for_lines(f"killed.{delay}", 1)
            process = subprocess.Popen([self.crs_path, "checkpoint", str(popen.pid), "--store", self.store], cwd=self.work,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment(),
                                       **self.account.popen_arguments())
            time.sleep(delay * 0.002)
            popen.kill()
            text, _ = process.communicate(timeout=30)
            self.assertIn(process.returncode, (OK, NOT_FOUND), text)
            popen.wait(10)

    def test_process_that_execs_all_the_time(self):
        script = self.write("again.sh", 'n=$((${1:-0} + 1))\necho "$n" > beats\nexec /bin/sh again.sh "$n"\n')
        popen = self.start("/bin/sh", script)
        wait_until(lambda: os.path.exists(self.path("beats")), 10, "the first exec")
        for number in range(10):
            answer = self.crs("checkpoint", popen.pid, "--store", self.store, "--job", f"execs{number}", seconds=20)
            self.assertIn(answer.status, (OK, BUSY, REFUSED), answer)
            self.assertTrue(is_alive(popen.pid), answer)
        beat = self.text("beats")
        wait_until(lambda: self.text("beats") not in ("", beat), 5, "the target going on")

    def test_process_that_forks_all_the_time(self):
        code = ("import os\nn = 0\nwhile True:\n  pid = os.fork()\n  if pid == 0: os._exit(n % 200)\n"
                "  _, status = os.waitpid(pid, 0)\n  assert os.waitstatus_to_exitcode(status) == n % 200\n  n += 1\n"
                "  if n % 20 == 0:\n    with open('beats', 'w') as file: file.write(f'{n}\\n')\n")
        popen = self.start("/usr/bin/python3", "-c", code)
        wait_until(lambda: os.path.exists(self.path("beats")), 10, "the first child")
        for number in range(10):
            answer = self.crs("checkpoint", popen.pid, "--store", self.store, "--job", f"forks{number}", seconds=20)
            self.assertIn(answer.status, (OK, BUSY, REFUSED), answer)
            self.assertTrue(is_alive(popen.pid), answer)
        beat = self.text("beats")
        wait_until(lambda: self.text("beats") not in ("", beat), 5, "the target going on")

    def test_process_with_children_is_refused_by_name(self):
        popen = self.start("/bin/sh", "-c", "sleep 100 & echo up; wait")
        self.wait_for_lines("program.out", 1)
        answer = self.crs("checkpoint", popen.pid, "--store", self.store)
        self.assertIn(answer.status, (OK, REFUSED), answer)
        if answer.status == REFUSED:
            self.assert_says(answer, ("child", "children"))
        self.assert_unharmed(popen.pid)

    def test_deadline_passes(self):
        popen = self.start("memory", "700")
        self.wait_for_lines("program.out", 1, 60)
        before = self.look(popen.pid)
        # It passes in different phases; what was begun inside the process is always taken back.
        for limit in (1, 2, 3, 5, 8, 12, 20, 50):
            answer = self.crs("checkpoint", popen.pid, "--store", self.store, "--timeout", f"{limit}ms", seconds=20)
            self.assertEqual(answer.status, TIMED_OUT, answer)
            self.assert_says(answer, ("deadline", "timeout", "time-out", "time limit"))
            self.assert_unharmed(popen.pid, before)
            self.assertEqual(self.left_in_store(), [])
        popen.send_signal(signal.SIGTERM)  # it checks all of its memory
        self.assertEqual(popen.wait(20), 0)

    def begin_checkpoint(self, pid):
        """A Popen of a checkpoint that has made its hidden directory, and so listens to signals."""
        process = subprocess.Popen([self.crs_path, "checkpoint", str(pid), "--store", self.store], cwd=self.work,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   env=self.environment(), **self.account.popen_arguments())
        wait_until(lambda: process.poll() is not None or self.left_in_store(), 30, "the checkpoint to begin")
        return process

    def test_signals_that_people_and_batch_systems_send_cancel(self):
        popen = self.start("memory", "700")
        self.wait_for_lines("program.out", 1, 60)
        before = self.look(popen.pid)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGXCPU):
            process = self.begin_checkpoint(popen.pid)
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
            self.assertEqual(process.returncode, -number, err)
            self.assertIn("nothing was left behind", err)
            self.assert_unharmed(popen.pid, before)
            self.assertEqual(self.left_in_store(), [], signal.Signals(number).name)
        popen.send_signal(signal.SIGTERM)  # it checks all of its memory
        self.assertEqual(popen.wait(20), 0)

    def test_a_reader_of_its_messages_that_went_away_is_no_end(self):
        popen = self.start("rows", "out", "100000", "5")
        self.wait_for_lines("out", 3)
        read_end, write_end = os.pipe()
        os.close(read_end)
        with os.fdopen(write_end, "wb") as nowhere:
            process = subprocess.Popen([self.crs_path, "checkpoint", str(popen.pid), "--store", self.store, "--job", "told"],
                                       cwd=self.work, stdin=subprocess.DEVNULL, stdout=nowhere, stderr=nowhere,
                                       env=self.environment(), **self.account.popen_arguments())
            self.assertEqual(process.wait(30), OTHER)
        self.assert_unharmed(popen.pid)
        self.assertEqual(self.crs("verify", "told", "--store", self.store).status, OK)

    def test_process_in_uninterruptible_sleep(self):
        """The parent of a vfork(2) child cannot be stopped until the child is done."""
        code = ("import ctypes, os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombie is left\nlibc = ctypes.CDLL(None)\nprint('up', flush=True)\n"
                "stack = (ctypes.c_char * 65536)()\nFUNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)\n"
                "child = FUNC(lambda _: libc.usleep(3000000) and 0)\n"
                "pid = libc.clone(child, ctypes.addressof(stack) + 65520, 0x4000 | 17, None)\n"
                "while True: time.sleep(0.01)\n")
        popen = self.start("/usr/bin/python3", "-c", code)
        self.wait_for_lines("program.out", 1)
        try:
            wait_until(lambda: state_letter(popen.pid) == "D", 1, "state D")
        except Exception:  # pylint: disable=broad-except
            self.skipTest("no uninterruptible sleep to be had")
        process = self.begin_checkpoint(popen.pid)
        process.terminate()
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, -signal.SIGTERM, err)
        self.assertEqual(state_letter(popen.pid), "D", "crs heard of the signal only when the wait was over")
        answer = self.crs("checkpoint", popen.pid, "--store", self.store, "--timeout", "300ms")
        self.assertEqual(answer.status, TIMED_OUT, answer)
        answer = self.crs("checkpoint", popen.pid, "--store", self.store, "--timeout", "15")
        if answer.status == REFUSED:  # the child is not quite gone when its parent goes on
            self.assert_says(answer, "child")
            wait_until(lambda: not child_pids(popen.pid), 5, "the child's end")
            answer = self.crs("checkpoint", popen.pid, "--store", self.store, "--timeout", "15")
        self.assertEqual(answer.status, OK, answer)
        self.assert_unharmed(popen.pid)

    def test_other_threads_run_while_one_cannot_be_stopped(self):
        code = ("import ctypes, os, threading, time\nlibc = ctypes.CDLL(None)\n"
                "stack = (ctypes.c_char * 65536)()\nFUNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)\n"
                "child = FUNC(lambda _: libc.usleep(3000000) and 0)\n"
                "wait = lambda: libc.clone(child, ctypes.addressof(stack) + 65520, 0x4000 | 17, None)\n"
                "print('up', flush=True)\nthreading.Thread(target=wait, daemon=True).start()\nlast, longest = time.monotonic(), 0\n"
                "while True:\n  time.sleep(0.005)\n  now = time.monotonic()\n  longest = max(longest, now - last)\n  last = now\n"
                "  with open('longest.new', 'w') as file: file.write(str(longest))\n  os.rename('longest.new', 'longest')\n")
        popen = self.start("/usr/bin/python3", "-c", code)
        self.wait_for_lines("program.out", 1)

        def waits():
            return any(state_letter(tid) == "D" for tid in os.listdir(f"/proc/{popen.pid}/task") if tid != str(popen.pid))
        try:
            wait_until(waits, 1, "state D")
        except Exception:  # pylint: disable=broad-except
            self.skipTest("no uninterruptible sleep to be had")
        answer = self.crs("checkpoint", popen.pid, "--store", self.store, "--timeout", "1500ms")
        self.assertEqual(answer.status, TIMED_OUT, answer)
        self.assert_says(answer, "does not stop", "state D")
        self.assertLess(float(self.text("longest")), 1.4, "the program stood still while crs waited")
        self.assertEqual(self.left_in_store(), [])
        for tid in os.listdir(f"/proc/{popen.pid}/task"):
            self.assertEqual(status_field(tid, "TracerPid"), "0")

    def test_process_in_a_frozen_control_group(self):
        """Version 1 and version 2, whichever this machine lets us make."""
        if os.geteuid() != 0:
            self.skipTest("making a control group needs root")
        tried = 0
        for mount, knob, freeze, thaw in (("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED"),
                                          ("/sys/fs/cgroup/unified", "cgroup.freeze", "1", "0"),
                                          ("/sys/fs/cgroup", "cgroup.freeze", "1", "0")):
            group = os.path.join(mount, f"crs-test-{os.getpid()}")
            try:
                if not os.path.ismount(mount):
                    continue
                os.mkdir(group)
            except OSError:
                continue
            try:
                if not os.path.exists(os.path.join(group, knob)):
                    continue
                popen = self.start("rows", f"rows.{tried}", "100000", "10")

                def write(name, text, folder=group):
                    with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                        file.write(text)
                write("cgroup.procs", str(popen.pid))
                write(knob, freeze)
                time.sleep(0.1)
                self.refused(popen.pid, [REFUSED], "frozen", os.path.basename(group), more=("--timeout", "5"))
                write(knob, thaw)
                self.wait_for_lines(f"rows.{tried}", 3)
                self.assertEqual(status_field(popen.pid, "TracerPid"), "0")
                popen.kill()
                popen.wait(10)
                tried += 1
            finally:
                wait_until(lambda path=group: self.remove_group(path), 5, "the group being empty")
        if tried == 0:
            self.skipTest("no control group can be made here")

    @staticmethod
    def remove_group(path):
        try:
            os.rmdir(path)
        except OSError:
            return False
        return True

    def test_two_checkpoints_at_the_same_time(self):
        popen = self.start("memory", "150")
        self.wait_for_lines("program.out", 1, 60)
        good = []
        for number in range(4):
            both = []
            for which in "ab":
                both.append(subprocess.Popen([self.crs_path, "checkpoint", str(popen.pid), "-o", self.path(f"{which}{number}")],
                                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.work,
                                             env=self.environment(), **self.account.popen_arguments()))
                time.sleep(0.003 * number)
            statuses = []
            for process in both:
                out, err = process.communicate(timeout=60)
                statuses.append(process.returncode)
                if process.returncode == OK:
                    good.append(out.strip().splitlines()[-1])
                else:
                    self.assertEqual(process.returncode, BUSY, err)
                    self.assertRegex(err.lower(), "already|being|busy|another")
            self.assertIn(OK, statuses, "neither of two checkpoints was made")
            self.assert_unharmed(popen.pid)
        self.assert_no_processes()
        self.kill(popen)
        for snapshot in good[-2:]:
            pidfile = self.path(os.path.basename(snapshot) + ".pid")
            restarted = self.foreground(snapshot, "--pidfile", pidfile)
            wait_until(lambda p=pidfile: os.path.exists(p) and os.path.getsize(p), 30, "the pid file")
            restarted.send_signal(signal.SIGTERM)
            self.assertEqual(restarted.wait(30), 0)

    def test_check_tells_without_stopping(self):
        popen = self.start("rows", "out", "100000", "5")
        self.wait_for_lines("out", 3)
        before = self.look(popen.pid)
        answer = self.crs("check", popen.pid)
        self.assertEqual(answer.status, OK, answer)
        self.assert_unharmed(popen.pid, before, skip=("fds",))
        self.assertEqual(self.left_in_store(), [])


if __name__ == "__main__":
    main()
