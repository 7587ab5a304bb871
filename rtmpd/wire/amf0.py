"""
AMF0, the notation of commands and metadata: bytes to values and back.

Decoding obeys one rule: any bytes give values or an AmfError, within the depth and the number of elements allowed.
What other readers take in different ways is refused, with these exceptions from real traffic: an object may end with
the body instead of its end marker (Envivio encoders), the count of an ECMA array is ignored, bad UTF-8 is replaced.

AMF0 specification, sections 2.1 - 2.18 and 3.1 (the switch to AMF3).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rtmpd.errors import UsageError
from rtmpd.wire import amf3
from rtmpd.wire.amf import (
    DEPTH_CEILING,
    MAX_DEPTH,
    MAX_ELEMENTS,
    UNDEFINED,
    AmfReader,
    AmfValue,
    Date,
    EcmaArray,
    Encodable,
    TypedObject,
    Undefined,
    Xml,
)

__all__ = [
    "UNDEFINED",
    "AmfValue",
    "Date",
    "EcmaArray",
    "Encodable",
    "TypedObject",
    "Undefined",
    "Xml",
    "decode",
    "decode_prefix",
    "encode",
]

_NUMBER = 0x00
_BOOLEAN = 0x01
_STRING = 0x02
_OBJECT = 0x03
_NULL = 0x05
_UNDEFINED = 0x06
_REFERENCE = 0x07
_ECMA_ARRAY = 0x08
_OBJECT_END = 0x09
_STRICT_ARRAY = 0x0A
_DATE = 0x0B
_LONG_STRING = 0x0C
_UNSUPPORTED = 0x0D
_XML = 0x0F
_TYPED_OBJECT = 0x10
_AMF3 = 0x11

_MARKED_F64 = struct.Struct(">Bd")
_MARKED_U16 = struct.Struct(">BH")
_MARKED_U32 = struct.Struct(">BI")
_MARKED_DATE = struct.Struct(">Bdh")
_U16 = struct.Struct(">H")

_Properties = TypeVar("_Properties", bound=dict[str, AmfValue])


def decode(data: bytes, *, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS) -> list[AmfValue]:
    """
    Decode all values of a body.

    Args:
        data: the body.
        max_depth: levels of objects and arrays, at most `amf.DEPTH_CEILING`.
        max_elements: values in all, at every level together.

    Raises:
        AmfError: the bytes are no AMF0, or exceed one of the two limits.
    """
    return _Decoder(AmfReader(data, max_depth=max_depth, max_elements=max_elements)).values(None)


def decode_prefix(
    data: bytes, count: int, *, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS
) -> tuple[list[AmfValue], int]:
    """
    Decode the first values of a body and leave the rest unread.

    Args:
        data: the body.
        count: values wanted; there may be fewer.
        max_depth: as for `decode`.
        max_elements: as for `decode`.

    Returns:
        The values, and the offset in bytes at which they end.

    Raises:
        AmfError: as `decode`, as far as these values go.
    """
    reader = AmfReader(data, max_depth=max_depth, max_elements=max_elements)
    return _Decoder(reader).values(count), reader.position


def encode(*values: Encodable) -> bytes:
    """
    Encode values one after the other: a dict as Object, an EcmaArray as ECMA array, a list or tuple as strict array.

    Every value that decoding can return is accepted, bytes as an AMF3 ByteArray behind the switch marker.

    Raises:
        UsageError: a value AMF0 cannot hold: another type, a key of more than 65 535 bytes, or too deep a nesting.
    """
    out = bytearray()
    for value in values:
        _encode_value(out, value, 0)
    return bytes(out)


class _Decoder:
    """The decoding of one body: its reader and what references may point at."""

    __slots__ = ("_complex", "_reader")

    def __init__(self, reader: AmfReader) -> None:
        self._reader = reader
        self._complex: list[AmfValue] = []  # objects and arrays in the order of their starts; None while still open

    def values(self, count: int | None) -> list[AmfValue]:
        found: list[AmfValue] = []
        while len(found) != count and not self._reader.at_end:
            found.append(self.value(0))
        return found

    def value(self, depth: int) -> AmfValue:
        marker = self._reader.unsigned(1)
        read = _READERS.get(marker)
        if read is None:
            raise self._reader.fault(f"has the marker {marker:#04x} where a value is due")
        self._reader.spend(1)
        return read(self, depth)

    def number(self, _depth: int) -> AmfValue:
        return self._reader.number()

    def boolean(self, _depth: int) -> AmfValue:
        return self._reader.unsigned(1) != 0

    def string(self, _depth: int) -> AmfValue:
        return self._reader.text(self._reader.unsigned(2))

    def long_string(self, _depth: int) -> AmfValue:
        return self._reader.text(self._reader.unsigned(4))

    def null(self, _depth: int) -> AmfValue:
        return None

    def undefined(self, _depth: int) -> AmfValue:
        return UNDEFINED

    def reference(self, depth: int) -> AmfValue:
        index = self._reader.unsigned(2)
        target = self._complex[index] if index < len(self._complex) else None
        if target is None:
            raise self._reader.fault(f"refers to object {index}, which is not complete before it")
        return self._reader.repeat(target, depth)

    def object(self, depth: int) -> AmfValue:
        return self._properties({}, depth)

    def ecma_array(self, depth: int) -> AmfValue:
        self._reader.unsigned(4)  # a count that encoders get wrong; the end marker counts
        return self._properties(EcmaArray(), depth)

    def typed_object(self, depth: int) -> AmfValue:
        return self._properties(TypedObject(self._name(self._reader.unsigned(2))), depth)

    def strict_array(self, depth: int) -> AmfValue:
        inner = self._reader.descend(depth)
        count = self._reader.unsigned(4)
        index = self._open()
        # Grown value by value: the count is the peer's word, the values are its bytes.
        elements: list[AmfValue] = []
        for _ in range(count):
            elements.append(self.value(inner))  # noqa: PERF401 - a comprehension would hide the reason above
        self._complex[index] = elements
        return elements

    def date(self, _depth: int) -> AmfValue:
        unix_ms = self._reader.number()
        return Date(unix_ms, int.from_bytes(self._reader.take(2), "big", signed=True))

    def xml(self, _depth: int) -> AmfValue:
        return Xml(self._reader.text(self._reader.unsigned(4)))

    def amf3(self, depth: int) -> AmfValue:
        return amf3.decode_value(self._reader, depth)

    def _name(self, size: int) -> str:
        return self._reader.name(self._reader.text(size))

    def _open(self) -> int:
        self._complex.append(None)
        return len(self._complex) - 1

    def _properties(self, properties: _Properties, depth: int) -> _Properties:
        reader = self._reader
        inner = reader.descend(depth)
        index = self._open()
        while not reader.at_end:  # Interop: Envivio encoders end the body without the end marker
            size = reader.unsigned(2)
            if not size and reader.skip(_OBJECT_END):
                break
            name = self._name(size)
            properties[name] = self.value(inner)
        self._complex[index] = properties
        return properties


# Missing on purpose: MovieClip (0x04) and RecordSet (0x0E), which section 2 reserves, and the end marker (0x09).
_READERS: Mapping[int, Callable[[_Decoder, int], AmfValue]] = {
    _NUMBER: _Decoder.number,
    _BOOLEAN: _Decoder.boolean,
    _STRING: _Decoder.string,
    _OBJECT: _Decoder.object,
    _NULL: _Decoder.null,
    _UNDEFINED: _Decoder.undefined,
    _REFERENCE: _Decoder.reference,
    _ECMA_ARRAY: _Decoder.ecma_array,
    _STRICT_ARRAY: _Decoder.strict_array,
    _DATE: _Decoder.date,
    _LONG_STRING: _Decoder.long_string,
    _UNSUPPORTED: _Decoder.undefined,
    _XML: _Decoder.xml,
    _TYPED_OBJECT: _Decoder.typed_object,
    _AMF3: _Decoder.amf3,
}


def _encode_value(out: bytearray, value: Encodable, depth: int) -> None:
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            write(out, value, depth)
            return
    raise UsageError(f"AMF0 has no form for {type(value).__name__}")


def _encode_null(out: bytearray, _value: None, _depth: int) -> None:
    out.append(_NULL)


def _encode_undefined(out: bytearray, _value: Undefined, _depth: int) -> None:
    out.append(_UNDEFINED)


def _encode_boolean(out: bytearray, value: bool, _depth: int) -> None:  # noqa: FBT001 - called through the table
    out += bytes((_BOOLEAN, value))


def _encode_number(out: bytearray, value: float, _depth: int) -> None:
    out += _MARKED_F64.pack(_NUMBER, value)


def _encode_string(out: bytearray, value: str, _depth: int) -> None:
    text = value.encode("utf-8", "replace")
    out += _MARKED_U16.pack(_STRING, len(text)) if len(text) <= 0xFFFF else _MARKED_U32.pack(_LONG_STRING, len(text))
    out += text


def _encode_bytes(out: bytearray, value: bytes, _depth: int) -> None:
    out.append(_AMF3)
    out += amf3.encode_byte_array(value)


def _encode_date(out: bytearray, value: Date, _depth: int) -> None:
    out += _MARKED_DATE.pack(_DATE, value.unix_ms, value.zone_minutes)


def _encode_xml(out: bytearray, value: Xml, _depth: int) -> None:
    text = value.text.encode("utf-8", "replace")
    out += _MARKED_U32.pack(_XML, len(text))
    out += text


def _encode_object(out: bytearray, value: Mapping[str, Encodable], depth: int) -> None:
    out.append(_OBJECT)
    _encode_properties(out, value, depth)


def _encode_ecma_array(out: bytearray, value: EcmaArray, depth: int) -> None:
    out += _MARKED_U32.pack(_ECMA_ARRAY, len(value))
    _encode_properties(out, value, depth)


def _encode_typed_object(out: bytearray, value: TypedObject, depth: int) -> None:
    out.append(_TYPED_OBJECT)
    _encode_name(out, value.class_name)
    _encode_properties(out, value, depth)


def _encode_strict_array(out: bytearray, value: Sequence[Encodable], depth: int) -> None:
    out += _MARKED_U32.pack(_STRICT_ARRAY, len(value))
    for element in value:
        _encode_value(out, element, _descend(depth))


def _encode_properties(out: bytearray, properties: Mapping[str, Encodable], depth: int) -> None:
    for name, value in properties.items():
        _encode_name(out, name)
        _encode_value(out, value, _descend(depth))
    out += bytes((0, 0, _OBJECT_END))


def _encode_name(out: bytearray, name: str) -> None:
    text = name.encode("utf-8", "replace")
    if len(text) > 0xFFFF:
        raise UsageError(f"AMF0 has no form for a name of {len(text)} bytes")
    out += _U16.pack(len(text))
    out += text


def _descend(depth: int) -> int:
    if depth >= DEPTH_CEILING:
        raise UsageError(f"a value for AMF0 nests deeper than {DEPTH_CEILING} levels")
    return depth + 1


# The first kind that fits writes the value, hence bool before float and the special dicts before Mapping.
_WRITERS: Sequence[tuple[type | tuple[type, ...], Callable[[bytearray, Any, int], None]]] = (
    (str, _encode_string),
    (bool, _encode_boolean),
    ((float, int), _encode_number),
    (type(None), _encode_null),
    (EcmaArray, _encode_ecma_array),
    (TypedObject, _encode_typed_object),
    (Mapping, _encode_object),
    ((list, tuple), _encode_strict_array),
    (Undefined, _encode_undefined),
    (Date, _encode_date),
    (Xml, _encode_xml),
    (bytes, _encode_bytes),
)
