"""
Containers of PyAV, written sample by sample, every byte through a function of ours.

FFmpeg is given its codec parameters by its own FLV demuxer, from a file in memory with a header and a first frame: the
only way that copies them all, for every codec, without an encoder. Samples are muxed one behind, when the next one of
their track has come: without their durations FFmpeg guesses how long the last sample of a fragment is, and moves the
first one of the next fragment to where the guess ends (after a pause of two seconds: two seconds too early).

Exceptions never travel through FFmpeg: the first one of our function is kept, later writes are swallowed, and the
caller gets it, errno and all, when FFmpeg returns. What FFmpeg refuses by itself is a `MuxError`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from muxers.base import MuxError, TrackFacts
from muxers.samples import Sample, Track
from rtmpd.errors import MediaError
from rtmpd.media.configurations import AudioConfiguration, VideoConfiguration, describe_header
from rtmpd.wire.flv import encode_file_header, encode_tag
from rtmpd.wire.messages import AUDIO, VIDEO

WriteAt: TypeAlias = Callable[[int, bytes], object]
"""Takes an offset in the output and the bytes that belong there; raises OSError."""

_CODECS = {
    "h264": "avc1",
    "hevc": "hvc1",
    "av1": "av01",
    "vp9": "vp09",
    "aac": "mp4a",
    "mp3": ".mp3",
    "opus": "Opus",
    "flac": "fLaC",
    "ac3": "ac-3",
    "eac3": "ec-3",
}
"""Our names of codecs by FFmpeg's."""
_LONGEST_TICKS = 2**31 - 2
"""What a track may span, 12 hours at 48 kHz: FFmpeg aborts the process where two frames are further apart."""
_LAYOUTS = ("", "mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")


class _Sink:
    """The file object that FFmpeg sees."""

    def __init__(self, write: WriteAt, *, seekable: bool) -> None:
        self._write = write
        self._seekable = seekable
        self._position = 0
        self._end = 0
        self.fault: Exception | None = None
        self.swallows = False

    def seekable(self) -> bool:
        return self._seekable

    def write(self, data: bytes) -> int:
        if not self.swallows:
            try:
                self._write(self._position, data)
            except Exception as error:  # noqa: BLE001 - a bug of ours, too, must come out where FFmpeg was called
                self.fault = error
                self.swallows = True
        self._position += len(data)
        self._end = max(self._end, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def raise_fault(self) -> None:
        if self.fault is not None:
            raise self.fault


class _Lane:
    """One track's way into the container."""

    __slots__ = ("end", "last", "pending", "step", "stream", "ticks_per_s")

    def __init__(self, stream: VideoStream | AudioStream, ticks_per_s: int) -> None:
        self.stream = stream
        self.ticks_per_s = ticks_per_s
        self.pending: Packet[Stream] | None = None
        self.last = -1
        """Decoding time of the newest sample, in the stream's ticks."""
        self.end = 1 << 62
        """The latest decoding time that the container can hold."""
        self.step = 0


class Output:
    """A container being written."""

    def __init__(
        self,
        write: WriteAt,
        container_format: str,
        options: Mapping[str, str],
        tracks: Mapping[Track, bytes],
        *,
        seekable: bool,
    ) -> None:
        """
        Open the container and write its header.

        Args:
            write: takes what the container consists of.
            container_format: FFmpeg's name of it.
            options: of FFmpeg's muxer.
            tracks: each with its first payload, from which FFmpeg reads what the header does not say; empty where
                none has come, which is too little for codecs without headers.
            seekable: whether `write` takes offsets before the end; else they only rise.

        Raises:
            MuxError: the container cannot be made of these tracks.
            OSError: `write` raised it.
        """
        self._sink = _Sink(write, seekable=seekable)
        self._container = av.open(self._sink, "w", format=container_format, options=dict(options))
        try:
            with _translated():
                streams = {track: _add_stream(self._container, track, payload) for track, payload in tracks.items()}
                self._container.start_encoding()
            self._sink.raise_fault()
        except BaseException:
            self.abandon()
            raise
        # The muxer chooses its time bases when it writes the header: in them nothing is rescaled, so nothing collides.
        self._lanes = {track: _Lane(stream, _ticks_per_s(stream)) for track, stream in streams.items()}
        self._mux_one = self._container.mux_one

    @property
    def tracks(self) -> tuple[TrackFacts, ...]:
        """The container's tracks, with what FFmpeg found out about them."""
        return tuple(_facts_of(track, lane.stream) for track, lane in self._lanes.items())

    def mux(self, sample: Sample) -> bool:
        """
        Append a sample; it may stay in memory until the next one of its track comes.

        Args:
            sample: a decoding time that does not rise is moved to one tick after the one before it. A presentation
                time before the decoding time moves that back as far as it can, as no container of FFmpeg's allows it.

        Returns:
            Whether the container has its track, and room for it: a container ends after some hours. If not, nothing
            happened.

        Raises:
            MuxError: FFmpeg refuses a sample; the container goes on without it.
            OSError: writing failed; nothing more is written.
        """
        track, payload, dts_ms, composition_ms, is_key = sample
        lane = self._lanes.get(track)
        if lane is None:
            return False
        ticks_per_s, last = lane.ticks_per_s, lane.last
        dts = max((dts_ms * ticks_per_s + 500) // 1000, last + 1)
        pts = ((dts_ms + composition_ms) * ticks_per_s + 500) // 1000
        if dts > lane.end:
            return False
        if pts < dts:
            dts = max(pts, last + 1)
            pts = max(pts, dts)
        packet = Packet(payload)
        packet.stream = lane.stream
        packet.dts = dts
        packet.pts = pts
        if is_key:
            packet.is_keyframe = True
        previous, lane.pending, lane.last = lane.pending, packet, dts
        if previous is None:
            lane.end = min(lane.end, dts + _LONGEST_TICKS)
        else:
            step = dts - last
            if step <= ticks_per_s:
                lane.step = step
            self._put(previous, step)
        return True

    def release(self, before_ms: int, until_ms: int) -> None:
        """
        Mux samples that wait for the next one of their track, although it has not come.

        Args:
            before_ms: those with an earlier decoding time.
            until_ms: to when they are said to last; FFmpeg puts the next ones there if they are later.

        Raises:
            MuxError: FFmpeg refuses a sample.
            OSError: writing failed.
        """
        for lane in self._lanes.values():
            if lane.last * 1000 < before_ms * lane.ticks_per_s:
                self._settle(lane, until_ms * lane.ticks_per_s // 1000 - lane.last)

    def close(self) -> None:
        """
        Write what is left, and the container's end.

        Raises:
            MuxError: FFmpeg could not end it.
            OSError: writing failed.
        """
        try:
            for lane in sorted(self._lanes.values(), key=lambda lane: lane.last / lane.ticks_per_s):
                with suppress(MuxError):
                    self._settle(lane, lane.step)
            with _translated():
                self._container.close()
            self._sink.raise_fault()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Free the container without writing anything more; harmless when called again."""
        self._sink.swallows = True
        with suppress(av.error.FFmpegError):
            self._container.close()

    def _settle(self, lane: _Lane, duration: int) -> None:
        packet, lane.pending = lane.pending, None
        if packet is not None:
            duration = max(0, min(duration, lane.end - lane.last))
            lane.last += max(0, duration - 1)
            self._put(packet, duration)

    def _put(self, packet: Packet[Stream], duration: int) -> None:
        packet.duration = duration
        try:
            self._mux_one(packet)
        except av.error.FFmpegError as error:
            raise MuxError(f"FFmpeg refuses a frame: {error.strerror}") from error
        if self._sink.fault is not None:
            raise self._sink.fault


class Contents(NamedTuple):
    """What a file holds."""

    tracks: tuple[TrackFacts, ...]
    video_frames: int
    audio_frames: int
    key_frames: int
    """Of the first video track."""
    duration_ms: int
    """From the first frame to the end of the last one."""


def describe(data: bytes) -> tuple[TrackFacts, ...]:
    """
    Read which tracks a file has.

    Args:
        data: its beginning, as far as the first frames.

    Returns:
        Video first; without those whose codec no muxer writes.

    Raises:
        MuxError: FFmpeg cannot read it.
    """
    with _translated(), av.open(io.BytesIO(data), "r") as container:
        return _tracks_in(container)


def inspect(source: Path) -> Contents:
    """
    Read a file through.

    Raises:
        MuxError: FFmpeg cannot read it.
        OSError: it cannot be read.
    """
    with _translated(), av.open(source) as container:
        return _read_through(container, lambda _packet: None)


def copy(source: Path, target: Path, options: Mapping[str, str]) -> Contents:
    """
    Write all frames of a file into a new MP4, under a name of its own as FFmpeg may have to read it again.

    Args:
        source: stays as it is.
        target: is overwritten; its end is not synchronised to the disk.
        options: of FFmpeg's MP4 muxer.

    Raises:
        MuxError: FFmpeg cannot read or write it; the target is to be thrown away.
        OSError: the disk did not take it; the same.
    """
    with (
        _translated(),
        av.open(source) as given,
        av.open(target, "w", format="mp4", options=dict(options)) as made,
    ):
        streams: dict[int, VideoStream | AudioStream] = {}
        for stream in _media_streams(given):
            streams[stream.index] = made.add_stream_from_template(stream, opaque=True)
            _tag_hevc(streams[stream.index])

        def put(packet: Packet[Stream]) -> None:
            packet.stream = streams[packet.stream_index]
            made.mux_one(packet)

        return _read_through(given, put)


def _media_streams(container: InputContainer) -> list[VideoStream | AudioStream]:
    return [*container.streams.video, *container.streams.audio]


def _tracks_in(container: InputContainer) -> tuple[TrackFacts, ...]:
    named: list[TrackFacts] = []
    numbers = {VIDEO: 0, AUDIO: 0}
    for stream in _media_streams(container):
        codec = _CODECS.get(stream.codec_context.codec.canonical_name)
        if codec is not None:
            type_id = VIDEO if isinstance(stream, VideoStream) else AUDIO
            named.append(_facts_of(Track(type_id, numbers[type_id], codec, None), stream))
            numbers[type_id] += 1
    return tuple(named)


def _read_through(container: InputContainer, take: Callable[[Packet[Stream]], None]) -> Contents:
    frames = {"video": 0, "audio": 0}
    key_frames, start_s, end_s = 0, float("inf"), 0.0
    streams = _media_streams(container)
    for packet in container.demux(streams):
        if not packet.size or packet.dts is None:
            continue
        kind, tick_s = packet.stream.type, float(packet.time_base)
        frames[kind] += 1
        key_frames += packet.stream is streams[0] and kind == "video" and packet.is_keyframe
        start_s = min(start_s, packet.dts * tick_s)
        end_s = max(end_s, (packet.dts + (packet.duration or 0)) * tick_s)
        take(packet)
    duration_ms = round((end_s - start_s) * 1000) if any(frames.values()) else 0
    return Contents(_tracks_in(container), frames["video"], frames["audio"], key_frames, duration_ms)


def _tag_hevc(stream: VideoStream | AudioStream) -> None:
    if stream.codec_context.codec.canonical_name == "hevc":
        stream.codec_context.codec_tag = "hvc1"  # FFmpeg's own choice, hev1, does not play on Apple's devices


def _add_stream(container: OutputContainer, track: Track, payload: bytes) -> VideoStream | AudioStream:
    bodies = [track.header_body(), track.frame_body(payload)] if payload else [track.header_body()]
    with av.open(io.BytesIO(_flv(track.type_id, bodies)), format="flv") as probe:
        found = probe.streams.video if track.type_id == VIDEO else probe.streams.audio
        if not found:
            raise MuxError(f"FFmpeg finds no {track.codec} in its header")
        stream = container.add_stream_from_template(found[0], opaque=True)
    _tag_hevc(stream)
    if isinstance(stream, VideoStream):
        _complete_video(stream, track)
    else:
        _complete_audio(stream, track)
    return stream


def _complete_video(stream: VideoStream, track: Track) -> None:
    """Fill in by the header what no frame has told: a container's header needs it."""
    context = stream.codec_context
    described = _described(track)
    if not context.width and isinstance(described, VideoConfiguration):
        context.width, context.height = described.width, described.height


def _complete_audio(stream: AudioStream, track: Track) -> None:
    context = stream.codec_context
    described = _described(track)
    if described is None or isinstance(described, VideoConfiguration):
        return
    if not context.sample_rate:
        context.sample_rate = described.sample_rate
    if not context.channels and 0 < described.channels < len(_LAYOUTS):
        context.layout = _LAYOUTS[described.channels]


def _facts_of(track: Track, stream: VideoStream | AudioStream) -> TrackFacts:
    if isinstance(stream, VideoStream):
        size = stream.codec_context
        return TrackFacts("video", track.track_id, track.codec, width=size.width, height=size.height)
    sound = stream.codec_context
    return TrackFacts("audio", track.track_id, track.codec, sample_rate=sound.sample_rate, channels=sound.channels)


def _described(track: Track) -> VideoConfiguration | AudioConfiguration | None:
    try:
        return describe_header(track.type_id, track.header_body())
    except MediaError:
        return None


def _flv(type_id: int, bodies: list[bytes]) -> bytes:
    header = encode_file_header(audio=type_id == AUDIO, video=type_id == VIDEO)
    return header + b"".join(encode_tag(type_id, 0, body) for body in bodies)


def _ticks_per_s(stream: VideoStream | AudioStream) -> int:
    time_base = stream.time_base
    assert time_base is not None
    assert time_base.numerator == 1
    return time_base.denominator


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, error.filename) from error
        raise MuxError(f"FFmpeg refuses: {error.strerror}") from error
    except ValueError as error:  # PyAV asks FFmpeg whether the container knows the codec
        raise MuxError(str(error)) from error
