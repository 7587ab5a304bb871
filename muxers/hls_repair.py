"""
Makes an interrupted HLS recording whole: the part that was growing becomes a segment, and the playlist an end.

Rule: every step leaves files that the next attempt understands, so a repair that is interrupted is simply done again.
Segments that the playlist does not name are adopted in the order of their numbers; which initialisation section is
theirs follows from where runs start (`pieces`), so even a lost playlist can be rebuilt. Only files of our own names are
ever touched.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from muxers import _pyav, fragments, transport_stream
from muxers.base import FileFacts, MuxError, TrackFacts
from muxers.fragments import FragmentSplitter
from muxers.hls_folder import (
    PART,
    PLAYLIST_PART,
    SEGMENT_SUFFIXES,
    SUFFIX,
    completed,
    folder_of,
    lock_folder,
    remove_own,
    replace_playlist,
)
from muxers.pieces import Splitter, StreamError
from muxers.playlist import VERSION_FMP4, VERSION_TS, Playlist, PlaylistError, Segment, parse, render, round_s
from muxers.transport_stream import TransportSplitter

_OWN_SEGMENT = re.compile(r"([0-9]{5,})(\.m4s|\.ts)")
_OWN_INIT = re.compile(r"init-([0-9]{3,})\.mp4")


class Recovered(NamedTuple):
    """What a folder holds after it was tidied up."""

    playlist: Playlist
    """Growing, with at least one segment."""
    is_fmp4: bool
    next_segment: int
    """Number of the next segment's file."""
    next_init: int
    """Number of the next initialisation section's file."""
    files_bytes: int
    """Size of all files but the playlist."""
    end_ms: int
    """Where the last frame ends, in the time of the segments."""
    facts: FileFacts
    """Without the playlist's size."""

    def with_more(self, facts: FileFacts) -> FileFacts:
        """Add what a later process has recorded."""
        old = self.facts
        known = {(track.kind, track.track_id) for track in facts.tracks}
        return replace(
            facts,
            duration_ms=old.duration_ms + facts.duration_ms,
            video_frames=old.video_frames + facts.video_frames,
            audio_frames=old.audio_frames + facts.audio_frames,
            key_frames=old.key_frames + facts.key_frames,
            tracks=facts.tracks + tuple(each for each in old.tracks if (each.kind, each.track_id) not in known),
            empty=False,
        )


def repair(path: Path, *, finish: bool = True) -> FileFacts | None:
    """
    Make an interrupted recording whole; one that is whole stays as it is.

    Args:
        path: of the playlist, which may be missing.
        finish: end the playlist; else it can still grow.

    Returns:
        What it holds; None when that was nothing, and all is removed.

    Raises:
        BlockingIOError: somebody is writing it.
        FileNotFoundError: there is no such recording.
        MuxError: there is no segment of ours, but a playlist of somebody else.
        OSError: the disk refuses; what was there is still there.
    """
    descriptor = lock_folder(folder_of(path))
    try:
        recovered = recover(path)
        if recovered is None:
            if _names_others(path):
                raise MuxError("no HLS of ours")
            path.unlink(missing_ok=True)
            remove_own(folder_of(path), ())
            return None
        playlist = completed(recovered.playlist) if finish else recovered.playlist
        before = _read_playlist(path)
        if before is None or (before != playlist and (finish or before.segments != playlist.segments)):
            replace_playlist(path, render(playlist), sync=True)
            os.fsync(descriptor)
        return replace(recovered.facts, size_bytes=recovered.files_bytes + path.stat().st_size)
    finally:
        os.close(descriptor)


def recording_of(folder: Path) -> Path | None:
    """
    Say which recording the files of a folder belong to.

    Args:
        folder: exists.

    Returns:
        The path of its playlist, which may be missing; None for a folder that is none of a recording.

    Raises:
        OSError: the folder cannot be read.
    """
    if folder.name in ("", ".."):
        folder = folder.resolve()
    names = [path.name for path in folder.iterdir()]
    own = [name for name in names if _is_own(name)]
    if not own or not folder.name:
        return None
    playlist = folder.with_name(folder.name + SUFFIX)
    return playlist if len(own) == len(names) or playlist.is_file() else None


def recover(path: Path) -> Recovered | None:
    """
    Tidy up the folder of a recording: adopt what can be, remove what is left over.

    Args:
        path: of the playlist, which is not touched; the folder is locked.

    Returns:
        What there is; None when there is no segment, and no file of ours is left but the playlist.

    Raises:
        OSError: the disk refuses.
    """
    return _Recovery(path).run()


class _Scan:
    """What a segment's bytes say."""

    def __init__(self, path: Path, data: bytes, splitter: Splitter) -> None:
        """Raises StreamError for bytes without a frame."""
        pieces = splitter.feed(data)
        if not any(piece.parts for piece in pieces):
            raise StreamError("a segment without frames")
        self.path = path
        self.init = splitter.init or b""
        self.starts_run = pieces[0].starts_run
        self.start_ms = pieces[0].start_ms
        self.end_ms = max(piece.end_ms for piece in pieces)
        self.at_key = next((piece.video_at_key for piece in pieces if piece.video_at_key is not None), True)
        self.key_frames = sum(piece.key_frames for piece in pieces)
        self.frames = {"video": 0, "audio": 0}
        for piece in pieces:
            for index, part in piece.parts.items():
                self.frames[splitter.kinds[index]] += part.frames


class _Recovery:
    """One attempt at one folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = folder_of(path)
        self._known = _read_playlist(path)
        self._listed = {}
        if self._known is not None:
            self._listed = {segment.uri: segment for segment in self._known.segments}
        self._suffix = self._choose_suffix()
        self._inits = sorted(self._numbers(_OWN_INIT), key=lambda name: (len(name), name))
        self._init = -1
        self._near_ms = 0
        self._segments: list[Segment] = []
        self._scans: list[_Scan] = []
        self._independent = self._known is None or self._known.independent_segments or not self._known.segments

    def run(self) -> Recovered | None:
        for name in self._names():
            if name.endswith(PART):
                self._settle_part(name)
        previous: int | None = None
        numbers = self._numbers(_OWN_SEGMENT, self._suffix)
        for number, name in sorted((number, name) for name, number in numbers.items()):
            if self._take(name, is_next=previous is None or number == previous + 1):
                previous = number
        self._remove_unused_inits()
        if not self._segments:
            return None
        return Recovered(
            playlist=self._playlist(),
            is_fmp4=self._is_fmp4,
            next_segment=1 + max(numbers.values()),
            next_init=1 + max(self._numbers(_OWN_INIT).values(), default=0),
            files_bytes=sum((self._folder / name).stat().st_size for name in self._used()),
            end_ms=max((scan.end_ms for scan in self._scans), default=0),
            facts=self._facts(),
        )

    @property
    def _is_fmp4(self) -> bool:
        return self._suffix == SEGMENT_SUFFIXES[0]

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir())

    def _numbers(self, pattern: re.Pattern[str], suffix: str = "") -> dict[str, int]:
        matches = filter(None, map(pattern.fullmatch, self._names()))
        return {match[0]: int(match[1]) for match in matches if match[0].endswith(suffix)}

    def _choose_suffix(self) -> str:
        names = [*self._listed, *(name.removesuffix(PART) for name in self._names())]
        return next(
            (name[name.rindex(".") :] for name in names if name.endswith(SEGMENT_SUFFIXES)), SEGMENT_SUFFIXES[0]
        )

    def _uri(self, name: str) -> str:
        return f"{self._folder.name}/{name}"

    def _settle_part(self, name: str) -> None:
        """Make a part a whole file, or remove it."""
        part, whole = self._folder / name, self._folder / name.removesuffix(PART)
        if not _OWN_SEGMENT.fullmatch(whole.name):
            if name == PLAYLIST_PART or _OWN_INIT.fullmatch(whole.name):
                part.unlink()
            return
        size = 0 if whole.exists() else self._whole_bytes(part.read_bytes())
        if not size:
            part.unlink()
            return
        os.truncate(part, size)
        part.rename(whole)

    def _whole_bytes(self, data: bytes) -> int:
        """How much of a growing segment a reader can use."""
        return fragments.whole_bytes(data) if self._is_fmp4 else transport_stream.whole_bytes(data)

    def _take(self, name: str, *, is_next: bool) -> bool:
        """Put a segment into the playlist, or remove it."""
        listed = self._listed.get(self._uri(name))
        scan = self._scan(name, listed)
        if listed is None and scan is None:
            (self._folder / name).unlink(missing_ok=True)
            return False
        if listed is None and scan is not None:
            self._end_last(scan)
            map_uri = self._uri(self._inits[self._init]) if self._is_fmp4 else None
            is_first = not self._segments
            discontinuity = not is_first and (scan.starts_run or not is_next)
            listed = Segment(self._uri(name), max(scan.end_ms - scan.start_ms, 0), map_uri, discontinuity)
            self._independent &= scan.at_key
        assert listed is not None
        if not is_next and self._segments:
            listed = replace(listed, discontinuity=True)
        self._segments.append(listed)
        if scan is not None:
            self._scans.append(scan)
            self._near_ms = scan.end_ms
        return True

    def _end_last(self, scan: _Scan) -> None:
        """Let an adopted segment last until the one that continues it."""
        if self._segments and self._scans and not scan.starts_run and self._segments[-1].uri not in self._listed:
            duration_ms = max(scan.start_ms - self._scans[-1].start_ms, 0)
            self._segments[-1] = replace(self._segments[-1], duration_ms=duration_ms)

    def _scan(self, name: str, listed: Segment | None) -> _Scan | None:
        """Read a segment; None for what cannot be read."""
        try:
            data = (self._folder / name).read_bytes()
            return _Scan(self._folder / name, data, self._splitter(data, listed))
        except (StreamError, FileNotFoundError):
            return None

    def _splitter(self, data: bytes, listed: Segment | None) -> Splitter:
        if not self._is_fmp4:
            return TransportSplitter(self._near_ms)
        name = None if listed is None or listed.map_uri is None else listed.map_uri.rpartition("/")[2]
        if name in self._inits:
            self._init = self._inits.index(name)
        elif fragments.starts_run(data) or self._init < 0:
            self._init += 1
        if self._init >= len(self._inits):
            self._init = len(self._inits) - 1
            raise FileNotFoundError(errno.ENOENT, "there is no initialisation section for it")
        return FragmentSplitter((self._folder / self._inits[self._init]).read_bytes())

    def _remove_unused_inits(self) -> None:
        used = {segment.map_uri for segment in self._segments}
        for name in self._inits:
            if self._uri(name) not in used:
                (self._folder / name).unlink(missing_ok=True)

    def _used(self) -> Iterator[str]:
        for uri in {*(each.uri for each in self._segments), *(each.map_uri for each in self._segments if each.map_uri)}:
            yield uri.rpartition("/")[2]

    def _playlist(self) -> Playlist:
        target_s = max(round_s(segment.duration_ms) for segment in self._segments)
        if self._known is not None and not self._known.ended:
            target_s = max(target_s, self._known.target_duration_s)
        return Playlist(
            target_duration_s=max(target_s, 1),
            segments=tuple(self._segments),
            version=VERSION_FMP4 if self._is_fmp4 else VERSION_TS,
            playlist_type="EVENT",
            independent_segments=self._independent,
        )

    def _facts(self) -> FileFacts:
        scans = self._scans
        return FileFacts(
            path=str(self._path),
            file_format="hls",
            size_bytes=0,
            duration_ms=max((scan.end_ms for scan in scans), default=0) - min((s.start_ms for s in scans), default=0),
            start_ms=0,
            video_frames=sum(scan.frames["video"] for scan in scans),
            audio_frames=sum(scan.frames["audio"] for scan in scans),
            key_frames=sum(scan.key_frames for scan in scans),
            tracks=self._tracks(),
            gaps=0,
            gap_ms=0,
            jumps=0,
            left_out=0,
            empty=False,
        )

    def _tracks(self) -> tuple[TrackFacts, ...]:
        """The tracks of the last run that can be read."""
        for scan in reversed(self._scans):
            try:
                return _pyav.describe(scan.init + scan.path.read_bytes())
            except MuxError:
                continue
        return ()


def _is_own(name: str) -> bool:
    whole = name.removesuffix(PART)
    return name == PLAYLIST_PART or bool(_OWN_SEGMENT.fullmatch(whole) or _OWN_INIT.fullmatch(whole))


def _names_others(path: Path) -> bool:
    """Say whether a playlist names files that no muxer of ours makes: it was written by somebody else."""
    try:
        lines = path.read_text("ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return False
    folder = f"{folder_of(path).name}/"
    uris = [unquote(line, errors="surrogateescape") for line in lines if line and not line.startswith("#")]
    return any(not uri.startswith(folder) or not _is_own(uri.removeprefix(folder)) for uri in uris)


def _read_playlist(path: Path) -> Playlist | None:
    try:
        return parse(path.read_text("ascii"))
    except (FileNotFoundError, PlaylistError, UnicodeDecodeError):
        return None
