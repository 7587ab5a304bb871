"""
A cursor over the bit fields of a codec configuration.

bitstring costs microseconds a field, which is right here and nowhere else: configurations are read once, frames never.
Whatever a peer sent, the only exception that leaves the cursor is `MediaError`, and no read makes a number that is
larger than its field in the specifications: an Exp-Golomb code of a million bits is refused, not computed with.
"""

from __future__ import annotations

from bitstring import Bits, Reader

from rtmpd.errors import MediaError

MAX_CONFIGURATION_BYTES = 65_536
"""Real ones have 4 to some 200 bytes; HEVC with SEI or colour profiles inside stays below a few thousand."""
MAX_UNITS = 256
"""NAL units, or OBUs, in one configuration."""
MAX_SIZE = 65_536
"""Pixels, either way: the most that any of the formats can code."""
_MAX_EXP_GOLOMB_BITS = 63


class BitCursor:
    """Reads fields one after the other and says which structure ended too early."""

    __slots__ = ("_reader", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        """
        Start at the first bit.

        Args:
            data: the structure.
            what: its name, for the error.

        Raises:
            MediaError: it has more than `MAX_CONFIGURATION_BYTES`.
        """
        if len(data) > MAX_CONFIGURATION_BYTES:
            raise MediaError(f"{what} of {len(data)} bytes")
        self._reader = Reader(Bits(data))
        self._what = what

    @property
    def remaining(self) -> int:
        """Bits left."""
        return int(self._reader.remaining)

    def unsigned(self, bits: int) -> int:
        """
        Read u(n).

        Args:
            bits: its width, 1 or more.

        Returns:
            Its value.

        Raises:
            MediaError: fewer bits are left.
        """
        return self._read(f"u{bits}")

    def flag(self) -> bool:
        """
        Read u(1).

        Returns:
            Whether it is set.

        Raises:
            MediaError: no bit is left.
        """
        return self._read("u1") == 1

    def exp_golomb(self) -> int:
        """
        Read ue(v) of H.264 section 9.1.

        Returns:
            Its value, below 2**32.

        Raises:
            MediaError: the code does not end, or has more bits than any field may.
        """
        return self._variable("ue")

    def signed_exp_golomb(self) -> int:
        """
        Read se(v) of H.264 section 9.1.1.

        Returns:
            Its value.

        Raises:
            MediaError: as `exp_golomb`.
        """
        return self._variable("se")

    def skip(self, bits: int) -> None:
        """
        Pass over fields that nobody asks for.

        Args:
            bits: how many.

        Raises:
            MediaError: fewer bits are left.
        """
        if bits > self.remaining:
            raise MediaError(f"{self._what} ends early")
        self._reader.pos += bits

    def take(self, size: int) -> bytes:
        """
        Read whole bytes.

        Args:
            size: how many.

        Returns:
            The bytes.

        Raises:
            MediaError: fewer bytes are left.
        """
        if size * 8 > self.remaining:
            raise MediaError(f"{self._what} ends early: {size} bytes wanted, {self.remaining // 8} left")
        return bytes(self._reader.read_bits(size * 8).bytes)

    def align(self) -> None:
        """Go on to the next whole byte."""
        self._reader.pos += -self._reader.pos % 8

    def _variable(self, dtype: str) -> int:
        start = self._reader.pos
        value = self._read(dtype)
        if self._reader.pos - start > _MAX_EXP_GOLOMB_BITS:
            raise MediaError(f"{self._what} holds a number of {self._reader.pos - start} bits")
        return value

    def _read(self, dtype: str) -> int:
        try:
            value = self._reader.read_value(dtype)
        except ValueError:
            raise MediaError(f"{self._what} ends early") from None
        assert isinstance(value, int)
        return value


def unescape(nal_unit: bytes) -> bytes:
    """
    Take out the emulation prevention bytes of a NAL unit.

    H.264 section 7.3.1, H.265 section 7.3.1.1.

    Args:
        nal_unit: as it is in the stream.

    Returns:
        Its raw byte sequence, header included.
    """
    return nal_unit.replace(b"\0\0\3", b"\0\0")


def checked_size(width: int, height: int, what: str) -> tuple[int, int]:
    """
    Refuse a picture that cannot be.

    Args:
        width: pixels, after cropping.
        height: pixels, after cropping.
        what: the name of the structure that says so.

    Returns:
        Width and height.

    Raises:
        MediaError: cropped to nothing, or larger than any format allows.
    """
    if not (0 < width <= MAX_SIZE and 0 < height <= MAX_SIZE):
        raise MediaError(f"{what} of {width} x {height} pixels")
    return width, height
