"""
Really encoded footage for what has to understand its input: 1280x720p30 H.264 at 2 Mb/s and AAC at 128 kb/s.

It is one closed group of pictures of 2 s, encoded anew by the libraries inside PyAV, that may follow itself for ever
under rising timestamps. Adobe FLV 10.1, appendix E.4: the bodies are those of an FLV file.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from fractions import Fraction

import av
import av.filter
from av.audio.frame import AudioFrame
from av.video.frame import PictureType, VideoFrame

from bench.errors import BenchError
from bench.source import AUDIO, AUDIO_FRAMES, METADATA, VIDEO, VIDEO_FRAMES, Loop, spread

_FRAMES_PER_S = 30
_SAMPLES_PER_S = 44_100
_GROUPS = 4
"""The last is taken: the encoder's rate has settled by then."""
_SECONDS = _GROUPS * VIDEO_FRAMES // _FRAMES_PER_S + 1
_VIDEO_BITS_PER_S = 2_000_000
_AUDIO_BITS_PER_S = 128_000
_X264 = {
    "preset": "veryfast",
    "bf": "2",
    "sc_threshold": "0",
    "maxrate": str(_VIDEO_BITS_PER_S),
    "bufsize": str(_VIDEO_BITS_PER_S),
}


@functools.cache
def encoded_loop() -> Loop:
    """
    Encode a moving picture and a sound.

    Returns:
        Metadata, sequence headers, and the messages of one loop.

    Raises:
        BenchError: the encoders made something else than what was asked for.
    """
    tags = list(_tags(_encode()))
    video, audio = ([body for type_id, body in tags if type_id == kind] for kind in (VIDEO, AUDIO))
    keys = [at for at, body in enumerate(video) if body[0] >> 4 == 1 and body[1] == 1]
    pictures = video[keys[_GROUPS - 1] : keys[_GROUPS]] if len(keys) > _GROUPS else []
    sounds = audio[-AUDIO_FRAMES:]
    if len(pictures) != VIDEO_FRAMES or len(sounds) != AUDIO_FRAMES:
        raise BenchError(f"the encoders made {len(pictures)} pictures and {len(sounds)} sounds for one loop")
    return Loop((METADATA, (VIDEO, video[0]), (AUDIO, audio[0])), spread(VIDEO, pictures) + spread(AUDIO, sounds))


def _encode() -> bytes:
    sink = io.BytesIO()
    with av.open(sink, "w", format="flv") as container:
        picture = container.add_stream("libx264", rate=_FRAMES_PER_S, options=_X264)
        picture.width, picture.height, picture.pix_fmt = 1280, 720, "yuv420p"
        picture.bit_rate = _VIDEO_BITS_PER_S
        picture.codec_context.gop_size = VIDEO_FRAMES
        picture.codec_context.time_base = Fraction(1, _FRAMES_PER_S)
        sound = container.add_stream("aac", rate=_SAMPLES_PER_S, layout="stereo")
        sound.bit_rate = _AUDIO_BITS_PER_S
        packets = [packet for frame in [*_pictures(), None] for packet in picture.encode(frame)]
        packets += [packet for frame in [*_sounds(), None] for packet in sound.encode(frame)]
        container.mux(packets)
    return sink.getvalue()


def _pictures() -> Iterator[VideoFrame]:
    graph = av.filter.Graph()
    source = f"size=1280x720:rate={_FRAMES_PER_S}:duration={_SECONDS}"
    # without noise a test picture is too simple to need 2 Mb/s
    noise = graph.add("noise", "alls=8:allf=t")
    graph.link_nodes(
        graph.add("testsrc2", source), noise, graph.add("format", "yuv420p"), graph.add("buffersink")
    ).configure()
    for number in range(_SECONDS * _FRAMES_PER_S):
        frame = graph.vpull()
        # the test source calls each of its pictures an I frame, and x264 would obey
        frame.pict_type = PictureType.NONE
        frame.pts = number
        yield frame


def _sounds() -> Iterator[AudioFrame]:
    graph = av.filter.Graph()
    noise = f"amplitude=0.3:color=pink:sample_rate={_SAMPLES_PER_S}:nb_samples=1024:duration={_SECONDS}:seed=1"
    graph.link_nodes(
        graph.add("anoisesrc", noise),
        graph.add("aformat", "sample_fmts=fltp:channel_layouts=stereo"),
        graph.add("abuffersink"),
    ).configure()
    for _ in range(_SECONDS * _SAMPLES_PER_S // 1024):
        frame = graph.pull()
        assert isinstance(frame, AudioFrame)
        yield frame


def _tags(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take an FLV file apart: a header of 9 bytes, then tags of 11 bytes and a body, each after the size of the last."""
    at = 13
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        yield data[at], data[at + 11 : at + 11 + size]
        at += 11 + size + 4
