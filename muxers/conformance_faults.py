"""The conformance kit's cases of what happens to outputs: nothing, names, disks and crashes."""

from __future__ import annotations

import errno
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from muxers.base import Muxer, MuxError
from muxers.conformance_checks import Case, Subject, Written, check, read, record, started, write
from muxers.conformance_feed import Feed


def nothing(subject: Subject, folder: Path) -> None:
    feed = started(subject)

    (written,) = record(subject, folder, feed)

    assert written.facts.empty
    assert written.facts.size_bytes == 0
    assert list(folder.iterdir()) == [], "an output without frames leaves nothing"


def taken_name(subject: Subject, folder: Path) -> None:
    path = folder / subject.file_name
    path.write_bytes(b"somebody else's")

    with suppress(FileExistsError):
        subject.make(path).open()
        raise AssertionError("a name that is taken was opened")

    assert path.read_bytes() == b"somebody else's"
    assert list(folder.iterdir()) == [path]


def closing_twice(subject: Subject, folder: Path) -> None:
    feed = started(subject)
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
    check(subject, feed, [Written(folder / subject.file_name, facts)])


def removal(subject: Subject, folder: Path) -> None:
    feed = started(subject)
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


def full_disk(subject: Subject, folder: Path) -> None:
    feed = started(subject)
    feed.add_frames(0, 3_000)
    (whole,) = record(subject, folder, feed)
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
        found = set() if facts.empty else set(read(subject, path))
        _check_confirmed(subject, feed, muxer.confirmed_tags, found)


def _fill(muxer: Muxer, feed: Feed) -> bool:
    """Write until the disk is full; say whether it was."""
    try:
        muxer.open()
        write(muxer, feed.tags, 3)
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


def crash(subject: Subject, folder: Path) -> None:
    feed = started(subject)
    feed.add_frames(0, 3_000)
    kill_anywhere(subject, folder, feed, every=3)


def kill_anywhere(subject: Subject, folder: Path, feed: Feed, every: int) -> None:
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
        found = read(subject, path)
    except AssertionError:
        raise
    except Exception:  # noqa: BLE001 - each reader has errors of its own for what is too short to open
        found = {}
    _check_confirmed(subject, feed, confirmed_tags, set(found))
    if sent:
        start_ms, end_ms = sent[0].dts_ms, max(frame.dts_ms for frame in sent)
        kept_to_ms = max((feed.frames[number].dts_ms for number in found), default=start_ms)
        assert end_ms - kept_to_ms <= subject.lost_ms, f"a crash costs {end_ms - kept_to_ms} ms"


FAULT_CASES = (
    Case("no frame at all", nothing),
    Case("a name that is taken", taken_name),
    Case("closing twice", closing_twice),
    Case("an output that is removed", removal),
    Case("a full disk", full_disk),
    Case("a crash at any moment", crash),
)
