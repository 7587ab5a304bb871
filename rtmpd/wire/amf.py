"""
What AMF0 and AMF3 have in common: the Python values, and the reader that no body can make costly.

Numbers are floats in both, whatever their form on the wire. Every value that a decoder returns is a tree of bounded
depth and size that `amf0.encode` accepts. References, which could make cycles, or a gigabyte out of a kilobyte, cost
what their target would cost if it stood there again, and may not point at a value that encloses them.

AMF0 specification sections 2.1 - 2.18, AMF3 specification section 3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from rtmpd.errors import AmfError, UsageError

MAX_DEPTH = 16
"""Levels of objects and arrays; ffmpeg and GStreamer read no more."""
MAX_ELEMENTS = 65_536
"""Values in one body: onMetaData of a recording holds a number or two for each of its key frames."""
MAX_NAME_CHARACTERS = 0xFFFF // 4
"""Of a key or class name: with four bytes for each it still fits AMF0's 16-bit length when it is written back."""
DEPTH_CEILING = 64
"""No caller may allow more: decoding and encoding recurse, and must never meet Python's own limit."""

_TEXT_BYTES_PER_ELEMENT = 16  # what a referenced string costs, so that 64 Ki elements bound it at 1 MiB
_F64 = struct.Struct(">d")


class Undefined(Enum):
    """ActionScript's undefined, which is not null; an Enum, so that `value is UNDEFINED` narrows the type."""

    UNDEFINED = "undefined"

    def __bool__(self) -> bool:
        """Undefined is false, as None is."""
        return False


UNDEFINED = Undefined.UNDEFINED


@dataclass(frozen=True, slots=True)
class Date:
    """A point in time."""

    unix_ms: float
    """Milliseconds since 1970-01-01 UTC; a peer may send NaN."""
    zone_minutes: int = 0
    """AMF0 only, and to be ignored there too (section 2.13)."""


@dataclass(frozen=True, slots=True)
class Xml:
    """An XML document, as text that nobody has parsed."""

    text: str


class EcmaArray(dict[str, "AmfValue"]):
    """An ECMA array: a dict that is written back as one, because ffmpeg reads onMetaData only from this form."""

    __slots__ = ()


class TypedObject(dict[str, "AmfValue"]):
    """An object with a class name."""

    __slots__ = ("class_name",)

    def __init__(self, class_name: str, properties: Mapping[str, AmfValue] | None = None) -> None:
        """
        Make an object of a class.

        Args:
            class_name: as registered by the peer; means nothing to us.
            properties: none unless given.
        """
        super().__init__(properties or {})
        self.class_name = class_name


AmfValue: TypeAlias = (
    "bool | float | str | bytes | list[AmfValue] | dict[str, AmfValue] | Undefined | Date | Xml | None"
)
"""What decoding returns; EcmaArray and TypedObject are dicts, bytes is AMF3's ByteArray."""

Encodable: TypeAlias = (
    "bool | float | str | bytes | Sequence[Encodable] | Mapping[str, Encodable] | Undefined | Date | Xml | None"
)
"""What encoding accepts: every AmfValue, and the read-only kinds of list and dict."""


class AmfReader:
    """One body, the place up to which it was read, and what it may still cost."""

    __slots__ = ("_data", "_elements_left", "_max_depth", "_max_elements", "position")

    def __init__(self, data: bytes, *, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS) -> None:
        """
        Start at the front of a body.

        Args:
            data: the body.
            max_depth: levels of objects and arrays, at most DEPTH_CEILING.
            max_elements: values in all, keys not counted.

        Raises:
            UsageError: `max_depth` is above DEPTH_CEILING.
        """
        if max_depth > DEPTH_CEILING:
            raise UsageError(f"an AMF depth of {max_depth} is above {DEPTH_CEILING}")
        self._data = data
        self._max_depth = max_depth
        self._max_elements = max_elements
        self._elements_left = max_elements
        self.position = 0
        """Bytes read so far."""

    @property
    def at_end(self) -> bool:
        """Whether the whole body has been read."""
        return self.position >= len(self._data)

    def take(self, size: int) -> bytes:
        """
        Read `size` bytes.

        Raises:
            AmfError: the body ends before; so does every other read.
        """
        start = self.position
        end = start + size
        if end > len(self._data):
            raise self.fault(f"needs {size} bytes where {len(self._data) - start} are left")
        self.position = end
        return self._data[start:end]

    def unsigned(self, size: int) -> int:
        """Read a big-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def number(self) -> float:
        """Read a big-endian double."""
        value: float = _F64.unpack(self.take(8))[0]
        return value

    def text(self, size: int) -> str:
        """Read `size` bytes of UTF-8; what is not UTF-8 becomes U+FFFD."""
        return self.take(size).decode("utf-8", "replace")

    def name(self, text: str) -> str:
        """
        Pass on a key or class name.

        Raises:
            AmfError: it is longer than MAX_NAME_CHARACTERS.
        """
        if len(text) > MAX_NAME_CHARACTERS:
            raise self.fault(f"has a name of {len(text)} characters, more than {MAX_NAME_CHARACTERS}")
        return text

    def skip(self, expected: int) -> bool:
        """Read one byte if it is `expected`, else nothing; say whether it was."""
        if self.at_end or self._data[self.position] != expected:
            return False
        self.position += 1
        return True

    def spend(self, elements: int) -> None:
        """
        Count values before they are made.

        Raises:
            AmfError: the body has more than `max_elements`.
        """
        self._elements_left -= elements
        if self._elements_left < 0:
            raise self.fault(f"has more than {self._max_elements} elements")

    def spend_text(self, text: str | bytes) -> None:
        """Count text that a reference repeats; text that stands in the body is paid for by its length there."""
        self.spend(len(text) // _TEXT_BYTES_PER_ELEMENT)

    def descend(self, depth: int) -> int:
        """
        Enter an object or array.

        Args:
            depth: objects and arrays around it.

        Returns:
            The depth of its contents.

        Raises:
            AmfError: it is nested deeper than `max_depth`.
        """
        if depth >= self._max_depth:
            raise self.fault(f"nests deeper than {self._max_depth} levels")
        return depth + 1

    def repeat(self, value: AmfValue, depth: int) -> AmfValue:
        """
        Pass on a finished value that the body refers to, at the price of its contents.

        Args:
            value: what is referred to; the reference itself has been counted.
            depth: objects and arrays around the reference.

        Raises:
            AmfError: with the contents the body is too large or too deep.
        """
        match value:
            case str() | bytes():
                self.spend_text(value)
            case Xml(text):
                self.spend_text(text)
            case list():
                self._repeat_all(value, depth)
            case dict():
                for key in value:
                    self.spend_text(key)
                self._repeat_all(list(value.values()), depth)
        return value

    def _repeat_all(self, values: Sequence[AmfValue], depth: int) -> None:
        inner = self.descend(depth)
        self.spend(len(values))
        for value in values:
            self.repeat(value, inner)

    def fault(self, what: str) -> AmfError:
        """Make the error for a fault at this place."""
        return AmfError(f"AMF {what}, at byte {self.position} of {len(self._data)}")
