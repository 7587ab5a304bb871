"""
Attacks on a real server over real sockets, beside a witness who must notice nothing.

Every attacker has an address of its own (127.0.0.0/8 is all ours), so that its line in the log is known from all others.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.messages import AUDIO, DATA_AMF0, PING_REQUEST, VIDEO, Message, encode_user_control
from tests.helpers.chunks import NO_LIMITS
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.server import Server
from tests.helpers.transcript import HANDSHAKE, command, describe
from tests.helpers.witness import WITNESS, Witness

DEADLINE_S = 5
"""What the server gives everybody for everything: tests wait for it, and nobody in them may come to it by standing still
for a moment."""
CONFIG = f"""
[limits]
handshaking = 600
handshaking_per_address = 200
handshake_s = {DEADLINE_S}
connect_s = {DEADLINE_S}
command_s = {DEADLINE_S}
publisher_idle_s = {DEADLINE_S}
linger_s = 0.05
stray_bytes = 200_000
[players]
lag_limit_s = {DEADLINE_S}
wait_s = {DEADLINE_S}
[apps.live]
grace_s = 0
[apps.recorded]
record = "auto"
resume_s = 0
record_cut_s = 0
grace_s = 0
"""
"""Everything else is as it is by default."""
PLAYING = "1: onStatus 0 status NetStream.Play.Start"
GROWTH_BYTES = 128 << 20
"""Memory of the server after all attacks of a file, beyond that before: spare segments, and the allocator's slack. Up
to 60 MB are usual."""
PEAK_BYTES = 256 << 20
"""The same at any moment: two messages of 16 MiB under way in each of two sessions, or logs of 16 MiB. 110 MB are usual."""
WORKER_GROWTH_BYTES = 128 << 20
"""The same of the media worker: its queue takes 64 MiB of a recording whose disk is slow. 20 MB are usual."""
_MEDIA = (AUDIO, VIDEO, DATA_AMF0)


class Attack(NamedTuple):
    """What is sent, and what must come of it: a row of a table."""

    cases: str
    """Numbers of protocol.md, section 8.2, with "_" between them."""
    name: str
    state: str
    """How far the attacker's session has come; a name of `STATES`."""
    data: bytes
    ends: str = ""
    """A pattern for the reason in the log; empty where the session goes on."""
    fault: int | None = None
    """Where in `data` the fault lies: the offset that the log must name."""
    answers: tuple[str, ...] = ()
    """What the server says to it, where the session goes on."""


def table(rows: Iterable[Attack]) -> pytest.MarkDecorator:
    """Make a test of each row, whose id begins with its cases."""
    return pytest.mark.parametrize("attack", [pytest.param(row, id=f"{row.cases} {row.name}") for row in rows])


def wire(*messages: Message, chunk_size: int = 128) -> bytes:
    """Write messages as a plain client would."""
    return b"".join(encode_message(message, chunk_size) for message in messages)


def memory_bytes(pid: int) -> tuple[int, int]:
    """What a process holds in memory, and the most that it ever held."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident, peak = (int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) for field in ("VmRSS", "VmHWM"))
    return resident << 10, peak << 10


class Attacker:
    """A client that sends any bytes, and knows what the server answered and logged; to be used as a context manager."""

    def __init__(self, server: Server, source: str, receive_buffer_bytes: int | None = None) -> None:
        """
        Open a TCP connection.

        Args:
            server: the victim.
            source: our own address, used by nobody else.
            receive_buffer_bytes: what the kernel may keep for us; its own choice if not given.
        """
        self.server = server
        self.source = source
        self.sent_bytes = 0
        self.received_bytes = 0
        self.said: list[str] = []
        """What the server said, as `tests.helpers.transcript` puts it, without media."""
        self.media: list[Message] = []
        self._pings = itertools.count(1)
        self._reader = ChunkReader(body_limits=NO_LIMITS)
        self._socket = socket.socket()
        try:
            self._socket.settimeout(PATIENCE_S)
            if receive_buffer_bytes is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            self._socket.bind((source, 0))
            self._socket.connect(server.address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        self._socket.close()

    # How far the session has come

    def shake_hands(self, *messages: Message) -> Attacker:
        """Shake hands, and send messages in the same breath; returns itself, as the next three."""
        self.send(HANDSHAKE + wire(*messages))
        self.receive_exactly(len(HANDSHAKE))
        return self

    def connect(self, app: str = "live", *messages: Message) -> Attacker:
        """Name the application and make a stream."""
        self.shake_hands(command("connect", 1, {"app": app}), command("createStream", 2), *messages)
        self.wait_for("_result 2 1")
        return self

    def publish(self, name: str, app: str = "live") -> Attacker:
        """Publish."""
        self.connect(app, command("publish", 3, None, name, "live", msid=1))
        self.wait_for("1: onStatus 0 status NetStream.Publish.Start")
        return self

    def play(self, name: str, app: str = "live") -> Attacker:
        """Play what is published or comes soon, and do not wait for it."""
        return self.connect(app, command("play", 3, None, name, msid=1))

    def reach(self, state: str) -> Attacker:
        """Come to one of `STATES`, and forget what was said on the way."""
        STATES[state](self)
        self.said.clear()
        return self

    # Sending

    def send(self, data: bytes) -> None:
        """Send, as far as the server takes it before it closes the connection."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return
        self.sent_bytes += len(data)

    def ping(self) -> None:
        """See that the session goes on, and has taken in all that was sent before."""
        number = next(self._pings)
        self.send(wire(encode_user_control(PING_REQUEST, number)))
        self.wait_for(f"pong {number}")
        self.said.remove(f"pong {number}")

    def stop_sending(self) -> None:
        """Close our direction only."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave by a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    # Receiving

    def receive_bytes(self, size: int = 1 << 18) -> bytes:
        """Read some bytes; none at the end."""
        try:
            data = self._socket.recv(size)
        except ConnectionResetError:
            return b""
        self.received_bytes += len(data)
        return data

    def receive_exactly(self, size: int) -> bytes:
        """Read so many bytes."""
        data = b""
        while len(data) < size:
            part = self.receive_bytes(size - len(data))
            assert part, f"closed after {len(data)} of {size} bytes"
            data += part
        return data

    def receive(self, size: int = 1 << 18) -> bool:
        """Read what is there, up to so many bytes; whether it was not the end."""
        data = self.receive_bytes(size)
        messages: list[Message] = []
        self._reader.feed(data, messages)
        for message in messages:
            if message.type_id in _MEDIA:
                self.media.append(message)
            else:
                self.said.append(describe(message))
        return bool(data)

    def wait_for(self, said: str) -> None:
        """Read on until the server has said something."""
        self.receive_until(lambda: said in self.said, said)

    def receive_until(self, reached, what: str) -> None:
        """Read on until something is true."""
        while not reached():
            assert self.receive(), f"closed before {what!r}; said: {self.said}; log: {self.log_line()}"

    def unsent_bytes(self) -> int:
        """What the server's kernel holds for us: written, and not acknowledged."""
        address, port = (socket.inet_aton(self.source)[::-1].hex().upper(), self._socket.getsockname()[1])
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[2] == f"{address}:{port:04X}":
                return int(fields[4].partition(":")[0], 16)
        return 0

    def log_line(self) -> dict:
        """Wait for the line that ends the connection in the log."""
        return self.server.wait_for("closed", address=self.source)

    def ended(self) -> dict:
        """Wait until the server has closed the connection, and return its line in the log."""
        while self.receive_bytes():
            pass
        return self.log_line()


STATES = {
    "open": lambda _attacker: None,
    "shaken": Attacker.shake_hands,
    "connected": Attacker.connect,
    "publishing": lambda attacker: attacker.publish(attacker.source),
    "playing": lambda attacker: attacker.play(WITNESS).wait_for(PLAYING),
}
"""How far a session can have come; who publishes uses its address as the name, who plays watches the witness."""


def refused(arena: Arena, verb: str, name: object) -> dict:
    """
    Publish or play what must be refused, and see that it is.

    Args:
        arena: where.
        verb: publish or play.
        name: of the stream.

    Returns:
        The connection's line in the log.
    """
    code = {"publish": "NetStream.Publish.BadName", "play": "NetStream.Play.StreamNotFound"}[verb]
    with arena.attacker("connected") as attacker:
        attacker.send(wire(command(verb, 3, None, name, msid=1)))
        while attacker.receive():
            pass
        line = attacker.log_line()
    assert attacker.said == [f"1: onStatus 0 error {code}"]
    assert line["reason"].startswith(f"refused: {code}: The ")
    return line


class Arena:
    """A server under attack, its witness, and the account of all connections; to be used as a context manager."""

    def __init__(self, directory: Path, config: str = CONFIG) -> None:
        """
        Start the server and the witness.

        Args:
            directory: for the server.
            config: TOML.
        """
        self.server = Server(directory, config)
        self._numbers = itertools.count(1)
        self._sources: list[str] = []
        self._checked = 0

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.server)
            self.witness = stack.enter_context(contextlib.closing(Witness(self.server)))
            self.worker = self.server.media_worker()
            self._files = self.server.open_files()
            self._memory_bytes, _ = memory_bytes(self.server.pid)
            self._worker_bytes, _ = memory_bytes(self.worker)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error) -> None:
        self._stack.__exit__(*error)

    def source(self) -> str:
        """An address that nobody has used."""
        number = next(self._numbers)
        return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"

    def attacker(self, state: str = "open", **options) -> Attacker:
        """
        Send somebody.

        Args:
            state: how far the session comes before the attack.
            options: of the attacker.
        """
        source = self.source()
        attacker = Attacker(self.server, source, **options)
        self._sources.append(source)
        try:
            return attacker.reach(state)
        except BaseException:
            with attacker:
                raise

    def goes_on(self, attack: Attack) -> None:
        """See that a session survives an attack, and says to it what it should."""
        with self.attacker(attack.state) as attacker:
            attacker.send(attack.data)
            attacker.ping()
            assert tuple(attacker.said) == attack.answers

    def ends(self, attack: Attack) -> None:
        """See that a session ends by an attack, with a line in the log that says why and, where that is known, where."""
        with self.attacker(attack.state) as attacker:
            before = attacker.sent_bytes
            attacker.send(attack.data)
            line = attacker.ended()
        where = "" if attack.fault is None else rf" at byte {before + attack.fault}( \([0-9a-f ]+\))?"
        assert re.fullmatch(attack.ends + where, line["reason"])
        assert line["bytes_in"] <= before + len(attack.data)

    def check(self) -> None:
        """See that nobody but the attacker was harmed, and that the log has neither errors nor warnings of Python."""
        new = self.server.log[self._checked :]
        self._checked += len(new)
        bad = [line for line in new if line["level"] == "error" or line.get("source")]
        assert not bad, bad
        assert not self.server.noise, self.server.noise
        self.witness.check()
        assert self.server.media_worker() == self.worker

    def check_for_leaks(self) -> None:
        """See that all connections have ended with one line each, and gave back their descriptors and memory."""
        wait_until(lambda: self._closed().keys() >= set(self._sources), "the end of each connection in the log")
        assert self._closed() == Counter(self._sources)
        wait_until(lambda: self.server.open_files() <= self._files, f"{self._files} open files as before")
        resident, peak = memory_bytes(self.server.pid)
        worker, _ = memory_bytes(self.worker)
        figures = {
            "grown": resident - self._memory_bytes,
            "peak": peak - self._memory_bytes,
            "worker": worker - self._worker_bytes,
        }
        print(f"{figures}, witness at most {self.witness.worst_s:.2f} s of work late")  # noqa: T201
        assert figures["grown"] < GROWTH_BYTES, figures
        assert figures["peak"] < PEAK_BYTES, figures
        assert figures["worker"] < WORKER_GROWTH_BYTES, figures

    def _closed(self) -> Counter:
        ours = set(self._sources)
        return Counter(line["address"] for line in self.server.found("closed") if line["address"] in ours)
