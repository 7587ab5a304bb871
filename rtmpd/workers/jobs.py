"""
What a media worker does with files that nobody is recording: repairing them, moving an MP4's index to the front.

One thread, one job after another, so that a server with a thousand interrupted recordings still records. It is a
daemon thread: a job in hand when the server goes is left unfinished, and each kind of job can be begun again.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import cast

from muxers import repair
from muxers.base import FileFacts, MuxError
from rtmpd.workers import protocol


def _faststart(path: Path, _file_format: str) -> None:
    repair.faststart(path)


JOBS: Mapping[str, Callable[[Path, str], FileFacts | None]] = {
    "repair": repair.repair,
    "faststart": _faststart,
}
"""By name: what is done with a path and its format, and the facts of a file that was repaired."""


class JobRunner:
    """Does jobs in a thread of its own, which is started with the first one."""

    def __init__(self, report: Callable[[protocol.Packet], bool]) -> None:
        """
        Prepare.

        Args:
            report: sends a packet to the server; called in the runner's thread.
        """
        self._report = report
        self._waiting: SimpleQueue[protocol.Job] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, job: protocol.Job) -> None:
        """Do a job after those that were put before."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
            self._thread.start()
        self._waiting.put(job)

    def _run(self) -> None:
        while True:
            self._report(do(self._waiting.get()))


def do(job: protocol.Job) -> protocol.JobDone:
    """
    Do one job.

    Args:
        job: what to do.

    Returns:
        What became of it; never raises.
    """
    try:
        facts = JOBS[job.kind](Path(job.path), job.file_format)
    except BlockingIOError:
        return protocol.JobDone(job.job_id, "busy", "somebody writes the file")
    except (OSError, MuxError) as error:
        if isinstance(error, OSError) and error.errno in protocol.DISK_FULL:
            return protocol.JobDone(job.job_id, "busy", str(error))
        return protocol.JobDone(job.job_id, "failed", str(error))
    except Exception as bug:  # noqa: BLE001 - a bug costs this file its repair, not the others theirs
        traceback.print_exception(bug)
        return protocol.JobDone(job.job_id, "failed", f"internal error: {bug!r}")
    in_json = None if facts is None else cast("protocol.FileFacts", asdict(facts))
    return protocol.JobDone(job.job_id, "done", facts=in_json)
