"""
The outputs of one format: one after another, cut at key frames, each begun with the headers in force.

Rule: every frame goes to exactly one output. A cut lies before a key frame of the default video track (before any
audio frame where there is no video); audio that comes behind that key frame but belongs before it still goes to the
output before the cut, which is kept open for it. An output that fails costs what comes until the next key frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from muxers.base import FileFacts, Muxer, MuxError
from muxers.clock import NOT_A_FRAME, FileClock
from muxers.flv_metadata import ON_METADATA
from muxers.marks import ON_RESUME
from rtmpd.media.codecs import AUDIO_FOURCC, VIDEO_FOURCC
from rtmpd.media.tags import KEY_FRAME, SEQUENCE_HEADER, classify, header_slot
from rtmpd.wire.flv import PREVIOUS_TAG_SIZE_BYTES, TAG_HEADER_BYTES, FlvTag
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO

VIDEO_GONE_MS = 10_000
"""Without a picture for so long, audio frames are places to cut too."""
LATE_AUDIO_MS = 1_000
"""How much longer than a cut the output before it waits for audio that belongs to it."""
APART_MS = 1_000
"""Least media time between two outputs that are begun because the one before declined: a hostile encoder changes its
configuration with each frame."""

_TAG_OVERHEAD_BYTES = TAG_HEADER_BYTES + PREVIOUS_TAG_SIZE_BYTES
_HEADERS = 64
_HEADERS_BYTES = 512 * 1024
_METADATA_SLOT = (DATA_AMF0, 0, 0)
_LONG_AGO_MS = -(1 << 62)
_PLAIN = frozenset(
    [bytes([first, 1]) for first in (0x27, 0x2C, *range(0xA0, 0xB0))]
    + [bytes([first]) + codec[:1] for first in (0xA1, 0xA3) for codec in VIDEO_FOURCC]
    + [bytes([0x91]) + codec[:1] for codec in AUDIO_FOURCC],
)
"""How bodies begin that are a frame and no key frame: AVC, HEVC and AAC as in FLV, and the codecs of Enhanced RTMP."""


class Cut(NamedTuple):
    """When an output is followed by the next one; 0 stands for never."""

    after_ms: int = 0
    """Media time."""
    after_bytes: int = 0
    """Bytes of the tags that it was given."""


NEVER = Cut()


class OutputSource(Protocol):
    """Who provides outputs, and is told what became of them."""

    def next(self) -> Muxer | None:
        """Open the next output; None while there is none to be had, which is asked again at the next key frame."""

    def closed(self, muxer: Muxer, facts: FileFacts) -> None:
        """An output is complete."""

    def failed(self, muxer: Muxer, facts: FileFacts, error: Exception) -> None:
        """An output ended before its time; it has what the facts say. Not an OSError or MuxError: a bug."""


class _Headers:
    """What a decoder must have before frames, by the place that a later one of the same kind takes."""

    def __init__(self) -> None:
        self._tags: dict[tuple[int, int, int], FlvTag] = {}

    def changed_by(self, slot: tuple[int, int, int], tag: FlvTag) -> bool:
        """Whether a header is another one than that in force: most encoders repeat identical headers."""
        known = self._tags.get(slot)
        return known is None or known.body != tag.body

    def keep(self, slot: tuple[int, int, int], tag: FlvTag) -> None:
        """Put a header in force; what exceeds the bounds of a live stream's headers is not kept."""
        tags = {**self._tags, slot: tag}
        if len(tags) <= _HEADERS and sum(len(each.body) for each in tags.values()) <= _HEADERS_BYTES:
            self._tags = tags

    def at(self, timestamp_ms: int) -> list[FlvTag]:
        """Make the tags that an output begins with."""
        return [tag._replace(timestamp_ms=timestamp_ms) for tag in self._tags.values()]


class _Output:
    """An output and which of the feed's tags it has."""

    def __init__(self, muxer: Muxer, began_ms: int, first_tag: int, headers: int) -> None:
        self.muxer = muxer
        self.began_ms = began_ms
        self.first_tag = first_tag
        self.size_bytes = 0
        self._headers = headers

    @property
    def confirmed_tags(self) -> int:
        """Tags of the feed, from its first one on, up to the last one confirmed here."""
        return self.first_tag + max(0, self.muxer.confirmed_tags - self._headers)


class Series:
    """Writes a feed into outputs."""

    def __init__(self, source: OutputSource, cut: Cut = NEVER) -> None:
        """
        Prepare; the first output is opened with the first tag.

        Args:
            source: provides the outputs; called from within `write`, `check` and `close`.
            cut: when the next one is begun.
        """
        self._source = source
        self._cut = cut
        self._headers = _Headers()
        self._clock = FileClock()
        self._output: _Output | None = None
        self._before: _Output | None = None
        self._cut_ms = 0
        self._begun = False
        self._not_before_ms = _LONG_AGO_MS
        self._picture_ms = _LONG_AGO_MS
        self._tags = 0

    @property
    def confirmed_tags(self) -> int:
        """
        How many of the tags handed over are readable in the outputs after a crash.

        What came while there was no output is lost and counts too: nobody can go on from there.
        """
        output = self._before or self._output
        return self._tags if output is None else min(output.confirmed_tags, self._tags)

    @property
    def active(self) -> bool:
        """Whether there is an output now."""
        return self._output is not None

    def write(self, tags: Sequence[FlvTag]) -> None:
        """
        Take the next tags of the feed; never raises for what an output does.

        Args:
            tags: in order; what the feed begins with is metadata and headers, or not.
        """
        if not self._begun and tags:
            self._begun = True
            self._open(0, [])
        start = 0
        counts = self._cut.after_bytes > 0
        for index, tag in enumerate(tags):
            type_id, timestamp_ms, body = tag
            if counts and self._output is not None:
                self._output.size_bytes += len(body) + _TAG_OVERHEAD_BYTES
            if body[:2] in _PLAIN and self._before is None:
                # What nearly every tag is: looking at each as at a key frame cost a third of writing two formats.
                if type_id == VIDEO:
                    self._picture_ms = timestamp_ms
                    continue
                if timestamp_ms - self._picture_ms <= VIDEO_GONE_MS:
                    continue
            flags = self._look(tag)
            time_ms = self._clock.now_ms
            if (slot := _slot(tag, flags)) and self._headers.changed_by(slot, tag):
                # What comes before is given first: an output that declines there is followed by one with the headers
                # in force there.
                self._give(tags[start:index])
                start = index
                self._headers.keep(slot, tag)
            if self._before is not None and self._is_late(type_id, flags, time_ms):
                self._give(tags[start:index])
                self._give_before(tag)
                start = index + 1
            elif self._may_start_at(tag, flags) and self._wants_next(time_ms):
                self._give(tags[start:index])
                self._begin(time_ms, timestamp_ms)
                start = index
        self._give(tags[start:])

    def check(self) -> None:
        """Confirm what can be, and notice an output that is no longer there."""
        if self._output is not None:
            try:
                self._output.muxer.flush()
            except Exception as error:  # noqa: BLE001 - a bug of one muxer must not cost the other formats
                self._fail(error)

    def fail(self, error: Exception) -> None:
        """Give up the output: its feed is broken."""
        self._close_before()
        if self._output is not None:
            self._fail(error)

    def close(self) -> None:
        """Complete what is open."""
        self._close_before()
        output, self._output = self._output, None
        if output is not None:
            self._close(output)

    def _look(self, tag: FlvTag) -> int:
        """Follow time and marks."""
        type_id, timestamp_ms, body = tag
        if type_id in (AUDIO, VIDEO):
            flags = classify(type_id, body)
            self._clock.place(timestamp_ms, flags)
            # Headers have no time (OBS stamps them 0), but the first one says that pictures are to come.
            if type_id == VIDEO and (not flags & NOT_A_FRAME or self._picture_ms == _LONG_AGO_MS):
                self._picture_ms = timestamp_ms
            return flags
        if body.startswith(ON_RESUME):
            self._clock.resume()
        return NOT_A_FRAME

    def _may_start_at(self, tag: FlvTag, flags: int) -> bool:
        if flags & NOT_A_FRAME:
            return False
        gone = tag.timestamp_ms - self._picture_ms > VIDEO_GONE_MS
        return bool(flags & KEY_FRAME) or (tag.type_id == AUDIO and gone)

    def _wants_next(self, time_ms: int) -> bool:
        output = self._output
        if output is None:
            return time_ms >= self._not_before_ms
        after_ms, after_bytes = self._cut
        return (after_ms > 0 and time_ms - output.began_ms >= after_ms) or 0 < after_bytes <= output.size_bytes

    def _is_late(self, type_id: int, flags: int, time_ms: int) -> bool:
        """Whether a tag belongs before the cut; if that is over, the output before it is closed."""
        if type_id == AUDIO and not flags & NOT_A_FRAME:
            if time_ms < self._cut_ms:
                return True
            self._close_before()
        elif time_ms > self._cut_ms + LATE_AUDIO_MS:
            self._close_before()
        return False

    def _begin(self, time_ms: int, timestamp_ms: int) -> None:
        """Open the next output, which begins here; where there is none yet, the old one goes on."""
        output = self._output
        opened = self._open(time_ms, self._headers.at(timestamp_ms))
        if output is None or not opened:
            return
        self._close_before()
        self._before, self._cut_ms = output, time_ms
        if not output.muxer.facts().audio_frames:
            self._close_before()

    def _open(self, time_ms: int, headers: list[FlvTag]) -> bool:
        muxer = self._source.next()
        if muxer is None:
            return False
        self._output = _Output(muxer, time_ms, self._tags, len(headers))
        self._mux(headers)
        return True

    def _give(self, tags: Sequence[FlvTag]) -> None:
        while tags:
            taken = self._mux(tags)
            self._tags += taken
            tags = tags[taken:]
            if tags:
                self._go_on(tags[0].timestamp_ms)

    def _mux(self, tags: Sequence[FlvTag]) -> int:
        """Hand tags to the output; what it declines is for the next one, what fails or has no output is lost."""
        output = self._output
        if output is None or not tags:
            return len(tags)
        try:
            return output.muxer.write(tags)
        except Exception as error:  # noqa: BLE001 - a bug of one muxer must not cost the other formats
            self._fail(error)
            return len(tags)

    def _go_on(self, timestamp_ms: int) -> None:
        """Begin the next output where the current one declined to go on."""
        output, self._output = self._output, None
        assert output is not None
        self._close(output)
        self._not_before_ms = output.began_ms + APART_MS
        now_ms = self._clock.now_ms
        if now_ms >= self._not_before_ms:
            self._open(now_ms, self._headers.at(timestamp_ms))

    def _give_before(self, tag: FlvTag) -> None:
        before = self._before
        assert before is not None
        self._tags += 1
        if self._output is not None:
            self._output.first_tag += 1
        try:
            before.muxer.write([tag])
        except Exception as error:  # noqa: BLE001 - as above
            self._before = None
            self._report_failure(before.muxer, error)

    def _close_before(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            self._close(before)

    def _close(self, output: _Output) -> None:
        try:
            facts = output.muxer.close()
        except Exception as error:  # noqa: BLE001 - as above
            self._report_failure(output.muxer, error)
        else:
            self._source.closed(output.muxer, facts)

    def _fail(self, error: Exception) -> None:
        output, self._output = self._output, None
        assert output is not None
        self._report_failure(output.muxer, error)

    def _report_failure(self, muxer: Muxer, error: Exception) -> None:
        """Leave an output behind, complete as far as the disk lets it be."""
        try:
            facts = muxer.close()
        except (OSError, MuxError):
            facts = muxer.facts()
        self._source.failed(muxer, facts, error)


def _slot(tag: FlvTag, flags: int) -> tuple[int, int, int] | None:
    """Name the place of a header; None for what is none."""
    type_id, _, body = tag
    if type_id == DATA_AMF0:
        return _METADATA_SLOT if body.startswith(ON_METADATA) else None
    return header_slot(type_id, body) if flags & SEQUENCE_HEADER else None
