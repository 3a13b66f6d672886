#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Inside `unshare --user --map-root-user` one is root of little: a restart takes a namespace of its own there."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from case import OK, Case, main  # noqa: E402  pylint: disable=wrong-import-position


class UserNamespace(Case):
    def inside(self, *words):
        process = subprocess.run(["unshare", "--user", "--map-root-user", *map(str, words)], cwd=self.cwd, stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, timeout=120, env=self.environment(), **self.account.popen_arguments())
        return process

    def setUp(self):
        super().setUp()
        if self.inside("true").returncode != 0:
            self.skipTest("this machine lets nobody make a user namespace")

    def test_a_program_comes_back_with_the_pid_that_is_chosen_by_itself(self):
        script = self.write("round.sh", """set -eu
"$2" out 40 20 </dev/null >program.out 2>&1 &
while [ ! -s out ]; do sleep 0.02; done
"$1" checkpoint $! -o snapshot --term -q
wait $! || true
exec "$1" restart snapshot --pid auto -q
""")
        process = self.inside("bash", script, self.crs_path, self.program("rows"))
        self.assertEqual(process.returncode, OK, process.stdout + process.stderr)
        self.assertEqual(self.text("out"), "".join(f"row {i}\n" for i in range(1, 41)))


if __name__ == "__main__":
    main()
