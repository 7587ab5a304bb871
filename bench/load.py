"""
The load on one server: publishers, players and probes in one thread of one core.

One thread is enough because nothing here waits for one connection: publishers send when a message is due, players
are polled in slices, probes and connections being set up are woken by epoll. What the load itself costs is part of
each measurement, because a load that is short of CPU measures itself.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bench import procfs, wire
from bench.dialog import APP, Dialog, Script, http_script, player_script, publisher_script
from bench.errors import BenchError
from bench.players import Edge, Players
from bench.probe import Probe
from bench.publisher import Publisher
from bench.servers import LOAD_CORE, SERVER_CORE, Server
from bench.source import LOOP_S, Source

STREAM = "bench"
FULL_RATE = 0.99
_IN_FLIGHT = 32
_PLAYER_TICK_S = 0.001
_CONNECT_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one stretch of time showed. CPU figures are shares of one core."""

    players: int
    at_full_rate: int
    """Players that got at least FULL_RATE of what they were owed."""
    worst_share: float
    median_share: float
    lost: int
    """Connections that the server has closed since the start."""
    server_cpu: float
    load_cpu: float
    other_cpu: float
    """The larger of what others took on the server's core and on the load's."""
    stolen: float
    """The larger of what the hypervisor took from either core."""
    sweep_ms: float
    """Time between two polls of a player."""
    late_ms: float
    """The worst delay of a publisher's message behind its time, by the load's own doing."""

    @property
    def all_at_full_rate(self) -> bool:
        """Whether no player fell short."""
        return self.at_full_rate == self.players


class Load:
    """Everything that is connected to one server."""

    def __init__(self, server: Server, source: Source, *, connect_rate: float, tick_s: float = _PLAYER_TICK_S) -> None:
        """
        Begin without connections.

        Args:
            server: the target.
            source: what publishers send.
            connect_rate: the most connections begun in a second.
            tick_s: publishers look at the clock that often; what is due by then goes out, each message by itself.
        """
        self.players = Players()
        self.probes: list[Probe] = []
        self._publishers: list[Publisher] = []
        self._server = server
        self._source = source
        self._connect_interval_s = 1 / connect_rate
        self._tick_s = tick_s
        self._next_tick_s = 0.0
        self._late_s = 0.0
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], object]] = {}
        self._dialogs: set[Dialog] = set()

    @property
    def messages_per_s(self) -> float:
        """What one publisher sends."""
        return len(self._source.templates) / LOOP_S

    def connect_publishers(self, count: int) -> None:
        """
        Start publishers `bench`, `bench1`, `bench2`, ..., spread evenly over the loop of the source.

        Args:
            count: how many.

        Raises:
            BenchError: the server refused one, or is too slow.
        """
        port, chunk_size = self._server.port, self._source.chunk_size
        scripts = [publisher_script(port, f"{STREAM}{number or ''}", chunk_size) for number in range(count)]
        start_s = time.monotonic()

        def accept(dialog: Dialog) -> None:
            _send_unpaced(dialog.socket)
            phase_s = LOOP_S * len(self._publishers) / count
            publisher = Publisher(dialog.socket, self._source, max(start_s, time.monotonic()) + phase_s)
            self._publishers.append(publisher)
            self._watch(publisher.socket.fileno(), publisher.drain)

        self._connect(scripts, accept)

    def finish_publishers(self) -> list[int]:
        """
        End all publishers as encoders do, after their last message.

        Returns:
            How many frames each has sent.

        Raises:
            BenchError: the server did not take everything.
        """
        ended, self._publishers = self._publishers, []
        for publisher in ended:
            self._forget(publisher.socket.fileno())
            publisher.finish()
        for publisher in ended:
            publisher.close()
        return [publisher.frames for publisher in ended]

    def connect_players(self, count: int) -> None:
        """
        Add players of the first publisher's stream.

        Args:
            count: how many.

        Raises:
            BenchError: the server refused one, or is too slow.
        """
        self._connect([self._player_script()] * count, lambda dialog: self.players.add(dialog.socket))

    def connect_probe(self) -> Probe:
        """
        Add one player that reads at once.

        Returns:
            The probe, playing.

        Raises:
            BenchError: the server refused it, or is too slow.
        """

        def accept(dialog: Dialog) -> None:
            probe = Probe(dialog.socket, dialog.asked_ns)
            probe.look(bytes(dialog.received), time.monotonic_ns())
            self.probes.append(probe)
            self._watch(dialog.socket.fileno(), probe.read)

        self._connect([self._player_script()], accept)
        return self.probes[-1]

    def disconnect_probe(self, probe: Probe) -> None:
        """
        Take a probe out.

        Args:
            probe: one that `connect_probe` gave.
        """
        self.probes.remove(probe)
        self._forget(probe.socket.fileno())
        probe.socket.close()

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """
        Keep everything going.

        Args:
            seconds: for how long at most.
            until: ends it earlier once true.
        """
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and not until():
            self._turn()

    def measure(self, seconds: float) -> Measurement:
        """
        Measure for a while, between two edges of one loop of the source each.

        Args:
            seconds: between the middles of the edges.

        Returns:
            What was seen; see `Edge` for why there are edges.
        """
        self._late_s = 0.0
        began_s = time.monotonic()
        before = self._readings()
        first = self._run_edge()
        self.run(seconds - LOOP_S)
        last = self._run_edge()
        elapsed_s = time.monotonic() - began_s
        used = [(b - a) / elapsed_s for a, b in zip(before, self._readings(), strict=True)]
        server_cpu, load_cpu, server_core, load_core, server_stolen, load_stolen = used
        shares = first.shares_until(last) if len(self.players) else [1.0]
        return Measurement(
            players=len(self.players),
            at_full_rate=sum(share >= FULL_RATE for share in shares) if len(self.players) else 0,
            worst_share=shares[0],
            median_share=shares[len(shares) // 2],
            lost=self.players.lost,
            server_cpu=server_cpu,
            load_cpu=load_cpu,
            other_cpu=max(0.0, server_core - server_cpu, load_core - load_cpu),
            stolen=max(server_stolen, load_stolen),
            sweep_ms=1e3 * LOOP_S / max(1, last.sweeps),
            late_ms=1e3 * self._late_s,
        )

    def close(self) -> None:
        """Close every connection."""
        self.players.close()
        owners: list[Publisher | Probe | Dialog] = [*self._publishers, *self.probes, *self._dialogs]
        for owner in owners:
            owner.socket.close()
        self._epoll.close()

    def _readings(self) -> tuple[float, ...]:
        cores = [procfs.core_time(core) for core in (SERVER_CORE, LOAD_CORE)]
        busy, stolen = (core.busy_s for core in cores), (core.stolen_s for core in cores)
        return self._server.cpu_seconds(), time.process_time(), *busy, *stolen

    def _run_edge(self) -> Edge:
        edge = self.players.edge = Edge(len(self.players))
        self.run(LOOP_S)
        self.players.edge = None
        return edge

    def _connect(self, scripts: list[Script], accept: Callable[[Dialog], None]) -> None:
        waiting = scripts[::-1]
        patience_s = _CONNECT_PATIENCE_S + 3 * len(scripts) * self._connect_interval_s
        deadline_s = time.monotonic() + patience_s
        next_s = 0.0
        while waiting or self._dialogs:
            now_s = time.monotonic()
            if now_s > deadline_s:
                missing = len(waiting) + len(self._dialogs)
                raise BenchError(f"{missing} of {len(scripts)} connections not set up within {patience_s:.0f} s")
            if waiting and now_s >= next_s and len(self._dialogs) < _IN_FLIGHT:
                next_s = max(next_s, now_s - 10 * self._connect_interval_s) + self._connect_interval_s
                self._begin(waiting.pop(), accept)
            self._turn()

    def _begin(self, script: Script, accept: Callable[[Dialog], None]) -> None:
        dialog = Dialog(self._address_for(script), script)
        self._dialogs.add(dialog)
        descriptor = dialog.socket.fileno()

        def advance() -> None:
            if dialog.advance():
                self._dialogs.discard(dialog)
                self._forget(descriptor)
                accept(dialog)
            else:
                self._epoll.modify(descriptor, select.EPOLLIN)

        self._handlers[descriptor] = advance
        self._epoll.register(descriptor, select.EPOLLOUT)

    def _player_script(self) -> Script:
        server = self._server
        if server.kind.output:
            return http_script(server.http_port, f"/{APP}/{STREAM}{server.kind.output}")
        return player_script(server.port, STREAM)

    def _address_for(self, script: Script) -> tuple[str, int]:
        host, port = self._server.address
        return host, port if script.hello == wire.C0_C1 else self._server.http_port

    def _watch(self, descriptor: int, handler: Callable[[], object]) -> None:
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, select.EPOLLIN)

    def _forget(self, descriptor: int) -> None:
        del self._handlers[descriptor]
        self._epoll.unregister(descriptor)

    def _turn(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_tick_s:
            self._publish(now_s)
            earliest_s = min((publisher.due_s for publisher in self._publishers), default=now_s + self._tick_s)
            self._next_tick_s = max(self._next_tick_s + self._tick_s, earliest_s)
        owed = self._publishers[0].fan_out_bytes if self._publishers else 0
        wait_s = min(self.players.sweep(now_s, owed), self._next_tick_s - time.monotonic())
        for descriptor, _ in self._epoll.poll(max(0.0, wait_s)):
            self._handlers[descriptor]()

    def _publish(self, now_s: float) -> None:
        for publisher in self._publishers:
            if publisher.due_s <= now_s:
                self._late_s = max(self._late_s, publisher.send_due(now_s))


def _send_unpaced(connection: socket.socket) -> None:
    """Take BBR's pacing, where it is the system's default, out of the publisher's half of a latency."""
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")


@contextmanager
def loading(server: Server, source: Source, *, connect_rate: float, tick_s: float = _PLAYER_TICK_S) -> Iterator[Load]:
    """
    Put load on a server for as long as the block lasts.

    Args:
        server: the target.
        source: what publishers send.
        connect_rate: the most connections begun in a second.
        tick_s: as for `Load`.

    Yields:
        The load, without connections yet.
    """
    load = Load(server, source, connect_rate=connect_rate, tick_s=tick_s)
    # a collection over tens of thousands of objects stops publishers and probes for milliseconds
    gc.disable()
    try:
        yield load
    finally:
        gc.enable()
        load.close()
