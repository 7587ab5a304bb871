"""
The time within a file: from 0, on one line for all tracks, whatever the publisher's timestamps do.

The offset is common to audio and video, as correcting tracks apart would break their sync. Small steps back are kept,
gaps are kept; only a clock that starts again (a leap back by more than `timeline.JUMP_MS`, or a publisher that comes
back) is continued where it was.
"""

from __future__ import annotations

from rtmpd.media.tags import EMPTY, END_OF_SEQUENCE, SEQUENCE_HEADER
from rtmpd.media.timeline import JUMP_MS, Timeline

NOT_A_FRAME = SEQUENCE_HEADER | EMPTY | END_OF_SEQUENCE

_LONGEST_FRAME_MS = 1_000


class FileClock:
    """Turns the publisher's timestamps into times of one file."""

    __slots__ = (
        "_anchored",
        "_now_ms",
        "_offset_ms",
        "_other_offset_ms",
        "_step_ms",
        "_timeline",
        "jumps",
        "latest_ms",
        "start_ms",
    )

    def __init__(self) -> None:
        """Start before the first frame."""
        self._timeline = Timeline()
        self._now_ms = 0
        self._offset_ms = 0
        self._anchored = False
        self._step_ms = 1
        self._other_offset_ms: int | None = None
        self.start_ms: int | None = None
        """The publisher's time of the first frame."""
        self.latest_ms = 0
        """The greatest time of the file so far."""
        self.jumps = 0
        """Leaps of the publisher's clock so far."""

    def place(self, timestamp_ms: int, flags: int) -> int:
        """
        Say where in the file an audio or video tag stands.

        Args:
            timestamp_ms: of the tag, 0 .. 2**32 - 1.
            flags: of the tag, from `tags.classify`.

        Returns:
            Milliseconds from the first frame, at least 0. What is no frame stands where the frame before it does:
            OBS stamps headers and ends of sequence with 0 in the middle of a stream.
        """
        if flags & NOT_A_FRAME:
            return self._now_ms
        unwrapped = self._timeline.unwrap(timestamp_ms)
        if not self._anchored:
            self._anchor(unwrapped)
        elif self._timeline.jump is not None:
            self._leap(unwrapped)
        now_ms = unwrapped - self._offset_ms
        # Audio that was sent behind the key frame it precedes has no place before the start.
        self._now_ms = now_ms = max(now_ms, 0)
        step_ms = now_ms - self.latest_ms
        if step_ms > 0:
            self.latest_ms = now_ms
            if step_ms <= _LONGEST_FRAME_MS:
                self._step_ms = max(step_ms, self._step_ms - (self._step_ms >> 4))
        return now_ms

    def resume(self) -> None:
        """Continue with the next frame, whatever its timestamp, one frame after the newest one; no jump is counted."""
        self._timeline = Timeline()
        self._other_offset_ms = None
        self._anchored = False

    @property
    def now_ms(self) -> int:
        """The time of the last frame: the place of tags that have none of their own."""
        return self._now_ms

    def _anchor(self, unwrapped: int) -> None:
        self._anchored = True
        if self.start_ms is None:
            self.start_ms = self._offset_ms = unwrapped
        else:
            # The line of all tracks together has no frame length; the largest of its recent steps is no shorter.
            self._offset_ms = unwrapped - self.latest_ms - self._step_ms

    def _leap(self, unwrapped: int) -> None:
        jump = self._timeline.take_jump()
        self.jumps += 1
        other = self._other_offset_ms
        # One wrong timestamp, or two clocks in turn: the leap leads back to where the offset before this one fits.
        if other is not None and abs(unwrapped - other - self.latest_ms) <= JUMP_MS:
            self._offset_ms, self._other_offset_ms = other, self._offset_ms
        elif jump is not None and jump.kind == "backward" and unwrapped - self._offset_ms < self.latest_ms - JUMP_MS:
            self._other_offset_ms = self._offset_ms
            self._offset_ms = unwrapped - self.latest_ms - 1
