import math

import pytest

from rtmpd.errors import AmfError, MessageError, UsageError
from rtmpd.wire import amf0
from rtmpd.wire.amf import UNDEFINED, Date
from rtmpd.wire.commands import (
    MAX_COMMAND_VALUES,
    STATUS,
    Command,
    decode_command,
    decode_command_head,
    decode_data,
    encode_command,
    status_info,
)
from rtmpd.wire.messages import COMMAND_AMF0, COMMAND_AMF3, DATA_AMF0, DATA_AMF3, Message


def command(body, type_id=COMMAND_AMF0):
    return Message(type_id, 0, 0, body, 3)


def test_create_streams_result_has_the_bytes_of_the_specification():
    expected = bytes.fromhex("02 0007 5f726573756c74 00 4010000000000000 05 00 3ff0000000000000")

    assert len(expected) == 0x1D
    assert encode_command("_result", 4, None, 1) == expected


def test_a_command_is_name_transaction_object_and_arguments():
    body = encode_command("publish", 5, None, "key", "live")

    assert decode_command(command(body)) == Command("publish", 5.0, None, ["key", "live"])


def test_connect_has_its_properties_in_the_command_object():
    body = encode_command("connect", 1, {"app": "live", "tcUrl": "rtmp://localhost/live", "capabilities": 15})

    expected = {"app": "live", "tcUrl": "rtmp://localhost/live", "capabilities": 15.0}
    assert decode_command(command(body)) == Command("connect", 1.0, expected, [])


def test_the_command_object_may_be_missing():
    assert decode_command(command(amf0.encode("closeStream", 0))) == Command("closeStream", 0.0, None, [])


def test_a_command_in_amf3_is_amf0_behind_a_format_byte():
    body = b"\0" + amf0.encode("play", 4) + bytes.fromhex("11 01 11 06 03 61")

    assert decode_command(command(body, COMMAND_AMF3)) == Command("play", 4.0, None, ["a"])


@pytest.mark.parametrize("format_byte", [b"\x01", b"\x03", b"\xff", b""])
@pytest.mark.parametrize(("decode", "type_id"), [(decode_command, COMMAND_AMF3), (decode_data, DATA_AMF3)])
def test_27_another_format_byte_is_refused(decode, type_id, format_byte):
    body = format_byte + amf0.encode("play", 4) if format_byte else b""

    with pytest.raises(MessageError, match=f"type {type_id} with the format"):
        decode(command(body, type_id))


@pytest.mark.parametrize("number", [0.0, -1.0, 1e300, math.inf, -math.inf, math.nan])
def test_32_a_transaction_id_is_any_double(number):
    body = encode_command("createStream", number, None)
    decoded = decode_command(command(body))

    assert encode_command(decoded.name, decoded.transaction_id, decoded.command_object) == body


@pytest.mark.parametrize("first", [None, UNDEFINED, Date(0.0), 1.0, {}, [], True, b"connect"])
def test_39_a_command_whose_name_is_no_string_is_refused(first):
    with pytest.raises(MessageError, match="instead of a name and a number"):
        decode_command(command(amf0.encode(first, 1)))


@pytest.mark.parametrize("second", [None, UNDEFINED, Date(0.0), "1", {}, True])
def test_39_a_command_whose_transaction_id_is_no_number_is_refused(second):
    with pytest.raises(MessageError, match="instead of a name and a number"):
        decode_command(command(amf0.encode("connect", second)))


@pytest.mark.parametrize("body", [b"", amf0.encode("connect")])
def test_40_a_command_that_ends_before_its_transaction_id_is_refused(body):
    with pytest.raises(MessageError, match="instead of a name and a number"):
        decode_command(command(body))


def test_53_ten_thousand_arguments_are_refused():
    most = encode_command("connect", 1, *[None] * (MAX_COMMAND_VALUES - 2))

    assert len(decode_command(command(most)).arguments) == MAX_COMMAND_VALUES - 3
    with pytest.raises(MessageError, match="more than 32 values"):
        decode_command(command(most + b"\x05"))
    with pytest.raises(MessageError, match="more than 32 values"):
        decode_command(command(most + b"\x05" * 10_000))


def test_limits_reach_the_decoder():
    body = encode_command("connect", 1, {"a": [1]})

    with pytest.raises(AmfError, match="deeper"):
        decode_command(command(body), max_depth=1)
    with pytest.raises(AmfError, match="elements"):
        decode_command(command(body), max_elements=4)


def test_the_head_of_a_broken_command_tells_what_to_answer():
    broken = command(encode_command("createStream", 7) + b"\xff")

    with pytest.raises(AmfError):
        decode_command(broken)
    assert decode_command_head(broken) == ("createStream", 7.0)


def test_a_head_that_is_broken_itself_is_refused():
    with pytest.raises(MessageError):
        decode_command_head(command(b"\x05"))
    with pytest.raises(AmfError):
        decode_command_head(command(b"\x02\x00\xff"))


def test_data_is_a_list_of_values_in_both_types():
    body = amf0.encode("@setDataFrame", "onMetaData", amf0.EcmaArray(width=1280))

    assert decode_data(command(body, DATA_AMF0)) == ["@setDataFrame", "onMetaData", {"width": 1280.0}]
    assert decode_data(command(b"\0" + body, DATA_AMF3)) == ["@setDataFrame", "onMetaData", {"width": 1280.0}]


def test_data_that_is_no_amf_is_an_amf_error():
    with pytest.raises(AmfError):
        decode_data(command(b"\xfe\xff text", DATA_AMF0))


@pytest.mark.parametrize("code", STATUS)
def test_every_status_has_a_description_and_a_level_that_clients_know(code):
    info = status_info(code)

    assert list(info) == ["level", "code", "description"]
    assert info["level"] in {"status", "warning", "error"}
    assert info["description"]
    assert decode_command(command(encode_command("onStatus", 0, None, info))).arguments == [info]


# protocol.md section 3.8: ffmpeg hangs when one of these comes with another level.
LEVELS = {
    "error": """NetConnection.Connect.Rejected NetConnection.Connect.InvalidApp NetConnection.Call.Failed
        NetStream.Publish.BadName NetStream.Publish.Denied NetStream.Publish.Rejected
        NetStream.Play.StreamNotFound NetStream.Play.Failed NetStream.Seek.Failed""",
    "status": """NetConnection.Connect.Success NetConnection.Connect.ReconnectRequest NetStream.Publish.Start
        NetStream.Unpublish.Success NetStream.Play.Reset NetStream.Play.Start NetStream.Play.PublishNotify
        NetStream.Play.UnpublishNotify NetStream.Play.Stop NetStream.Play.Complete NetStream.Seek.Notify
        NetStream.Pause.Notify NetStream.Unpause.Notify NetStream.Data.Start""",
}


@pytest.mark.parametrize(
    ("level", "code"), [(level, code) for level, codes in LEVELS.items() for code in codes.split()]
)
def test_every_code_that_clients_act_upon_has_its_level(level, code):
    assert STATUS[code].level == level


@pytest.mark.parametrize("description", [None, ""])
def test_a_description_is_never_empty(description):
    assert status_info("NetStream.Play.Failed", description)["description"] == "The stream cannot be played."


def test_a_status_carries_what_else_belongs_to_it():
    info = status_info("NetConnection.Connect.Success", "Welcome.", objectEncoding=0)

    assert info == {
        "level": "status",
        "code": "NetConnection.Connect.Success",
        "description": "Welcome.",
        "objectEncoding": 0,
    }


def test_a_status_is_a_plain_object_on_the_wire():
    assert amf0.encode(status_info("NetStream.Play.Start"))[0] == 0x03


def test_an_unknown_code_is_our_mistake():
    with pytest.raises(UsageError, match=r"NetStream\.Publish\.Unauthorized"):
        status_info("NetStream.Publish.Unauthorized")


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        STATUS["NetStream.Play.Start"] = None
