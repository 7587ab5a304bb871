"""A player that does not read harms itself only: not the others, and not the server's memory or the kernel's."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from rtmpd.wire.messages import AUDIO, VIDEO
from tests.helpers.media import is_frame, is_key_frame
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import Connection, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

GROUP = 25
PICTURE_BYTES = 20_000
GROUP_BYTES = GROUP * PICTURE_BYTES
LOG_BYTES = 2_000_000
CONFIG = """
[apps.live]
[log]
gop_bytes = {log_bytes}
[players]
{players}
"""
JUMP = 'lag = "jump"\nlag_limit_s = 300'
DISCONNECT = 'lag = "disconnect"\nlag_limit_s = 300'
SMALL_BUFFER_BYTES = 64 * 1024
KERNEL_BYTES = 512 * 1024
"""128 KiB unsent, and what fits into the small buffer of the client and is not acknowledged; without limits, 2.5 MB."""
OVERHEAD_BYTES = 16_000_000
"""Resident memory of the server beyond its log: an allocator's slack, with room."""


class Picture:
    """Made-up pictures that carry their number."""

    header = bytes.fromhex("170000000001640014ffe10000010000")

    def __init__(self, number):
        self.is_key = number % GROUP == 0
        self.body = bytes((0x17 if self.is_key else 0x27, 1, 0, 0, 0)) + number.to_bytes(4, "big")
        self.body += bytes(PICTURE_BYTES - len(self.body))


def number_of(message):
    return int.from_bytes(message.body[5:9], "big")


def numbers(player):
    return [number_of(message) for message in list(player.media) if is_frame(message)]


class Encoder:
    """Sends groups of pictures, each after all that are to keep up have received the one before."""

    def __init__(self, connection, readers):
        self.connection = connection
        self.readers = readers
        self.sent = 0
        connection.send_media(VIDEO, 0, Picture.header)
        connection.send_media(AUDIO, 0, bytes.fromhex("af001190"))

    def send_groups(self, count, pause_s=0.0):
        for _ in range(count):
            for _ in range(GROUP):
                self.connection.send_media(VIDEO, self.sent * 40, Picture(self.sent).body)
                self.sent += 1
            for reader in self.readers:
                reader.wait_until(lambda reader=reader: newest(reader) >= self.sent - 1, f"picture {self.sent - 1}")
            threading.Event().wait(pause_s)


def newest(player):
    last = player.media[-1] if player.media else None
    return number_of(last) if last is not None and is_frame(last) else -1


@pytest.fixture
def serve(directory, certificate):
    def serve(players):
        return Server(directory, CONFIG.format(log_bytes=LOG_BYTES, players=players), certificate=certificate)

    return serve


@contextlib.contextmanager
def audience(server, count, tls=None):
    """Players that read, one that is about to stop, and an encoder that all of them watch."""
    address = server.address if tls is None else server.tls_address
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Player(address, "s", tls=tls)) for _ in range(count)]
        slow = stack.enter_context(Player(address, "s", receive_buffer_bytes=SMALL_BUFFER_BYTES, tls=tls))
        connection = stack.enter_context(Connection(server.address).connect().publish("s"))
        encoder = Encoder(connection, readers)
        encoder.send_groups(1)
        slow.wait_until(lambda: newest(slow) == GROUP - 1, "the first group")
        yield encoder, readers, slow


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_player_that_stops_reading_goes_on_at_a_key_frame_and_nobody_else_notices(secure, serve, certificate, prove):
    count = 50 if prove else 4
    tls = certificate.context() if secure else None
    with serve(JUMP) as server, audience(server, count, tls) as (encoder, readers, slow):
        slow.stall()
        encoder.send_groups(8)
        resident_bytes = server.resident_bytes()
        kernel_bytes = server.unsent_bytes(slow.connection.port)

        stalled_s = time.monotonic()
        encoder.send_groups(110 if prove else 30, pause_s=0.5 if prove else 0.0)
        stalled_s = time.monotonic() - stalled_s
        grown_bytes = server.resident_bytes() - resident_bytes
        kernel_bytes = max(kernel_bytes, server.unsent_bytes(slow.connection.port))
        slow.go_on()
        slow.wait_until(lambda: newest(slow) == encoder.sent - 1, "the newest picture")
        encoder.send_groups(2)
        slow.wait_until(lambda: newest(slow) == encoder.sent - 1, "the newest picture")

        assert not any(reader.ended for reader in readers)

    print(f"stalled {stalled_s:.0f} s, grown {grown_bytes} bytes, kernel {kernel_bytes} bytes")  # noqa: T201
    for reader in readers:
        assert numbers(reader) == list(range(encoder.sent))
    assert 0 < kernel_bytes < KERNEL_BYTES
    assert grown_bytes < OVERHEAD_BYTES
    assert_goes_on_properly(slow.media)


def assert_goes_on_properly(media):
    """See that every gap ends with the headers and then a key frame, and that there is one."""
    gaps = 0
    last, headers = -1, []
    for message in media:
        if not is_frame(message):
            headers.append(message)
            continue
        if number_of(message) != last + 1:
            gaps += 1
            assert is_key_frame(message)
            assert {header.type_id for header in headers} == {AUDIO, VIDEO}
            assert {header.timestamp_ms for header in headers} == {message.timestamp_ms}
        assert message.timestamp_ms == number_of(message) * 40
        last, headers = number_of(message), []
    assert gaps > 0


def test_a_player_that_falls_out_of_the_log_is_disconnected_where_the_configuration_says_so(serve):
    with serve(DISCONNECT) as server, audience(server, 2) as (encoder, readers, slow):
        slow.stall()
        encoder.send_groups(20)
        slow.go_on()
        slow.wait_for_end()
        encoder.send_groups(2)
        assert [numbers(reader) for reader in readers] == [list(range(encoder.sent))] * 2

    assert numbers(slow) == list(range(len(numbers(slow))))
    assert server.wait_for("closed", reason="too slow: fell out of the log")["role"] == "play"


def test_a_player_that_takes_nothing_for_too_long_is_disconnected(serve):
    # A limit that the reader keeps, though it may stand still for a moment.
    with serve("lag_limit_s = 5") as server, audience(server, 1) as (encoder, readers, slow):
        slow.stall()
        encoder.send_groups(4)
        closed = server.wait_for("closed", role="play")
        encoder.send_groups(2)
        assert numbers(readers[0]) == list(range(encoder.sent))

    assert closed["reason"] == "too slow: nothing taken for 5 s"


def test_a_publisher_that_sends_without_end_and_nobody_reads_does_not_grow_the_server(serve):
    with serve(JUMP) as server, Connection(server.address).connect().publish("s") as connection:
        encoder = Encoder(connection, [])
        encoder.send_groups(20)
        resident_bytes = server.resident_bytes()
        encoder.send_groups(80)
        with Player(server.address, "s") as late:
            wait_until(lambda: newest(late) == encoder.sent - 1, "the newest picture")

        assert server.resident_bytes() - resident_bytes < OVERHEAD_BYTES
