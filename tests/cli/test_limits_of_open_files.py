#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that use the highest descriptor number that their limit allows, as bash does for its script."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, Case, main  # noqa: E402  pylint: disable=wrong-import-position

HIGH = """
import os, resource, time
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
os.dup2(os.open("input", os.O_RDONLY), 10)
for number in range(11, hard - FREE):
    os.dup2(10, number)
os.dup2(10, hard - 1)
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
print(os.pread(hard - 1, 5, 0).decode(), os.fstat(hard - 1).st_ino == os.stat("input").st_ino, flush=True)
"""


class LimitsOfOpenFiles(Case):
    def come_back(self, limit, free):
        self.write("input", "hello")
        self.write("high.py", HIGH.replace("FREE", str(free)))
        popen = self.start("/bin/sh", "-c", f"ulimit -n {limit}; exec /usr/bin/python3 high.py")
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        self.write("go", "")
        restart = self.start("/bin/sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", self.crs_path, "restart", snapshot, out="restart.out")
        self.assertEqual(restart.wait(60), OK)
        self.assertEqual(self.text("program.out"), "ready\nhello True\n")

    def test_the_highest_number(self):
        self.come_back(256, 200)

    def test_few_numbers_are_free(self):
        self.come_back(64, 30)


if __name__ == "__main__":
    main()
