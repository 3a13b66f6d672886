#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The five-minute tour of README.md: every line of it is run as it stands there, and does what is said beside it."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import Case, main  # noqa: E402  pylint: disable=wrong-import-position

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "README.md")
BUILD = "./dev build"
FIND_IT = 'export PATH="$PWD/build:$PATH"'


def tour():
    with open(README, encoding="utf-8") as file:
        part = file.read().partition("\n## Five minutes\n")[2].partition("\n## ")[0]
    return re.search(r"^```bash\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)[1].splitlines()


class Tour(Case):
    def test_every_line(self):
        lines = tour()
        self.assertTrue(lines[0].startswith(BUILD), "the tour begins in a fresh clone")
        self.assertEqual(lines[1], FIND_IT)
        # What was built is tested, wherever it was built; everything else is run as it is written.
        os.mkdir(self.path("build"))
        os.symlink(self.crs_path, self.path("build/crs"))
        script = "set -e\n" + "".join(f"printf '\\n$ %s\\n' {quoted(line)}\n{line}\n" for line in lines[1:])
        done = subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=200, check=False, cwd=self.cwd, start_new_session=True,
                              env=self.account.environment(TMPDIR=self.cwd), **self.account.popen_arguments())
        self.log.append(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout)
        answers = {}
        for part in done.stdout.split("\n$ ")[1:]:
            line, _, answer = part.partition("\n")
            answers.setdefault(line.partition("#")[0].strip(), []).append(answer.strip())
        self.check(answers)
        self.assert_no_processes()

    def check(self, answers):
        self.assertIn("can be saved", answers["crs check $!"][0])
        self.assertRegex(answers["crs checkpoint $! --job lines"][0].splitlines()[-1], r"/store/lines/000001$")
        self.assertIn("lines", answers["crs list"][0])
        self.assertIn("threads", answers["crs inspect lines"][0])
        self.assertIn("good", answers["crs verify lines"][0])
        self.assertEqual(set(answers["sort -n lines | uniq | wc -l"]), {"40"})
        self.assertEqual(set(answers["wc -l <lines"]), {"40"})
        saved = [json.loads(answer) for line, found in answers.items() if "--term --json" in line for answer in found]
        self.assertEqual([each["after"] for each in saved], ["terminated"])
        self.assertIn("removed lines@1", answers["crs rm lines@1"][0])
        self.assertIn("removed lines@2", answers["crs rm lines --all"][0])


def quoted(line):
    return "'" + line.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    main()
