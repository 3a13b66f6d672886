# SPDX-License-Identifier: Apache-2.0
"""A terminal that a test types on and reads."""
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios

from processes import wait_until


class Screen:
    """A new pseudo terminal with a program in a session of its own, and what it showed."""

    def __init__(self, case, words, cwd):
        self.shown = b""
        self.master, slave = pty.openpty()
        self.name = os.ttyname(slave)
        if case.account.entry is not None:
            os.chown(self.name, case.account.entry.pw_uid, -1)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.slave = slave

        def own_the_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.popen = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=case.environment(),
                                      start_new_session=True, preexec_fn=own_the_terminal, **case.account.popen_arguments())
        case.popens.append(self.popen)

    def settings(self):
        return termios.tcgetattr(self.slave)

    def read(self, seconds=0.05):
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.shown += os.read(self.master, 65536)
            except OSError:
                pass
        return self.shown

    def wait_for(self, text, seconds=15):
        def found():
            self.read()
            return text in self.shown
        try:
            wait_until(found, seconds, f"{text!r} on the terminal")
        except Exception:
            print(f"--- shown on {self.name}:\n{self.shown.decode(errors='replace')}")
            raise

    def type(self, text):
        os.write(self.master, text)

    def close(self):
        os.close(self.master)
        os.close(self.slave)
