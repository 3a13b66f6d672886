#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Components that are shared objects: the example, built against an installed crs, and files that must not be loaded."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
import case  # noqa: E402  pylint: disable=wrong-import-position
from case import OK, OTHER, REFUSED, TIMED_OUT, USAGE, Case, main, wait_until  # noqa: E402  pylint: disable=wrong-import-position
from processes import state_letter  # noqa: E402  pylint: disable=wrong-import-position

# A component of a few lines, each of which a test can replace.
DEFINITION = {
    "size": "sizeof(crs_component_definition)", "type": '"crs"', "interface_version": '"2.0.0"', "name": '"odd"', "version": '"1"',
    "summary": '"for tests"', "priority": "200", "verbosity": "0", "parameters": "NULL", "parameter_count": "0",
    "parameter_size": "sizeof(crs_component_parameter)", "query": "query", "checkpoint": "checkpoint", "finish": "NULL",
    "restart": "restart", "inspect": "NULL"}
FUNCTIONS = {
    "query": "return CRS_SUCCESS;",
    "checkpoint": "(void)saved; (void)request; return CRS_SUCCESS;",
    "restart": '(void)request; (void)restarted; return host->fail(host, CRS_ERR_REFUSED, 0, "not I", NULL);'}
SOURCE = """#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <crs/component.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
{before}
static int query(const crs_component_host* host, pid_t pid, bool by_name) {{ (void)host; (void)pid; (void)by_name; {query} }}
static int checkpoint(const crs_component_host* host, const crs_component_checkpoint* request, crs_component_saved* saved) {{
  (void)host; {checkpoint} }}
static int restart(const crs_component_host* host, const crs_component_restart* request, crs_component_restarted* restarted) {{
  (void)host; {restart} }}
const crs_component_definition {symbol} = {{ {definition} }};
const void* used[] = {{ (const void*)query, (const void*)checkpoint, (const void*)restart }};
"""


class Installed:
    """An installed crs with the example, made once for all cases."""
    folder = prefix = None

    @classmethod
    def make(cls):
        if cls.prefix:
            return
        cls.folder = tempfile.mkdtemp(prefix="crs-components.", dir=case.OPTIONS.scratch)
        os.chmod(cls.folder, 0o755)
        cls.prefix = os.path.join(cls.folder, "prefix")
        build = os.path.join(cls.folder, "build")
        source = os.path.join(cls.folder, "example")  # outside of our tree
        shutil.copytree(os.path.join(ROOT, "examples", "component"), source)
        for words in (["cmake", "--install", os.path.dirname(os.path.abspath(case.OPTIONS.crs)), "--prefix", cls.prefix],
                      ["cmake", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={cls.prefix}", "-DCMAKE_C_FLAGS=-Werror"],
                      ["cmake", "--build", build], ["cmake", "--install", build, "--prefix", cls.prefix]):
            done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "DESTDIR": ""})
            if done.returncode != 0:
                raise AssertionError(f"{words}\n{done.stdout}\n{done.stderr}")

    @classmethod
    def compile(cls, source, output, *more):
        with open(output + ".c", "w", encoding="utf-8") as file:
            file.write(source)
        subprocess.run(["cc", "-shared", "-fPIC", "-I", os.path.join(cls.prefix, "include"), "-o", output, output + ".c", *more],
                       check=True, capture_output=True)


def source(before="", symbol="crs_component", functions=None, **fields):
    definition = ", ".join(f".{name} = {value}" for name, value in {**DEFINITION, **fields}.items())
    return SOURCE.format(before=before, symbol=symbol, definition=definition, **{**FUNCTIONS, **(functions or {})})


class Components(Case):
    def setUp(self):
        super().setUp()
        Installed.make()
        self.crs_path = os.path.join(Installed.prefix, "bin", "crs")
        self.folder = os.path.join(self.work, "components")
        os.mkdir(self.folder)

    def use(self, folder):
        self.extra_environment["CRS_SERVICE_COMPONENT_PATH"] = folder

    def add(self, text=None, file_name="odd", **fields):
        """A component of a test's own, on the search path."""
        self.use(self.folder)
        path = os.path.join(self.folder, f"crs-component-{file_name}.so")
        Installed.compile(text or source(**fields), path)
        os.remove(path + ".c")
        return path

    def listed(self, *words):
        answer = self.crs("components", "--json", *words)
        self.assertEqual(answer.status, OK, answer)
        return {each["name"]: each for each in json.loads(answer.out)}

    def sleeper(self, *words):
        popen = self.start("/bin/sleep", *(words or ("100",)))
        wait_until(lambda: state_letter(popen.pid) == "S", 10, "the program")
        return popen

    def files(self):
        return sorted(name for name in os.listdir(self.cwd) if not name.startswith("program.out"))

    # ---------------------------------------------------------------------------------- the example

    def test_an_installed_component_is_found_by_itself(self):
        entry = self.listed()["example"]
        self.assertTrue(os.path.samefile(os.path.dirname(entry["path"]), self.component_folder()), entry)
        self.assertEqual((entry["type"], entry["interface"], entry["version"], entry["priority"]), ("crs", "2.0.0", "1.0.0", -10))
        self.assertFalse(entry["can_serve"])
        self.assertIn("asked for by name", entry["verdict"])
        self.assertIn("example", self.crs("components").out)
        self.assertEqual(self.listed("--param", "service.component_path=/nowhere").keys(), {"native", "none", "self"})

    def component_folder(self):
        answer = self.crs("params", "--json", "service.component_path")
        return json.loads(answer.out)[0]["value"]

    def test_what_another_component_restarts_has_nothing_of_it(self):
        popen = self.sleeper()
        before = sorted(os.listdir(f"/proc/{popen.pid}/fd"))
        snapshot = self.checkpoint(popen.pid, "--component", "native")
        self.kill(popen)
        pid = self.restart(snapshot)
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            self.assertNotIn("crs-component", file.read())
        self.assertEqual(sorted(os.listdir(f"/proc/{pid}/fd")), before)

    def test_there_and_back(self):
        program = self.write("program", "import os, sys\nprint(os.getcwd(), sys.argv[1:], os.environ['ODD'], flush=True)\n"
                             "open('started', 'a').write('x')\nimport time\nwhile not os.path.exists('go'): time.sleep(0.02)\nsys.exit(9)\n")
        odd = "two\nlines=x; $(id)"
        popen = self.start("/usr/bin/python3", program, "", "a b", "'\"", "\n", environment={"ODD": odd})
        wait_until(lambda: os.path.exists(self.path("started")), 20, "the program")
        answer = self.crs("checkpoint", popen.pid, "--component", "example", "--job", "odd")
        self.assertEqual(answer.status, OK, answer)
        self.assert_says(answer, "saves no state")
        self.assert_unharmed(popen.pid)
        snapshot = answer.last_line()
        manifest = json.loads(self.crs("inspect", "odd", "--json").out)
        self.assertEqual(manifest["manifest"]["component"], "example")
        names = {each["name"] for each in manifest["manifest"]["files"]}
        self.assertLessEqual({"directory", "executable", "arguments", "environment"}, names)
        self.assertEqual(manifest["sections"]["example"]["directory"], self.cwd)
        self.assertIn(program, self.crs("inspect", "odd").out)
        self.assertEqual(self.crs("verify", "odd").status, OK)
        self.kill(popen)
        first = self.text("program.out")
        self.assertIn(odd, first)
        restarted = self.foreground(snapshot)
        wait_until(lambda: os.path.getsize(self.path("started")) == 2, 20, "the restarted program")
        self.write("go", "")
        self.assertEqual(restarted.wait(20), 9)
        self.assertEqual(self.text("restart.err").replace("\r", "").partition(self.cwd)[1:], first.partition(self.cwd)[1:])
        for more in (["--pid", "same"], ["--stdio", "saved"], ["--fd", "1=x"]):
            self.assertEqual(self.crs("restart", snapshot, *more, "--detach").status, REFUSED)

    def test_term_and_stop(self):
        for option, check in (("--stop", lambda pid: state_letter(pid) == "T"), ("--term", lambda pid: state_letter(pid) == "Z")):
            popen = self.sleeper()
            answer = self.crs("checkpoint", popen.pid, "--component", "example", "-o", self.path("s" + option), option)
            self.assertEqual(answer.status, OK, answer)
            wait_until(lambda c=check, p=popen: c(p.pid), 10, option)
            self.kill(popen)

    def test_it_serves_only_whom_it_was_told_to(self):
        popen = self.sleeper()
        self.extra_environment["CRS_EXAMPLE_PROGRAM"] = "bash"
        answer = self.crs("checkpoint", popen.pid, "--component", "example", "-o", self.path("s"))
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "example.program", "sleep")
        self.assertEqual(self.crs("check", popen.pid, "--component", "example").status, REFUSED)
        self.assertEqual(self.crs("check", popen.pid, "--component", "example", "--param", "example.program=sleep").status, OK)
        self.assertEqual(self.files(), [])

    def test_its_parameters_are_like_all_others(self):
        answer = self.crs("params", "example", "--json")
        self.assertEqual([each["name"] for each in json.loads(answer.out)],
                         ["example.priority", "example.verbose", "example.program", "example.pause"])
        for wrong in ("example.pause=x", "example.pause=70000", "example.paus=1"):
            self.assertEqual(self.crs("components", "--param", wrong).status, USAGE)
        self.assert_says(self.crs("components", "--param", "example.paus=1"), "example.pause")
        popen = self.sleeper()
        told = self.crs("checkpoint", popen.pid, "--component", "example", "--param", "example.verbose=1", "-o", self.path("s"))
        self.assert_says(told, "example: write")

    def test_a_checkpoint_that_is_killed_or_too_slow_leaves_nothing(self):
        popen = self.sleeper()
        before = self.look(popen.pid)
        words = ["checkpoint", str(popen.pid), "--component", "example", "--param", "example.pause=60000", "-o", self.path("s")]
        answer = self.crs(*words, "--timeout", "200ms")
        self.assertEqual(answer.status, TIMED_OUT, answer)
        self.assertEqual(self.files(), [])
        for number in (signal.SIGINT, signal.SIGKILL):
            process = subprocess.Popen([self.crs_path, *words], env=self.environment(), cwd=self.work, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.account.popen_arguments())
            self.popens.append(process)
            wait_until(lambda: any(os.path.exists(self.path(os.path.join(name, "executable"))) for name in os.listdir(self.cwd)), 20,
                       "its first files")
            process.send_signal(number)
            self.assertEqual(process.wait(20), -number)
            self.assertFalse(os.path.exists(self.path("s")))
            if number == signal.SIGINT:
                self.assertEqual(self.files(), [])
        self.assert_unharmed(popen.pid, before)
        self.assertEqual(self.crs("checkpoint", popen.pid, "--component", "example", "-o", self.path("s")).status, OK)
        self.assertEqual(self.files(), ["s"])  # what the killed one left is gone

    def test_damage_is_found(self):
        popen = self.sleeper()
        snapshot = self.checkpoint(popen.pid, "--component", "example")
        with open(os.path.join(snapshot, "arguments"), "r+b") as file:
            file.write(b"x")
        for command in (["restart", snapshot, "--detach"], ["verify", snapshot], ["inspect", snapshot]):
            answer = self.crs(*command)
            self.assertEqual(answer.status, 8, answer)
            self.assert_says(answer, "arguments", "damaged")

    def test_a_snapshot_whose_component_is_gone(self):
        popen = self.sleeper()
        snapshot = self.checkpoint(popen.pid, "--component", "example")
        self.use("/nowhere")
        answer = self.crs("restart", snapshot, "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "'example'", "crs components")

    def test_nothing_is_loaded_from_a_snapshot(self):
        popen = self.sleeper()
        snapshot = self.checkpoint(popen.pid, "--component", "example")
        shutil.copy(os.path.join(self.component_folder(), "crs-component-example.so"), snapshot)
        self.use("/nowhere")
        self.assertEqual(self.crs("restart", snapshot, "--detach", cwd=snapshot).status, REFUSED)
        self.assertNotIn("example", self.listed())

    # ----------------------------------------------------------------- which files are not loaded

    def assert_rejected(self, *words, name="odd"):
        entry = self.listed()[name]
        self.assertFalse(entry["can_serve"])
        for word in ("not loaded", *words):
            self.assertIn(word, entry["verdict"])
        self.assertIn(entry["verdict"], self.crs("components").out)
        popen = self.sleeper()
        answer = self.crs("checkpoint", popen.pid, "--component", name, "-o", self.path("s"))
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "not loaded", *words)
        self.assertEqual(self.crs("checkpoint", popen.pid, "-o", self.path("native")).status, OK)  # by another one
        shutil.rmtree(self.path("native"))
        self.kill(popen)

    def test_wrong_definitions(self):
        for fields, words in (
                ({"type": '"crt"'}, ("type 'crt'",)), ({"type": "NULL"}, ("type is missing",)),
                ({"interface_version": '"3.0.0"'}, ("3.0.0", "2.0.0")), ({"interface_version": '"2.1.0"'}, ("2.1.0",)),
                ({"interface_version": '"2"'}, ("interface",)), ({"interface_version": "NULL"}, ("interface version is missing",)),
                ({"name": '"other"'}, ("'other'",)), ({"version": '""'}, ("version is empty",)), ({"priority": "5000"}, ("5000",)),
                ({"verbosity": "7"}, ("verbosity",)), ({"query": "NULL"}, ("query",)), ({"restart": "NULL"}, ("restart",)),
                ({"size": "8"}, ("cut short",)), ({"size": "100000"}, ("cut short",)), ({"parameter_count": "3"}, ("parameters",)),
                ({"symbol": "crs_componnent"}, ("exports no symbol crs_component",))):
            with self.subTest(fields=fields):
                self.add(**fields)
                self.assert_rejected(*words)

    def test_wrong_parameters(self):
        for parameter, word in (('{"priority", 1, "1", "h", 0, 9}', "priority"), ('{"A", 1, "1", "h", 0, 9}', "'A'"),
                                ('{NULL, 1, "1", "h", 0, 9}', "name is missing"), ('{"a", 9, "1", "h", 0, 9}', "type"),
                                ('{"a", 1, "x", "h", 0, 9}', "default"), ('{"a", 1, "10", "h", 0, 9}', "range"),
                                ('{"a", 0, "maybe", "h", 0, 0}', "yes nor no"), ('{"a", 2, NULL, "h", 0, 0}', "default")):
            with self.subTest(parameter=parameter):
                self.add(before=f"static const crs_component_parameter list[] = {{{parameter}}};", parameters="list", parameter_count="1")
                self.assertIn(word, self.listed()["odd"]["verdict"])

    def test_what_is_no_component_at_all(self):
        for text, word in ((b"", "no shared object"), (b"\x7fELF" + b"\0" * 100, "no shared object")):
            self.use(self.folder)
            with open(os.path.join(self.folder, "crs-component-odd.so"), "wb") as file:
                file.write(text)
            self.assert_rejected(word)
        self.add("int crs_component(void) { return 0; }\n")
        self.assert_rejected("no constant")
        self.add("const char crs_component[4] = {1};\n")
        self.assert_rejected("cut short")
        self.add("extern int nobody_has_this(void);\nint (*const crs_component)(void) = nobody_has_this;\n")
        self.assert_rejected("nobody_has_this")
        path = self.add()
        for length in (64, 700, os.path.getsize(path) // 2):
            os.truncate(self.add(), length)
            self.assert_rejected("odd.so")
        os.remove(path)
        os.mkdir(path)
        self.assert_rejected("no regular file")

    def test_names_that_are_taken(self):
        self.add(file_name="native")
        answer = self.crs("components")
        self.assert_says(answer, "crs has a native of its own")
        for name in ("service", "Odd", "1st", "o_d"):
            self.add(file_name=name)
            self.assertIn("not loaded", self.listed()[name]["verdict"])
        second = os.path.join(self.work, "second")
        shutil.copytree(self.folder, second)
        for folder in (self.folder, second):
            Installed.compile(source(), os.path.join(folder, "crs-component-odd.so"))
        self.use(f"{second}:/nowhere:{self.folder}")
        entries = [each for each in json.loads(self.crs("components", "--json").out) if each["name"] == "odd"]
        self.assertEqual([each["path"].startswith(second) for each in entries], [True, False])
        self.assertIn("one of that name was loaded from", entries[1]["verdict"])

    def test_what_others_may_write_to_is_not_loaded(self):
        path = self.add()
        self.assertTrue(self.listed()["odd"]["can_serve"])
        for changed, mode in ((path, 0o775), (path, 0o757)):
            os.chmod(changed, mode)
            self.assert_rejected("written to by others", path)
            os.chmod(changed, 0o755)
        for folder in (self.folder, self.work):
            os.chmod(folder, 0o777)
            answer = self.crs("components")
            self.assert_says(answer, "not loaded", "written to by others", folder)
            self.assertNotIn("odd 1", answer.out)
            os.chmod(folder, 0o755)
        self.assertTrue(self.listed()["odd"]["can_serve"])
        self.use("components")
        answer = self.crs("components", cwd=self.work)
        self.assert_says(answer, "absolute")

    def test_what_belongs_to_others_is_not_loaded(self):
        if os.geteuid() != 0:
            self.skipTest("only root can give files away")
        path = self.add()
        stranger = 65534
        os.chown(path, stranger, -1)
        self.assert_rejected("belongs to user 65534")
        os.chown(path, 0, -1)
        if not self.account.is_root:
            os.chown(path, self.account.entry.pw_uid, -1)  # one's own is well
            self.assertTrue(self.listed()["odd"]["can_serve"])
            os.chown(path, 0, -1)
        linked = os.path.join(self.work, "linked")
        os.mkdir(linked)
        os.chown(linked, stranger, -1)
        shutil.move(path, linked)
        os.symlink(os.path.join(linked, os.path.basename(path)), path)
        self.assert_rejected("belongs to user 65534", linked)

    # ------------------------------------------------------- what a component may do, and may not

    def test_the_highest_priority_wins(self):
        self.add(functions={"checkpoint": 'close(openat(request->directory, "mine", O_CREAT | O_WRONLY, 0666)); saved->restorable = true; return 0;'})
        popen = self.sleeper()
        chosen = [each["name"] for each in self.listed(str(popen.pid)).values() if each["chosen"]]
        self.assertEqual(chosen, ["odd"])
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("s"), "--json")
        self.assertEqual(answer.status, OK, answer)
        self.assertTrue(json.loads(answer.out)["restorable"])
        self.assertEqual(os.stat(self.path("s/mine")).st_mode & 0o777, 0o600)
        answer = self.crs("restart", self.path("s"), "--detach")
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "component odd", "not I")
        self.assertEqual([each["name"] for each in self.listed("--param", "odd.priority=50").values() if each["chosen"]], ["native"])
        self.assertEqual([each["name"] for each in self.listed("--param", "service.components=^odd").values() if each["chosen"]],
                         ["native"])

    def test_failures_leave_nothing(self):
        popen = self.sleeper()
        before = self.look(popen.pid)
        for code, status, word in (
                ('return host->fail(host, CRS_ERR_BUSY, 16, "somebody is at it", "come back");', 6, "come back"),
                ("return CRS_ERR_OTHER;", OTHER, "told no reason"), ("return 7;", OTHER, "told no reason"),
                ('mkdirat(request->directory, "sub", 0700); return 0;', REFUSED, "'sub'"),
                ('mkdirat(request->directory, "sub", 0700); return CRS_ERR_BUSY;', 6, "no reason"),
                ('symlinkat("/etc/passwd", request->directory, "link"); return 0;', REFUSED, "'link'"),
                ('mkfifoat(request->directory, "pipe", 0600); return 0;', REFUSED, "'pipe'"),
                ('close(openat(request->directory, "pages-1.bin", O_CREAT | O_WRONLY, 0600)); return 0;', REFUSED, "pages-1.bin"),
                ('close(openat(request->directory, ".hidden", O_CREAT | O_WRONLY, 0600)); return 0;', REFUSED, ".hidden")):
            with self.subTest(code=code):
                self.add(functions={"checkpoint": "(void)saved; (void)request; " + code})
                answer = self.crs("checkpoint", popen.pid, "-o", self.path("s"))
                self.assertEqual(answer.status, status, answer)
                self.assert_says(answer, "component odd", word)
                self.assertEqual(self.files(), [])
        self.assert_unharmed(popen.pid, before)

    def test_finish_is_called_in_any_case(self):
        finish = ("static int finish(const crs_component_host* host, const crs_component_checkpoint* request, bool committed) {\n"
                  "  host->note(host, committed ? \"finished well\" : \"finished ill\");\n"
                  "  return kill(request->pid, committed && request->after == CRS_COMPONENT_TERM ? SIGKILL : SIGCONT); }")
        stop = "kill(request->pid, SIGSTOP); (void)saved; "
        popen = self.sleeper()
        self.add(before=finish, finish="finish", functions={"checkpoint": stop + 'mkdirat(request->directory, "sub", 0700); return 0;'})
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("s"))
        self.assertEqual(answer.status, REFUSED, answer)
        self.assert_says(answer, "finished ill")
        self.assert_unharmed(popen.pid)
        self.add(before=finish, finish="finish", functions={"checkpoint": stop + "return 0;"})
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("s"))
        self.assertEqual(answer.status, OK, answer)
        self.assert_says(answer, "finished well")
        self.assert_unharmed(popen.pid)
        self.assertEqual(self.crs("checkpoint", popen.pid, "-o", self.path("t"), "--term").status, OK)
        self.assertEqual(popen.wait(10), -signal.SIGKILL)

    def test_a_restart_that_tells_of_no_child(self):
        popen = self.sleeper()
        for code in ("restarted->pid = 1;", "restarted->pid = 0;", "restarted->pid = -1;"):
            self.add(functions={"restart": f"(void)request; {code} return 0;"})
            shutil.rmtree(self.path("s"), ignore_errors=True)
            self.assertEqual(self.crs("checkpoint", popen.pid, "-o", self.path("s")).status, OK)
            answer = self.crs("restart", self.path("s"), "--detach")
            self.assertEqual(answer.status, OTHER, answer)
            self.assert_says(answer, "no child")

    def test_in_cpp_an_exception_is_an_error(self):
        if not shutil.which("c++"):
            self.skipTest("no C++ compiler")
        self.use(self.folder)
        text = source(functions={"checkpoint": '(void)saved; (void)request; throw "x";'}).replace(
            "const void* used[] = { (const void*)query, (const void*)checkpoint, (const void*)restart };", "")
        subprocess.run(["c++", "-std=c++20", "-shared", "-fPIC", "-I", os.path.join(Installed.prefix, "include"), "-x", "c++", "-",
                        "-o", os.path.join(self.folder, "crs-component-odd.so")], input=text, text=True, check=True)
        popen = self.sleeper()
        answer = self.crs("checkpoint", popen.pid, "-o", self.path("s"))
        self.assertEqual(answer.status, OTHER, answer)
        self.assert_says(answer, "component odd", "exception")
        self.assertEqual(self.files(), [])

    def test_libcrs_knows_of_it(self):
        """Through the C interface, in a process of another program: it has crs do it."""
        if case.OPTIONS.sanitized:
            self.skipTest("a sanitized libcrs needs a sanitized program")
        taker = os.path.join(self.work, "taker")
        with open(taker + ".c", "w", encoding="utf-8") as file:
            file.write("#include <crs/crs.h>\n#include <stdio.h>\n"
                       "static void show(const crs_component_info* c, void* unused) { (void)unused; printf(\"%s %d\\n\", c->name, c->priority); }\n"
                       "int main(void) { crs_init(); return crs_service_list_components(NULL, 0, show, NULL); }\n")
        library = next(os.path.join(folder, name) for folder, _, names in os.walk(Installed.prefix) for name in names
                       if name == "libcrs.so.0")
        subprocess.run(["cc", taker + ".c", "-I", os.path.join(Installed.prefix, "include"), "-o", taker, library], check=True)
        done = subprocess.run([taker], env={**self.environment(), "LD_LIBRARY_PATH": os.path.dirname(library)}, capture_output=True,
                              text=True, check=True, **self.account.popen_arguments())
        self.assertIn("example -10\n", done.stdout)


def tearDownModule():  # pylint: disable=invalid-name
    if Installed.folder:
        shutil.rmtree(Installed.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
