"""
The newest minutes of a stream as numbered segments and parts, for HLS.

Pure: parts are appended as a packager makes them, and segments are cut here. RFC 8216 and its second edition say what a
player may rely on while the playlist moves on: numbers that rise by one, discontinuities that stay countable after they
have left the list, and segments that are still answered for a while after that.

**Where segments are cut.** At the first independent part that comes when a segment is long enough, so a segment begins
with a key frame wherever key frames come often enough. A stream with too few of them is cut without one after
`LONGEST_SEGMENT_MS`, or players would wait for three times whatever an encoder was set to.

**The target duration** is the longest segment of the runs that are listed, and not less than what was asked for. So it
never falls while a stream goes on, and a stall long ago is forgotten at the next discontinuity. RFC 8216 wants it to be
constant; a constant that holds for encoders with a key frame in ten seconds would cost the players of all others half a
minute of latency, as they stay three target durations behind. FFmpeg and nginx-rtmp have changed it for ever, so players
bear it.

**Parts are numbered through**, not within their segments: the next one has a name before it is known whether it begins a
segment, so that a hint is never wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rtmpd.errors import UsageError
from rtmpd.live.fragments import Init, Part

LONGEST_SEGMENT_MS = 12_000
"""A segment is cut without a key frame before it gets longer, unless longer ones were asked for."""
LEAP_MS = 1_000
"""Times that leap by more are a discontinuity: what a playlist says of durations would be wrong."""
LEAST_LISTED = 3
"""Players begin three target durations before the end (RFC 8216 section 6.3.3)."""
DATE_SLACK_S = 0.25
"""Dates are corrected by arrivals that contradict them by more; less is jitter."""
DATE_LOOK_MS = 30_000
"""Media without one timely arrival, after which dates are taken for too early: the publisher's clock is slow."""


@dataclass(slots=True)
class NumberedPart:
    """A part in its segment."""

    number: int
    """From 0, through all segments of a window."""
    data: bytes | memoryview
    duration_ms: int
    is_independent: bool
    init_number: int


class Span(Protocol):
    """A run, as its segments see it."""

    longest_ms: int
    offset_s: float


@dataclass(slots=True)
class Segment:
    """A segment, whole or growing."""

    number: int
    """Its media sequence number."""
    init_number: int
    is_discontinuity: bool
    """Its times, tracks or codecs do not continue those of the segment before."""
    start_ms: int
    """On the stream's own line."""
    run: Span
    parts: list[NumberedPart] = field(default_factory=list)
    duration_ms: int = 0
    size_bytes: int = 0
    data: bytes | None = None
    """All parts in a row; None while it grows."""

    @property
    def date_s(self) -> float:
        """Unix time of its first frame, as far as arrivals tell."""
        return self.run.offset_s + self.start_ms / 1000

    @property
    def end_date_s(self) -> float:
        """Unix time of its end."""
        return self.date_s + self.duration_ms / 1000

    def add(self, part: NumberedPart) -> None:
        """Let it grow."""
        self.parts.append(part)
        self.duration_ms += part.duration_ms
        self.size_bytes += len(part.data)

    def complete(self) -> None:
        """Join the parts; they become views of the whole, so that nothing is held twice."""
        self.data = b"".join(part.data for part in self.parts)
        view, start = memoryview(self.data), 0
        for part in self.parts:
            end = start + len(part.data)
            part.data = view[start:end]
            start = end


class _Run:
    """
    What lies between two discontinuities, and how its times relate to the wall clock.

    A part can come late, never early: the least distance between arrival and media time is the right one. Late are all
    parts of what was published before the packager began, as they come at once.
    """

    def __init__(self, start_ms: int, not_before_s: float) -> None:
        self.longest_ms = 0
        self.offset_s = float("inf")
        self._least_offset_s = not_before_s - start_ms / 1000
        self._lately_s = float("inf")
        self._looked_ms = start_ms

    def note_arrival(self, end_ms: int, at: float) -> None:
        """Correct the dates if this contradicts them."""
        offset_s = at - end_ms / 1000
        self._lately_s = min(self._lately_s, offset_s)
        if offset_s < self.offset_s - DATE_SLACK_S:
            self._correct(offset_s)
        elif end_ms - self._looked_ms >= DATE_LOOK_MS:
            if self._lately_s > self.offset_s + DATE_SLACK_S:
                self._correct(self._lately_s)
            self._looked_ms, self._lately_s = end_ms, offset_s

    def _correct(self, offset_s: float) -> None:
        """Never so far that it would begin before the run in front of it has ended."""
        self.offset_s = max(offset_s, self._least_offset_s)


class Window:
    """The newest segments of one stream."""

    def __init__(
        self,
        *,
        first_number: int,
        first_discontinuity: int = 0,
        gap_ms: int = 0,
        segment_ms: int,
        part_ms: int,
        most_segments: int,
        most_bytes: int,
    ) -> None:
        """
        Start without media.

        Args:
            first_number: media sequence number of the first segment.
            first_discontinuity: discontinuity sequence number of the first segment. Interop: hls.js 1.7.4 has an array as
                long as the number, and walks through it at each playlist: with a unix time it hangs for minutes.
            gap_ms: what the segment before the first one is said to have lasted, which is not to be had any more; it
                belongs to the discontinuity before. 0: there was none.
            segment_ms: a segment ends at the first key frame after so long.
            part_ms: how long parts usually are.
            most_segments: that are listed, besides the one that grows.
            most_bytes: held in all; the oldest go, listed or not.
        """
        self.part_ms = part_ms
        self.listeners: list[Callable[[], None]] = []
        """Called after each change; may be changed meanwhile."""
        self.version = 0
        """Rises with each change."""
        self.segments: Sequence[Segment] = ()
        """The whole ones that are listed, oldest first."""
        self.current: Segment | None = None
        """The one that grows."""
        self.next_number = first_number
        """Media sequence number of the one that grows, or of the next one."""
        self.next_part_number = 0
        self._gap_ms = gap_ms
        self._discontinuities = first_discontinuity - self._is_behind_gap
        """Discontinuity sequence number of the newest segment, or of the gap."""
        self.discontinuity_sequence = self._discontinuities
        """Discontinuities before the first listed segment, or before the gap if that is listed."""
        self.size_bytes = 0
        """Of everything that is held."""
        self._segment_ms = segment_ms
        self._longest_ms = max(LONGEST_SEGMENT_MS, 2 * segment_ms)
        self._most_segments = most_segments
        self._most_bytes = most_bytes
        self._held: deque[Segment] = deque()
        self._parts: dict[int, NumberedPart] = {}
        self._inits: dict[int, Init] = {}
        self._init_number = -1
        self._run: _Run | None = None
        self._end_ms = 0
        self._end_date_s = float("-inf")
        self._first_number = self._first_listed = first_number

    # What comes in

    def begin(self, init: Init, at: float) -> None:  # noqa: ARG002 - as `append` has it
        """
        Take an initialisation section, for the parts that come after it; what came before ends with a discontinuity.

        Args:
            init: the section; that of before keeps its number.
            at: unix time of its arrival.
        """
        self._end_run()
        if init != self._inits.get(self._init_number):
            self._init_number += 1
            self._inits[self._init_number] = init
            self._forget_inits()
        self._changed()

    def append(self, part: Part, at: float) -> None:
        """
        Add a part.

        Args:
            part: continues the one before it; if its times do not, it begins a discontinuity.
            at: unix time of its arrival.

        Raises:
            UsageError: there is no initialisation section.
        """
        if self._init_number < 0:
            raise UsageError("a part before its initialisation section")
        if self._run is not None and abs(part.start_ms - self._end_ms) > LEAP_MS:
            self._end_run()
        elif self.current is not None and self._is_long_enough(self.current, part):
            self._complete_segment()
        run, segment = self._place(part)
        numbered = NumberedPart(
            self.next_part_number, part.data, part.duration_ms, part.is_independent, segment.init_number
        )
        segment.add(numbered)
        self._parts[numbered.number] = numbered
        self.next_part_number += 1
        self.size_bytes += len(part.data)
        self._end_ms = part.start_ms + part.duration_ms
        run.note_arrival(self._end_ms, at)
        if self.size_bytes > self._most_bytes:
            self._trim()
        self._changed()

    def break_off(self) -> None:
        """The feed has ended; what follows, if anything does, is a discontinuity."""
        self._end_run()
        self._changed()

    # What is asked for

    @property
    def is_broken_off(self) -> bool:
        """Whether nothing is known to follow."""
        return self._run is None

    @property
    def next_discontinuity_sequence(self) -> int:
        """Discontinuity sequence number of the segment that grows, or of the next one."""
        return self._discontinuities + (self.is_broken_off and self._has_begun)

    @property
    def gap_ms(self) -> int:
        """
        How long the gap in front of the first listed segment is, 0 for none.

        It leaves the list with the first segment, so that both are told of for as long as players need them.
        """
        return self._gap_ms if self._first_listed == self._first_number else 0

    @property
    def target_duration_s(self) -> int:
        """What no listed segment's rounded duration exceeds."""
        longest_ms = max((segment.run.longest_ms for segment in self.segments), default=0)
        return max(_round_s(max(longest_ms, self._segment_ms)), 1)

    @property
    def listed_ms(self) -> int:
        """Media that a player could begin with."""
        growing = 0 if self.current is None else self.current.duration_ms
        return sum(segment.duration_ms for segment in self.segments) + growing

    def has(self, number: int, index: int | None) -> bool:
        """
        Say whether a playlist has come as far as a player waits for.

        Args:
            number: of a segment.
            index: of a part of it, from 0; None: all of it. An index behind its last part means the next segment's
                first one (RFC 8216bis section 6.2.5.2).
        """
        if number >= self.next_number:
            growing = self.current if number == self.next_number else None
            return growing is not None and index is not None and index < len(growing.parts)
        newest = self.segments[-1] if self.segments else None
        if newest is None or number < newest.number or index is None or index < len(newest.parts):
            return True
        return self.current is not None

    def find_init(self, number: int) -> Init | None:
        """Find an initialisation section that a segment which is held, or the next one, needs."""
        return self._inits.get(number)

    def find_segment(self, number: int) -> Segment | None:
        """Find a whole segment by its media sequence number, listed or not long ago."""
        place = number - self._held[0].number if self._held else -1
        return self._held[place] if 0 <= place < len(self._held) else None

    def find_part(self, number: int) -> NumberedPart | None:
        """Find a part of a segment that is held."""
        return self._parts.get(number)

    # Segments

    @property
    def _is_behind_gap(self) -> bool:
        return self._gap_ms > 0

    @property
    def _has_begun(self) -> bool:
        """Whether the next run is behind a discontinuity."""
        return self._is_behind_gap or bool(self._held)

    def _is_long_enough(self, segment: Segment, part: Part) -> bool:
        """Whether this part begins the next one. A key frame that comes by less than half a part early is on time."""
        if part.is_independent and segment.duration_ms + self.part_ms // 2 >= self._segment_ms:
            return True
        too_long = segment.duration_ms + part.duration_ms > self._longest_ms
        # A few segments must have room in any case: there is no playlist of one.
        return too_long or segment.size_bytes + len(part.data) > self._most_bytes // (LEAST_LISTED + 1)

    def _place(self, part: Part) -> tuple[_Run, Segment]:
        begins_run = self._run is None
        if self._run is None:
            self._run = _Run(part.start_ms, self._end_date_s)
        if self.current is None:
            is_discontinuity = begins_run and self._has_begun
            self._discontinuities += is_discontinuity
            self.current = Segment(self.next_number, self._init_number, is_discontinuity, part.start_ms, self._run)
        return self._run, self.current

    def _end_run(self) -> None:
        self._complete_segment()
        self._run = None

    def _complete_segment(self) -> None:
        segment, self.current = self.current, None
        if segment is None:
            return
        segment.complete()
        segment.run.longest_ms = max(segment.run.longest_ms, segment.duration_ms)
        self._end_date_s = segment.end_date_s
        self._held.append(segment)
        self.next_number += 1
        self._trim()

    # What goes

    def _trim(self) -> None:
        """Shorten the list, and drop what is neither listed nor still to be answered."""
        if self._held:
            self._unlist(self._held[-self._listed_count()].number)
        while len(self._held) > 1 and (self.size_bytes > self._most_bytes or self._is_forgettable()):
            self._drop(self._held.popleft())
        self.segments = tuple(segment for segment in self._held if segment.number >= self._first_listed)

    def _listed_count(self) -> int:
        """As many as wanted, but half of the memory is for those that have left the list."""
        count = size_bytes = 0
        for segment in reversed(self._held):
            size_bytes += segment.size_bytes
            if count >= self._most_segments or (count >= LEAST_LISTED and size_bytes > self._most_bytes // 2):
                break
            count += 1
        return count

    def _unlist(self, first: int) -> None:
        """Let the list begin with a segment; it never goes back."""
        for segment in self._held:
            if self._first_listed <= segment.number < first:
                self.discontinuity_sequence += segment.is_discontinuity
        self._first_listed = max(self._first_listed, first)

    def _is_forgettable(self) -> bool:
        """Whether the oldest has been off the list for its own duration and that of the list (RFC 8216 section 6.2.2)."""
        oldest = self._held[0]
        if oldest.number >= self._first_listed:
            return False
        since = [segment for segment in self._held if segment is not oldest]
        left_ms = _total_ms(segment for segment in since if segment.number < self._first_listed)
        listed_ms = _total_ms(segment for segment in since if segment.number >= self._first_listed)
        return left_ms >= oldest.duration_ms + listed_ms

    def _drop(self, segment: Segment) -> None:
        if segment.number >= self._first_listed:  # where bytes are what is short
            self._first_listed = segment.number + 1
            self.discontinuity_sequence += segment.is_discontinuity
        self.size_bytes -= segment.size_bytes
        for part in segment.parts:
            del self._parts[part.number]
        self._forget_inits()

    def _forget_inits(self) -> None:
        growing = () if self.current is None else (self.current,)
        used = {self._init_number, *(segment.init_number for segment in (*self._held, *growing))}
        self._inits = {number: self._inits[number] for number in sorted(used)}

    def _changed(self) -> None:
        self.version += 1
        for listener in list(self.listeners):
            listener()


def _round_s(duration_ms: int) -> int:
    """To the nearest second, halves up, as a target duration is compared with."""
    return (duration_ms + 500) // 1000


def _total_ms(segments: Iterable[Segment]) -> int:
    return sum(segment.duration_ms for segment in segments)
