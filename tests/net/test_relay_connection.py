"""One try of a push relay, against targets that are played by hand."""

from __future__ import annotations

import os
import socket

import pytest

from rtmpd.net.client_connection import Parting
from rtmpd.net.dial import Dialled
from rtmpd.net.relay_connection import RelayConnection
from rtmpd.session.client import ClientSession
from rtmpd.session.limits import ClientLimits
from rtmpd.session.replies import error, on_status
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.handshake import RANDOM_BYTES
from rtmpd.wire.messages import PING_REQUEST, PING_RESPONSE, USER_CONTROL, encode_user_control
from tests.helpers.live import inter_frame, key_frame, video_header
from tests.helpers.relays import ADDRESS, Hand
from tests.helpers.rig import Rig, tcp_pair
from tests.helpers.transcript import command

URL = RtmpUrl.parse("rtmp://bob:secret@target.example/app/key")


class Try:
    """A rig with a published stream, a connection to a target, and the target's hand."""

    def __init__(self, **limits):
        self.rig = Rig(lag_limit_s=0.5)
        self._limits = ClientLimits(**limits)
        self.lives = 0

    async def __aenter__(self):
        self.publisher = await self.rig.publisher()
        await self.publisher.send(video_header(), key_frame(0))
        stream = self.rig.services.registry.find("live", "s")
        await self.rig.until(lambda: stream.has_frames)
        ours, theirs = tcp_pair()
        self.hand = Hand(ours)
        session = ClientSession(URL, "publish", self._limits, os.urandom(RANDOM_BYTES), self.rig.loop.time())
        self.connection = RelayConnection(
            self.rig.services, Dialled(theirs, ADDRESS), session, stream.log, self.count_life
        )
        return self

    async def __aexit__(self, *_):
        self.connection.close(Parting("test ends"))
        self.hand.socket.close()
        await self.rig.__aexit__()

    def count_life(self):
        self.lives += 1


async def test_the_media_follow_the_grant_and_a_ping_is_answered_between_them():
    async with Try() as attempt:
        await attempt.hand.grant()
        await attempt.hand.media(2)
        await attempt.hand.say(encode_user_control(PING_REQUEST, 5))
        await attempt.publisher.send(inter_frame(40, size=200_000), inter_frame(80))

        seen = [await attempt.hand.message() for _ in range(3)]

    assert attempt.lives == 1
    pong = encode_user_control(PING_RESPONSE, 5)
    assert [m.body for m in seen if m.type_id == USER_CONTROL] == [pong.body]
    assert [m.timestamp_ms for m in seen if m.type_id != USER_CONTROL] == [40, 80]


async def test_another_message_stream_is_served_as_well():
    async with Try() as attempt:
        await attempt.hand.grant(7)
        await attempt.publisher.send(inter_frame(40, size=200_000))

        media = await attempt.hand.media(3)

    assert [(m.message_stream_id, m.timestamp_ms, m.body[:2]) for m in media] == [
        (7, 0, b"\x17\0"),
        (7, 0, b"\x17\1"),
        (7, 40, b"\x27\1"),
    ]


async def test_a_finish_sends_the_rest_and_says_goodbye():
    async with Try() as attempt:
        await attempt.hand.grant()
        await attempt.rig.until(lambda: attempt.lives)
        await attempt.publisher.send(inter_frame(40, size=500_000))
        await attempt.rig.until(lambda: attempt.connection.bytes_out > 1000 or attempt.connection._sink.blocked)

        attempt.connection.finish("over")
        await attempt.hand.media(3)
        await attempt.hand.command("FCUnpublish")
        await attempt.hand.command("deleteStream")
        await attempt.hand.end()

        assert await attempt.connection.ended == Parting("over")


@pytest.mark.parametrize(
    ("answer", "parting"),
    [
        (
            error(1, "NetConnection.Connect.InvalidApp", "no"),
            Parting("refused: NetConnection.Connect.InvalidApp: no", may_retry=False),
        ),
        (
            on_status(1, "NetStream.Publish.BadName", "taken"),
            Parting("refused: NetStream.Publish.BadName: taken"),
        ),
        (
            error(1, "NetConnection.Connect.Rejected", "[ code=403 need auth; authmod=adobe ]"),
            Parting("the target asks for user and password", auth_query="authmod=adobe&user=bob"),
        ),
        (command("close", 0), Parting("ended by the server: close")),
    ],
)
async def test_what_the_target_says_instead_of_a_grant_is_the_parting(answer, parting):
    async with Try() as attempt:
        await attempt.hand.open()
        await attempt.hand.say(answer)

        assert await attempt.connection.ended == parting
        assert attempt.lives == 0


async def test_a_target_that_sends_us_elsewhere_is_left_properly():
    async with Try() as attempt:
        await attempt.hand.grant()
        await attempt.hand.media(2)
        info = {"level": "status", "code": "NetConnection.Connect.ReconnectRequest", "tcUrl": "rtmp://b/x"}
        await attempt.hand.say(command("onStatus", 0, None, info))
        await attempt.hand.command("deleteStream")

        parting = await attempt.connection.ended

    assert parting.url == RtmpUrl.parse("rtmp://bob:secret@b/x/key")


@pytest.mark.parametrize(
    ("resets", "reason"),
    [
        (False, "peer closed before it answered connect"),
        (True, "Connection reset by peer before it answered connect"),
    ],
)
async def test_a_target_that_closes_or_resets_is_parted_from(resets, reason):
    async with Try() as attempt:
        await attempt.hand.open()
        await attempt.hand.command("connect")
        if resets:
            attempt.hand.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        attempt.hand.socket.close()

        assert await attempt.connection.ended == Parting(reason)


async def test_a_target_that_says_nothing_is_given_up_by_a_deadline():
    async with Try(handshake_s=0.05) as attempt:
        assert await attempt.connection.ended == Parting("timeout: no handshake within 0.05 s")


@pytest.mark.parametrize(("finishing", "reason"), [(False, "too slow: nothing taken for 0.5 s"), (True, "over")])
async def test_a_target_that_takes_nothing_is_given_up_and_not_even_goodbye_keeps_us(finishing, reason):
    async with Try() as attempt:
        await attempt.hand.grant()
        await attempt.rig.until(lambda: attempt.lives)
        for time_ms in range(40, 4000, 40):
            await attempt.publisher.send(inter_frame(time_ms, size=100_000))
        await attempt.rig.until(lambda: attempt.connection._sink.blocked)
        if finishing:
            attempt.connection.finish("over")
        cut_off, loop = attempt.rig.services.fanout.cut_off_stalled, attempt.rig.loop
        await attempt.rig.until(lambda: cut_off(loop.time() + 1) or attempt.connection.ended.done())

        assert await attempt.connection.ended == Parting(reason)


async def test_a_fault_of_ours_is_loud_and_ends_only_this_try(monkeypatch):
    async with Try() as attempt:
        monkeypatch.setattr(ClientSession, "receive_data", lambda *_: 1 / 0)
        await attempt.rig.loop.sock_sendall(attempt.hand.socket, b"x")

        assert await attempt.connection.ended == Parting("internal error")
        monkeypatch.undo()
        assert [line["event"] for line in attempt.rig.lines if "exc_info" in line] == ["internal error"]
        await attempt.publisher.ping()
