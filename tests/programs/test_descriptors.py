#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the program's descriptors become: --fd, --stdio, pipes that lead outside, standard ones that were closed."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, REFUSED, Case, main, wait_until  # noqa: E402  pylint: disable=wrong-import-position

TALKER = """
import os, sys, time
open("up", "w").close()
while not os.path.exists("go"): time.sleep(0.01)
for number in map(int, sys.argv[1:]):
    try: os.write(number, b"said by %d\\n" % number)
    except OSError as error: open("failed", "a").write(f"{number} {error.errno}\\n")
open("done", "w").close()
"""


class Descriptors(Case):
    def talker(self, *numbers, **more):
        """Writes a line to each of the descriptors after the restart."""
        popen = subprocess.Popen(["/usr/bin/python3", "-c", TALKER, *map(str, numbers)], cwd=self.cwd, start_new_session=True,
                                 env=self.account.environment(), **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
                                                                    "stderr": subprocess.DEVNULL, **more},
                                 **self.account.popen_arguments())
        self.popens.append(popen)
        wait_until(lambda: os.path.exists(self.path("up")), 20, "the program being up")
        return popen

    def saved(self, popen):
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        self.write("go", "")
        return snapshot

    def writable(self, name):
        file = open(self.path(name), "wb")
        self.account.own(file.name)
        return file

    def test_fd_takes_one_number_of_a_shared_description(self):
        with self.writable("first") as first:
            snapshot = self.saved(self.talker(1, 2, stdout=first, stderr=first))
        self.assertEqual(self.foreground(snapshot, "--fd", f"2={self.path('second')}").wait(20), 0)
        self.assertEqual(self.text("first"), "said by 1\n")
        self.assertEqual(self.text("second"), "said by 2\n")

    def test_fd_keeps_together_what_shared_a_description(self):
        with self.writable("first") as first:
            snapshot = self.saved(self.talker(1, 2, stdout=first, stderr=first))
        other = self.path("other")
        self.assertEqual(self.foreground(snapshot, "--fd", f"1={other}", "--fd", f"2={other}").wait(20), 0)
        self.assertEqual(self.text("other"), "said by 1\nsaid by 2\n")

    def test_a_pipe_to_the_outside_needs_fd(self):
        for kind in ("pipe", "fifo"):
            for name in ("up", "go", "done", "answer"):
                if os.path.exists(self.path(name)):
                    os.unlink(self.path(name))
            if kind == "pipe":
                reader, writer = os.pipe()
            else:
                os.mkfifo(self.path("fifo"), 0o600)
                self.account.own(self.path("fifo"))
                reader = os.open(self.path("fifo"), os.O_RDONLY | os.O_NONBLOCK)
                writer = os.open(self.path("fifo"), os.O_WRONLY)
            popen = self.talker(writer, pass_fds=[writer])
            os.close(writer)
            snapshot = self.saved(popen)
            self.assertIn("--fd", self.log[-1].err, "the checkpoint tells what the restart will need")
            os.close(reader)
            answer = self.crs("restart", snapshot, "--detach")
            self.assertEqual(answer.status, REFUSED, answer)
            self.assert_says(answer, f"fd {writer}", "other end", "process", f"--fd {writer}=PATH")
            self.assertEqual(self.foreground(snapshot, "--fd", f"{writer}={self.path('answer')}").wait(20), 0)
            self.assertEqual(self.text("answer"), f"said by {writer}\n")

    def test_a_named_pipe_that_somebody_uses_by_then_is_refused(self):
        os.mkfifo(self.path("fifo"), 0o600)
        self.account.own(self.path("fifo"))
        popen = self.start("/usr/bin/python3", "-c", "import os, time\nfd = os.open('fifo', os.O_RDWR)\nos.write(fd, b'rest')\n"
                           "print('up', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
                           "raise SystemExit(os.read(fd, 9) != b'rest')")
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        self.write("go", "")
        other = subprocess.Popen(["/usr/bin/python3", "-c", "import os, time; os.open('fifo', os.O_RDWR); print(flush=True); time.sleep(60)"],
                                 cwd=self.cwd, stdout=subprocess.PIPE, **self.account.popen_arguments())
        self.popens.append(other)
        other.stdout.readline()
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "fifo", f"process {other.pid}", "has it open")
        self.kill(other)
        other.stdout.close()
        self.assertEqual(self.foreground(snapshot).wait(20), 0)
        os.unlink(self.path("fifo"))
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "fifo", "mkfifo")

    def test_a_file_written_in_its_middle_since_is_told(self):
        code = ("import os, time\nfd = os.open('data', os.O_RDWR)\nos.pwrite(fd, b'old', 2)\nprint('up', flush=True)\n"
                "while not os.path.exists('go'): time.sleep(0.01)\n")
        self.write("data", "0123456789")
        popen = self.start("/usr/bin/python3", "-c", code)
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        self.write("go", "")
        answer = self.crs("restart", snapshot, "--detach", "--files", "refuse")
        self.assertEqual(answer.status, OK, f"nothing was written since: {answer}")
        self.wait_gone(int(answer.last_line()))
        with open(self.path("data"), "r+b") as file:
            file.write(b"new")
        answer = self.crs("restart", snapshot, "--detach", "--files", "refuse")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "data: what it held at the checkpoint was overwritten since")
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, OK, answer)
        self.assert_says(answer, "data", "newer than itself")
        self.wait_gone(int(answer.last_line()))

    def test_stdio_modes(self):
        with self.writable("saved") as saved:
            snapshot = self.saved(self.talker(1, 2, stdout=saved))
        with self.writable("inherited") as inherited:
            self.assertEqual(self.foreground(snapshot, "--stdio", "inherit", stdout=inherited, stderr=inherited).wait(20), 0)
        self.assertEqual(self.text("inherited"), "said by 1\nsaid by 2\n")
        self.assertEqual(self.text("saved"), "")
        self.assertEqual(self.foreground(snapshot, "--stdio", "null").wait(20), 0)
        self.assertEqual(self.text("saved"), "")
        self.assertEqual(self.foreground(snapshot, "--stdio", "saved").wait(20), 0)
        self.assertEqual(self.text("saved"), "said by 1\n")
        self.assertFalse(os.path.exists(self.path("failed")))

    def test_stdio_saved_refuses_what_leads_outside(self):
        popen = self.talker(1, stdout=subprocess.PIPE)
        snapshot = self.saved(popen)
        popen.stdout.close()
        answer = self.crs("restart", snapshot, "--detach", "--stdio", "saved")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "fd 1", "pipe", "--fd 1=PATH")
        self.assertEqual(self.foreground(snapshot, "--stdio", "null").wait(20), 0)

    def test_closed_standard_descriptors_stay_closed(self):
        popen = self.talker(0, 1, 2, stdin=subprocess.DEVNULL, preexec_fn=lambda: [os.close(n) for n in (0, 1, 2)])
        snapshot = self.saved(popen)
        for mode in ("auto", "inherit", "null", "saved"):
            self.assertEqual(self.foreground(snapshot, "--stdio", mode).wait(20), 0)
            self.assertEqual(self.text("failed"), "0 9\n1 9\n2 9\n", f"--stdio {mode}")
            os.unlink(self.path("failed"))

    def test_fd_of_a_number_that_the_program_lacks_is_refused(self):
        snapshot = self.saved(self.talker(1))
        answer = self.crs("restart", snapshot, "--detach", "--fd", f"77={self.path('x')}")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "77", "no such descriptor")
        self.assertFalse(os.path.exists(self.path("x")))
        self.assertEqual(self.foreground(snapshot).wait(20), OK)


if __name__ == "__main__":
    main()
