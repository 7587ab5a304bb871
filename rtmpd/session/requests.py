"""
What we say as a client: messages made of their facts, in the words that servers know from encoders and players.

Transaction ids are fixed, as each request is made once on a connection. RTMP 1.0 section 7.2; Enhanced RTMP v2,
"Enhancing NetConnection connect Command".
"""

from __future__ import annotations

from rtmpd.session.replies import CAN_FORWARD, FOUR_CCS, SUPPORTED_FLAGS, message_of
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.amf import Encodable
from rtmpd.wire.messages import SET_BUFFER_LENGTH, Message, encode_user_control

CONNECT = 1
RELEASE_STREAM = 2
FC_PUBLISH = 3
CREATE_STREAM = 4
START = 5
"""Of publish or play."""
FC_UNPUBLISH = 6
DELETE_STREAM = 7

BUFFER_LENGTH_MS = 3000
"""What ffmpeg says that it buffers. Servers of recordings send so much at once; live ones ignore it."""

_LIVE_OR_RECORDED = -2
_ENCODER: dict[str, Encodable] = {"type": "nonprivate", "flashVer": "FMLE/3.0 (compatible; rtmpd)"}
# Interop: services look for FMLE in the name, and for the numbers in that of a player.
_PLAYER: dict[str, Encodable] = {
    "flashVer": "LNX 9,0,124,2",
    "fpad": False,
    "capabilities": 15,
    "audioCodecs": 4071,
    "videoCodecs": 252,
    "videoFunction": 1,
}


def connect(url: RtmpUrl, role: str, auth_query: str) -> Message:
    """
    Ask for an application.

    Args:
        url: names it.
        role: "publish" or "play".
        auth_query: what `rtmpd.session.authentication` made; empty for nothing.
    """
    suffix = f"{'&' if '?' in url.app else '?'}{auth_query}" if auth_query else ""
    properties: dict[str, Encodable] = {
        "app": url.app + suffix,
        **(_ENCODER if role == "publish" else _PLAYER),
        "tcUrl": url.tc_url + suffix,
        "fourCcList": FOUR_CCS,
        "videoFourCcInfoMap": {"*": CAN_FORWARD},
        "audioFourCcInfoMap": {"*": CAN_FORWARD},
        "capsEx": SUPPORTED_FLAGS,
    }
    return message_of(0, "connect", CONNECT, properties)


def create_stream() -> Message:
    """Ask for a message stream."""
    return message_of(0, "createStream", CREATE_STREAM, None)


def announce_publish(key: str) -> tuple[Message, ...]:
    """Say what all encoders say before publish: some servers take the name then, others ignore it."""
    return (
        message_of(0, "releaseStream", RELEASE_STREAM, None, key),
        message_of(0, "FCPublish", FC_PUBLISH, None, key),
    )


def publish(message_stream_id: int, key: str) -> tuple[Message, ...]:
    """Ask to publish on a message stream."""
    return (message_of(message_stream_id, "publish", START, None, key, "live"),)


def play(message_stream_id: int, key: str) -> tuple[Message, ...]:
    """Ask to play on a message stream."""
    return (
        message_of(message_stream_id, "play", START, None, key, _LIVE_OR_RECORDED),
        encode_user_control(SET_BUFFER_LENGTH, message_stream_id, BUFFER_LENGTH_MS),
    )


def end_publish(message_stream_id: int, key: str) -> tuple[Message, ...]:
    """Say that no more media follow."""
    return (message_of(0, "FCUnpublish", FC_UNPUBLISH, None, key), *end_play(message_stream_id))


def end_play(message_stream_id: int) -> tuple[Message, ...]:
    """Give a message stream back."""
    return (message_of(0, "deleteStream", DELETE_STREAM, None, message_stream_id),)
