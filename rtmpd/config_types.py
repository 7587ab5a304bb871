"""
The kinds of value that the configuration knows: each with its unit, its range and the words for what it expects.

A leaf; `rtmpd.config` puts them into tables.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, Strict

from rtmpd.address import Address
from rtmpd.config_words import Unit

RESERVED = frozenset({"api", "recordings"})
"""What paths over HTTP begin with below which there is more than single files: no application is called so."""


class Section(BaseModel):
    """What every table has in common: no unknown key, no guessed type, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _without_repeats(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def _application_name(name: object) -> str:
    """Accept what a client can write between host and stream, and a file system can hold percent-encoded."""
    if not isinstance(name, str) or not 0 < len(name.encode()) <= 256 or not name.isprintable():
        raise ValueError("not a name")
    if "?" in name or any(segment in {"", ".", ".."} for segment in name.split("/")):
        raise ValueError("not a path")
    return name


def _application(name: object) -> str:
    """Refuse what would be something else over HTTP, too: nobody could watch its streams there."""
    if _application_name(name).partition("/")[0] in RESERVED:
        raise ValueError("reserved")
    return str(name)


def _stream_path(path: object) -> str:
    """Accept the name of an application, a slash and the name of a stream."""
    if "/" not in _application_name(path):
        raise ValueError("no stream")
    return str(path)


def _without_nul(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("no file system holds it")
    return path


def _relative_path(text: str) -> str:
    """Refuse what would lead out of the directory whatever the fields stand for."""
    if "\0" in text or not text or text.startswith("/") or {".", ".."} & set(text.split("/")):
        raise ValueError("not below")
    return text


def _network(text: object) -> IPv4Network | IPv6Network:
    """Read an address or a network; host bits are no fault: 192.0.2.1/24 means its network."""
    if isinstance(text, IPv4Network | IPv6Network):
        return text
    if not isinstance(text, str):
        raise ValueError("not text")  # noqa: TRY004 - pydantic takes a ValueError for a fault, a TypeError for a bug
    return ipaddress.ip_network(text, strict=False)


def _url_of(*schemes: str) -> AfterValidator:
    """Accept URLs that can be asked, or built upon."""

    def check(text: str) -> str:
        parts: SplitResult = urlsplit(text)
        if parts.scheme not in schemes or not parts.hostname or not text.isprintable() or " " in text:
            raise ValueError("not a URL")
        parts.port  # noqa: B018 - raises ValueError where there is something else
        return text

    return AfterValidator(check)


def _origin(text: str) -> str:
    """Accept what a browser sends as Origin, or * for all."""
    parts = urlsplit(text)
    if text != "*" and (parts.scheme not in {"http", "https"} or text != f"{parts.scheme}://{parts.netloc}"):
        raise ValueError("not an origin")
    if not text.isascii() or not text.isprintable() or "@" in text or " " in text or text.endswith("/"):
        raise ValueError("not an origin")
    return text


ListenAddress = Annotated[
    Address, PlainValidator(Address.parse), Unit("HOST:PORT", 'an address like "127.0.0.1:1935" or "[::1]:1935"')
]
FilePath = Annotated[
    Path, Strict(strict=False), AfterValidator(_without_nul), Unit("path", "the path of a file that can be read")
]
SocketPath = Annotated[
    Path, Strict(strict=False), AfterValidator(_without_nul), Unit("path", "the path of a Unix socket")
]
DirectoryPath = Annotated[
    Path, Strict(strict=False), AfterValidator(_without_nul), Unit("path", "the path of a directory")
]
Seconds = Annotated[float, Unit("seconds", "a number of seconds")]
Milliseconds = Annotated[float, Unit("milliseconds", "a number of milliseconds")]
Bytes = Annotated[int, Field(ge=1), Unit("bytes", "a whole number of bytes")]
BytesOrOff = Annotated[int, Field(ge=0), Unit("bytes", "a whole number of bytes")]
BytesPerSecond = Annotated[int, Field(ge=1), Unit("bytes per second", "a whole number of bytes per second")]
Count = Annotated[int, Field(ge=1), Unit("count", "a whole number")]
PerSecond = Annotated[float, Field(gt=0), Unit("per second", "a number per second")]
Share = Annotated[float, Field(gt=0, le=1), Unit("fraction of one core", "a fraction")]
Switch = Annotated[bool, Unit("true or false", "true or false")]
Mode = Annotated[Literal["auto", "manual"], Unit("choice", "a choice")]
Key = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]
Keys = Annotated[
    tuple[Key, ...],
    Strict(strict=False),
    BeforeValidator(_as_list),
    Unit("list of keys", "a key, or a list of keys, each of 1 to 128 visible ASCII characters", secret=True),
]
Template = Annotated[str, AfterValidator(_relative_path), Unit("template", "a relative path without . or ..")]
ApplicationName = Annotated[str, BeforeValidator(_application)]
StreamPath = Annotated[str, BeforeValidator(_stream_path)]

HttpUrl = Annotated[str, _url_of("http", "https"), Unit("URL", "a URL that begins with http:// or https://")]
HttpUrls = Annotated[
    tuple[Annotated[str, _url_of("http", "https")], ...],
    Strict(strict=False),
    BeforeValidator(_as_list),
    AfterValidator(_without_repeats),
    Unit("list of URLs", "a URL that begins with http:// or https://, or a list of them"),
]
RtmpUrl = Annotated[str, _url_of("rtmp", "rtmps"), Unit("URL", "a URL that begins with rtmp:// or rtmps://")]
RtmpUrls = Annotated[
    tuple[Annotated[str, _url_of("rtmp", "rtmps")], ...],
    Strict(strict=False),
    BeforeValidator(_as_list),
    AfterValidator(_without_repeats),
    Unit("list of URLs", "a URL that begins with rtmp:// or rtmps://, or a list of at most 16 of them", secret=True),
]
# Secret, as user, password and query of the URL of a stream may be.
SourceUrls = Annotated[
    tuple[Annotated[str, _url_of("rtmp", "rtmps", "http", "https")], ...],
    Strict(strict=False),
    BeforeValidator(_as_list),
    AfterValidator(_without_repeats),
    Unit("list of URLs", "an rtmp://, rtmps://, http:// or https:// URL of a stream, or a list of them", secret=True),
]
OriginUrls = Annotated[
    tuple[Annotated[str, _url_of("rtmp", "rtmps")], ...],
    Strict(strict=False),
    BeforeValidator(_as_list),
    AfterValidator(_without_repeats),
    Unit("list of URLs", "an rtmp:// or rtmps:// URL of an application, or a list of them", secret=True),
]
Origins = Annotated[
    tuple[Annotated[str, AfterValidator(_origin)], ...],
    Strict(strict=False),
    BeforeValidator(_as_list),
    AfterValidator(_without_repeats),
    Unit("list of origins", 'an origin like "https://www.example.com", or a list of them, or "*"'),
]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, PlainValidator(_network)], ...],
    Strict(strict=False),
    BeforeValidator(_as_list),
    Unit("list of networks", 'an address or a network like "192.0.2.0/24", or a list of them'),
]
Secret = Annotated[Key, Unit("key", "a key of 1 to 128 visible ASCII characters", secret=True)]
CountOrOff = Annotated[int, Field(ge=0), Unit("count", "a whole number")]
RecordFormat = Literal["flv", "mp4", "hls", "m4a", "mp3"]
RecordFormats = Annotated[
    tuple[RecordFormat, ...],
    Strict(strict=False),
    BeforeValidator(_as_list),
    AfterValidator(_without_repeats),
    Unit("list", "a list of formats"),
]
