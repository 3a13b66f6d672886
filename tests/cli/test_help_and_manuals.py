#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--help, the manual pages and the completion of bash tell of the same commands, options and values."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, USAGE, Case, main  # noqa: E402  pylint: disable=wrong-import-position

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
EVERYWHERE = {"-h", "--help", "--param"}  # told once, in crs(1)
ASK_COMPLETION = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _crs; printf "%s\\n" "${COMPREPLY[@]}"'


class Help:
    """What `crs COMMAND --help` says."""

    def __init__(self, text):
        self.options = set()
        self.values = {}  # of an option, where they are listed
        self.takes_value = set()
        part = text.partition("\nOptions:\n")[2].partition("\n\n")[0]
        for match in re.finditer(r"^  ((?:-\w,)?--[\w-]+)(.*)$", part, re.MULTILINE):
            names = match[1].split(",")
            self.options.update(names)
            listed = re.search(r"\{([\w,]+)\}", match[2])
            if listed:
                self.values[names[-1]] = set(listed[1].split(","))
            if re.match(r" [A-Z]+\b(?!:)| [A-Z=.]+ {2}| TEXT| INT", match[2]) and "Excludes" not in match[2][:10]:
                self.takes_value.add(names[-1])


def manual(name):
    with open(os.path.join(ROOT, "docs", "man", f"{name}.1.scd"), encoding="utf-8") as file:
        text = file.read()
    options = {}
    for line in text.splitlines():
        if re.match(r"\*-", line):  # "*-d*, *--detach*", "*--pid* *auto*|*same*"
            names = re.findall(r"(?<![\w-])(-{1,2}[a-zA-Z][\w-]*)", line)
            for name in names:
                options[name] = set(re.findall(r"\*([a-z]+)\*", line.partition(names[-1])[2]))
    return text, options


class HelpAndManuals(Case):
    def help(self, command):
        answer = self.crs(command, "--help")
        self.assertEqual(answer.status, OK, answer)
        self.assertEqual(self.crs("help", command).out, answer.out, "`crs help` and --help differ")
        return Help(answer.out)

    def commands(self):
        answer = self.crs("--help")
        self.assertEqual(answer.status, OK, answer)
        part = answer.out.partition("\nSubcommands:\n")[2].partition("\n\n")[0]
        return re.findall(r"^  (\w+)", part, re.MULTILINE)

    def completed(self, *words):
        done = subprocess.run(["bash", "-c", ASK_COMPLETION, "bash", os.path.join(ROOT, "completions", "crs.bash"), "crs", *words],
                              check=False, capture_output=True, text=True, timeout=20, env=self.environment(), cwd=self.cwd)
        # compopt complains outside of a completion, nothing else may.
        complaints = [line for line in done.stderr.splitlines() if "compopt" not in line]
        self.assertEqual(complaints, [], words)
        return set(done.stdout.split())

    def test_commands(self):
        commands = self.commands()
        self.assertIn("checkpoint", commands)
        self.assertEqual(self.completed("") - {"--help", "--version"}, set(commands))
        self.assertEqual(self.completed("help", ""), set(commands))
        page, _ = manual("crs")
        self.assertEqual(re.findall(r"^\|  \*(\w+)\*", page, re.MULTILINE), commands)

    def test_options(self):
        for command in self.commands():
            if command == "help":  # crs(1) has all of it
                continue
            told = self.help(command).options
            _, described = manual(f"crs-{command}")
            self.assertEqual(told - EVERYWHERE, set(described) - EVERYWHERE, f"crs {command} --help and crs-{command}(1)")
            offered = self.completed(command, "-")
            long = {name for name in told if name.startswith("--")}
            self.assertEqual({name for name in offered if name.startswith("--")}, long, f"crs {command} --help and the completion")
            self.assertLessEqual(offered, told, f"crs {command}: the completion offers what there is not")
        _, described = manual("crs")
        self.assertLessEqual(EVERYWHERE - {"-h"}, set(described) | set(re.findall(r"--\w+", manual("crs")[0])))

    def test_values(self):
        for command in self.commands():
            if command == "help":
                continue
            _, described = manual(f"crs-{command}")
            for option, values in self.help(command).values.items():
                self.assertEqual(described[option], values, f"crs-{command}(1) {option}")
                self.assertEqual(self.completed(command, option, ""), values, f"completion of crs {command} {option}")
                answer = self.crs(command, option, "no-such-value", "1")
                self.assertEqual(answer.status, USAGE, answer)

    def test_value_of_an_option_is_not_completed_as_an_option(self):
        for command in self.commands():
            if command == "help":
                continue
            for option in self.help(command).takes_value:
                offered = self.completed(command, option, "")
                self.assertFalse({name for name in offered if name.startswith("-")}, f"crs {command} {option}")

    def test_exit_statuses(self):
        page, _ = manual("crs")
        told = self.crs("--help").out
        statuses = re.search(r"Exit status: (.*?\n?.*?)anything else", told, re.DOTALL)[1]
        described = set(re.findall(r"^\*(\d+)\*$", page, re.MULTILINE))
        self.assertEqual(set(re.findall(r"\d+", statuses)), described)


if __name__ == "__main__":
    main()
