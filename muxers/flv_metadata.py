"""
The onMetaData tag of a recorded FLV file: the publisher's values, and what is only known at the end.

The tag is written first, with room for what is still missing, and overwritten in place when the file is closed: its
length never changes, so nothing moves and a crash at any moment leaves a file. The room is an array of short strings,
as ffmpeg gives up a metadata tag at the first string of 1,024 bytes or more.
"""

from __future__ import annotations

from collections.abc import Mapping

from rtmpd.errors import AmfError
from rtmpd.wire import amf0
from rtmpd.wire.amf import AmfValue, EcmaArray

ON_METADATA = amf0.encode("onMetaData")
"""How the body of a metadata tag begins."""
INDEX_ENTRIES = 1_800
"""Key frames of a 30-minute file with one a second; 18 bytes of the file each."""

_ENTRY_BYTES = 18
_SPARE_BYTES = 512
"""For the values that are added when the file is closed, besides the index."""
_PUBLISHED_BYTES = 64 * 1024
_STRING_BYTES = 1_000
_SPACER = "spacer"
_INDEX = "keyframes"

_OWN = frozenset(
    {_SPACER, _INDEX, "duration", "filesize", "lasttimestamp", "lastkeyframetimestamp", "lastkeyframelocation"}
    | {"hasvideo", "hasaudio", "haskeyframes", "hasmetadata", "canseektoend", "datasize", "videosize", "audiosize"},
)
"""Keys, in lower case, that speak of a file: a publisher's are those of another file."""
_OF_KIND = {
    "video": frozenset({"videocodecid", "videodatarate", "framerate", "width", "height"}),
    "audio": frozenset({"audiocodecid", "audiodatarate", "audiosamplerate", "audiosamplesize", "stereo"}),
}


class KeyFrameIndex:
    """Where the key frames are; when it is full, every second one is dropped."""

    def __init__(self, room: int = INDEX_ENTRIES) -> None:
        """
        Start without key frames.

        Args:
            room: the most entries, at least 2.
        """
        self._room = max(2, room)
        self._stride = 1
        self._seen = 0
        self.positions: list[int] = []
        """Offsets of tags in the file, in bytes."""
        self.times_ms: list[int] = []

    def add_first(self, position: int) -> None:
        """
        Enter the first video tag, with time 0.

        By a convention from flvtool2 it stands before the key frames: flv.js skips the first entry.
        """
        self.positions.append(position)
        self.times_ms.append(0)

    def add(self, position: int, time_ms: int) -> None:
        """Enter a key frame."""
        self._seen += 1
        if (self._seen - 1) % self._stride:
            return
        if len(self.positions) >= self._room:
            # Entry 0 is the first video tag, entry 1 the first key frame: both stay.
            del self.positions[2::2], self.times_ms[2::2]
            self._stride *= 2
            if (self._seen - 1) % self._stride:
                return
        self.positions.append(position)
        self.times_ms.append(time_ms)

    def as_metadata(self) -> dict[str, AmfValue]:
        """Make the value of "keyframes": positions in bytes, times in seconds."""
        positions: list[AmfValue] = [float(position) for position in self.positions]
        times: list[AmfValue] = [time_ms / 1000 for time_ms in self.times_ms]
        return {"filepositions": positions, "times": times}


class FileMetadata:
    """The body of the metadata tag, always of one length."""

    def __init__(self, published: Mapping[str, AmfValue], index_entries: int = INDEX_ENTRIES) -> None:
        """
        Decide how much room the tag takes.

        Args:
            published: the publisher's values; those that speak of another file, and giant ones, are left out.
            index_entries: key frames that the index shall have room for.
        """
        self._published = _carried(published)
        entries: list[AmfValue] = [0.0] * index_entries
        full: dict[str, AmfValue] = {"filepositions": entries, "times": entries}
        self._size = len(self._encode({_INDEX: full}, [])) + _SPARE_BYTES

    @classmethod
    def found(cls, body: bytes) -> FileMetadata | None:
        """
        Take up a tag that another process wrote and perhaps did not complete.

        Args:
            body: of the file's first tag.

        Returns:
            None for a tag that was not made by `initial` or `final`, and has no room.
        """
        values = read_metadata(body)
        if not body.startswith(ON_METADATA) or _SPACER not in values:
            return None
        metadata = cls(values, 0)
        metadata._size = len(body)
        return metadata

    @property
    def index_room(self) -> int:
        """The key frames that there is room for."""
        empty: dict[str, AmfValue] = {"filepositions": [], "times": []}
        return (self._size - _SPARE_BYTES - len(self._encode({_INDEX: empty}, []))) // _ENTRY_BYTES

    def initial(self) -> bytes:
        """Make the body of a file that is being written: a reader finds no duration and looks for itself."""
        return self._padded({})

    def final(self, values: Mapping[str, AmfValue], index: KeyFrameIndex, missing_kinds: frozenset[str]) -> bytes:
        """
        Make the body of a complete file.

        Args:
            values: the file's own: duration, filesize, ...
            index: its key frames; left out when there are none.
            missing_kinds: "audio" or "video" when no such frame came: a reader would wait for what is announced.

        Returns:
            As many bytes as `initial`.
        """
        for kind in missing_kinds:
            for key in _OF_KIND[kind]:
                self._published.pop(key, None)
        indexed: dict[str, AmfValue] = {_INDEX: index.as_metadata()} if len(index.positions) > 1 else {}
        return self._padded({**values, **indexed})

    def _padded(self, values: Mapping[str, AmfValue]) -> bytes:
        missing = self._size - len(self._encode(values, []))
        return self._encode(values, _filler(missing))

    def _encode(self, values: Mapping[str, AmfValue], spacer: list[AmfValue]) -> bytes:
        unknown: dict[str, AmfValue] = {"duration": 0.0, "filesize": 0.0}
        return amf0.encode("onMetaData", EcmaArray({**unknown, **self._published, **values, _SPACER: spacer}))


def read_metadata(body: bytes) -> dict[str, AmfValue]:
    """
    Read the values of a metadata tag.

    Args:
        body: begins with ON_METADATA.

    Returns:
        The values; none when they cannot be read.
    """
    try:
        values, _ = amf0.decode_prefix(body, 2)
    except AmfError:
        return {}
    return dict(values[1]) if len(values) > 1 and isinstance(values[1], dict) else {}


def without_file_values(body: bytes) -> bytes:
    """
    Take out of a metadata tag in mid-file what would speak of this file and be wrong.

    Args:
        body: begins with ON_METADATA.

    Returns:
        The same bytes where there is nothing to take out, or nothing readable.
    """
    values = read_metadata(body)
    kept = {key: value for key, value in values.items() if key.lower() not in _OWN}
    return body if len(kept) == len(values) else amf0.encode("onMetaData", EcmaArray(kept))


def _carried(published: Mapping[str, AmfValue]) -> EcmaArray:
    carried = EcmaArray()
    left = _PUBLISHED_BYTES
    for key, value in published.items():
        size = len(key.encode("utf-8", "replace")) + 2 + len(amf0.encode(value))
        if key.lower() in _OWN or size > left or (isinstance(value, str) and size > _STRING_BYTES):
            continue
        carried[key] = value
        left -= size
    return carried


def _filler(size: int) -> list[AmfValue]:
    """Elements that take up `size` bytes in a strict array."""
    overhead = 3
    count, rest = divmod(size, overhead + _STRING_BYTES)
    filler: list[AmfValue] = [" " * _STRING_BYTES] * count
    if rest >= overhead:
        return [*filler, " " * (rest - overhead)]
    return filler + [None] * rest
