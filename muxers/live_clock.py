"""
The time of a live output: one line for all tracks that only leads on, and where it breaks.

A recording bridges what is missing, as nobody waits for it (`clock`). Those who watch live have to be told: decoders
and players that meet a hole in the line stall. So a leap is a break, behind which times go on rising.

Small steps back are left alone, as sound and pictures are interleaved loosely; each kind is compared with itself.
"""

from __future__ import annotations

from rtmpd.media.timeline import Timeline

FORWARD_MS = 1_000
"""More is a leap forwards, unless the stream has steps of that size: slides have a picture every few seconds."""
BACKWARD_MS = 300
"""More, within one kind, is a leap backwards."""
APART_MS = 5_000
"""How far behind the newest frame the first one of another kind may be."""
LONGEST_MS = 60_000
"""A longer leap is a clock that was set; the line goes on at once, or liars would move it to the end of all numbers."""
_FACTOR = 2


class LiveClock:
    """Turns the publisher's timestamps into times of a live output."""

    def __init__(self) -> None:
        """Start before the first frame."""
        self._timeline = Timeline()
        self._offset_ms: int | None = 0
        self._step_ms = 1
        self._newest_ms: dict[int, int] = {}
        self.latest_ms: int | None = None
        """The greatest time so far; None before the first frame."""

    def place(self, type_id: int, timestamp_ms: int) -> tuple[int, bool]:
        """
        Say where a frame stands.

        Args:
            type_id: audio or video.
            timestamp_ms: of its tag, 0 .. 2**32 - 1.

        Returns:
            Its time in milliseconds, at least 0 and no further than BACKWARD_MS behind its kind, and whether the line
            breaks in front of it.
        """
        unwrapped = self._timeline.unwrap(timestamp_ms)
        if self.latest_ms is None:
            self._offset_ms = 0
            self.latest_ms = self._newest_ms[type_id] = unwrapped
            return unwrapped, False
        time_ms, leaps = self._go_on(type_id, unwrapped, self.latest_ms)
        if leaps:
            self._newest_ms.clear()
        self._newest_ms[type_id] = max(time_ms, self._newest_ms.get(type_id, time_ms))
        self.latest_ms = max(self.latest_ms, time_ms)
        return max(time_ms, 0), leaps

    def resume(self) -> None:
        """Break the line: the next frame goes on one frame after the newest one, whatever its timestamp."""
        self._timeline = Timeline()
        self._offset_ms = None

    def _go_on(self, type_id: int, unwrapped: int, latest_ms: int) -> tuple[int, bool]:
        next_ms = latest_ms + self._step_ms
        if self._offset_ms is None:
            self._offset_ms = unwrapped - next_ms
            return next_ms, True
        time_ms = unwrapped - self._offset_ms
        step_ms = time_ms - latest_ms
        newest_ms = self._newest_ms.get(type_id)
        oldest_ms = latest_ms - APART_MS if newest_ms is None else newest_ms - BACKWARD_MS
        if step_ms > LONGEST_MS or time_ms < oldest_ms:
            self._offset_ms = unwrapped - next_ms
            return next_ms, True
        if step_ms > max(FORWARD_MS, self._step_ms * _FACTOR):
            self._step_ms = step_ms
            return time_ms, True
        if step_ms > 0:
            # As large as the recent ones: sound between two pictures makes small steps of large ones.
            self._step_ms = max(step_ms, self._step_ms - (self._step_ms >> 4))
        return time_ms, False
