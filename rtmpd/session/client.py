"""
The client's side of one RTMP connection, without I/O: publishes one stream to a server, or plays one from it.

How an owner uses it stands in `base`. The session asks for everything by itself, up to `Publishing` or `Playing`; from
there on the owner writes media behind what `data_to_send` returns, in chunks of `OUT_CHUNK_SIZE`. One session is one
try: a server that asks for a password or wants to be left for another gets a new one.
"""

from __future__ import annotations

from typing import Literal

from rtmpd.errors import PeerTimeout
from rtmpd.session import client_commands, requests
from rtmpd.session.base import Session
from rtmpd.session.client_dialogue import ClientDialogue
from rtmpd.session.dialogue import NOT_RECEIVING
from rtmpd.session.events import Event
from rtmpd.session.limits import ClientLimits
from rtmpd.session.states import ConnectionState
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.handshake import ClientHandshake
from rtmpd.wire.messages import Message

_WAITS = {
    ConnectionState.HANDSHAKE: ("handshake_s", "no handshake"),
    ConnectionState.UNCONNECTED: ("connect_s", "no answer to connect"),
    ConnectionState.CONNECTED: ("answer_s", "no answer to {role}"),
}
"""What a server is given time for before it grants anything: the limit's field, and what was missing then."""
_TOO_EARLY = {
    ConnectionState.HANDSHAKE: " before the end of the handshake",
    ConnectionState.UNCONNECTED: " before it answered connect",
    ConnectionState.CONNECTED: " before it answered {role}",
}
_CHALLENGE_BYTES = 4


class ClientSession(Session[ClientDialogue]):
    """The protocol of one connection to a server, from the first byte to the last."""

    __slots__ = ("_client_limits",)

    def __init__(
        self,
        url: RtmpUrl,
        role: Literal["publish", "play"],
        limits: ClientLimits,
        random_bytes: bytes,
        now: float,
        auth_query: str = "",
    ) -> None:
        """
        Begin the handshake; `data_to_send` has it.

        Args:
            url: of the stream.
            role: what to do with it.
            limits: what the server may ask for, and how long we wait for it.
            random_bytes: 1528 bytes for the handshake; fresh for every session, as a password may be hashed with some.
            now: the time in seconds, of any epoch that does not jump.
            auth_query: of the `AuthenticationNeeded` that the session before this one ended with.
        """
        handshake = ClientHandshake(random_bytes, int(now * 1000))
        challenge = random_bytes[:_CHALLENGE_BYTES].hex()
        super().__init__(limits, ClientDialogue(url, role, limits, auth_query, challenge, now), handshake, now)
        self._client_limits = limits
        self._dialogue.out = handshake.first_bytes()

    def next_deadline(self) -> float | None:
        """Say at which time, in seconds, `handle_timer` wants to be called; None for never. May change with each call."""
        dialogue = self._dialogue
        if dialogue.receiving_id != NOT_RECEIVING:
            return self._received_at + self._client_limits.source_idle_s
        wait = _WAITS.get(dialogue.state)
        if wait is None or dialogue.granted:
            return None
        seconds: float = getattr(self._limits, wait[0])
        return dialogue.since + seconds

    def finish(self, now: float) -> list[Event]:
        """
        Leave the server in its own words: what is published is over, what is played is wanted no more.

        Args:
            now: the time in seconds.

        Returns:
            Terminated, unless that was reported before. Write what `data_to_send` holds, and close.
        """
        self._dialogue.give_back()
        return self._terminate("finished", now)

    @property
    def message_stream_id(self) -> int | None:
        """The message stream that the server made for us; None before, and after the end."""
        stream = self._dialogue.stream
        return None if stream is None else stream.id

    @property
    def bytes_received(self) -> int:
        """From the server, handshake included."""
        return self._bytes_received

    def _begin(self, now: float) -> None:
        """Ask for the application. In chunks of our size at once: many encoders do so, and servers know it."""
        super()._begin(now)
        dialogue = self._dialogue
        dialogue.announce_chunk_size()
        dialogue.send(requests.connect(dialogue.url, dialogue.role, dialogue.auth_query))

    def _conclude(self, now: float) -> list[Event]:
        """End at once: nobody waits for us to read a last word."""
        return self._terminate(self._dialogue.closing_reason, now)

    def _expire(self, now: float) -> list[Event]:
        dialogue = self._dialogue
        if dialogue.receiving_id != NOT_RECEIVING:
            return self._fail(PeerTimeout(f"nothing from the server for {self._client_limits.source_idle_s:g} s"), now)
        field, missing = _WAITS[dialogue.state]
        seconds: float = getattr(self._limits, field)
        return self._fail(PeerTimeout(f"{missing.format(role=dialogue.role)} within {seconds:g} s"), now)

    def _obey(self, message: Message, now: float) -> None:
        client_commands.obey(self._dialogue, message, now)

    @property
    def _moment(self) -> str:
        dialogue = self._dialogue
        return "" if dialogue.granted else _TOO_EARLY.get(dialogue.state, "").format(role=dialogue.role)

    @property
    def _most_incomplete_bytes(self) -> int:
        """Media may come in the same bytes as their grant; who publishes is sent none."""
        limits = self._limits
        commands_bytes = max(limits.command_bytes, limits.data_bytes)
        return (
            limits.incomplete_bytes if self._dialogue.role == "play" else min(limits.incomplete_bytes, commands_bytes)
        )
