"""
What is odd about a publication (event 321), seen by looking at every live stream once a second: no message pays for it.
A look is taken in pieces, as one at a thousand streams takes 20 ms.

Equal findings are merged. The first of a type is told at once, with whatever else waits; after that a publication is
reported on at most once in `REPORT_INTERVAL_S`, and a last time before its event 0.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from rtmpd.control import push_events as events
from rtmpd.control.portrait import facts_of
from rtmpd.control.publications import Publications
from rtmpd.control.push_events import MAX_DETAILS, TYPES, Finding
from rtmpd.live.arrivals import newest_arrivals
from rtmpd.live.headers import Headers
from rtmpd.live.registry import Registry
from rtmpd.live.stream import Publication
from rtmpd.logs import Logger
from rtmpd.media.tracks import Kind, TrackFacts, Tracks
from rtmpd.store.outbox import Owed

LOOK_S = 1.0
"""From one look at a stream to the next."""
PIECES = 10
"""Of a look at all of them."""
REPORT_INTERVAL_S = 60.0
STALL_S: dict[Kind, float] = {"video": 3.0, "audio": 1.0}
"""A track from which nothing comes for so long has stalled, if the other one goes on."""
GOES_ON_S = 1.0
"""A track that sent something within this time goes on."""
MISSING_S = 5.0
"""After a publication's first frame: an announced track that has not come by then is missing."""
LOOKED_AT, LOOKED_AT_FOR_ANOTHER = 1_000, 16
"""Messages that one look goes back over, and how many of them for a track that nothing has spoken of yet."""
DESCRIBE_SLICE_S = 0.005
"""In one look changed headers are read for so long, of one stream at least: those of an evil one take 10 ms. The others
are next."""
COMMON_CODECS = frozenset({"avc1", "hvc1", "av01", "vp09", "mp4a", ".mp3", "Opus"})
"""What players of today play."""

_OTHER: dict[Kind, Kind] = {"video": "audio", "audio": "video"}
_BACK: dict[Kind, int] = {"video": events.VIDEO_BACK, "audio": events.AUDIO_BACK}
_JUMP: dict[Kind, int] = {"video": events.VIDEO_JUMP, "audio": events.AUDIO_JUMP}
_STALLED: dict[Kind, int] = {"video": events.VIDEO_STALLED, "audio": events.AUDIO_STALLED}
_CHANGED: dict[Kind, int] = {"video": events.VIDEO_CHANGED, "audio": events.AUDIO_CHANGED}
_MISSING: dict[Kind, int] = {"video": events.VIDEO_MISSING, "audio": events.AUDIO_MISSING}


class Findings:
    """What was found at one publication and is not told yet."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[int, list[tuple[str, float]]]] = {}
        self._known: set[int] = set()
        self._is_new = False
        self._told_s = float("-inf")

    def add(self, type_: int, text: str, at: float, times: int = 1) -> None:
        """
        Keep a finding.

        Args:
            type_: one of `push_events.TYPES`.
            text: one line for people.
            at: unix seconds.
            times: how often it was found.
        """
        before, details = self._waiting.get(type_, (0, []))
        if len(details) < MAX_DETAILS:
            details.append((text, at))
        self._waiting[type_] = before + times, details
        self._is_new = self._is_new or type_ not in self._known
        self._known.add(type_)

    def is_due(self, now: float) -> bool:
        """Whether there is something to tell, and it may be told now (seconds that never jump)."""
        return bool(self._waiting) and (self._is_new or now - self._told_s >= REPORT_INTERVAL_S)

    def take(self, now: float) -> list[Finding]:
        """Hand over all that waits, merged by type; the interval begins anew."""
        waiting, self._waiting = self._waiting, {}
        self._is_new = False
        self._told_s = now
        return [Finding(type_, count, tuple(details)) for type_, (count, details) in sorted(waiting.items())]


class _Watch:
    """One publication as it was at the last look; times are seconds of the clock that frames arrive by."""

    def __init__(self, publication: Publication, began_s: float) -> None:
        self.publication = publication
        self.began_s = began_s
        self.findings = Findings()
        self.reports = 0
        self.described_s = float("-inf")
        self.headers: Headers | None = None
        self._facts = Tracks((), frozenset())
        self._position = 0
        self._first_frame_s: float | None = None
        self._last_s: dict[Kind, float] = {}
        self._stalled: set[Kind] = set()
        self._missing: set[Kind] = set()
        self._jumps = self._jumps_back = 0

    @property
    def has_new_headers(self) -> bool:
        """Whether headers are to be described; those in force before the first frame may be the last publisher's."""
        return self.publication.frames > 0 and self.publication.stream.headers is not self.headers

    def describe(self, now: float, at: float) -> None:
        """Read the headers in force, and compare them with those before."""
        headers = self.publication.stream.headers
        facts = facts_of(headers)
        before = {(each.kind, each.track_id): each for each in self._facts.described}
        for track in facts.described:
            old = before.get((track.kind, track.track_id))
            for type_, text in _oddities(old, track):
                self.findings.add(type_, text, at)
        self.headers, self._facts, self.described_s = headers, facts, now

    def look(self, now: float, at: float) -> None:
        """Find what the frames since the last look tell."""
        self._note_arrivals(now)
        self.find_jumps(at)
        if self._first_frame_s is not None:
            for kind in STALL_S:
                self._find_stall(kind, now, at)
                self._find_missing(kind, now, at)

    def find_jumps(self, at: float) -> None:
        """Find new leaps. Audio and video share one clock here, so one is told of the pictures where there are any."""
        publication = self.publication
        kind: Kind = "video" if "video" in self._last_s else "audio"
        if back := publication.jumps_back - self._jumps_back:
            self.findings.add(_BACK[kind], "the timestamps of the stream went back by more than 5 s", at, back)
        if forward := publication.jumps - self._jumps:
            self.findings.add(_JUMP[kind], "the timestamps of the stream leapt forward by more than 5 s", at, forward)
        self._jumps, self._jumps_back = publication.jumps, publication.jumps_back

    def _note_arrivals(self, now: float) -> None:
        log = self.publication.stream.log
        expected = set(self._last_s) | (self._facts.announced - self._missing)
        arrivals = newest_arrivals(
            log, self._position, LOOKED_AT if len(expected) == len(STALL_S) else LOOKED_AT_FOR_ANOTHER
        )
        self._position = log.end
        found: dict[Kind, float | None] = {"video": arrivals.video_s, "audio": arrivals.audio_s}
        for kind, last_s in found.items():
            if last_s is not None and last_s >= self.began_s:  # before that it was another publisher's
                self._last_s[kind] = last_s
            elif not arrivals.is_whole and kind in self._last_s:
                self._last_s[kind] = now  # it may have come: nothing is said that was not seen
        if self._first_frame_s is None and self._last_s:
            self._first_frame_s = now

    def _find_stall(self, kind: Kind, now: float, at: float) -> None:
        last_s = self._last_s.get(kind)
        if last_s is None or now - last_s <= STALL_S[kind]:
            self._stalled.discard(kind)
            return
        goes_on = now - self._last_s.get(_OTHER[kind], float("-inf")) <= GOES_ON_S
        if goes_on and kind not in self._stalled:
            self._stalled.add(kind)
            text = f"no {kind} for more than {STALL_S[kind]:g} s while {_OTHER[kind]} goes on"
            self.findings.add(_STALLED[kind], text, at)

    def _find_missing(self, kind: Kind, now: float, at: float) -> None:
        assert self._first_frame_s is not None
        expected = kind in self._facts.announced and kind not in self._last_s and kind not in self._missing
        if expected and now - self._first_frame_s > MISSING_S:
            self._missing.add(kind)
            self.findings.add(_MISSING[kind], f"{kind} was announced, and none has come for {MISSING_S:g} s", at)


class Abnormal:
    """Looks at every publication, and tells what is odd."""

    def __init__(
        self,
        registry: Registry,
        publications: Publications,
        log: Logger,
        clock: Callable[[], float],
        unix_now: Callable[[], float] = time.time,
    ) -> None:
        """
        Prepare; `look` does the work, `run` does it for ever.

        Args:
            registry: of the streams.
            publications: owes the events; is asked to let us speak before the end of each.
            log: has a line for each event.
            clock: seconds, as frames arrive by.
            unix_now: unix seconds.
        """
        self._registry = registry
        self._publications = publications
        self._log = log
        self._clock = clock
        self._unix_now = unix_now
        self._watches: dict[Publication, _Watch] = {}
        publications.last_words.append(self._last_words)

    async def run(self) -> None:
        """Look at every live stream once a second, for ever; to be supervised, and cancelled."""
        while True:
            for _ in self.look():
                await asyncio.sleep(LOOK_S / PIECES)

    def look(self) -> Iterator[None]:
        """
        Look at every live stream.

        Yields:
            `PIECES` times, each after another part of them.
        """
        self._follow()
        self._describe(self._clock(), self._unix_now())
        watches = list(self._watches.items())
        for piece in range(PIECES):
            now, at = self._clock(), self._unix_now()
            for publication, watch in watches[piece::PIECES]:
                if publication in self._watches:  # else it has ended since
                    watch.look(now, at)
                    if watch.findings.is_due(now):
                        self._publications.tell(self._report(watch, now))
            yield

    def _follow(self) -> None:
        """Watch the publications that there are."""
        watches = {}
        for stream in self._registry:
            publication = stream.publication
            if publication is not None and (running := self._publications.find(publication)) is not None:
                watches[publication] = self._watches.get(publication) or _Watch(publication, running.began_s)
        self._watches = watches

    def _describe(self, now: float, at: float) -> None:
        """Read headers that have changed, those first that were looked at longest ago."""
        until_s = self._clock() + DESCRIBE_SLICE_S
        for watch in sorted((each for each in self._watches.values() if each.has_new_headers), key=_described_s):
            watch.describe(now, at)
            if self._clock() >= until_s:
                break

    def _last_words(self, publication: Publication) -> list[Owed]:
        watch = self._watches.pop(publication, None)
        if watch is None:
            return []
        watch.find_jumps(self._unix_now())
        return self._report(watch, self._clock())

    def _report(self, watch: _Watch, now: float) -> list[Owed]:
        """Make an event of what was found, if anything was."""
        running = self._publications.find(watch.publication)
        findings = watch.findings.take(now)
        if running is None or not findings:
            return []
        watch.reports += 1
        self._log.warning(
            "push abnormal",
            stream=watch.publication.stream.path,
            client=watch.publication.terms.client,
            found=", ".join(f"{each.times} x {TYPES[each.type_]}" for each in findings),
        )
        unix_now = self._unix_now()
        return [
            events.abnormal(running.row, self._publications.node, watch.reports, findings, REPORT_INTERVAL_S, unix_now)
        ]


def _described_s(watch: _Watch) -> float:
    return watch.described_s


def _oddities(before: TrackFacts | None, track: TrackFacts) -> Iterator[tuple[int, str]]:
    """Compare a track with what it was, None if it is new."""
    if track == before:
        return
    name = f"{track.kind} track {track.track_id}"
    if track.fault:
        yield events.UNREADABLE_HEADER, f"{name}: {track.fault}"
    if track.codec not in COMMON_CODECS and (before is None or before.codec != track.codec):
        yield events.UNCOMMON_CODEC, f"{name} is {track.codec}"
    if before is not None and (changes := _changes(before, track)):
        yield _CHANGED[track.kind], f"{name}: {changes}"


def _changes(before: TrackFacts, after: TrackFacts) -> str:
    """Say what became what; a value that is or was not known is no change."""
    pairs = [
        (before.codec, after.codec, ""),
        (
            f"{before.width}x{before.height}" * bool(before.width),
            f"{after.width}x{after.height}" * bool(after.width),
            "",
        ),
        (before.sample_rate, after.sample_rate, " Hz"),
        (before.channels, after.channels, " channels"),
    ]
    return ", ".join(f"{old}{unit} became {new}{unit}" for old, new, unit in pairs if old and new and old != new)
