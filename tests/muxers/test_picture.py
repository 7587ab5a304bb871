"""Pictures of recordings and streams: decoded from every format and codec, scaled, and refused where they are too much."""

from __future__ import annotations

import io
import random
from fractions import Fraction

import av
import pytest
from av.video.frame import VideoFrame

from muxers import picture
from muxers.base import MuxError
from muxers.formats import FORMATS, FormatOptions
from muxers.picture import jpeg_of
from muxers.playlist import Playlist, render
from tests.helpers.footage import encode, footage, tags_of
from tests.helpers.hls import record


def shown(jpeg):
    """Decode a JPEG by another decoder's eyes: its size, and the mean of its luma."""
    assert jpeg[:2] == b"\xff\xd8"
    assert jpeg[-2:] == b"\xff\xd9"
    with av.open(io.BytesIO(jpeg), format="jpeg_pipe") as container:
        frame = next(container.decode(video=0))
    luma = frame.reformat(format="gray").planes[0]
    rows = [bytes(luma)[row * luma.line_size :][: frame.width] for row in range(frame.height)]
    return frame.width, frame.height, sum(map(sum, rows)) / (frame.width * frame.height)


def film(width, height, *greys, pixel=None, encoder="libx264"):
    """An FLV with a key frame of each grey, one a second."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="flv") as container:
        stream = container.add_stream(encoder, rate=1, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = 1
        if pixel is not None:
            stream.codec_context.sample_aspect_ratio = pixel
        container.mux(encode(stream, [_grey(width, height, grey, number) for number, grey in enumerate(greys)]))
    return sink.getvalue()


def _grey(width, height, grey, number):
    frame = VideoFrame(width, height, "yuv420p")
    for plane, value in zip(frame.planes, (grey, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    frame.pts, frame.time_base = number, Fraction(1, 1)
    return frame


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9"])
def test_a_film_of_each_codec_has_its_picture(codec):
    width, height, _ = shown(jpeg_of(footage(codec, "aac", 1), "flv"))
    assert (width, height) == (64, 48)


@pytest.mark.parametrize("file_format", ["flv", "mp4", "hls", "ts"])
def test_a_recording_of_each_format_has_its_picture_open_or_closed(tmp_path, file_format):
    path = tmp_path / f"x.{FORMATS[file_format].suffix}"
    muxer = FORMATS[file_format].make(path, FormatOptions(hls_segment_ms=500))
    muxer.open()
    tags = tags_of(footage(seconds=6))
    muxer.write(tags)
    assert shown(jpeg_of(path, file_format))[:2] == (64, 48)
    muxer.close()
    assert shown(jpeg_of(path, file_format))[:2] == (64, 48)


def test_segments_of_a_transport_stream_have_their_picture(tmp_path):
    record(tmp_path / "x.m3u8", tags_of(footage(seconds=3)), segment_type="ts")
    assert shown(jpeg_of(tmp_path / "x.m3u8", "hls"))[:2] == (64, 48)


@pytest.mark.parametrize(
    ("width", "height", "pixel", "size"),
    [
        (320, 180, None, (320, 180)),
        (1280, 720, None, (640, 360)),
        (640, 1280, None, (320, 640)),
        (1000, 500, None, (640, 320)),
        (720, 576, Fraction(16, 11), (640, 352)),
        (322, 182, None, (322, 182)),
        (64, 48, Fraction(1, 100), (64, 48)),
        (4000, 16, None, (640, 2)),
    ],
)
def test_a_picture_is_small_and_has_the_shape_that_is_seen(width, height, pixel, size):
    assert shown(jpeg_of(film(width, height, 126, pixel=pixel), "flv"))[:2] == size


@pytest.mark.parametrize(("grey", "seen"), [(16, 0), (126, 128), (235, 255)])
def test_what_is_black_is_black_and_what_is_white_is_white(grey, seen):
    assert shown(jpeg_of(film(320, 180, grey), "flv"))[2] == pytest.approx(seen, abs=2)


def test_a_recording_is_shown_not_from_its_first_picture_which_is_often_black(tmp_path):
    path = tmp_path / "x.flv"
    path.write_bytes(film(64, 48, 16, 16, 16, *[200] * 9))
    assert shown(jpeg_of(path, "flv"))[2] > 150


def test_what_has_no_picture_has_none(tmp_path):
    assert jpeg_of(footage(None, "aac", 1), "flv") is None
    assert jpeg_of(b"", "mp3") is None
    (tmp_path / "x.m3u8").write_text(render(Playlist(2)))
    assert jpeg_of(tmp_path / "x.m3u8", "hls") is None


def test_what_is_too_large_is_refused(monkeypatch):
    data = film(320, 180, 126)
    monkeypatch.setattr(picture, "MOST_PIXELS", 320 * 180 - 1)
    with pytest.raises(MuxError, match="320x180 is too large"):
        jpeg_of(data, "flv")
    monkeypatch.setattr(picture, "MOST_PIXELS", 320 * 192)  # a decoder counts whole blocks
    assert jpeg_of(data, "flv")


@pytest.mark.parametrize("seed", range(60))
def test_a_broken_picture_costs_nothing_but_itself(seed):
    rng = random.Random(seed)
    data = bytearray(footage("libx264", None, 1) if seed % 2 else footage("libx265", None, 1))
    for _ in range(rng.choice((1, 10, 100, 1000))):
        data[rng.randrange(13, len(data))] = rng.randrange(256)
    try:
        jpeg = jpeg_of(bytes(data[: rng.randrange(1, len(data))] if seed % 3 else data), "flv")
    except MuxError:
        return
    assert jpeg is None or shown(jpeg)


def test_a_file_that_is_not_there_is_not_a_picture_that_is_broken(tmp_path):
    with pytest.raises(FileNotFoundError):
        jpeg_of(tmp_path / "none.flv", "flv")
    with pytest.raises(FileNotFoundError):
        jpeg_of(tmp_path / "none.m3u8", "hls")
