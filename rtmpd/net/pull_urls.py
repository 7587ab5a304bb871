"""Where streams are pulled from, as text and taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self, TypeAlias
from urllib.parse import urlsplit

from rtmpd.session.urls import MAX_URL_CHARACTERS, RtmpUrl

_HTTP_SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class HttpFlvUrl:
    """An FLV stream that is served over HTTP."""

    text: str = field(repr=False)
    """All of it; user, password and query may be secret."""
    label: str
    """The place for log lines: without stream, query, user and password, as that of an `RtmpUrl`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read `http[s]://[USER:PASSWORD@]HOST[:PORT]/PATH`.

        Args:
            text: the URL.

        Raises:
            ValueError: not of that form; its text goes on after "the URL", and shows nothing that may be secret.
        """
        if len(text) > MAX_URL_CHARACTERS:
            raise ValueError(f"is longer than {MAX_URL_CHARACTERS} characters")
        if not text.isprintable() or " " in text:
            raise ValueError("has a space or a character that is not printable")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise ValueError("has a host or port that cannot be") from None
        if parts.scheme not in _HTTP_SCHEMES or not parts.hostname:
            raise ValueError("is no http:// or https:// URL")
        if not parts.path.strip("/"):
            raise ValueError("names no stream: http://HOST/PATH is expected")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        place = host if port is None else f"{host}:{port}"
        return cls(text, f"{parts.scheme}://{place}{parts.path.rpartition('/')[0]}")


SourceUrl: TypeAlias = RtmpUrl | HttpFlvUrl


def parse_source(text: str) -> SourceUrl:
    """
    Read the URL of a stream that is pulled: rtmp, rtmps, or FLV over http or https.

    Args:
        text: the URL.

    Raises:
        ValueError: it is none of these; its text goes on after "the URL", and shows nothing that may be secret.
    """
    return HttpFlvUrl.parse(text) if text.startswith(("http://", "https://")) else RtmpUrl.parse(text)


class StreamPlace(NamedTuple):
    """Where an RTMP URL leads, without its queries."""

    host: str
    port: int
    app: str
    name: str


def place_of(url: SourceUrl) -> StreamPlace | None:
    """
    Find where a source is, to see whether it is where the stream is pulled to.

    Args:
        url: of the source.

    Returns:
        The place; None over HTTP, where names mean nothing.
    """
    if not isinstance(url, RtmpUrl):
        return None
    return StreamPlace(url.host, url.port, url.app.partition("?")[0], url.key.partition("?")[0])


@dataclass(frozen=True, slots=True)
class Origin:
    """An application of another server, from which streams are pulled by their names."""

    _url: RtmpUrl
    _query: str = field(repr=False)
    """With its question mark, if it is not empty."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read `rtmp[s]://[USER:PASSWORD@]HOST[:PORT]/APPLICATION[?QUERY]`; the query is sent with each stream.

        Args:
            text: the URL.

        Raises:
            ValueError: as by `parse_source`.
        """
        path, mark, query = text.partition("?")
        try:
            url = RtmpUrl.parse(f"{path.rstrip('/')}/-")
        except ValueError as error:
            raise ValueError(
                str(error).replace("/STREAM", "").replace("names no stream", "names no application")
            ) from None
        return cls(url, mark + query)

    def stream(self, name: str) -> RtmpUrl:
        """
        Find a stream at the origin.

        Args:
            name: as a player gave it; it is taken literally, whatever is in it.
        """
        return replace(self._url, key=name + self._query)
