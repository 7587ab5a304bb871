"""
What both ends of a connection do with bytes: shake hands, read chunks, keep the windows, and end once, with a reason.

The owner calls, in this order after each thing that happened: `receive_data` (or `receive_eof`, or `handle_timer`),
then acts on the events, then writes `data_to_send()`, then sets its timer to `next_deadline()`. After `Terminated` it
writes what there is, as far as the socket takes it, and closes.

A peer's mistake never raises: it is caught here, in one place, and becomes `Terminated`. A wrong call by the owner is a
UsageError. Anything else that is raised is a bug of ours.

What is reported depends on the bytes and the time of their arrival, not on how they were split.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from rtmpd.errors import (
    AmfError,
    ChunkError,
    HandshakeError,
    LimitExceeded,
    MessageError,
    OutOfOrder,
    PeerError,
    PeerTimeout,
)
from rtmpd.session import exchange
from rtmpd.session.dialogue import Dialogue
from rtmpd.session.events import Event, MediaRun, Terminated
from rtmpd.session.limits import Limits, body_limits
from rtmpd.session.states import ConnectionState
from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.handshake import ClientHandshake, ServerHandshake
from rtmpd.wire.messages import AUDIO, COMMAND_AMF0, COMMAND_AMF3, VIDEO, Message, encode_acknowledgement

_EVIDENCE_BYTES = 16
_COMMANDS = frozenset({COMMAND_AMF0, COMMAND_AMF3})

_LAYERS = {
    HandshakeError: "handshake",
    ChunkError: "chunk",
    AmfError: "AMF",
    MessageError: "message",
    LimitExceeded: "limit",
    OutOfOrder: "order",
    PeerTimeout: "timeout",
}

_D = TypeVar("_D", bound=Dialogue)


class Session(ABC, Generic[_D]):
    """One connection's protocol, from the first byte to the last."""

    __slots__ = ("_bytes_received", "_dialogue", "_handshake", "_limits", "_reader", "_received_at")

    def __init__(self, limits: Limits, dialogue: _D, handshake: ServerHandshake | ClientHandshake, now: float) -> None:
        """
        Wait for the handshake.

        Args:
            limits: what the peer may ask for; one object serves all sessions.
            dialogue: of nothing said yet.
            handshake: our side of it.
            now: the time in seconds, of any epoch that does not jump.
        """
        self._limits = limits
        self._dialogue = dialogue
        self._handshake: ServerHandshake | ClientHandshake | None = handshake
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
        receiving_id = dialogue.receiving_id
        for message in messages:
            # By position: names of a tuple's fields cost twice as much.
            if message[2] != receiving_id or (message[0] != VIDEO and message[0] != AUDIO):
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
        return self._terminate(dialogue.closing_reason or f"{reason}{self._moment}", now)

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

    @abstractmethod
    def next_deadline(self) -> float | None:
        """Say at which time, in seconds, `handle_timer` wants to be called; None for never. May change with each call."""

    def handle_timer(self, now: float) -> list[Event]:
        """
        Look whether a deadline has passed.

        Args:
            now: the time in seconds; too early is harmless.

        Returns:
            Terminated, after the ends of the streams, if it has.
        """
        deadline = self.next_deadline()
        return [] if deadline is None or now < deadline else self._expire(now)

    @abstractmethod
    def _expire(self, now: float) -> list[Event]:
        """End what the deadline was about: it has passed."""

    @abstractmethod
    def _obey(self, message: Message, now: float) -> None:
        """Take in a command, or an answer to one of ours; raises PeerError where the connection must end."""

    @property
    @abstractmethod
    def _moment(self) -> str:
        """Say before what the peer closed, where it had not come so far as to want something; with a space in front."""

    @property
    @abstractmethod
    def _most_incomplete_bytes(self) -> int:
        """What messages under way may hold together, at the start."""

    def _begin(self, now: float) -> None:
        """Say what is due after the handshake."""
        self._dialogue.enter("handshake", now)

    def _conclude(self, now: float) -> list[Event]:  # noqa: ARG002 - the client ends at once
        """Read no more: the last word is said."""
        self._stop_reading()
        return self._take_events()

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
        self._begin(now)
        limits = self._limits
        self._reader = ChunkReader(
            body_limits=body_limits(limits),
            max_chunk_streams=limits.chunk_streams,
            max_incomplete_bytes=self._most_incomplete_bytes,
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
                if message.type_id in _COMMANDS:
                    self._obey(message, now)
                else:
                    exchange.handle(dialogue, message, now)
                if dialogue.state is ConnectionState.LINGERING:
                    return self._conclude(now)
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

    def _stop_reading(self) -> None:
        self._handshake = None
        self._reader = None

    def _take_events(self) -> list[Event]:
        events = self._dialogue.events
        self._dialogue.events = []
        return events
