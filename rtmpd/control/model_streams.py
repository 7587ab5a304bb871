"""What the control API says of streams and connections; a part of `rtmpd.control.models`, where all are found."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rtmpd.control import words
from rtmpd.control.model_base import Answer
from rtmpd.control.words import EncodeNumber


class Url(Answer):
    """Where a stream can be watched."""

    type: EncodeNumber
    play_url: str
    rate_type: int = words.RATE_ORIGINAL


class Track(Answer):
    """One track of a stream."""

    kind: Literal["video", "audio"]
    codec: str
    track_id: int = 0
    width: int | None = None
    height: int | None = None
    sample_rate: int | None = Field(default=None, description="Hz")
    channels: int | None = None


class Publisher(Answer):
    """Who publishes a stream."""

    client_id: int
    address: str
    since: float
    bytes_in: int
    bits_per_s: int = Field(description="Over the last seconds.")


class StreamInfo(Answer):
    """A stream."""

    stream: str
    app: str
    name: str
    state: Literal["live", "grace", "idle"] = Field(
        description="grace: its publisher dropped and its players are kept; idle: players wait for a publisher."
    )
    public: bool = Field(description="Whether it can be watched.")
    publisher: Publisher | None
    tracks: list[Track]
    bits_per_s: int = Field(description="Over the last seconds.")
    frames_per_s: float = Field(description="Pictures, over the last seconds.")
    players: int = Field(description="Those that wait for it included.")
    viewers: dict[str, int] = Field(
        description="Its players by what they speak: rtmp, rtmps, http-flv, ws-flv, mp4 or hls."
    )
    lag_ms: int = Field(description="Of the player that is farthest behind.")
    skipped_ms: int = Field(description="Media time that its players were too slow for, all together.")
    recordings: int
    channel_id: str | None = Field(description="Of its push, if one was started.")
    urls: list[Url]


class StreamList(Answer):
    """Every stream that somebody publishes or waits for."""

    streams: list[StreamInfo]


class ClientInfo(Answer):
    """A connection."""

    client_id: int
    kind: str = Field(description="What it speaks: rtmp, rtmps, http-flv, ws-flv, mp4 or hls.")
    address: str
    role: Literal["publish", "play", "-"]
    stream: str
    connected_at: float
    bytes_in: int
    bytes_out: int
    skipped_ms: int = Field(description="Media time that it was too slow for.")
    lag_ms: int


class ClientList(Answer):
    """Every connection."""

    clients: list[ClientInfo]
