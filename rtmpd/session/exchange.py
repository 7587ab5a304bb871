"""
What each message does, by its type; the same for both ends of a connection.

Commands, which are not, are `server_commands` and `client_commands`. Types that nobody needs (shared objects, unknown
ones) do nothing. Set Chunk Size and Abort were obeyed by the chunk reader. RTMP 1.0 sections 5.4, 6.2 and 7.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rtmpd.errors import PeerError
from rtmpd.session.dialogue import Dialogue, NetStream
from rtmpd.wire import amf0, messages
from rtmpd.wire.commands import decode_data
from rtmpd.wire.messages import Message

SMALLEST_WINDOW_BYTES = 64 << 10
"""A peer that asks for an acknowledgement of every byte does not get one for every message."""

_SET_DATA_FRAME = "@setDataFrame"
_SET_DATA_FRAME_BYTES = amf0.encode(_SET_DATA_FRAME)
_HEADER_BYTES = 12
"""What an empty message costs at least, when stray ones are counted."""
Handler = Callable[[Dialogue, Message, float], None]


def handle(dialogue: Dialogue, message: Message, now: float) -> None:
    """
    Take one message in that is no command.

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


def _receiving_stream(dialogue: Dialogue, message: Message) -> NetStream | None:
    """Find the stream that a media message is due on; without one it is held if it is early, and else dropped."""
    stream = dialogue.find(message.message_stream_id)
    if stream is not None:
        if stream.state is dialogue.receiving_state:
            return stream
        if stream.state is dialogue.early_state and stream.hold(message, dialogue.limits.early_bytes):
            return None
    dialogue.count_stray(_HEADER_BYTES + len(message.body))
    return None


def _media(dialogue: Dialogue, message: Message, _now: float) -> None:
    stream = _receiving_stream(dialogue, message)
    if stream is not None:
        ours = message.message_stream_id == stream.id
        dialogue.events.append(message if ours else message._replace(message_stream_id=stream.id))


def _data(dialogue: Dialogue, message: Message, now: float) -> None:
    """Pass data on unread: there are encoders whose type 18 is no AMF. Above its rate it is dropped."""
    stream = _receiving_stream(dialogue, message)
    if stream is not None and dialogue.admits_data(len(message.body), now):
        _report_data(dialogue, message, stream, message.body.removeprefix(_SET_DATA_FRAME_BYTES))


def _data_amf3(dialogue: Dialogue, message: Message, now: float) -> None:
    """Turn it into what a type 18 message would have said; what cannot be read is dropped."""
    stream = _receiving_stream(dialogue, message)
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
    if body and not body.startswith(dialogue.void_data):
        dialogue.events.append(
            message._replace(type_id=messages.DATA_AMF0, message_stream_id=stream.id, body=body),
        )


def _aggregate(dialogue: Dialogue, message: Message, now: float) -> None:
    if _receiving_stream(dialogue, message) is not None:
        for part in messages.unpack_aggregate(message):
            handle(dialogue, part, now)


def _user_control(dialogue: Dialogue, message: Message, now: float) -> None:
    """Answer a ping, hear of an end. Buffer lengths are noted by nobody, and unknown events are no fault."""
    event = messages.decode_user_control(message.body)
    if event.event == messages.PING_REQUEST:
        dialogue.count_command(now)
        dialogue.send(messages.encode_user_control(messages.PING_RESPONSE, *event.arguments))
    elif event.event == messages.STREAM_EOF:
        dialogue.stream_eof(now)


def _acknowledgement_window(dialogue: Dialogue, message: Message, _now: float) -> None:
    dialogue.window = max(messages.decode_u32(message.body), SMALLEST_WINDOW_BYTES)


def _peer_bandwidth(dialogue: Dialogue, message: Message, now: float) -> None:
    window, _limit_type = messages.decode_set_peer_bandwidth(message.body)
    if window != dialogue.announced_window:
        dialogue.count_command(now)
        dialogue.announced_window = window
        dialogue.send(messages.encode_window_acknowledgement_size(window))


_HANDLERS: Mapping[int, Handler] = MappingProxyType(
    {
        messages.USER_CONTROL: _user_control,
        messages.WINDOW_ACKNOWLEDGEMENT_SIZE: _acknowledgement_window,
        messages.SET_PEER_BANDWIDTH: _peer_bandwidth,
        messages.AUDIO: _media,
        messages.VIDEO: _media,
        messages.DATA_AMF0: _data,
        messages.DATA_AMF3: _data_amf3,
        messages.AGGREGATE: _aggregate,
    }
)
