#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures checkpoints and restarts, and prints a table (Markdown) and a JSON file.

    ./dev bench                         what matters, a few minutes
    ./dev bench compare                 also CRIU and DMTCP: CRS_BENCH_CRIU=/path/to/criu CRS_BENCH_DMTCP=/path/to/bin
    ./dev bench --full                  every size, pattern and number of threads
    ./dev bench --sizes 64 --patterns text --threads 1 --runs 3

What this file knows
  One target (target.cc) per case and tool: it is checkpointed, killed, and restarted, again and again. Its main thread
  reads the clock in a loop and writes the longest time it stood still, and when that ended, into a page that it shares
  with us; so a restart is over when the program's own first tick is seen. At the end it checks its memory.
  All tools of a case run within the same minute, with the floor (floor.cc): what write(2) + fsync(2), and for restarts
  read(2), need for the same bytes at the same place. Ratios count: seconds are this machine's.
  crs also rolls the running target back to the same snapshot; that is over with the program's next tick as well.
  Save points are measured by a program of their own (savepoint.cc), which goes back to one and dirties 1 % each time.
  What libcrs costs the program that it is in is measured by agent.cc.
  Files are read back from the page cache by every tool and by the floor. Times are CLOCK_REALTIME everywhere: a tool
  may restore into a time namespace, where the monotonic clock is another one (CRIU does).
"""
import argparse
import ctypes
import datetime
import json
import mmap
import os
import pathlib
import shlex
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

REPORT = struct.Struct("<QQQQQ")  # target.cc: ready, largest_gap, gap_end, ticks, verify
READY, LARGEST_GAP, GAP_END, TICKS, VERIFY = range(0, 40, 8)
TOO_LONG = 300  # seconds, for anything
PR_SET_CHILD_SUBREAPER = 36


class Failed(Exception):
    """A tool did not do what was asked; the message goes into the table."""


# --- The program that is saved ---------------------------------------------------------------------------------


class Target:
    """A running target and its report; the process may be a restored one."""

    def __init__(self, bench, work, case, prefix=()):
        self.report_path = work / "report"
        self.report_path.write_bytes(bytes(4096))
        with open(self.report_path, "r+b") as file:
            self.report = mmap.mmap(file.fileno(), 4096)
        command = [*prefix, str(bench / "target"), str(case.mib), case.pattern, str(case.threads), str(self.report_path)]
        # A session and files of its own: a terminal is not what is measured.
        self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, start_new_session=True, close_fds=True, cwd="/")
        self.pid = self.popen.pid
        self.wait(lambda: self.get(READY) == 1, "the target did not start")

    def get(self, field):
        return struct.unpack_from("<Q", self.report, field)[0]

    def set(self, field, value):
        struct.pack_into("<Q", self.report, field, value)

    def first_tick_after(self, start_ns):
        self.wait(lambda: self.get(GAP_END) > start_ns, "the restored program does not run")
        return self.get(GAP_END)

    def wait(self, condition, otherwise):
        end = time.monotonic() + TOO_LONG
        while not condition():
            if time.monotonic() > end or not self.alive():
                raise Failed(otherwise)
            time.sleep(0.002)

    def alive(self):
        try:
            text = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return False
        return text[text.rindex(")") + 2] not in "ZX"

    def kill(self):
        """Gone, its number free again: a restored one is our child as well, for we are its subreaper."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        end = time.monotonic() + TOO_LONG
        while os.path.exists(f"/proc/{self.pid}") and time.monotonic() < end:
            if self.popen.pid == self.pid:
                self.popen.poll()
            reap_orphans(self.popen)
            time.sleep(0.001)

    def memory_is_right(self):
        self.set(VERIFY, 1)
        self.wait(lambda: self.get(VERIFY) != 1, "the target died when it looked at its memory")
        return self.get(VERIFY) == 2


def reap_orphans(popen):
    """Collects dead children that are not `popen`'s (those are its own business)."""
    try:
        while (info := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if info.si_pid == popen.pid and popen.returncode is None:
                popen.wait()
            else:
                os.waitpid(info.si_pid, 0)
    except ChildProcessError:
        pass


# --- The tools -------------------------------------------------------------------------------------------------


class Tool:
    """checkpoint() and restart() give what `measure` told (start_ns, end_ns, peak_bytes) and what they know besides."""

    name = ""
    prefix = ()

    def __init__(self, bench, work):
        self.bench, self.work = bench, work

    def measured(self, *command):
        result = self.work / "measured.json"
        result.unlink(missing_ok=True)
        done = subprocess.run([str(self.bench / "measure"), str(result), *map(str, command)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TOO_LONG, check=False)
        if done.returncode != 0:
            lines = ((done.stderr or done.stdout).decode(errors="replace").strip() or "no message").splitlines()
            raise Failed(f"{shlex.join(map(str, command[:2]))}: exit status {done.returncode}: {lines[0][:160]}")
        figures = json.loads(result.read_text())
        figures["out"] = done.stdout.decode(errors="replace")
        return figures

    def rollback(self, target, place):
        """The running target goes back to it; None where the tool cannot."""

    def start(self):
        """Whatever must run beside the target."""

    def end(self):
        """Ends that again."""


class Crs(Tool):
    def __init__(self, bench, work, crs, options=()):
        super().__init__(bench, work)
        self.crs, self.options = crs, options
        self.name = " ".join(("crs", *options))

    def checkpoint(self, target, place):
        figures = self.measured(self.crs, "checkpoint", target.pid, "-o", place, "--json", *self.options)
        answer = json.loads(figures["out"])
        figures["stop_ns"] = answer["stop_ns"]
        return figures

    def rollback(self, target, place):
        figures = self.measured(self.crs, "rollback", target.pid, place, "--json")
        figures["stop_ns"] = json.loads(figures["out"])["stop_ns"]
        return figures

    def restart(self, target, place):
        figures = self.measured(self.crs, "restart", place, "--detach", "--json")
        target.pid = json.loads(figures["out"])["pid"]
        return figures


class Criu(Tool):
    """Its files are synced after it, since it does not do so itself and ours are durable when crs returns."""

    name = "criu"

    def __init__(self, bench, work, criu):
        super().__init__(bench, work)
        self.criu = criu

    def checkpoint(self, target, place):
        place.mkdir()
        figures = self.measured(self.criu, "dump", "-t", target.pid, "-D", place, "--leave-running", "-v0", "-o", "log")
        for file in place.iterdir():
            fd = os.open(file, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        figures["end_ns"] = time.time_ns()
        return figures

    def restart(self, target, place):
        pid_file = self.work / "criu.pid"
        pid_file.unlink(missing_ok=True)
        figures = self.measured(self.criu, "restore", "-D", place, "--restore-detached", "-v0", "-o", "log",
                                "--pidfile", pid_file)
        target.pid = int(pid_file.read_text())
        return figures


class Dmtcp(Tool):
    """The program must be started under it. Its checkpoints are gzip-compressed unless told otherwise; they are not here."""

    name = "dmtcp (no gzip)"

    def __init__(self, bench, work, folder):
        super().__init__(bench, work)
        self.folder = pathlib.Path(folder)
        self.images = work / "dmtcp"
        self.coordinator = None

    def start(self):
        self.images.mkdir()
        port_file = self.work / "dmtcp.port"
        self.coordinator = subprocess.Popen(
            [self.folder / "dmtcp_coordinator", "-q", "--coord-port", "0", "--port-file", port_file, "--ckptdir", self.images],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.images)
        end = time.monotonic() + 10
        while not port_file.exists() or not port_file.read_text().strip():
            if time.monotonic() > end:
                raise Failed("dmtcp_coordinator did not start")
            time.sleep(0.01)
        self.port = port_file.read_text().strip()
        self.prefix = (str(self.folder / "dmtcp_launch"), "-q", "-q", "--coord-port", self.port, "--no-gzip",
                       "--ckptdir", str(self.images))

    def checkpoint(self, target, place):
        place.mkdir()
        figures = self.measured(self.folder / "dmtcp_command", "-q", "--coord-port", self.port, "--bcheckpoint")
        for image in self.images.glob("ckpt_*.dmtcp"):
            image.rename(place / image.name)
            fd = os.open(place / image.name, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        figures["end_ns"] = time.time_ns()
        return figures

    def restart(self, target, place):
        images = list(place.glob("ckpt_*.dmtcp"))
        start = time.time_ns()
        # It stays in the foreground: it becomes the program.
        target.popen = subprocess.Popen(
            [self.folder / "dmtcp_restart", "-q", "-q", "--coord-port", self.port, "--ckptdir", self.images, *images],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        target.pid = target.popen.pid
        return {"start_ns": start, "end_ns": start, "peak_bytes": 0, "out": ""}

    def end(self):
        if self.coordinator is not None:
            self.coordinator.kill()
            self.coordinator.wait()


# --- One case --------------------------------------------------------------------------------------------------


class Case:
    def __init__(self, mib, pattern, threads):
        self.mib, self.pattern, self.threads = mib, pattern, threads

    def __str__(self):
        size = f"{self.mib // 1024} GiB" if self.mib >= 1024 else f"{self.mib} MiB"
        return f"{size} {self.pattern}, {self.threads} thread{'s' if self.threads > 1 else ''}"


def folder_bytes(folder):
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def one_round(tool, target, place):
    """Checkpoint, kill, restart; the figures of both."""
    target.set(LARGEST_GAP, 0)
    time.sleep(0.05)
    target.set(LARGEST_GAP, 0)
    saved = tool.checkpoint(target, place)
    time.sleep(0.02)
    gap = target.get(LARGEST_GAP)
    size = folder_bytes(place)

    target.set(LARGEST_GAP, 0)
    back = tool.rollback(target, place)
    if back:
        first_tick_back = target.first_tick_after(back["start_ns"])

    target.kill()
    target.set(LARGEST_GAP, 0)
    restored = tool.restart(target, place)
    # The first whole step that the restored program sees is by far its longest: from before the checkpoint until now.
    # Before it there may be half a step, whose end it had read from the clock when it was saved.
    first_tick = target.first_tick_after(restored["start_ns"])
    return {
        "checkpoint_ns": saved["end_ns"] - saved["start_ns"],
        "gap_ns": gap,
        "stop_ns": saved.get("stop_ns"),
        "bytes": size,
        "restore_ns": first_tick - restored["start_ns"],
        "rollback_ns": first_tick_back - back["start_ns"] if back else None,
        "rollback_stop_ns": back["stop_ns"] if back else None,
        "checkpoint_peak_bytes": saved["peak_bytes"],
        "restore_peak_bytes": restored["peak_bytes"],
    }


def measure_tool(tool, case, runs):
    """Medians over the runs, or {"failed": why}."""
    rounds, target = [], None
    try:
        tool.start()
        target = Target(tool.bench, tool.work, case, tool.prefix)
        for number in range(runs):
            place = tool.work / f"snapshot-{number}"
            rounds.append(one_round(tool, target, place))
            shutil.rmtree(place)
        if not target.memory_is_right():
            return {"failed": "the memory of the restored program is WRONG"}
    except Failed as why:
        return {"failed": str(why)}
    except subprocess.TimeoutExpired as why:
        return {"failed": f"no answer within {why.timeout} s"}
    finally:
        if target is not None:
            target.kill()
        tool.end()
    figures = {key: None if rounds[0][key] is None else statistics.median(each[key] for each in rounds) for key in rounds[0]}
    figures["runs"] = rounds
    return figures


def measure_floor(bench, place, case, runs):
    answers = []
    for _ in range(runs):
        done = subprocess.run([bench / "floor", str(case.mib), case.pattern, place / "floor.bin"], stdout=subprocess.PIPE,
                              timeout=TOO_LONG, check=True)
        answers.append(json.loads(done.stdout))
    return {key: statistics.median(each[key] for each in answers) for key in answers[0]}


def measure_save_points(bench, build, place, mib):
    done = subprocess.run([bench / "savepoint", str(mib), "1", "7", place / "savepoint.report"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=TOO_LONG, check=False, env={**os.environ, "CRS_PROGRAM": str(build / "crs")})
    (place / "savepoint.report").unlink(missing_ok=True)
    if done.returncode != 0:
        return {"failed": done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"}
    return json.loads(done.stdout)


def measure_agent(bench, build, place):
    work = tempfile.mkdtemp(prefix="agent.", dir=place)
    try:
        done = subprocess.run([bench / "agent", work], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TOO_LONG, check=False,
                              env={**os.environ, "CRS_PROGRAM": str(build / "crs")})
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if done.returncode != 0:
        return {"failed": done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"}
    return json.loads(done.stdout)


def agent_rows(figures):
    if "failed" in figures:
        yield f"libcrs | {figures['failed'].replace('|', '/')}"
        return
    yield f"disable and enable checkpoints, a pair | {figures['pair_ns']:.1f} ns"
    yield f"the same inside of a section | {figures['nested_ns']:.1f} ns"
    yield f"the same while a second thread does it | {figures['two_threads_ns']:.1f} ns"
    yield f"a round of arithmetic, before joining and after | {figures['loop_alone_ns']:.2f} / {figures['loop_joined_ns']:.2f} ns"
    yield f"a system call, before joining and after | {figures['call_alone_ns']:.0f} / {figures['call_joined_ns']:.0f} ns"
    for name in ("native", "self"):
        yield (f"a program of 64 MiB saves itself by {name}: durable, longest gap of another thread | "
               f"{span(figures[name + '_total_ns'])}, {span(figures[name + '_gap_ns'])}")


# --- What is shown ---------------------------------------------------------------------------------------------


def span(ns):
    if ns is None:
        return "-"
    if ns < 1e6:
        return f"{ns / 1e3:.0f} us"
    return f"{ns / 1e6:.1f} ms" if ns < 1e9 else f"{ns / 1e9:.2f} s"


def size(count):
    return f"{count / 2**20:.1f} MiB" if count < 2**30 else f"{count / 2**30:.2f} GiB"


def rows_of(case, floor, results):
    yield (f"**{case}** | floor: write + fsync | {span(floor['write_fsync_ns'])} | - | - | {size(floor['bytes'])} | "
           f"{span(floor['read_ns'])} (read) | - | -")
    yield f" | floor: memcpy | {span(floor['memcpy_ns'])} | - | - | - | - | - | -"
    for name, figures in results.items():
        if "failed" in figures:
            yield f" | {name} | {figures['failed'].replace('|', '/')} | | | | | |"
            continue
        ratio = figures["checkpoint_ns"] / floor["write_fsync_ns"]
        restore_ratio = figures["restore_ns"] / floor["read_ns"]
        peak = max(figures["checkpoint_peak_bytes"], figures["restore_peak_bytes"])
        yield (f" | {name} | {span(figures['checkpoint_ns'])} ({ratio:.2f}x) | {span(figures['gap_ns'])} | "
               f"{span(figures['stop_ns'])} | {size(figures['bytes'])} | {span(figures['restore_ns'])} ({restore_ratio:.2f}x) | "
               f"{span(figures['rollback_ns'])} ({span(figures['rollback_stop_ns'])}) | "
               f"{size(peak) if peak else 'not known'}")


HEADER = ("case | tool | checkpoint, durable (x floor) | longest gap | tool's own stop | size on disk | "
          "restore to first tick (x floor) | rollback to first tick (stood still) | peak memory of the tool")


def cases_of(options):
    if options.sizes or options.patterns or options.threads or options.full:
        sizes = options.sizes or ([4, 64, 1024, 4096] if options.full else [64])
        patterns = options.patterns or (["random", "text", "sparse"] if options.full else ["random"])
        threads = options.threads or ([1, 16] if options.full else [1])
        return [Case(s, p, t) for s in sizes for p in patterns for t in threads]
    return [Case(4, "random", 1), Case(4, "random", 16), Case(64, "random", 1), Case(64, "text", 1),
            Case(1024, "random", 1), Case(1024, "random", 16), Case(1024, "text", 1), Case(1024, "sparse", 1),
            Case(4096, "random", 1)]


def peer(variable, wanted):
    """The path that the variable names, or None; says which on standard error."""
    path = os.environ.get(variable)
    if not path:
        print(f"bench: {variable} is not set: {wanted} is left out", file=sys.stderr)
    elif not os.path.exists(path):
        print(f"bench: {variable}={path} does not exist: {wanted} is left out", file=sys.stderr)
        path = None
    return path


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="ascii") if "model name" in line), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory, 1), "kernel": os.uname().release,
            "user": "root" if os.geteuid() == 0 else "ordinary user"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["compare"], help="also the peers named by CRS_BENCH_CRIU, CRS_BENCH_DMTCP")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--dir", type=pathlib.Path, help="where snapshots are written (build/bench-work)")
    parser.add_argument("--json", type=pathlib.Path, help="where the figures go (build/bench/results.json)")
    parser.add_argument("--full", action="store_true", help="every case")
    parser.add_argument("--sizes", type=int, nargs="+", help="MiB")
    parser.add_argument("--patterns", nargs="+", choices=["random", "text", "sparse"])
    parser.add_argument("--threads", type=int, nargs="+")
    parser.add_argument("--runs", type=int, help="how often (7 up to 64 MiB, 3 above); medians are shown")
    options = parser.parse_args()

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit("bench: prctl(PR_SET_CHILD_SUBREAPER) failed")
    build = options.build.resolve()
    bench = build / "bench"
    base = (options.dir or build / "bench-work").resolve()
    base.mkdir(parents=True, exist_ok=True)

    def tools(work):
        yield Crs(bench, work, build / "crs")
        yield Crs(bench, work, build / "crs", ("--compress", "none"))
        if criu:
            yield Criu(bench, work, criu)
        if dmtcp:
            yield Dmtcp(bench, work, dmtcp)

    criu = dmtcp = None
    if options.what == "compare":
        criu, dmtcp = peer("CRS_BENCH_CRIU", "CRIU"), peer("CRS_BENCH_DMTCP", "DMTCP")

    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB, Linux {here['kernel']}, {here['user']}; "
          f"{datetime.date.today()}; peers: {'CRIU' if criu else 'no CRIU'}, {'DMTCP' if dmtcp else 'no DMTCP'}\n")
    print(f"| {HEADER} |\n|{'---|' * 9}", flush=True)
    everything, wrong = {"machine": here, "cases": []}, 0
    for case in cases_of(options):
        runs = options.runs or (7 if case.mib <= 64 else 3)
        results = {}
        floor = None
        for index in range(2 + bool(criu) + bool(dmtcp)):
            work = pathlib.Path(tempfile.mkdtemp(prefix="work.", dir=base))
            try:
                floor = floor or measure_floor(bench, work, case, runs)
                tool = list(tools(work))[index]
                results[tool.name] = measure_tool(tool, case, runs)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        for row in rows_of(case, floor, results):
            print(f"| {row} |", flush=True)
        everything["cases"].append({"mib": case.mib, "pattern": case.pattern, "threads": case.threads, "floor": floor,
                                    "tools": results})
        wrong += sum("failed" in figures for name, figures in results.items() if name.startswith("crs"))

    print("\n| save point of | create | go back, 1 % dirty |\n|---|---|---|", flush=True)
    everything["save_points"] = []
    for mib in sorted({case.mib for case in cases_of(options)}):
        figures = measure_save_points(bench, build, base, mib)
        told = figures.get("failed") or f"{span(figures['create_ns'])} | {span(figures['rollback_ns'])}"
        print(f"| {mib} MiB | {told} |", flush=True)
        everything["save_points"].append({"mib": mib, **figures})
        wrong += "failed" in figures

    print("\n| libcrs in a program | |\n|---|---|", flush=True)
    everything["agent"] = measure_agent(bench, build, base)
    for row in agent_rows(everything["agent"]):
        print(f"| {row} |", flush=True)
    wrong += "failed" in everything["agent"]

    path = options.json or bench / "results.json"
    path.write_text(json.dumps(everything, indent=1) + "\n")
    print(f"bench: figures are in {path}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
