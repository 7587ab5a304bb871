"""
AMF3, as far as it comes in: the decoder of a value behind AMF0's switch marker.

The same rule as for AMF0: any bytes give values or an AmfError, within one budget that both share. The reference
tables begin anew with every value that is switched, as all senders write them.

AMF3 specification, sections 1.3 (U29), 2.2 (references) and 3.1 - 3.16 (the values).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from rtmpd.errors import UsageError
from rtmpd.wire.amf import UNDEFINED, AmfReader, AmfValue, Date, EcmaArray, TypedObject, Xml

_BYTE_ARRAY = 0x0C
_U29_SIGN = 1 << 28
_MAX_LENGTH = (1 << 28) - 1  # a U29 less the bit that tells lengths from references

_Complex = TypeVar("_Complex", bound=AmfValue)


def decode_value(reader: AmfReader, depth: int) -> AmfValue:
    """
    Decode one value.

    Args:
        reader: stands behind AMF0's switch marker; afterwards behind the value.
        depth: AMF0 objects and arrays around the value.

    Raises:
        AmfError: the bytes are no AMF3, or exceed the reader's budget.
    """
    return _Decoder(reader).value(depth)


def encode_byte_array(data: bytes) -> bytes:
    """
    Encode a ByteArray, marker included: the one value that AMF0 has no form for.

    Raises:
        UsageError: it is longer than 2**28 - 1 bytes.
    """
    if len(data) > _MAX_LENGTH:
        raise UsageError(f"AMF3 has no form for {len(data)} bytes")
    return bytes((_BYTE_ARRAY,)) + _encode_u29(len(data) << 1 | 1) + data


def _encode_u29(value: int) -> bytes:
    if value < 1 << 21:
        groups = [value >> shift & 0x7F for shift in (14, 7, 0) if value >> shift or not shift]
        return bytes((*(group | 0x80 for group in groups[:-1]), groups[-1]))
    return bytes((value >> 22 | 0x80, value >> 15 & 0x7F | 0x80, value >> 8 & 0x7F | 0x80, value & 0xFF))


class _Traits(NamedTuple):
    class_name: str
    names: list[str]
    dynamic: bool


class _Decoder:
    """The decoding of one switched value: the reader and the three reference tables of section 2.2."""

    __slots__ = ("_complex", "_reader", "_strings", "_traits")

    def __init__(self, reader: AmfReader) -> None:
        self._reader = reader
        self._strings: list[str] = []
        self._complex: list[AmfValue] = []  # None while still open
        self._traits: list[_Traits] = []

    def value(self, depth: int) -> AmfValue:
        marker = self._reader.unsigned(1)
        if marker >= len(_READERS):
            raise self._reader.fault(f"has the AMF3 marker {marker:#04x}")
        self._reader.spend(1)
        return _READERS[marker](self, depth)

    def undefined(self, _depth: int) -> AmfValue:
        return UNDEFINED

    def null(self, _depth: int) -> AmfValue:
        return None

    def false(self, _depth: int) -> AmfValue:
        return False

    def true(self, _depth: int) -> AmfValue:
        return True

    def integer(self, _depth: int) -> AmfValue:
        value = self._u29()
        return float(value - 2 * _U29_SIGN if value & _U29_SIGN else value)

    def double(self, _depth: int) -> AmfValue:
        return self._reader.number()

    def string(self, _depth: int) -> AmfValue:
        return self._text()

    def xml(self, depth: int) -> AmfValue:
        return self._complex_value(depth, lambda size: Xml(self._reader.text(size)))

    def date(self, depth: int) -> AmfValue:
        return self._complex_value(depth, lambda _: Date(self._reader.number()))

    def byte_array(self, depth: int) -> AmfValue:
        return self._complex_value(depth, self._reader.take)

    def array(self, depth: int) -> AmfValue:
        return self._complex_value(depth, lambda count: self._array(count, self._reader.descend(depth)))

    def object(self, depth: int) -> AmfValue:
        return self._complex_value(depth, lambda header: self._object(header, self._reader.descend(depth)))

    def vector_int(self, depth: int) -> AmfValue:
        return self._complex_value(depth, lambda count: self._number_vector(count, depth, "i"))

    def vector_uint(self, depth: int) -> AmfValue:
        return self._complex_value(depth, lambda count: self._number_vector(count, depth, "I"))

    def vector_double(self, depth: int) -> AmfValue:
        return self._complex_value(depth, lambda count: self._number_vector(count, depth, "d"))

    def vector_object(self, depth: int) -> AmfValue:
        return self._complex_value(depth, lambda count: self._object_vector(count, self._reader.descend(depth)))

    def dictionary(self, depth: int) -> AmfValue:
        return self._complex_value(depth, lambda count: self._dictionary(count, self._reader.descend(depth)))

    def _u29(self) -> int:
        value = 0
        for _ in range(3):
            byte = self._reader.unsigned(1)
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        return value << 8 | self._reader.unsigned(1)

    def _text(self) -> str:
        header = self._u29()
        if header & 1:
            text = self._reader.text(header >> 1)
            if text:  # the empty string never gets an index
                self._strings.append(text)
            return text
        index = header >> 1
        if index >= len(self._strings):
            raise self._reader.fault(f"refers to string {index} of {len(self._strings)}")
        text = self._strings[index]
        self._reader.spend_text(text)
        return text

    def _name(self) -> str:
        return self._reader.name(self._text())

    def _complex_value(self, depth: int, read: Callable[[int], _Complex]) -> AmfValue:
        """Read a value that others may refer to: its header is an index, or says with 28 bits how `read` goes on."""
        header = self._u29()
        index = header >> 1
        if not header & 1:
            target = self._complex[index] if index < len(self._complex) else None
            if target is None:
                raise self._reader.fault(f"refers to AMF3 object {index}, which is not complete before it")
            return self._reader.repeat(target, depth)
        slot = len(self._complex)
        self._complex.append(None)
        value = read(index)
        self._complex[slot] = value
        return value

    def _array(self, count: int, inner: int) -> list[AmfValue] | EcmaArray:
        properties = EcmaArray()
        self._dynamic_properties(properties, inner)
        # Grown value by value: the count is the peer's word, the values are its bytes.
        dense: list[AmfValue] = []
        for _ in range(count):
            dense.append(self.value(inner))  # noqa: PERF401 - a comprehension would hide the reason above
        if not properties:
            return dense
        properties.update((str(index), value) for index, value in enumerate(dense))
        return properties

    def _object(self, header: int, inner: int) -> dict[str, AmfValue]:
        traits = self._read_traits(header)
        properties: dict[str, AmfValue] = TypedObject(traits.class_name) if traits.class_name else {}
        for name in traits.names:
            properties[name] = self.value(inner)
        if traits.dynamic:
            self._dynamic_properties(properties, inner)
        return properties

    def _dynamic_properties(self, properties: dict[str, AmfValue], inner: int) -> None:
        while name := self._name():
            properties[name] = self.value(inner)

    def _read_traits(self, header: int) -> _Traits:
        """Read what section 3.12 calls traits; `header` is U29O without its lowest bit."""
        if not header & 1:
            return self._known_traits(header >> 1)
        if header & 2:
            raise self._reader.fault("holds an externalizable object, which only its class could read")
        count = header >> 3
        self._reader.spend(count)  # names cost as values do: one byte each may refer to a name
        traits = _Traits(self._name(), [self._name() for _ in range(count)], dynamic=bool(header & 4))
        self._traits.append(traits)
        return traits

    def _known_traits(self, index: int) -> _Traits:
        if index >= len(self._traits):
            raise self._reader.fault(f"refers to traits {index} of {len(self._traits)}")
        traits = self._traits[index]
        self._reader.spend_text(traits.class_name)
        for name in traits.names:
            self._reader.spend_text(name)
        return traits

    def _number_vector(self, count: int, depth: int, form: str) -> list[AmfValue]:
        self._reader.descend(depth)
        self._reader.spend(count)
        self._reader.take(1)  # whether its length is fixed
        numbers = struct.Struct(f">{count}{form}")
        return [float(number) for number in numbers.unpack(self._reader.take(numbers.size))]

    def _object_vector(self, count: int, inner: int) -> list[AmfValue]:
        self._reader.take(1)  # whether its length is fixed
        self._name()  # the class of the elements, which say it themselves
        elements: list[AmfValue] = []
        for _ in range(count):
            elements.append(self.value(inner))  # noqa: PERF401 - grown value by value, as in _array
        return elements

    def _dictionary(self, count: int, inner: int) -> list[AmfValue]:
        """Read a Dictionary as a list of [key, value]: its keys may be anything."""
        self._reader.take(1)  # whether its keys are weak
        innermost = self._reader.descend(inner)
        pairs: list[AmfValue] = []
        for _ in range(count):
            self._reader.spend(1)
            pairs.append([self.value(innermost), self.value(innermost)])
        return pairs


# Indexed by the marker, 0x00 - 0x11.
_READERS: Sequence[Callable[[_Decoder, int], AmfValue]] = (
    _Decoder.undefined,
    _Decoder.null,
    _Decoder.false,
    _Decoder.true,
    _Decoder.integer,
    _Decoder.double,
    _Decoder.string,
    _Decoder.xml,
    _Decoder.date,
    _Decoder.array,
    _Decoder.object,
    _Decoder.xml,
    _Decoder.byte_array,
    _Decoder.vector_int,
    _Decoder.vector_uint,
    _Decoder.vector_double,
    _Decoder.vector_object,
    _Decoder.dictionary,
)
