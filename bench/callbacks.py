"""
What undelivered callbacks cost: memory and media latency with thousands of them pending, beside the same with none.

Design: the database is filled before the server starts, so that all figures are those of delivering, not of owing. One
receiver refuses connections, one takes its time, one takes everything at once; each has a server of its own.
"""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import procfs
from bench.errors import BenchError
from bench.options import Options, Row
from bench.place import Place
from bench.scenarios import Tell, add_with_probes, figures, percentiles, stream
from bench.servers import HOST, Kind, Server, rtmpd_command
from rtmpd.store.database import Database
from rtmpd.store.deliveries import Deliveries
from rtmpd.store.outbox import Owed, owe

_EVENTS_A_STREAM = 5
_SLOW_S = 1.0
_QUICK_TIMES = 10
"""So many more are pending to the quick receiver, or all would be delivered before the measurement."""
_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"code":0}'
_COMPARED = ("p50_ms", "p99_ms", "rss_mb", "server_cpu_pct")
_RECEIVERS = ("none", "down", "slow", "quick")


def callbacks(kind: Kind, options: Options, tell: Tell) -> list[Row]:
    """
    Play a stream while callbacks wait for receivers of several kinds.

    Args:
        kind: rtmpd.
        options: callbacks, callback_players, connect_rate, settle_s, window_s.
        tell: for progress.

    Returns:
        A row for each kind of receiver; the first has none and nothing is pending.
    """
    rows: list[Row] = []
    for name in _RECEIVERS:
        events = options.callbacks * (_QUICK_TIMES if name == "quick" else 1)
        with _receiver(name) as url, stream(_kind_with(kind, url, events), options) as (server, load):
            add_with_probes(load, options.callback_players)
            load.run(options.settle_s)
            for probe in load.probes:
                probe.latencies_ms.clear()
            before, pending = _resident_mb(server), _pending(server)
            seen = load.measure(options.window_s)
            row: Row = {
                "receiver": name,
                "pending": pending,
                "delivered": pending - _pending(server),
                "rss_mb": _resident_mb(server),
                "growth_mb": _resident_mb(server) - before,
                **percentiles(load.probes),
                **figures(seen, tell),
            }
        rows.append(row)
        _progress(row, rows[0], tell)
    return rows


def _progress(row: Row, none: Row, tell: Tell) -> None:
    ratios = (f"{column} {float(row[column]):.1f} ({_ratio(row, none, column):.2f} times)" for column in _COMPARED)
    tell(f"receiver {row['receiver']}: {row['pending']} pending, {row['delivered']} delivered, {', '.join(ratios)}")


def _ratio(row: Row, none: Row, column: str) -> float:
    return float(row[column]) / (float(none[column]) or 1.0)


def _resident_mb(server: Server) -> float:
    return procfs.resident_bytes([server.process.pid]) / 2**20


def _pending(server: Server) -> int:
    path = server.directory / "data" / "rtmpd.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        (count,) = database.execute("SELECT COUNT(*) FROM deliveries WHERE dead_at IS NULL").fetchone()
    return int(count)


def _kind_with(kind: Kind, url: str, events: int) -> Kind:
    """Make a kind of rtmpd with a receiver, and that many callbacks that wait for it."""

    def command(place: Place) -> list[str]:
        path = place.directory / "rtmpd.toml"
        path.write_text(f'[callbacks]\nurls = ["{url}"]\n' if url else "")
        if url:
            (place.directory / "data").mkdir()
            asyncio.run(_fill(place.directory / "data" / "rtmpd.db", url, events))
        return [*rtmpd_command(place), "--config", str(path)]

    return replace(kind, command=command)


async def _fill(path: Path, url: str, events: int) -> None:
    now = time.time()
    owed = [_event(number, f"stream{number // _EVENTS_A_STREAM}", now) for number in range(events)]
    database = await Database.open(path)
    await Deliveries(database).set_receivers([url], now, now)
    await database.submit(partial(owe, owed=owed))
    await database.close()


def _event(number: int, name: str, now: float) -> Owed:
    body = {"event_type": 1, "appname": "live", "stream_id": name, "channel_id": name, "sequence": str(number)}
    return Owed(f"bench-{number}", 1, f"live/{name}", body | {"stream_param": "x" * 200, "user_ip": HOST}, now)


@contextmanager
def _receiver(name: str) -> Iterator[str]:
    """Have a receiver for as long as the block lasts; yields its URL, empty for none."""
    if name == "none":
        yield ""
    elif name == "down":
        with socket.socket() as taken:  # a port that is nobody else's, and refuses
            taken.bind((HOST, 0))
            yield f"http://{HOST}:{taken.getsockname()[1]}/"
    else:
        with _Answering(_SLOW_S if name == "slow" else 0.0) as port:
            yield f"http://{HOST}:{port}/"


class _Answering:
    """A thread that answers every request with 200, after a while."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._listening = socket.create_server((HOST, 0), backlog=1_024)
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        return int(self._listening.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._wait())

    async def _wait(self) -> None:
        async with await asyncio.start_server(self._serve, sock=self._listening):
            await self._ended.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(_length(head))
                await asyncio.sleep(self._delay_s)
                writer.write(_ANSWER)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()  # a task that is cancelled is a traceback to asyncio's streams (3.11): it ends like the others


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    raise BenchError("a callback without a length")
