"""
Recorded files as they are served: which file a path means, and whose stream it is.

Rule: only what the index knows is served. Of HLS it knows the playlist; the files in the playlist's folder are served
with it, but only under the names that the muxer gives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import NamedTuple

from rtmpd.control.answered import answered
from rtmpd.control.rooms import Named
from rtmpd.errors import NotPossible
from rtmpd.store.listing import Entry
from rtmpd.store.recordings import RecordingIndex

PLAYLIST_SUFFIX = ".m3u8"
CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".flv": "video/x-flv",
        ".mp4": "video/mp4",
        ".m4a": "audio/mp4",
        ".mp3": "audio/mpeg",
        PLAYLIST_SUFFIX: "application/vnd.apple.mpegurl",
        ".m4s": "video/iso.segment",
        ".ts": "video/mp2t",
    }
)
"""By the suffix of a file's name."""
_OF_HLS = re.compile(r"[0-9]{5,9}\.(m4s|ts)|init-[0-9]{3,9}\.mp4")
"""Names in the folder of a playlist, without those of what is not whole yet."""
_SERVED = frozenset({"open", "closed"})


class RecordedFile(NamedTuple):
    """A file that may be served to who may play its stream."""

    file_id: str
    """Of the row that it belongs to."""
    stream: Named
    file_format: str
    """Of the row, "hls" for the parts of one, too."""
    path: str
    """Relative to the recordings directory, with "/"."""
    is_final: bool
    """It does not change any more: it is closed, or part of an HLS recording, which are whole before they have their names."""

    @property
    def content_type(self) -> str:
        """What HTTP calls it."""
        return CONTENT_TYPES.get(PurePosixPath(self.path).suffix, "application/octet-stream")

    @property
    def is_playlist(self) -> bool:
        """Whether it names other files, which have to be asked for in turn."""
        return self.path.endswith(PLAYLIST_SUFFIX)


class RecordedFiles:
    """Looks files up for those who serve them."""

    def __init__(self, index: RecordingIndex) -> None:
        """
        Prepare.

        Args:
            index: knows the files.
        """
        self._index = index

    async def find(self, file_id: str) -> RecordedFile:
        """
        Find a file by its id.

        Args:
            file_id: any text.

        Raises:
            NotPossible: "unknown": there is no such file; "unavailable": the index does not answer.
        """
        entry = await answered(self._index.find(file_id))
        return _served(entry, None if entry is None else entry.file.path)

    async def find_path(self, path: str) -> RecordedFile:
        """
        Find a file by its path, or a part of an HLS recording.

        Args:
            path: relative to the recordings directory, with "/"; any text that is Unicode.

        Raises:
            NotPossible: "unknown": there is no such file; "unavailable": the index does not answer.
        """
        folder, _, name = path.rpartition("/")
        if folder and _OF_HLS.fullmatch(name):
            # A template may call files of other formats so: then no playlist has the folder.
            entry = await answered(self._index.find_path(f"{folder}{PLAYLIST_SUFFIX}"))
            if entry is not None and entry.file.file_format == "hls":
                return _served(entry, path)._replace(is_final=True)
        return _served(await answered(self._index.find_path(path)), path)


def _served(entry: Entry | None, path: str | None) -> RecordedFile:
    if entry is None or path is None or entry.file.state not in _SERVED:
        raise NotPossible("unknown", "there is no such file")
    return RecordedFile(
        entry.file.file_id,
        Named(entry.recording.app, entry.recording.stream),
        entry.file.file_format,
        path,
        entry.file.state == "closed",
    )
