"""
What a container's byte stream consists of, for cutting it into HLS segments.

FFmpeg writes one endless container; a splitter (`fragments` for MP4, `transport_stream` for MPEG-TS) takes its bytes in
whatever portions they come and gives them back as pieces: the least that makes sense to a reader that has the pieces
before it. A piece that begins where a cut was planned is the first of a segment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from muxers.base import MuxError


class Cut(NamedTuple):
    """Where a segment is to begin."""

    time_ms: int
    """The decoding time that the first frame has, or an earlier one."""
    track: int | None
    """Index of the track that leads: its first frame at or after the time begins the segment; None for any track."""


class Part(NamedTuple):
    """What a piece holds of one track."""

    frames: int
    last_ms: int
    """Decoding time of the last of them."""


class Piece(NamedTuple):
    """A run of bytes that a reader can use as it is."""

    data: bytes
    starts_run: bool
    """It is the first of its container: nothing before it belongs to it."""
    starts_segment: bool
    """It starts a run, or a planned cut lies before it."""
    start_ms: int
    """Decoding time of its first frame: of the track that leads, where a cut lies before it."""
    end_ms: int
    """Where its last frame ends."""
    parts: Mapping[int, Part]
    """By the index of the track."""
    video_at_key: bool | None
    """Whether the first frame of the first video track is a key frame; None without video."""
    key_frames: int
    """Of the first video track."""


class StreamError(MuxError):
    """The bytes are not of the kind that the splitter knows."""


class Splitter(Protocol):
    """Takes one container's bytes apart."""

    @property
    def init(self) -> bytes | None:
        """The initialisation section, once it is known; None for a format that has none."""

    @property
    def kinds(self) -> Mapping[int, str]:
        """By the index of each track that the bytes have told of: "video" or "audio"."""

    def plan(self, cut: Cut) -> None:
        """Begin a segment there; cuts are planned in the order of their times, and before FFmpeg is given the frame."""

    def feed(self, data: bytes) -> Sequence[Piece]:
        """
        Take the next bytes.

        Returns:
            The pieces that became whole.

        Raises:
            StreamError: the bytes cannot be read.
        """

    @property
    def rest_bytes(self) -> int:
        """How many of the bytes fed belong to no whole piece yet."""
