"""
Where a relay goes: an RTMP URL, taken apart as encoders do it.

For rtmp://host/a/b?k=v the application is "a" and the stream "b?k=v": a query belongs to the stream behind which it
stands. Behind an application of one segment (rtmp://host/a?k=v/b) it belongs to that. All but the last segment of the
path is the application. Percent signs are taken literally, in user and password too: nobody decodes them.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

MAX_URL_CHARACTERS = 2048
"""Of a whole URL: application and stream have to fit one command beside others."""

HIDDEN = "***"
_PORTS = {"rtmp": 1935, "rtmps": 443}
_HOST_NAME = re.compile(r"[\w.-]{1,253}")


class _Parts(NamedTuple):
    """A URL before its path is taken apart."""

    secure: bool
    host: str
    port: int
    user: str
    password: str
    path: str


@dataclass(frozen=True, slots=True)
class RtmpUrl:
    """A stream on a server."""

    secure: bool
    """Over TLS: rtmps."""
    host: str
    """A name or an address, IPv6 without its brackets."""
    port: int
    app: str
    """The application, with its query if it has one; not empty, no slash at its ends."""
    key: str = field(repr=False)
    """The stream's name, with its query; not empty. It admits a publisher, so it is a secret."""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read `rtmp[s]://[USER:PASSWORD@]HOST[:PORT]/APPLICATION/STREAM`.

        Args:
            text: the URL.

        Returns:
            Its parts; whether the host exists is left to who dials it.

        Raises:
            ValueError: not of that form; its text goes on after "the URL", and shows nothing that may be secret.
        """
        secure, host, port, user, password, path = _split(text)
        name, mark, query = path.partition("?")
        app, _, key = name.rpartition("/")
        if app:
            key += mark + query
        elif "/" in query:
            query, _, key = query.rpartition("/")
            app = f"{name}?{query}"
        if not app or not key or key.startswith("?"):
            raise ValueError("names no stream: rtmp://HOST/APPLICATION/STREAM is expected")
        return cls(secure, host, port, app, key, user, password)

    @property
    def tc_url(self) -> str:
        """The URL of the application, as connect carries it."""
        return f"{self._origin}/{self.app}"

    @property
    def label(self) -> str:
        """The place for log lines: without stream, query, user and password, which may be secret."""
        return f"{self._origin}/{self.app.partition('?')[0]}"

    def without_secrets(self, text: str) -> str:
        """
        Make a text of the server fit to be shown: it may name the stream that it refuses.

        Args:
            text: for people.

        Returns:
            The text without this URL's stream, password and values of queries, where they stand as words.
        """
        name, _, query = self.key.partition("?")
        pairs = f"{query}&{self.app.partition('?')[2]}".split("&")
        secrets = {self.key, name, self.password, *(pair.partition("=")[2] for pair in pairs)} - {""}
        longest_first = sorted(map(re.escape, secrets), key=len, reverse=True)
        return re.sub(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", HIDDEN, text)

    def redirected(self, tc_url: str) -> RtmpUrl:
        """
        Follow a server's request to go elsewhere with the same stream.

        Args:
            tc_url: of another application, absolute or relative to this one's; empty for the same again.

        Returns:
            This stream there.

        Raises:
            ValueError: it is no such URL, or leads from TLS to plain text, which would show the stream's key.
        """
        if not tc_url:
            return self
        secure, host, port, user, password, path = _split(self._absolute(tc_url))
        if self.secure and not secure:
            raise ValueError("leads from TLS to plain text")
        if not path:
            raise ValueError("names no application")
        moved = replace(self, secure=secure, host=host, port=port, app=path)
        return replace(moved, user=user, password=password) if user else moved

    def _absolute(self, reference: str) -> str:
        if "://" in reference.partition("?")[0]:
            return reference
        if reference.startswith("//"):
            return f"{self._scheme}:{reference}"
        if reference.startswith("/"):
            return self._origin + reference
        return self.tc_url.partition("?")[0].rpartition("/")[0] + "/" + reference

    @property
    def _scheme(self) -> str:
        return "rtmps" if self.secure else "rtmp"

    @property
    def _origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self._scheme] else f":{self.port}"
        return f"{self._scheme}://{host}{port}"


def _split(text: str) -> _Parts:
    if len(text) > MAX_URL_CHARACTERS:
        raise ValueError(f"is longer than {MAX_URL_CHARACTERS} characters")
    if not text.isprintable() or " " in text:
        raise ValueError("has a space or a character that is not printable")
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in _PORTS:
        raise ValueError("is no rtmp:// or rtmps:// URL")
    authority, _, path = rest.partition("/")
    credentials, _, place = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    host, port = _host_and_port(place, _PORTS[scheme])
    segments, mark, query = path.partition("?")
    return _Parts(scheme == "rtmps", host, port, user, password, segments.strip("/") + mark + query)


def _host_and_port(place: str, default_port: int) -> tuple[str, int]:
    if place.startswith("["):
        host, closed, rest = place[1:].partition("]")
        try:
            address = str(ipaddress.IPv6Address(host))
        except ValueError:
            closed = ""
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError("has no [IPV6 ADDRESS] or [IPV6 ADDRESS]:PORT where one is due")
        return address, _port(rest[1:], default_port)
    host, _, port = place.partition(":")
    if not _HOST_NAME.fullmatch(host):
        raise ValueError("has no host name or address where one is due")
    return host, _port(port, default_port)


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 0xFFFF):
        raise ValueError("has a port that is not 1 to 65535")
    return int(text)
