#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Snapshots that are missing, cut, bent, from elsewhere, or whose files have changed: found before a process exists."""
import json
import os
import shutil
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import (BAD_SNAPSHOT, NOT_FOUND, OK, REFUSED, RESTART_FAILED, Case,  # noqa: E402  pylint: disable=wrong-import-position
                  exists, main)


def sections_of(state):
    """(name, offset of its header, offset of its content, its end) of each section of state.pb (docs/snapshot-format.md)."""
    found = []
    at = 8
    while at < len(state):
        name_length, _, content_length = struct.unpack_from("<IIQ", state, at)
        content = at + 32 + name_length
        found.append((state[at + 32:content].decode(), at, content, content + content_length))
        at = content + content_length
    return found


def chunks_of(pages):
    """(offset, stored bytes) of each chunk, and where the index begins."""
    index, count = struct.unpack_from("<QQ", pages, len(pages) - 64)
    return [struct.unpack_from("<QI", pages, index + 64 * number) for number in range(count)], index


class Damaged(Case):
    snapshot = None

    def make(self, *words):
        """A snapshot of a small program that was then killed."""
        popen = self.start(*(words or ("memory", "8")))
        self.wait_for_lines("program.out", 1)
        self.snapshot = self.checkpoint(popen.pid)
        self.kill(popen)

    def copy(self, name="copy"):
        target = self.path(name)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.snapshot, target)
        for folder, _, names in os.walk(target):
            self.account.own(folder)
            for entry in names:
                self.account.own(os.path.join(folder, entry))
        return target

    def found_bad(self, snapshot, what, *words):
        """restart and verify both say so, and no process comes of it."""
        answer = self.crs("restart", snapshot, "--detach", seconds=20)
        self.assertEqual(answer.status, BAD_SNAPSHOT, f"{what}: {answer}")
        self.assertEqual(answer.out.strip(), "", f"{what}: {answer}")
        self.assert_says(answer, *words)
        answer = self.crs("verify", snapshot, seconds=20)
        self.assertEqual(answer.status, BAD_SNAPSHOT, f"{what}: {answer}")
        self.assert_no_processes()

    def damage(self, path, name, change):
        full = os.path.join(path, name)
        with open(full, "rb") as file:
            data = bytearray(file.read())
        data = change(data)
        with open(full, "wb") as file:
            file.write(data)

    def test_good_snapshot_is_called_good(self):
        self.make()
        self.assertEqual(self.crs("verify", self.copy()).status, OK)

    def test_missing(self):
        answer = self.crs("restart", self.path("nothing"), "--detach")
        self.assertEqual(answer.status, NOT_FOUND, answer)
        self.assert_says(answer, "nothing")
        self.assertEqual(self.crs("verify", self.path("nothing")).status, NOT_FOUND)
        self.assertEqual(self.crs("inspect", self.path("nothing")).status, NOT_FOUND)
        self.assertEqual(self.foreground(self.path("nothing")).wait(20), RESTART_FAILED)

    def test_every_file_cut(self):
        self.make()
        for name in self.files_below(self.snapshot):
            size = os.path.getsize(os.path.join(self.snapshot, name))
            for keep in sorted({0, size // 2, size - 1}):
                with open(os.path.join(self.snapshot, name), "rb") as file:
                    file.seek(keep)
                    if file.read().strip() == b"":
                        continue  # the line's end after the last brace of a manifest
                copy = self.copy()
                os.truncate(os.path.join(copy, name), keep)
                self.found_bad(copy, f"{name} cut to {keep} of {size} bytes", name)

    def test_every_file_missing(self):
        self.make()
        for name in self.files_below(self.snapshot):
            copy = self.copy()
            os.unlink(os.path.join(copy, name))
            answer = self.crs("restart", copy, "--detach")
            self.assertIn(answer.status, (BAD_SNAPSHOT, NOT_FOUND) if name == "manifest.json" else (BAD_SNAPSHOT,), f"{name}: {answer}")
            self.assert_says(answer, name)
            self.assert_no_processes()

    def test_flipped_bits_anywhere(self):
        self.make()
        for name in self.files_below(self.snapshot):
            size = os.path.getsize(os.path.join(self.snapshot, name))
            spots = sorted({0, 1, size // 7, size // 3, size // 2, size - 9, size - 2, size - 1} & set(range(size)))
            for spot in spots:
                copy = self.copy()

                def flip(data, at=spot):
                    data[at] ^= 0x10
                    return data
                self.damage(copy, name, flip)
                self.found_bad(copy, f"{name}: bit flipped at {spot} of {size}")

    def bad_wherever(self, name, changes):
        """Each change of the file is found by restart and verify; nothing ran, nobody has the pid, the output is as it was."""
        path = os.path.join(self.snapshot, name)
        with open(os.path.join(self.snapshot, "manifest.json"), encoding="utf-8") as file:
            pid = json.load(file)["pid"]
        with open(path, "rb") as file:
            good = file.read()
        output = self.bytes("out")
        for what, change in changes:
            data = change(bytearray(good))
            with open(path, "wb") as file:
                file.write(data)
            self.found_bad(self.snapshot, f"{name}: {what}")
            self.assertEqual(self.foreground(self.snapshot).wait(20), RESTART_FAILED, what)
            self.assertFalse(exists(pid), f"{name}: {what}: there is a process {pid}")
            self.assertEqual(self.bytes("out"), output, f"{name}: {what}: the program ran")
        with open(path, "wb") as file:
            file.write(good)
        self.assertEqual(self.crs("verify", self.snapshot).status, OK)

    def make_small(self):
        popen = self.start("rows", "out", "100000", "5")
        self.wait_for_lines("out", 3)
        self.snapshot = self.checkpoint(popen.pid, "-o", self.path("small"))
        self.kill(popen)

    @staticmethod
    def flip(at, bit=0x10):
        def change(data):
            data[at] ^= bit
            return data
        return change

    @staticmethod
    def cut(at):
        return lambda data: data[:at]

    def test_state_cut_and_flipped_in_every_section(self):
        self.make_small()
        with open(os.path.join(self.snapshot, "state.pb"), "rb") as file:
            sections = sections_of(file.read())
        self.assertGreater(len(sections), 20)
        changes = []
        for name, header, content, end in sections:
            changes.append((f"cut before section {name}", self.cut(header)))
            changes.append((f"cut in section {name}", self.cut((content + end) // 2 if end > content else content - 1)))
            changes.append((f"bit flipped in the header of {name}", self.flip(header + 8)))
            changes.append((f"bit flipped in {name}", self.flip((content + end) // 2 if end > content else content - 1)))
        self.bad_wherever("state.pb", changes)

    def test_pages_cut_and_flipped_in_every_part(self):
        self.make_small()
        with open(os.path.join(self.snapshot, "pages-0.bin"), "rb") as file:
            pages = file.read()
        chunks, index = chunks_of(pages)
        self.assertGreater(len(chunks), 0)
        changes = [("bit flipped in the header", self.flip(9)), ("bit flipped behind the header", self.flip(40)),
                   ("cut at the index", self.cut(index)), ("bit flipped in the footer", self.flip(len(pages) - 20))]
        for number, (offset, stored) in enumerate(chunks):
            changes.append((f"cut at chunk {number}", self.cut(offset)))
            changes += [(f"bit flipped in chunk {number}", self.flip(offset + at, 1)) for at in {0, stored // 2, stored - 1}]
            changes.append((f"bit flipped in the record of chunk {number}", self.flip(index + 64 * number + 8, 1)))
        self.bad_wherever("pages-0.bin", changes)

    def test_bytes_appended(self):
        self.make()
        for name in self.files_below(self.snapshot):
            copy = self.copy()
            self.damage(copy, name, lambda data: data + b"more")
            self.found_bad(copy, f"{name} with bytes appended")

    def test_empty_directory(self):
        os.mkdir(self.path("empty"))
        self.account.own(self.path("empty"))
        answer = self.crs("restart", self.path("empty"), "--detach")
        self.assertIn(answer.status, (BAD_SNAPSHOT, NOT_FOUND), answer)

    def change_manifest(self, change):
        """A copy whose manifest says something else; its checksum, where it has one in itself, is not mended."""
        copy = self.copy()
        path = os.path.join(copy, "manifest.json")
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        change(manifest)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        return copy

    def test_newer_format(self):
        self.make()

        def newer(manifest):
            names = [name for name in manifest if "format" in name.lower() or name == "version"]
            self.assertTrue(names, f"no format version in the manifest: {sorted(manifest)}")
            for name in names:
                if isinstance(manifest[name], int):
                    manifest[name] += 1000
        answer = self.crs("restart", self.change_manifest(newer), "--detach")
        self.assertEqual(answer.status, BAD_SNAPSHOT, answer)
        self.assert_no_processes()

    def test_other_architecture(self):
        self.make()

        def foreign(manifest):
            text = json.dumps(manifest)
            self.assertIn("x86_64", text, "the manifest does not tell the architecture")
            changed = json.loads(text.replace("x86_64", "riscv64"))
            manifest.clear()
            manifest.update(changed)
        answer = self.crs("restart", self.change_manifest(foreign), "--detach")
        self.assertIn(answer.status, (BAD_SNAPSHOT, REFUSED), answer)
        self.assert_no_processes()

    def test_executable_replaced(self):
        own = self.path("rows-of-mine")
        shutil.copyfile(self.program("rows"), own)
        os.chmod(own, 0o755)
        self.account.own(own)
        popen = self.start(own, "out", "100000", "5")
        self.wait_for_lines("out", 3)
        self.snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        os.unlink(own)
        shutil.copyfile(self.program("memory"), own)
        os.chmod(own, 0o755)
        self.account.own(own)
        answer = self.crs("restart", self.snapshot, "--detach")
        if answer.status == OK:
            # The snapshot carries the program it ran from: then it must go on rightly.
            self.wait_for_lines("out", 20)
            self.kill(int(answer.last_line()))
            return
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, own)
        self.assert_no_processes()

    def test_file_it_reads_changed_or_vanished(self):
        self.write("data", "one line\n" * 100)
        code = "import time\nfile = open('data')\nfile.readline()\nprint('up', flush=True)\ntime.sleep(1)\nprint(file.readline())"
        popen = self.start("/usr/bin/python3", "-c", code)
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        self.write("data", "another\n" * 100)
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, self.path("data"), "--allow-changed-files")
        os.rename(self.path("data"), self.path("elsewhere"))
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, self.path("data"))
        os.rename(self.path("elsewhere"), self.path("data"))
        self.assertEqual(self.foreground(snapshot, "--allow-changed-files").wait(20), 0)


if __name__ == "__main__":
    main()
