"""FLV in, parts of fragmented MP4 out: the same frames, in order, whatever a publisher does."""

from __future__ import annotations

import io

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.conformance_feed import Feed, number_of
from muxers.live import MOST_SECTIONS, SILENT_MS, Init, LivePackager, Part, Refusal
from muxers.live_clock import FORWARD_MS
from rtmpd.media.tags import classify
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.messages import AUDIO, VIDEO
from tests.corpus.media.make import HERE, read_tags
from tests.helpers.footage import assert_same_media, footage, from_zero, shifted, tags_of, tracks_of
from tests.helpers.hls import record
from tests.helpers.hostile_media import ROWS

PART_MS = 200
CODECS = [
    ("libx264", "aac", 0),
    ("libx264", "aac", 2),
    ("libx265", "libopus", 2),
    ("libsvtav1", "flac", 0),
    ("libvpx-vp9", "libmp3lame", 0),
    ("libx264", "ac3", 0),
    (None, "eac3", 0),
    ("libx264", None, 0),
    (None, "aac", 0),
]


def package(tags, *, step_s=0.02, part_ms=PART_MS):
    """All records of a stream whose tags come so many seconds after each other."""
    packager = LivePackager(part_ms)
    records = [record for number, tag in enumerate(tags) for record in packager.feed([tag], number * step_s)]
    return [*records, *packager.finish()]


def runs_of(records):
    """The outputs that followed each other: each one's section and its parts, after checking that these are in order."""
    runs = []
    end_ms = 0
    for each in records:
        if isinstance(each, Init):
            runs.append((each, []))
        elif isinstance(each, Part):
            parts = runs[-1][1]
            assert each.duration_ms > 0
            assert each.start_ms == end_ms if parts else each.start_ms >= parts_start(runs)
            end_ms = each.start_ms + each.duration_ms
            parts.append(each)
    return runs


def parts_start(runs):
    """Where the newest output before this one began its last part: the next one may overlap its guess of the end."""
    return max((parts[-1].start_ms for _, parts in runs if parts), default=0)


def media_of(run):
    init, parts = run
    return tracks_of(init.data + b"".join(part.data for part in parts), "mp4")


def numbers_in(run):
    """Numbers of the frames of the conformance feed, by kind."""
    return {name.split()[0]: [number_of(packet.payload) for packet in found] for name, found in media_of(run).items()}


def numbers_of(feed, kind, tags=range(1 << 30)):
    return [frame.number for frame in feed.frames if frame.kind == kind and frame.tag in tags]


def started(**options):
    feed = Feed(**options)
    feed.add_metadata()
    feed.add_video_header()
    feed.add_audio_header()
    return feed


@pytest.mark.parametrize(("video", "audio", "reordered"), CODECS)
def test_what_comes_out_is_what_went_in(video, audio, reordered):
    source = footage(video, audio, reordered=reordered)

    (run,) = runs_of(package(tags_of(source)))

    init, parts = run
    assert init.has_video == (video is not None)
    assert len(init.codecs.split(",")) == sum(each is not None for each in (video, audio))
    assert_same_media(from_zero(media_of(run)), from_zero(tracks_of(source)))
    assert all(part.duration_ms <= PART_MS for part in parts[:-1])


@pytest.mark.parametrize(("video", "audio", "reordered"), CODECS)
def test_a_part_that_is_independent_can_be_decoded_alone(video, audio, reordered):
    ((init, parts),) = runs_of(package(tags_of(footage(video, audio, reordered=reordered))))
    independent = [part for part in parts if part.is_independent]

    assert len(independent) == (3 if video else len(parts))
    for part in independent:
        with av.open(io.BytesIO(init.data + part.data)) as container:
            frame = next(container.decode(container.streams[0]))
            assert frame.time * 1_000 >= part.start_ms - 1


@pytest.mark.parametrize(
    ("video", "audio"),
    [("libx264", "aac"), ("libx265", "libopus"), ("libsvtav1", "flac"), ("libvpx-vp9", "libmp3lame")],
)
def test_payloads_are_those_that_ffmpeg_writes(video, audio, tmp_path):
    tags = tags_of(footage(video, audio))
    record(tmp_path / "r.m3u8", tags)

    (run,) = runs_of(package(tags))

    sections = sorted((tmp_path / "r").glob("*.mp4")) + sorted((tmp_path / "r").glob("*.m4s"))
    recorded = tracks_of(b"".join(path.read_bytes() for path in sections), "mp4")
    assert {name: [each.payload for each in found] for name, found in media_of(run).items()} == {
        name: [each.payload for each in found] for name, found in recorded.items()
    }


def test_times_stay_on_the_streams_line_over_a_wrap():
    source = tags_of(footage())

    (run,) = runs_of(package(shifted(source, 2**32 - 1_500)))

    start_ms = next(tag.timestamp_ms for tag in source if tag.type_id == VIDEO and classify(VIDEO, tag.body) & 1)
    assert run[1][0].start_ms == 2**32 - 1_500 + start_ms
    assert_same_media(from_zero(media_of(run)), from_zero(tracks_of(footage())))


def test_headers_that_are_repeated_change_nothing():
    feed = started()
    for second in range(3):
        feed.add_video_header()
        feed.add_audio_header()
        feed.add_frames(second * 1_000, second * 1_000 + 1_000)

    (run,) = runs_of(package(feed.tags))

    assert numbers_in(run) == {kind: numbers_of(feed, kind) for kind in ("video", "audio")}


def test_a_changed_configuration_begins_another_output():
    feed = started()
    feed.add_frames(0, 2_000)
    changed = len(feed.tags)
    feed.add_video_header(1)
    feed.add_audio_header(1)
    feed.add_frames(2_000, 4_000, version=1)

    first, second = runs_of(package(feed.tags))

    assert first[0].data != second[0].data
    assert numbers_in(first) == {kind: numbers_of(feed, kind, range(changed)) for kind in ("video", "audio")}
    assert numbers_in(second) == {
        kind: numbers_of(feed, kind, range(changed, len(feed.tags))) for kind in ("video", "audio")
    }


def test_sound_that_changes_between_key_frames_is_left_out_until_the_next_one():
    feed = started()
    feed.add_frames(0, 1_400)
    changed = len(feed.tags)
    feed.add_audio_header(1)
    feed.add_frames(1_400, 3_000)

    first, second = runs_of(package(feed.tags))

    assert numbers_in(first)["audio"] == numbers_of(feed, "audio", range(changed))
    assert numbers_in(first)["video"] + numbers_in(second)["video"] == numbers_of(feed, "video")
    assert second[1][0].is_independent
    assert second[1][0].start_ms == 71_600


def test_sound_that_joins_begins_another_output_at_the_next_key_frame():
    feed = started()
    feed.add_frames(0, 1_000, audio=False)
    feed.add_frames(1_000, 3_000)

    first, second = runs_of(package(feed.tags))

    assert list(numbers_in(first)) == ["video"]
    assert first[0].codecs + ",mp4a.40.2" == second[0].codecs
    assert numbers_in(first)["video"] + numbers_in(second)["video"] == numbers_of(feed, "video")


def test_pictures_that_join_begin_another_output():
    feed = started()
    feed.add_frames(0, 1_000, video=False)
    feed.add_frames(1_000, 3_000)

    first, second = runs_of(package(feed.tags))

    assert not first[0].has_video
    assert second[0].has_video
    assert numbers_in(first)["audio"] + numbers_in(second)["audio"] == numbers_of(feed, "audio")
    assert numbers_in(second)["video"] == numbers_of(feed, "video")


@pytest.mark.parametrize("silent", ["video", "audio"])
def test_a_track_that_is_announced_and_never_comes_is_waited_for_half_a_second(silent):
    feed = started()
    feed.add_frames(0, 3_000, video=silent == "audio", audio=silent == "video")
    packager = LivePackager(PART_MS)

    first = next(tag.timestamp_ms for tag in feed.tags if packager.feed([tag], 0.0))

    assert first - 70_000 == pytest.approx(500, abs=45)


def test_an_output_with_both_begins_at_once():
    feed = started()
    feed.add_frames(0, 3_000)
    packager = LivePackager(PART_MS)

    records = [record for tag in feed.tags[:6] for record in packager.feed([tag], 0.0)]

    assert [type(each) for each in records] == [Init]


def test_a_leap_forwards_begins_another_output_with_a_key_frame():
    feed = started()
    feed.add_frames(0, 1_200)
    gap = len(feed.tags)
    feed.add_frames(4_000, 5_200)

    first, second = runs_of(package(feed.tags))

    assert first[0] == second[0]
    assert second[1][0].start_ms == next(
        frame.dts_ms for frame in feed.frames if frame.tag >= gap and feed.tags[frame.tag].body[:1] == b"\x17"
    )
    assert second[1][0].is_independent


def test_a_gap_that_is_short_is_none():
    feed = started()
    feed.add_frames(0, 1_200)
    feed.add_frames(1_200 + FORWARD_MS - 100, 3_000)

    (run,) = runs_of(package(feed.tags))

    assert numbers_in(run)["video"] == numbers_of(feed, "video")


@pytest.mark.parametrize("mark", ["onResume", None])
def test_a_clock_that_starts_again_goes_on_behind_a_break(mark):
    feed = started()
    feed.add_frames(0, 1_200)
    if mark:
        feed.add_script(mark)
        feed.add_video_header()
        feed.add_audio_header()
    feed.add_frames(-60_000, -58_800)

    first, second = runs_of(package(feed.tags))

    assert numbers_in(first)["video"] + numbers_in(second)["video"] == numbers_of(feed, "video")
    assert second[1][0].start_ms == pytest.approx(71_200, abs=45)


def test_a_gap_in_the_feed_is_a_break():
    feed = started()
    feed.add_frames(0, 1_200)
    feed.add_script("onGap", {"from_ms": 71_200.0, "to_ms": 71_600.0})
    feed.add_frames(1_600, 2_800)

    first, second = runs_of(package(feed.tags))

    assert first[0] == second[0]
    assert second[1][0].start_ms == 71_600


@pytest.mark.parametrize("silent", ["video", "audio"])
def test_a_track_that_falls_silent_is_left_out_and_may_come_back(silent):
    feed = started()
    feed.add_frames(0, 2_000)
    feed.add_frames(2_000, 4_000 + SILENT_MS, video=silent == "audio", audio=silent == "video")
    feed.add_frames(4_000 + SILENT_MS, 6_000 + SILENT_MS)

    kinds = [set(numbers_in(run)) for run in runs_of(package(feed.tags))]

    assert kinds == [{"video", "audio"}, {"video", "audio"} - {silent}, {"video", "audio"}]


@pytest.mark.parametrize(
    ("bad", "codec", "left"),
    [
        (FlvTag(AUDIO, 70_000, b"\xb2speex"), "speex", "video"),
        (FlvTag(VIDEO, 70_000, b"\x12sorenson"), "sorenson", "audio"),
    ],
)
def test_a_codec_that_mp4_cannot_carry_is_told_once_and_the_rest_goes_on(bad, codec, left):
    feed = started()
    feed.add_frames(0, 3_000, video=left == "video", audio=left == "audio")
    tags = [each for tag in feed.tags for each in (bad._replace(timestamp_ms=max(tag.timestamp_ms, 70_000)), tag)]

    records = package(tags)

    assert isinstance(records[0], Refusal)
    assert f"MP4 cannot carry {codec}, only" in records[0].reason
    assert sum(isinstance(each, Refusal) for each in records) == 1
    (run,) = runs_of(records)
    assert numbers_in(run) == {left: numbers_of(feed, left)}


def test_a_header_that_ffmpeg_makes_nothing_of_costs_its_track():
    feed = started()
    feed.tags.append(FlvTag(AUDIO, 0, b"\xaf\0\xff"))
    feed.add_frames(0, 1_200)
    feed.add_audio_header()
    feed.add_frames(1_200, 2_400)

    records = package(feed.tags)

    first, second = runs_of(records)
    (refusal,) = [each.reason for each in records if isinstance(each, Refusal)]
    assert "nothing can be made of this mp4a" in refusal
    assert refusal.endswith("; the sound is left out")
    assert set(numbers_in(first)) == {"video"}
    assert set(numbers_in(second)) == {"video", "audio"}


def test_a_track_that_nothing_could_be_made_of_has_another_chance_behind_a_break():
    source = tags_of(footage(None, "ac3"))
    bad = [FlvTag(AUDIO, time, b"\x91ac-3no frame") for time in range(0, 2_000, 32)]

    refusal, *records = package([*bad, *shifted(source, 60_000)])

    assert isinstance(refusal, Refusal)
    (run,) = runs_of(records)
    assert_same_media(from_zero(media_of(run)), from_zero(tracks_of(footage(None, "ac3"))))


def test_a_configuration_that_changes_with_every_frame_makes_no_more_outputs_than_are_allowed():
    feed = started()
    for number in range(200):
        feed.add_video_header(number % 2)
        feed.add_video(number * 40, version=number % 2, key=True)
        feed.add_audio(number * 40)

    records = package(feed.tags, step_s=0.01)

    assert sum(isinstance(each, Init) for each in records) <= MOST_SECTIONS + len(feed.tags) * 0.01 + 1


def test_frames_of_other_tracks_are_left_out():
    source = footage(tracks=2)

    (run,) = runs_of(package(tags_of(source)))

    assert sorted(media_of(run)) == ["audio 0", "video 0"]
    wanted = {name: found for name, found in tracks_of(source).items() if name.endswith("0")}
    assert_same_media(from_zero(media_of(run)), from_zero(wanted))


def test_what_waits_is_sent_at_the_end():
    feed = started()
    feed.add_frames(0, 300, audio=False)

    (run,) = runs_of(package(feed.tags))

    assert numbers_in(run)["video"] == numbers_of(feed, "video")


def test_nothing_comes_of_nothing():
    feed = started()

    assert package(feed.tags) == []
    assert package([]) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_hostile_bodies_never_raise_and_a_good_stream_behind_them_is_packaged(row):
    feed = started()
    feed.add_frames(0, 1_200)
    behind = started(start_ms=200_000)
    behind.add_frames(0, 3_000)

    records = package([*feed.tags, *row.tags, *behind.tags], step_s=0.05)

    media = media_of(runs_of(records)[-1])
    assert number_of(media["video 0"][-1].payload) == numbers_of(behind, "video")[-1]
    assert number_of(media["audio 0"][-1].payload) == numbers_of(behind, "audio")[-1]


REAL = [tag for path in sorted(HERE.glob("*.flv")) for tag in read_tags(path.read_bytes())]


@st.composite
def odd_tags(draw):
    """A real tag at any time, perhaps damaged."""
    tag = draw(st.sampled_from(REAL))
    body = bytearray(tag.body)
    if draw(st.booleans()):
        del body[draw(st.integers(0, len(body))) :]
        for _ in range(draw(st.integers(0, 4))):
            if body:
                body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return FlvTag(tag.type_id, draw(st.integers(0, 4_000) | st.integers(0, 2**32 - 1)), bytes(body))


@given(st.lists(odd_tags(), max_size=60), st.sampled_from([0.0, 0.1, 2.0]))
def test_whatever_a_publisher_sends_records_are_in_order(tags, step_s):
    runs_of(package(tags, step_s=step_s))
