"""Containers of FFmpeg's: what goes in comes out, when it came, and whatever fails is one of two exceptions."""

from __future__ import annotations

import contextlib
import errno
import gc
import subprocess
import sys
import weakref

import pytest

from muxers import _pyav
from muxers._pyav import Output, describe, inspect
from muxers.base import MuxError, TrackFacts
from muxers.samples import SampleReader, Track
from rtmpd.media.tags import classify
from rtmpd.wire.messages import AUDIO, VIDEO
from tests.helpers.footage import Packet, assert_same_media, footage, from_zero, tags_of, tracks_of

FRAGMENTS = {
    "movflags": "frag_keyframe+delay_moov+default_base_moof",
    "frag_duration": "500000",
    "flush_packets": "1",
    "max_interleave_delta": "1",
}
CASES = [
    pytest.param({"reordered": 2}, id="H.264+AAC, B-frames"),
    pytest.param({"video": "libx265", "reordered": 2}, id="HEVC+AAC, B-frames"),
    pytest.param({"video": "libsvtav1", "audio": "libopus"}, id="AV1+Opus"),
    pytest.param({"video": "libvpx-vp9", "audio": "flac"}, id="VP9+FLAC"),
    pytest.param({"audio": "libmp3lame"}, id="H.264+MP3"),
    pytest.param({"video": None, "audio": "ac3"}, id="AC-3"),
    pytest.param({"video": None, "audio": "eac3"}, id="E-AC-3"),
    pytest.param({"audio": None}, id="video only"),
    pytest.param({"tracks": 3, "seconds": 2}, id="three tracks of each kind"),
]


class Memory:
    """Takes what is written, up to a number of bytes."""

    def __init__(self, room=1 << 40):
        self.data = bytearray()
        self.room = room

    def write_at(self, offset, data):
        if offset + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.data[offset : offset + len(data)] = data


def samples_of(source):
    reader = SampleReader()
    samples = [
        sample
        for tag in tags_of(source)
        if tag.type_id in (AUDIO, VIDEO)
        for sample in reader.read(tag.type_id, tag.body, tag.timestamp_ms, classify(tag.type_id, tag.body))
    ]
    start = min(sample.dts_ms for sample in samples)
    return [sample._replace(dts_ms=sample.dts_ms - start) for sample in samples]


def tracks_with_payloads(samples):
    tracks = {}
    for sample in samples:
        tracks.setdefault(sample.track, sample.payload)
    return tracks


def opened(memory, samples, *, payloads=True, file_format="mp4", options=FRAGMENTS):
    tracks = {track: payload if payloads else b"" for track, payload in tracks_with_payloads(samples).items()}
    return Output(memory.write_at, file_format, options, tracks, seekable=False)


def written(samples, **options):
    memory = Memory()
    output = opened(memory, samples, **options)
    for sample in samples:
        assert output.mux(sample)
    output.close()
    return bytes(memory.data)


def moved(samples, *, video_ms=0, audio_ms=0, from_ms=0):
    later = {VIDEO: video_ms, AUDIO: audio_ms}
    return [
        sample._replace(dts_ms=sample.dts_ms + (later[sample.track.type_id] if sample.dts_ms >= from_ms else 0))
        for sample in samples
    ]


def expected(samples):
    """What a reader shall find, from the samples themselves."""
    kinds = {AUDIO: "audio", VIDEO: "video"}
    found = {}
    for track, payload, dts_ms, composition_ms, _ in samples:
        kind = kinds[track.type_id]
        packet = (kind, dts_ms, dts_ms + composition_ms, payload.removeprefix(b"\x12\0"))
        found.setdefault(f"{kind} {track.track_id}", []).append(Packet(*packet))
    return found


@pytest.mark.parametrize("case", CASES)
def test_payloads_and_times_are_those_of_the_source(case):
    source = footage(**case)

    data = written(samples_of(source))

    assert_same_media(tracks_of(data), from_zero(tracks_of(source, "flv")))


@pytest.mark.parametrize("case", [{"reordered": 2}, {"video": "libsvtav1", "audio": "libopus"}])
@pytest.mark.parametrize(
    "move",
    [
        pytest.param({"video_ms": 500}, id="audio begins first"),
        pytest.param({"audio_ms": 500}, id="video begins first"),
        pytest.param({"video_ms": 2200, "from_ms": 1000}, id="video pauses"),
        pytest.param({"audio_ms": 2200, "from_ms": 1000}, id="audio pauses"),
    ],
)
def test_tracks_keep_their_times_whenever_they_begin_or_pause(case, move):
    samples = sorted(moved(samples_of(footage(**case)), **move), key=lambda sample: sample.dts_ms)

    assert_same_media(tracks_of(written(samples)), expected(samples))


def test_frames_of_irregular_length_keep_their_times():
    samples = [
        sample._replace(dts_ms=sample.dts_ms + number * 7919 % 13)
        for number, sample in enumerate(samples_of(footage(audio=None, seconds=2)))
    ]

    assert_same_media(tracks_of(written(samples)), expected(samples))


def test_apple_finds_hevc_under_the_name_it_knows():
    assert b"hvc1" in written(samples_of(footage("libx265", None, seconds=1)))


@pytest.mark.parametrize(
    "case", [{}, {"video": "libx265", "audio": "libopus"}, {"video": "libsvtav1", "audio": "flac"}]
)
def test_a_header_alone_is_enough_for_codecs_that_say_all_in_it(case):
    source = footage(**case)

    data = written(samples_of(source), payloads=False)

    assert_same_media(tracks_of(data), from_zero(tracks_of(source, "flv")))


def test_times_that_repeat_or_go_back_are_moved_by_less_than_is_seen():
    samples = samples_of(footage(audio=None, seconds=1))
    bent = [sample._replace(dts_ms=(40, 40, 40, 20)[number % 4]) for number, sample in enumerate(samples)]

    times = [packet.dts_ms for packet in tracks_of(written(bent))["video 0"]]

    assert times == sorted(set(times))
    assert times[-1] - times[0] < 3


@pytest.mark.parametrize("hours", [1, 12])
def test_a_pause_of_hours_is_kept(hours):
    samples = samples_of(footage(seconds=2))
    later = moved(samples, video_ms=hours * 3_600_000, audio_ms=hours * 3_600_000, from_ms=1_000)

    assert_same_media(tracks_of(written(later)), expected(later))


@pytest.mark.parametrize("hours", [13, 100, 24 * 24])
def test_a_container_that_would_make_ffmpeg_abort_the_process_is_full(hours):
    samples = samples_of(footage(None, "ac3", seconds=1))
    invalid = [sample._replace(payload=b"garbage") for sample in samples]
    memory = Memory()
    output = opened(memory, samples)
    for sample in samples:
        assert output.mux(sample)

    for number, sample in enumerate(invalid):  # each a leap that FFmpeg would take; it drops the frames between
        with contextlib.suppress(MuxError):
            output.mux(sample._replace(dts_ms=1_100 + number * 3_600_000))
    assert not output.mux(samples[0]._replace(dts_ms=hours * 3_600_000))
    output.close()

    assert len(tracks_of(bytes(memory.data))["audio 0"]) >= len(samples)


def test_a_container_may_begin_at_any_time():
    samples = moved(samples_of(footage(seconds=1)), video_ms=10**9, audio_ms=10**9)

    found = tracks_of(written(samples))

    assert_same_media(from_zero(found), from_zero(expected(samples)))


def test_a_picture_shown_before_it_is_decoded_is_shown_when_it_should_be():
    samples = [
        sample._replace(composition_ms=sample.composition_ms - 80)
        for sample in moved(samples_of(footage(audio=None, reordered=2)), video_ms=80)
    ]
    samples[0] = samples[0]._replace(composition_ms=0)

    packets = tracks_of(written(samples))["video 0"]

    start = samples[0].dts_ms
    wanted = [sample.dts_ms + sample.composition_ms - start for sample in samples]
    assert [packet.pts_ms - packets[0].pts_ms for packet in packets] == pytest.approx(wanted, abs=1)


def test_a_track_that_the_container_was_not_made_for_is_left_to_the_caller():
    samples = samples_of(footage(seconds=1))
    output = opened(Memory(), [sample for sample in samples if sample.track.type_id == AUDIO])

    assert [output.mux(sample) for sample in samples] == [sample.track.type_id == AUDIO for sample in samples]
    output.close()


def test_a_silent_track_holds_no_other_back():
    samples = samples_of(footage(reordered=2))
    first_sound = next(sample for sample in samples if sample.track.type_id == AUDIO)
    memory = Memory()
    output = opened(memory, samples)
    output.mux(first_sound)
    for sample in samples:
        if sample.track.type_id == VIDEO:
            output.mux(sample)
            output.release(sample.dts_ms - 500, sample.dts_ms)

    killed = tracks_of(bytes(memory.data))

    assert len(killed["audio 0"]) == 1
    assert len(killed["video 0"]) >= 60
    output.close()


@pytest.mark.parametrize("room", [0, 500, 1_000, 3_000, 8_000])
def test_a_full_disk_keeps_its_number_and_takes_nothing_down(room):
    samples = samples_of(footage())
    memory = Memory(room)

    def record():
        output = opened(memory, samples)
        try:
            for sample in samples:
                output.mux(sample)
            output.close()
        finally:
            output.abandon()

    with pytest.raises(OSError, match="No space") as caught:
        record()

    assert caught.value.errno == errno.ENOSPC
    assert len(memory.data) <= room


def test_after_a_fault_nothing_more_is_written():
    samples = samples_of(footage())
    memory = Memory(3_000)
    output = opened(memory, samples)

    def mux_all():
        for sample in samples:
            output.mux(sample)

    with pytest.raises(OSError, match="No space"):
        mux_all()
    memory.room = 1 << 40
    before = bytes(memory.data)
    with pytest.raises(OSError, match="No space"):
        output.close()

    assert bytes(memory.data) == before


def test_an_abandoned_container_writes_no_end():
    samples = samples_of(footage())
    memory = Memory()
    output = opened(memory, samples)
    for sample in samples:
        output.mux(sample)
    before = bytes(memory.data)

    output.abandon()
    output.abandon()

    assert bytes(memory.data) == before


def test_a_container_is_freed_when_it_is_closed_and_not_by_the_garbage_collector():
    samples = samples_of(footage(seconds=1))
    gc.disable()
    try:
        output = opened(Memory(), samples)
        sink = weakref.ref(output._sink)
        for sample in samples:
            output.mux(sample)
        output.close()
        del output
        assert sink() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "track",
    [
        Track(VIDEO, 0, "sorenson", b""),
        Track(AUDIO, 0, "speex", b""),
        Track(VIDEO, 0, "avc1", b"\x01garbage"),
        Track(VIDEO, 0, "av01", b"?"),
        Track(AUDIO, 0, ".mp3", b""),
    ],
    ids=lambda track: track.codec,
)
def test_a_track_that_ffmpeg_cannot_make_sense_of_is_refused(track):
    memory = Memory()

    with pytest.raises(MuxError):
        Output(memory.write_at, "mp4", FRAGMENTS, {track: b"garbage"}, seekable=False)


def test_a_codec_that_the_container_does_not_know_is_refused():
    samples = samples_of(footage("libvpx-vp9", None, seconds=1))

    with pytest.raises(MuxError):
        opened(Memory(), samples, file_format="mp3", options={})


def test_a_frame_that_ffmpeg_refuses_costs_itself_only():
    samples = samples_of(footage(None, "ac3", seconds=1))
    broken = samples[5]._replace(payload=b"\xff\xff\xff")
    memory = Memory()
    output = opened(memory, samples)

    for sample in [*samples[:5], broken]:
        output.mux(sample)
    with pytest.raises(MuxError, match="refuses a frame"):
        output.mux(samples[6])
    for sample in samples[7:]:
        output.mux(sample)
    output.close()

    kept = [*samples[:5], *samples[6:]]
    assert_same_media(tracks_of(bytes(memory.data)), expected(kept), within_ms=41)


def test_an_error_of_our_own_is_not_taken_for_one_of_ffmpegs():
    def broken(_offset, _data):
        raise TypeError("a bug")

    samples = samples_of(footage())

    def record():
        output = Output(broken, "mp4", FRAGMENTS, tracks_with_payloads(samples), seekable=False)
        for sample in samples:
            output.mux(sample)

    with pytest.raises(TypeError, match="a bug"):
        record()


def test_the_layouts_are_those_of_their_number_of_channels():
    from av import AudioLayout

    assert [AudioLayout(name).nb_channels for name in _pyav._LAYOUTS[1:]] == list(range(1, 9))


def test_a_container_that_nobody_closes_does_not_disturb_the_end_of_the_process(tmp_path):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from muxers.mp4 import Mp4Muxer\n"
        "from muxers.conformance_feed import Feed\n"
        "feed = Feed()\n"
        "feed.add_video_header(); feed.add_audio_header(); feed.add_frames(0, 2_000)\n"
        "muxers = [Mp4Muxer(Path(sys.argv[1], f'{number}.mp4')) for number in range(3)]\n"
        "for muxer in muxers: muxer.open(); muxer.write(feed.tags)\n"
        "muxers[1]._output.abandon()\n"
        "muxers[2]._cycle = muxers[2]\n"
    )

    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    assert all(tracks_of(path)["video 0"] for path in tmp_path.iterdir())


def test_the_tracks_of_a_file_are_described_by_its_beginning():
    data = written(samples_of(footage("libx265", "libopus", tracks=2, seconds=1)))

    assert describe(data[:8_000]) == (
        TrackFacts("video", 0, "hvc1", width=64, height=48),
        TrackFacts("video", 1, "hvc1", width=64, height=48),
        TrackFacts("audio", 0, "Opus", sample_rate=48_000, channels=2),
        TrackFacts("audio", 1, "Opus", sample_rate=48_000, channels=2),
    )


def test_what_is_no_media_is_not_described():
    with pytest.raises(MuxError):
        describe(b"no media at all")


def test_a_file_is_read_through(tmp_path):
    path = tmp_path / "x.mp4"
    path.write_bytes(written(samples_of(footage(reordered=2))))

    contents = inspect(path)

    assert (contents.video_frames, contents.audio_frames, contents.key_frames) == (75, 141, 3)
    assert contents.duration_ms == pytest.approx(3_000, abs=70)
    assert contents.tracks == describe(path.read_bytes())


def test_a_file_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught:
        inspect(tmp_path / "x.mp4")

    assert caught.value.errno == errno.ENOENT
    assert type(caught.value) is FileNotFoundError
