# SPDX-License-Identifier: Apache-2.0
"""Starting, watching and ending the processes of a test, as root or as an ordinary user.

Whatever a test starts, and whatever crs makes of it, ends up below the test: it makes itself the reaper of its
descendants (PR_SET_CHILD_SUBREAPER), so that a killed process frees its pid at once and nothing is left behind.
Processes are only ever ended by their pid.
"""
import ctypes
import errno
import os
import pwd
import shutil
import signal
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36
SKIPPED = 77


class Skip(Exception):
    """The machine lacks something; the text says what."""


class Failure(Exception):
    """The test failed; the text says how."""


def become_subreaper():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class Account:
    """Who runs the programs of a test: ourselves, or (when we are root) an ordinary user."""

    def __init__(self, who):
        self.who = who
        self.is_root = who == "root"
        self.entry = None
        if who == "root":
            if os.geteuid() != 0:
                raise Skip("needs root")
        elif os.geteuid() == 0:
            self.entry = ordinary_user()

    def popen_arguments(self):
        if self.entry is None:
            return {}
        return {"user": self.entry.pw_uid, "group": self.entry.pw_gid,
                "extra_groups": os.getgrouplist(self.entry.pw_name, self.entry.pw_gid)}

    def environment(self, **more):
        environment = dict(os.environ)
        for name in list(environment):
            if name.startswith("CRS_") and not name.startswith("CRS_TEST_"):
                del environment[name]
        if self.entry is not None:
            environment.update(HOME=self.entry.pw_dir, USER=self.entry.pw_name, LOGNAME=self.entry.pw_name)
            environment.pop("XDG_STATE_HOME", None)
            environment.pop("XDG_RUNTIME_DIR", None)
        environment.setdefault("PATH", "/usr/bin:/bin")
        environment.update(more)
        return environment

    def own(self, path):
        if self.entry is not None:
            os.chown(path, self.entry.pw_uid, self.entry.pw_gid)

    def can_execute(self, path):
        if self.entry is None:
            return os.access(path, os.X_OK)
        return subprocess.run(["test", "-x", path], check=False, **self.popen_arguments()).returncode == 0


def ordinary_user():
    """The user that tests run as when started by root: $CRS_TEST_USER, made if it is missing."""
    name = os.environ.get("CRS_TEST_USER", "crsuser")
    try:
        return pwd.getpwnam(name)
    except KeyError:
        pass
    if not shutil.which("useradd"):
        raise Skip(f"no user {name} and no useradd to make one")
    made = subprocess.run(["useradd", "-m", name], check=False, capture_output=True, text=True)
    try:  # several tests may try at the same time
        return pwd.getpwnam(name)
    except KeyError:
        raise Skip(f"cannot make user {name}: {made.stderr.strip()}") from None


def exists(pid):
    """Alive or a zombie: the number is taken."""
    return os.path.exists(f"/proc/{pid}")


def state_letter(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def is_alive(pid):
    """Whether some thread of the process lives: its leader may have ended before the others."""
    for _ in range(2):  # twice: a leader may start its last thread and end between the listing and the look at it
        try:
            if any(state_letter(tid) not in (None, "Z", "X") for tid in os.listdir(f"/proc/{pid}/task")):
                return True
        except OSError:
            return False
    return False


def status_field(pid, field):
    """One field of /proc/PID/status; None if the process or thread is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return line.split(":", 1)[1].strip()
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def reap(pid):
    """The wait status if `pid` was our child and has ended, else None."""
    try:
        got, status = os.waitpid(pid, os.WNOHANG)
        return status if got == pid else None
    except ChildProcessError:
        return None


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"{seconds:g} seconds without: {what}")
        time.sleep(0.003)


def kill_and_wait(pid, number=signal.SIGKILL, seconds=10):
    """Ends one process and waits until its pid is free; its wait status if it was our child."""
    found = []
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass

    def gone():
        status = reap(pid)
        if status is not None:
            found.append(status)
        return not exists(pid)
    wait_until(gone, seconds, f"pid {pid} being gone after signal {int(number)}")
    return found[0] if found else None


def child_pids(pid):
    found = []
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/children", encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass
    return found


def end_descendants():
    """Kills and reaps everything below us; tells (pid, command line) of what was still alive."""
    left = []
    for _ in range(200):
        below = child_pids(os.getpid())
        if not below:
            break
        for pid in below:
            if is_alive(pid):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        entry = (pid, file.read().replace(b"\0", b" ").decode(errors="replace").strip())
                    if entry not in left:
                        left.append(entry)
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            reap(pid)
        time.sleep(0.01)
    return left


def reap_zombies():
    for pid in child_pids(os.getpid()):
        if state_letter(pid) == "Z":
            reap(pid)


def errno_name(number):
    return errno.errorcode.get(number, str(number))
