"""
The state of one connection between messages: what was said, what is to be answered, what is to be reported.

`Dialogue` holds it and offers the few verbs that answers are made of; the client's is `client_dialogue`. What each
message does stands in `exchange`, what each command does in `connection_commands` and `stream_commands` (as a client:
`client_commands`), and what is legal in `states`.
"""

from __future__ import annotations

from typing import ClassVar

from rtmpd.errors import LimitExceeded, OutOfOrder, Refused
from rtmpd.session.events import Event, PlayEnded, PublishEnded
from rtmpd.session.limits import Limits, TokenBucket
from rtmpd.session.paths import StreamName
from rtmpd.session.replies import WINDOW_BYTES
from rtmpd.session.states import (
    ACTIVE_STATES,
    PLAY_STATES,
    PUBLISH_STATES,
    ConnectionState,
    StreamState,
    following_connection,
    following_stream,
)
from rtmpd.wire.chunk_reader import DEFAULT_CHUNK_SIZE
from rtmpd.wire.chunk_writer import OUT_CHUNK_SIZE, encode_message
from rtmpd.wire.messages import Message, encode_set_chunk_size

PLAYER_MESSAGE_STREAM_ID = 1
"""Of every stream that plays: the bytes of the log, which all players share, carry it."""
NOT_RECEIVING = -1
"""In place of a message stream id; no message has it."""


EARLY_MESSAGE_BYTES = 256
"""What an empty message costs in memory, about: so much is counted for each that is held."""


class NetStream:
    """One message stream of a connection."""

    __slots__ = ("_early", "_early_bytes", "id", "name", "state")

    def __init__(self, message_stream_id: int) -> None:
        """Begin unused."""
        self.id = message_stream_id
        self.state = StreamState.MISSING
        self.name = ""
        """As the publish or play command spelled it: GStreamer deletes by name."""
        self._early: list[Message] = []
        self._early_bytes = 0

    def hold(self, message: Message, most_bytes: int) -> bool:
        """
        Keep media that came before their publish was granted: nginx sends them right behind its request, and the first
        are the codec configuration, without which the rest is worth nothing.

        Args:
            message: it.
            most_bytes: to keep at most. Once something was left out, everything behind it is.

        Returns:
            Whether it was kept.
        """
        self._early_bytes += EARLY_MESSAGE_BYTES + len(message.body)
        if self._early_bytes > most_bytes:
            return False
        self._early.append(message)
        return True

    def take_early(self) -> list[Message]:
        """Take what was held, and begin anew."""
        early, self._early, self._early_bytes = self._early, [], 0
        return early


class Dialogue:
    """What the messages of one connection have led to."""

    receiving_state: ClassVar[StreamState] = StreamState.PUBLISHING
    """Of a message stream whose media are reported."""
    early_state: ClassVar[StreamState | None] = StreamState.PUBLISH_REQUESTED
    """Of a message stream whose media are held until they may be reported."""
    void_data: ClassVar[tuple[bytes, ...]] = ()
    """How data messages begin that are not the stream's, and so are not reported."""

    __slots__ = (
        "_command_tokens",
        "_data_tokens",
        "_faults",
        "_out_chunk_size",
        "_play_tokens",
        "_stray_bytes",
        "acknowledged",
        "announced_window",
        "app",
        "can_reconnect",
        "closing_reason",
        "connect_refusal",
        "events",
        "limits",
        "name",
        "out",
        "receiving_id",
        "role",
        "since",
        "state",
        "streams",
        "tc_url",
        "unpublish_announced",
        "window",
    )

    def __init__(self, limits: Limits, now: float) -> None:
        """
        Begin before the handshake.

        Args:
            limits: the session's bounds.
            now: the time in seconds.
        """
        self.limits = limits
        self.state = ConnectionState.HANDSHAKE
        self.since = now
        """When the wait began that the next deadline is about."""
        self.closing_reason = ""
        """While lingering: why."""
        self.out = b""
        """What is to be written: whole messages."""
        self.events: list[Event] = []
        self.app = ""
        self.tc_url = ""
        self.can_reconnect = False
        """The client said in connect that it understands a reconnect request."""
        self.connect_refusal: Refused | None = None
        """What a connect is answered with; None: it is granted."""
        self.role = ""
        """"publish" or "play", by the last request; empty before."""
        self.name: StreamName | None = None
        """Of the last request."""
        self.streams: dict[int, NetStream] = {}
        self.receiving_id = NOT_RECEIVING
        """A message stream whose media are reported; those of others, if there are any, take a slower path."""
        self.unpublish_announced = False
        """FCUnpublish was received: should the connection end now, the publisher meant to."""
        self.window = WINDOW_BYTES
        """How often we acknowledge, in bytes."""
        self.acknowledged = 0
        """Bytes received when we last did."""
        self.announced_window = WINDOW_BYTES
        """The Window Acknowledgement Size that we sent last."""
        self._out_chunk_size = DEFAULT_CHUNK_SIZE
        self._stray_bytes = 0
        self._faults = 0
        self._command_tokens = TokenBucket(limits.commands_per_s, limits.commands_per_s, now)
        self._play_tokens: TokenBucket | None = None
        self._data_tokens: TokenBucket | None = None

    def send(self, *messages: Message) -> None:
        """Queue messages, in chunks of the size that the peer knows of."""
        for message in messages:
            self.out += encode_message(message, self._out_chunk_size)

    def announce_chunk_size(self) -> None:
        """Queue Set Chunk Size; what is sent from here on is in chunks of it."""
        self.send(encode_set_chunk_size(OUT_CHUNK_SIZE))
        self._out_chunk_size = OUT_CHUNK_SIZE

    def enter(self, command: str, now: float) -> None:
        """
        Change the connection's state, and begin to wait anew.

        Raises:
            OutOfOrder: the table does not allow it.
        """
        self.state = following_connection(self.state, command)
        self.since = now

    def leave(self, reason: str, now: float) -> None:
        """
        Part from a peer that was told something final, unless another of its streams is in use.

        Args:
            reason: for the log.
            now: the time in seconds.
        """
        if not self.has_active_stream:
            self.enter("linger", now)
            self.closing_reason = reason

    @property
    def has_active_stream(self) -> bool:
        """Whether anything is published or played, or about to be."""
        return any(stream.state in ACTIVE_STATES for stream in self.streams.values())

    def find(self, message_stream_id: int) -> NetStream | None:
        """
        Find the stream that a message is for.

        Interop: clients that ignore what createStream answered use message stream 0 throughout; with one stream it is
        clear which they mean.
        """
        stream = self.streams.get(message_stream_id)
        if stream is None and message_stream_id == 0 and len(self.streams) == 1:
            (stream,) = self.streams.values()
        return stream

    def move(self, stream: NetStream, command: str, now: float) -> None:
        """
        Change a stream's state.

        Raises:
            OutOfOrder: the table does not allow it; nothing has changed.
        """
        was_active = stream.state in ACTIVE_STATES
        stream.state = following_stream(stream.state, command)
        if stream.state is not self.receiving_state:
            stream.take_early()  # what was asked for is over: nobody may have them
        if was_active and stream.state not in ACTIVE_STATES:
            self.since = now
        receiving = (s.id for s in self.streams.values() if s.state is self.receiving_state)
        self.receiving_id = next(receiving, NOT_RECEIVING)

    def report_end(self, stream: NetStream, *, clean: bool, reason: str) -> None:
        """Report that what a stream was used for is over, before its state changes."""
        if stream.state in PUBLISH_STATES:
            self.events.append(PublishEnded(stream.id, clean, reason))
        elif stream.state in PLAY_STATES:
            self.events.append(PlayEnded(stream.id))

    def stream_eof(self, now: float) -> None:
        """Take no note: to a server it means nothing."""

    def terminate(self, reason: str, now: float) -> None:
        """End the connection: report the end of every stream, and forget them."""
        for stream in self.streams.values():
            self.report_end(stream, clean=self.unpublish_announced, reason=reason)
        self.streams.clear()
        self.receiving_id = NOT_RECEIVING
        self.enter("terminate", now)

    def count_command(self, now: float) -> None:
        """
        Count something that we answer.

        Raises:
            LimitExceeded: there was too much of it in too little time.
        """
        if not self._command_tokens.take(1, now):
            raise LimitExceeded(f"more than {self.limits.commands_per_s:g} commands a second")

    def count_play(self, now: float) -> None:
        """
        Count what makes us send a whole group of pictures.

        Raises:
            LimitExceeded: as for commands.
        """
        if self._play_tokens is None:
            self._play_tokens = TokenBucket(self.limits.plays_per_s, self.limits.plays_per_s, now)
        if not self._play_tokens.take(1, now):
            raise LimitExceeded(f"more than {self.limits.plays_per_s:g} plays a second")

    def admits_data(self, size: int, now: float) -> bool:
        """Say whether `size` bytes of data may be passed on to everybody now, and count them if so."""
        if self._data_tokens is None:
            self._data_tokens = TokenBucket(self.limits.data_bytes_per_s, self.limits.data_bytes, now)
        return self._data_tokens.take(size, now)

    def count_stray(self, size: int) -> None:
        """
        Count media that nobody may have.

        Raises:
            LimitExceeded: there was too much of it over the life of the connection.
        """
        self._stray_bytes += size
        if self._stray_bytes > self.limits.stray_bytes:
            raise LimitExceeded(f"more than {self.limits.stray_bytes} bytes of media that was not to be published")

    def count_fault(self, what: str) -> None:
        """
        Count a command that was broken or not legal, and was answered so.

        Raises:
            OutOfOrder: it was one too many.
        """
        self._faults += 1
        if self._faults > self.limits.tolerated_faults:
            raise OutOfOrder(f"more than {self.limits.tolerated_faults} faulty commands; the last: {what}")
