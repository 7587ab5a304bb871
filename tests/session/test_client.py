"""A session as a client: what it says when, how long it waits, and that our own server understands it."""

from __future__ import annotations

import pytest

from rtmpd.errors import Refused
from rtmpd.session.events import (
    Capabilities,
    Connected,
    Ended,
    MediaRun,
    PlayEnded,
    Playing,
    PlayRequested,
    PublishEnded,
    Publishing,
    PublishRequested,
    RefusedByServer,
    Terminated,
)
from rtmpd.session.limits import ClientLimits
from rtmpd.session.replies import on_status, result
from rtmpd.wire import amf0
from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.messages import (
    LIMIT_DYNAMIC,
    PING_REQUEST,
    encode_set_peer_bandwidth,
    encode_user_control,
    encode_window_acknowledgement_size,
)
from tests.helpers.chunks import NO_LIMITS
from tests.helpers.client_transcript import CONNECT_RESULT, CREATED, ClientTranscript, new_client, talk
from tests.helpers.transcript import HANDSHAKE, START, audio, command, data, new_session, video

CONNECTED = Connected("live", "rtmp://example.net/live", "", Capabilities())
CONNECT = "connect 1 {app, type, flashVer, tcUrl, fourCcList, videoFourCcInfoMap, audioFourCcInfoMap, capsEx}"


@pytest.mark.parametrize("piece_bytes", [None, 1, 7])
def test_a_publisher_says_what_encoders_say(piece_bytes):
    with ClientTranscript("publish", piece_bytes=piece_bytes) as script:
        script.shakes_hands()
        script.sent("set chunk size 65536", CONNECT)
        script.received(CONNECT_RESULT)
        script.reported(CONNECTED)
        script.sent("releaseStream 2 key?k=v", "FCPublish 3 key?k=v", "createStream 4")
        script.received(CREATED)
        script.sent("1: publish 5 key?k=v live")
        script.received(on_status(1, "NetStream.Publish.Start"))
        script.reported(Publishing(1))
        script.finishes()
        script.sent("FCUnpublish 6 key?k=v", "deleteStream 7 1")
        script.reported(Terminated("finished"))


@pytest.mark.parametrize("piece_bytes", [None, 1, 7])
def test_a_player_says_what_players_say(piece_bytes):
    with ClientTranscript("play", piece_bytes=piece_bytes) as script:
        script.connects()
        script.sent()
        script.received(CREATED)
        script.sent("1: play 5 key?k=v -2", "set buffer length 1 3000")
        script.received(on_status(1, "NetStream.Play.Reset"), on_status(1, "NetStream.Play.Start"))
        script.reported(Playing(1))
        script.finishes()
        script.sent("deleteStream 7 1")
        script.reported(Terminated("finished"))


def test_nothing_is_said_before_the_server_has_shaken_hands():
    session = new_client()

    assert len(session.data_to_send()) == 1537
    assert session.receive_data(HANDSHAKE[:1536], START) == []
    assert session.data_to_send() == b""


def test_what_is_sent_before_the_announced_chunk_size_is_only_the_announcement():
    session = new_client()
    session.data_to_send()
    session.receive_data(HANDSHAKE, START)
    said = []

    ChunkReader(body_limits=NO_LIMITS).feed(session.data_to_send()[1536:], said)

    assert [len(message.body) > 128 for message in said] == [False, True]


def test_media_of_a_play_come_as_a_run_and_metadata_without_setdataframe():
    metadata = amf0.encode("onMetaData", {"width": 2})
    with ClientTranscript("play") as script:
        script.starts()
        script.received(data(amf0.encode("@setDataFrame") + metadata), video(), audio(timestamp_ms=20))
        script.reported(data(metadata), video(), audio(timestamp_ms=20))
        run = script.session.receive_data(encode_message(video(), 128), START)
        assert type(run) is MediaRun
        assert run == [video()]


def test_signs_of_the_server_among_the_data_are_not_passed_on():
    with ClientTranscript("play") as script:
        script.starts()
        script.received(
            data(amf0.encode("|RtmpSampleAccess", True, True)),
            data(amf0.encode("onStatus", {"code": "NetStream.Data.Start"})),
            data(amf0.encode("onTextData", {})),
        )
        script.reported(data(amf0.encode("onTextData", {})))


def test_media_before_the_grant_and_to_a_publisher_are_dropped_and_bounded():
    with ClientTranscript("publish", limits=ClientLimits(stray_bytes=1000)) as script:
        script.starts()
        script.received(video(bytes(900)))
        script.reported()
        script.received(video(bytes(900)))
        script.reported(Terminated("limit: more than 1000 bytes of media that was not to be published"))


def test_pings_and_windows_are_answered():
    with ClientTranscript("publish") as script:
        script.starts()
        script.received(
            encode_user_control(PING_REQUEST, 5),
            encode_set_peer_bandwidth(2_500_000, LIMIT_DYNAMIC),
            encode_set_peer_bandwidth(2_500_000, LIMIT_DYNAMIC),
        )
        script.sent("pong 5", "window acknowledgement size 2500000")


def test_a_server_that_is_played_gets_its_acknowledgements():
    with ClientTranscript("play") as script:
        script.starts()
        script.received(encode_window_acknowledgement_size(70_000))
        while not script._said:
            script.received(video(bytes(5000)))
        script.sent(f"acknowledgement {script.session.bytes_received}")
        script.forget()


@pytest.mark.parametrize(
    ("role", "seconds", "bring", "reason"),
    [
        ("publish", 10, lambda script: None, "no handshake within 10 s"),
        ("publish", 10, ClientTranscript.shakes_hands, "no answer to connect within 10 s"),
        ("publish", 35, ClientTranscript.connects, "no answer to publish within 35 s"),
        ("publish", 35, ClientTranscript.asks, "no answer to publish within 35 s"),
        ("play", 35, ClientTranscript.asks, "no answer to play within 35 s"),
        ("play", 20, ClientTranscript.starts, "nothing from the server for 20 s"),
    ],
)
def test_a_server_that_says_nothing_is_given_up(role, seconds, bring, reason):
    with ClientTranscript(role) as script:
        bring(script)
        script.forget()
        assert script.session.next_deadline() == START + seconds
        script.passes(seconds - 1)
        script.reported()
        script.waits_for_deadline()
        script.reported(Terminated(f"timeout: {reason}"))
        assert script.session.next_deadline() is None


def test_a_server_that_takes_our_media_may_be_silent_for_ever():
    script = ClientTranscript("publish")
    script.starts()

    assert script.session.next_deadline() is None


def test_a_source_that_goes_on_is_not_given_up():
    script = ClientTranscript("play")
    script.starts()
    script.passes(15)
    script.received(video())

    assert script.session.next_deadline() == START + 35


@pytest.mark.parametrize(
    ("bring", "reason"),
    [
        (lambda script: None, "peer closed before the end of the handshake"),
        (ClientTranscript.shakes_hands, "peer closed before it answered connect"),
        (ClientTranscript.connects, "peer closed before it answered publish"),
        (ClientTranscript.asks, "peer closed before it answered publish"),
        (ClientTranscript.starts, "peer closed"),
    ],
)
def test_a_server_that_closes_is_told_of_with_the_moment(bring, reason):
    with ClientTranscript("publish") as script:
        bring(script)
        script.forget()
        script.closes()
        script.reported(Terminated(reason))
        script.finishes()
        script.received(b"late")
        script.closes()


def test_finishing_before_there_is_a_stream_says_nothing():
    with ClientTranscript("publish") as script:
        script.connects()
        script.finishes()
        script.sent()
        script.reported(Terminated("finished"))


def test_what_comes_behind_the_end_is_not_reported():
    with ClientTranscript("play") as script:
        script.starts()
        script.received(video(), on_status(1, "NetStream.Play.UnpublishNotify"), video(), b"\xff" * 30)
        reason = "NetStream.Play.UnpublishNotify"
        script.reported(video(), Ended(reason), Terminated(f"ended by the server: {reason}"))


def test_another_message_stream_than_1_is_used_as_the_server_gave_it():
    with ClientTranscript("publish") as script:
        script.asks(7)
        script.received(on_status(7, "NetStream.Publish.Start"))
        script.reported(Publishing(7))
        assert script.session.message_stream_id == 7
        script.finishes()
        script.sent("FCUnpublish 6 key?k=v", "deleteStream 7 7")
        script.reported(Terminated("finished"))
        assert script.session.message_stream_id is None


def test_a_key_frame_that_comes_with_the_grant_may_be_as_long_as_one_that_comes_later():
    frame = video(bytes(2 << 20))
    with ClientTranscript("play") as script:
        script.asks()
        script.received(encode_message(on_status(1, "NetStream.Play.Start"), 128) + encode_message(frame, 128))
        script.reported(Playing(1), frame)


def test_what_a_server_may_leave_unfinished_towards_a_publisher_is_small():
    with ClientTranscript("publish") as script:
        script.starts()
        script.received(encode_message(video(bytes(2 << 20)), 128)[:200])
        (terminated,), script._told = script._told, []
        assert terminated.reason.startswith("limit: 2097152 bytes more under way")


def accept(server):
    def decide(event):
        if isinstance(event, PublishRequested):
            server.accept_publish(event.message_stream_id, START)
        elif isinstance(event, PlayRequested):
            server.accept_play(event.message_stream_id, START)

    return decide


@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
def test_our_own_server_takes_what_we_publish(piece_bytes):
    client, server = new_client("publish"), new_session()

    ours, theirs = talk(client, server, accept(server), piece_bytes=piece_bytes)

    assert theirs[1:] == [PublishRequested(1, "live", "key", "k=v")]
    assert theirs[0].capabilities.flags == 15
    assert [type(event) for event in ours] == [Connected, Publishing]
    assert server.receive_data(encode_message(video(bytes(70_000)), 65536), START) == [video(bytes(70_000))]
    client.finish(START)
    assert talk(client, server, accept(server))[1] == [PublishEnded(1, clean=True, reason="deleteStream")]


@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
def test_our_own_server_is_played(piece_bytes):
    client, server = new_client("play"), new_session()

    ours, theirs = talk(client, server, accept(server), piece_bytes=piece_bytes)

    assert theirs[1:] == [PlayRequested(1, "live", "key", "k=v")]
    assert [type(event) for event in ours] == [Connected, Playing]
    assert client.receive_data(encode_message(video(bytes(70_000)), 65536), START) == [video(bytes(70_000))]
    server.finish_play(1, START, "over")
    assert talk(client, server, accept(server), piece_bytes=piece_bytes)[0] == [
        Ended("NetStream.Play.UnpublishNotify"),
        Terminated("ended by the server: NetStream.Play.UnpublishNotify"),
    ]


def test_leaving_our_own_server_ends_the_play():
    client, server = new_client("play"), new_session()
    talk(client, server, accept(server))

    client.finish(START)

    assert talk(client, server, accept(server))[1] == [PlayEnded(1)]


def test_our_own_server_refuses_and_is_understood():
    client, server = new_client("publish"), new_session()

    def refuse(event):
        if isinstance(event, PublishRequested):
            server.refuse_publish(1, Refused("NetStream.Publish.Denied", "wrong token"), START)

    ours, _ = talk(client, server, refuse)

    assert ours[1:] == [
        RefusedByServer("NetStream.Publish.Denied", "wrong token", may_retry=False),
        Terminated("refused: NetStream.Publish.Denied: wrong token"),
    ]


def test_two_grants_are_one():
    with ClientTranscript("play") as script:
        script.starts()
        script.received(on_status(1, "NetStream.Play.PublishNotify"), on_status(1, "NetStream.Play.Start"))
        script.received(CONNECT_RESULT, result(4, 2), command("onBWDone", 0, None, 8192))
        script.sent()
        script.reported()
