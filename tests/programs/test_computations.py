#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that compute to a file: saved and killed twice in their middle, their results are byte-identical to those
of an uninterrupted run."""
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import Case, main, wait_until  # noqa: E402  pylint: disable=wrong-import-position

THREADED_PYTHON = """
import hashlib, sys, threading
rows = {}
def work(me):
    value = str(me).encode()
    for i in range(300000):
        value = hashlib.sha256(value).digest()
        if i % 10000 == 0:
            rows[me, i] = value.hex()
threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
with open(sys.argv[1], "w") as out:
    out.write("begun\\n")
    out.flush()
    for thread in threads: thread.start()
    for n in range(1000000):
        if n % 1000 == 0: out.write(f"{n} {n * n % 1009}\\n")
    for thread in threads: thread.join()
    for key in sorted(rows): out.write(f"{key} {rows[key]}\\n")
"""

SQL = """
PRAGMA journal_mode=DELETE;
CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, v TEXT);
BEGIN;
WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1200000)
  INSERT INTO t SELECT n, hex(n * 7919 % 1000003) FROM c;
UPDATE t SET v = v || 'x' WHERE n % 7 = 0;
COMMIT;
SELECT count(*), sum(n), sum(length(v)) FROM t;
PRAGMA integrity_check;
"""


def numbers(count):
    """Lines of random hexadecimal digits, the same each time."""
    digits = random.Random(5).randbytes(count * 10).hex()
    return "\n".join(digits[n * 20:n * 20 + 20] for n in range(count)) + "\n"


class Computations(Case):
    def same_result(self, words, result, cpu=0.25, step=0.2, **more):
        """Runs it once by itself and once saved and killed in its middle (by processor time used)."""
        self.run_to_end(*words, **more)
        wanted = self.bytes(result)
        self.assertGreater(len(wanted), 0)
        os.unlink(self.path(result))
        popen = self.start(*words, **more)
        targets = iter((cpu, step, step))

        def middle(pid):
            self.wait_for_cpu(pid, self.cpu_seconds(pid) + next(targets))
        status = self.there_and_back(popen, middle)
        self.assertEqual(status, 0, "exit status of the restored program")
        self.assertEqual(self.bytes(result), wanted, "the result is not that of an uninterrupted run")
        self.assert_no_processes()

    def test_python_with_threads(self):
        self.write("work.py", THREADED_PYTHON)
        self.same_result(["/usr/bin/python3", "work.py", "result"], "result", cpu=0.15, step=0.1)

    def test_bc(self):
        self.write("pi.bc", "scale=1700\n4*a(1)\n8*a(1)+1\nquit\n")
        self.same_result(["bc", "-q", "-l", "pi.bc"], "program.out")

    def test_gzip(self):
        self.write("input", numbers(900000))
        self.same_result(["gzip", "-9", "-n", "-c", "input"], "program.out")

    def test_sort(self):
        self.write("input", numbers(1500000))
        self.same_result(["sort", "-S", "8M", "-T", ".", "--parallel=2", "-k1.5", "-o", "result", "input"], "result")

    def test_openssl(self):
        self.write("input", numbers(300000))
        self.same_result(["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "3000000", "-S", "0011223344556677", "-pass",
                          "pass:x", "-in", "input", "-out", "result"], "result")

    def refused_and_unharmed(self, popen, word):
        """Not saved yet: the refusal names why, and the program runs on to its right end."""
        answer = self.crs("checkpoint", str(popen.pid), "-o", self.path("refused"))
        self.assertEqual(answer.status, 5, answer)
        self.assertIn(word, str(answer))
        self.assertFalse(os.path.exists(self.path("refused")))
        self.assertEqual(popen.wait(timeout=60), 0)

    def sqlite3_in_a_transaction(self, mode, companion):
        """The locks on the database come back with the program, which is ended by each checkpoint: what it wrote afterwards
        would not be what it remembers."""
        self.write("work.sql", SQL.replace("=DELETE", "=" + mode))
        self.run_to_end("sqlite3", "data.db", stdin="work.sql")
        wanted, wanted_output = self.bytes("data.db"), self.bytes("program.out")
        self.assertIn(b"ok", wanted_output)
        os.unlink(self.path("data.db"))
        popen = self.start("sqlite3", "data.db", stdin="work.sql")
        wait_until(lambda: os.path.exists(self.path("data.db" + companion)), 20, "a transaction")

        def middle(pid):
            self.wait_for_cpu(pid, self.cpu_seconds(pid) + 0.1)
            with open("/proc/locks", encoding="ascii") as locks:
                inode = os.stat(self.path("data.db")).st_ino
                self.assertRegex(locks.read(), rf"POSIX .* {pid} [0-9a-f:]*:{inode} ", "the transaction is over")
            other = subprocess.run([self.program("sqlite3"), self.path("data.db"), "BEGIN IMMEDIATE"], capture_output=True, check=False)
            self.assertIn(b"locked", other.stderr, "another program could write to the database")
        self.assertEqual(self.there_and_back(popen, middle, times=3, end_by_checkpoint=True), 0)
        self.assertEqual(self.bytes("program.out"), wanted_output)
        self.assertEqual(self.bytes("data.db"), wanted, "the database is not that of an uninterrupted run")
        self.assertEqual(sorted(name for name in os.listdir(self.cwd) if name.startswith("data.db")), ["data.db"])
        self.assert_no_processes()

    def test_sqlite3_in_a_transaction(self):
        self.sqlite3_in_a_transaction("DELETE", "-journal")

    def test_sqlite3_in_a_transaction_with_write_ahead_log(self):
        self.sqlite3_in_a_transaction("WAL", "-shm")

    def test_go(self):
        self.same_result(["goroutines", "result"], "result", cpu=0.4, step=0.2)

    def test_java(self):
        self.program("java")
        classes = os.path.dirname(self.program("Numbers.class"))
        if not os.path.exists(os.path.join(classes, "Numbers.class")):
            self.skipTest("javac is missing")
        self.same_result(["java", "-Xmx256m", "-cp", classes, "Numbers", "result"], "result", cpu=0.6, step=0.2)


if __name__ == "__main__":
    main()
