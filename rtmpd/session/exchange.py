"""
What each message does, by its type.

Types that nobody needs (shared objects, unknown ones) do nothing. Set Chunk Size and Abort were obeyed by the chunk
reader. RTMP 1.0 sections 5.4, 6.2 and 7.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rtmpd.errors import AmfError, MessageError, OutOfOrder, PeerError, Refused
from rtmpd.session import connection_commands, replies, stream_commands
from rtmpd.session.dialogue import Dialogue, NetStream
from rtmpd.session.paths import printable
from rtmpd.session.states import StreamState
from rtmpd.wire import amf0, messages
from rtmpd.wire.commands import Command, decode_command, decode_command_head, decode_data
from rtmpd.wire.messages import Message

SMALLEST_WINDOW_BYTES = 64 << 10
"""A peer that asks for an acknowledgement of every byte does not get one for every message."""

_SET_DATA_FRAME = "@setDataFrame"
_SET_DATA_FRAME_BYTES = amf0.encode(_SET_DATA_FRAME)
_HEADER_BYTES = 12
"""What an empty message costs at least, when stray ones are counted."""
_ANSWERS = frozenset({"_result", "_error", "onStatus", "onBWDone", "close"})
"""Sent to us by some clients in reply to what other servers say, or as they leave."""

Handler = Callable[[Dialogue, Message, float], None]


def handle(dialogue: Dialogue, message: Message, now: float) -> None:
    """
    Take one message in.

    Args:
        dialogue: what it changes, answers and reports.
        message: it.
        now: the time in seconds.

    Raises:
        PeerError: the connection must end.
    """
    handler = _HANDLERS.get(message.type_id)
    if handler is not None:
        handler(dialogue, message, now)


def _publishing_stream(dialogue: Dialogue, message: Message) -> NetStream | None:
    """Find the stream that a media message is published on; without one it is dropped."""
    stream = dialogue.find(message.message_stream_id)
    if stream is not None and stream.state is StreamState.PUBLISHING:
        return stream
    dialogue.count_stray(_HEADER_BYTES + len(message.body))
    return None


def _media(dialogue: Dialogue, message: Message, _now: float) -> None:
    stream = _publishing_stream(dialogue, message)
    if stream is not None:
        ours = message.message_stream_id == stream.id
        dialogue.events.append(message if ours else message._replace(message_stream_id=stream.id))


def _data(dialogue: Dialogue, message: Message, now: float) -> None:
    """Pass data on unread: there are encoders whose type 18 is no AMF. Above its rate it is dropped."""
    stream = _publishing_stream(dialogue, message)
    if stream is not None and dialogue.admits_data(len(message.body), now):
        _report_data(dialogue, message, stream, message.body.removeprefix(_SET_DATA_FRAME_BYTES))


def _data_amf3(dialogue: Dialogue, message: Message, now: float) -> None:
    """Turn it into what a type 18 message would have said; what cannot be read is dropped."""
    stream = _publishing_stream(dialogue, message)
    if stream is None or not dialogue.admits_data(len(message.body), now):
        return
    limits = dialogue.limits
    try:
        values = decode_data(message, max_depth=limits.amf_depth, max_elements=limits.data_elements)
    except PeerError:
        return
    if values[:1] == [_SET_DATA_FRAME]:
        del values[0]
    _report_data(dialogue, message, stream, amf0.encode(*values))


def _report_data(dialogue: Dialogue, message: Message, stream: NetStream, body: bytes) -> None:
    if body:
        dialogue.events.append(
            message._replace(type_id=messages.DATA_AMF0, message_stream_id=stream.id, body=body),
        )


def _aggregate(dialogue: Dialogue, message: Message, now: float) -> None:
    if _publishing_stream(dialogue, message) is not None:
        for part in messages.unpack_aggregate(message):
            handle(dialogue, part, now)


def _user_control(dialogue: Dialogue, message: Message, now: float) -> None:
    """Answer a ping. Buffer lengths are noted by nobody, and unknown events are no fault."""
    event = messages.decode_user_control(message.body)
    if event.event == messages.PING_REQUEST:
        dialogue.count_command(now)
        dialogue.send(messages.encode_user_control(messages.PING_RESPONSE, *event.arguments))


def _acknowledgement_window(dialogue: Dialogue, message: Message, _now: float) -> None:
    dialogue.window = max(messages.decode_u32(message.body), SMALLEST_WINDOW_BYTES)


def _peer_bandwidth(dialogue: Dialogue, message: Message, now: float) -> None:
    window, _limit_type = messages.decode_set_peer_bandwidth(message.body)
    if window != dialogue.announced_window:
        dialogue.count_command(now)
        dialogue.announced_window = window
        dialogue.send(messages.encode_window_acknowledgement_size(window))


def _command(dialogue: Dialogue, message: Message, now: float) -> None:
    dialogue.count_command(now)
    limits = dialogue.limits
    try:
        command = decode_command(message, max_depth=limits.amf_depth, max_elements=limits.command_elements)
    except (AmfError, MessageError) as error:
        name, transaction_id = decode_command_head(message)
        _fail(dialogue, transaction_id, f"{printable(name, 32)}: {error}")
        return
    try:
        _dispatch(dialogue, message.message_stream_id, command, now)
    except OutOfOrder as error:
        answered = command.name in ("publish", "play")
        _fail(dialogue, 0 if answered else command.transaction_id, str(error))


def _dispatch(dialogue: Dialogue, message_stream_id: int, command: Command, now: float) -> None:
    if command.name in stream_commands.HANDLERS:
        stream_commands.handle(dialogue, message_stream_id, command, now)
    elif command.name in connection_commands.HANDLERS:
        _dispatch_to_connection(dialogue, command, now)
    elif command.name not in _ANSWERS and command.transaction_id != 0:
        description = f"There is no command {printable(command.name, 32)}"
        dialogue.send(replies.error(command.transaction_id, "NetConnection.Call.Failed", description))


def _dispatch_to_connection(dialogue: Dialogue, command: Command, now: float) -> None:
    try:
        connection_commands.handle(dialogue, command, now)
    except Refused as refused:
        dialogue.send(replies.error(command.transaction_id, refused.code, refused.description))
        if command.name == "connect":
            dialogue.leave(f"refused: {refused}", now)
        else:
            dialogue.count_fault(str(refused))


def _fail(dialogue: Dialogue, transaction_id: float, description: str) -> None:
    if transaction_id != 0:
        dialogue.send(replies.error(transaction_id, "NetConnection.Call.Failed", description))
    dialogue.count_fault(description)


_HANDLERS: Mapping[int, Handler] = MappingProxyType(
    {
        messages.USER_CONTROL: _user_control,
        messages.WINDOW_ACKNOWLEDGEMENT_SIZE: _acknowledgement_window,
        messages.SET_PEER_BANDWIDTH: _peer_bandwidth,
        messages.AUDIO: _media,
        messages.VIDEO: _media,
        messages.DATA_AMF0: _data,
        messages.DATA_AMF3: _data_amf3,
        messages.COMMAND_AMF0: _command,
        messages.COMMAND_AMF3: _command,
        messages.AGGREGATE: _aggregate,
    }
)
