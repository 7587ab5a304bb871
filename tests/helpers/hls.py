"""HLS recordings from the outside: what a player reads, and what RFC 8216 wants of it at every moment."""

from __future__ import annotations

import io
import os
import shutil
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import av

from muxers.fragments import FragmentSplitter
from muxers.hls import HlsMuxer
from muxers.playlist import Playlist, parse, round_s
from muxers.transport_stream import PACKET_BYTES, TransportSplitter
from tests.helpers.footage import Packet


def record(path, tags, batch=7, **options):
    """Record a feed, and complete the recording."""
    muxer = HlsMuxer(path, **options)
    muxer.open()
    for start in range(0, len(tags), batch):
        assert muxer.write(tags[start : start + batch]) == len(tags[start : start + batch])
    return muxer.close()


def read(path, count: int | None = None) -> list[Packet]:
    """Every packet, or the first ones, as FFmpeg's HLS reader gives them out; by kind, as it reads tracks in turn."""
    with av.open(path if isinstance(path, io.BytesIO) else str(path)) as container:
        packets = [
            Packet(
                packet.stream.type,
                round(packet.dts * packet.time_base * 1000),
                round(packet.pts * packet.time_base * 1000),
                bytes(packet),
            )
            for packet in islice((packet for packet in container.demux() if packet.size), count)
        ]
    return by_kind(packets)


def read_runs(path) -> list[Packet]:
    """The same run by run, as players do that look at discontinuities; FFmpeg's reader keeps the first header."""
    runs: list[bytes] = []
    for segment in parse(path.read_text("ascii")).segments:
        if segment.discontinuity or not runs:
            runs.append((path.parent / segment.map_uri).read_bytes() if segment.map_uri else b"")
        runs[-1] += (path.parent / segment.uri).read_bytes()
    return [packet for run in runs for packet in read(io.BytesIO(run))]


def by_kind(packets):
    """Video first, each kind in its own order."""
    return sorted(packets, key=lambda packet: packet.kind, reverse=True)


def pictures_and_sound(path, **options):
    """What a decoder makes of it: for each kind the frames' bytes, joined for sound, whose frames have other borders."""
    pictures, sound = [], b""
    with av.open(str(path), **options) as container:
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                pictures.append(bytes(frame.planes[0]))
            else:
                sound += bytes(frame.planes[0])[: frame.samples * 4]
    return pictures, sound


def segments_of(path: Path, *, regular: bool = True) -> Playlist:
    """The playlist as it is now, after checking that all it names exists, is whole and, of a regular feed, in order."""
    playlist = parse(path.read_text("ascii"))
    end_ms = None
    for number, segment in enumerate(playlist.segments):
        data = (path.parent / segment.uri).read_bytes()
        assert round_s(segment.duration_ms) <= playlist.target_duration_s
        if segment.map_uri:
            splitter = FragmentSplitter((path.parent / segment.map_uri).read_bytes())
        else:
            splitter = TransportSplitter(end_ms or 0)
            assert [(data[at + 1] & 0x1F) << 8 | data[at + 2] for at in (0, PACKET_BYTES)] == [0, 0x1000]
        pieces = splitter.feed(data)
        assert splitter.rest_bytes == 0
        assert segment.discontinuity == (pieces[0].starts_run and number > 0)
        if playlist.independent_segments:
            assert next((each.video_at_key for each in pieces if each.video_at_key is not None), True)
        # Tracks are interleaved as they come: around a cut, sound lies on either side.
        assert end_ms is None or not regular or pieces[0].start_ms >= end_ms - 100
        end_ms = max(piece.end_ms for piece in pieces)
    return playlist


def duration_of(path: Path) -> float:
    """The sum of what the playlist says, in milliseconds."""
    return sum(segment.duration_ms for segment in parse(path.read_text("ascii")).segments)


_CALLS = ("mkdir", "open", "write", "truncate", "ftruncate", "rename", "replace", "unlink", "rmdir")


@contextmanager
def watched(monkeypatch, look):
    """Call `look(name, arguments)` before every change of the file system and after the last one."""
    looking = False

    def observed(name, original):
        def call(*arguments, **options):
            nonlocal looking
            if not looking:
                looking = True
                look(name, arguments)
                looking = False
            return original(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in _CALLS:
            patch.setattr(os, name, observed(name, getattr(os, name)))
        yield
    look("end", ())


def copy_recording(path: Path, folder: Path) -> Path:
    """Copy playlist and folder as they are."""
    folder.mkdir(parents=True)
    if path.exists():
        shutil.copy(path, folder / path.name)
    if path.with_suffix("").exists():
        shutil.copytree(path.with_suffix(""), folder / path.stem)
    return folder / path.name
