"""
The 64-bit clock of one publish: raw timestamps in, a line without wraps out.

RTMP carries milliseconds modulo 2**32. FFmpeg and OBS mask theirs to 31 bits, so a wrap comes after 24 days 20 hours
already, and old encoders that lose the extended timestamp fall back to 0 after 4 h 39 min. A signed difference alone
takes the last two for jumps; it is the distance of a fall from 2**31 or 2**24 that tells them apart.

One timeline serves audio and video together: correcting them apart would break their sync. Feed it frames only, not
sequence headers, ends of sequence or metadata: OBS stamps those 0 in the middle of a stream.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

JUMP_MS = 5_000
WRAP_WINDOW_MS = 60_000
"""How far from a boundary of 24 or 31 bits both sides of a step may lie for it to be read as a wrap."""

_FULL = 1 << 32
_NARROW = (1 << 31, 1 << 24)
_NEVER = -(1 << 62)


class Jump(NamedTuple):
    """A step too large for frames of one stream: a source that paused, restarted or lies."""

    kind: Literal["forward", "backward"]
    from_ms: int
    """The unwrapped time before the step."""
    to_ms: int
    """The unwrapped time after it."""


class Timeline:
    """Unwraps the timestamps of one publish; audio and video share it."""

    __slots__ = ("_last_raw", "_narrow", "_threshold_ms", "_window_ms", "jump", "value_ms")

    def __init__(self, threshold_ms: int = JUMP_MS) -> None:
        """
        Start without a time: the first timestamp is taken as it is.

        Args:
            threshold_ms: steps of more than this many milliseconds, either way, are jumps.
        """
        self._threshold_ms = threshold_ms
        self._window_ms = max(threshold_ms, WRAP_WINDOW_MS)
        self._last_raw = _NEVER
        self._narrow = 0
        self.value_ms = 0
        """The last unwrapped time."""
        self.jump: Jump | None = None
        """The last jump, until somebody takes it."""

    def unwrap(self, raw_ms: int) -> int:
        """
        Continue the line with the next timestamp.

        A small step back (interleaved audio and video, a late frame) is a small negative step here too, across a wrap
        as well, so the result can lie below the one before it and, at the very start, below 0.

        Args:
            raw_ms: the timestamp of a message, 0 .. 2**32 - 1 milliseconds.

        Returns:
            Milliseconds on a line that never wraps; the first one is `raw_ms` itself.
        """
        step = raw_ms - self._last_raw
        self._last_raw = raw_ms
        if -self._threshold_ms <= step <= self._threshold_ms:
            self.value_ms = value_ms = self.value_ms + step
            return value_ms
        return self._unwrap_far(raw_ms, step)

    def take_jump(self) -> Jump | None:
        """
        Fetch and forget the last jump.

        Returns:
            The jump, or None when there was none since the last call.
        """
        jump, self.jump = self.jump, None
        return jump

    def _unwrap_far(self, raw_ms: int, step: int) -> int:
        before = self.value_ms
        if step > _FULL:
            self.value_ms = raw_ms
            return raw_ms
        step = self._shortest(raw_ms, step)
        self.value_ms = before + step
        if not -self._threshold_ms <= step <= self._threshold_ms:
            self.jump = Jump("forward" if step > 0 else "backward", before, self.value_ms)
        return self.value_ms

    def _shortest(self, raw_ms: int, step: int) -> int:
        last_raw = raw_ms - step
        for width in _NARROW:
            if self._crosses(width, last_raw, raw_ms):
                self._narrow = width
                return step + width
            # Back over the boundary only where this publisher was seen to come from: else a source that leaps from
            # its first seconds to 4 h 39 min would be taken for one that goes back.
            if self._narrow == width and self._crosses(width, raw_ms, last_raw):
                return step - width
        # Exactly half a turn stays as it is, so that a stream alternating between 0 and 2**31 stays there too.
        if step > _FULL // 2:
            return step - _FULL
        return step + _FULL if step < -_FULL // 2 else step

    def _crosses(self, width: int, high: int, low: int) -> bool:
        return width - self._window_ms <= high < width and 0 <= low <= self._window_ms
