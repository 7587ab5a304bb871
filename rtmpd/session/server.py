"""
The server's side of one RTMP connection, without I/O: bytes and the time in, events and bytes out.

How an owner uses it stands in `base`. It asks (`PublishRequested`), the owner answers when it can.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rtmpd.errors import PeerTimeout, Refused
from rtmpd.session import replies, server_commands, stream_commands
from rtmpd.session.base import Session
from rtmpd.session.dialogue import NOT_RECEIVING, Dialogue
from rtmpd.session.events import Event
from rtmpd.session.limits import Limits
from rtmpd.session.states import PLAY_STATES, ConnectionState
from rtmpd.wire.handshake import ServerHandshake
from rtmpd.wire.messages import Message

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

_WITHOUT_PATH = re.compile(r"\w+://[^/]*/?")
"""A URL that names a server and no application."""


class Description(NamedTuple):
    """What the log says of a connection besides its end."""

    role: str
    """"publish" or "play", by the last request; empty before."""
    app: str
    stream: str
    bytes_received: int


class ServerSession(Session[Dialogue]):
    """The protocol of one accepted connection, from the first byte to the last."""

    __slots__ = ()

    def __init__(self, limits: Limits, random_bytes: bytes, now: float) -> None:
        """
        Wait for the handshake.

        Args:
            limits: what the peer may ask for; one object serves all sessions.
            random_bytes: 1528 bytes for the handshake.
            now: the time in seconds, of any epoch that does not jump.
        """
        super().__init__(limits, Dialogue(limits, now), ServerHandshake(random_bytes, int(now * 1000)), now)

    def next_deadline(self) -> float | None:
        """Say at which time, in seconds, `handle_timer` wants to be called; None for never. May change with each call."""
        dialogue = self._dialogue
        if dialogue.receiving_id != NOT_RECEIVING:
            return self._received_at + self._limits.publisher_idle_s
        wait = _WAITS.get(dialogue.state)
        if wait is None or dialogue.has_active_stream:
            return None
        seconds: float = getattr(self._limits, wait[0])
        return dialogue.since + seconds

    def accept_publish(self, message_stream_id: int, now: float) -> list[Event]:
        """
        Grant a publish: its media are reported from here on.

        Args:
            message_stream_id: of the PublishRequested.
            now: the time in seconds.

        Returns:
            What came of media that did not wait for the grant, to be acted on like what `receive_data` returns.

        Raises:
            UsageError: there is no such request (any more), as for all of the following.
        """
        early = stream_commands.accept_publish(self._dialogue, message_stream_id, now)
        # A publisher may be silent for this long from here on, however long the decision took.
        self._received_at = now
        if self._reader is not None:
            self._reader.allow_incomplete(self._limits.incomplete_bytes)
        return self._handle(early, now)

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

    def refuse_connect(self, refused: Refused) -> None:
        """
        Answer a connect with an error from now on; whoever is connected stays.

        Args:
            refused: what the peer is told.
        """
        self._dialogue.connect_refusal = refused

    def request_reconnect(self, tc_url: str | None, description: str, now: float) -> bool:  # noqa: ARG002 - no wait begins
        """
        Ask the peer to go on elsewhere, if it said that it can; it is served as before until it leaves.

        Args:
            tc_url: of the application there, absolute or relative to the peer's own; where it is absolute and has no
                path, the application's name stays what it is; None: the same URL again.
            description: why, for people; not empty.
            now: the time in seconds.

        Returns:
            Whether it was asked. Never before connect, nor when the last word was said.
        """
        dialogue = self._dialogue
        if dialogue.state is not ConnectionState.CONNECTED or not dialogue.can_reconnect:
            return False
        if tc_url is not None and _WITHOUT_PATH.fullmatch(tc_url):
            tc_url = f"{tc_url.rstrip('/')}/{dialogue.app}"
        dialogue.send(replies.reconnect_request(tc_url, description))
        return True

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

    def _expire(self, now: float) -> list[Event]:
        dialogue = self._dialogue
        if dialogue.state is ConnectionState.LINGERING:
            return self._terminate(dialogue.closing_reason, now)
        if dialogue.receiving_id != NOT_RECEIVING:
            error = PeerTimeout(f"nothing from the publisher for {self._limits.publisher_idle_s:g} s")
        else:
            field, missing = _WAITS[dialogue.state]
            error = PeerTimeout(f"{missing} within {getattr(self._limits, field):g} s")
        return self._fail(error, now)

    def _obey(self, message: Message, now: float) -> None:
        server_commands.obey(self._dialogue, message, now)

    @property
    def _moment(self) -> str:
        return _TOO_EARLY.get(self._dialogue.state, "")

    @property
    def _most_incomplete_bytes(self) -> int:
        """More is for those who were let publish: a player may stay for ever without a word."""
        limits = self._limits
        return min(limits.incomplete_bytes, max(limits.command_bytes, limits.data_bytes))

    def _stop_reading_if_over(self) -> None:
        if self._dialogue.state is ConnectionState.LINGERING:
            self._stop_reading()
