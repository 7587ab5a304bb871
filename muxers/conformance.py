"""
What every muxer must do, as cases that anybody can run on a muxer of their own.

Tell the kit how to make the muxer and how to read what it wrote (`Subject`), then run `CASES`, one by one as the
parameters of a test, or all with `check_muxer`:

    subject = Subject(make=MyMuxer, read=my_reader, file_name="recording.mine")

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_conformance(case, tmp_path):
        case(subject, tmp_path)

A case raises AssertionError. Formats differ in what they carry and in when they need a new file; the cases hold them to
one rule: a frame is in an output, in its place, or it is counted in `left_out` and there was a reason.
"""

from __future__ import annotations

import errno
import resource
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from muxers.base import FileFacts, Muxer, MuxError
from muxers.conformance_feed import Feed, SentFrame, is_start, number_of
from rtmpd.wire.flv import FlvTag

TOLERANCE_MS = 1.01
"""A millisecond, and what floating point adds."""


class ReadFrame(NamedTuple):
    """A frame that a reader found in an output."""

    kind: str
    """"video" or "audio"."""
    dts_ms: float
    pts_ms: float
    payload: bytes


@dataclass(frozen=True)
class Subject:
    """A muxer to be checked."""

    make: Callable[[Path], Muxer]
    read: Callable[[Path], Sequence[ReadFrame]]
    """Reads an output; raises where it cannot be opened."""
    file_name: str
    kinds: frozenset[str] = frozenset({"video", "audio"})
    """What the format carries of a stream with both; the rest is not counted as left out."""
    audio: str = "mp4a"
    """The sound that the cases send: "mp4a" or ".mp3"."""
    mend: Callable[[Path], object] = lambda _path: None
    """What makes an output readable that a crash left, where it is not so by itself."""
    lost_ms: int = 1_000
    """Media that a crash may cost."""
    timed: bool = True
    """Whether the format holds the times of frames; without, only their order is checked."""


@dataclass(frozen=True)
class Case:
    """One thing that every muxer does."""

    name: str
    check: Callable[[Subject, Path], None]

    def __call__(self, subject: Subject, folder: Path) -> None:
        """Run it; `folder` is empty and stays the caller's."""
        self.check(subject, folder)

    def __str__(self) -> str:
        """Its name, as the id of a parameter."""
        return self.name


def check_muxer(subject: Subject, folder: Path) -> None:
    """
    Run all cases.

    Args:
        subject: the muxer.
        folder: exists; gets a folder for each case.

    Raises:
        AssertionError: the muxer does something else.
    """
    for number, case in enumerate(CASES):
        place = folder / str(number)
        place.mkdir()
        case(subject, place)


class _Written(NamedTuple):
    path: Path
    facts: FileFacts


def _record(subject: Subject, folder: Path, feed: Feed, batch: int = 7) -> list[_Written]:
    """Write a feed into as many outputs as the muxer asks for."""
    written: list[_Written] = []
    position = 0
    while True:
        assert len(written) < 20, "a new output for almost nothing"
        path = folder / f"{len(written)}-{subject.file_name}"
        muxer = subject.make(path)
        muxer.open()
        headers = feed.headers_before(position)
        assert muxer.write(headers) == len(headers), "headers alone end no output"
        begin, position = position, position + _write(muxer, feed.tags[position:], batch)
        written.append(_Written(path, muxer.close()))
        if position == len(feed.tags):
            return written
        assert position > begin, "an output that takes nothing of what it may begin with"
        has_video = "video" in subject.kinds and any(f.kind == "video" and f.tag < position for f in feed.frames)
        assert is_start(feed.tags[position], video=has_video), "what is left does not begin where one can start"


def _write(muxer: Muxer, tags: Sequence[FlvTag], batch: int) -> int:
    for start in range(0, len(tags), batch):
        given = tags[start : start + batch]
        taken = muxer.write(given)
        assert 0 <= taken <= len(given)
        if taken < len(given):
            return start + taken
    return len(tags)


def _never(_frame: SentFrame) -> bool:
    return False


def _check(
    subject: Subject, feed: Feed, written: Iterable[_Written], may_lack: Callable[[SentFrame], bool] = _never
) -> dict[int, ReadFrame]:
    """Hold outputs to the one rule, and return the frames in them by number."""
    sent = [frame for frame in feed.frames if frame.kind in subject.kinds]
    found: dict[int, ReadFrame] = {}
    counted = 0
    for path, facts in written:
        counted += facts.video_frames + facts.audio_frames + facts.left_out
        assert facts.empty == (not path.exists())
        if facts.empty:
            continue
        frames = _read(subject, path)
        assert not frames.keys() & found.keys(), "frames that are in two outputs"
        assert len(frames) <= facts.video_frames + facts.audio_frames
        start_ms = min(frame.dts_ms for frame in frames.values())
        assert not subject.timed or abs(start_ms) <= TOLERANCE_MS, "the output begins at 0"
        found |= frames
    assert counted == len(sent), "frames that are neither in an output nor counted as left out"
    lacking = [frame for frame in sent if frame.number not in found and not may_lack(frame)]
    assert not lacking, f"frames that no output has: {lacking[:3]}"
    return found


def _read(subject: Subject, path: Path) -> dict[int, ReadFrame]:
    frames: dict[int, ReadFrame] = {}
    last: dict[str, int] = {}
    for frame in subject.read(path):
        number = number_of(frame.payload)
        assert number > last.get(frame.kind, -1), "frames of one kind stay in order"
        last[frame.kind] = number
        frames[number] = frame
    return frames


def _check_times(subject: Subject, feed: Feed, found: dict[int, ReadFrame]) -> None:
    """Compare the times in one output with the publisher's, both from the first frame."""
    if not subject.timed:
        return
    start_ms = min(feed.frames[number].dts_ms for number in found)
    for number, frame in found.items():
        sent = feed.frames[number]
        dts_ms = sent.dts_ms - start_ms
        assert abs(frame.dts_ms - dts_ms) <= TOLERANCE_MS, f"{sent} is at {frame.dts_ms} ms"
        assert abs(frame.pts_ms - dts_ms - sent.composition_ms) <= TOLERANCE_MS, f"{sent} is shown at {frame.pts_ms} ms"


def _check_continued(subject: Subject, found: dict[int, ReadFrame]) -> None:
    """Two pieces of 1.2 s are one of 2.4 s."""
    assert not subject.timed or 2_300 < max(frame.dts_ms for frame in found.values()) < 2_500


def _started(subject: Subject, *, video: bool = True, audio: bool = True) -> Feed:
    """A feed that begins as encoders begin."""
    feed = Feed(subject.audio)
    feed.add_metadata(video=video, audio=audio)
    if video:
        feed.add_video_header()
    if audio:
        feed.add_audio_header()
    return feed


def _streams(subject: Subject, folder: Path, *, video: bool, audio: bool) -> None:
    feed = _started(subject, video=video, audio=audio)
    feed.add_frames(0, 3_000, video=video, audio=audio)

    written = _record(subject, folder, feed)

    found = _check(subject, feed, written)
    if not found:
        return
    _check_times(subject, feed, found)
    (facts,) = [each.facts for each in written]
    assert {track.kind for track in facts.tracks} == {frame.kind for frame in found.values()}
    assert facts.size_bytes > 0
    assert abs(facts.duration_ms - 3_000) < 100
    assert facts.start_ms == min(feed.frames[number].dts_ms for number in found)
    assert facts.key_frames == (8 if video and "video" in subject.kinds else 0)
    assert (facts.gaps, facts.jumps, facts.left_out) == (0, 0, 0)


def _pictures_and_sound(subject: Subject, folder: Path) -> None:
    _streams(subject, folder, video=True, audio=True)


def _audio_only(subject: Subject, folder: Path) -> None:
    _streams(subject, folder, video=False, audio=True)


def _video_only(subject: Subject, folder: Path) -> None:
    _streams(subject, folder, video=True, audio=False)


def _late_headers(subject: Subject, folder: Path) -> None:
    feed = Feed(subject.audio)
    feed.add_frames(0, 1_000)
    feed.add_video_header()
    feed.add_audio_header()
    headers = len(feed.tags)
    feed.add_frames(1_000, 3_000)
    first_key = next(tag for tag in range(headers, len(feed.tags)) if is_start(feed.tags[tag], video=True))

    written = _record(subject, folder, feed)

    _check(subject, feed, written, lambda frame: frame.tag < (first_key if frame.kind == "video" else headers))


def _late_track(subject: Subject, folder: Path) -> None:
    feed = _started(subject, video=False)
    feed.add_frames(0, 1_500, video=False)
    feed.add_video_header()
    feed.add_frames(1_500, 3_000)

    _check(subject, feed, _record(subject, folder, feed))


def _silent_track(subject: Subject, folder: Path) -> None:
    for number, silent in enumerate(("audio", "video")):
        if not subject.kinds - {silent}:
            continue
        place = folder / str(number)
        place.mkdir()
        feed = _started(subject)
        feed.add_frames(0, 3_000, video=silent == "audio", audio=silent == "video")
        _check(subject, feed, _record(subject, place, feed))
        _kill_anywhere(subject, place, feed, every=40)


def _configuration_change(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    feed.add_frames(0, 2_000)
    feed.add_video_header(1)
    feed.add_audio_header(1)
    feed.add_frames(2_000, 4_000, version=1)

    _check(subject, feed, _record(subject, folder, feed))


def _change_between_key_frames(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    feed.add_frames(0, 1_400)
    feed.add_audio_header(1)
    changed = len(feed.tags)
    feed.add_frames(1_400, 3_000)
    next_key = next(tag for tag in range(changed, len(feed.tags)) if is_start(feed.tags[tag], video=True))

    written = _record(subject, folder, feed)

    _check(subject, feed, written, lambda frame: frame.kind == "audio" and changed <= frame.tag < next_key)


def _change_with_every_frame(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    for number in range(75):
        feed.add_video_header(number % 2)
        feed.add_video(number * 40, version=number % 2, key=True)
        feed.add_audio(number * 40)

    written = _record(subject, folder, feed)

    assert len(written) <= 5
    _check(subject, feed, written, lambda frame: frame.kind == "video")


def _repeated_headers(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    for second in range(3):
        feed.add_video_header()
        feed.add_audio_header()
        feed.add_frames(second * 1_000, second * 1_000 + 1_000)

    (written,) = _record(subject, folder, feed)

    _check_times(subject, feed, _check(subject, feed, [written]))
    assert written.facts.jumps == 0


def _jump_forward(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    feed.add_frames(0, 1_200)
    feed.add_frames(61_200, 62_400)

    (written,) = _record(subject, folder, feed)

    _check_times(subject, feed, _check(subject, feed, [written]))
    assert written.facts.jumps == 1


def _jump_back(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    feed.add_frames(0, 1_200)
    feed.add_frames(-70_000, -68_800)

    (written,) = _record(subject, folder, feed)

    found = _check(subject, feed, [written])
    _check_continued(subject, found)
    assert written.facts.jumps == 1


def _resumption(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    feed.add_frames(0, 1_200)
    feed.add_script("onResume")
    feed.add_video_header()
    feed.add_audio_header()
    feed.add_frames(-60_000, -58_800)

    (written,) = _record(subject, folder, feed)

    found = _check(subject, feed, [written])
    _check_continued(subject, found)
    assert written.facts.jumps == 0


def _odd_times(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    for number in range(75):
        feed.add_audio(number * 40)
        feed.add_video((number - number % 3) * 40)  # three with one time
        feed.add_audio(number * 40 - (30 if number % 10 == 5 else 0))  # equal, or a step back

    (written,) = _record(subject, folder, feed)

    found = _check(subject, feed, [written])
    start_ms = min(feed.frames[number].dts_ms for number in found)
    assert not subject.timed or all(
        abs(frame.dts_ms + start_ms - feed.frames[number].dts_ms) <= 50 for number, frame in found.items()
    )


def _named_gap(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    feed.add_frames(0, 1_200)
    feed.add_script("onGap", {"from_ms": 71_200.0, "to_ms": 74_000.0})
    feed.add_frames(4_000, 5_200)

    (written,) = _record(subject, folder, feed)

    _check_times(subject, feed, _check(subject, feed, [written]))
    assert (written.facts.gaps, written.facts.gap_ms) == (1, 2_800)


def _nothing(subject: Subject, folder: Path) -> None:
    feed = _started(subject)

    (written,) = _record(subject, folder, feed)

    assert written.facts.empty
    assert written.facts.size_bytes == 0
    assert list(folder.iterdir()) == [], "an output without frames leaves nothing"


def _taken_name(subject: Subject, folder: Path) -> None:
    path = folder / subject.file_name
    path.write_bytes(b"somebody else's")

    with suppress(FileExistsError):
        subject.make(path).open()
        raise AssertionError("a name that is taken was opened")

    assert path.read_bytes() == b"somebody else's"
    assert list(folder.iterdir()) == [path]


def _closing_twice(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    feed.add_frames(0, 2_000)
    muxer = subject.make(folder / subject.file_name)
    muxer.open()
    assert muxer.write(feed.tags) == len(feed.tags)
    facts = muxer.close()
    assert muxer.confirmed_tags == len(feed.tags)

    assert muxer.close() == facts == muxer.facts()
    with suppress(MuxError):
        muxer.write(feed.tags)
        raise AssertionError("a closed output took tags")
    _check(subject, feed, [_Written(folder / subject.file_name, facts)])


def _removal(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    feed.add_frames(0, 2_000)
    path = folder / subject.file_name
    muxer = subject.make(path)
    muxer.open()
    muxer.write(feed.tags)
    muxer.flush()
    for each in folder.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()

    for call in (muxer.flush, muxer.close):
        with suppress(FileNotFoundError):
            call()
            raise AssertionError(f"{call.__name__} does not tell that the output was removed")
    muxer.close()
    assert list(folder.iterdir()) == []


@contextmanager
def _files_limited_to(size: int) -> Iterator[None]:
    """Let the kernel refuse to make files of this process larger, as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def _full_disk(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    feed.add_frames(0, 3_000)
    (whole,) = _record(subject, folder, feed)
    largest = max(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    for number, part in enumerate((0.01, 0.3, 0.6, 0.8, 0.9, 0.99)):
        place = folder / str(number)
        place.mkdir()
        muxer = subject.make(place / subject.file_name)
        with _files_limited_to(int(largest * part)):
            failed = _fill(muxer, feed)
        assert failed or muxer.facts().size_bytes == whole.facts.size_bytes, "a full disk that nobody noticed"
        facts = muxer.close()
        path = place / subject.file_name
        assert facts.empty == (not path.exists())
        found = set() if facts.empty else set(_read(subject, path))
        _check_confirmed(subject, feed, muxer.confirmed_tags, found)


def _fill(muxer: Muxer, feed: Feed) -> bool:
    """Write until the disk is full; say whether it was."""
    try:
        muxer.open()
        _write(muxer, feed.tags, 3)
    except OSError as error:
        _check_number(error)
        with suppress(MuxError):
            muxer.write(feed.tags)
            raise AssertionError("a broken output took tags") from None
        muxer.close()
        return True
    try:
        muxer.close()
    except OSError as error:
        _check_number(error)
        return True
    return False


def _check_number(error: OSError) -> None:
    assert error.errno == errno.EFBIG, "the error keeps its number"


def _check_confirmed(subject: Subject, feed: Feed, confirmed_tags: int, found: set[int]) -> None:
    owed = {frame.number for frame in feed.frames if frame.kind in subject.kinds and frame.tag < confirmed_tags}
    assert not owed - found, f"frames that were confirmed and are not there: {sorted(owed - found)[:3]}"


def _crash(subject: Subject, folder: Path) -> None:
    feed = _started(subject)
    feed.add_frames(0, 3_000)
    _kill_anywhere(subject, folder, feed, every=3)


def _kill_anywhere(subject: Subject, folder: Path, feed: Feed, every: int) -> None:
    """Look at what a reader finds if the process dies between two writes."""
    work, grave = folder / "work", folder / "grave"
    work.mkdir()
    muxer = subject.make(work / subject.file_name)
    muxer.open()
    for count in range(every, len(feed.tags), every):
        assert muxer.write(feed.tags[count - every : count]) == every
        shutil.copytree(work, grave)
        _check_remains(subject, grave / subject.file_name, feed, count, muxer.confirmed_tags)
        shutil.rmtree(grave)
    muxer.close()


def _check_remains(subject: Subject, path: Path, feed: Feed, tags: int, confirmed_tags: int) -> None:
    sent = [frame for frame in feed.frames if frame.kind in subject.kinds and frame.tag < tags]
    subject.mend(path)
    try:
        found = _read(subject, path)
    except AssertionError:
        raise
    except Exception:  # noqa: BLE001 - each reader has errors of its own for what is too short to open
        found = {}
    _check_confirmed(subject, feed, confirmed_tags, set(found))
    if sent:
        start_ms, end_ms = sent[0].dts_ms, max(frame.dts_ms for frame in sent)
        kept_to_ms = max((feed.frames[number].dts_ms for number in found), default=start_ms)
        assert end_ms - kept_to_ms <= subject.lost_ms, f"a crash costs {end_ms - kept_to_ms} ms"


CASES = (
    Case("pictures and sound", _pictures_and_sound),
    Case("sound only", _audio_only),
    Case("pictures only", _video_only),
    Case("headers that come late", _late_headers),
    Case("a track that comes late", _late_track),
    Case("a track that is announced and silent", _silent_track),
    Case("a changed configuration", _configuration_change),
    Case("a configuration changed between key frames", _change_between_key_frames),
    Case("a configuration changed with every frame", _change_with_every_frame),
    Case("headers that are repeated", _repeated_headers),
    Case("a leap of the clock forward", _jump_forward),
    Case("a clock that starts again", _jump_back),
    Case("a publisher that comes back", _resumption),
    Case("equal times and steps back", _odd_times),
    Case("a gap in the feed", _named_gap),
    Case("no frame at all", _nothing),
    Case("a name that is taken", _taken_name),
    Case("closing twice", _closing_twice),
    Case("an output that is removed", _removal),
    Case("a full disk", _full_disk),
    Case("a crash at any moment", _crash),
)
"""Every case."""
