#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that `crs run` started: exit statuses, streams, signals, the terminal, and --agent."""
import os
import re
import signal
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402  pylint: disable=wrong-import-position
from case import OK, REFUSED, USAGE, Case, main, wait_until  # noqa: E402  pylint: disable=wrong-import-position
from processes import child_pids, exists, state_letter  # noqa: E402  pylint: disable=wrong-import-position
from screen import Screen  # noqa: E402  pylint: disable=wrong-import-position

FAILED, CANNOT_EXECUTE, NO_SUCH_PROGRAM = 125, 126, 127
PAGE = "/memfd:crs-control"


class Run(Case):
    def setUp(self):
        super().setUp()
        self.library = next(os.path.join(os.path.dirname(case.OPTIONS.crs), name)
                            for name in sorted(os.listdir(os.path.dirname(case.OPTIONS.crs))) if re.fullmatch(r"libcrs\.so\.\d+", name))
        if self.crs_path != case.OPTIONS.crs:
            self.library = self.reachable(self.library)
            self.extra_environment["CRS_LIBRARY"] = self.library

    def start_run(self, *words, out="run.out", stdin=subprocess.DEVNULL, **more):
        """`crs run` in the background, its output in files."""
        with open(self.path(out), "wb") as out_file, open(self.path(out + ".err"), "wb") as err_file:
            self.account.own(out_file.name)
            self.account.own(err_file.name)
            popen = subprocess.Popen([self.crs_path, "run", *words], stdin=stdin, stdout=out_file, stderr=err_file, cwd=self.cwd,
                                     env=self.environment(), **more, **self.account.popen_arguments())
        self.popens.append(popen)
        return popen

    def child_of(self, popen):
        return wait_until(lambda: child_pids(popen.pid), 20, "the program")[0]

    def has_page(self, pid):
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            return PAGE in file.read()

    def needs_plain_library(self):
        if case.OPTIONS.sanitized:
            self.skipTest("a sanitized libcrs can be preloaded into nothing")

    # -------------------------------------------------------------------------------- exit statuses

    def test_the_status_of_the_program_is_that_of_crs(self):
        for status in (0, 1, 5, 125, 255):
            answer = self.crs("run", "--", "sh", "-c", f"exit {status}")
            self.assertEqual((answer.status, answer.out, answer.err), (status, "", ""), answer)

    def test_a_death_by_signal_is_one_of_crs(self):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGRTMIN):
            self.assertEqual(self.crs("run", "--", "sh", "-c", f"kill -{int(number)} $$").status, -number)

    def test_what_cannot_be_started(self):
        self.extra_environment["PATH"] = "/usr/bin:/bin"
        self.write("plain", "text")
        self.write("broken", "#!/no/such/interpreter\n")
        os.chmod(self.path("broken"), 0o755)
        for word, status in (("no-such-program", NO_SUCH_PROGRAM), ("/no/such/program", NO_SUCH_PROGRAM), ("", NO_SUCH_PROGRAM),
                             (self.path("broken"), NO_SUCH_PROGRAM), (self.path("plain"), CANNOT_EXECUTE), (self.cwd, CANNOT_EXECUTE)):
            answer = self.crs("run", "--", word)
            self.assertEqual(answer.status, status, answer)
            self.assert_says(answer, word or "no program")
            env = subprocess.run(["env", "--", word], check=False, stderr=subprocess.DEVNULL, env=self.environment(),
                                 **self.account.popen_arguments())
            self.assertEqual(env.returncode, status, f"env(1) of {word!r}")

    def test_usage(self):
        self.assertEqual(self.crs("run").status, USAGE)
        answer = self.crs("run", "--no-such-option", "true")
        self.assertEqual(answer.status, USAGE)
        self.assert_says(answer, "--no-such-option")
        self.assertEqual(self.crs("run", "--param", "native.no-such=1", "true").status, USAGE)

    # ------------------------------------------------------------------------------ what it is given

    def test_words_reach_the_program_as_they_are(self):
        words = ["", " ", "[a,b]", "{}", "--", "--json", "--agent", "-x", "two\nlines", "++", "list", "'\"$x", "\u00e4"]
        for before in (["--"], []):
            answer = self.crs("run", *before, "printf", "<%s>", *words)
            self.assertEqual(answer.out, "".join(f"<{word}>" for word in words), answer)

    def test_a_script_without_an_interpreter_is_run_by_sh(self):
        self.write("script", "echo \"$0 $1\"; exit 3\n")
        os.chmod(self.path("script"), 0o755)
        answer = self.crs("run", "--", self.path("script"), "word")
        self.assertEqual((answer.status, answer.out), (3, f"{self.path('script')} word\n"), answer)

    def test_streams_are_those_of_crs(self):
        done = subprocess.run([self.crs_path, "run", "--", "sh", "-c", "cat; echo told >&2"], input=b"a\0b\n", capture_output=True,
                              check=False, env=self.environment(), cwd=self.cwd, **self.account.popen_arguments())
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"a\0b\n", b"told\n"))

    def test_what_is_closed_stays_closed(self):
        code = "import os\nopen('descriptors', 'w').write(' '.join(str(fd) for fd in (0, 1, 2) if os.path.exists(f'/proc/self/fd/{fd}')))"
        # Python itself takes the lowest free number for the file.
        for closing, left in ((">&-", "0 1 2"), ("<&- >&- 2>&-", "0"), ("", "0 1 2")):
            subprocess.run(["bash", "-c", f'"$@" {closing}', "bash", self.crs_path, "run", "--", "/usr/bin/python3", "-c", code], check=True,
                           env=self.environment(), cwd=self.cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           **self.account.popen_arguments())
            self.assertEqual(self.text("descriptors"), left, closing)

    def test_environment_and_signals_are_those_of_crs(self):
        show = ["bash", "-c", 'env | grep -v "^_=\\|^SHLVL="; grep "^Sig[IB]" /proc/self/status']
        for ignoring in ("", "trap '' HUP PIPE CHLD XFSZ; "):
            plain, run = (subprocess.run(["bash", "-c", ignoring + 'exec "$@"', "bash", *before, *show], capture_output=True, text=True,
                                         check=True, env=self.environment(), cwd=self.cwd, **self.account.popen_arguments()).stdout
                          for before in ([], [self.crs_path, "run", "--"]))
            self.assertEqual(run, plain)

    def test_store_and_rank(self):
        answer = self.crs("run", "--store", "place", "--rank", "7", "--", "sh", "-c", 'echo "$CRS_STORE $CRS_RANK $LD_PRELOAD"',
                          cwd=self.cwd)
        self.assertEqual(answer.out, f"{self.path('place')} 7 \n", answer)
        self.assertEqual(self.crs("run", "--rank", "x", "true").status, USAGE)

    # ------------------------------------------------------------------------------------- refusals

    def test_a_32_bit_program_is_refused(self):
        program = self.program("thirty_two_bits")
        answer = self.crs("run", "--", program)
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, program, "64-bit", "--force")
        self.assertNotEqual(self.crs("run", "--agent", "--", program).status, OK)

    def test_a_program_of_another_user_is_refused_unless_by_root(self):
        program = "/usr/bin/su"
        if not os.path.exists(program) or not os.stat(program).st_mode & stat.S_ISUID:
            self.skipTest("no su with set-user-id")
        answer = self.crs("run", "--", program, "--version")
        if self.account.is_root:
            self.assertEqual(answer.status, OK, answer)
            return
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, program, "set-user-id", "--force")
        forced = self.crs("run", "--force", "--agent", "--", program, "--version")
        self.assertEqual(forced.status, OK, forced)

    def test_a_static_program_takes_no_part(self):
        program = "/sbin/ldconfig"
        if not os.path.exists(program):
            self.skipTest("no static ldconfig")
        with open(program, "rb") as file:
            if b"/ld-linux" in file.read(4096):
                self.skipTest("no static ldconfig")
        answer = self.crs("run", "--agent", "--", program, "--version")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, program, "statically", "without --agent")
        self.assertEqual(self.crs("run", "--", program, "--version").status, OK)

    def test_a_library_that_is_not_there(self):
        self.extra_environment["CRS_LIBRARY"] = "/no/such/libcrs.so"
        answer = self.crs("run", "--agent", "true")
        self.assertEqual(answer.status, FAILED, answer)
        self.assert_says(answer, "CRS_LIBRARY", "/no/such/libcrs.so")

    # ------------------------------------------------------------------------------ standing for it

    def test_signals_are_passed_on(self):
        popen = self.start_run("--", "bash", "-c", 'trap "echo usr1; exit 9" USR1; echo ready; while :; do sleep 0.02; done')
        self.wait_for_lines("run.out", 1)
        popen.send_signal(signal.SIGUSR1)
        self.assertEqual(popen.wait(20), 9)
        self.assertEqual(self.text("run.out"), "ready\nusr1\n")

    def test_in_a_terminal(self):
        """Ctrl-Z, fg and Ctrl-C, as for a program that the shell started itself."""
        screen = Screen(self, ["/bin/bash", "--norc", "-i"], self.cwd)
        screen.type(f"{self.crs_path} run -- {self.program('rows')} - 100000 20\n".encode())
        screen.wait_for(b"row 5\r\n")
        screen.type(b"\x1a")
        screen.wait_for(b"Stopped")
        pids = [pid for child in child_pids(screen.popen.pid) for pid in (child, *child_pids(child))]
        self.assertEqual(len(pids), 2)
        for pid in pids:
            wait_until(lambda p=pid: state_letter(p) == "T", 10, "both being stopped")
        shown = int(re.findall(rb"row (\d+)\r", screen.shown)[-1])
        screen.type(b"fg\n")
        screen.wait_for(b"row %d\r\n" % (shown + 20))
        screen.type(b"\x03")
        screen.type(b"echo status $?\n")
        screen.wait_for(b"status 130")
        self.assertFalse([pid for pid in pids if exists(pid)])
        screen.close()

    def test_changes_of_the_terminal_are_the_users(self):
        screen = Screen(self, ["/bin/bash", "--norc", "--noediting", "-i"], self.cwd)
        screen.type(f"{self.crs_path} run -- stty -ixon; stty -a | grep -c -e -ixon; echo done 1\n".encode())
        screen.wait_for(b"1\r\ndone 1\r\n")
        screen.close()

    def test_in_tmux(self):
        tmux, socket = self.program("tmux"), self.path("tmux")

        def ask(*words):
            return subprocess.run([tmux, "-f", "/dev/null", "-S", socket, *words], cwd=self.cwd, env={**self.environment(), "TERM": "xterm"},
                                  capture_output=True, text=True, check=False, **self.account.popen_arguments())
        made = ask("new-session", "-d", "-x", "80", "-y", "24",
                   f"trap : INT; {self.crs_path} run -- {self.program('rows')} - 100000 20; echo status $?; exec sleep 100")
        self.assertEqual(made.returncode, 0, made.stderr)
        try:
            wait_until(lambda: "row 10" in ask("capture-pane", "-p").stdout, 20, "rows in tmux")
            ask("send-keys", "C-c")
            wait_until(lambda: "status 130" in ask("capture-pane", "-p").stdout, 20, "the end by Ctrl-C")
        finally:
            ask("kill-server")

    # --------------------------------------------------------------------- saved and brought back

    def round_trip(self, popen, expected):
        pid = self.child_of(popen)
        self.wait_for_lines("run.out", 1, seconds=120)
        snapshot = self.checkpoint(pid)
        self.kill(pid)
        self.assertEqual(popen.wait(20), -signal.SIGKILL)
        self.write("go", "")
        restored = self.restart(snapshot)
        taking_part = self.has_page(restored) if exists(restored) else None
        self.wait_gone(restored)
        self.assertEqual(self.text("run.out"), expected)
        return taking_part

    PYTHON = ("import os, time\nprint('ready', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.02)\n"
              "time.sleep(0.2)\nprint('back')\n")

    def test_it_is_saved_like_any_other(self):
        popen = self.start_run("--", "/usr/bin/python3", "-c", self.PYTHON)
        self.assertFalse(self.round_trip(popen, "ready\nback\n"))

    def test_an_agent_is_saved_and_takes_part_again(self):
        self.needs_plain_library()
        popen = self.start_run("--agent", "--", "/usr/bin/python3", "-c", self.PYTHON)
        wait_until(lambda: self.has_page(self.child_of(popen)), 20, "the control page")
        self.assertIsNot(self.round_trip(popen, "ready\nback\n"), False)

    def test_an_agent_in_bc(self):
        self.needs_plain_library()
        bc = self.program("bc")
        reading, writing = os.pipe()
        popen = self.start_run("--agent", "--", bc, "-q", stdin=reading)
        os.close(reading)
        os.write(writing, b"x=41\nx\n")
        pid = self.child_of(popen)
        self.wait_for_lines("run.out", 1)
        self.assertTrue(self.has_page(pid))
        snapshot = self.checkpoint(pid)
        self.kill(pid)
        os.close(writing)
        self.write("rest", "x+1\n")
        answer = self.crs("restart", snapshot, "--fd", f"0={self.path('rest')}")
        self.assertEqual(answer.status, OK, answer)
        self.assertEqual(self.text("run.out"), "41\n42\n")

    def test_an_agent_that_forks_much(self):
        """A page for each process, nothing left over, and the same before and after a restart."""
        self.needs_plain_library()
        script = ('forks() { for ((i = 0; i < 200; i++)); do (:); done\n'
                  '  for ((i = 0; i < 20; i++)); do (n=$(ls -l /proc/$BASHPID/fd | grep -c crs-control); [[ $n == 1 ]] || echo "$n pages"); done; }\n'
                  'forks\necho ready\nwhile [[ ! -e go ]]; do read -rt 0.02 </dev/zero; done\nforks\necho back\n')
        self.write("script", script)
        popen = self.start_run("--agent", "--", "bash", "script")
        self.round_trip(popen, "ready\nback\n")

    def test_an_agent_whose_descriptor_was_closed_keeps_its_others(self):
        self.needs_plain_library()
        code = ("import os, resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))\nos.closerange(3, 2000)\n"
                "r, w = os.pipe()\nos.dup2(w, 700)\n"
                "if os.fork() == 0:\n    os.write(700, b'well')\n    os._exit(0)\n"
                "os.wait()\nprint(os.read(r, 4).decode())\n")
        answer = self.crs("run", "--agent", "--", "/usr/bin/python3", "-c", code)
        self.assertEqual((answer.status, answer.out), (OK, "well\n"), answer)

    def test_what_crs_restarts_below_an_agent_is_what_it_was(self):
        self.needs_plain_library()
        popen = self.start("/usr/bin/python3", "-c", self.PYTHON)
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        before = sorted(os.listdir(f"/proc/{popen.pid}/fd"))
        self.kill(popen)
        answer = self.crs("run", "--agent", "--", "bash", "-c", f"'{self.crs_path}' restart --detach '{snapshot}'")
        self.assertEqual(answer.status, OK, answer)
        pid = int(answer.last_line())
        self.assertFalse(self.has_page(pid))
        self.assertEqual(sorted(os.listdir(f"/proc/{pid}/fd")), before)
        self.write("go", "")
        self.wait_gone(pid)
        self.assertEqual(self.text("program.out"), "ready\nback\n")

    def test_what_was_preloaded_stays_preloaded(self):
        self.needs_plain_library()
        self.extra_environment["LD_PRELOAD"] = "libm.so.6"
        answer = self.crs("run", "--agent", "--", "sh", "-c", 'echo "$LD_PRELOAD"')
        self.assertEqual(answer.out, f"libm.so.6:{self.library}\n", answer)

    def test_the_library_alone_does_nothing(self):
        self.needs_plain_library()
        self.extra_environment["LD_PRELOAD"] = self.library
        answer = self.crs("run", "--", "/bin/cat", "/proc/self/maps")
        self.assertIn(os.path.basename(self.library), answer.out)
        self.assertNotIn(PAGE, answer.out)


if __name__ == "__main__":
    main()
