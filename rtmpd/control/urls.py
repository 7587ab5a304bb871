"""
Where streams and files can be had, as others reach this server.

Rule: only what this server serves is answered. An output that is added gets a row in `_OUTPUTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

from rtmpd.address import Address
from rtmpd.config import UrlsConfig
from rtmpd.control import words
from rtmpd.control.models import Url
from rtmpd.control.rooms import Named

_LOOPBACK_OF = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not listened on


class Listening(NamedTuple):
    """Where this server accepts clients, with the ports that it really has."""

    rtmp: Address
    """Plain RTMP."""
    http: Address


class Bases(NamedTuple):
    """What public URLs begin with, without a slash at their ends."""

    rtmp: str
    http: str

    @property
    def host(self) -> str:
        """The host that streams are published to, as callbacks name it."""
        return urlsplit(self.rtmp).hostname or ""


class _Output(NamedTuple):
    """How a stream is watched."""

    base: Literal["rtmp", "http"]
    suffix: str


_OUTPUTS: Mapping[int, _Output] = MappingProxyType(
    {
        words.HLS: _Output("http", ".m3u8"),
        words.FLV: _Output("http", ".flv"),
        words.RTMP: _Output("rtmp", ""),
        words.FMP4: _Output("http", ".mp4"),
    }
)
"""By type number: what this server serves."""
_TITLES = {words.HLS: "HLS", words.FLV: "HTTP-FLV", words.RAW: "RAW", words.RTMP: "RTMP", words.FMP4: "live fMP4"}


class Watched(NamedTuple):
    """Where a stream can be watched."""

    urls: list[Url]
    notes: list[str]
    """What was asked for and is not served."""


def reachable(address: Address) -> Address:
    """
    Name an address that a client on this machine can connect to.

    Args:
        address: that is listened on, perhaps every interface.
    """
    return address._replace(host=_LOOPBACK_OF.get(address.host, address.host))


def bases(urls: UrlsConfig, listening: Listening) -> Bases:
    """
    Find out what public URLs begin with.

    Args:
        urls: as configured.
        listening: what they begin with where that says nothing.
    """
    rtmp = urls.rtmp or f"rtmp://{reachable(listening.rtmp)}"
    return Bases(rtmp.rstrip("/"), (urls.http or f"http://{reachable(listening.http)}").rstrip("/"))


def watched(bases: Bases, stream: Named, outputs: frozenset[int] | None = None) -> Watched:
    """
    Say where a stream can be watched.

    Args:
        bases: of public URLs.
        stream: its name.
        outputs: the type numbers that are wanted; None: all.

    Returns:
        A URL for each that is served, by their numbers, and a note for each other that is wanted.
    """
    wanted = sorted(_OUTPUTS if outputs is None else outputs)
    return Watched(
        [
            Url.model_validate({"type": kind, "play_url": _url(bases, stream, kind)})
            for kind in wanted
            if kind in _OUTPUTS
        ],
        [f"{_TITLES.get(kind, kind)} is not served by this server" for kind in wanted if kind not in _OUTPUTS],
    )


def _url(bases: Bases, stream: Named, kind: int) -> str:
    output = _OUTPUTS[kind]
    if output.base == "rtmp":
        # As it is: RTMP clients send a path as it stands in the URL, and nobody decodes it.
        return f"{bases.rtmp}/{stream.path}{output.suffix}"
    return f"{bases.http}/{quote(stream.path.encode(errors='surrogatepass'))}{output.suffix}"
