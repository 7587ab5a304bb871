"""The conformance kit's cases of what publishers send."""

from __future__ import annotations

from pathlib import Path

from muxers.conformance_checks import Case, Subject, check, check_continued, check_times, record, started
from muxers.conformance_faults import kill_anywhere
from muxers.conformance_feed import Feed, is_start


def _streams(subject: Subject, folder: Path, *, video: bool, audio: bool) -> None:
    feed = started(subject, video=video, audio=audio)
    feed.add_frames(0, 3_000, video=video, audio=audio)

    written = record(subject, folder, feed)

    found = check(subject, feed, written)
    if not found:
        return
    check_times(subject, feed, found)
    (facts,) = [each.facts for each in written]
    assert {track.kind for track in facts.tracks} == {frame.kind for frame in found.values()}
    assert facts.size_bytes > 0
    assert abs(facts.duration_ms - 3_000) < 100
    assert facts.start_ms == min(feed.frames[number].dts_ms for number in found)
    assert facts.key_frames == (8 if video and "video" in subject.kinds else 0)
    assert (facts.gaps, facts.jumps, facts.left_out) == (0, 0, 0)


def pictures_and_sound(subject: Subject, folder: Path) -> None:
    _streams(subject, folder, video=True, audio=True)


def audio_only(subject: Subject, folder: Path) -> None:
    _streams(subject, folder, video=False, audio=True)


def video_only(subject: Subject, folder: Path) -> None:
    _streams(subject, folder, video=True, audio=False)


def late_headers(subject: Subject, folder: Path) -> None:
    feed = Feed(subject.audio)
    feed.add_frames(0, 1_000)
    feed.add_video_header()
    feed.add_audio_header()
    headers = len(feed.tags)
    feed.add_frames(1_000, 3_000)
    first_key = next(tag for tag in range(headers, len(feed.tags)) if is_start(feed.tags[tag], video=True))

    written = record(subject, folder, feed)

    check(subject, feed, written, lambda frame: frame.tag < (first_key if frame.kind == "video" else headers))


def late_track(subject: Subject, folder: Path) -> None:
    feed = started(subject, video=False)
    feed.add_frames(0, 1_500, video=False)
    feed.add_video_header()
    feed.add_frames(1_500, 3_000)

    check(subject, feed, record(subject, folder, feed))


def silent_track(subject: Subject, folder: Path) -> None:
    for number, silent in enumerate(("audio", "video")):
        if not subject.kinds - {silent}:
            continue
        place = folder / str(number)
        place.mkdir()
        feed = started(subject)
        feed.add_frames(0, 3_000, video=silent == "audio", audio=silent == "video")
        check(subject, feed, record(subject, place, feed))
        kill_anywhere(subject, place, feed, every=40)


def configuration_change(subject: Subject, folder: Path) -> None:
    feed = started(subject)
    feed.add_frames(0, 2_000)
    feed.add_video_header(1)
    feed.add_audio_header(1)
    feed.add_frames(2_000, 4_000, version=1)

    check(subject, feed, record(subject, folder, feed))


def change_between_key_frames(subject: Subject, folder: Path) -> None:
    feed = started(subject)
    feed.add_frames(0, 1_400)
    feed.add_audio_header(1)
    changed = len(feed.tags)
    feed.add_frames(1_400, 3_000)
    next_key = next(tag for tag in range(changed, len(feed.tags)) if is_start(feed.tags[tag], video=True))

    written = record(subject, folder, feed)

    check(subject, feed, written, lambda frame: frame.kind == "audio" and changed <= frame.tag < next_key)


def change_with_every_frame(subject: Subject, folder: Path) -> None:
    feed = started(subject)
    for number in range(75):
        feed.add_video_header(number % 2)
        feed.add_video(number * 40, version=number % 2, key=True)
        feed.add_audio(number * 40)

    written = record(subject, folder, feed)

    assert len(written) <= 5
    check(subject, feed, written, lambda frame: frame.kind == "video")


def repeated_headers(subject: Subject, folder: Path) -> None:
    feed = started(subject)
    for second in range(3):
        feed.add_video_header()
        feed.add_audio_header()
        feed.add_frames(second * 1_000, second * 1_000 + 1_000)

    (written,) = record(subject, folder, feed)

    check_times(subject, feed, check(subject, feed, [written]))
    assert written.facts.jumps == 0


def jump_forward(subject: Subject, folder: Path) -> None:
    feed = started(subject)
    feed.add_frames(0, 1_200)
    feed.add_frames(61_200, 62_400)

    (written,) = record(subject, folder, feed, batch=1)

    check_times(subject, feed, check(subject, feed, [written]))
    assert written.facts.jumps == 1


def jump_back(subject: Subject, folder: Path) -> None:
    feed = started(subject)
    feed.add_frames(0, 1_200)
    feed.add_frames(-70_000, -68_800)

    (written,) = record(subject, folder, feed)

    found = check(subject, feed, [written])
    check_continued(subject, found)
    assert written.facts.jumps == 1


def resumption(subject: Subject, folder: Path) -> None:
    feed = started(subject)
    feed.add_frames(0, 1_200)
    feed.add_script("onResume")
    feed.add_video_header()
    feed.add_audio_header()
    feed.add_frames(-60_000, -58_800)

    (written,) = record(subject, folder, feed)

    found = check(subject, feed, [written])
    check_continued(subject, found)
    assert written.facts.jumps == 0


def odd_times(subject: Subject, folder: Path) -> None:
    feed = started(subject)
    for number in range(75):
        feed.add_audio(number * 40)
        feed.add_video((number - number % 3) * 40)  # three with one time
        feed.add_audio(number * 40 - (30 if number % 10 == 5 else 0))  # equal, or a step back

    (written,) = record(subject, folder, feed)

    found = check(subject, feed, [written])
    start_ms = min(feed.frames[number].dts_ms for number in found)
    assert not subject.timed or all(
        abs(frame.dts_ms + start_ms - feed.frames[number].dts_ms) <= 50 for number, frame in found.items()
    )


def named_gap(subject: Subject, folder: Path) -> None:
    feed = started(subject)
    feed.add_frames(0, 1_200)
    feed.add_script("onGap", {"from_ms": 71_200.0, "to_ms": 74_000.0})
    feed.add_frames(4_000, 5_200)

    (written,) = record(subject, folder, feed)

    check_times(subject, feed, check(subject, feed, [written]))
    assert (written.facts.gaps, written.facts.gap_ms) == (1, 2_800)


STREAM_CASES = (
    Case("pictures and sound", pictures_and_sound),
    Case("sound only", audio_only),
    Case("pictures only", video_only),
    Case("headers that come late", late_headers),
    Case("a track that comes late", late_track),
    Case("a track that is announced and silent", silent_track),
    Case("a changed configuration", configuration_change),
    Case("a configuration changed between key frames", change_between_key_frames),
    Case("a configuration changed with every frame", change_with_every_frame),
    Case("headers that are repeated", repeated_headers),
    Case("a leap of the clock forward", jump_forward),
    Case("a clock that starts again", jump_back),
    Case("a publisher that comes back", resumption),
    Case("equal times and steps back", odd_times),
    Case("a gap in the feed", named_gap),
)
