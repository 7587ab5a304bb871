"""
What the kernel says about processes and cores: CPU time, resident memory.

proc(5): /proc/PID/stat, /proc/PID/smaps_rollup, /proc/stat.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class CoreTime(NamedTuple):
    """Seconds since boot that one core spent."""

    busy_s: float
    """Neither idle nor stolen."""
    stolen_s: float
    """Taken away by the hypervisor: the figures of a window with much of it are worth nothing."""


def process_tree(pid: int) -> list[int]:
    """
    List a process and all its living descendants.

    Args:
        pid: the root of the tree.

    Returns:
        The pids, the root first; those that end meanwhile are left out.
    """
    found = [pid]
    for parent in found:
        for task in _PROC.joinpath(str(parent), "task").glob("*/children"):
            found.extend(int(child) for child in _read(task).split())
    return found


def cpu_seconds(pids: list[int]) -> float:
    """
    Add up the user and system time of processes.

    Args:
        pids: the processes; one that has ended counts nothing.

    Returns:
        Seconds, in steps of one clock tick (10 ms).
    """
    ticks = 0
    for pid in pids:
        # the name in parentheses may hold blanks; utime and stime are fields 14 and 15
        fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
        if fields:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def resident_bytes(pids: list[int]) -> int:
    """
    Add up the resident memory of processes.

    Args:
        pids: the processes.

    Returns:
        Bytes (Rss). Pages that they share count in each, which a difference of two readings takes out again;
        Pss would move with whatever else on the machine maps the same libraries.
    """
    kilobytes = 0
    for pid in pids:
        for line in _read(_PROC / str(pid) / "smaps_rollup").splitlines():
            if line.startswith("Rss:"):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024


def command_line(pid: int) -> str:
    """
    Say what a process runs.

    Args:
        pid: the process.

    Returns:
        Program and arguments with blanks between them; empty once it has ended.
    """
    return _read(_PROC / str(pid) / "cmdline").replace("\0", " ")


def core_time(core: int) -> CoreTime:
    """
    Read how long a core was busy with anything at all.

    Args:
        core: its number.

    Returns:
        Seconds since boot.
    """
    for line in _read(_PROC / "stat").splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
            return CoreTime((user + nice + system + irq + softirq) / _TICKS_PER_S, steal / _TICKS_PER_S)
    return CoreTime(0.0, 0.0)


def raise_open_file_limit() -> int:
    """
    Raise the soft limit of open files to the hard one; children inherit it.

    Returns:
        The limit now in force.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def processor_name() -> str:
    """
    Name the processor for the head of a table.

    Returns:
        As /proc/cpuinfo has it, or "unknown".
    """
    for line in _read(_PROC / "cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def congestion_control() -> str:
    """
    Name TCP's congestion control, which paces what servers send even on loopback.

    Returns:
        For example "cubic" or "bbr".
    """
    return _read(_PROC / "sys/net/ipv4/tcp_congestion_control").strip() or "unknown"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
