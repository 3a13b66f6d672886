#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs started by hand in one terminal and restarted in another one, with no option."""
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import Case, kill_and_wait, main, wait_until  # noqa: E402  pylint: disable=wrong-import-position
from processes import child_pids, exists, reap  # noqa: E402  pylint: disable=wrong-import-position
from screen import Screen  # noqa: E402  pylint: disable=wrong-import-position


class Terminal(Case):
    def only_child(self, pid, name):
        def found():
            for child in child_pids(pid):
                try:
                    with open(f"/proc/{child}/comm", encoding="utf-8") as file:
                        if file.read().strip() == name:
                            return child
                except OSError:
                    pass
                deeper = self_or_none(child)
                if deeper:
                    return deeper
            return None

        def self_or_none(child):
            for below in child_pids(child):
                try:
                    with open(f"/proc/{below}/comm", encoding="utf-8") as file:
                        if file.read().strip() == name:
                            return below
                except OSError:
                    pass
            return None
        return wait_until(found, 10, f"a process called {name}")

    def test_started_by_a_shell_and_restarted_twice_elsewhere(self):
        rows = self.program("rows")
        first = Screen(self, ["/bin/bash", "--norc", "-i"], self.cwd)
        first.type(f"{rows} - 100000 20\n".encode())
        pid = self.only_child(first.popen.pid, "rows")
        first.wait_for(b"row 5\r\n")
        snapshot = self.checkpoint(pid)
        first.wait_for(b"row 30\r\n")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not exists(pid), 10, "the shell reaping its job")
        first.popen.kill()
        first.popen.wait()
        first.close()

        for attempt in range(2):
            second = Screen(self, [self.crs_path, "restart", snapshot], self.cwd)
            before = second.settings()
            second.wait_for(b"row 40\r\n")
            self.assertNotIn(b"row 3\r\n", second.shown, f"attempt {attempt}: rows from before the checkpoint")
            second.type(b"\x03")  # Ctrl-C reaches the program
            status = second.popen.wait(10)
            self.assertIn(status, (130, -signal.SIGINT), f"attempt {attempt}: {second.shown!r}")
            self.assertEqual(second.settings(), before, "the terminal's settings were not put back")
            second.close()
        self.assert_no_processes()

    def test_reads_what_is_typed_in_the_new_terminal(self):
        first = Screen(self, ["/usr/bin/python3", "-u", "-c", "while True:\n  print('>', end='', flush=True)\n  line = input()\n"
                              "  print('got', line)\n  if line == 'end': raise SystemExit(9)"], self.cwd)
        first.wait_for(b">")
        first.type(b"one\n")
        first.wait_for(b"got one")
        first.wait_for(b"got one\r\n>")
        snapshot = self.checkpoint(first.popen.pid)
        self.kill(first.popen)
        first.close()
        second = Screen(self, [self.crs_path, "restart", snapshot], self.cwd)
        time.sleep(0.2)
        second.type(b"two\n")
        second.wait_for(b"got two")
        second.type(b"end\n")
        self.assertEqual(second.popen.wait(10), 9)
        second.close()

    def test_a_session_leader_keeps_a_terminal_in_the_foreground(self):
        """As `script -c PROG`, `tmux new PROG` and `ssh -t HOST PROG` start one."""
        program = ("import os, time\n"
                   "def look(word):\n"
                   "    print(word, os.tcgetpgrp(0) == os.getpgrp(), open('/dev/tty').isatty(), flush=True)\n"
                   "look('before')\n"
                   "while not os.path.exists('go'): time.sleep(0.02)\n"
                   "look('after')\n")
        first = Screen(self, ["/usr/bin/python3", "-c", program], self.cwd)
        first.wait_for(b"before True True")
        self.assertEqual(os.getsid(first.popen.pid), first.popen.pid)
        snapshot = self.checkpoint(first.popen.pid)
        self.kill(first.popen)
        self.write("go", "")
        second = Screen(self, [self.crs_path, "restart", snapshot], self.cwd)
        second.wait_for(b"after True True")
        self.assertEqual(second.popen.wait(20), 0)
        answer = self.crs("restart", snapshot, "--detach")
        self.assert_says(answer, "has no terminal to lend")
        first.close()
        second.close()

    def test_window_size_reaches_the_program(self):
        code = ("import signal, shutil, time\n"
                "def changed(*_): print('columns', shutil.get_terminal_size().columns, flush=True)\n"
                "signal.signal(signal.SIGWINCH, changed)\nprint('ready', flush=True)\n"
                "while True: time.sleep(0.05)\n")
        first = Screen(self, ["/usr/bin/env", "-u", "COLUMNS", "/usr/bin/python3", "-c", code], self.cwd)
        first.wait_for(b"ready")
        snapshot = self.checkpoint(first.popen.pid)
        self.kill(first.popen)
        first.close()
        second = Screen(self, [self.crs_path, "restart", snapshot], self.cwd)
        time.sleep(0.4)
        fcntl.ioctl(second.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 133, 0, 0))
        second.wait_for(b"columns 133")
        second.type(b"\x03")
        second.popen.wait(10)
        second.close()

    def test_started_in_tmux(self):
        tmux = self.program("tmux")
        socket = self.path("tmux")
        rows = self.program("rows")
        environment = self.environment()

        def ask(*words):
            return subprocess.run([tmux, "-f", "/dev/null", "-S", socket, *words], cwd=self.cwd, env={**environment, "TERM": "xterm"},
                                  capture_output=True, text=True, check=False, **self.account.popen_arguments())
        made = ask("new-session", "-d", "-x", "80", "-y", "24", f"exec {rows} - 100000 20")
        self.assertEqual(made.returncode, 0, made.stderr)
        try:
            pid = int(ask("list-panes", "-F", "#{pane_pid}").stdout.strip())
            wait_until(lambda: "row 10" in ask("capture-pane", "-p").stdout, 10, "rows in tmux")
            snapshot = self.checkpoint(pid)
            os.kill(pid, signal.SIGKILL)
        finally:
            ask("kill-server")
        wait_until(lambda: reap(pid) is not None or not exists(pid), 10, "the end of the program")
        second = Screen(self, ["/usr/bin/script", "-qc", f"{self.crs_path} restart {snapshot}", "/dev/null"], self.cwd)
        second.wait_for(b"row 60\r\n")
        second.type(b"\x03")
        second.popen.wait(10)
        second.close()
        for child in child_pids(os.getpid()):
            kill_and_wait(child)

    def test_started_in_script(self):
        rows = self.program("rows")
        first = Screen(self, ["/usr/bin/script", "-qc", f"exec {rows} - 100000 20", "/dev/null"], self.cwd)
        pid = self.only_child(first.popen.pid, "rows")
        first.wait_for(b"row 5\r\n")
        snapshot = self.checkpoint(pid)
        kill_and_wait(pid) if pid in child_pids(os.getpid()) else os.kill(pid, signal.SIGKILL)
        first.popen.wait(10)
        first.close()
        second = Screen(self, [self.crs_path, "restart", snapshot], self.cwd)
        second.wait_for(b"row 30\r\n")
        second.type(b"\x03")
        second.popen.wait(10)
        second.close()


if __name__ == "__main__":
    main()
