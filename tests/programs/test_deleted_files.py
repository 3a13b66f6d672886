#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Deleted files of any size come back, and crs stays small; what another process shares is refused."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import REFUSED, Case, main  # noqa: E402  pylint: disable=wrong-import-position

HOLDER = """
import hashlib, os, random, time
file = open("scratch", "w+b")
os.unlink("scratch")
piece = random.Random(7).randbytes(1 << 20)
for n in range(200):
    file.write(n.to_bytes(8, "little") + piece[8:])
file.seek(1 << 33)
file.write(b"far away")
file.flush()
print("up", flush=True)
while not os.path.exists("end"): time.sleep(0.01)
assert os.fstat(file.fileno()).st_size == (1 << 33) + 8
for n in range(200):
    assert os.pread(file.fileno(), 1 << 20, n << 20) == n.to_bytes(8, "little") + piece[8:], n
assert os.pread(file.fileno(), 8, 1 << 33) == b"far away"
assert os.fstat(file.fileno()).st_blocks * 512 < 210 << 20
raise SystemExit(4)
"""


class DeletedFiles(Case):
    def test_a_large_deleted_file_comes_back_in_little_memory(self):
        popen = self.start("/usr/bin/python3", "-c", HOLDER)
        self.wait_for_lines("program.out", 1, 60)
        snapshot = self.path("snapshot")
        self.crs_in_little_memory("checkpoint", popen.pid, "-o", snapshot)
        self.assertEqual(self.crs("verify", snapshot).status, 0)
        self.kill(popen)
        self.write("end", "")
        restarted = self.foreground(snapshot)
        self.assertEqual(restarted.wait(60), 4)
        self.assertEqual(os.path.exists(self.path("scratch")), False)
        self.assert_no_processes()

    def test_damage_to_its_content_is_found(self):
        popen = self.start("/usr/bin/python3", "-c", HOLDER)
        self.wait_for_lines("program.out", 1, 60)
        snapshot = self.checkpoint(popen.pid, "--compress", "none")
        self.kill(popen)
        with open(os.path.join(snapshot, "pages-0.bin"), "r+b") as file:
            file.seek(100 << 20)
            byte = file.read(1)
            file.seek(100 << 20)
            file.write(bytes([byte[0] ^ 4]))
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, 8, answer)
        self.assert_says(answer, "pages-0.bin", "offset", "damaged")
        self.assert_no_processes()

    def test_a_deleted_file_that_another_process_has_is_refused(self):
        self.write("shared", "content")
        with open(self.path("shared"), "rb") as other:
            os.unlink(self.path("shared"))
            code = f"import os, time\nprint('up', flush=True)\nwhile not os.path.exists('end'): time.sleep(0.01)\nos.fstat({other.fileno()})\n"
            popen = self.start("/usr/bin/python3", "-c", code, pass_fds=[other.fileno()])
            if not self.account.is_root:
                helper = subprocess.Popen(["/bin/sleep", "60"], pass_fds=[other.fileno()], **self.account.popen_arguments())
                self.popens.append(helper)
            self.wait_for_lines("program.out", 1)
            answer = self.crs("checkpoint", popen.pid, "-o", self.path("refused"))
            self.assertEqual(answer.status, REFUSED, answer)
            self.assert_says(answer, "deleted file", "shared", "has it open")
            self.write("end", "")
            self.assertEqual(popen.wait(20), 0)


if __name__ == "__main__":
    main()
