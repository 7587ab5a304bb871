"""What the server says, value by value."""

from __future__ import annotations

import pytest

from rtmpd.session import replies
from rtmpd.session.events import Capabilities
from rtmpd.wire.amf import UNDEFINED
from rtmpd.wire.commands import decode_command

FOUR_CCS = ["avc1", "hvc1", "vvc1", "av01", "vp09", "vp08", "mp4a", "Opus", ".mp3", "fLaC", "ac-3", "ec-3"]


def test_the_result_of_createstream_is_byte_for_byte_what_clients_know():
    result = replies.result(4.0, 1)
    assert result.body.hex() == "0200075f726573756c74" + "004010000000000000" + "05" + "003ff0000000000000"
    assert (result.type_id, result.message_stream_id, result.chunk_stream_id) == (20, 0, 3)


def test_a_status_is_a_name_a_zero_a_null_and_a_plain_object():
    status = replies.on_status(1, "NetStream.Publish.Start")
    assert status.message_stream_id == 1
    info = {"level": "status", "code": "NetStream.Publish.Start", "description": "Publishing starts."}
    assert decode_command(status) == ("onStatus", 0.0, None, [info])
    assert type(decode_command(status).arguments[0]) is dict


@pytest.mark.parametrize(("tc_url", "extra"), [(None, {}), ("rtmp://b/live", {"tcUrl": "rtmp://b/live"})])
def test_a_reconnect_request_is_a_status_of_the_connection_with_a_url_if_there_is_another(tc_url, extra):
    request = replies.reconnect_request(tc_url, "going")
    assert request.message_stream_id == 0
    name, transaction_id, command_object, (info,) = decode_command(request)
    assert (name, transaction_id, command_object) == ("onStatus", 0.0, None)
    code = "NetConnection.Connect.ReconnectRequest"
    assert list(info.items()) == [*{"level": "status", "code": code, "description": "going", **extra}.items()]


def test_a_description_is_bounded():
    answer = replies.error(1, "NetConnection.Call.Failed", "x" * 10_000)
    assert len(answer.body) < 400


def test_connect_is_answered_with_no_more_than_old_clients_know():
    result = decode_command(replies.connect_result(1.0, {"app": "live", "videoFunction": 1.0}))
    success = {
        "level": "status",
        "code": "NetConnection.Connect.Success",
        "description": "Connection succeeded.",
        "objectEncoding": 0.0,
    }
    assert result == ("_result", 1.0, {"fmsVer": "FMS/3,0,1,123", "capabilities": 31.0}, [success])


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ({"fourCcList": ["av01"]}, {"fourCcList": FOUR_CCS}),
        ({"videoFourCcInfoMap": {"*": 7.0}}, {"videoFourCcInfoMap": {"*": 4.0}}),
        ({"audioFourCcInfoMap": {"Opus": 1.0}}, {"audioFourCcInfoMap": {"*": 4.0}}),
        ({"capsEx": 255.0}, {"capsEx": 15.0}),
        ({"capsEx": 2.0}, {"capsEx": 2.0}),
        ({"capsEx": UNDEFINED}, {"capsEx": 0.0}),
    ],
)
def test_enhanced_keys_are_answered_if_the_client_sent_them(sent, answered):
    result = decode_command(replies.connect_result(1.0, sent))
    assert result.command_object == {"fmsVer": "FMS/3,0,1,123", "capabilities": 31.0, **answered}


def test_capabilities_are_collected_from_all_keys():
    properties = {
        "capsEx": 6.0,
        "videoFunction": 2.0,
        "fourCcList": ["av01", "hvc1"],
        "videoFourCcInfoMap": {"hvc1": 1.0, "vp09": 4.0},
        "audioFourCcInfoMap": {"*": 4.0},
    }
    assert replies.read_capabilities(properties) == Capabilities(6, 2, ("av01", "hvc1", "vp09", "*"))


@pytest.mark.parametrize(
    "properties",
    [
        {"capsEx": "2", "videoFunction": None, "fourCcList": "av01", "videoFourCcInfoMap": 4.0},
        {"capsEx": float("nan"), "fourCcList": [1.0, None, {}, "much too long"]},
        {"capsEx": float("inf"), "videoFunction": -1.0},
    ],
)
def test_capabilities_of_the_wrong_type_are_missing(properties):
    assert replies.read_capabilities(properties) == Capabilities()


def test_capabilities_are_bounded():
    listed = [f"{number:04}" for number in range(1000)]
    assert len(replies.read_capabilities({"fourCcList": listed}).four_ccs) == 32
