"""The numbers of a benchmark run, with the defaults behind the tables of README.md."""

from __future__ import annotations

from dataclasses import dataclass

Row = dict[str, str | int | float]
"""One line of a table: which server, under what, and the figures."""


@dataclass(frozen=True, slots=True)
class Options:
    """What every scenario may look at."""

    steps: tuple[int, ...] = (1_000, 2_000, 2_500, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 10_000)
    """Players at each step of the ramp of `capacity`."""
    watch_steps: tuple[int, ...] = (500, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000)
    """The same over HTTP, for `watching`."""
    levels: tuple[int, ...] = (1, 100, 1_000, 3_000)
    """Players, probes included, at which `latency` measures."""
    publishers: int = 200
    """How many send at once in `publishers`."""
    chunk_sizes: tuple[int, ...] = (4_096, 128)
    """Bytes a chunk that they use, one measurement each."""
    tick_ms: float = 20.0
    """What falls due within a tick leaves the load of `publishers` together, each message in a send of its own."""
    memory_players: int = 2_000
    """Players whose memory `memory` measures."""
    joins: int = 20
    """Late joiners of `join`."""
    connect_rate: float = 400.0
    """The most connections begun in a second."""
    settle_s: float = 5.0
    """Between the last connection and a measurement: joiners have then worked off their first group of pictures."""
    window_s: float = 10.0
    """Length of a measurement with players."""
    publishers_window_s: float = 15.0
    """Length of a measurement of publishers."""
    record_streams: int = 100
    """Streams that `recording` lets the server record at once."""
    record_formats: tuple[str, ...] = ("flv", "mp4")
    """What each is recorded as, by the server and by the reference."""
    record_s: float = 60.0
    """Length of a measurement of recordings."""
    record_references: int = 10
    """Processes of ffmpeg that record at once."""
    glass_s: float = 20.0
    """For how long `glass` watches with each player."""
    callbacks: int = 10_000
    """That are pending in `callbacks`."""
    callback_players: int = 100
    """Players of the stream whose latency `callbacks` measures, probes included."""
