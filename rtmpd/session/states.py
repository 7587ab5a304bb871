"""
The law of the protocol: which command is legal in which state, and where it leads.

Two rules hold. Every change of state is a row of this file, be it a peer's command (in the spelling of the wire) or
our own decision (in snake_case). A command that has no row for a state is illegal there; it changes nothing.
`python -m rtmpd.session.states` prints the tables as Mermaid diagrams.

RTMP 1.0 section 7.2.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from types import MappingProxyType
from typing import TypeVar

from rtmpd.errors import OutOfOrder


class ConnectionState(Enum):
    """How far a connection has come."""

    HANDSHAKE = "handshake"
    UNCONNECTED = "unconnected"
    CONNECTED = "connected"
    LINGERING = "lingering"
    """The last word is said: nothing is read any more, and the peer has a moment to read and leave."""
    TERMINATED = "terminated"


class StreamState(Enum):
    """What one message stream of a connection is used for."""

    MISSING = "missing"
    """Not created yet, or deleted."""
    CREATED = "created"
    PUBLISH_REQUESTED = "publish_requested"
    PUBLISHING = "publishing"
    PLAY_REQUESTED = "play_requested"
    PLAYING = "playing"
    PAUSED = "paused"


_C = ConnectionState
_S = StreamState
_State = TypeVar("_State", ConnectionState, StreamState)

_CREATED_STATES = tuple(state for state in StreamState if state is not _S.MISSING)

PUBLISH_STATES = frozenset({_S.PUBLISH_REQUESTED, _S.PUBLISHING})
PLAY_STATES = frozenset({_S.PLAY_REQUESTED, _S.PLAYING, _S.PAUSED})
ACTIVE_STATES = PUBLISH_STATES | PLAY_STATES
"""A stream in one of these keeps its connection: no deadline for the next command runs."""

_CONNECTION_ROWS: tuple[tuple[str, tuple[ConnectionState, ...], ConnectionState | None], ...] = (
    ("handshake", (_C.HANDSHAKE,), _C.UNCONNECTED),
    ("connect", (_C.UNCONNECTED,), _C.CONNECTED),
    ("createStream", (_C.CONNECTED,), None),
    ("deleteStream", (_C.CONNECTED,), None),
    ("releaseStream", (_C.CONNECTED,), None),
    ("FCPublish", (_C.CONNECTED,), None),
    ("FCUnpublish", (_C.CONNECTED,), None),
    ("FCSubscribe", (_C.CONNECTED,), None),
    ("FCUnsubscribe", (_C.CONNECTED,), None),
    ("getStreamLength", (_C.CONNECTED,), None),
    ("_checkbw", (_C.CONNECTED,), None),
    ("linger", (_C.UNCONNECTED, _C.CONNECTED), _C.LINGERING),
    ("terminate", (_C.HANDSHAKE, _C.UNCONNECTED, _C.CONNECTED, _C.LINGERING), _C.TERMINATED),
)

_STREAM_ROWS: tuple[tuple[str, tuple[StreamState, ...], StreamState | None], ...] = (
    ("create", (_S.MISSING,), _S.CREATED),
    ("publish", (_S.CREATED,), _S.PUBLISH_REQUESTED),
    ("accept_publish", (_S.PUBLISH_REQUESTED,), _S.PUBLISHING),
    ("refuse_publish", (_S.PUBLISH_REQUESTED,), _S.CREATED),
    ("end_publish", (_S.PUBLISHING,), _S.CREATED),
    ("play", (_S.CREATED,), _S.PLAY_REQUESTED),
    ("accept_play", (_S.PLAY_REQUESTED,), _S.PLAYING),
    ("refuse_play", (_S.PLAY_REQUESTED,), _S.CREATED),
    ("finish_play", (_S.PLAYING, _S.PAUSED), _S.CREATED),
    ("pause", (_S.PLAYING, _S.PAUSED), _S.PAUSED),
    ("unpause", (_S.PLAYING, _S.PAUSED), _S.PLAYING),
    ("seek", (_S.PLAY_REQUESTED, _S.PLAYING, _S.PAUSED), None),
    ("receiveAudio", _CREATED_STATES, None),
    ("receiveVideo", _CREATED_STATES, None),
    ("closeStream", _CREATED_STATES, _S.CREATED),
    ("delete", _CREATED_STATES, _S.MISSING),
)


def _table(
    rows: tuple[tuple[str, tuple[_State, ...], _State | None], ...],
) -> Mapping[tuple[_State, str], _State]:
    return MappingProxyType(
        {(source, command): target or source for command, sources, target in rows for source in sources}
    )


CONNECTION_TRANSITIONS = _table(_CONNECTION_ROWS)
"""(state, command) -> state, for a connection."""
STREAM_TRANSITIONS = _table(_STREAM_ROWS)
"""(state, command) -> state, for a message stream."""


def following_connection(state: ConnectionState, command: str) -> ConnectionState:
    """
    Look a connection's next state up.

    Raises:
        OutOfOrder: the command is not legal in this state.
    """
    return _following(CONNECTION_TRANSITIONS, state, command)


def following_stream(state: StreamState, command: str) -> StreamState:
    """
    Look a message stream's next state up.

    Raises:
        OutOfOrder: the command is not legal in this state.
    """
    return _following(STREAM_TRANSITIONS, state, command)


def _following(table: Mapping[tuple[_State, str], _State], state: _State, command: str) -> _State:
    target = table.get((state, command))
    if target is None:
        raise OutOfOrder(f"{command} is not legal in state {state.value}")
    return target


def _diagram(name: str, table: Mapping[tuple[_State, str], _State]) -> Iterator[str]:
    """Rows with equal ends become one arrow that lists its commands."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (source, command), target in table.items():
        arrows.setdefault((source.value, target.value), []).append(command)
    yield f"%% {name}"
    yield "stateDiagram-v2"
    for (source_name, target_name), commands in arrows.items():
        yield f"    {source_name} --> {target_name}: {', '.join(commands)}"


def mermaid() -> str:
    """Draw both tables, one Mermaid diagram each."""
    lines = (
        *_diagram("connection", CONNECTION_TRANSITIONS),
        "",
        *_diagram("message stream", STREAM_TRANSITIONS),
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(mermaid())
