"""
Too much, too slow, too sudden, against a real server: cases 9 and 68 to 73 of protocol.md, section 8.2 (see test_hostile).

A session that is too slow or silent ends with its reason in the log; one that sends as fast as it can goes on, and
harms nobody; and what any of them costs is bounded.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import resource
import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple

import av
import pytest

from rtmpd.wire.messages import AGGREGATE, Message
from tests.helpers.attack import DEADLINE_S, HANDSHAKE, STATES, Arena, wire
from tests.helpers.chunks import header, set_chunk_size
from tests.helpers.processes import wait_until
from tests.helpers.transcript import audio, data, video
from tests.helpers.witness import WITNESS

pytestmark = pytest.mark.e2e

HALF_OPEN = 10_000
HALF_OPEN_S = 5
"""Of the server's processor time, for all of them: half a second is usual."""
PER_ADDRESS = 500
ADMITTED_PER_ADDRESS = 200
SPARE_FILES = 200
"""Descriptors of the test itself."""
FLOOD_S = 1.5
"""More than the server may work before it passes on a frame of the witness."""
RECORDINGS = 6
LOG_BYTES = 16 << 20
"""What the log of a stream keeps, by default."""
SLACK_BYTES = 48 << 20
KERNEL_BYTES = 512 << 10
"""128 KiB unsent, and what fits into a small receive buffer; without limits, several megabytes."""
SMALL_BUFFER_BYTES = 16 << 10
pause = threading.Event().wait


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    with Arena(tmp_path_factory.mktemp("arena")) as arena:
        yield arena


@pytest.fixture(autouse=True)
def nobody_else_is_harmed(arena):
    yield
    arena.check()


# Half-open connections


@pytest.fixture
def descriptors():
    """How many connections this process may open, after raising its limit as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard - len(list(Path("/proc/self/fd").iterdir())) - SPARE_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def half_open(arena, stack, count, source):
    """Connect often from one address, and send nothing."""
    opened = []
    for _ in range(count):
        connection = stack.enter_context(socket.socket())
        connection.bind((source, 0))
        connection.connect(arena.server.address)
        connection.settimeout(20)
        opened.append(connection)
    return opened


def end_of(connection):
    with contextlib.suppress(ConnectionResetError):
        assert connection.recv(1) == b""


def test_9_10_000_half_open_connections_end_and_cost_little(arena, descriptors):
    count = min(HALF_OPEN, descriptors)
    files = arena.server.open_files()
    began_s = arena.server.cpu_s()
    with contextlib.ExitStack() as stack:
        sources = [arena.source() for _ in range(0, count, PER_ADDRESS)]
        opened = [each for source in sources for each in half_open(arena, stack, PER_ADDRESS, source)]
        most = arena.server.open_files()
        for connection in opened:
            end_of(connection)
    worked_s = arena.server.cpu_s() - began_s

    def ended():
        return [line for line in arena.server.found("closed") if line["address"] in sources]

    wait_until(lambda: len(ended()) >= ADMITTED_PER_ADDRESS, "the end of those admitted")
    print(f"{len(opened)} half-open connections cost {worked_s:.1f} s, {len(ended())} of them were admitted")  # noqa: T201
    assert {line["reason"] for line in ended()} == {f"timeout: no handshake within {DEADLINE_S} s"}
    assert len(ended()) < len(opened)
    assert most < files + 700
    assert arena.server.found("connections refused: a limit on connections is reached")
    assert worked_s < HALF_OPEN_S


def test_9_half_open_connections_of_one_address_do_not_shut_others_out(arena):
    source = arena.source()
    with contextlib.ExitStack() as stack:
        opened = half_open(arena, stack, 2 * ADMITTED_PER_ADDRESS, source)
        with arena.attacker() as other:
            other.play(WITNESS)
            other.receive_until(lambda: other.media, "a frame")
        for connection in opened:
            end_of(connection)
    wait_until(
        lambda: len(arena.server.found("closed", address=source)) == ADMITTED_PER_ADDRESS, "the end of those admitted"
    )


# Slow players


class Torrent:
    """A publisher of 20 KB every 10 ms, in groups of 25; to be used as a context manager."""

    def __init__(self, arena, name):
        self._attacker = arena.attacker().publish(name)
        self._attacker.send(set_chunk_size(65_536))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_error):
        self._stop.set()
        self._thread.join()
        self._attacker.__exit__()

    def _run(self):
        number = 0
        while not self._stop.wait(0.01):
            body = bytes((0x27 if number % 25 else 0x17, 1, 0, 0, 0)) + bytes(20_000)
            self._attacker.send(wire(video(body, number * 10), chunk_size=65_536))
            number += 1


def test_68_69_players_that_read_nothing_or_a_byte_at_a_time_are_let_go_and_cost_little(arena):
    resident_bytes = arena.server.resident_bytes()
    with (
        Torrent(arena, "torrent"),
        arena.attacker(receive_buffer_bytes=SMALL_BUFFER_BYTES) as never,
        arena.attacker(receive_buffer_bytes=SMALL_BUFFER_BYTES) as seldom,
    ):
        players = (never.play("torrent"), seldom.play("torrent"))
        unsent_bytes = dict.fromkeys(players, 0)
        while not all(arena.server.found("closed", address=player.source) for player in players):
            seldom.receive_bytes(1)
            unsent_bytes |= {player: max(unsent_bytes[player], player.unsent_bytes()) for player in players}
            pause(0.1)
        grown_bytes = arena.server.resident_bytes() - resident_bytes
        reasons = [player.log_line()["reason"] for player in players]
    print(f"unsent {list(unsent_bytes.values())} bytes, grown {grown_bytes} bytes")  # noqa: T201
    assert reasons == [f"too slow: nothing taken for {DEADLINE_S} s"] * 2
    assert all(0 < unsent < KERNEL_BYTES for unsent in unsent_bytes.values())
    assert grown_bytes < SLACK_BYTES


# Fast publishers


PART = b"\x08\0\0\x03\0\0\0\0\0\0\0\xaf\x01x\0\0\0\x0e"
HEADERS = [video(bytes.fromhex("17000000000164001effe1000467640014010004eebecb22")), audio(bytes.fromhex("af001190"))]
GROUP = [video(b"\x17\x01\0\0\0" + bytes(30_000)), *[video(b"\x27\x01\0\0\0" + bytes(30_000))] * 24]


class Flood(NamedTuple):
    """What is sent over and over, at the end of a frame of three bytes of sound."""

    unit: bytes
    app: str = "live"
    seconds: float = 0.3


FLOODS = {
    "pictures of 30 KB": Flood(wire(*GROUP, chunk_size=65_536)),
    "pictures of 30 KB, recorded": Flood(wire(*GROUP, chunk_size=65_536), "recorded"),
    "pictures in chunks of 128 bytes": Flood(set_chunk_size(128) + wire(*GROUP)),
    "pictures of 1 MB": Flood(wire(video(b"\x17\x01\0\0\0" + bytes(1 << 20)), chunk_size=65_536)),
    "pictures without a key frame": Flood(wire(*GROUP[1:], chunk_size=65_536)),
    "sounds of a byte": Flood(wire(audio(b"\xaf\x01x")), seconds=FLOOD_S),
    "sounds of a byte, recorded": Flood(wire(audio(b"\xaf\x01x")), "recorded"),
    "sounds of a byte without headers": Flood(b"\xc4\xaf\x01x"),
    "pictures of a byte": Flood(wire(video(b"\x27\x01\0\0\0x"))),
    "key frames of a byte, recorded": Flood(wire(video(b"\x17\x01\0\0\0x")), "recorded"),
    "headers": Flood(wire(HEADERS[0])),
    "data of a byte": Flood(wire(data(b"\x05")), "recorded"),
    "nothing": Flood(wire(video(b""))),
    "nothing of an unknown type": Flood(wire(Message(21, 0, 0, b"", 9)), seconds=FLOOD_S),
    "aggregates": Flood(wire(Message(AGGREGATE, 0, 1, PART * 1000, 7), chunk_size=65_536)),
}


def send_for(attacker, unit, seconds):
    """Send as fast as the server takes it, without an interpreter's loop for each message."""
    block = unit * max(1, (1 << 18) // len(unit))
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        attacker.send(block)


@pytest.mark.parametrize("name", [pytest.param(name, id=f"70 {name}") for name in FLOODS])
def test_a_publisher_as_fast_as_it_can_be_harms_nobody(name, arena):
    unit, app, seconds = FLOODS[name]
    announced = arena.server.wait_for("serving")["bytes_per_stream"]
    resident_bytes = arena.server.resident_bytes()
    with arena.attacker() as publisher:
        publisher.publish(name, app)
        publisher.send(set_chunk_size(65_536) + wire(*HEADERS, audio(b"\xaf\x01x"), chunk_size=65_536))
        before = publisher.sent_bytes
        send_for(publisher, unit, seconds)
        rate = (publisher.sent_bytes - before) / seconds
        grown_bytes = arena.server.resident_bytes() - resident_bytes
        arena.check()
        publisher.reset()  # or the server would be busy for seconds with what its kernel holds of it
        assert publisher.log_line()["reason"] == "Connection reset by peer"
    late_s = arena.witness.worst_s
    print(f"{name}: {rate / 1e6:.0f} MB/s, grown {grown_bytes >> 20} MiB, witness at most {late_s:.2f} s late")  # noqa: T201
    assert grown_bytes < announced + SLACK_BYTES
    if app == "recorded":
        assert_recorded(arena, f"recorded/{name}")


def assert_recorded(arena, path):
    """See that the stream's one file is complete and opens."""
    closed = arena.server.wait_for("recording closed", stream=path)
    (started,) = arena.server.found("recording started", stream=path)
    assert closed["audio_frames"]
    with av.open(started["path"]) as container:
        assert len(list(itertools.islice(container.demux(), 5))) >= 2


def test_70_recordings_that_have_ended_give_their_memory_back(arena):
    resident_bytes = arena.server.resident_bytes()
    for number in range(RECORDINGS):
        with arena.attacker() as publisher:
            publisher.publish(f"ended {number}", "recorded")
            publisher.send(set_chunk_size(65_536) + wire(*HEADERS, *GROUP * 25, chunk_size=65_536))
            publisher.ping()
        arena.server.wait_for("recording closed", stream=f"recorded/ended {number}")
    grown_bytes = arena.server.resident_bytes() - resident_bytes
    print(f"grown {grown_bytes >> 20} MiB by {RECORDINGS} recordings")  # noqa: T201
    assert grown_bytes < RECORDINGS * LOG_BYTES // 2


# Sudden ends

PARTS = {
    "half a handshake": HANDSHAKE[:2000],
    "half a header": header(0, 9, length=100)[:7],
    "half a message": header(0, 9, length=100) + bytes(9),
}
LEFTOVERS = [
    ("open", "half a handshake"),
    *((state, part) for state in ("shaken", "publishing", "playing") for part in list(PARTS)[1:]),
]


@pytest.mark.parametrize(("state", "part"), [*((state, None) for state in STATES), *LEFTOVERS])
def test_71_a_reset_in_any_state_ends_the_session(state, part, arena):
    with arena.attacker(state) as attacker:
        attacker.send(PARTS.get(part, b""))
        attacker.reset()
        reason = attacker.log_line()["reason"]
    assert re.fullmatch("(Connection reset by peer|Broken pipe|peer closed)( before .+)?", reason)


def test_71_resets_right_after_connecting_leave_nothing(arena):
    for _ in range(200):
        with arena.attacker() as attacker:
            attacker.reset()


@pytest.mark.parametrize(("state", "part"), [*((state, None) for state in STATES), *LEFTOVERS])
def test_72_a_peer_that_closes_its_direction_is_closed(state, part, arena):
    with arena.attacker(state) as attacker:
        attacker.send(PARTS.get(part, b""))
        attacker.stop_sending()
        line = attacker.ended()
    assert re.fullmatch("peer closed( before .+)?", line["reason"])
    assert line["bytes_in"] == attacker.sent_bytes


def test_73_who_falls_silent_is_let_go_and_its_name_is_free(arena):
    names = ["half a header", "half a message", "between messages"]
    reasons = {
        "shaken": f"timeout: no connect within {DEADLINE_S} s",
        "connected": f"timeout: neither publish nor play within {DEADLINE_S} s",
        "waiting": f"refused: NetStream.Play.StreamNotFound: nobody published live/nobody for {DEADLINE_S} s",
    } | dict.fromkeys(names, f"timeout: nothing from the publisher for {DEADLINE_S} s")
    with contextlib.ExitStack() as stack:
        silent = {what: stack.enter_context(arena.attacker()) for what in reasons}
        for name in names:
            silent[name].publish(name).send(wire(video()) + PARTS.get(name, b""))
        silent["shaken"].shake_hands()
        silent["connected"].connect()
        silent["waiting"].play("nobody")
        for what, reason in reasons.items():
            assert silent[what].ended()["reason"] == reason
        for name in names:
            stack.enter_context(arena.attacker()).publish(name)


def test_nothing_is_left_of_it(arena):
    arena.check_for_leaks()
