# SPDX-License-Identifier: Apache-2.0
"""What a process looks like from outside: the parts of /proc/PID that a restored process must show unchanged.

view(pid) reads them, differences(before, after, skip) compares them. What the kernel numbers afresh (inode of a
pipe, mount id) is taken out; neighbouring mappings that differ in nothing are counted as one, because whether
the kernel merged them depends on history that nobody can see otherwise.
"""
import os
import re
import time

STATUS_FIELDS = ("Name", "Umask", "Uid", "Gid", "Groups", "Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt",
                 "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters",
                 "Speculation_Store_Bypass", "Cpus_allowed")
THREAD_FIELDS = ("Name", "SigPnd", "SigBlk", "CapEff", "CapPrm", "NoNewPrivs", "Seccomp", "Cpus_allowed")
# Fields of /proc/PID/stat, counted from 1 as proc(5) does.
STAT_FIELDS = {18: "priority", 19: "nice", 26: "startcode", 27: "endcode", 28: "startstack", 40: "rt_priority", 41: "policy",
               45: "start_data", 46: "end_data", 47: "start_brk", 48: "arg_start", 49: "arg_end", 50: "env_start",
               51: "env_end"}
# sd: soft-dirty, "written lately"; ac: counted against the commit limit, which depends on having been writable once;
# u?: watched by a userfaultfd. None of them is the program's.
VOLATILE_VM_FLAGS = {"sd", "ac", "??", "um", "uw", "ui"}


def read(path):
    with open(path, "rb") as file:
        return file.read()


def attempt(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        return f"<{error.strerror}>"


def status(path, fields):
    found = {}
    for line in read(path).decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name in fields:
            found[name] = value.strip()
    return found


def stat_numbers(path):
    words = read(path).decode(errors="replace").rpartition(")")[2].split()
    return {name: words[number - 3] for number, name in STAT_FIELDS.items()}


def directory(pid):
    """/proc/PID, or a living thread's directory where the leader has ended: its own shows nothing any more."""
    for tid in sorted(os.listdir(f"/proc/{pid}/task"), key=lambda tid: tid != str(pid)):
        if b"State:\tZ" not in read(f"/proc/{pid}/task/{tid}/status"):
            return f"/proc/{pid}" if tid == str(pid) else f"/proc/{pid}/task/{tid}"
    raise ProcessLookupError(pid)


def smaps(proc):
    """[(start, end, perms, offset, path, flags)], neighbours merged."""
    lines = []
    head = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) (\S+) (\d+)\s*(.*)$")
    for line in read(f"{proc}/smaps").decode(errors="surrogateescape").splitlines():
        match = head.match(line)
        if match:
            start, end, offset = (int(match[i], 16) for i in (1, 2, 4))
            lines.append([start, end, match[3], offset, match[7], ""])
        elif line.startswith("VmFlags:"):
            lines[-1][5] = " ".join(f for f in line.split()[1:] if f not in VOLATILE_VM_FLAGS)
    merged = []
    for entry in lines:
        last = merged[-1] if merged else None
        is_file = entry[4].startswith("/")
        if (last and last[1] == entry[0] and last[2] == entry[2] and last[4:] == entry[4:]
                and not entry[4].startswith("[v")
                and (not is_file or last[3] + (last[1] - last[0]) == entry[3])):
            last[1] = entry[1]
        else:
            merged.append(entry)
    return merged


def descriptors(proc):
    found = {}
    seen = {}
    for name in sorted(os.listdir(f"{proc}/fd"), key=int):
        link = attempt(os.readlink, f"{proc}/fd/{name}")
        match = re.match(r"^(pipe|socket):\[(\d+)\]$", link)
        if match:
            link = f"{match[1]} number {seen.setdefault(link, len(seen))}"
        info = {}
        for line in attempt(lambda n=name: read(f"{proc}/fdinfo/{n}").decode(errors="replace")).splitlines():
            key, _, value = line.partition(":")
            if key in ("pos", "flags", "eventfd-count", "eventfd-semaphore", "sigmask"):
                info[key] = value.strip()
        found[name] = (link, tuple(sorted(info.items())))
    return found


def thread(base):
    numbers = stat_numbers(f"{base}/stat")
    return {**status(f"{base}/status", THREAD_FIELDS), **{name: numbers[name] for name in ("nice", "rt_priority", "policy")},
            "timerslack": attempt(read, f"{base}/timerslack_ns")}


def threads(pid):
    """Without their ids, which differ from namespace to namespace."""
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            found.append(sorted(thread(f"/proc/{pid}/task/{tid}").items()))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended meanwhile
    return sorted(found, key=repr)


def timers(pid):
    text = attempt(lambda: read(f"/proc/{pid}/timers").decode())
    text = re.sub(r"(notify: \S+?)/(pid|tid)\.\d+", r"\1/\2", text)
    return text


def children(pid):
    found = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            found += len(read(f"/proc/{pid}/task/{tid}/children").split())
        except OSError:
            pass  # it ended meanwhile
    return found


def view(pid):
    """Each part under its name; OSError if the process is gone."""
    proc = directory(pid)
    mappings = smaps(proc)
    return {
        "maps": [f"{m[0]:x}-{m[1]:x} {m[2]} {m[3] if m[4].startswith('/') else 0:x} {m[4]}" for m in mappings],
        "smaps": [f"{m[0]:x}-{m[1]:x} {m[4]}: {m[5]}" for m in mappings],
        "cmdline": read(f"{proc}/cmdline"),
        "environ": attempt(read, f"{proc}/environ"),
        "auxv": attempt(read, f"{proc}/auxv"),
        "exe": attempt(os.readlink, f"{proc}/exe"),
        "cwd": attempt(os.readlink, f"{proc}/cwd"),
        "root": attempt(os.readlink, f"{proc}/root"),
        "status": status(f"{proc}/status", STATUS_FIELDS),
        "stat": stat_numbers(f"{proc}/stat"),
        "threads": threads(pid),
        "fds": descriptors(proc),
        "limits": read(f"{proc}/limits").decode(),
        "personality": attempt(read, f"{proc}/personality"),
        "oom": attempt(read, f"{proc}/oom_score_adj"),
        "coredump_filter": attempt(read, f"{proc}/coredump_filter"),
        "timers": timers(pid),
        "children": children(pid),
    }


BEING_MADE = ("SigBlk", "fffffffffffbfeff")  # what the C library blocks in a thread until it begins: more than a program can


def settled_view(pid):
    """The view once it holds still: a thread that is just being made has another signal mask than a moment later."""
    last = view(pid)
    for looks in range(1000):
        time.sleep(0.005)
        now = view(pid)
        begun = not any(BEING_MADE in fields for fields in now["threads"])
        if begun and (now == last or looks >= 20):
            return now
        last = now
    return last


def lines_of(part):
    if isinstance(part, dict):
        return [f"{k}: {v}" for k, v in part.items()]
    if isinstance(part, bytes):
        return [repr(part)]
    if isinstance(part, str):
        return part.splitlines()
    if isinstance(part, list):
        return [str(p) for p in part]
    return [repr(part)]


def differences(before, after, skip=()):
    """Sentences, none if the two look alike."""
    found = []
    for name, old in before.items():
        if name in skip or old == after[name]:
            continue
        old_lines, new_lines = lines_of(old), lines_of(after[name])
        lost = [line for line in old_lines if line not in new_lines]
        added = [line for line in new_lines if line not in old_lines]
        detail = "".join(f"\n      - {line}" for line in lost[:20]) + "".join(f"\n      + {line}" for line in added[:20])
        found.append(f"/proc/PID {name} differs:{detail or ' (order)'}")
    return found
