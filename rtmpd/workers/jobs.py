"""
What a media worker does with files that nobody is recording: repairing them, moving an MP4's index to the front, and
making pictures of them, and of streams.

One thread, one job after another, so that a server with a thousand interrupted recordings still records. It is a
daemon thread: a job in hand when the server goes is left unfinished, and each kind of job can be begun again.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
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


def _make_picture(job: protocol.Job, descriptors: Sequence[int]) -> None:
    from muxers.picture import jpeg_of  # noqa: PLC0415 - PyAV

    target, *given = descriptors
    source = os.pread(given[0], os.fstat(given[0]).st_size, 0) if given else Path(job.path)
    picture = jpeg_of(source, job.file_format)
    os.pwrite(target, picture or b"", 0)


class JobRunner:
    """Does jobs in a thread of its own, which is started with the first one."""

    def __init__(self, report: Callable[[protocol.Packet], bool]) -> None:
        """
        Prepare.

        Args:
            report: sends a packet to the server; called in the runner's thread.
        """
        self._report = report
        self._waiting: SimpleQueue[tuple[protocol.Job, Sequence[int]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, job: protocol.Job, descriptors: Sequence[int] = ()) -> None:
        """
        Do a job after those that were put before.

        Args:
            job: what to do.
            descriptors: that came with it; closed when it is done.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
            self._thread.start()
        self._waiting.put((job, descriptors))

    def _run(self) -> None:
        while True:
            job, descriptors = self._waiting.get()
            done = do(job, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            self._report(done)


def do(job: protocol.Job, descriptors: Sequence[int] = ()) -> protocol.JobDone:
    """
    Do one job.

    Args:
        job: what to do.
        descriptors: that came with it.

    Returns:
        What became of it; never raises.
    """
    try:
        if job.kind == protocol.PICTURE:
            _make_picture(job, descriptors)
            return protocol.JobDone(job.job_id, "done")
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
