"""
Which stream a peer means: one canonical name from the ways in which clients split a URL.

For rtmp://host/a/b?k=v ffmpeg sends app "a" and key "b?k=v"; with three segments it makes the app "a/b"; OBS can put
everything into the app and leave the key empty; and "mp4:" is put before names that end in .mp4. So application and
key are joined again and split at the last slash, and the queries of all parts are collected. Names are taken
literally: percent signs are not decoded.
"""

from __future__ import annotations

from typing import NamedTuple

from rtmpd.errors import Refused

_PREFIXES = ("mp4:", "flv:", "mp3:")


class StreamName(NamedTuple):
    """The canonical name of a stream, and the parameters that came with it."""

    app: str
    """The application; may contain slashes, has none at its ends and no empty segment."""
    stream: str
    """The last segment."""
    query: str
    """Parameters, without a question mark; several queries are joined with "&"."""


def resolve(
    app: str,
    name: str,
    tc_url: str = "",
    *,
    code: str = "NetStream.Publish.BadName",
    max_app_bytes: int = 256,
    max_key_bytes: int = 1024,
) -> StreamName:
    """
    Find the canonical name.

    Args:
        app: the application of the connect command, possibly with a query.
        name: the stream's name of the publish or play command, possibly with a prefix and a query.
        tc_url: the URL of the connect command; its query counts if the application has none.
        code: the status code of a refusal.
        max_app_bytes: the longest application that may come out, as UTF-8.
        max_key_bytes: the longest name with its query, and the longest query of the application, as UTF-8.

    Returns:
        The name.

    Raises:
        Refused: no name is left, or a name that must not exist (see `_check`).
    """
    _check_length("stream name", name, max_key_bytes, code)
    app_path, _, app_query = app.partition("?")
    key, _, key_query = name.partition("?")
    app_query = app_query or tc_url.partition("?")[2]
    _check_length("query", app_query, max_key_bytes, code)
    segments = [segment for segment in f"{app_path}/{_without_prefix(key)}".split("/") if segment]
    query = "&".join(part for part in (app_query, key_query) if part)
    if len(segments) < 2:
        raise Refused(code, "The URL names no stream; use rtmp://host/application/stream")
    _check(segments, query, code)
    canonical_app = "/".join(segments[:-1])
    _check_length("application", canonical_app, max_app_bytes, code)
    return StreamName(canonical_app, segments[-1], query)


def _without_prefix(key: str) -> str:
    return key[4:] if key.startswith(_PREFIXES) else key


def _check_length(what: str, text: str, max_bytes: int, code: str) -> None:
    if len(text.encode("utf-8", "replace")) > max_bytes:
        raise Refused(code, f"The {what} is longer than {max_bytes} bytes")


def _check(segments: list[str], query: str, code: str) -> None:
    """
    Refuse what could reach further than a name should.

    Dot segments would leave a directory, control and direction characters would forge log lines, and U+FFFD
    stands for bytes that were not UTF-8: several of them would meet in one name.
    """
    if "." in segments or ".." in segments:
        raise Refused(code, "The stream name has a segment . or ..")
    text = "/".join(segments) + query
    if not text.isprintable() or "�" in text:
        raise Refused(code, "The stream name has characters that are not printable")


def printable(text: str, max_characters: int = 256) -> str:
    """Make a peer's text fit for a log line: what is not printable becomes U+FFFD, and what is too long ends in dots."""
    shown = text if len(text) <= max_characters else text[: max_characters - 1] + "…"
    return shown if shown.isprintable() else "".join(c if c.isprintable() else "�" for c in shown)
