#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Snapshots that are missing, cut, bent, from elsewhere, or whose files have changed: found before a process exists."""
import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import BAD_SNAPSHOT, NOT_FOUND, OK, REFUSED, RESTART_FAILED, Case, main  # noqa: E402  pylint: disable=wrong-import-position


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
