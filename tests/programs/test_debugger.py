#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A debugger, a tracer and ps see the restored process as they saw the original."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import Case, main  # noqa: E402  pylint: disable=wrong-import-position


class Debugger(Case):
    def ask(self, *words):
        process = subprocess.run([self.program(words[0]), *words[1:]], capture_output=True, text=True, errors="replace", timeout=60,
                                 check=False, stdin=subprocess.DEVNULL, env=self.environment(), cwd=self.cwd,
                                 **self.account.popen_arguments())
        return process.stdout + process.stderr

    def backtrace(self, pid):
        """The functions of each thread's stack, and the libraries with their addresses."""
        text = self.ask("gdb", "-q", "-nx", "-batch", "-iex", "set debuginfod enabled off",
                        # An ordinary user's process comes back in a mount namespace of its own, into which gdb may not go.
                        "-iex", "set sysroot /", "-p", str(pid), "-ex", "thread apply all bt",
                        "-ex", "info sharedlibrary", "-ex", "info proc exe")
        frames = re.findall(r"^#\d+ +(?:0x[0-9a-f]+ in )?(\S+)", text, re.MULTILINE)
        libraries = re.findall(r"^(0x[0-9a-f]+ +0x[0-9a-f]+).*?(/\S+)$", text, re.MULTILINE)
        exe = re.findall(r"exe = '(.*)'", text)
        self.assertTrue(frames and exe, text)
        return sorted(frames), libraries, exe

    def test_gdb_sees_the_same_stacks_and_libraries(self):
        self.program("gdb")
        popen = self.start("rows", "out", "100000", "3000")
        self.wait_for_lines("out", 1)
        before = self.backtrace(popen.pid)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        pid = self.restart(snapshot)
        self.assertEqual(self.backtrace(pid), before)
        self.kill(pid)

    def test_strace_can_follow_the_restored_process(self):
        self.program("strace")
        popen = self.start("rows", "out", "100000", "10")
        self.wait_for_lines("out", 3)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        pid = self.restart(snapshot)
        text = self.ask("timeout", "--preserve-status", "-s", "INT", "1", self.program("strace"), "-qq", "-e", "trace=write", "-p", str(pid))
        self.assertRegex(text, r'write\(\d+, "row \d+\\n"')
        self.wait_for_lines("out", 20)
        self.kill(pid)

    def test_ps_and_proc_name_the_same_program(self):
        popen = self.start("rows", "out", "100000", "10")
        self.wait_for_lines("out", 3)
        before = self.ask("ps", "-o", "comm=,args=", "-p", str(popen.pid))
        self.assertIn("rows", before)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        pid = self.restart(snapshot)
        self.assertEqual(self.ask("ps", "-o", "comm=,args=", "-p", str(pid)), before)
        self.kill(pid)


if __name__ == "__main__":
    main()
