"""One try from an RTMP server, against sources that are played by hand."""

from __future__ import annotations

import os

import pytest

from rtmpd.net.client_connection import Parting
from rtmpd.net.dial import Dialled
from rtmpd.net.pull_connection import PullConnection
from rtmpd.session.client import ClientSession
from rtmpd.session.limits import ClientLimits
from rtmpd.session.replies import error, on_status
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.handshake import RANDOM_BYTES
from rtmpd.wire.messages import PING_REQUEST, PING_RESPONSE, encode_user_control
from tests.helpers.live import audio_frame, inter_frame, key_frame, metadata, video_header
from tests.helpers.pulls import PullHand, told
from tests.helpers.relays import ADDRESS
from tests.helpers.rig import Later, Rig, tcp_pair

URL = RtmpUrl.parse("rtmp://bob:secret@source.example/app/key?k=v")


class Try:
    """A connection to a source, and the source's hand."""

    def __init__(self, **limits):
        self._limits = ClientLimits(**limits)
        self.came = []

    async def __aenter__(self):
        self.rig = Rig()
        ours, theirs = tcp_pair()
        self.hand = PullHand(ours)
        session = ClientSession(URL, "play", self._limits, os.urandom(RANDOM_BYTES), self.rig.loop.time())
        self.connection = PullConnection(self.rig.services, Dialled(theirs, ADDRESS), session, self.take)
        return self

    async def __aexit__(self, *_):
        self.connection.close(Parting("test ends"))
        self.hand.socket.close()
        await self.rig.__aexit__()

    def take(self, messages, address):
        assert address == ADDRESS
        self.came += messages


MEDIA = [metadata(width=2), video_header(), key_frame(0, size=200_000), audio_frame(20), inter_frame(40)]


def on_wire(*messages):
    return [message._replace(chunk_stream_id=6) for message in messages]


async def test_what_the_source_sends_is_passed_on_as_it_is():
    enhanced = key_frame(80)._replace(body=b"\x91hvc1" + bytes(40))
    async with Try() as attempt:
        played = await attempt.hand.grant_play()
        await attempt.hand.say(*on_wire(*MEDIA, enhanced))
        await attempt.rig.until(lambda: len(attempt.came) == 6)

        assert attempt.connection.bytes_in > 200_000

    assert played.arguments[0] == "key?k=v"
    assert told(*attempt.came) == told(*MEDIA, enhanced)


async def test_a_ping_is_answered_between_media():
    async with Try() as attempt:
        await attempt.hand.grant_play()
        await attempt.hand.say(*on_wire(key_frame(0)), encode_user_control(PING_REQUEST, 5))
        pong = encode_user_control(PING_RESPONSE, 5).body
        while (await attempt.hand.message()).body != pong:
            pass


@pytest.mark.parametrize("code", ["NetStream.Play.UnpublishNotify", "NetStream.Play.Stop"])
async def test_a_source_that_says_that_the_stream_has_ended_is_told_from_one_that_breaks(code):
    async with Try() as attempt:
        await attempt.hand.grant_play()
        await attempt.hand.say(on_status(1, code))

        assert await attempt.connection.ended == Parting(f"ended by the source: {code}", is_end=True)


@pytest.mark.parametrize(
    ("answer", "parting"),
    [
        (
            error(1, "NetConnection.Connect.Rejected", "no"),
            Parting("refused: NetConnection.Connect.Rejected: no", may_retry=False),
        ),
        (
            error(1, "NetConnection.Connect.Rejected", "[ code=403 need auth; authmod=adobe ]"),
            Parting("the source asks for user and password", auth_query="authmod=adobe&user=bob"),
        ),
        (
            on_status(1, "NetStream.Play.StreamNotFound", "gone"),
            Parting("refused: NetStream.Play.StreamNotFound: gone"),
        ),
    ],
)
async def test_what_the_source_says_instead_of_a_grant_is_the_parting(answer, parting):
    async with Try() as attempt:
        await attempt.hand.open()
        await attempt.hand.say(answer)

        assert await attempt.connection.ended == parting


async def test_a_source_that_closes_is_parted_from():
    async with Try() as attempt:
        await attempt.hand.grant_play()
        attempt.hand.socket.close()

        assert await attempt.connection.ended == Parting("peer closed")


async def test_garbage_ends_the_try_with_a_reason():
    async with Try() as attempt:
        await attempt.hand.grant_play()
        await attempt.rig.loop.sock_sendall(attempt.hand.socket, b"\x03" + b"\xff" * 2000)

        assert (await attempt.connection.ended).reason


async def test_a_source_that_hangs_before_it_grants_is_given_up():
    async with Try(handshake_s=0.05) as attempt:
        assert await attempt.connection.ended == Parting("timeout: no handshake within 0.05 s")


async def test_a_source_is_not_given_up_for_what_came_while_the_process_stood_still():
    async with Try() as attempt:
        await attempt.hand.grant_play()
        await attempt.hand.say(*on_wire(key_frame(0)))
        await attempt.rig.until(lambda: attempt.came)
        attempt.hand.socket.send(encode_message(*on_wire(inter_frame(40)), 128))
        attempt.rig.services.loop = Later(attempt.rig.loop, 30.0)
        attempt.connection._on_timer()
        assert len(attempt.came) == 2
        assert not attempt.connection.ended.done()
        attempt.rig.services.loop = Later(attempt.rig.loop, 60.0)
        attempt.connection._on_timer()

        assert (await attempt.connection.ended).reason.startswith("timeout: ")


async def test_a_source_that_sends_us_elsewhere_is_left_properly():
    async with Try() as attempt:
        await attempt.hand.grant_play()
        await attempt.hand.say(on_status(0, "NetConnection.Connect.ReconnectRequest")._replace(message_stream_id=0))
        await attempt.hand.command("deleteStream")

        parting = await attempt.connection.ended

    assert parting.url == URL


async def test_we_leave_in_the_words_of_the_protocol():
    async with Try() as attempt:
        await attempt.hand.grant_play()
        await attempt.hand.say(*on_wire(key_frame(0)))
        await attempt.rig.until(lambda: attempt.came)
        attempt.connection.leave("closed")
        await attempt.hand.command("deleteStream")
        await attempt.hand.end()

        assert await attempt.connection.ended == Parting("closed")


async def test_a_fault_of_ours_is_loud_and_ends_only_this_try(monkeypatch):
    async with Try() as attempt:
        await attempt.hand.grant_play()
        monkeypatch.setattr(attempt, "came", None)
        await attempt.hand.say(*on_wire(key_frame(0)))

        assert await attempt.connection.ended == Parting("internal error")
        assert [line["event"] for line in attempt.rig.lines if "exc_info" in line] == ["internal error"]
