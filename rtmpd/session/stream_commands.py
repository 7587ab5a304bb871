"""
What a peer can ask of a message stream, and what its owner can decide about it.

A publish or play is a request: the owner accepts or refuses it, at once or seconds later. Until then nothing is said to
the peer, because ffmpeg takes the first answer for the last.

RTMP 1.0 section 7.2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rtmpd.errors import OutOfOrder, Refused, UsageError
from rtmpd.session.dialogue import PLAYER_MESSAGE_STREAM_ID, Dialogue, NetStream
from rtmpd.session.events import PauseChanged, PlayRequested, PublishRequested
from rtmpd.session.paths import StreamName, resolve
from rtmpd.session.replies import on_status
from rtmpd.session.states import StreamState, following_stream
from rtmpd.wire.commands import Command
from rtmpd.wire.messages import STREAM_BEGIN, STREAM_EOF, Message, encode_user_control

Handler = Callable[[Dialogue, NetStream, Command, float], None]

_BAD_PUBLISH_NAME = "NetStream.Publish.BadName"
_PLAY_FAILED = "NetStream.Play.Failed"
_STREAM_NOT_FOUND = "NetStream.Play.StreamNotFound"

_ILLEGAL: Mapping[str, str] = MappingProxyType({"publish": _BAD_PUBLISH_NAME, "play": _PLAY_FAILED})
"""Clients wait for an onStatus after these, whatever their transaction id."""


def handle(dialogue: Dialogue, message_stream_id: int, command: Command, now: float) -> None:
    """
    Obey one of `HANDLERS`.

    Args:
        dialogue: the connection's.
        message_stream_id: of the message.
        command: it.
        now: the time in seconds.

    Raises:
        OutOfOrder: it is not legal now; a publish or play was answered with an onStatus, the others were not.
    """
    stream = dialogue.find(message_stream_id)
    verb = _verb(command)
    try:
        following_stream(stream.state if stream else StreamState.MISSING, verb)
    except OutOfOrder as error:
        if verb in _ILLEGAL:
            dialogue.send(on_status(message_stream_id, _ILLEGAL[verb], str(error)))
        raise
    assert stream is not None  # nothing that a peer can send is legal for a stream that is missing
    try:
        HANDLERS[command.name](dialogue, stream, command, now)
    except Refused as refused:
        _refuse(dialogue, stream, refused, now)
    else:
        dialogue.move(stream, verb, now)


def _verb(command: Command) -> str:
    if command.name == "pause" and command.arguments and command.arguments[0] is False:
        return "unpause"
    return command.name


def _publish(dialogue: Dialogue, stream: NetStream, command: Command, _now: float) -> None:
    """Request it. The third argument (live, record, append) is a hint that means nothing here."""
    name = _resolve(dialogue, stream, command, _BAD_PUBLISH_NAME)
    dialogue.role = "publish"
    dialogue.events.append(PublishRequested(stream.id, *name))


def _play(dialogue: Dialogue, stream: NetStream, command: Command, now: float) -> None:
    """Request it. Start, duration and reset mean nothing: there is only the live edge."""
    dialogue.count_play(now)
    if stream.id != PLAYER_MESSAGE_STREAM_ID:
        raise Refused(_PLAY_FAILED, f"Only message stream {PLAYER_MESSAGE_STREAM_ID} can play")
    name = _resolve(dialogue, stream, command, _STREAM_NOT_FOUND)
    dialogue.role = "play"
    dialogue.events.append(PlayRequested(stream.id, *name))


def _resolve(dialogue: Dialogue, stream: NetStream, command: Command, code: str) -> StreamName:
    spelled = command.arguments[0] if command.arguments else None
    if spelled is not None and not isinstance(spelled, str):
        raise Refused(code, "The stream name is not a string")
    limits = dialogue.limits
    name = resolve(
        dialogue.app,
        spelled or "",
        dialogue.tc_url,
        code=code,
        max_app_bytes=limits.app_bytes,
        max_key_bytes=limits.key_bytes,
    )
    stream.name = spelled or ""
    dialogue.name = name
    return name


def _pause(dialogue: Dialogue, stream: NetStream, command: Command, now: float) -> None:
    paused = _verb(command) == "pause"
    if paused != (stream.state is StreamState.PAUSED):
        if not paused:
            dialogue.count_play(now)
        dialogue.events.append(PauseChanged(stream.id, paused))
    dialogue.send(on_status(stream.id, f"NetStream.{'Pause' if paused else 'Unpause'}.Notify"))


def _seek(dialogue: Dialogue, stream: NetStream, _command: Command, _now: float) -> None:
    """Say that it happened: ffmpeg drops media until told so, and gives up if told that it failed."""
    dialogue.send(on_status(stream.id, "NetStream.Seek.Notify", "A live stream goes on where it is"))


def _ignore(_dialogue: Dialogue, _stream: NetStream, _command: Command, _now: float) -> None:
    """Accept without effect: what players share cannot leave audio or video out for one of them."""


def _close(dialogue: Dialogue, stream: NetStream, _command: Command, _now: float) -> None:
    dialogue.report_end(stream, clean=True, reason="closeStream")
    if stream.state is StreamState.PUBLISHING:
        dialogue.send(on_status(stream.id, "NetStream.Unpublish.Success"))


HANDLERS: Mapping[str, Handler] = MappingProxyType(
    {
        "publish": _publish,
        "play": _play,
        "pause": _pause,
        "seek": _seek,
        "receiveAudio": _ignore,
        "receiveVideo": _ignore,
        "closeStream": _close,
    }
)
"""What each command does; where it is legal is a row of `states`."""


def accept_publish(dialogue: Dialogue, message_stream_id: int, now: float) -> list[Message]:
    """Grant a publish; returns the media that did not wait for it."""
    stream = _decide(dialogue, message_stream_id, "accept_publish", now)
    dialogue.unpublish_announced = False
    dialogue.send(on_status(stream.id, "NetStream.Publish.Start"))
    return stream.take_early()


def accept_play(dialogue: Dialogue, message_stream_id: int, now: float) -> None:
    """Grant a play."""
    stream = _decide(dialogue, message_stream_id, "accept_play", now)
    dialogue.send(
        encode_user_control(STREAM_BEGIN, stream.id),
        on_status(stream.id, "NetStream.Play.Reset"),
        on_status(stream.id, "NetStream.Play.Start"),
    )


def refuse(dialogue: Dialogue, message_stream_id: int, verb: str, refused: Refused, now: float) -> None:
    """
    Do not grant a publish or play, or end a publish.

    Args:
        dialogue: the connection's.
        message_stream_id: of the stream.
        verb: refuse_publish, refuse_play or end_publish.
        refused: what the peer is told.
        now: the time in seconds.
    """
    _refuse(dialogue, _decide(dialogue, message_stream_id, verb, now), refused, now)


def finish_play(dialogue: Dialogue, message_stream_id: int, reason: str, now: float) -> None:
    """End a play, in the words of every client: ffmpeg hears the first, GStreamer the second."""
    stream = _decide(dialogue, message_stream_id, "finish_play", now)
    dialogue.send(
        on_status(stream.id, "NetStream.Play.UnpublishNotify", reason),
        encode_user_control(STREAM_EOF, stream.id),
    )
    dialogue.leave(f"play finished: {reason}", now)


def _refuse(dialogue: Dialogue, stream: NetStream, refused: Refused, now: float) -> None:
    dialogue.send(on_status(stream.id, refused.code, refused.description))
    dialogue.leave(f"refused: {refused}", now)


def _decide(dialogue: Dialogue, message_stream_id: int, verb: str, now: float) -> NetStream:
    stream = dialogue.streams.get(message_stream_id)
    if stream is None:
        raise UsageError(f"{verb} for message stream {message_stream_id}, which does not exist (any more)")
    try:
        dialogue.move(stream, verb, now)
    except OutOfOrder as error:
        raise UsageError(f"{verb} for message stream {message_stream_id}: {error}") from error
    return stream
