#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a restart owes its caller: exit status, signals, output files, the pid, and as many tries as one likes."""
import errno
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import (BAD_SNAPSHOT, NOT_FOUND, OK, OTHER, REFUSED, RESTART_FAILED, STORAGE, Case, exists, main,  # noqa: E402  pylint: disable=wrong-import-position
                  re, state_letter, wait_until)

END_WITH = "import time, os, signal\nprint('up', flush=True)\ntime.sleep(1.5)\n"


def enter(group, pid):
    with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as file:
        file.write(str(pid))


def read_lines(group):
    with open(os.path.join(group, "cgroup.procs"), encoding="ascii") as file:
        return file.read().split()


class Restart(Case):
    def sleeper(self, ending, name="sleeper.out"):
        popen = self.start("/usr/bin/python3", "-c", END_WITH + ending, out=name)
        self.wait_for_lines(name, 1)
        return popen

    def test_output_that_the_program_still_writes_is_not_cut(self):
        popen = self.start("rows", "out", "100000", "10")
        self.wait_for_lines("out", 3)
        snapshot = self.checkpoint(popen.pid)
        lines = self.bytes("out").count(b"\n")
        self.wait_for_lines("out", lines + 3)
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "out", "would be cut", f"process {popen.pid}")
        self.kill(popen)
        text = self.text("out").split("\n")[:-1]
        self.assertEqual(text, [f"row {n}" for n in range(1, len(text) + 1)])

    def test_another_file_under_the_name_is_not_cut(self):
        popen = self.start("rows", "out", "100000", "10")
        self.wait_for_lines("out", 3)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        self.write("other", "a stranger's\n" * 1000)
        os.rename(self.path("other"), self.path("out"))
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "out", "another file")
        self.assertEqual(self.text("out"), "a stranger's\n" * 1000)

    def test_what_is_left_in_the_pipe_of_the_input_is_told(self):
        ends = os.pipe()
        os.write(ends[1], b"0123456789")
        popen = self.start("/bin/sleep", "30", stdin=ends[0])
        os.close(ends[0])
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("snapshot"))
        os.close(ends[1])
        self.assertEqual(answer.status, OK, answer)
        self.assert_says(answer, "10 bytes", "not read yet")

    def test_exit_status_is_passed_on(self):
        popen = self.sleeper("raise SystemExit(7)")
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        self.assertEqual(self.foreground(snapshot).wait(20), 7)

    def test_death_by_signal_is_passed_on(self):
        popen = self.sleeper("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)")
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        self.assertIn(self.foreground(snapshot).wait(20), (128 + signal.SIGTERM, -signal.SIGTERM))

    def test_signals_are_forwarded(self):
        code = ("import signal, time\ndef end(*_): print('asked', flush=True); raise SystemExit(5)\n"
                "signal.signal(signal.SIGTERM, end)\nsignal.signal(signal.SIGHUP, end)\nprint('up', flush=True)\n"
                "while True: time.sleep(0.05)\n")
        popen = self.start("/usr/bin/python3", "-c", code)
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        for number in (signal.SIGTERM, signal.SIGHUP):
            pidfile = self.path(f"pid.{number}")
            restarted = self.foreground(snapshot, "--pidfile", pidfile)
            wait_until(lambda p=pidfile: os.path.exists(p) and os.path.getsize(p), 20, "the pid file")
            restarted.send_signal(number)
            self.assertEqual(restarted.wait(20), 5)
        self.assertEqual(self.text("program.out"), "up\nasked\n", "the output file goes back to its saved length each time")

    def test_a_restart_that_cannot_be_done_says_125_in_the_foreground(self):
        self.assertEqual(self.foreground(self.path("nothing")).wait(20), RESTART_FAILED)
        self.assertEqual(self.crs("restart", self.path("nothing"), "--detach").status, NOT_FOUND)

    def test_same_snapshot_is_restarted_again_and_again(self):
        popen = self.start("rows", "out", "60", "20")
        self.wait_for_lines("out", 10)
        snapshot = self.checkpoint(popen.pid)
        self.wait_for_lines("out", 25)
        self.kill(popen)
        before = {name: os.path.getsize(os.path.join(snapshot, name)) for name in self.files_below(snapshot)}
        for _ in range(3):
            self.assertEqual(self.foreground(snapshot).wait(30), 0)
            self.assertEqual(self.text("out"), "".join(f"row {n}\n" for n in range(1, 61)))
        after = {name: os.path.getsize(os.path.join(snapshot, name)) for name in self.files_below(snapshot)}
        self.assertEqual(before, after, "a restart changed the snapshot")

    def test_what_has_the_name_of_an_open_directory_must_be_one(self):
        code = "import os, time\nos.mkdir('place')\nos.open('place', os.O_RDONLY)\nprint('up', flush=True)\ntime.sleep(60)\n"
        popen = self.start("/usr/bin/python3", "-c", code)
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        os.rmdir(self.path("place"))
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, REFUSED)
        self.assert_says(answer, "place", "not there any more")
        self.write("place", "a file\n")
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, REFUSED)
        self.assert_says(answer, "place", "something else")

    def waiting(self, call):
        """A program stopped in a call with a signal to be handled, saved, restarted and continued; its output's name."""
        out = f"waiting.{call}"
        popen = self.start("waiting", call, out=out)
        self.wait_for_lines(out, 1)
        time.sleep(0.1)
        popen.send_signal(signal.SIGSTOP)
        wait_until(lambda: state_letter(popen.pid) == "T", 5, "the stop")
        popen.send_signal(signal.SIGUSR1)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        pidfile = self.path(f"pid.{call}")
        restarted = self.foreground(snapshot, "--pidfile", pidfile)
        wait_until(lambda: os.path.exists(pidfile) and os.path.getsize(pidfile), 20, "the pid file")
        with open(pidfile, encoding="ascii") as file:
            pid = int(file.read())
        wait_until(lambda: state_letter(pid) == "T", 5, "the stop after the restart")
        os.kill(pid, signal.SIGCONT)
        return out, restarted, pid

    def test_a_signal_that_waited_still_interrupts_the_call(self):
        for call in ("poll", "nanosleep", "epoll_wait", "sigsuspend", "read"):
            out, restarted, _ = self.waiting(call)
            self.assertEqual(restarted.wait(20), 0)
            self.assertEqual(self.text(out), f"up\nhandler\n-1 {os.strerror(errno.EINTR)}\n", call)

    def test_a_handler_that_restarts_calls_still_does(self):
        out, restarted, pid = self.waiting("read again")
        self.wait_for_lines(out, 2)
        time.sleep(0.2)
        self.assertEqual(self.text(out), "up\nhandler\n")
        self.assertEqual(state_letter(pid), "S")
        os.kill(pid, signal.SIGKILL)
        restarted.wait(20)

    def test_parent_death_signal_is_off_without_its_parent(self):
        code = "import ctypes, time\nctypes.CDLL(None).prctl(1, 15, 0, 0, 0)\nprint('up', flush=True)\ntime.sleep(1.5)\n"
        popen = self.start("/usr/bin/python3", "-c", code)
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, OK, answer)
        self.assert_says(answer, "PR_SET_PDEATHSIG")

    def test_other_control_groups_are_told(self):
        if os.geteuid() != 0:
            self.skipTest("making a control group needs root")
        parent = group = None
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                for mount in ("/sys/fs/cgroup/" + controllers.removeprefix("name="), "/sys/fs/cgroup/unified"):
                    wanted = os.path.join(mount + path, f"crs-test-{os.getpid()}")
                    try:
                        os.mkdir(wanted)
                        enter(wanted, os.getpid())
                        parent, group = mount + path, wanted
                        break
                    except OSError:
                        if os.path.isdir(wanted):
                            os.rmdir(wanted)
                if group:
                    break
        if group is None:
            self.skipTest("no control group can be made here")
        try:
            popen = self.sleeper("raise SystemExit(7)")
            snapshot = self.checkpoint(popen.pid)
            same = self.crs("restart", snapshot, "--detach", "--pid", "namespace")
            self.assertEqual(same.status, OK, same)
            self.assertNotIn("control groups", same.err)
            self.kill(popen)
            wait_until(lambda: len(read_lines(group)) == 1, 20, "the end of the restored program")
        finally:
            enter(parent, os.getpid())
            wait_until(lambda: not read_lines(group), 5, "the group being empty")
            os.rmdir(group)
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, OK, answer)
        self.assert_says(answer, "control groups", os.path.basename(group))

    def test_output_that_grew_after_the_checkpoint_is_put_back(self):
        popen = self.start("rows", "out", "80", "20")
        self.wait_for_lines("out", 10)
        snapshot = self.checkpoint(popen.pid)
        popen.wait(20)  # it runs to its end
        self.assertEqual(self.foreground(snapshot).wait(30), 0)
        self.assertEqual(self.text("out"), "".join(f"row {n}\n" for n in range(1, 81)))

    def test_output_that_grew_can_be_kept_or_refused(self):
        popen = self.start("rows", "out", "40", "30")
        self.wait_for_lines("out", 10)
        snapshot = self.checkpoint(popen.pid)
        popen.wait(20)
        answer = self.crs("restart", snapshot, "--detach", "--files", "refuse")
        self.assertNotEqual(answer.status, OK, answer)
        self.assert_says(answer, self.path("out"))
        self.assertEqual(self.foreground(snapshot, "--files", "keep").wait(30), 0)
        lines = self.text("out").splitlines()
        self.assertEqual(lines[:40], [f"row {n}" for n in range(1, 41)])
        self.assertEqual(lines[-1], "row 40")
        self.assertGreater(len(lines), 40)

    def test_while_the_original_still_has_the_pid(self):
        popen = self.sleeper("raise SystemExit(3)")
        snapshot = self.checkpoint(popen.pid)
        answer = self.crs("restart", snapshot, "--detach", "--pid", "same")
        self.assertNotEqual(answer.status, OK, answer)
        self.assert_says(answer, self.why_not_the_same_pid(popen.pid))
        self.assert_unharmed(popen.pid)
        restarted = self.foreground(snapshot, "--pid", "auto")
        self.assertEqual(restarted.wait(20), 3)
        self.assertEqual(popen.wait(20), 3, "the original was not left alone")

    def test_while_a_stranger_has_the_pid(self):
        popen = self.sleeper("raise SystemExit(3)")
        pid = popen.pid
        snapshot = self.checkpoint(pid)
        self.kill(popen)
        stranger = self.occupy(pid)
        if stranger is None:
            self.skipTest("cannot give a process a chosen pid here")
        try:
            answer = self.crs("restart", snapshot, "--detach", "--pid", "same")
            self.assertNotEqual(answer.status, OK, answer)
            self.assert_says(answer, self.why_not_the_same_pid(pid))
            self.assertEqual(self.foreground(snapshot).wait(20), 3)
            self.assertTrue(exists(pid))
        finally:
            stranger.kill()
            stranger.wait()

    def why_not_the_same_pid(self, pid):
        """Who has the number; an ordinary user may not choose one, taken or not, and is told that instead."""
        return str(pid) if self.account.is_root else (str(pid), "may not choose the number")

    def occupy(self, pid):
        """A sleeping process with this pid (ns_last_pid, which needs root), or None."""
        if os.geteuid() != 0:
            return None
        for _ in range(20):
            try:
                with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
                    file.write(str(pid - 1))
            except OSError:
                return None
            stranger = subprocess.Popen(["/bin/sleep", "60"])
            if stranger.pid == pid:
                self.popens.append(stranger)
                return stranger
            stranger.kill()
            stranger.wait()
        return None

    def test_restored_in_a_pid_namespace_on_request(self):
        code = "import os, time\npid = os.getpid()\nprint('up', flush=True)\ntime.sleep(0.6)\nraise SystemExit(0 if os.getpid() == pid else 1)"
        popen = self.start("/usr/bin/python3", "-c", code)
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        restarted = self.foreground(snapshot, "--pid", "namespace")  # the original still has the pid
        self.assertEqual(restarted.wait(20), 0)
        self.assertEqual(popen.wait(20), 0)

    def test_stopped_process_comes_back_stopped(self):
        popen = self.start("rows", "out", "100000", "10")
        self.wait_for_lines("out", 5)
        popen.send_signal(signal.SIGSTOP)
        wait_until(lambda: state_letter(popen.pid) == "T", 5, "the process being stopped")
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("snapshot"))
        self.assertEqual(answer.status, OK, answer)
        wait_until(lambda: state_letter(popen.pid) == "T", 2, "the process being stopped after its checkpoint")
        rows = self.text("out")
        time.sleep(0.1)
        self.assertEqual(self.text("out"), rows)
        self.kill(popen)
        pid = self.restart(answer.last_line())
        wait_until(lambda: state_letter(pid) == "T", 2, "the restored process being stopped")
        time.sleep(0.1)
        self.assertEqual(self.text("out"), rows)
        os.kill(pid, signal.SIGCONT)
        self.wait_for_lines("out", rows.count("\n") + 5)
        self.kill(pid)

    def test_stopped_job_of_a_shell_outlives_a_detached_restart(self):
        popen = self.start("rows", "out", "100000", "10", start_new_session=False, process_group=0)
        self.wait_for_lines("out", 5)
        popen.send_signal(signal.SIGSTOP)
        wait_until(lambda: state_letter(popen.pid) == "T", 5, "the process being stopped")
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        # The last of its session but the program, as if the shell had ended; ours would take the program over.
        answer = self.crs("restart", snapshot, "--detach", start_new_session=True)
        self.assertEqual(answer.status, OK, answer)
        pid = int(answer.last_line())
        time.sleep(0.2)
        self.assertEqual(state_letter(pid), "T")
        rows = self.text("out")
        os.kill(pid, signal.SIGCONT)
        self.wait_for_lines("out", rows.count("\n") + 5)
        self.kill(pid)

    def test_term_ends_the_process_after_its_checkpoint(self):
        popen = self.start("rows", "out", "40", "30")
        self.wait_for_lines("out", 5)
        snapshot = self.checkpoint(popen.pid, "--term")
        popen.wait(10)
        self.assertEqual(self.foreground(snapshot).wait(20), 0)
        self.assertEqual(self.text("out"), "".join(f"row {n}\n" for n in range(1, 41)))

    def test_stop_leaves_the_process_stopped_after_its_checkpoint(self):
        popen = self.start("rows", "out", "100000", "10")
        self.wait_for_lines("out", 5)
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("snapshot"), "--stop")
        self.assertEqual(answer.status, OK, answer)
        wait_until(lambda: state_letter(popen.pid) == "T", 5, "the process being stopped")
        rows = self.text("out")
        popen.send_signal(signal.SIGCONT)
        self.wait_for_lines("out", rows.count("\n") + 3)
        self.kill(popen)

    def test_output_through_a_pipe_goes_to_the_new_reader(self):
        process = subprocess.Popen([self.program("rows"), "-", "60", "15"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, cwd=self.cwd, env=self.environment(), start_new_session=True,
                                   **self.account.popen_arguments())
        self.popens.append(process)
        first = [process.stdout.readline() for _ in range(10)]
        process.send_signal(signal.SIGSTOP)  # so that what is read and what is saved agree
        wait_until(lambda: state_letter(process.pid) == "T", 5, "the process being stopped")
        os.set_blocking(process.stdout.fileno(), False)
        first += (process.stdout.read() or b"").splitlines(keepends=True)
        answer = self.crs("checkpoint", process.pid, "-o", self.path("snapshot"))
        self.assertEqual(answer.status, OK, answer)
        self.kill(process)
        process.stdout.close()
        pidfile = self.path("pid")
        restarted = self.foreground(answer.last_line(), "--pidfile", pidfile, stdout=subprocess.PIPE)
        wait_until(lambda: os.path.exists(pidfile) and os.path.getsize(pidfile), 20, "the pid file")
        with open(pidfile, encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGCONT)
        out, _ = restarted.communicate(timeout=20)
        self.assertEqual(restarted.returncode, 0)
        self.assertEqual(b"".join(first) + out, b"".join(b"row %d\n" % n for n in range(1, 61)))

    def test_latest_of_a_job_is_restarted_by_name(self):
        popen = self.start("rows", "out", "60", "25")
        self.wait_for_lines("out", 5)
        self.checkpoint(popen.pid, "--store", self.store, "--job", "counting")
        self.wait_for_lines("out", 15)
        self.checkpoint(popen.pid, "--store", self.store, "--job", "counting")
        self.kill(popen)
        self.assertEqual(self.foreground("counting", "--store", self.store).wait(20), 0)
        self.assertEqual(self.text("out"), "".join(f"row {n}\n" for n in range(1, 61)))
        self.assertEqual(self.crs("restart", "nobody", "--store", self.store, "--detach").status, NOT_FOUND)
        answer = self.crs("list", "--store", self.store)
        self.assertEqual(answer.status, OK, answer)
        self.assert_says(answer, "counting")

    def test_several_output_files_fall_back_together(self):
        code = ("import time\nfiles = [open(f'out.{n}', 'w', buffering=1) for n in (1, 3, 7)]\nstep = 0\n"
                "while step < 120:\n  step += 1\n  for every, file in zip((1, 3, 7), files):\n    if step % every == 0:"
                " file.write(f'{step}\\n')\n  time.sleep(0.008)\n")
        popen = self.start("/usr/bin/python3", "-c", code)
        self.wait_for_lines("out.1", 20)
        snapshot = self.checkpoint(popen.pid)
        self.wait_for_lines("out.1", 60)
        self.kill(popen)
        self.assertEqual(self.foreground(snapshot).wait(20), 0)
        for every in (1, 3, 7):
            wanted = "".join(f"{n}\n" for n in range(every, 121, every))
            self.assertEqual(self.text(f"out.{every}"), wanted)

    def test_a_pid_file_that_cannot_be_written_prevents_the_restart(self):
        popen = self.start("/bin/sleep", "100")
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        os.mkdir(self.path("folder"))
        for pidfile in (self.path("missing/pid"), self.path("folder")):
            answer = self.crs("restart", snapshot, "--detach", "--pidfile", pidfile)
            self.assertEqual(answer.status, STORAGE, answer)
            self.assert_says(answer, pidfile)
            self.assertFalse(exists(popen.pid))
            self.assertEqual(self.foreground(snapshot, "--pidfile", pidfile).wait(20), RESTART_FAILED)
        self.assertEqual([name for name in os.listdir(self.cwd) if ".new." in name], [])

    def test_a_pid_that_cannot_be_printed_is_told_all_the_same(self):
        popen = self.start("/bin/sleep", "100")
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        for more in ([], ["--json"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([self.crs_path, "restart", snapshot, "--detach", *more], stdin=subprocess.DEVNULL,
                                      stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=self.work,
                                      env=self.environment(), timeout=30, **self.account.popen_arguments())
            self.assertEqual(done.returncode, OTHER, done)
            pid = re.search(r"runs as pid (\d+)", done.stderr)
            self.assertTrue(pid, done)
            self.kill(int(pid[1]))

    def test_a_pipe_that_never_waits_is_told_of(self):
        code = "import fcntl, os, time\nfcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_NONBLOCK)\n" \
               "open('up', 'w').close()\ntime.sleep(100)\n"
        ends = os.pipe()
        self.addCleanup(os.close, ends[0])
        popen = subprocess.Popen(["/usr/bin/python3", "-c", code], cwd=self.cwd, stdin=subprocess.DEVNULL, stdout=ends[1],
                                 stderr=subprocess.DEVNULL, start_new_session=True, env=self.environment(),
                                 **self.account.popen_arguments())
        os.close(ends[1])
        self.popens.append(popen)
        wait_until(lambda: os.path.exists(self.path("up")), 20, "the program being up")
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        restarted = self.foreground(snapshot, "--pidfile", self.path("pid"))
        wait_until(lambda: os.path.exists(self.path("pid")), 20, "the pid file")
        with open(self.path("pid"), encoding="ascii") as file:
            self.kill(int(file.read()))
        restarted.wait(20)
        self.assertRegex(self.text("restart.err"), "fd 1: .*O_NONBLOCK")

    def test_bad_snapshot_says_so_detached(self):
        os.mkdir(self.path("empty"))
        self.account.own(self.path("empty"))
        self.assertIn(self.crs("restart", self.path("empty"), "--detach").status, (BAD_SNAPSHOT, NOT_FOUND))


if __name__ == "__main__":
    main()
