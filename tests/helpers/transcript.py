"""
Session tests that read as a dialogue.

A `Transcript` plays a client and the owner of a `ServerSession`, line by line. Everything that the session says or
reports must be named by the next line that asks for it; what no line has named when the script ends is a failure, too.
On a mismatch both sides are shown, and the dialogue so far.

    with Transcript() as script:
        script.shakes_hands()
        script.received(command("connect", 1, {"app": "live"}))
        script.sent("window acknowledgement size 2500000", ..., "_result 1 {fmsVer, capabilities} status NetConnection…")
        script.reported(Connected(...))
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Self

from rtmpd.session.base import Session
from rtmpd.session.events import Event
from rtmpd.session.limits import Limits
from rtmpd.session.server import ServerSession
from rtmpd.wire import messages
from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.commands import decode_command, encode_command
from rtmpd.wire.handshake import RANDOM_BYTES
from rtmpd.wire.messages import Message
from tests.helpers.chunks import NO_LIMITS

START = 1000.0
HANDSHAKE = b"\x03" + bytes(2 * 1536)
GREETING = (
    "window acknowledgement size 2500000",
    "set peer bandwidth 2500000 dynamic",
    "set chunk size 65536",
    "_result 1 {fmsVer, capabilities} status NetConnection.Connect.Success",
)
"""What answers a connect without Enhanced RTMP keys."""


def command(name, transaction_id, *values, msid=0, csid=3) -> Message:
    """Make a command; without values it has a null command object."""
    return Message(messages.COMMAND_AMF0, 0, msid, encode_command(name, transaction_id, *values or (None,)), csid)


def video(body=b"\x17\x01\0\0\0frame", timestamp_ms=0, msid=1, csid=6) -> Message:
    """Make a video message."""
    return Message(messages.VIDEO, timestamp_ms, msid, body, csid)


def audio(body=b"\xaf\x01frame", timestamp_ms=0, msid=1, csid=4) -> Message:
    """Make an audio message."""
    return Message(messages.AUDIO, timestamp_ms, msid, body, csid)


def data(body, msid=1, csid=4) -> Message:
    """Make a data message."""
    return Message(messages.DATA_AMF0, 0, msid, body, csid)


def new_session(limits: Limits | None = None, now: float = START) -> ServerSession:
    """Make a session with random bytes that are not random."""
    return ServerSession(limits or Limits(), bytes(RANDOM_BYTES), now)


_LIMIT_TYPES = {messages.LIMIT_HARD: "hard", messages.LIMIT_SOFT: "soft", messages.LIMIT_DYNAMIC: "dynamic"}
_EVENTS = {
    messages.STREAM_BEGIN: "stream begin",
    messages.STREAM_EOF: "stream eof",
    messages.SET_BUFFER_LENGTH: "set buffer length",
    messages.PING_RESPONSE: "pong",
}


def describe(message: Message) -> str:
    """Put what a session can say into one line."""
    match message.type_id:
        case messages.SET_CHUNK_SIZE:
            return f"set chunk size {messages.decode_u32(message.body)}"
        case messages.ACKNOWLEDGEMENT:
            return f"acknowledgement {messages.decode_u32(message.body)}"
        case messages.WINDOW_ACKNOWLEDGEMENT_SIZE:
            return f"window acknowledgement size {messages.decode_u32(message.body)}"
        case messages.SET_PEER_BANDWIDTH:
            size, limit_type = messages.decode_set_peer_bandwidth(message.body)
            return f"set peer bandwidth {size} {_LIMIT_TYPES[limit_type]}"
        case messages.USER_CONTROL:
            event = messages.decode_user_control(message.body)
            return " ".join([_EVENTS[event.event], *map(str, event.arguments)])
        case messages.COMMAND_AMF0:
            return _describe_command(message)
    raise AssertionError(f"nothing that a session says: {message}")


def _describe_command(message: Message) -> str:
    said = decode_command(message)
    place = f"{message.message_stream_id}: " if message.message_stream_id else ""
    words = [f"{place}{said.name} {said.transaction_id:g}"]
    words += [_describe_value(value) for value in (said.command_object, *said.arguments) if value is not None]
    return " ".join(words)


def _describe_value(value) -> str:
    if not isinstance(value, dict):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if "code" not in value:
        return "{" + ", ".join(value) + "}"
    # What every client needs of every status: a plain object with a level, a code and a description to show.
    assert type(value) is dict
    assert value["description"]
    return f"{value['level']} {value['code']}"


class Listener:
    """Reads what a session writes, as its peer would."""

    def __init__(self) -> None:
        self._handshake_left = len(HANDSHAKE)
        self._reader = ChunkReader(body_limits=NO_LIMITS)

    def read(self, output: bytes) -> list[Message]:
        """Return the messages that are complete; the handshake is passed over."""
        skipped = min(self._handshake_left, len(output))
        self._handshake_left -= skipped
        found: list[Message] = []
        self._reader.feed(output[skipped:], found)
        return found


class Transcript:
    """One script: received … sent … reported …, in the order in which it happens."""

    def __init__(self, *, limits: Limits | None = None, piece_bytes: int | None = None) -> None:
        """
        Begin a dialogue.

        Args:
            limits: of the session.
            piece_bytes: feed what is received in pieces of this size; all at once by default.
        """
        self.now = START
        self.session = self._new_session(limits)
        self.chunk_size = 128
        """The client's. Whoever sends a Set Chunk Size changes it."""
        self._piece_bytes = piece_bytes
        self._listener = Listener()
        self._said: list[Message] = []
        self._told: list[Event] = []
        self._history: list[str] = []

    def _new_session(self, limits: Limits | None) -> Session:
        return new_session(limits, self.now)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, _error, _traceback) -> None:
        if kind is None:
            self.sent()
            self.reported()

    def shakes_hands(self) -> None:
        """Play the handshake."""
        self.received(HANDSHAKE)

    def connects(self, app="live", **properties) -> None:
        """Play everything up to the answer of a createStream, without looking at it."""
        self.shakes_hands()
        self.received(command("connect", 1, {"app": app, **properties}), command("createStream", 2))
        self._said.clear()
        self._told.clear()

    def publishes(self, name="s") -> None:
        """Play everything up to an accepted publish on message stream 1, without looking at it."""
        self.connects()
        self.received(command("publish", 3, None, name, "live", msid=1))
        self.decides("accept_publish", 1)
        self._said.clear()
        self._told.clear()

    def plays(self, name="s") -> None:
        """Play everything up to an accepted play, without looking at it."""
        self.connects()
        self.received(command("play", 3, None, name, msid=1))
        self.decides("accept_play", 1)
        self._said.clear()
        self._told.clear()

    def received(self, *items: Message | bytes) -> None:
        """Let the session receive messages, or bytes as they are, at once."""
        self._history += [f">> {_shorten(item)}" for item in items]
        self._receive(
            b"".join(item if isinstance(item, bytes) else encode_message(item, self.chunk_size) for item in items)
        )

    def _receive(self, received: bytes) -> None:
        size = self._piece_bytes or len(received) or 1
        for start in range(0, len(received), size):
            self._told += self.session.receive_data(received[start : start + size], self.now)
            self._listen()

    def closes(self) -> None:
        """Let the client close its side."""
        self._history.append(">> end of file")
        self._told += self.session.receive_eof(self.now)
        self._listen()

    def decides(self, verb: str, *arguments, **keywords) -> object:
        """Let the owner call a method of the session that takes the time as `now`; returns what that does."""
        self._history.append(f"-- {verb}{arguments}")
        answer = getattr(self.session, verb)(*arguments, now=self.now, **keywords)
        self._listen()
        return answer

    def passes(self, seconds: float) -> None:
        """Let time pass, and the session look at it."""
        self._history.append(f"-- {seconds} s pass")
        self.now += seconds
        self._told += self.session.handle_timer(self.now)
        self._listen()

    def waits_for_deadline(self) -> None:
        """Let time pass up to the session's own deadline."""
        deadline = self.session.next_deadline()
        assert deadline is not None
        self.passes(deadline - self.now)

    def sent(self, *lines: str) -> None:
        """Expect exactly these messages since the last time (see `describe`)."""
        self._compare("sent", lines, [describe(message) for message in self._said])
        self._said.clear()

    def reported(self, *events: Event) -> None:
        """Expect exactly these events since the last time."""
        self._compare("reported", list(map(str, map(_plain, events))), list(map(str, map(_plain, self._told))))
        assert list(events) == self._told
        self._told.clear()

    def _listen(self) -> None:
        self._said += self._listener.read(self.session.data_to_send())

    def _compare(self, what: str, expected: Iterable[str], actual: Iterable[str]) -> None:
        expected, actual = list(expected), list(actual)
        if expected != actual:
            difference = "\n".join(difflib.ndiff(expected, actual))
            history = "\n".join(self._history)
            raise AssertionError(f"{what}, script (-) against session (+):\n{difference}\n\nbefore:\n{history}")
        self._history += [f"<< {line}" for line in actual]


def _shorten(item: Message | bytes) -> str:
    text = str(item)
    return text if len(text) < 120 else text[:117] + "..."


def _plain(event: Event) -> object:
    """Show an event by its fields, whatever its own form for the log is."""
    return event if isinstance(event, Message) else repr(event)
