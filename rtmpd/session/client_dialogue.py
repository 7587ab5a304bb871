"""The state of one connection as a client: what `Dialogue` holds, where we go, and how it ends."""

from __future__ import annotations

from typing import ClassVar

from rtmpd.session import requests
from rtmpd.session.dialogue import Dialogue, NetStream
from rtmpd.session.events import Ended, RefusedByServer
from rtmpd.session.limits import Limits
from rtmpd.session.paths import printable
from rtmpd.session.states import PLAY_STATES, ConnectionState, StreamState
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire import amf0

_NEVER_ANNOUNCED = 0
_NO_REASON = "the server gives no reason"


class ClientDialogue(Dialogue):
    """What the messages of one connection to a server have led to."""

    receiving_state: ClassVar[StreamState] = StreamState.PLAYING
    early_state: ClassVar[StreamState | None] = None
    # A relay that passed these on would make an additional data stream of them, in ffmpeg for one.
    void_data: ClassVar[tuple[bytes, ...]] = tuple(map(amf0.encode, ("|RtmpSampleAccess", "onStatus")))

    __slots__ = ("auth_query", "challenge", "url")

    def __init__(self, url: RtmpUrl, role: str, limits: Limits, auth_query: str, challenge: str, now: float) -> None:
        """
        Begin before the handshake.

        Args:
            url: where we go.
            role: "publish" or "play".
            limits: the session's bounds.
            auth_query: what connect carries beside the URL.
            challenge: what we would hash a password with.
            now: the time in seconds.
        """
        super().__init__(limits, now)
        self.url = url
        self.role = role
        self.auth_query = auth_query
        self.challenge = challenge
        # So that the first Set Peer Bandwidth is answered, whatever it says.
        self.announced_window = _NEVER_ANNOUNCED

    @property
    def stream(self) -> NetStream | None:
        """The one message stream, once the server has made it."""
        return next(iter(self.streams.values()), None)

    @property
    def granted(self) -> bool:
        """Whether we publish or play."""
        stream = self.stream
        return stream is not None and stream.state in {StreamState.PUBLISHING, StreamState.PLAYING}

    def report_end(self, stream: NetStream, *, clean: bool, reason: str) -> None:
        """Report nothing: a client has one stream, and its end is the session's."""

    def stream_eof(self, now: float) -> None:
        """Take it for the end: some servers say no more."""
        stream = self.stream
        if stream is not None and stream.state in PLAY_STATES:
            self.end("StreamEOF", now)

    def end(self, code: str, now: float) -> None:
        """
        Take note that the server has ended our stream; nothing is read behind it.

        Args:
            code: how it said so.
            now: the time in seconds.
        """
        self.events.append(Ended(printable(code)))
        self.conclude(f"ended by the server: {printable(code)}", now)

    def refuse(self, code: str, description: str, now: float, *, may_retry: bool) -> None:
        """
        Take note that the server has refused; nothing is read behind it.

        Args:
            code: its code.
            description: what it says; may be empty.
            now: the time in seconds.
            may_retry: the same request may be granted later.
        """
        shown = printable(self.url.without_secrets(description))
        refused = RefusedByServer(printable(code), shown or _NO_REASON, may_retry)
        self.events.append(refused)
        self.conclude(f"refused: {refused.code}: {refused.description}", now)

    def conclude(self, reason: str, now: float) -> None:
        """Let nothing be read any more, and the session end for a reason."""
        if self.state in {ConnectionState.UNCONNECTED, ConnectionState.CONNECTED}:
            self.enter("linger", now)
            self.closing_reason = reason

    def give_back(self) -> None:
        """Tell the server that we go, if it made a stream for us."""
        stream = self.stream
        if stream is not None:
            ends = (
                requests.end_publish(stream.id, self.url.key)
                if self.role == "publish"
                else requests.end_play(stream.id)
            )
            self.send(*ends)
