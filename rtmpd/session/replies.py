"""
What the server says: messages made of their facts, in the form that every client of today reads.

A client's own requests are `requests`.

An info object is a plain Object with level, code and a description; an onStatus begins with them, because ffmpeg reads it by
position. All of it goes out on chunk stream 3, apart from what carries media.

RTMP 1.0 section 7.2; Enhanced RTMP v2, "Enhancing NetConnection connect Command".
"""

from __future__ import annotations

from collections.abc import Mapping

from rtmpd.session.events import Capabilities
from rtmpd.wire.amf import AmfValue, Encodable
from rtmpd.wire.commands import encode_command, status_info
from rtmpd.wire.messages import COMMAND_AMF0, Message

WINDOW_BYTES = 2_500_000
"""How often we ask for an acknowledgement, and send one unless asked otherwise."""

_COMMAND_CHUNK_STREAM_ID = 3
_DESCRIPTION_CHARACTERS = 256
FOUR_CCS = ("avc1", "hvc1", "vvc1", "av01", "vp09", "vp08", "mp4a", "Opus", ".mp3", "fLaC", "ac-3", "ec-3")
_MAX_FOUR_CCS = 32
CAN_FORWARD = 4
RECONNECT = 1
"""Of capsEx: knows what a reconnect request is."""
SUPPORTED_FLAGS = RECONNECT | 2 | 4 | 8
"""Reconnect requests are sent and understood; multitrack, ModEx and nanosecond offsets are passed on as they come."""


def on_status(message_stream_id: int, code: str, description: str | None = None) -> Message:
    """
    Tell the state of a message stream.

    Args:
        message_stream_id: of the stream; GStreamer waits for ever if it is another.
        code: a key of `rtmpd.wire.commands.STATUS`.
        description: the code's own if there is none.
    """
    return message_of(message_stream_id, "onStatus", 0, None, _info(code, description))


def reconnect_request(tc_url: str | None, description: str) -> Message:
    """
    Ask the peer to go on elsewhere; we serve it until it leaves.

    Args:
        tc_url: of the application there, absolute or relative to the peer's own; None: the same one.
        description: why, for its user.
    """
    info = _info("NetConnection.Connect.ReconnectRequest", description)
    return message_of(0, "onStatus", 0, None, info if tc_url is None else {**info, "tcUrl": tc_url})


def result(transaction_id: float, *values: Encodable) -> Message:
    """Answer a call: the values follow a null command object."""
    return message_of(0, "_result", transaction_id, None, *values)


def error(transaction_id: float, code: str, description: str) -> Message:
    """Answer a call that fails."""
    return message_of(0, "_error", transaction_id, None, _info(code, description))


def connect_result(transaction_id: float, properties: Mapping[str, AmfValue]) -> Message:
    """
    Grant a connection.

    Args:
        transaction_id: of the connect command.
        properties: its command object.
    """
    server = {"fmsVer": "FMS/3,0,1,123", "capabilities": 31, **_enhanced_properties(properties)}
    info = status_info("NetConnection.Connect.Success", objectEncoding=0)
    return message_of(0, "_result", transaction_id, server, info)


def read_capabilities(properties: Mapping[str, AmfValue]) -> Capabilities:
    """
    Collect the Enhanced RTMP keys of a connect command.

    Args:
        properties: its command object; what has another type than it should counts as missing.
    """
    found: dict[str, None] = {}
    listed = properties.get("fourCcList")
    for names in (listed, properties.get("videoFourCcInfoMap"), properties.get("audioFourCcInfoMap")):
        if isinstance(names, list | dict):
            found.update((name, None) for name in names if isinstance(name, str) and len(name) <= 4)
    return Capabilities(
        flags=_flags(properties.get("capsEx")),
        video_function=_flags(properties.get("videoFunction")),
        four_ccs=tuple(found)[:_MAX_FOUR_CCS],
    )


def _enhanced_properties(properties: Mapping[str, AmfValue]) -> dict[str, Encodable]:
    """Answer the Enhanced RTMP keys that the client sent, and no others: older clients know none of them."""
    answers: dict[str, Encodable] = {
        "capsEx": _flags(properties.get("capsEx")) & SUPPORTED_FLAGS,
        "fourCcList": FOUR_CCS,
        "videoFourCcInfoMap": {"*": CAN_FORWARD},
        "audioFourCcInfoMap": {"*": CAN_FORWARD},
    }
    return {key: value for key, value in answers.items() if key in properties}


def _flags(value: AmfValue) -> int:
    return int(value) if isinstance(value, float) and 0 <= value < 1 << 32 else 0


def _info(code: str, description: str | None) -> dict[str, Encodable]:
    return status_info(code, description[:_DESCRIPTION_CHARACTERS] if description else None)


def message_of(message_stream_id: int, name: str, transaction_id: float, *values: Encodable) -> Message:
    """
    Make a command's message.

    Args:
        message_stream_id: what it is for; 0 for the connection.
        name: of the command, or of the answer.
        transaction_id: of the call; 0 asks for no answer.
        values: the command object, then the arguments.
    """
    body = encode_command(name, transaction_id, *values)
    return Message(COMMAND_AMF0, 0, message_stream_id, body, _COMMAND_CHUNK_STREAM_ID)
