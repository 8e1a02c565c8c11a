# SPDX-License-Identifier: MIT
"""Processes as /proc shows them."""

import ctypes
import os

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    """Processes that superd leaves behind become children of this process, which finds them."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Process:
    """One line of /proc/PID/stat."""

    def __init__(self, pid):
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            text = stat.read()
        left, right = text.index("("), text.rindex(")")
        fields = text[right + 2:].split()
        self.pid = pid
        self.name = text[left + 1:right]
        self.state = fields[0]
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.nice = int(fields[16])


def processes():
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found.append(Process(int(entry)))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def children_listed(pid):
    """The pids that the kernel lists. A child that ends meanwhile can take another one's place in the list."""
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as listed:
                found += map(int, listed.read().split())
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended, and its children are another thread's
    return sorted(found)


def children(pid):
    """Without a look at every process of the machine, where the kernel has lists."""
    if not os.path.exists("/proc/thread-self/children"):
        return [process for process in processes() if process.parent == pid]
    try:
        before, now = None, children_listed(pid)
        while before != now:  # one that was left out is not left out twice, since the one before it is then gone
            before, now = now, children_listed(pid)
    except (FileNotFoundError, ProcessLookupError):
        return []
    found = []
    for child in now:
        try:
            found.append(Process(child))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return [process for process in found if process.parent == pid]


def status(pid):
    """/proc/PID/status as a dictionary, or {} once it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as lines:
            return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
    except (FileNotFoundError, ProcessLookupError):
        return {}


def wake_ups(pid):
    """Times that any thread of a process has waited for something; it has not ended."""
    count = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="utf-8") as lines:
            count += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return count


def executable(pid):
    """Base name of a process's program, "" if it may not be seen."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)"))
    except OSError:
        return ""


def words(pid):
    """The arguments of a process, [] once it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as line:
            return line.read().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def alive(pid):
    try:
        return Process(pid).state not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descriptors(pid):
    """Descriptor numbers and what they refer to, for a process that may be inspected."""
    found = {}
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(entry)] = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            pass
    return found


def kept_by_exec(pid):
    """Descriptors but 0 to 2 without CLOEXEC."""
    found = []
    for number in descriptors(pid):
        try:
            with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as info:
                flags = next(int(line.split()[1], 8) for line in info if line.startswith("flags:"))
        except FileNotFoundError:
            continue
        if number > 2 and not flags & os.O_CLOEXEC:
            found.append(number)
    return found


def resident(pid):
    """VmRSS in KiB."""
    return int(status(pid)["VmRSS"].split()[0])


def listening_inodes(address, port):
    """The inodes of the sockets that listen on an IPv4 address and port."""
    packed = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
    wanted = f"{packed}:{port:04X}"
    inodes = []
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            fields = line.split()
            if fields[1] == wanted and fields[3] == "0A":
                inodes.append(fields[9])
    return inodes
