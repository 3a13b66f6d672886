#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What holds whichever component does the work: for native, none, self, and a shared object (examples/component)."""
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402  pylint: disable=wrong-import-position
from case import BUSY, OK, REFUSED, TIMED_OUT, Case, main, wait_until  # noqa: E402  pylint: disable=wrong-import-position

COMPONENTS = ("native", "none", "self", "example")
STATELESS = ("none", "example")
PLUGIN = "crs-component-example.so"


class Contract(Case):
    def setUp(self):
        super().setUp()
        self.folder = os.path.join(self.work, "snapshots")
        os.mkdir(self.folder, 0o700)
        self.account.own(self.folder)
        plugins = os.path.join(self.work, "components")  # which the ordinary user can reach
        os.mkdir(plugins)
        shutil.copy(os.path.join(case.OPTIONS.programs, PLUGIN), plugins)
        os.chmod(os.path.join(plugins, PLUGIN), 0o755)
        self.extra_environment["CRS_SERVICE_COMPONENT_PATH"] = plugins

    def place(self, name):
        return os.path.join(self.folder, name)

    def contract(self, *words, seconds=60, **environment):
        """The lines that the program printed."""
        popen = self.start("contract", *map(str, words), environment={**self.extra_environment, **environment})
        popen.wait(seconds)
        return self.text("program.out").splitlines()

    def assert_failed(self, lines, *results):
        self.assertIn(lines[0].split()[0], results, lines)
        self.assertEqual(lines[0].split()[1:], ["ERROR", "[]", "RUNNING,CHECKPOINT,ERROR,RUNNING"], lines)
        self.assertRegex(lines[1], "^error: .{10}", lines)
        self.assertEqual(os.listdir(self.folder), [], "something was left behind")

    # ------------------------------------------------------------------------- who is to be saved

    def test_oneself(self):
        for component in COMPONENTS:
            for who in ("0", "self"):
                with self.subTest(component=component, who=who):
                    lines = self.contract("checkpoint", who, component, self.place(component + who))
                    self.assertEqual(lines, [f"CRS_SUCCESS CONTINUE [{component}] RUNNING,CHECKPOINT,CONTINUE,RUNNING"])
                    self.assertEqual(self.crs("verify", self.place(component + who)).status, OK)

    def test_oneself_comes_back_as_what_the_component_can_do(self):
        self.contract("checkpoint", "0", "native", self.place("native"))
        self.assertEqual(self.foreground(self.place("native")).wait(60), OK)
        self.assertIn("CRS_SUCCESS RESTART [native] RUNNING,CHECKPOINT,RESTART_PRE,RESTART,RUNNING", self.text("program.out"))

    def test_a_child(self):
        for component in COMPONENTS:
            with self.subTest(component=component):
                lines = self.contract("checkpoint", "child", component, self.place(component))
                self.assertEqual(lines, [f"CRS_SUCCESS CONTINUE [{component}] RUNNING,CHECKPOINT,CONTINUE,RUNNING", "the child runs"])

    def test_a_child_that_is_to_end(self):
        for component in COMPONENTS:
            with self.subTest(component=component):
                lines = self.contract("checkpoint", "child", component, self.place(component), "term")
                self.assertEqual(lines, [f"CRS_SUCCESS TERM [{component}] RUNNING,CHECKPOINT,TERM,NONE"])

    def test_a_child_that_is_to_be_stopped(self):
        for component in COMPONENTS:
            with self.subTest(component=component):
                lines = self.contract("checkpoint", "child", component, self.place(component), "stop")
                self.assertEqual(lines, [f"CRS_SUCCESS CONTINUE [{component}] RUNNING,CHECKPOINT,CONTINUE,RUNNING",
                                         "the child is stopped"])
                self.assertEqual(self.crs("verify", self.place(component)).status, OK)

    def test_options_that_exclude_each_other(self):
        for component in COMPONENTS:
            for words in ("term+stop", "prep+recover", "prep+term", "prep+stop", "recover+term", "recover+stop", "term+stop+detach"):
                for who in ("0", "child"):
                    with self.subTest(component=component, words=words, who=who):
                        lines = self.contract("checkpoint", who, component, self.place("s"), words)
                        self.assertEqual(lines[0], "CRS_ERR_USAGE ERROR [] RUNNING", lines)
                        self.assertRegex(lines[1], "^error: .{10}", lines)
                        if who == "child":
                            self.assertEqual(lines[2], "the child runs", lines)
                        self.assertEqual(os.listdir(self.folder), [])

    def test_nobody_waits_for_a_debugger_who_need_not(self):
        for component in COMPONENTS:
            with self.subTest(component=component):
                lines = self.contract("checkpoint", "child", component, self.place(component), "detach")
                self.assertEqual(lines, [f"CRS_SUCCESS CONTINUE [{component}] RUNNING,CHECKPOINT,CONTINUE,RUNNING", "the child runs"])

    def test_an_unrelated_process(self):
        for component in COMPONENTS:
            with self.subTest(component=component):
                if component == "self":
                    popen = self.start("contract", "serve", out="sleep.out")
                else:
                    popen = self.start("/usr/bin/python3", "-c", "import time\nprint('up', flush=True)\ntime.sleep(100)", out="sleep.out")
                self.wait_for_lines("sleep.out", 1)
                before = self.look(popen.pid)
                lines = self.contract("checkpoint", popen.pid, component, self.place(component))
                self.assertEqual(lines, [f"CRS_SUCCESS CONTINUE [{component}] RUNNING,CHECKPOINT,CONTINUE,RUNNING"])
                # Its own thread, which calls the callbacks, allocates memory.
                self.assert_unharmed(popen.pid, before, skip=("maps", "smaps") if component == "self" else ())

    def test_a_dead_process(self):
        popen = self.start("/bin/true", out="true.out")
        popen.wait(20)
        for component in COMPONENTS:
            with self.subTest(component=component):
                self.assert_failed(self.contract("checkpoint", popen.pid, component, self.place("s")), "CRS_ERR_NOT_FOUND")

    def test_a_process_of_somebody_else(self):
        if self.account.is_root or os.geteuid() != 0:
            self.skipTest("needs root, to have a process of somebody else, and asks as an ordinary user")
        with subprocess.Popen(["/bin/sleep", "100"], stdin=subprocess.DEVNULL) as popen:
            self.popens.append(popen)
            for component in COMPONENTS:
                with self.subTest(component=component):
                    self.assert_failed(self.contract("checkpoint", popen.pid, component, self.place("s")), "CRS_ERR_PERMISSION")
            self.assert_unharmed(popen.pid)
            popen.kill()

    # --------------------------------------------------------------------------------- durability

    def test_a_snapshot_is_whole_as_soon_as_success_was_told(self):
        for component in COMPONENTS:
            with self.subTest(component=component):
                self.contract("checkpoint", "0", component, self.place(component), "kill")
                self.assertEqual(self.popens[-1].returncode, -signal.SIGKILL)
                self.assertEqual(self.crs("verify", self.place(component)).status, OK)
                self.assertEqual(sorted(os.listdir(self.folder)), sorted(COMPONENTS[:COMPONENTS.index(component) + 1]))

    # ------------------------------------------------------------------------------------ restart

    def save(self, component, *program):
        if component == "self":  # of a program that has state of its own
            program = ("contract", "serve", *program[3:])
        popen = self.start(*program, out="saved.out")
        self.wait_for_lines("saved.out", 1)
        answer = self.crs("checkpoint", popen.pid, "--component", component, "-o", self.place(component))
        self.assertEqual(answer.status, OK, answer)
        self.kill(popen)
        return self.place(component)

    PROGRAM = ("/usr/bin/python3", "-uc", "import os, sys, time\nprint('runs', *sys.argv[1:])\n"
               "while not os.path.exists('go'): time.sleep(0.02)\nsys.exit(9)")

    def test_a_child_is_told_of_if_and_only_if_there_is_one(self):
        for component in COMPONENTS:
            with self.subTest(component=component):
                snapshot = self.save(component, *self.PROGRAM)
                self.write("go", "")
                self.assertEqual([line for line in self.contract("restart", snapshot) if not line.startswith("runs")],
                                 ["CRS_SUCCESS child", "status 9"])
                with open(os.path.join(snapshot, "state.pb"), "ab") as file:
                    file.write(b"x")
                lines = self.contract("restart", snapshot)
                self.assertEqual(lines[0], "CRS_ERR_BAD_SNAPSHOT untouched", lines)
                os.remove(self.path("go"))
        self.assert_no_processes()

    def test_a_program_that_is_gone_is_no_success(self):
        """What the component finds out in the new process reaches the caller."""
        for component in STATELESS:
            with self.subTest(component=component):
                copy = self.path("copy")
                shutil.copy("/bin/sleep", copy)
                popen = self.start(copy, "100", out="saved.out")
                wait_until(lambda p=popen: os.readlink(f"/proc/{p.pid}/exe") == copy, 20, "the program")
                self.checkpoint(popen.pid, "--component", component, "-o", self.place(component))
                self.kill(popen)
                os.remove(copy)
                lines = self.contract("restart", self.place(component))
                self.assertRegex(lines[0], "^CRS_ERR_[A-Z_]+ untouched$")
                self.assertIn(copy, lines[1])
        self.assert_no_processes()

    def test_words_survive(self):
        words = ["", "a b", "'\"\\", "two\nlines", "$(id)", "x=y", "\u00e4"]
        for component in STATELESS:
            with self.subTest(component=component):
                snapshot = self.save(component, *self.PROGRAM, *words)
                first = self.text("saved.out")
                self.write("go", "")
                again = subprocess.run([self.crs_path, "restart", snapshot], env=self.environment(), cwd=self.work, text=True,
                                       stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
                                       **self.account.popen_arguments())
                self.assertEqual((again.returncode, again.stdout), (9, first))
                os.remove(self.path("go"))

    # ------------------------------------------------------------- switched off, and made to wait

    def test_one_that_is_switched_off_is_an_error(self):
        popen = self.start("contract", "serve", out="sleep.out")
        self.wait_for_lines("sleep.out", 1)
        for component in COMPONENTS:
            with self.subTest(component=component):
                off = {"CRS_SERVICE_COMPONENTS": "^" + component}
                lines = self.contract("checkpoint", popen.pid, component, self.place("s"), **off)
                self.assert_failed(lines, "CRS_ERR_UNSUPPORTED")
                self.assertIn("switched off", lines[1])
                made = self.place("made")
                self.assertEqual(self.crs("checkpoint", popen.pid, "--component", component, "-o", made).status, OK)
                lines = self.contract("restart", made, **off)
                self.assertEqual(lines[0], "CRS_ERR_UNSUPPORTED untouched", lines)
                shutil.rmtree(made)
        answer = self.crs("checkpoint", popen.pid, "-o", self.place("s"), "--param", "service.components=^native,none,self,example")
        self.assertEqual(answer.status, REFUSED, answer)

    def test_a_critical_section_is_waited_for(self):
        for component in COMPONENTS:
            with self.subTest(component=component):
                popen = self.start("long_section", out="section.out")
                self.wait_for_lines("section.out", 1)
                words = ["checkpoint", popen.pid, "--component", component, "-o", self.place("s")]
                answer = self.crs(*words, "--timeout", "400ms")
                self.assertEqual(answer.status, TIMED_OUT, answer)
                self.assert_says(answer, "long one")
                self.assertEqual(os.listdir(self.folder), [])
                # Two at once: the later one is told so, and does not wait until its time is over.
                with subprocess.Popen([self.crs_path, *map(str, words), "--timeout", "50"], cwd=self.work, env=self.environment(),
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                      **self.account.popen_arguments()) as first:
                    self.popens.append(first)
                    self.assertIn("long one", first.stderr.readline())
                    answer = self.crs("checkpoint", popen.pid, "--component", component, "-o", self.place("t"), "--timeout", "50")
                    self.assertEqual(answer.status, BUSY, answer)
                    first.send_signal(signal.SIGTERM)
                    first.wait(60)
                self.assertEqual(os.listdir(self.folder), [])
                self.write("leave", "")
                self.assertEqual(popen.wait(30), OK)
                os.remove(self.path("leave"))


if __name__ == "__main__":
    main()
