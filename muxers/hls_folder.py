"""
The files of an HLS recording: the playlist `NAME.m3u8`, and beside it the folder `NAME` with what it names.

Rule: what a reader finds is whole. A segment grows as `NAME/00005.m4s.part`, is renamed when it is complete, and only
then named by the playlist, which is replaced as a whole; so the end of the process at any moment leaves a playlist whose
files exist, and at most one part that `hls_repair` makes a segment of. The lock of the folder tells who is at work.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from muxers.pieces import Piece
from muxers.playlist import VERSION_FMP4, VERSION_TS, Playlist, Segment, render, render_segment, round_s

SUFFIX = ".m3u8"
PART = ".part"
"""Ends the name of what is not whole yet."""
PLAYLIST_PART = f"playlist{PART}"
"""In the folder, as the playlist's own name may be too long for a longer one beside it."""
SEGMENT_SUFFIXES = (".m4s", ".ts")

_SEGMENT_DIGITS = 5
_INIT_DIGITS = 3


def folder_of(path: Path) -> Path:
    """
    Say which folder belongs to a playlist.

    Args:
        path: of the playlist.

    Raises:
        ValueError: it does not end in ".m3u8", so the folder would have its name.
    """
    if path.suffix != SUFFIX:
        raise ValueError(f"{path.name} does not end in {SUFFIX}")
    return path.with_suffix("")


def segment_name(number: int, suffix: str) -> str:
    """Name a segment's file."""
    return f"{number:0{_SEGMENT_DIGITS}d}{suffix}"


def init_name(number: int) -> str:
    """Name an initialisation section's file."""
    return f"init-{number:0{_INIT_DIGITS}d}.mp4"


def lock_folder(folder: Path) -> int:
    """
    Lock a folder for as long as the descriptor stays open.

    Returns:
        The descriptor.

    Raises:
        BlockingIOError: somebody else has it locked.
        FileNotFoundError: there is none, or it was removed while it was being locked.
        OSError: it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        require_same(descriptor, folder)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def require_same(descriptor: int, folder: Path) -> None:
    """
    Make sure that a folder is still the one that was opened.

    Raises:
        FileNotFoundError: it was removed, whatever has its name now.
    """
    # Not by the number of links: that of a folder does not fall to zero on every file system.
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return
    raise FileNotFoundError(errno.ENOENT, "removed while it was being recorded", str(folder))


def replace_playlist(path: Path, text: str, *, sync: bool = False) -> int:
    """
    Put a playlist in place of the one before it.

    Args:
        path: of the playlist; its folder exists.
        text: what it says.
        sync: wait until it is on the disk.

    Returns:
        Its size in bytes.

    Raises:
        OSError: the disk did not take it; the one before it is still there.
    """
    part = folder_of(path) / PLAYLIST_PART
    with part.open("w", encoding="ascii") as file:
        file.write(text)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    part.replace(path)
    return len(text)


class _Growing:
    """The segment that is being written."""

    def __init__(self, path: Path, start_ms: int, *, discontinuity: bool, date: datetime | None) -> None:
        self.path = path
        self.start_ms = start_ms
        self.end_ms = start_ms
        self.discontinuity = discontinuity
        self.date = date
        self.size = 0
        self.has_video = False
        self.descriptor = os.open(
            path.with_name(path.name + PART), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644
        )


class HlsFolder:
    """Writes the files of one recording."""

    def __init__(self, path: Path, *, is_fmp4: bool, longest_ms: int) -> None:
        """
        Prepare; follow with `create` or `resume`.

        Args:
            path: of the playlist.
            is_fmp4: whether the segments are fragmented MP4, else MPEG-TS.
            longest_ms: what no segment may exceed; one that does is called as long as this.
        """
        self._path = path
        self._folder = folder_of(path)
        self._suffix = SEGMENT_SUFFIXES[0] if is_fmp4 else SEGMENT_SUFFIXES[1]
        self._version = VERSION_FMP4 if is_fmp4 else VERSION_TS
        self._longest_ms = longest_ms
        self._target_s = round_s(longest_ms)
        self._descriptor = -1
        self._segments: list[Segment] = []
        self._rendered: list[str] = []
        self._unsynced: list[Path] = []
        self._growing: _Growing | None = None
        self._map_uri: str | None = None
        self._next_segment = 0
        self._next_init = 1
        self._files_bytes = 0
        self._playlist_bytes = 0
        self.independent = True
        """Every segment so far begins with a key frame."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing yet that a reader could use."""
        return not self._segments and self._growing is None

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return self._files_bytes + self._playlist_bytes

    def create(self) -> None:
        """
        Create folder and playlist.

        Raises:
            FileExistsError: one of them is there; nothing was touched.
            OSError: they cannot be created.
        """
        if os.path.lexists(self._path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self._path))
        self._folder.mkdir()
        try:
            self.lock()
            self._write_playlist()
        except OSError:
            self.unlock()
            remove_own(self._folder, ())
            raise

    def lock(self) -> None:
        """Lock the folder, see `lock_folder`."""
        self._descriptor = lock_folder(self._folder)

    def exists(self) -> bool:
        """Whether an earlier process has left something."""
        return self._folder.is_dir()

    def resume(
        self, playlist: Playlist | None = None, next_segment: int = 0, next_init: int = 1, files_bytes: int = 0
    ) -> None:
        """
        Go on behind the segments of an earlier process, in the locked folder.

        Args:
            playlist: what there is; None for nothing.
            next_segment: number of the next segment's file.
            next_init: number of the next initialisation section's file.
            files_bytes: size of all files but the playlist.

        Raises:
            OSError: the playlist cannot be written.
        """
        if playlist is not None:
            for segment in playlist.segments:
                self._add(segment)
            self._target_s = max(self._target_s, playlist.target_duration_s)
            self.independent = playlist.independent_segments
            # A segment of MPEG-TS has none, and one of MP4 gets its own.
            self._map_uri = playlist.segments[-1].map_uri
        self._next_segment, self._next_init = next_segment, next_init
        self._files_bytes = files_bytes
        self._write_playlist()

    def add_init(self, data: bytes) -> None:
        """
        Write the initialisation section of the segments that follow.

        Raises:
            OSError: the disk did not take it.
        """
        name = init_name(self._next_init)
        part = self._folder / (name + PART)
        part.write_bytes(data)
        part.replace(self._folder / name)
        self._next_init += 1
        self._files_bytes += len(data)
        self._unsynced.append(self._folder / name)
        self._map_uri = f"{self._folder.name}/{name}"

    def begin(self, start_ms: int, *, discontinuity: bool, date: datetime | None) -> None:
        """
        Begin a segment.

        Args:
            start_ms: decoding time of its first frame.
            discontinuity: it does not continue the segment before it, if there is one.
            date: the wall clock at its start, where the playlist shall say so.

        Raises:
            OSError: it cannot be created.
        """
        path = self._folder / segment_name(self._next_segment, self._suffix)
        discontinuity = discontinuity and bool(self._segments)
        self._growing = _Growing(path, start_ms, discontinuity=discontinuity, date=date)
        self._next_segment += 1

    def append(self, piece: Piece) -> None:
        """
        Append to the segment.

        Args:
            piece: whole fragments or packets.

        Raises:
            OSError: the disk did not take it; nothing of it is there.
        """
        growing = self._growing
        assert growing is not None
        view = memoryview(piece.data)
        try:
            while view:
                view = view[os.write(growing.descriptor, view) :]
        except OSError:
            os.ftruncate(growing.descriptor, growing.size)
            raise
        growing.size += len(piece.data)
        growing.end_ms = max(growing.end_ms, piece.end_ms)
        self._files_bytes += len(piece.data)
        if piece.video_at_key is not None and not growing.has_video:
            growing.has_video = True
            self.independent &= piece.video_at_key

    def finish(self, next_start_ms: int | None = None) -> None:
        """
        Complete the segment, if there is one, and name it in the playlist.

        Args:
            next_start_ms: where the next one begins, if that continues it.

        Raises:
            OSError: the disk did not take it.
        """
        growing, self._growing = self._growing, None
        if growing is None:
            return
        os.close(growing.descriptor)
        part = growing.path.with_name(growing.path.name + PART)
        if not growing.size:
            part.unlink()
            return
        part.rename(growing.path)
        end_ms = growing.end_ms if next_start_ms is None else next_start_ms
        segment = Segment(
            uri=f"{self._folder.name}/{growing.path.name}",
            duration_ms=min(max(end_ms - growing.start_ms, 0), self._longest_ms),
            map_uri=self._map_uri,
            discontinuity=growing.discontinuity,
            program_date_time=growing.date,
        )
        self._add(segment)
        self._unsynced.append(growing.path)
        self._write_playlist()

    def require_present(self) -> None:
        """Raise FileNotFoundError when the folder was removed."""
        require_same(self._descriptor, self._folder)

    def complete(self) -> None:
        """
        End the playlist, with everything on the disk; what holds no segment is removed.

        Raises:
            OSError: the disk did not take it.
        """
        if not self._segments:
            self._remove()
            return
        self.require_present()
        for path in self._unsynced:
            _sync(path)
        self._unsynced.clear()
        playlist = completed(replace(self._head(), segments=tuple(self._segments)))
        self._playlist_bytes = replace_playlist(self._path, render(playlist), sync=True)
        os.fsync(self._descriptor)

    def unlock(self) -> None:
        """Let go of the folder, and of a segment that could not be finished."""
        if self._growing is not None:
            os.close(self._growing.descriptor)
            self._growing = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _add(self, segment: Segment) -> None:
        map_uri = self._segments[-1].map_uri if self._segments else None
        self._rendered.append(render_segment(segment, map_uri))
        self._segments.append(segment)

    def _head(self) -> Playlist:
        return Playlist(
            target_duration_s=self._target_s,
            version=self._version,
            playlist_type="EVENT",
            independent_segments=self.independent,
        )

    def _write_playlist(self) -> None:
        self._playlist_bytes = replace_playlist(self._path, render(self._head(), "".join(self._rendered)))

    def _remove(self) -> None:
        self._path.unlink(missing_ok=True)
        remove_own(self._folder, [init_name(number) for number in range(1, self._next_init)])
        self._files_bytes = self._playlist_bytes = 0


def completed(playlist: Playlist) -> Playlist:
    """Make a growing playlist a finished one, whose target duration is what it turned out to be."""
    longest_s = max((round_s(segment.duration_ms) for segment in playlist.segments), default=0)
    return Playlist(
        target_duration_s=max(longest_s, 1),
        segments=playlist.segments,
        version=playlist.version,
        playlist_type="VOD",
        independent_segments=playlist.independent_segments,
        ended=True,
    )


def remove_own(folder: Path, names: Sequence[str]) -> None:
    """Remove files of ours and then the folder, unless somebody else has put something there."""
    for name in (*names, PLAYLIST_PART):
        (folder / name).unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
