"""The comparison of recordings finds what it is for: a packet that is lost, doubled, altered or late, in any format."""

from __future__ import annotations

import itertools

import pytest

from rtmpd.wire.flv import encode_file_header, encode_tag
from rtmpd.wire.messages import AUDIO, VIDEO
from tests.helpers.compare import assert_joined_equals, assert_same_packets, assert_same_pictures
from tests.helpers.media import is_frame, is_key_frame, remux

CODECS = ["h264+aac", "hevc+aac", "av1+opus"]
SAME_PAYLOADS = {"flv": ("x.flv", {}), "mp4": ("x.mp4", {}), "fmp4": ("x.m3u8", {"hls_segment_type": "fmp4"})}
FRAGMENTED = {"movflags": "hybrid_fragmented+frag_keyframe+delay_moov"}
"""Without delay_moov, FFmpeg moves the first sound to the start of the file."""


def write(path, tags):
    path.write_bytes(encode_file_header(audio=True, video=True) + b"".join(encode_tag(*tag) for tag in tags))
    return path


def from_second(tags, second):
    """What a recorder writes that comes later: the headers, then everything from a key frame on."""
    keys = [at for at, tag in enumerate(tags) if is_key_frame(tag)]
    first_frame = next(at for at, tag in enumerate(tags) if is_frame(tag))
    return tags[:first_frame], tags[keys[second] :]


def frame_of(tags, kind, number=30):
    return [at for at, tag in enumerate(tags) if is_frame(tag) and tag.type_id == kind][number]


def lost(tags, at):
    return tags[:at] + tags[at + 1 :]


def doubled(tags, at):
    return tags[: at + 1] + tags[at:]


def altered(tags, at):
    body = bytearray(tags[at].body)
    body[-3] ^= 1
    return [*tags[:at], tags[at]._replace(body=bytes(body)), *tags[at + 1 :]]


def swapped(tags, at):
    following = next(i for i in range(at + 1, len(tags)) if tags[i].type_id == tags[at].type_id)
    changed = list(tags)
    changed[at], changed[following] = (
        tags[at]._replace(body=tags[following].body),
        tags[following]._replace(body=tags[at].body),
    )
    return changed


def late(tags, at):
    return [*tags[:at], tags[at]._replace(timestamp_ms=tags[at].timestamp_ms + 3), *tags[at + 1 :]]


def all_late(tags, at):
    kind = tags[at].type_id
    return [tag._replace(timestamp_ms=tag.timestamp_ms + 3 * (is_frame(tag) and tag.type_id == kind)) for tag in tags]


CHANGES = [lost, doubled, altered, swapped, late, all_late]


@pytest.mark.parametrize("form", SAME_PAYLOADS)
@pytest.mark.parametrize("name", CODECS)
def test_a_faithful_copy_has_the_same_packets(name, form, sources, tmp_path):
    file_name, options = SAME_PAYLOADS[form]
    recorded = remux(sources.flv(name), tmp_path / file_name, options)

    assert_same_packets(sources.flv(name), recorded, to_end=True)


def test_a_recording_from_the_middle_to_before_the_end_has_the_same_packets(sources, tmp_path):
    head, rest = from_second(sources.tags("h264+aac"), 1)
    flv = write(tmp_path / "middle.flv", head + rest[:-20])
    mp4 = remux(flv, tmp_path / "middle.mp4", FRAGMENTED)

    assert_same_packets(sources.flv("h264+aac"), flv)
    assert_same_packets(sources.flv("h264+aac"), mp4)
    with pytest.raises(AssertionError, match="missing at the end"):
        assert_same_packets(sources.flv("h264+aac"), mp4, to_end=True)


@pytest.mark.parametrize("kind", [AUDIO, VIDEO])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_packet_is_found(change, kind, sources, tmp_path):
    tags = sources.tags("h264+aac")
    flv = write(tmp_path / "changed.flv", change(tags, frame_of(tags, kind)))

    with pytest.raises(AssertionError, match=r"^(audio|video): (number|a time)"):
        assert_same_packets(sources.flv("h264+aac"), flv)


def test_a_sound_lost_at_the_start_is_found(sources, tmp_path):
    head, rest = from_second(sources.tags("h264+aac"), 1)
    flv = write(tmp_path / "start.flv", head + lost(rest, frame_of(rest, AUDIO, 0)))

    with pytest.raises(AssertionError, match="audio: begins too late"):
        assert_same_packets(sources.flv("h264+aac"), flv)


def test_a_missing_track_is_found(sources, tmp_path):
    silent = write(tmp_path / "silent.flv", [tag for tag in sources.tags("h264+aac") if tag.type_id != AUDIO])

    with pytest.raises(AssertionError, match="tracks"):
        assert_same_packets(sources.flv("h264+aac"), silent)


def test_a_recording_that_begins_without_a_key_frame_is_found(sources, tmp_path):
    tags = sources.tags("h264+aac")
    flv = write(tmp_path / "keyless.flv", lost(tags, frame_of(tags, VIDEO, 0)))

    with pytest.raises(AssertionError, match="does not begin with a key frame"):
        assert_same_packets(sources.flv("h264+aac"), flv)


@pytest.mark.parametrize("name", ["h264+aac", "hevc+aac"])
def test_mpeg_ts_shows_the_same_pictures(name, sources, tmp_path):
    head, rest = from_second(sources.tags(name), 1)
    later = tmp_path / "later.ts"
    remux(write(tmp_path / "later.flv", head + rest), later)
    playlist = remux(sources.flv(name), tmp_path / "x.m3u8", {"hls_time": "1", "hls_list_size": "0"})

    assert_same_pictures(sources.flv(name), later, to_end=True)
    assert_same_pictures(sources.flv(name), playlist, to_end=True)


@pytest.mark.parametrize("kind", [AUDIO, VIDEO])
@pytest.mark.parametrize("change", [lost, altered, late])
def test_a_changed_picture_or_sound_is_found_in_mpeg_ts(change, kind, sources, tmp_path):
    tags = sources.tags("h264+aac")
    remux(write(tmp_path / "changed.flv", change(tags, frame_of(tags, kind))), tmp_path / "changed.ts")

    with pytest.raises(AssertionError, match=r"^(audio|video): (number|a time)"):
        assert_same_pictures(sources.flv("h264+aac"), tmp_path / "changed.ts")


def parts_of(tags, tmp_path, change=lambda tags: tags):
    """Cut at each key frame, every part with the headers."""
    head, _ = from_second(tags, 0)
    keys = [at for at, tag in enumerate(tags) if is_key_frame(tag)]
    bounds = [len(head), *keys[1:], len(tags)]
    parts = [head + tags[start:end] for start, end in itertools.pairwise(bounds)]
    parts[1] = change(parts[1])
    return [write(tmp_path / f"{number}.flv", part) for number, part in enumerate(parts)]


def test_parts_that_are_joined_equal_the_source(sources, tmp_path):
    parts = parts_of(sources.tags("h264+aac"), tmp_path)

    assert len(parts) == 3
    assert_joined_equals(sources.flv("h264+aac"), parts)


@pytest.mark.parametrize("kind", [AUDIO, VIDEO])
@pytest.mark.parametrize("change", [lost, doubled, altered, swapped])
def test_a_changed_packet_is_found_in_parts(change, kind, sources, tmp_path):
    parts = parts_of(sources.tags("h264+aac"), tmp_path, lambda tags: change(tags, frame_of(tags, kind, 10)))

    with pytest.raises(AssertionError, match=r"^(audio|video): number"):
        assert_joined_equals(sources.flv("h264+aac"), parts)


@pytest.mark.parametrize("kept", [slice(1, None), slice(None, -1)], ids=["the first", "the last"])
def test_a_missing_part_is_found(kept, sources, tmp_path):
    parts = parts_of(sources.tags("h264+aac"), tmp_path)

    with pytest.raises(AssertionError, match="packets of"):
        assert_joined_equals(sources.flv("h264+aac"), parts[kept])
