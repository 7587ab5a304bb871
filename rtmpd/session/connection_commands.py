"""
What a peer can ask of a connection: connect, streams made and deleted, and calls that only want an answer.

RTMP 1.0 section 7.2.1. The calls that only want an answer are in no specification; encoders make them around publish.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rtmpd.errors import Refused
from rtmpd.session import replies
from rtmpd.session.dialogue import Dialogue, NetStream
from rtmpd.session.events import Connected
from rtmpd.session.paths import printable
from rtmpd.session.states import following_connection
from rtmpd.wire.amf import AmfValue, Encodable
from rtmpd.wire.commands import Command
from rtmpd.wire.messages import LIMIT_DYNAMIC, encode_set_peer_bandwidth, encode_window_acknowledgement_size

Handler = Callable[[Dialogue, Command, float], None]

_MAX_URL_CHARACTERS = 4096


def handle(dialogue: Dialogue, command: Command, now: float) -> None:
    """
    Obey one of `HANDLERS`.

    Raises:
        OutOfOrder: it is not legal now; nothing was answered.
        Refused: it is not granted; nothing was answered.
    """
    following_connection(dialogue.state, command.name)
    HANDLERS[command.name](dialogue, command, now)


def _connect(dialogue: Dialogue, command: Command, now: float) -> None:
    """Grant it to all or none: the application is looked up with the stream, since URLs are split in many ways."""
    if (refusal := dialogue.connect_refusal) is not None:
        # A new one: what all connections raised would hold on to the frames of each.
        raise Refused(refusal.code, refusal.description)
    properties = command.command_object if isinstance(command.command_object, dict) else {}
    app = _text(properties, "app")
    tc_url = _text(properties, "tcUrl")
    if max(len(app), len(tc_url)) > _MAX_URL_CHARACTERS:
        raise Refused("NetConnection.Connect.InvalidApp", f"The URL is longer than {_MAX_URL_CHARACTERS} characters")
    dialogue.app = app
    dialogue.tc_url = tc_url
    dialogue.send(
        encode_window_acknowledgement_size(replies.WINDOW_BYTES),
        encode_set_peer_bandwidth(replies.WINDOW_BYTES, LIMIT_DYNAMIC),
    )
    # Before the result, so that ffmpeg, which copies it, has it in force for its first media.
    dialogue.announce_chunk_size()
    dialogue.send(replies.connect_result(command.transaction_id, properties))
    dialogue.enter("connect", now)
    flash_version = printable(_text(properties, "flashVer"))
    capabilities = replies.read_capabilities(properties)
    dialogue.can_reconnect = bool(capabilities.flags & replies.RECONNECT)
    dialogue.events.append(Connected(printable(app), printable(tc_url), flash_version, capabilities))


def _text(properties: Mapping[str, AmfValue], key: str) -> str:
    value = properties.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    raise Refused("NetConnection.Connect.InvalidApp", f"{key} is not a string")


def _create_stream(dialogue: Dialogue, command: Command, now: float) -> None:
    """Give the lowest free number: players need 1, also on a connection that publishes or plays a second time."""
    limit = dialogue.limits.streams_per_connection
    free = (number for number in range(1, limit + 1) if number not in dialogue.streams)
    message_stream_id = next(free, None)
    if message_stream_id is None:
        raise Refused("NetConnection.Call.Failed", f"A connection may have {limit} streams")
    stream = NetStream(message_stream_id)
    dialogue.streams[message_stream_id] = stream
    dialogue.move(stream, "create", now)
    _answer(dialogue, command, message_stream_id)


def _delete_stream(dialogue: Dialogue, command: Command, now: float) -> None:
    """Delete what is meant, or nothing; no client reads an answer, most have left by then."""
    stream = _stream_to_delete(dialogue, command.arguments[0] if command.arguments else None)
    if stream is not None:
        dialogue.report_end(stream, clean=True, reason="deleteStream")
        del dialogue.streams[stream.id]
        dialogue.move(stream, "delete", now)


def _stream_to_delete(dialogue: Dialogue, target: AmfValue) -> NetStream | None:
    if isinstance(target, float):
        return dialogue.streams.get(int(target)) if target.is_integer() else None
    if isinstance(target, str):
        # Interop: GStreamer names the stream instead of its number.
        return next((stream for stream in dialogue.streams.values() if stream.name == target), None)
    return None


def _announce_unpublish(dialogue: Dialogue, command: Command, _now: float) -> None:
    """Note it only: deleteStream or the end of the connection follows."""
    dialogue.unpublish_announced = True
    _answer(dialogue, command)


def _acknowledge(dialogue: Dialogue, command: Command, _now: float) -> None:
    _answer(dialogue, command)


def _stream_length(dialogue: Dialogue, command: Command, _now: float) -> None:
    """Live streams have no length."""
    _answer(dialogue, command, 0)


def _answer(dialogue: Dialogue, command: Command, *values: Encodable) -> None:
    # Interop: GStreamer calls with transaction 0 and expects no answer.
    if command.transaction_id != 0:
        dialogue.send(replies.result(command.transaction_id, *values))


HANDLERS: Mapping[str, Handler] = MappingProxyType(
    {
        "connect": _connect,
        "createStream": _create_stream,
        "deleteStream": _delete_stream,
        "releaseStream": _acknowledge,
        "FCPublish": _acknowledge,
        "FCUnpublish": _announce_unpublish,
        "FCSubscribe": _acknowledge,
        "FCUnsubscribe": _acknowledge,
        "getStreamLength": _stream_length,
        "_checkbw": _acknowledge,
    }
)
"""What each command does; where it is legal is a row of `states`."""
