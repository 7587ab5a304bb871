"""Connections: a session, a stream and a socket together, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import math
import struct
from itertools import pairwise

import pytest

from rtmpd.errors import Refused
from rtmpd.live.stream import StreamState
from rtmpd.net import connection as connection_module
from rtmpd.net.connection import Connection
from rtmpd.net.report import RateReporter
from rtmpd.net.services import RECEIVE_BUFFER_BYTES
from rtmpd.session.limits import Limits
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.commands import encode_command
from rtmpd.wire.messages import COMMAND_AMF0, USER_CONTROL, Message
from tests.helpers.live import PRIVATE, audio_frame, inter_frame, key_frame, metadata, video_header
from tests.helpers.rig import Later, Rig

GOING = Refused("NetConnection.Connect.AppShutdown", "going")


async def test_player_that_waits_gets_what_is_published_message_for_message():
    async with Rig() as rig:
        player = rig.connect()
        await player.open()
        await player.command("play", 3, None, "s", message_stream_id=1)
        publisher = await rig.publisher()
        sent = [metadata(width=320), video_header(), key_frame(0), audio_frame(10), inter_frame(40, size=100_000)]
        await publisher.send(*sent)
        await player.status("NetStream.Play.Start")
        received = await player.media(len(sent))

    assert [(m.type_id, m.timestamp_ms, m.body) for m in received] == [
        (m.type_id, m.timestamp_ms, m.body) for m in sent
    ]


async def test_late_player_starts_with_headers_and_the_newest_key_frame():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0), inter_frame(40), key_frame(1000), inter_frame(1040))
        await rig.until(lambda: rig.services.registry.find("live", "s").last_timestamp_ms == 1040)
        player = await rig.player()
        received = await player.media(3)

    assert [(m.timestamp_ms, m.body[:2]) for m in received] == [(1000, b"\x17\0"), (1000, b"\x17\1"), (1040, b"\x27\1")]


async def test_publisher_that_finishes_ends_its_players_who_are_told_and_then_closed():
    async with Rig(limits=Limits(linger_s=0.05)) as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        await publisher.command("deleteStream", 4, None, 1.0)
        await player.status("NetStream.Play.UnpublishNotify")
        await player.end()
        eof = [m for m in player.messages if m.type_id == USER_CONTROL and m.body == struct.pack(">HI", 1, 1)]

    assert len(eof) == 1
    assert rig.services.registry.find("live", "s") is None


async def test_player_that_is_behind_reads_the_rest_of_an_ended_stream_while_the_next_one_begins():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        player.pause_reading()
        await publisher.send(*(inter_frame(40 * number, size=100_000) for number in range(1, 60)))
        await rig.until(lambda: rig.services.fanout._blocked)
        await publisher.command("deleteStream", 4, None, 1.0)
        await rig.until(lambda: rig.services.registry.find("live", "s") is None)
        await rig.publisher()
        player.resume_reading()
        received = await player.media(61)
        await player.status("NetStream.Play.UnpublishNotify")

    assert received[-1].timestamp_ms == 40 * 59
    assert not [line for line in rig.lines if line["event"] == "internal error"]


async def test_publisher_that_drops_leaves_its_players_until_it_returns():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        publisher.close()
        stream = rig.services.registry.find("live", "s")
        await rig.until(lambda: stream.state is StreamState.GRACE)
        again = await rig.publisher()
        await again.send(video_header(), key_frame(0))
        received = await player.media(4)

    times = [message.timestamp_ms for message in received]
    assert times == sorted(times)
    assert times[-1] > 0


async def test_second_publisher_from_the_same_address_takes_over_and_the_first_is_closed_with_the_reason():
    async with Rig() as rig:
        first = await rig.publisher()
        await rig.publisher()
        await first.end()

    assert "replaced by another publisher" in rig.closed()[0]["reason"]


async def test_second_publisher_from_elsewhere_is_refused_with_bad_name_and_closed():
    async with Rig(limits=Limits(linger_s=0.05)) as rig:
        await rig.publisher()
        second = rig.connect(address="192.0.2.2")
        await second.open()
        await second.command("publish", 3, None, "s", "live", message_stream_id=1)
        refusal = await second.status("NetStream.Publish.BadName")
        await second.end()

    assert refusal.arguments[0]["level"] == "error"
    assert refusal.arguments[0]["description"]


async def test_player_without_a_publisher_is_refused_after_its_wait():
    async with Rig(wait_s=0.05, limits=Limits(linger_s=0.05)) as rig:
        player = rig.connect()
        await player.open()
        await player.command("play", 3, None, "nobody", message_stream_id=1)
        await player.status("NetStream.Play.StreamNotFound")
        await player.end()

    assert len(rig.services.registry) == 0


async def test_player_is_refused_at_once_where_nobody_may_wait():
    async with Rig(wait_s=0, limits=Limits(linger_s=0.05)) as rig:
        player = rig.connect()
        await player.open()
        await player.command("play", 3, None, "nobody", message_stream_id=1)
        await player.status("NetStream.Play.StreamNotFound")


async def test_refusal_of_the_policy_reaches_the_client_with_its_description():
    async with Rig(limits=Limits(linger_s=0.05)) as rig:
        rig.policy.refuse = ("NetStream.Publish.Denied", "not today")
        client = rig.connect()
        await client.open()
        await client.command("publish", 3, None, "s", "live", message_stream_id=1)
        refusal = await client.status("NetStream.Publish.Denied")
        await client.end()

    assert refusal.arguments[0]["description"] == "not today"


async def test_media_that_do_not_wait_for_the_grant_reach_players_and_those_behind_it_follow():
    async with Rig() as rig:
        player = await rig.player_that_waits()
        rig.policy.gate.clear()
        publisher = rig.connect()
        await publisher.open()
        await publisher.command("publish", 3, None, "s", "live", message_stream_id=1)
        await publisher.send(video_header(), key_frame(0))
        await publisher.ping()
        rig.policy.gate.set()
        await publisher.status("NetStream.Publish.Start")
        await publisher.send(inter_frame(40))
        received = await player.media(3)

    assert [(m.timestamp_ms, m.body[:2]) for m in received] == [(0, b"\x17\0"), (0, b"\x17\1"), (40, b"\x27\1")]


async def test_client_that_leaves_while_the_policy_decides_is_forgotten():
    async with Rig() as rig:
        rig.policy.gate.clear()
        client = rig.connect()
        await client.open()
        await client.command("publish", 3, None, "s", "live", message_stream_id=1)
        await rig.until(lambda: rig.services.tasks._tasks)
        client.close()
        await rig.until(lambda: not rig.services.connections)
        rig.policy.gate.set()
        await rig.until(lambda: not rig.services.tasks._tasks)

    assert len(rig.services.registry) == 0
    assert rig.failures == []


async def test_paused_player_gets_nothing_and_goes_on_at_a_key_frame():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        await player.command("pause", 5, None, True, 0.0, message_stream_id=1)
        await player.status("NetStream.Pause.Notify")
        await publisher.send(inter_frame(40), key_frame(1000), inter_frame(1040))
        await rig.until(lambda: rig.services.registry.find("live", "s").last_timestamp_ms == 1040)
        await player.command("pause", 6, None, False, 0.0, message_stream_id=1)
        await player.status("NetStream.Unpause.Notify")
        received = await player.media(5)

    assert [m.timestamp_ms for m in received] == [0, 0, 1000, 1000, 1040]


async def test_ping_is_answered_between_media_messages():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        await player.ping()


@pytest.mark.parametrize("may_jump", [True, False])
async def test_player_that_stops_reading_jumps_or_is_closed_and_others_see_no_gap(may_jump):
    async with Rig(may_jump=may_jump, bytes_=2_000_000) as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        good, slow = await rig.player(), await rig.player()
        await slow.media(2)
        slow.pause_reading()
        for number in range(1, 200):
            make = key_frame if number % 10 == 0 else inter_frame
            await publisher.send(make(40 * number, size=100_000))
            if number % 10 == 0:  # on a busy machine passes are 100 ms apart, and the log holds just 20 frames
                await good.media(number)
        times = [message.timestamp_ms for message in (await good.media(201))[1:]]
        assert times == [40 * number for number in range(200)]

        slow.resume_reading()
        if may_jump:
            await rig.until(lambda: slow.messages[-1].timestamp_ms == 40 * 199)
            numbers = [(m.timestamp_ms // 40, m.body[:2]) for m in slow.messages if m.type_id == 9]
            jumps = [now for before, now in pairwise(numbers) if now[0] > before[0] + 1]
            assert jumps
            assert all(body == b"\x17\0" for _, body in jumps)
        else:
            await slow.end()
            assert rig.closed()[0]["reason"] == "too slow: fell out of the log"


async def test_player_whose_socket_takes_nothing_is_given_up():
    async with Rig(lag_limit_s=0.05) as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        player.pause_reading()
        for number in range(1, 100):
            await publisher.send(inter_frame(40 * number, size=100_000))
        await rig.until(lambda: rig.services.fanout.cut_off_stalled(rig.loop.time()) or rig.closed())

    assert rig.closed()[0]["reason"].startswith("too slow: nothing taken for 0.05 s")


async def test_connection_that_was_closed_in_the_same_turn_does_nothing_more():
    async with Rig() as rig:
        client = await rig.publisher()
        await client.send(video_header())
        client.connection.evict("by somebody else")
        client.connection.on_readable()
        client.connection.on_writable()

    assert [line["reason"] for line in rig.closed()] == ["by somebody else"]
    assert not [line for line in rig.lines if line["event"] == "internal error"]


async def test_publisher_is_not_given_up_for_what_came_while_the_process_stood_still():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.ping()
        publisher.socket.send(encode_message(key_frame(0)._replace(chunk_stream_id=6), 128))
        rig.services.loop = Later(rig.loop, 30.0)
        publisher.connection._on_timer()
        assert rig.services.registry.find("live", "s").has_frames
        assert not rig.closed()
        rig.services.loop = Later(rig.loop, 60.0)
        publisher.connection._on_timer()

        assert [line["reason"] for line in rig.closed()] == ["timeout: nothing from the publisher for 20 s"]


async def test_every_connection_ends_with_one_line_that_says_why_and_how_much():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        player.close()
        await rig.until(lambda: len(rig.closed()) == 1)
        broken = rig.connect()
        await broken.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
        await broken._until(lambda: len(rig.closed()) == 2)

    first, second = rig.closed()[:2]
    assert (first["role"], first["stream"], first["reason"]) == ("play", "live/s", "peer closed")
    assert first["bytes_out"] > 0
    assert "HTTP on the RTMP port" in second["reason"]
    assert len(rig.closed()) == 3


async def test_own_bug_is_logged_with_its_traceback_and_ends_that_connection_only(monkeypatch):
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        victim = await rig.player()
        await victim.media(2)

        def fail(*_):
            raise ZeroDivisionError

        monkeypatch.setattr(type(victim.connection._session), "receive_data", fail)
        await victim.command("anything", 9, None)
        await rig.until(rig.closed)
        monkeypatch.undo()
        await publisher.send(inter_frame(40))
        await rig.until(lambda: rig.services.registry.find("live", "s").last_timestamp_ms == 40)

    assert rig.closed()[0]["reason"] == "internal error"
    assert [line for line in rig.lines if line.get("exc_info")]


async def test_own_bug_in_a_decision_closes_the_connection_that_waits_for_it():
    async with Rig() as rig:

        async def fail(*_):
            raise ZeroDivisionError

        rig.policy.admit_publisher = fail
        client = rig.connect()
        await client.open()
        await client.command("publish", 3, None, "s", "live", message_stream_id=1)
        await client.end()

    assert rig.closed()[0]["reason"] == "internal error"


async def test_player_stays_when_another_publisher_takes_over():
    async with Rig() as rig:
        first = await rig.publisher()
        await first.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        second = await rig.publisher()
        await second.send(video_header(), key_frame(0))
        received = await player.media(4)

    assert received[-1].timestamp_ms > 0


async def command_in_one_piece(client, *commands):
    """Send several commands so that they arrive together."""
    data = b""
    for name, transaction_id, values, message_stream_id in commands:
        body = encode_command(name, transaction_id, *values)
        data += encode_message(Message(COMMAND_AMF0, 0, message_stream_id, body, 3), 128)
    await client.send_bytes(data)


async def test_two_requests_that_arrive_together_are_both_answered():
    async with Rig() as rig:
        client = rig.connect()
        await client.open()
        await client.command("createStream", 3, None)
        await client.response("_result")
        await command_in_one_piece(
            client, ("publish", 0, (None, "a", "live"), 1), ("publish", 0, (None, "b", "live"), 2)
        )
        await client.status("NetStream.Publish.Start")
        await client.status("NetStream.Publish.Start")
        assert len(rig.services.registry) == 2


async def test_connection_cannot_take_a_stream_over_from_itself():
    async with Rig() as rig:
        client = await rig.publisher()
        await client.command("createStream", 3, None)
        await client.response("_result")
        await client.command("publish", 0, None, "s", "live", message_stream_id=2)
        await client.status("NetStream.Publish.BadName")
        assert rig.closed() == []


async def test_connection_may_end_its_own_stream_and_its_play_of_it_at_once():
    async with Rig() as rig:
        client = rig.connect()
        await client.open()
        await client.command("createStream", 3, None)
        await client.response("_result")
        await client.command("publish", 0, None, "s", "live", message_stream_id=2)
        await client.status("NetStream.Publish.Start")
        await client.play("s")
        await command_in_one_piece(client, ("deleteStream", 0, (None, 2.0), 0), ("deleteStream", 0, (None, 1.0), 0))
        await client.ping()
        assert len(rig.services.registry) == 0

    assert not [line for line in rig.lines if line["event"] == "internal error"]


async def test_peer_whose_bytes_are_costly_gets_less_of_each_turn_and_more_again_later(monkeypatch):
    async with Rig() as rig:
        publisher = await rig.publisher()
        connection = publisher.connection
        monkeypatch.setattr(connection_module, "READ_SLICE_S", -1.0)
        for _ in range(6):
            await publisher.ping()
            publisher.messages.clear()
        assert connection._window_bytes == connection_module.LEAST_WINDOW_BYTES
        monkeypatch.setattr(connection_module, "READ_SLICE_S", math.inf)
        for _ in range(6):
            await publisher.ping()
            publisher.messages.clear()
        assert connection._window_bytes == RECEIVE_BUFFER_BYTES


async def test_connection_that_has_ended_is_freed_without_the_collector():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        player.close()
        player.connection = None
        gc.collect()
        gc.disable()
        try:
            await rig.until(rig.closed)
            connections = [each for each in gc.get_objects() if type(each) is Connection]
        finally:
            gc.enable()

    assert len(connections) == 1


async def test_publisher_of_jumping_timestamps_is_reported_once_a_second(monkeypatch):
    monkeypatch.setattr(connection_module, "RateReporter", lambda log, _clock: RateReporter(log, lambda: 0.0))
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        for number in range(1, 20):
            await publisher.send(key_frame(100_000 * (number % 2)))
        await rig.until(lambda: rig.services.registry.find("live", "s").publication.frames == 20)

    assert len([line for line in rig.lines if line["event"] == "timestamps jump"]) == 1


async def test_player_of_a_private_stream_waits_until_it_is_revealed_and_is_told_when_it_is_hidden():
    async with Rig() as rig:
        rig.policy.terms = PRIVATE
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = rig.connect()
        await player.open()
        await player.command("play", 3, None, "s", message_stream_id=1)
        await player.ping()
        stream = rig.services.registry.find("live", "s")
        assert not [message for message in player.messages if message.type_id == 9]

        stream.reveal()
        await player.status("NetStream.Play.Start")
        await player.media(2)
        stream.hide("push stopped")
        await player.status("NetStream.Play.UnpublishNotify")
        await player.end()
        eof = [m for m in player.messages if m.type_id == USER_CONTROL and m.body == struct.pack(">HI", 1, 1)]
        await publisher.send(inter_frame(40))
        await publisher.ping()

        assert len(eof) == 1
        assert stream.publication is not None


async def test_player_that_is_behind_when_its_stream_is_hidden_is_told_in_the_end_though_the_stream_goes_on():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        player.pause_reading()
        await publisher.send(*(inter_frame(40 * number, size=100_000) for number in range(1, 60)))
        await rig.until(lambda: rig.services.fanout._blocked)
        rig.services.registry.find("live", "s").hide("push stopped")
        await publisher.send(inter_frame(40 * 60, mark=7))
        await publisher.ping()
        player.resume_reading()
        await player.status("NetStream.Play.UnpublishNotify")
        await player.end()

    assert all(message.timestamp_ms < 40 * 60 for message in player.messages if message.type_id == 9)


async def test_player_of_a_private_stream_is_refused_as_if_nobody_published():
    async with Rig(wait_s=0.05) as rig:
        rig.policy.terms = PRIVATE
        await rig.publisher()
        player = rig.connect()
        await player.open()
        await player.command("play", 3, None, "s", message_stream_id=1)
        refusal = await player.status("NetStream.Play.StreamNotFound")

    assert refusal.arguments[-1]["description"].startswith("nobody published live/s")


class SlowJournal:
    def __init__(self):
        self.written = asyncio.Event()
        self.told = []

    async def began(self, publication):
        self.told.append("begins")
        await self.written.wait()
        self.told.append("began")

    def over(self, publication, reason, *, clean):
        self.told.append(("over", clean))


async def test_publisher_is_told_to_go_ahead_once_it_is_written_down():
    async with Rig() as rig:
        journal = rig.services.journal = SlowJournal()
        publisher = rig.connect()
        await publisher.open()
        await publisher.command("publish", 3, None, "s", "live", message_stream_id=1)
        await rig.until(lambda: journal.told)
        await publisher.ping()
        before = [m for m in publisher.messages if b"NetStream.Publish.Start" in m.body]
        journal.written.set()
        await publisher.status("NetStream.Publish.Start")
        await publisher.command("deleteStream", 4, None, 1.0)
        await rig.until(lambda: len(journal.told) > 2)

    assert not before
    assert journal.told == ["begins", "began", ("over", True)]


async def test_publisher_that_leaves_while_it_is_written_down_leaves_no_stream():
    async with Rig() as rig:
        journal = rig.services.journal = SlowJournal()
        publisher = rig.connect()
        await publisher.open()
        await publisher.command("publish", 3, None, "s", "live", message_stream_id=1)
        await rig.until(lambda: journal.told)
        publisher.close()
        await rig.until(rig.closed)
        rig.services.registry.end_overdue(rig.loop.time() + 1000)

        assert rig.services.registry.find("live", "s") is None
        assert journal.told == ["begins", ("over", False)]
        assert not rig.failures


async def test_request_to_reconnect_reaches_a_player_that_is_behind_between_media_messages():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player(properties={"capsEx": 1.0})
        await player.media(2)
        player.pause_reading()
        for number in range(1, 40):
            await publisher.send(inter_frame(40 * number, size=100_000))
        await publisher.ping()
        assert player.connection.send_away(GOING, "rtmp://b.example")
        await publisher.send(inter_frame(1600))
        player.resume_reading()
        received = await player.media(42)
        (info,) = (await player.status("NetConnection.Connect.ReconnectRequest")).arguments

    assert (info["tcUrl"], info["description"]) == ("rtmp://b.example/live", "going")
    assert [message.timestamp_ms for message in received[1:]] == [40 * number for number in range(41)]


async def test_connection_in_its_handshake_is_refused_when_it_was_sent_away():
    async with Rig(limits=Limits(linger_s=0.05)) as rig:
        client = rig.connect()
        await client.shake_hands()
        assert not client.connection.send_away(GOING, None)
        await client.command("connect", 1, {"app": "live", "capsEx": 1.0})
        (info,) = (await client.response("_error")).arguments
        await client.end()

    assert (info["code"], info["description"]) == (GOING.code, "going")
    assert [line["reason"] for line in rig.closed()] == [f"refused: {GOING}"]


async def test_publisher_that_drops_while_nobody_may_connect_ends_its_players_at_once():
    async with Rig(limits=Limits(linger_s=0.05)) as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        rig.services.connect_refusal = GOING
        publisher.close()
        await player.status("NetStream.Play.UnpublishNotify")
        await player.end()

    assert rig.services.registry.find("live", "s") is None


async def test_who_connects_is_refused_while_connects_are():
    async with Rig(limits=Limits(linger_s=0.05)) as rig:
        player = await rig.player_that_waits()
        rig.services.connect_refusal = GOING
        client = rig.connect()
        await client.shake_hands()
        await client.command("connect", 1, {"app": "live"})
        await client.response("_error")
        await client.end()
        await player.ping()
