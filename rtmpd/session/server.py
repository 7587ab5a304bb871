"""
The server's side of one RTMP connection, without I/O: bytes and the time in, events and bytes out.

The owner calls, in this order after each thing that happened: `receive_data` (or `receive_eof`, or `handle_timer`),
then acts on the events, then writes `data_to_send()`, then sets its timer to `next_deadline()`. After `Terminated` it
writes what there is, as far as the socket takes it, and closes.

A peer's mistake never raises: it is caught here, in one place, and becomes `Terminated`. A wrong call by the owner is a
UsageError. Anything else that is raised is a bug of ours.

What is reported depends on the bytes and the time of their arrival, not on how they were split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rtmpd.errors import (
    AmfError,
    ChunkError,
    HandshakeError,
    LimitExceeded,
    MessageError,
    OutOfOrder,
    PeerError,
    PeerTimeout,
    Refused,
)
from rtmpd.session import exchange, stream_commands
from rtmpd.session.dialogue import NOT_PUBLISHING, Dialogue
from rtmpd.session.events import Event, MediaRun, Terminated
from rtmpd.session.limits import Limits, body_limits
from rtmpd.session.states import PLAY_STATES, ConnectionState
from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.handshake import ServerHandshake
from rtmpd.wire.messages import AUDIO, VIDEO, Message, encode_acknowledgement

_EVIDENCE_BYTES = 16

_LAYERS = {
    HandshakeError: "handshake",
    ChunkError: "chunk",
    AmfError: "AMF",
    MessageError: "message",
    LimitExceeded: "limit",
    OutOfOrder: "order",
    PeerTimeout: "timeout",
}

_WAITS = {
    ConnectionState.HANDSHAKE: ("handshake_s", "no handshake"),
    ConnectionState.UNCONNECTED: ("connect_s", "no connect"),
    ConnectionState.CONNECTED: ("command_s", "neither publish nor play"),
    ConnectionState.LINGERING: ("linger_s", ""),
}
"""What a peer is given time for when it neither publishes nor plays: the limit's field, and what was missing then."""

_TOO_EARLY = {
    ConnectionState.HANDSHAKE: " before the end of the handshake",
    ConnectionState.UNCONNECTED: " before connect",
}


class Description(NamedTuple):
    """What the log says of a connection besides its end."""

    role: str
    """"publish" or "play", by the last request; empty before."""
    app: str
    stream: str
    bytes_received: int


class ServerSession:
    """One connection's protocol, from the first byte to the last."""

    __slots__ = ("_bytes_received", "_dialogue", "_handshake", "_limits", "_reader", "_received_at")

    def __init__(self, limits: Limits, random_bytes: bytes, now: float) -> None:
        """
        Wait for the handshake.

        Args:
            limits: what the peer may ask for; one object serves all sessions.
            random_bytes: 1528 bytes for the handshake.
            now: the time in seconds, of any epoch that does not jump.
        """
        self._limits = limits
        self._dialogue = Dialogue(limits, now)
        self._handshake: ServerHandshake | None = ServerHandshake(random_bytes, int(now * 1000))
        self._reader: ChunkReader | None = None
        self._received_at = now
        self._bytes_received = 0

    def receive_data(self, data: bytes | bytearray | memoryview, now: float) -> Sequence[Event]:
        """
        Take in what the peer sent.

        Args:
            data: any number of bytes; may be overwritten afterwards.
            now: the time in seconds.

        Returns:
            What it led to, in order. Nothing after a Terminated that was reported before.
        """
        self._received_at = now
        self._bytes_received += len(data)
        reader = self._reader
        if reader is None:
            return self._receive_without_chunks(data, now)
        messages = MediaRun()
        try:
            reader.feed(data, messages)
        except PeerError as error:
            return self._handle(messages, now, error, data)
        dialogue = self._dialogue
        publishing_id = dialogue.publishing_id
        for message in messages:
            # By position: names of a tuple's fields cost twice as much.
            if message[2] != publishing_id or (message[0] != VIDEO and message[0] != AUDIO):
                return self._handle(messages, now)
        if self._bytes_received - dialogue.acknowledged >= dialogue.window:
            self._acknowledge()
        return messages

    def receive_eof(self, now: float, reason: str = "peer closed") -> list[Event]:
        """
        Take note that nothing more will come from the peer.

        Args:
            now: the time in seconds.
            reason: for the log; another one when the connection broke.

        Returns:
            The ends of its streams, and Terminated, unless that was reported before.
        """
        dialogue = self._dialogue
        return self._terminate(dialogue.closing_reason or reason + _TOO_EARLY.get(dialogue.state, ""), now)

    def data_to_send(self) -> bytes:
        """
        Take what is to be written: whole messages, so that others may be written before and after.

        Take it only when all that was taken before is written. What stays here is bounded: a peer that asks and does
        not read is let go.
        """
        dialogue = self._dialogue
        data = dialogue.out
        dialogue.out = b""
        return data

    def next_deadline(self) -> float | None:
        """Say at which time, in seconds, `handle_timer` wants to be called; None for never. May change with each call."""
        dialogue = self._dialogue
        if dialogue.publishing_id != NOT_PUBLISHING:
            return self._received_at + self._limits.publisher_idle_s
        wait = _WAITS.get(dialogue.state)
        if wait is None or dialogue.has_active_stream:
            return None
        seconds: float = getattr(self._limits, wait[0])
        return dialogue.since + seconds

    def handle_timer(self, now: float) -> list[Event]:
        """
        Look whether a deadline has passed.

        Args:
            now: the time in seconds; too early is harmless.

        Returns:
            Terminated, after the ends of the streams, if it has.
        """
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        dialogue = self._dialogue
        if dialogue.state is ConnectionState.LINGERING:
            return self._terminate(dialogue.closing_reason, now)
        if dialogue.publishing_id != NOT_PUBLISHING:
            error = PeerTimeout(f"nothing from the publisher for {self._limits.publisher_idle_s:g} s")
        else:
            field, missing = _WAITS[dialogue.state]
            error = PeerTimeout(f"{missing} within {getattr(self._limits, field):g} s")
        return self._fail(error, now)

    def accept_publish(self, message_stream_id: int, now: float) -> None:
        """
        Grant a publish: its media are reported from here on.

        Args:
            message_stream_id: of the PublishRequested.
            now: the time in seconds.

        Raises:
            UsageError: there is no such request (any more), as for all of the following.
        """
        stream_commands.accept_publish(self._dialogue, message_stream_id, now)
        # A publisher may be silent for this long from here on, however long the decision took.
        self._received_at = now
        if self._reader is not None:
            self._reader.allow_incomplete(self._limits.incomplete_bytes)

    def refuse_publish(self, message_stream_id: int, refused: Refused, now: float) -> None:
        """
        Refuse a publish. Terminated follows, by a deadline, unless another stream of the connection is in use.

        Args:
            message_stream_id: of the PublishRequested.
            refused: what the peer is told; its code must be of level error, or clients wait for ever.
            now: the time in seconds.
        """
        self._refuse(message_stream_id, "refuse_publish", refused, now)

    def end_publish(self, message_stream_id: int, now: float, refused: Refused) -> None:
        """
        End a publish that was accepted, as `refuse_publish` does before; no PublishEnded is reported for it.

        Args:
            message_stream_id: of the PublishRequested.
            now: the time in seconds.
            refused: what the peer is told.
        """
        self._refuse(message_stream_id, "end_publish", refused, now)

    def accept_play(self, message_stream_id: int, now: float) -> None:
        """
        Grant a play. Media may be written to the peer behind what `data_to_send` returns next, not before.

        Args:
            message_stream_id: of the PlayRequested; it is always 1.
            now: the time in seconds.
        """
        stream_commands.accept_play(self._dialogue, message_stream_id, now)

    def refuse_play(self, message_stream_id: int, refused: Refused, now: float) -> None:
        """
        Refuse a play, as `refuse_publish` does a publish.

        Args:
            message_stream_id: of the PlayRequested.
            refused: what the peer is told; its code must be of level error, or clients wait for ever.
            now: the time in seconds.
        """
        self._refuse(message_stream_id, "refuse_play", refused, now)

    def finish_play(self, message_stream_id: int, now: float, reason: str) -> None:
        """
        End a play that was accepted: the stream is over. Terminated follows, by a deadline, if the peer stays.

        Args:
            message_stream_id: of the PlayRequested.
            now: the time in seconds.
            reason: what the peer is told; not empty.
        """
        stream_commands.finish_play(self._dialogue, message_stream_id, reason, now)
        self._stop_reading_if_over()

    @property
    def plays(self) -> bool:
        """Whether a play goes on, or was asked for; events that end it may still have to be acted on."""
        stream = self._dialogue.streams.get(1)
        return stream is not None and stream.state in PLAY_STATES

    @property
    def description(self) -> Description:
        """Who this was, for the log; stays what it was after the end."""
        dialogue = self._dialogue
        app, stream = dialogue.name[:2] if dialogue.name else ("", "")
        return Description(dialogue.role, app, stream, self._bytes_received)

    def _refuse(self, message_stream_id: int, verb: str, refused: Refused, now: float) -> None:
        stream_commands.refuse(self._dialogue, message_stream_id, verb, refused, now)
        self._stop_reading_if_over()

    def _receive_without_chunks(self, data: bytes | bytearray | memoryview, now: float) -> Sequence[Event]:
        """Shake hands, or overhear what comes behind the last word."""
        handshake = self._handshake
        if handshake is None:
            return []
        dialogue = self._dialogue
        try:
            dialogue.out += handshake.feed(data)
        except PeerError as error:
            return self._fail(error, now, data)
        if not handshake.done:
            return []
        remainder = handshake.remainder
        self._handshake = None
        dialogue.enter("handshake", now)
        limits = self._limits
        self._reader = ChunkReader(
            body_limits=body_limits(limits),
            max_chunk_streams=limits.chunk_streams,
            # More is for those who were let publish: a player may stay for ever without a word.
            max_incomplete_bytes=min(limits.incomplete_bytes, max(limits.command_bytes, limits.data_bytes)),
            offset=self._bytes_received - len(remainder),
        )
        self._bytes_received -= len(remainder)
        return self.receive_data(remainder, now) if remainder else []

    def _handle(
        self,
        messages: list[Message],
        now: float,
        fault: PeerError | None = None,
        data: bytes | bytearray | memoryview = b"",
    ) -> list[Event]:
        """
        Take messages in, and then the fault that the bytes behind them had.

        A message that ends the conversation hides everything behind it, as it would had that come later.
        """
        dialogue = self._dialogue
        try:
            for message in messages:
                exchange.handle(dialogue, message, now)
                if self._stop_reading_if_over():
                    return self._take_events()
            if len(dialogue.out) > self._limits.output_bytes:
                raise LimitExceeded(f"more than {self._limits.output_bytes} bytes of answers were not read")
        except PeerError as error:
            return self._fail(error, now)
        if fault is not None:
            return self._fail(fault, now, data)
        if self._bytes_received - dialogue.acknowledged >= dialogue.window:
            self._acknowledge()
        return self._take_events()

    def _acknowledge(self) -> None:
        self._dialogue.acknowledged = self._bytes_received
        self._dialogue.send(encode_acknowledgement(self._bytes_received))

    def _fail(self, error: PeerError, now: float, data: bytes | bytearray | memoryview = b"") -> list[Event]:
        evidence = ""
        if error.offset is not None:
            start = max(0, error.offset - (self._bytes_received - len(data)))
            evidence = bytes(data[start : start + _EVIDENCE_BYTES]).hex(" ")
        layer = _LAYERS.get(type(error), "protocol")
        return self._terminate(f"{layer}: {error}", now, error.offset, evidence)

    def _terminate(self, reason: str, now: float, offset: int | None = None, evidence: str = "") -> list[Event]:
        dialogue = self._dialogue
        if dialogue.state is not ConnectionState.TERMINATED:
            self._stop_reading()
            dialogue.terminate(reason, now)
            dialogue.events.append(Terminated(reason, offset, evidence))
        return self._take_events()

    def _stop_reading_if_over(self) -> bool:
        if self._dialogue.state is not ConnectionState.LINGERING:
            return False
        self._stop_reading()
        return True

    def _stop_reading(self) -> None:
        self._handshake = None
        self._reader = None

    def _take_events(self) -> list[Event]:
        events = self._dialogue.events
        self._dialogue.events = []
        return events
