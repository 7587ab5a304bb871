"""
What a session reports to its owner: one small class for each fact, in the order in which the peer caused them.

Media and data messages of an accepted publish are reported as `rtmpd.wire.messages.Message` among these events.

Three promises hold for the owner. `Terminated` comes at most once, and nothing comes after it. Every
`PublishRequested` is followed by exactly one of: `PublishEnded`, or the owner's own `refuse_publish` or `end_publish`;
a request that was not decided yet ends in the same way. The same holds for `PlayRequested`, with `PlayEnded`,
`refuse_play` and `finish_play`.

A session as a client reports `Connected` and what follows `PauseChanged` here. `Publishing` or `Playing` comes at most
once; `Ended`, `RefusedByServer` and `AuthenticationNeeded` are followed by `Terminated` at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.messages import Message


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the peer said of itself in the Enhanced RTMP keys of connect."""

    flags: int = 0
    """capsEx: 1 reconnect, 2 multitrack, 4 ModEx, 8 nanosecond offsets."""
    video_function: int = 0
    """videoFunction: 1 client seek, 2 HDR, 4 video packet metadata, 8 large-scale tiles."""
    four_ccs: tuple[str, ...] = ()
    """Codecs that it named, in any of the keys; "*" means any."""


@dataclass(frozen=True, slots=True)
class Connected:
    """Is reported when connect was answered with success; as a client: by the server."""

    message_stream_id: ClassVar[int] = 0
    app: str
    """The application as the peer sent it, query included, made fit for a log line; so are the other texts here. What
    to decide by is the name in the request."""
    tc_url: str
    """The URL that the peer believes to have connected to; empty if it did not say."""
    flash_version: str
    """The peer's name for itself (a server's fmsVer); empty if it did not say."""
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class PublishRequested:
    """Is reported when the peer asks to publish; answer with accept_publish or refuse_publish, now or later."""

    message_stream_id: int
    app: str
    """The application, as `rtmpd.session.paths` resolved it."""
    stream: str
    """The stream's name, without slashes."""
    query: str
    """What stood behind the question marks of the URL, without them."""


@dataclass(frozen=True, slots=True)
class PlayRequested:
    """Is reported when the peer asks to play; answer with accept_play or refuse_play, now or later."""

    message_stream_id: int
    app: str
    """The application, as `rtmpd.session.paths` resolved it."""
    stream: str
    """The stream's name, without slashes."""
    query: str
    """What stood behind the question marks of the URL, without them."""


@dataclass(frozen=True, slots=True)
class PublishEnded:
    """Is reported when a publish, or the request for one, is over and its owner did not end it."""

    message_stream_id: int
    clean: bool
    """Whether the peer announced it; False when its connection broke."""
    reason: str
    """One line for the log."""


@dataclass(frozen=True, slots=True)
class PlayEnded:
    """Is reported when a play, or the request for one, is over and its owner did not end it."""

    message_stream_id: int


@dataclass(frozen=True, slots=True)
class PauseChanged:
    """Is reported when a player pauses or goes on; it goes on at the next key frame."""

    message_stream_id: int
    paused: bool


@dataclass(frozen=True, slots=True)
class Publishing:
    """Is reported when the server has granted our publish: media may be written behind what `data_to_send` returns next."""

    message_stream_id: int
    """What the media have to carry. Log bytes carry 1."""


@dataclass(frozen=True, slots=True)
class Playing:
    """Is reported when the server has granted our play: its media are reported from here on."""

    message_stream_id: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Is reported when the server has ended what we publish or play."""

    message_stream_id: ClassVar[int] = 0
    reason: str
    """One line for the log: the server's code."""


@dataclass(frozen=True, slots=True)
class RefusedByServer:
    """Is reported when the server has refused what we asked for, or taken it back."""

    message_stream_id: ClassVar[int] = 0
    code: str
    """Its status code, made fit for a log line; so is the description."""
    description: str
    may_retry: bool
    """Whether the same request may be granted later; False where its URL, key or password has to change."""


@dataclass(frozen=True, slots=True)
class AuthenticationNeeded:
    """Is reported when the server has asked for user and password: connect again, with the query."""

    message_stream_id: ClassVar[int] = 0
    url_query: str = field(repr=False)
    """For the next session; secret."""


@dataclass(frozen=True, slots=True)
class ReconnectRequested:
    """Is reported when the server asks to be left for another; it goes on serving until then."""

    message_stream_id: ClassVar[int] = 0
    url: RtmpUrl
    """Where to go; may be where we are."""
    description: str
    """Made fit for a log line; may be empty."""


@dataclass(frozen=True, slots=True)
class Terminated:
    """Is reported last: write what `data_to_send` still holds, as far as the socket takes it, and close."""

    message_stream_id: ClassVar[int] = 0
    reason: str
    """Why, for people."""
    offset: int | None = None
    """Bytes received from the peer before the fault, for a fault of which that is known."""
    evidence: str = field(default="", compare=False)
    """Up to 16 received bytes from the offset on, in hex. How many depends on what had arrived when the fault was
    found, so it is no part of what is reported."""

    def __str__(self) -> str:
        """Make the line for the log."""
        if self.offset is None:
            return self.reason
        return f"{self.reason} at byte {self.offset}" + (f" ({self.evidence})" if self.evidence else "")


Event = (
    Message
    | Connected
    | PublishRequested
    | PlayRequested
    | PublishEnded
    | PlayEnded
    | PauseChanged
    | Publishing
    | Playing
    | Ended
    | RefusedByServer
    | AuthenticationNeeded
    | ReconnectRequested
    | Terminated
)


class MediaRun(list[Message]):
    """
    Nothing but audio and video of one accepted publish (as a client: play), at least one message.

    What `receive_data` nearly always returns for a publisher, named so that its owner need not look at each of them.
    """

    __slots__ = ()
