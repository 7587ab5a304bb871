"""
The cost of a recording: many streams recorded by one media worker, beside ffmpeg processes that do the same.

Design: both are measured while they record, without their start and their end. The reference plays from the same
server afterwards, on the load's core, so that neither disturbs the other. A recording with a gap, or with a frame
less than was sent, makes the figures worthless, and the scenario says so.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import ffmpeg, procfs
from bench.errors import BenchError
from bench.footage import encoded_loop
from bench.load import STREAM, Load, loading
from bench.options import Options, Row
from bench.scenarios import Tell, figures
from bench.servers import HOST, Kind, Server, recording_kind, running
from bench.source import LOOP_S, Source

_WORKER = "rtmpd.workers.process"
_START_PATIENCE_S = 20.0
_CLOSE_PATIENCE_S = 60.0
_CHECKED_STREAMS = 2
"""Whose files are read back packet by packet; of all others the log's word is taken."""
_FULL = 0.9
"""Of what was sent while it ran, the least that a file of the reference must hold: it takes a moment to start."""


def recording(kind: Kind, options: Options, tell: Tell) -> list[Row]:
    """
    Record many streams at once, then let ffmpeg record some.

    Args:
        kind: rtmpd.
        options: record_streams, record_formats, record_s, record_references, tick_ms, connect_rate, settle_s.
        tell: for progress.

    Returns:
        A row for the reference, where ffmpeg is installed, and one for the server.
    """
    source = Source(kind.chunk_size, kind.chunk_size, encoded_loop())
    rows: list[Row] = []
    with (
        running(recording_kind(options.record_formats)) as server,
        loading(server, source, connect_rate=options.connect_rate, tick_s=options.tick_ms / 1e3) as load,
    ):
        rows.append(_ours(server, load, options, tell))
        shutil.rmtree(server.directory / "data" / "recordings")
        if ffmpeg.is_installed():
            rows.insert(0, _reference(server, load, options, tell))
        else:
            tell("ffmpeg is not installed: there is nothing to compare with (Debian: apt install ffmpeg)")
    return [{"formats": "+".join(options.record_formats), **row} for row in rows]


def _ours(server: Server, load: Load, options: Options, tell: Tell) -> Row:
    streams = options.record_streams
    # its port answers before its media worker is ready
    if not _within(_START_PATIENCE_S, lambda: bool(server.log_lines("serving"))):
        raise BenchError(f"not serving within {_START_PATIENCE_S:.0f} s:\n{server.log_tail()}")
    worker = server.child(_WORKER)
    load.connect_publishers(streams)
    load.run(LOOP_S + options.settle_s)
    before = _readings(server, worker)
    seen = load.measure(options.record_s)
    worker_s, main_s, elapsed_s = (b - a for a, b in zip(before, _readings(server, worker), strict=True))
    resident_mb = procfs.resident_bytes([worker]) / 2**20
    sent = {f"live/{STREAM}{number or ''}": frames for number, frames in enumerate(load.finish_publishers())}
    closed = _wait_until_closed(server, len(sent) * len(options.record_formats))
    row: Row = {
        "streams": streams,
        "cpu_ms_a_s": _per_stream(worker_s, streams, elapsed_s),
        "with_main_ms_a_s": _per_stream(worker_s + main_s, streams, elapsed_s),
        "worker_cpu_pct": 100 * worker_s / elapsed_s,
        "main_cpu_pct": 100 * main_s / elapsed_s,
        "rss_mb": resident_mb,
        **_losses(closed, sent),
        **figures(seen, tell),
    }
    tell(
        f"{streams} streams: {row['cpu_ms_a_s']:.2f} ms of the worker's CPU per second of a stream, "
        f"{row['with_main_ms_a_s']:.2f} ms with the server's, {row['gaps']} gaps, {row['missing_frames']} frames missing"
    )
    if row["gaps"] or row["missing_frames"]:
        row["why"] = f"{row['gaps']} gaps of {row['gap_ms']} ms, {row['missing_frames']} frames missing"
    return row


def _reference(server: Server, load: Load, options: Options, tell: Tell) -> Row:
    streams = options.record_references
    load.connect_publishers(streams)
    load.run(LOOP_S)
    urls = [f"rtmp://{HOST}:{server.port}/live/{STREAM}{number or ''}" for number in range(streams)]
    directory = server.directory / "reference"
    directory.mkdir()
    began_s = time.monotonic()
    with ffmpeg.recording(urls, options.record_formats, directory) as reference:
        load.run(3 * LOOP_S + options.settle_s)
        before_s, at_s = reference.cpu_seconds(), time.monotonic()
        load.run(options.record_s)
        used_s, elapsed_s = reference.cpu_seconds() - before_s, time.monotonic() - at_s
        resident_mb = reference.resident_bytes() / 2**20
        owed = (time.monotonic() - began_s) * load.messages_per_s
        load.finish_publishers()
        reference.finish()
    least = min(reference.packets())
    if least < _FULL * owed:
        raise BenchError(f"a file of the reference holds {least} packets of {owed:.0f}")
    row: Row = {
        "server": "ffmpeg",
        "version": ffmpeg.version(),
        "streams": streams,
        "cpu_ms_a_s": _per_stream(used_s, streams, elapsed_s),
        "rss_mb": resident_mb,
    }
    tell(f"{streams} times {row['version']}: {row['cpu_ms_a_s']:.2f} ms of CPU per second of a stream")
    return row


def _per_stream(used_s: float, streams: int, elapsed_s: float) -> float:
    return 1e3 * used_s / streams / elapsed_s


def _readings(server: Server, worker: int) -> tuple[float, float, float]:
    """Read CPU of the worker, CPU of the main process, and the clock."""
    return procfs.cpu_seconds([worker]), procfs.cpu_seconds([server.process.pid]), time.monotonic()


def _wait_until_closed(server: Server, count: int) -> list[dict[str, Any]]:
    """Wait for the log's word on every file."""
    closed: list[dict[str, Any]] = []

    def all_closed() -> bool:
        closed[:] = server.log_lines("recording closed")
        return len(closed) >= count

    if not _within(_CLOSE_PATIENCE_S, all_closed):
        failed = [line["reason"] for line in server.log_lines("recording failed")]
        why = f"; one failed: {failed[0]}" if failed else ""
        raise BenchError(f"{len(closed)} of {count} files closed within {_CLOSE_PATIENCE_S:.0f} s{why}")
    return closed


def _within(patience_s: float, reached: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + patience_s
    while not reached():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.1)
    return True


def _losses(closed: Sequence[dict[str, Any]], sent: dict[str, int]) -> Row:
    held = [line["video_frames"] + line["audio_frames"] for line in closed]
    # By size, not by name: connections that take turns in getting ready are named in another order.
    formats = len(closed) // len(sent)
    owed = sorted(frames for frames in sent.values() for _ in range(formats))
    missing = [there - frames for there, frames in zip(owed, sorted(held), strict=True)]
    for line, frames in zip(closed, held, strict=True):
        if line["stream"] in list(sent)[:_CHECKED_STREAMS]:
            packets = ffmpeg.packets_in(Path(line["path"]))
            if packets != frames:
                raise BenchError(f"{line['path']} holds {packets} packets, not {frames} as its facts say")
    return {
        "files": len(closed),
        "frames_sent": sum(sent.values()),
        "frames_in_files": sum(held),
        "missing_frames": sum(abs(frames) for frames in missing),
        "gaps": sum(line["gaps"] for line in closed),
        "gap_ms": sum(line["gap_ms"] for line in closed),
    }
