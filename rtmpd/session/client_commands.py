"""
What a server's commands lead to: the answers to ours, and what it tells of our stream.

Servers differ in which of several signs they give; each that some client of today goes by is understood here. A status
of level "error" is a refusal whatever its code, and so is a code that means one, whatever its level.

RTMP 1.0 section 7.2; Enhanced RTMP v2, "NetConnection.Connect.ReconnectRequest".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from rtmpd.errors import AmfError, MessageError
from rtmpd.session import replies, requests
from rtmpd.session.authentication import authenticate
from rtmpd.session.client_dialogue import ClientDialogue
from rtmpd.session.dialogue import NetStream
from rtmpd.session.events import AuthenticationNeeded, Connected, Playing, Publishing, ReconnectRequested
from rtmpd.session.paths import printable
from rtmpd.session.states import ConnectionState, StreamState
from rtmpd.wire.commands import Command, decode_command, decode_command_head
from rtmpd.wire.messages import Message

Handler = Callable[[ClientDialogue, Command, float], None]

MAY_RETRY: Mapping[str, bool] = MappingProxyType(
    {
        "NetConnection.Call.BadVersion": False,
        "NetConnection.Call.Failed": True,
        "NetConnection.Connect.AppShutdown": True,
        "NetConnection.Connect.Closed": True,
        "NetConnection.Connect.Failed": True,
        "NetConnection.Connect.InvalidApp": False,
        "NetConnection.Connect.Rejected": False,
        "NetStream.Failed": True,
        "NetStream.Play.Failed": True,
        "NetStream.Play.StreamNotFound": True,
        # Most often our own connection of before, of which the server does not know yet that it is gone.
        "NetStream.Publish.BadName": True,
        "NetStream.Publish.Denied": False,
        "NetStream.Publish.Rejected": False,
    }
)
"""The codes that refuse, and whether the same request may be granted later. Of other codes at level error, it may."""

_GRANTS: Mapping[StreamState, frozenset[str]] = MappingProxyType(
    {
        StreamState.PUBLISH_REQUESTED: frozenset({"NetStream.Publish.Start"}),
        StreamState.PLAY_REQUESTED: frozenset({"NetStream.Play.Start", "NetStream.Play.PublishNotify"}),
    }
)
_ENDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "publish": frozenset({"NetStream.Unpublish.Success"}),
        "play": frozenset({"NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete"}),
    }
)
"""By role, the codes that end it."""


class _Info(NamedTuple):
    """What a server says in an onStatus, a `_result` or an `_error`; empty where it says nothing."""

    level: str
    code: str
    description: str
    tc_url: str


def obey(dialogue: ClientDialogue, message: Message, now: float) -> None:
    """
    Take one command in.

    Args:
        dialogue: what it changes, answers and reports.
        message: of type 20 or 17.
        now: the time in seconds.

    Raises:
        PeerError: the connection must end.
    """
    dialogue.count_command(now)
    command = _decode(dialogue, message)
    if command is None:
        return
    handler = _HANDLERS.get(command.name)
    if handler is not None:
        handler(dialogue, command, now)
    elif command.transaction_id != 0:
        description = f"There is no command {printable(command.name, 32)}"
        dialogue.send(replies.error(command.transaction_id, "NetConnection.Call.Failed", description))


def _decode(dialogue: ClientDialogue, message: Message) -> Command | None:
    """
    Make do with name and transaction where the rest is broken: that it is an answer may be all that we need.

    Interop: ffmpeg as a server sends onFCPublish as a name and nothing else.
    """
    limits = dialogue.limits
    try:
        return decode_command(message, max_depth=limits.amf_depth, max_elements=limits.command_elements)
    except (AmfError, MessageError) as error:
        dialogue.count_fault(str(error))
    try:
        name, transaction_id = decode_command_head(message)
    except (AmfError, MessageError):
        return None
    return Command(name, transaction_id, None, [])


def _info(command: Command) -> _Info:
    """Find the info object: the last argument that is an object, as the others come before it."""
    objects = [value for value in command.arguments if isinstance(value, dict)]
    found = objects[-1] if objects else {}
    texts = (found.get(name) for name in ("level", "code", "description", "tcUrl"))
    return _Info(*(text if isinstance(text, str) else "" for text in texts))


def _result(dialogue: ClientDialogue, command: Command, now: float) -> None:
    waiting = _RESULTS.get(command.transaction_id)
    if waiting is not None:
        waiting(dialogue, command, now)


def _connected(dialogue: ClientDialogue, command: Command, now: float) -> None:
    if dialogue.state is not ConnectionState.UNCONNECTED:
        return
    info = _info(command)
    if _refuses(info):
        _connect_refused(dialogue, info, now)
        return
    dialogue.enter("connect", now)
    server = command.command_object if isinstance(command.command_object, dict) else {}
    version = server.get("fmsVer")
    dialogue.events.append(
        Connected(
            printable(dialogue.url.app.partition("?")[0]),
            printable(dialogue.url.label),
            printable(version) if isinstance(version, str) else "",
            replies.read_capabilities(server),
        )
    )
    if dialogue.role == "publish":
        dialogue.send(*requests.announce_publish(dialogue.url.key))
    dialogue.send(requests.create_stream())


def _created(dialogue: ClientDialogue, command: Command, now: float) -> None:
    if dialogue.state is not ConnectionState.CONNECTED or dialogue.streams:
        return
    number = command.arguments[0] if command.arguments else None
    if not isinstance(number, float) or not number.is_integer() or not 0 < number < 1 << 32:
        raise MessageError(f"createStream was answered with {printable(repr(number), 64)}, not with a stream's number")
    stream = dialogue.streams[int(number)] = NetStream(int(number))
    dialogue.move(stream, "create", now)
    dialogue.move(stream, dialogue.role, now)
    ask = requests.publish if dialogue.role == "publish" else requests.play
    dialogue.send(*ask(stream.id, dialogue.url.key))


def _started(dialogue: ClientDialogue, _command: Command, now: float) -> None:
    """Go on: some servers answer the request by itself, before or instead of a status."""
    _grant(dialogue, now)


def _grant(dialogue: ClientDialogue, now: float) -> None:
    stream = dialogue.stream
    if stream is None or stream.state not in _GRANTS:
        return
    dialogue.move(stream, f"accept_{dialogue.role}", now)
    granted = Publishing if dialogue.role == "publish" else Playing
    dialogue.events.append(granted(stream.id))


def _error(dialogue: ClientDialogue, command: Command, now: float) -> None:
    """Give up what was refused; releaseStream and FCPublish may fail."""
    info = _info(command)
    if command.transaction_id == requests.CONNECT and dialogue.state is ConnectionState.UNCONNECTED:
        _connect_refused(dialogue, info, now)
    elif command.transaction_id in {requests.CREATE_STREAM, requests.START}:
        _refuse(dialogue, info, "NetConnection.Call.Failed", now)


def _connect_refused(dialogue: ClientDialogue, info: _Info, now: float) -> None:
    query = authenticate(dialogue.url, info.description, dialogue.auth_query, dialogue.challenge)
    if query:
        dialogue.events.append(AuthenticationNeeded(query))
        dialogue.conclude("the server asks for user and password", now)
    else:
        _refuse(dialogue, info, "NetConnection.Connect.Rejected", now)


def _refuse(dialogue: ClientDialogue, info: _Info, default_code: str, now: float) -> None:
    code = info.code or default_code
    dialogue.refuse(code, info.description, now, may_retry=MAY_RETRY.get(code, True))


def _refuses(info: _Info) -> bool:
    return info.level == "error" or info.code in MAY_RETRY


def _status(dialogue: ClientDialogue, command: Command, now: float) -> None:
    info = _info(command)
    stream = dialogue.stream
    if info.code == "NetConnection.Connect.ReconnectRequest":
        _reconnect(dialogue, info)
    elif info.code in _ENDS[dialogue.role]:
        dialogue.end(info.code, now)
    elif _refuses(info):
        _refuse(dialogue, info, "NetStream.Failed", now)
    elif stream is not None and info.code in _GRANTS.get(stream.state, ()):
        _grant(dialogue, now)


def _reconnect(dialogue: ClientDialogue, info: _Info) -> None:
    try:
        url = dialogue.url.redirected(info.tc_url)
    except ValueError as error:
        dialogue.count_fault(f"a reconnect request to a URL that {error}")
        return
    dialogue.events.append(ReconnectRequested(url, printable(info.description)))


def _close(dialogue: ClientDialogue, command: Command, now: float) -> None:
    dialogue.end(command.name, now)


def _unsubscribed(dialogue: ClientDialogue, command: Command, now: float) -> None:
    if dialogue.role == "play":
        dialogue.end(command.name, now)


def _bandwidth_check(dialogue: ClientDialogue, command: Command, _now: float) -> None:
    """Answer, as librtmp does: there are servers that wait for it."""
    dialogue.send(replies.result(command.transaction_id, 0))


def _ignore(_dialogue: ClientDialogue, _command: Command, _now: float) -> None:
    """Accept what needs no answer, whatever its transaction id."""


_RESULTS: Mapping[float, Handler] = MappingProxyType(
    {requests.CONNECT: _connected, requests.CREATE_STREAM: _created, requests.START: _started}
)
"""By transaction id, what an answer leads to; those that are missing mean nothing."""

_HANDLERS: Mapping[str, Handler] = MappingProxyType(
    {
        "_result": _result,
        "_error": _error,
        "onStatus": _status,
        "close": _close,
        "onFCUnsubscribe": _unsubscribed,
        "onFCPublish": _ignore,
        "onFCUnpublish": _ignore,
        "onFCSubscribe": _ignore,
        "onBWDone": _ignore,
        "_onbwcheck": _bandwidth_check,
    }
)
