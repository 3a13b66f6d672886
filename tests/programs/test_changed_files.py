#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files that were written, rewritten or replaced between checkpoint and restart: put back, or told of, or refused."""
import os
import resource
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, REFUSED, STORAGE, Case, main  # noqa: E402  pylint: disable=wrong-import-position

# Opens FILE, writes its first content, and after "go" what it is told to; then waits for "end".
WRITER = """
import os, sys, time
def there(name):
    while not os.path.exists(name): time.sleep(0.01)
file = open('data', 'wb+' if sys.argv[1] != 'append' else 'ab+', buffering=0)
def replace(content):
    file.seek(0); file.truncate(); file.write(content)
size = int(sys.argv[2])
replace(b'old ' * (size // 4))
print('ready', flush=True)
there('go')
kind = sys.argv[1]
if not os.path.exists('second'):
    open('second', 'w').close()
    if kind == 'middle': os.pwrite(file.fileno(), b'NEW!', size // 2)
    if kind == 'same size': replace(b'new ' * (size // 4))
    if kind == 'longer': replace(b'new ' * (size // 4) + b'and more')
    if kind in ('grown', 'append'): file.write(b'more')
    print('written', flush=True)
there('end')
print('position', file.tell(), flush=True)
"""
READER = """
import os, time
file = open('input', 'rb')
first = file.read(4)
print('ready', flush=True)
while not os.path.exists('go'): time.sleep(0.01)
print(first + file.read(), flush=True)
"""
SMALL, LONG = 4096, 5 << 20


class ChangedFiles(Case):
    def writer(self, kind, size=SMALL):
        popen = self.start("/usr/bin/python3", "-c", WRITER, kind, str(size))
        self.wait_for_lines("program.out", 1)
        return popen

    def written(self, kind, size=SMALL):
        """A snapshot of a program that did it afterwards and is gone."""
        popen = self.writer(kind, size)
        snapshot = self.checkpoint(popen.pid)
        self.write("go", "")
        self.wait_for_lines("program.out", 2)
        self.kill(popen)
        return snapshot

    def touch_like(self, name, status):
        os.utime(self.path(name), ns=(status.st_atime_ns, status.st_mtime_ns))

    def assert_refused(self, snapshot, *words, more=()):
        answer = self.crs("restart", snapshot, "--detach", *more)
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, *words)

    def assert_runs(self, snapshot, *words, more=()):
        answer = self.crs("restart", snapshot, "--detach", *more)
        self.assertEqual(answer.status, OK, answer)
        self.assert_says(answer, *words)
        self.kill(int(answer.last_line()))
        return answer

    def test_written_into_without_growing_is_told_or_refused(self):
        for size in (SMALL, LONG):
            snapshot = self.written("middle", size)
            what = "what it held" if size == SMALL else "it was written to"
            self.assert_refused(snapshot, f"data: {what}", more=["--files", "refuse"])
            self.assert_runs(snapshot, f"data: {what}", "newer than itself")
            for name in ("go", "second"):
                os.unlink(self.path(name))

    def test_rewritten_in_the_same_size_is_told_or_refused(self):
        snapshot = self.written("same size")
        self.assert_refused(snapshot, "data", "overwritten", more=["--files", "refuse"])
        self.assert_runs(snapshot, "data", "overwritten")

    def test_rewritten_and_longer_is_never_cut(self):
        for size in (SMALL, LONG):
            snapshot = self.written("longer", size)
            new = self.bytes("data")
            self.assert_refused(snapshot, "data", "overwritten", more=["--files", "refuse"])
            self.assert_runs(snapshot, "data", "overwritten", "nothing is cut")
            self.assertEqual(self.bytes("data"), new)
            self.assertFalse([name for name in os.listdir(self.path("tails")) if "-data." in name])
            for name in ("go", "second"):
                os.unlink(self.path(name))

    def test_grown_is_cut_again_and_again(self):
        for kind, size in (("grown", SMALL), ("grown", LONG), ("append", SMALL), ("append", LONG)):
            snapshot = self.written(kind, size)
            self.assert_refused(snapshot, "grown by 4 bytes", more=["--files", "refuse"])
            for _ in range(2):
                self.assert_runs(snapshot, "cut back")
                self.assertEqual(os.path.getsize(self.path("data")), size)
                with open(self.path("data"), "ab") as file:
                    file.write(b"more")
            for name in ("go", "second", "data"):
                os.unlink(self.path(name))

    def test_another_file_of_the_same_length_is_refused(self):
        popen = self.writer("grown")
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        os.rename(self.path("data"), self.path("data.1"))
        self.write("data", "#" * SMALL)
        self.assert_refused(snapshot, "data", "another file")
        self.assert_runs(snapshot, "data", "another file", more=["--files", "keep"])
        self.assert_runs(snapshot, more=["--allow-changed-files"])
        self.assertEqual(self.text("data"), "#" * SMALL)

    def test_a_copy_of_the_file_is_the_file(self):
        snapshot = self.written("grown")
        os.rename(self.path("data"), self.path("data.1"))
        self.write("data", self.bytes("data.1"))
        self.assert_runs(snapshot, "cut back")
        self.assertEqual(self.bytes("data"), b"old " * (SMALL // 4))

    def test_input_replaced_with_equal_size_and_time_is_refused(self):
        for how in ("in place", "another file"):
            self.write("input", "aaaabbbb")
            popen = self.start("/usr/bin/python3", "-c", READER)
            self.wait_for_lines("program.out", 1)
            snapshot = self.checkpoint(popen.pid)
            self.kill(popen)
            status = os.stat(self.path("input"))
            if how == "another file":
                os.rename(self.path("input"), self.path("input.old"))
            self.write("input", "aaaaZZZZ")
            self.touch_like("input", status)
            self.assert_refused(snapshot, "input", "changed since")
            self.assert_runs(snapshot, more=["--allow-changed-files"])

    def test_input_that_got_another_name_mode_or_place_is_the_same(self):
        self.write("input", "aaaabbbb")
        popen = self.start("/usr/bin/python3", "-c", READER)
        self.wait_for_lines("program.out", 1)
        snapshot = self.checkpoint(popen.pid)
        self.kill(popen)
        status = os.stat(self.path("input"))
        os.link(self.path("input"), self.path("input.too"))
        os.chmod(self.path("input"), 0o644)
        self.assert_runs(snapshot)
        os.unlink(self.path("input"))
        self.write("input", "aaaabbbb")
        self.touch_like("input", status)
        self.assert_runs(snapshot)
        self.write("go", "")
        self.assertEqual(self.foreground(snapshot).wait(20), 0)
        self.assertIn("aaaabbbb", self.text("program.out"))

    def test_program_replaced_with_equal_size_and_time_is_refused(self):
        compiler = shutil.which("gcc") or self.skipTest("gcc is missing")
        for name, number in (("one", 1111), ("two", 2222)):
            self.write(name + ".c", f"#include <unistd.h>\nvolatile int number = {number};\nint main(void) {{ return pause(); }}\n")
            subprocess.run([compiler, "-Wl,--build-id", self.path(name + ".c"), "-o", self.path(name)], check=True)
        self.assertEqual(os.path.getsize(self.path("one")), os.path.getsize(self.path("two")))
        for how in ("in place", "another file"):
            shutil.copy(self.path("one"), self.path("program"))
            popen = self.start(self.path("program"))
            snapshot = self.checkpoint(popen.pid)
            self.kill(popen)
            status = os.stat(self.path("program"))
            with open(self.path("two"), "rb") as file:
                code = file.read()
            if how == "another file":
                os.rename(self.path("program"), self.path("program.old"))
            self.write("program", code)
            os.chmod(self.path("program"), 0o755)
            self.touch_like("program", status)
            self.assert_refused(snapshot, "program", "changed or replaced since")
            # The same bytes under another inode, as a backup brings them back.
            os.unlink(self.path("program"))
            shutil.copy(self.path("one"), self.path("program"))
            self.touch_like("program", status)
            self.assert_runs(snapshot)
            os.unlink(self.path("program"))

    def test_a_file_that_somebody_writes_meanwhile_is_not_cut(self):
        popen = self.start("rows", "out", "100000", "15")
        self.wait_for_lines("out", 3)
        for _ in range(10):
            snapshot = self.checkpoint(popen.pid)
            answer = self.crs("restart", snapshot, "--detach")
            self.assertNotIn("was cut back", answer.err)
            if answer.status == OK:
                self.kill(int(answer.last_line()))
            else:
                self.assertEqual(answer.status, REFUSED, answer)
                self.assert_says(answer, "would be cut back", f"process {popen.pid}")
        self.assert_unharmed(popen.pid)


class Tails(Case):
    """What is cut off is kept beside the snapshot, wherever that is."""

    def setUp(self):
        self.mounts = []
        super().setUp()

    def tearDown(self):
        for where in self.mounts:
            subprocess.run(["umount", "-l", where], check=False)
        super().tearDown()

    def grown(self, by=b"more\n"):
        """A snapshot in a folder of its own, of a program whose output has grown since."""
        popen = self.start("/bin/sleep", "100")
        os.mkdir(self.path("place"))
        self.account.own(self.path("place"))
        snapshot = self.checkpoint(popen.pid, "-o", self.path("place/snapshot"))
        self.kill(popen)
        with open(self.path("program.out"), "ab") as file:
            file.write(by)
        return snapshot

    def assert_kept(self, snapshot, folder):
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, OK, answer)
        self.kill(int(answer.last_line()))
        self.assertEqual(self.bytes("program.out"), b"")
        kept = self.path(f"place/{folder}/snapshot-program.out.1")
        self.assertIn(f"kept in {kept}\n", answer.err)
        with open(kept, "rb") as file:
            self.assertEqual(file.read(), b"more\n")
        self.assertEqual(os.stat(os.path.dirname(kept)).st_mode & 0o777, 0o700)

    def own_folder(self):
        return f"tails-{0 if self.account.is_root else os.stat(self.cwd).st_uid}"

    def test_kept_beside_the_snapshot(self):
        self.assert_kept(self.grown(), "tails")

    def test_no_link_is_followed(self):
        snapshot = self.grown()
        os.mkdir(self.path("elsewhere"))
        self.account.own(self.path("elsewhere"))
        os.symlink(self.path("elsewhere"), self.path("place/tails"))
        self.assert_kept(snapshot, self.own_folder())
        self.assertEqual(os.listdir(self.path("elsewhere")), [])

    def test_folder_of_somebody_else_is_passed_over(self):
        if os.geteuid() != 0:
            self.skipTest("making somebody else's folder needs root")
        snapshot = self.grown()
        os.mkdir(self.path("place/tails"), 0o700)
        os.chown(self.path("place/tails"), 1, 1)
        self.assert_kept(snapshot, self.own_folder())

    def test_folder_that_others_may_write_to_is_passed_over(self):
        snapshot = self.grown()
        os.mkdir(self.path("place/tails"))
        self.account.own(self.path("place/tails"))
        os.chmod(self.path("place/tails"), 0o777)
        self.assert_kept(snapshot, self.own_folder())

    def test_where_nothing_can_be_kept_nothing_is_cut(self):
        snapshot = self.grown()
        place = self.path("place")
        if os.geteuid() != 0:
            self.skipTest("mounting something read-only needs root")
        done = [subprocess.run(["mount", *words, place], check=False, capture_output=True).returncode
                for words in (["--bind", place], ["-o", "remount,bind,ro"])]
        self.mounts.append(place)
        if any(done):
            self.skipTest("cannot mount anything read-only")
        answer = self.crs("restart", snapshot, "--detach")
        self.assertNotEqual(answer.status, OK, answer)
        self.assert_says(answer, "tails", "--files keep")
        self.assertEqual(self.bytes("program.out"), b"more\n")
        answer = self.crs("restart", snapshot, "--detach", "--files", "keep")
        self.assertEqual(answer.status, OK, answer)
        self.kill(int(answer.last_line()))

    def test_no_half_tail_stays_behind(self):
        snapshot = self.grown(b"x" * 300000)
        answer = self.crs("restart", snapshot, "--detach",
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000)))
        self.assertEqual(answer.status, STORAGE, answer)
        self.assert_says(answer, "tails", "large", "--files keep")
        self.assertEqual(len(self.bytes("program.out")), 300000)
        self.assertEqual(os.listdir(self.path("place/tails")), [])


if __name__ == "__main__":
    main()
