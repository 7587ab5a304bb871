"""
What is measured: each scenario starts one server of a kind, puts load on it, and returns rows.

Design: capacity is found by ramping up, never by dividing CPU at a low load, because a server that batches spends
spare CPU on latency.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from bench.errors import BenchError
from bench.load import Load, Measurement, loading
from bench.options import Options, Row
from bench.probe import Probe
from bench.servers import Kind, Server, running
from bench.source import LOOP_S, Source

_LATENCY_PROBES_A_LEVEL = 2
_FEW_PLAYERS = 10
_JOIN_PATIENCE_S = 3 * LOOP_S
_CPU_LIMIT = 0.8
_OTHERS_LIMIT = 0.05

Tell = Callable[[str], None]
"""Shows a line of progress."""


def capacity(kind: Kind, options: Options, tell: Tell) -> list[Row]:
    """
    Ramp up until not every player gets the full rate.

    Args:
        kind: the server.
        options: steps, connect_rate, settle_s, window_s.
        tell: for progress.

    Returns:
        A row a step; the first step that fails is the last.
    """
    rows: list[Row] = []
    with stream(kind, options) as (server, load):
        empty = server.resident_bytes()
        for players in options.steps:
            try:
                load.connect_players(players - len(load.players))
                load.run(options.settle_s)
                seen = load.measure(options.window_s)
            except BenchError as error:
                rows.append({"players": players, "passed": 0, "why": str(error).partition("\n")[0]})
                tell(f"{players} players: {error}")
                break
            kilobytes = (server.resident_bytes() - empty) / players / 1024
            rows.append({"players": players, "passed": int(seen.all_at_full_rate), "kb_a_player": kilobytes})
            rows[-1] |= figures(seen, tell)
            tell(_progress(seen))
            if not seen.all_at_full_rate:
                break
    return rows


def watching(kind: Kind, options: Options, tell: Tell) -> list[Row]:
    """
    Ramp up players over HTTP; see `capacity`.

    Args:
        kind: the server, and what is asked of it.
        options: watch_steps, connect_rate, settle_s, window_s.
        tell: for progress.

    Returns:
        A row a step.
    """
    return capacity(kind, replace(options, steps=options.watch_steps), tell)


def latency(kind: Kind, options: Options, tell: Tell) -> list[Row]:
    """
    Measure publish-to-play latency at rising numbers of players.

    Args:
        kind: the server.
        options: levels, connect_rate, settle_s, window_s.
        tell: for progress.

    Returns:
        A row a level.
    """
    rows: list[Row] = []
    with stream(kind, options) as (_, load):
        for level in options.levels:
            try:
                add_with_probes(load, level)
                load.run(options.settle_s)
                for probe in load.probes:
                    probe.latencies_ms.clear()
                seen = load.measure(options.window_s)
            except BenchError as error:
                rows.append({"players": level, "why": str(error).partition("\n")[0]})
                tell(f"{level} players: {error}")
                break
            spread = percentiles(load.probes)
            rows.append({"players": level, **spread, **figures(seen, tell)})
            tell(f"{level} players: p50 {spread['p50_ms']:.1f} ms, p99 {spread['p99_ms']:.1f} ms")
    return rows


def publishers(kind: Kind, options: Options, tell: Tell) -> list[Row]:
    """
    Measure the CPU that publishers cost, at each size of chunks.

    Args:
        kind: the server.
        options: publishers, chunk_sizes, tick_ms, connect_rate, publishers_window_s.
        tell: for progress.

    Returns:
        A row a chunk size.
    """
    rows: list[Row] = []
    for chunk_size in options.chunk_sizes:
        source = Source(chunk_size, kind.chunk_size)
        with (
            running(kind) as server,
            loading(server, source, connect_rate=options.connect_rate, tick_s=options.tick_ms / 1e3) as load,
        ):
            load.connect_publishers(options.publishers)
            load.run(LOOP_S + options.settle_s)
            seen = load.measure(options.publishers_window_s)
        per_core = options.publishers / seen.server_cpu
        rows.append({"chunk_bytes": chunk_size, "publishers": options.publishers, "publishers_a_core": per_core})
        rows[-1] |= figures(seen, tell)
        tell(f"{chunk_size}-byte chunks: {per_core:.0f} publishers a core ({seen.server_cpu:.1%} of one)")
    return rows


def memory(kind: Kind, options: Options, tell: Tell) -> list[Row]:
    """
    Measure the memory of a player as the growth between few players and many.

    Args:
        kind: the server.
        options: memory_players, connect_rate, settle_s.
        tell: for progress.

    Returns:
        One row.
    """
    with stream(kind, options) as (server, load):
        load.connect_players(_FEW_PLAYERS)
        load.run(3 * LOOP_S)
        few = server.resident_bytes()
        load.connect_players(options.memory_players)
        load.run(options.settle_s)
        seen = load.measure(options.window_s)
        many = server.resident_bytes()
    kilobytes = (many - few) / options.memory_players / 1024
    tell(f"{kilobytes:.2f} KB a player, {few / 2**20:.1f} MB with {_FEW_PLAYERS} of them")
    row: Row = {"players": options.memory_players, "kb_a_player": kilobytes, "mb_with_few": few / 2**20}
    return [row | figures(seen, tell)]


def join(kind: Kind, options: Options, tell: Tell) -> list[Row]:
    """
    Measure how soon a late joiner has its first key frame whole.

    Args:
        kind: the server.
        options: joins, connect_rate, settle_s.
        tell: for progress.

    Returns:
        One row.
    """
    times_ms: list[float] = []
    with stream(kind, options) as (_, load):
        load.connect_players(_FEW_PLAYERS)
        load.run(options.settle_s)
        for _number in range(options.joins):
            probe = load.connect_probe()
            load.run(_JOIN_PATIENCE_S, lambda probe=probe: probe.key_frame_ms is not None)  # type: ignore[misc] # mypy does not infer lambdas with defaults
            if probe.key_frame_ms is None:
                raise BenchError(f"no key frame within {_JOIN_PATIENCE_S:.0f} s of play")
            times_ms.append(probe.key_frame_ms)
            load.disconnect_probe(probe)
            # not a divisor of the loop: joiners come at all places of a group of pictures
            load.run(0.37 * LOOP_S)
    median = statistics.median(times_ms)
    tell(f"first key frame after {median:.1f} ms (median of {options.joins}), at worst {max(times_ms):.1f} ms")
    return [{"joins": options.joins, "median_ms": median, "worst_ms": max(times_ms)}]


@contextmanager
def stream(kind: Kind, options: Options) -> Iterator[tuple[Server, Load]]:
    """
    Run a server with one publisher that has sent a whole loop, in chunks of the size that the server announces.

    Args:
        kind: the server.
        options: connect_rate.

    Yields:
        The server and the load on it.
    """
    source = Source(kind.chunk_size, kind.chunk_size)
    with running(kind) as server, loading(server, source, connect_rate=options.connect_rate) as load:
        load.connect_publishers(1)
        load.run(1.5 * LOOP_S)
        yield server, load


def add_with_probes(load: Load, level: int) -> None:
    """
    Add players up to a level, with probes in their middle and at their end: a server serves them in turn.

    Args:
        load: to which.
        level: players and probes together.

    Raises:
        BenchError: the server refused one, or is too slow.
    """
    missing = level - len(load.players) - len(load.probes)
    for _ in range(min(missing, _LATENCY_PROBES_A_LEVEL)):
        load.connect_players(max(0, missing - _LATENCY_PROBES_A_LEVEL) // _LATENCY_PROBES_A_LEVEL)
        load.connect_probe()
    load.connect_players(level - len(load.players) - len(load.probes))


def percentiles(probes: list[Probe]) -> dict[str, float]:
    """
    Join what probes have seen.

    Args:
        probes: with their latencies.

    Returns:
        Columns of a row: p50_ms, p99_ms, frames.

    Raises:
        BenchError: they have seen nothing.
    """
    latencies = sorted(latency for probe in probes for latency in probe.latencies_ms)
    if not latencies:
        raise BenchError("no frame reached a probe")
    return {
        "p50_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[len(latencies) * 99 // 100],
        "frames": len(latencies),
    }


def figures(seen: Measurement, tell: Tell) -> Row:
    """
    Spell a measurement out, and say aloud what makes it doubtful.

    Args:
        seen: the measurement.
        tell: for doubts.

    Returns:
        Columns of a row.
    """
    if seen.load_cpu > _CPU_LIMIT:
        tell(f"DOUBTFUL: the load itself took {seen.load_cpu:.0%} of its core")
    if seen.other_cpu + seen.stolen > _OTHERS_LIMIT:
        tell(f"DOUBTFUL: others took {seen.other_cpu:.0%} of a core and the hypervisor {seen.stolen:.0%}")
    return {
        "full_rate_pct": 100 * seen.at_full_rate / max(1, seen.players),
        "worst_pct": 100 * seen.worst_share,
        "median_pct": 100 * seen.median_share,
        "lost": seen.lost,
        "server_cpu_pct": 100 * seen.server_cpu,
        "load_cpu_pct": 100 * seen.load_cpu,
        "other_cpu_pct": 100 * seen.other_cpu,
        "stolen_pct": 100 * seen.stolen,
        "sweep_ms": seen.sweep_ms,
        "late_ms": seen.late_ms,
    }


def _progress(seen: Measurement) -> str:
    return (
        f"{seen.players} players: {seen.at_full_rate} at full rate, the worst at {seen.worst_share:.1%}; "
        f"server {seen.server_cpu:.0%}, load {seen.load_cpu:.0%} of a core"
    )
