"""What each client of today says and needs to hear, as dialogues. The words are those of captures (see the corpus)."""

from __future__ import annotations

import pytest

from rtmpd.session.events import (
    Capabilities,
    Connected,
    PauseChanged,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    Terminated,
)
from rtmpd.wire import amf0, messages
from rtmpd.wire.amf import EcmaArray
from rtmpd.wire.messages import Message, encode_set_chunk_size, encode_user_control, encode_window_acknowledgement_size
from tests.helpers.transcript import GREETING, Transcript, audio, command, data, video

TC_URL = "rtmp://127.0.0.1/live"
METADATA = amf0.encode("onMetaData", EcmaArray(width=64.0))
SET_METADATA = amf0.encode("@setDataFrame", "onMetaData", EcmaArray(width=64.0))
PLAYER = Capabilities(video_function=1)


@pytest.fixture(params=[None, 1, 128], ids=["at once", "byte by byte", "128 bytes at a time"])
def script(request):
    with Transcript(piece_bytes=request.param) as transcript:
        yield transcript


def set_buffer_length(message_stream_id, ms):
    return encode_user_control(messages.SET_BUFFER_LENGTH, message_stream_id, ms)


def connect(flash_version, **properties):
    return command("connect", 1, {"app": "live", "flashVer": flash_version, "tcUrl": TC_URL, **properties})


def player_connect(flash_version):
    codecs = {"audioCodecs": 4071, "videoCodecs": 252, "videoFunction": 1}
    return connect(flash_version, fpad=False, capabilities=15, **codecs)


def test_ffmpeg_publishes(script):
    script.shakes_hands()
    script.received(connect("FMLE/3.0 (compatible; Lavf59.27.100)", type="nonprivate"))
    script.sent(*GREETING)
    script.reported(Connected("live", TC_URL, "FMLE/3.0 (compatible; Lavf59.27.100)", Capabilities()))

    script.received(encode_set_chunk_size(65536))
    script.chunk_size = 65536
    script.received(
        command("releaseStream", 2, None, "s?k=v"),
        command("FCPublish", 3, None, "s?k=v"),
        command("createStream", 4),
    )
    script.sent("_result 2", "_result 3", "_result 4 1")
    script.received(command("publish", 5, None, "s?k=v", "live", msid=1, csid=8))
    script.reported(PublishRequested(1, "live", "s", "k=v"))
    script.sent()
    script.decides("accept_publish", 1)
    script.sent("1: onStatus 0 status NetStream.Publish.Start")

    script.received(data(SET_METADATA), audio(timestamp_ms=0), video(timestamp_ms=7))
    script.reported(data(METADATA), audio(timestamp_ms=0), video(timestamp_ms=7))
    script.received(command("FCUnpublish", 6, None, "s?k=v"), command("deleteStream", 7, None, 1))
    script.sent("_result 6")
    script.reported(PublishEnded(1, clean=True, reason="deleteStream"))
    script.closes()
    script.reported(Terminated("peer closed"))


def test_ffmpeg_plays_until_the_stream_ends(script):
    script.shakes_hands()
    script.received(player_connect("LNX 9,0,124,2"))
    script.sent(*GREETING)
    script.reported(Connected("live", TC_URL, "LNX 9,0,124,2", PLAYER))
    script.received(encode_window_acknowledgement_size(2_500_000), command("createStream", 2))
    script.sent("_result 2 1")
    script.received(
        command("getStreamLength", 3, None, "s", csid=8),
        command("play", 4, None, "s", -2000, msid=1, csid=8),
        set_buffer_length(1, 3000),
    )
    script.sent("_result 3 0")
    script.reported(PlayRequested(1, "live", "s", ""))
    script.decides("accept_play", 1)
    script.sent(
        "stream begin 1", "1: onStatus 0 status NetStream.Play.Reset", "1: onStatus 0 status NetStream.Play.Start"
    )
    script.decides("finish_play", 1, reason="the publisher has left")
    script.sent("1: onStatus 0 status NetStream.Play.UnpublishNotify", "stream eof 1")
    script.closes()
    script.reported(Terminated("play finished: the publisher has left"))


def test_ffmpeg_plays_with_pause_and_seek(script):
    script.plays()
    script.received(command("pause", 0, None, True, 500, msid=1))
    script.reported(PauseChanged(1, paused=True))
    script.received(command("pause", 0, None, False, 500, msid=1))
    script.reported(PauseChanged(1, paused=False))
    script.received(command("seek", 0, None, 9000, msid=1))
    script.sent(
        "1: onStatus 0 status NetStream.Pause.Notify",
        "1: onStatus 0 status NetStream.Unpause.Notify",
        "1: onStatus 0 status NetStream.Seek.Notify",
    )
    script.received(command("deleteStream", 5, None, 1))
    script.reported(PlayEnded(1))


def test_ffmpeg_with_enhanced_codecs_is_told_ours(script):
    script.shakes_hands()
    script.received(connect("FMLE/3.0", fourCcList=["av01", "hvc1", "vp09"]))
    *before, result = GREETING
    script.sent(*before, result.replace("capabilities", "capabilities, fourCcList"))
    script.reported(Connected("live", TC_URL, "FMLE/3.0", Capabilities(four_ccs=("av01", "hvc1", "vp09"))))


def test_obs_publishes_all_on_chunk_stream_4_in_chunks_of_4096_bytes(script):
    script.shakes_hands()
    script.received(encode_set_chunk_size(4096))
    script.chunk_size = 4096
    script.received(connect("FMLE/3.0 (compatible; FMSc/1.0)", type="nonprivate", swfUrl=TC_URL))
    script.sent(*GREETING)
    script.reported(Connected("live", TC_URL, "FMLE/3.0 (compatible; FMSc/1.0)", Capabilities()))
    script.received(
        command("releaseStream", 2, None, "s"), command("FCPublish", 3, None, "s"), command("createStream", 4)
    )
    script.sent("_result 2", "_result 3", "_result 4 1")
    script.received(command("publish", 5, None, "s", "live", msid=1, csid=4))
    script.reported(PublishRequested(1, "live", "s", ""))
    script.decides("accept_publish", 1)
    script.sent("1: onStatus 0 status NetStream.Publish.Start")

    frame = video(b"\x17\x01\0\0\0" + bytes(10_000), 33, csid=4)
    script.received(data(SET_METADATA), video(csid=4), audio(csid=4), frame)
    script.reported(data(METADATA), video(csid=4), audio(csid=4), frame)
    script.received(command("FCUnpublish", 6, None, "s"), command("deleteStream", 7, None, 1))
    script.sent("_result 6")
    script.reported(PublishEnded(1, clean=True, reason="deleteStream"))
    script.closes()
    script.reported(Terminated("peer closed"))


def test_obs_names_everything_in_the_application_or_a_query_in_the_key(script):
    script.shakes_hands()
    script.received(
        command("connect", 1, {"app": "live/s", "tcUrl": "rtmp://h/live/s?token=1"}),
        command("createStream", 2),
        command("publish", 3, None, "?a=b", "live", msid=1),
    )
    script.sent(*GREETING, "_result 2 1")
    script.reported(
        Connected("live/s", "rtmp://h/live/s?token=1", "", Capabilities()),
        PublishRequested(1, "live", "s", "token=1&a=b"),
    )


def test_obs_sends_data_that_is_amf3_within(script):
    """OBS before 30.2 sends it with a VOD track; see mediamtx #2986."""
    script.publishes()
    body = amf0.encode("onExpectAdditionalMedia", {"defaultMedia": b"\x00\x01"})
    script.received(data(body))
    script.reported(data(body))


def test_gstreamer_publishes_with_transaction_0_and_deletes_by_name(script):
    script.shakes_hands()
    script.received(connect("LNX 10,0,32,18", type="nonprivate"))
    script.sent(*GREETING)
    script.reported(Connected("live", TC_URL, "LNX 10,0,32,18", Capabilities()))
    script.received(
        encode_window_acknowledgement_size(2_500_000),
        command("releaseStream", 0, None, "s"),
        command("FCPublish", 0, None, "s"),
        command("createStream", 2),
    )
    script.sent("_result 2 1")
    script.received(command("publish", 0, None, "s", "live", msid=1))
    script.reported(PublishRequested(1, "live", "s", ""))
    script.decides("accept_publish", 1)
    script.sent("1: onStatus 0 status NetStream.Publish.Start")
    script.received(encode_set_chunk_size(128), data(SET_METADATA), audio(csid=5), video())
    script.reported(data(METADATA), audio(csid=5), video())
    script.received(command("FCUnpublish", 0, None, "s"), command("deleteStream", 0, None, "s"))
    script.reported(PublishEnded(1, clean=True, reason="deleteStream"))
    script.closes()
    script.reported(Terminated("peer closed"))


def test_gstreamer_plays_with_transaction_0(script):
    script.shakes_hands()
    script.received(player_connect("LNX 10,0,32,18"))
    script.sent(*GREETING)
    script.reported(Connected("live", TC_URL, "LNX 10,0,32,18", PLAYER))
    script.received(
        encode_window_acknowledgement_size(2_500_000),
        encode_window_acknowledgement_size(2_500_000),
        set_buffer_length(0, 300),
        command("createStream", 2),
        command("play", 0, None, "s", -2, msid=1),
        set_buffer_length(1, 30_000),
    )
    script.sent("_result 2 1")
    script.reported(PlayRequested(1, "live", "s", ""))
    script.decides("accept_play", 1)
    script.sent(
        "stream begin 1", "1: onStatus 0 status NetStream.Play.Reset", "1: onStatus 0 status NetStream.Play.Start"
    )
    script.decides("finish_play", 1, reason="over")
    script.sent("1: onStatus 0 status NetStream.Play.UnpublishNotify", "stream eof 1")
    script.waits_for_deadline()
    script.reported(Terminated("play finished: over"))


def test_rtmpdump_plays(script):
    script.shakes_hands()
    script.received(player_connect("LNX 10,0,32,18"))
    script.sent(*GREETING)
    script.reported(Connected("live", TC_URL, "LNX 10,0,32,18", PLAYER))
    script.received(
        encode_window_acknowledgement_size(2_500_000),
        set_buffer_length(0, 300),
        command("createStream", 2),
        command("FCSubscribe", 3, None, "s"),
    )
    script.sent("_result 2 1", "_result 3")
    script.received(
        command("play", 4, None, "s", -1000, msid=1, csid=8),
        # Its second SetBufferLength is a fmt 3 header: everything is as in the first one, but for the body.
        b"\xc2" + set_buffer_length(1, 36_000_000).body,
    )
    script.reported(PlayRequested(1, "live", "s", ""))
    script.decides("accept_play", 1)
    script.sent(
        "stream begin 1", "1: onStatus 0 status NetStream.Play.Reset", "1: onStatus 0 status NetStream.Play.Start"
    )
    script.received(command("deleteStream", 5, None, 1))
    script.reported(PlayEnded(1))
    script.closes()
    script.reported(Terminated("peer closed"))


def test_a_client_that_ignores_what_createstream_answered_is_understood(script):
    script.connects()
    script.received(command("publish", 3, None, "s", "live", msid=0))
    script.reported(PublishRequested(1, "live", "s", ""))
    script.decides("accept_publish", 1)
    script.sent("1: onStatus 0 status NetStream.Publish.Start")
    script.received(video(msid=0), data(SET_METADATA, msid=0))
    script.reported(video(msid=1), data(METADATA, msid=1))


def test_flash_commands_and_data_come_in_amf3_messages(script):
    """Type 17 and 15: a format byte 0, then AMF0, possibly with values in AMF3."""
    script.connects()
    publish = command("publish", 3, None, "s", "live", msid=1)
    script.received(publish._replace(type_id=messages.COMMAND_AMF3, body=b"\0" + publish.body))
    script.reported(PublishRequested(1, "live", "s", ""))
    script.decides("accept_publish", 1)
    script.sent("1: onStatus 0 status NetStream.Publish.Start")
    switched = amf0.encode("@setDataFrame", "onMetaData") + b"\x11\x04\x07"  # AMF3 integer 7
    script.received(Message(messages.DATA_AMF3, 5, 1, b"\0" + switched, 4))
    script.reported(Message(messages.DATA_AMF0, 5, 1, amf0.encode("onMetaData", 7), 4))
