"""`python -m bench`: whole-server figures, rtmpd beside nginx-rtmp in the same run. README.md says how to read them."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from bench import callbacks, glass, recording, report, scenarios, servers
from bench.errors import BenchError
from bench.options import Options, Row

_SCENARIOS = {
    "capacity": scenarios.capacity,
    "latency": scenarios.latency,
    "publishers": scenarios.publishers,
    "memory": scenarios.memory,
    "join": scenarios.join,
    "recording": recording.recording,
    "callbacks": callbacks.callbacks,
    "watching": scenarios.watching,
    "glass": glass.glass,
}
_OWN = {"recording", "callbacks", "glass"}
"""Scenarios of rtmpd alone."""
_RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """
    Run what the command line asks for.

    Returns:
        The exit status: 0, or 1 when a scenario could not be measured.
    """
    # an end by SIGTERM must stop the servers too: their blocks end by an exception
    signal.signal(signal.SIGTERM, _stop)
    arguments = _parser().parse_args()
    if (os.cpu_count() or 1) <= servers.LOAD_CORE:
        print("two cores are needed: one for the server, one for the load", file=sys.stderr)
        return 1
    servers.pin_load()
    names = list(_SCENARIOS) if arguments.scenario == "all" else [arguments.scenario]
    kinds = servers.KINDS["rtmpd" if _OWN.issuperset(names) else arguments.server]
    watched = [kind for kind in servers.WATCHED if arguments.server == "both" or kind.name.startswith("rtmpd")]
    path = arguments.json or _RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{arguments.scenario}.json"
    rows: list[Row] = []
    try:
        facts = report.head(watched if names == ["watching"] else kinds)
        for run in range(1, arguments.runs + 1):
            for name in names:
                for kind in watched if name == "watching" else _measured(name, kinds):
                    rows += _run(name, kind, run, _options(arguments))
                    report.save(path, facts, rows)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n{report.markdown(facts, rows)}\nall figures: {path}")
    return int(any("why" in row and row["scenario"] != "capacity" for row in rows))


def _measured(name: str, kinds: Iterable[servers.Kind]) -> list[servers.Kind]:
    return [kind for kind in kinds if name not in _OWN or kind is servers.RTMPD]


def _run(name: str, kind: servers.Kind, run: int, options: Options) -> list[Row]:
    def tell(line: str) -> None:
        print(f"run {run}, {name}, {kind.name}: {line}", flush=True)

    try:
        rows = _SCENARIOS[name](kind, options, tell)
    except BenchError as error:
        tell(str(error))
        rows = [{"why": str(error).partition("\n")[0]}]
    return [{"scenario": name, "server": kind.name, "run": run, **row} for row in rows]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("scenario", nargs="?", default="all", choices=[*_SCENARIOS, "all"])
    parser.add_argument("--server", default="both", choices=list(servers.KINDS))
    parser.add_argument("--runs", type=int, default=1, help="repetitions; tables show medians")
    parser.add_argument("--json", type=Path, help="results file (default: bench/results/TIME-SCENARIO.json)")
    defaults = Options()
    parser.add_argument("--steps", type=_numbers, default=defaults.steps, help="players of the capacity ramp")
    parser.add_argument("--watch-steps", type=_numbers, default=defaults.watch_steps, help="the same over HTTP")
    parser.add_argument("--levels", type=_numbers, default=defaults.levels, help="players of the latency test")
    parser.add_argument("--publishers", type=int, default=defaults.publishers)
    parser.add_argument("--tick-ms", type=float, default=defaults.tick_ms, help="clock of the publishers test")
    parser.add_argument("--memory-players", type=int, default=defaults.memory_players)
    parser.add_argument("--joins", type=int, default=defaults.joins)
    parser.add_argument("--record-streams", type=int, default=defaults.record_streams)
    parser.add_argument("--record-formats", type=_words, default=defaults.record_formats, help="for example flv,mp4")
    parser.add_argument("--record-s", type=float, default=defaults.record_s, help="length of that measurement")
    parser.add_argument("--record-references", type=int, default=defaults.record_references, help="ffmpeg processes")
    parser.add_argument("--callbacks", type=int, default=defaults.callbacks, help="that are pending")
    parser.add_argument("--connect-rate", type=float, default=defaults.connect_rate, help="connections a second")
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        steps=arguments.steps,
        watch_steps=arguments.watch_steps,
        levels=arguments.levels,
        publishers=arguments.publishers,
        tick_ms=arguments.tick_ms,
        memory_players=arguments.memory_players,
        joins=arguments.joins,
        record_streams=arguments.record_streams,
        record_formats=arguments.record_formats,
        record_s=arguments.record_s,
        record_references=arguments.record_references,
        callbacks=arguments.callbacks,
        connect_rate=arguments.connect_rate,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(number) for number in text.split(",")))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _stop(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
