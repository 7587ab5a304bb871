"""
What a player must have before its first frame: metadata, sequence headers, colour and channel configuration.

Headers are state, not time: encoders such as OBS stamp them 0 in the middle of a stream, so they are serialised at
the time of the key frame that they are sent in front of. The object is immutable; each key frame in the log refers
to the one that was in force there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from rtmpd.wire.messages import DATA_AMF0

if TYPE_CHECKING:
    from rtmpd.live.forms import Form

MAX_HEADER_BYTES = 64 * 1024
"""A larger body is passed on but not kept for late joiners: no real configuration comes near it."""
METADATA_MS = 0
"""Time of every onMetaData: with any other, ffmpeg takes it for a subtitle and adds a stream."""
MAX_HEADERS_BYTES = 512 * 1024
"""All of them together: what every late joiner is sent before its first frame."""
MAX_HEADER_SLOTS = 64
"""Kinds of header (codec, colour, channels) times tracks; more are passed on but not kept."""


class Headers:
    """The headers in force at some point of a stream, by slot, in the order in which they first came."""

    __slots__ = ("__weakref__", "_slots")  # what is made of headers may be kept for as long as they are

    def __init__(self, slots: dict[Hashable, tuple[int, bytes]] | None = None) -> None:
        self._slots = slots or {}

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return iter(self._slots.values())

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, slot: Hashable) -> bool:
        return slot in self._slots

    def updated(self, slot: Hashable, type_id: int, body: bytes) -> Headers:
        """
        Put a header in force.

        Args:
            slot: which earlier header it replaces.
            type_id: of its message.
            body: of its message.

        Returns:
            New headers, or these where nothing changes: most encoders repeat identical headers.
        """
        if self._slots.get(slot) == (type_id, body) or len(body) > MAX_HEADER_BYTES:
            return self
        slots = {**self._slots, slot: (type_id, body)}
        if len(slots) > MAX_HEADER_SLOTS or sum(len(each) for _, each in slots.values()) > MAX_HEADERS_BYTES:
            return self
        return Headers(slots)

    def serialise(self, form: Form, timestamp_ms: int) -> bytes:
        """Write all of them in a log's form at one time (ms), but for metadata, which is always at `METADATA_MS`."""
        return b"".join(
            form.frame(type_id, METADATA_MS if type_id == DATA_AMF0 else timestamp_ms, body)
            for type_id, body in self._slots.values()
        )
