#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy on the given files, as far as the build compiles them; headers are checked through them.

    tidy.py BUILD FILE...

A file that passed is looked at again only when something changed that it depends on: itself, a header (as ninja knows them
from the last build), how it is compiled, the checks (.clang-tidy), or clang-tidy. What passed is noted in BUILD/tidy. Exit
status 1 when clang-tidy found something.
"""
import concurrent.futures
import functools
import hashlib
import json
import os
import shlex
import subprocess
import sys

OPTIONS = ["--quiet", "--warnings-as-errors=*", "--extra-arg=-Wno-unknown-warning-option",
           "--extra-arg=-Wno-unused-command-line-argument"]  # the commands are g++'s


def headers_of_objects(build):
    """What each object was made from: {object: [paths]}."""
    listed = subprocess.run(["ninja", "-C", build, "-t", "deps"], check=True, capture_output=True, text=True).stdout
    found, current = {}, []
    for line in listed.splitlines():
        if line.startswith("    "):
            current.append(os.path.join(build, line.strip()))
        elif line:
            current = found.setdefault(line.partition(":")[0], [])
    return found


@functools.lru_cache(maxsize=None)
def digest(path):
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError:
        return "gone"


def main():
    build, wanted = os.path.abspath(sys.argv[1]), {os.path.abspath(name) for name in sys.argv[2:]}
    notes = os.path.join(build, "tidy")
    os.makedirs(notes, exist_ok=True)
    tool = subprocess.run(["clang-tidy", "--version"], check=True, capture_output=True, text=True).stdout + " ".join(OPTIONS)
    headers = headers_of_objects(build)
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        units = [unit for unit in json.load(file) if unit["file"] in wanted]

    def state_of(unit):
        words = shlex.split(unit["command"])
        made_from = headers.get(words[words.index("-o") + 1], [])
        parts = [tool, digest(".clang-tidy"), unit["command"], *(f"{path} {digest(path)}" for path in [unit["file"], *made_from])]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def note_of(unit):
        return os.path.join(notes, os.path.relpath(unit["file"]).replace("/", "."))

    def passed(unit):
        try:
            with open(note_of(unit), encoding="ascii") as file:
                return file.read() == state_of(unit)
        except FileNotFoundError:
            return False

    def check(unit):
        state = state_of(unit)
        done = subprocess.run(["clang-tidy", "-p", build, *OPTIONS, unit["file"]], check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode == 0:
            with open(note_of(unit), "w", encoding="ascii") as file:
                file.write(state)
            return ""
        return done.stdout or done.stderr or f"{unit['file']}: clang-tidy ended with {done.returncode}\n"

    fresh = [unit for unit in units if not passed(unit)]
    print(f"clang-tidy: {len(units)} files, {len(units) - len(fresh)} of them passed before and are unchanged", file=sys.stderr)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for done, (unit, found) in enumerate(zip(fresh, pool.map(check, fresh)), 1):
            if found:
                failed += 1
                print(found, end="", flush=True)
            print(f"[{done}/{len(fresh)}] {os.path.relpath(unit['file'])}{': see above' if found else ''}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
