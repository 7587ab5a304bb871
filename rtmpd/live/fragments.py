"""
Fragmented MP4 in a log: the same cursors, fan-out and lag policy as for RTMP and FLV.

An initialisation section takes the place of the headers, a part (`moof` and `mdat`) that of a message. One log has one
initialisation section: what comes after another one is another log, as players of a plain MP4 cannot change over.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rtmpd.media.tags import KEY_FRAME
from rtmpd.wire.messages import VIDEO

if TYPE_CHECKING:
    from rtmpd.live.forms import Form
    from rtmpd.live.log import Log


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Init:
    """The initialisation section that parts are decoded with (ISO/IEC 14496-12: `ftyp` and `moov`)."""

    data: bytes
    codecs: str
    """As RFC 6381 writes them, joined by commas: "avc1.64001f,mp4a.40.2"."""
    has_video: bool

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """No messages: it is what was made of them."""
        return iter(())

    def serialise(self, form: Form, timestamp_ms: int) -> bytes:  # noqa: ARG002 - as `Headers` has it
        """What a player is sent before its first part."""
        return self.data


class Part(NamedTuple):
    """A fragment of some hundred milliseconds: `moof` and `mdat` of all tracks (RFC 8216bis: a partial segment)."""

    data: bytes
    start_ms: int
    """Decoding time of its first frame, of video where there is some; on the stream's own line, rising."""
    duration_ms: int
    """To the start of the next one, as far as that is known."""
    is_independent: bool
    """It begins with a key frame, or has no video."""


class FragmentViewer(Protocol):
    """A player of live fragmented MP4."""

    def fragments_started(self, log: Log) -> None:
        """
        Begin to play, at the newest key frame; told once.

        Args:
            log: in FRAGMENT_FORM.
        """

    def fragments_ended(self, reason: str) -> None:
        """
        Finish: nothing more comes of the log, or nothing came at all; the viewer is detached.

        Args:
            reason: one line, for the player and the server's log.
        """


class FragmentForm:
    """Parts as they are."""

    opening = b""

    def opening_for(self, kinds: AbstractSet[int]) -> bytes:  # noqa: ARG002 - as every form has it
        """Nothing: the initialisation section says what will come."""
        return self.opening

    def frame(self, type_id: int, timestamp_ms: int, body: bytes) -> bytes:  # noqa: ARG002 - as every form has it
        """Take the part."""
        return body

    def body(self, framed: memoryview) -> bytes:
        """Give it back."""
        return bytes(framed)


FRAGMENT_FORM: Form = FragmentForm()


def append_part(log: Log, part: Part, init: Init, arrived_s: float) -> None:
    """
    Append a part; players may start at those that are independent.

    Args:
        log: in FRAGMENT_FORM.
        part: continues what is in the log.
        init: what it is decoded with, the same for the whole log.
        arrived_s: as of `Log.append`.
    """
    flags = KEY_FRAME if part.is_independent else 0
    log.append(VIDEO, part.start_ms, part.data, flags, init, arrived_s)
