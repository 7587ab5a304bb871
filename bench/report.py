"""Tables and the results file."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bench import procfs
from bench.options import Row
from bench.servers import Kind, commit


class Table(NamedTuple):
    """How the rows of one scenario are shown."""

    key: str
    """The column that, with the server, tells rows apart; repeated runs of it are joined by their median."""
    columns: tuple[str, ...]
    """The figures shown; the results file holds all."""
    ratio: str
    """The figure that servers are compared by."""


TABLES = {
    "capacity": Table(
        "players",
        ("full_rate_pct", "worst_pct", "server_cpu_pct", "load_cpu_pct", "kb_a_player", "lost"),
        "server_cpu_pct",
    ),
    "watching": Table(
        "players",
        ("full_rate_pct", "worst_pct", "server_cpu_pct", "load_cpu_pct", "kb_a_player", "lost"),
        "server_cpu_pct",
    ),
    "latency": Table("players", ("p50_ms", "p99_ms", "server_cpu_pct", "worst_pct", "late_ms"), "p50_ms"),
    "publishers": Table(
        "chunk_bytes", ("publishers_a_core", "server_cpu_pct", "load_cpu_pct", "late_ms"), "publishers_a_core"
    ),
    "memory": Table("players", ("kb_a_player", "mb_with_few", "server_cpu_pct"), "kb_a_player"),
    "recording": Table(
        "formats",
        ("streams", "cpu_ms_a_s", "with_main_ms_a_s", "worker_cpu_pct", "rss_mb", "gaps", "missing_frames"),
        "cpu_ms_a_s",
    ),
    "callbacks": Table(
        "receiver", ("pending", "delivered", "p50_ms", "p99_ms", "rss_mb", "growth_mb", "server_cpu_pct"), "p99_ms"
    ),
    "glass": Table("player", ("median_ms", "p95_ms", "worst_ms", "stall_ms", "pictures"), "median_ms"),
    "join": Table("joins", ("median_ms", "worst_ms"), "median_ms"),
}


def head(kinds: Iterable[Kind]) -> dict[str, str]:
    """
    Say when and on what the figures were taken.

    Args:
        kinds: the servers measured.

    Returns:
        Facts for the head of the file and of the tables.
    """
    system = f"{platform.system()} {platform.release()}, TCP {procfs.congestion_control()}"
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{procfs.processor_name()}, {os.cpu_count()} cores, {system}",
        "python": platform.python_version(),
        "commit": commit(),
        "servers": "; ".join(dict.fromkeys(kind.version() for kind in kinds)),
    }


def save(path: Path, facts: dict[str, str], rows: Sequence[Row]) -> None:
    """
    Write the results.

    Args:
        path: the file; written anew each time.
        facts: see `head`.
        rows: all rows so far.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")


def markdown(facts: dict[str, str], rows: Sequence[Row]) -> str:
    """
    Make the tables for README.md.

    Args:
        facts: see `head`.
        rows: of any scenarios, servers and runs.

    Returns:
        Markdown.
    """
    runs = max((int(row["run"]) for row in rows), default=0)
    lines = [f"{facts['date']}; {facts['machine']}; {facts['servers']}; median of {runs} run(s).", ""]
    for scenario, table in TABLES.items():
        mine = [row for row in rows if row["scenario"] == scenario]
        if mine:
            lines += [f"### {scenario}", "", *_table(table, mine), "", *_verdicts(scenario, table, mine), ""]
    return "\n".join(lines)


def _table(table: Table, rows: Sequence[Row]) -> list[str]:
    names = ("server", table.key, *table.columns)
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for (server, key), group in _groups(table, rows).items():
        figures = (_shown(_median(group, column)) for column in table.columns)
        lines.append(f"| {server} | {key} | {' | '.join(figures)} |")
    lines += sorted({f"\n{row['server']}, {row.get(table.key, '-')}: {row['why']}" for row in rows if "why" in row})
    return lines


def _verdicts(scenario: str, table: Table, rows: Sequence[Row]) -> list[str]:
    servers = list(dict.fromkeys(str(row["server"]) for row in rows))
    lines: list[str] = []
    if scenario in {"capacity", "watching"}:
        most = {server: _capacity([row for row in rows if row["server"] == server]) for server in servers}
        lines = [f"- most players all at full rate, {server}: {players:.0f}" for server, players in most.items()]
        for first, second in pairwise(servers):
            if most[first]:
                lines.append(f"- {second} / {first}: {most[second] / most[first]:.2f}")
    groups = _groups(table, rows)
    for key in dict.fromkeys(key for _, key in groups):
        medians = [_median(groups.get((server, key), []), table.ratio) for server in servers]
        if len(medians) == 2 and None not in medians and medians[0]:
            lines.append(f"- {table.ratio} at {table.key} {key}, {servers[1]} / {servers[0]}: {_over(medians):.2f}")
    return lines


def _over(pair: list[float | None]) -> float:
    return (pair[1] or 0.0) / (pair[0] or 1.0)


def _capacity(rows: Sequence[Row]) -> float:
    """Take the median over runs of the largest step that each run passed."""
    most = {row["run"]: 0 for row in rows}
    for row in rows:
        if row.get("passed"):
            most[row["run"]] = max(most[row["run"]], int(row["players"]))
    return statistics.median(most.values())


def _groups(table: Table, rows: Sequence[Row]) -> dict[tuple[str, object], list[Row]]:
    groups: dict[tuple[str, object], list[Row]] = {}
    for row in rows:
        if table.key in row:
            groups.setdefault((str(row["server"]), row[table.key]), []).append(row)
    return groups


def _median(rows: Sequence[Row], column: str) -> float | None:
    values = [float(row[column]) for row in rows if column in row]
    return statistics.median(values) if values else None


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 1_000 or value.is_integer():
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
