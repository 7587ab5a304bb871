"""Source files made on the spot by the encoders inside PyAV, and what their packets are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.filter
from av.video.frame import PictureType

from rtmpd.media.tags import EMPTY, END_OF_SEQUENCE, KEY_FRAME, SEQUENCE_HEADER, classify
from rtmpd.wire.flv import FlvTag, TagReader
from rtmpd.wire.messages import AUDIO, VIDEO, Message
from tests.helpers.processes import wait_until

WIDTH = 320
HEIGHT = 180
FRAMES_PER_S = 25
SAMPLES_PER_S = 48_000


@dataclass(frozen=True)
class Recipe:
    """What a source file consists of."""

    video: str = ""
    """An encoder's name; empty for none."""
    video_options: tuple[tuple[str, str], ...] = ()
    audio: str = ""
    seconds: int = 3


_X264 = (("preset", "veryfast"), ("bf", "2"), ("sc_threshold", "0"))
_X265 = (("preset", "ultrafast"), ("x265-params", "log-level=none:bframes=2:scenecut=0"))
_SVT_AV1 = (("preset", "12"), ("svtav1-params", "scd=0"))

RECIPES = {
    "h264+aac": Recipe("libx264", _X264, "aac"),
    "hevc+aac": Recipe("libx265", _X265, "aac"),
    "av1+opus": Recipe("libsvtav1", _SVT_AV1, "libopus"),
    "h264+mp3": Recipe("libx264", _X264, "libmp3lame"),
    "hevc+mp3": Recipe("libx265", _X265, "libmp3lame"),
    "audio only": Recipe(audio="aac"),
    "video only": Recipe("libx264", _X264),
    "short": Recipe("libx264", _X264, "aac", seconds=2),
    "long": Recipe("libx264", _X264, "aac", seconds=20),
    "relayed": Recipe("libx264", _X264, "aac", seconds=36),
    "evening": Recipe("libx264", _X264, "aac", seconds=9),
    "relayed, audio only": Recipe(audio="aac", seconds=36),
    "five minutes": Recipe("libx264", _X264, "aac", seconds=300),
}
"""Each with a key frame every second."""


class Sources:
    """Source files, each made when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        """
        Prepare.

        Args:
            directory: exists; takes the files.
        """
        self._directory = directory

    def mp4(self, name: str) -> Path:
        """The encoder's output, in a format that keeps its timestamps finer than FLV does."""
        path = self._path(name, "mp4")
        if not path.exists():
            encode(path, RECIPES[name])
        return path

    def flv(self, name: str) -> Path:
        """The same as FLV, remuxed by PyAV's FFmpeg."""
        path = self._path(name, "flv")
        if not path.exists():
            remux(self.mp4(name), path)
        return path

    def tags(self, name: str) -> list[FlvTag]:
        """The tags of the FLV file: metadata, headers, frames."""
        return read_tags(self.flv(name))

    def _path(self, name: str, suffix: str) -> Path:
        return self._directory / f"{name.replace(' ', '-')}.{suffix}"


def encode(path: Path, recipe: Recipe) -> None:
    """
    Make a moving picture and a sound that never repeats.

    Args:
        path: of the file; the suffix says the format.
        recipe: what it consists of.
    """
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder's: errors only
    with av.open(path, "w") as output:
        encoders = []
        if recipe.video:
            stream = output.add_stream(recipe.video, rate=FRAMES_PER_S, options=dict(recipe.video_options))
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.gop_size = FRAMES_PER_S
            stream.codec_context.time_base = Fraction(1, FRAMES_PER_S)
            encoders.append((stream, _pictures(recipe.seconds)))
        if recipe.audio:
            stream = output.add_stream(recipe.audio, rate=SAMPLES_PER_S, layout="stereo")
            encoders.append((stream, _sounds(recipe.seconds, "flt" if recipe.audio == "libopus" else "fltp")))
        for stream, frames in encoders:
            for frame in frames:
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))


def remux(source: Path, target: Path, options: dict[str, str] | None = None) -> Path:
    """
    Copy all packets into another format, like `ffmpeg -i SOURCE -c copy TARGET`.

    Args:
        source: a file.
        target: its ending says the format.
        options: of the muxer; those that make FLV as encoders do, if not given.

    Returns:
        The target.
    """
    if options is None:
        # Without the length that an encoder cannot know: to rtmpdump, a live stream that has one ends too early.
        options = {"flvflags": "no_duration_filesize"} if target.suffix == ".flv" else {}
    with av.open(source) as given, av.open(target, "w", options=options) as made:
        streams = {stream.index: made.add_stream_from_template(stream, opaque=True) for stream in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                made.mux(packet)
    return target


def read_tags(path: Path) -> list[FlvTag]:
    """Every whole tag of an FLV file, or of one that is still being written."""
    return TagReader().feed(path.read_bytes())


def is_frame(tag: FlvTag | Message) -> bool:
    """Whether a tag carries a picture or a sound, and no header."""
    no_frame = SEQUENCE_HEADER | EMPTY | END_OF_SEQUENCE
    return tag.type_id in (AUDIO, VIDEO) and not classify(tag.type_id, tag.body) & no_frame


def is_key_frame(tag: FlvTag | Message) -> bool:
    """Whether a tag carries a picture that decoding can start at."""
    return is_frame(tag) and bool(classify(tag.type_id, tag.body) & KEY_FRAME)


def wait_until_written(path: Path, tags: Iterable[FlvTag], *, held_back_ms: int = 0) -> None:
    """
    Wait until a file has the last picture and the last sound, or those that are so much earlier.

    Args:
        path: of a file that somebody writes; may not be there yet.
        tags: that it is to have.
        held_back_ms: what its writer may keep until its input ends.
    """
    frames = [tag for tag in tags if is_frame(tag)]
    latest_ms = max(tag.timestamp_ms for tag in frames) - held_back_ms
    last = {tag.type_id: tag.body for tag in frames if tag.timestamp_ms <= latest_ms}

    def is_written() -> bool:
        written = path.read_bytes() if path.exists() else b""
        return all(body in written for body in last.values())

    wait_until(is_written, f"the end of what was published in {path.name}")


def frames_of(tags: Iterable[FlvTag | Message]) -> list[tuple[int, bytes]]:
    """The types and bodies of what carries a picture or a sound: all that must come out as it went in."""
    return [(tag.type_id, tag.body) for tag in tags if is_frame(tag)]


class Packet(NamedTuple):
    """A line of framemd5."""

    kind: str
    """video or audio."""
    dts: int
    """Milliseconds, as pts."""
    pts: int
    size: int
    md5: str


def packets_of(path: Path | str, **options) -> list[Packet]:
    """The packets of a file, as PyAV's FFmpeg reads them; options go to `av.open`."""
    with av.open(path, **options) as container:
        return [
            Packet(packet.stream.type, packet.dts, packet.pts, packet.size, hashlib.md5(bytes(packet)).hexdigest())
            for packet in container.demux()
            if packet.size
        ]


def from_start(packets: list[Packet]) -> dict[str, list[tuple[int, int, int, str]]]:
    """
    Make two lists of packets comparable.

    Args:
        packets: of one file or player.

    Returns:
        For each kind its packets in order, the times relative to the first of all.
    """
    start = min(packet.dts for packet in packets)
    found: dict[str, list[tuple[int, int, int, str]]] = {}
    for kind, dts, pts, size, md5 in packets:
        found.setdefault(kind, []).append((dts - start, pts - start, size, md5))
    return found


def _pictures(seconds: int):
    graph = av.filter.Graph()
    source = f"size={WIDTH}x{HEIGHT}:rate={FRAMES_PER_S}:duration={seconds}"
    graph.link_nodes(graph.add("testsrc2", source), graph.add("format", "yuv420p"), graph.add("buffersink")).configure()
    for number in range(seconds * FRAMES_PER_S):
        picture = graph.vpull()
        # The test source calls each of its pictures an I frame, and x264 would obey.
        picture.pict_type = PictureType.NONE
        picture.pts = number
        yield picture


def _sounds(seconds: int, sample_format: str):
    graph = av.filter.Graph()
    # A rising tone in noise, so that no two packets are alike.
    noise = f"anoisesrc=amplitude=0.05:sample_rate={SAMPLES_PER_S}:nb_samples=960:duration={seconds}:seed=1"
    name, _, arguments = noise.partition("=")
    graph.link_nodes(
        graph.add(name, arguments),
        graph.add("aformat", f"sample_fmts={sample_format}:channel_layouts=stereo"),
        graph.add("abuffersink"),
    ).configure()
    for _ in range(seconds * SAMPLES_PER_S // 960):
        yield graph.pull()
