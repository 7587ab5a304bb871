"""Values of the control API's models: what each may be, as JSON Schema can say it, and how else callers spell it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from rtmpd.control.words import (
    EncodeName,
    EncodeNumber,
    RecordFileName,
    RecordFileNumber,
    RecordTypeName,
    RecordTypeNumber,
)


def _number_of_text(value: object) -> object:
    """A caller that builds its JSON from a form sends "5"; true is no number, though Python has it equal to 1."""
    if isinstance(value, bool):
        raise ValueError("a number or a name")  # noqa: TRY004 - pydantic takes a ValueError for a fault
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 else value


def _lower(value: object) -> object:
    """The hosted service spells names in capitals."""
    return value.lower() if isinstance(value, str) else value


StreamPath: TypeAlias = Annotated[
    str,
    Field(
        min_length=3,
        max_length=1024,
        pattern=r"^[^/?\x00-\x1f\x7f]+(/[^/?\x00-\x1f\x7f]+)+$",
        description="application/name",
        examples=["live/me"],
    ),
]
RoomPart: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]
FileName: TypeAlias = Annotated[
    str,
    Field(
        max_length=200,
        pattern=r"^$|^[^./\\\s\x00-\x1f\x7f]([^/\\\x00-\x1f\x7f]*[^./\\\s\x00-\x1f\x7f])?$",
        description="part of the files' names: no slash, no control character, no dot or space at its ends",
    ),
]
_SEGMENT = "[!-.0->@-~]+"
RtmpUrl: TypeAlias = Annotated[
    str,
    Field(
        max_length=2048,
        pattern=r"^rtmps?://([!\"$-.0->@-~]+@)?([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
        rf"/+({_SEGMENT}(/+{_SEGMENT})+/*(\?[!-~]*)?|{_SEGMENT}/*\?[!-~]*/{_SEGMENT}(\?[!-.0-~]*)?)$",
        description="rtmp[s]://[USER:PASSWORD@]HOST[:PORT]/APPLICATION/STREAM",
        examples=["rtmp://a.example/app/key"],
    ),
]
"""What `rtmpd.session.urls` reads, but for ports and IPv6 addresses: a target with a wrong one says so in its state."""
ServerUrl: TypeAlias = Annotated[
    str,
    Field(
        max_length=2048,
        pattern=r"^rtmps?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-~]*)?$",
        description="rtmp[s]://HOST[:PORT][/APPLICATION], without user and password",
        examples=["rtmp://b.example", "rtmps://b.example/live"],
    ),
]
Limit: TypeAlias = Annotated[int, Field(ge=1, le=1000)]
Offset: TypeAlias = Annotated[int, Field(ge=0, le=2**53)]
ChannelId: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]
EncodeType: TypeAlias = Annotated[
    EncodeNumber | EncodeName,
    BeforeValidator(_number_of_text),
    BeforeValidator(_lower),
    Field(description="Which watch URLs are wanted: HLS 1, FLV 2, RAW 4, RTMP 5, HLS_AND_RTMP 6, fMP4 7; none: all."),
]
RecordFileType: TypeAlias = Annotated[
    RecordFileNumber | RecordFileName, BeforeValidator(_number_of_text), BeforeValidator(_lower)
]
RecordType: TypeAlias = Annotated[
    RecordTypeNumber | RecordTypeName, BeforeValidator(_number_of_text), BeforeValidator(_lower)
]
Format: TypeAlias = Literal["flv", "mp4", "hls", "m4a", "mp3"]
RelayState: TypeAlias = Literal["connecting", "live", "backing_off", "stopped"]
PushState: TypeAlias = Annotated[
    Literal["on", "waiting"], Field(description="waiting: its publisher was lost; it is on again if that returns.")
]
