"""
What a request for a file is answered with: all of it, a range, or nothing, as its conditions demand. RFC 9110, 13 and 14.

aiohttp's own answers lost: it sends the asked range also where If-Range names another version by its ETag, so that a
download that goes on would be made of two files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

HTTP_DATE = "%a, %d %b %Y %H:%M:%S GMT"
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)
"""One range; of several all is sent, as the RFC allows: no player asks for them."""


class Version(NamedTuple):
    """A file as it is now."""

    size_bytes: int
    etag: str | None
    """Strong, in quotes; None for a file that grows."""
    modified_s: int | None
    """Whole unix seconds; None for a file that grows."""


class Verdict(NamedTuple):
    """What is to be sent."""

    status: HTTPStatus
    """200, 206, 304, 412 or 416."""
    start: int
    """Of the range, in bytes from the start of the file."""
    size_bytes: int
    """Of what is sent; 0 where none are to be sent."""


def judge(headers: Mapping[str, str], version: Version) -> Verdict:
    """
    Decide what a GET or HEAD is answered with.

    Args:
        headers: of the request.
        version: of the file.

    Returns:
        The verdict; the order of the conditions is that of RFC 9110, 13.2.2.
    """
    if not _matches(headers, version):
        return Verdict(HTTPStatus.PRECONDITION_FAILED, 0, 0)
    if _is_known(headers, version):
        return Verdict(HTTPStatus.NOT_MODIFIED, 0, 0)
    whole = Verdict(HTTPStatus.OK, 0, version.size_bytes)
    if "Range" not in headers or not _is_same(headers.get("If-Range"), version):
        return whole
    return _range(headers["Range"], version.size_bytes) or whole


def _matches(headers: Mapping[str, str], version: Version) -> bool:
    """Tell whether If-Match, or else If-Unmodified-Since, allows an answer."""
    if "If-Match" in headers:
        wanted = headers["If-Match"].strip()
        return wanted == "*" or (version.etag is not None and version.etag in _ETAG.findall(wanted))
    since_s = parse_date(headers.get("If-Unmodified-Since"))
    return since_s is None or version.modified_s is None or version.modified_s <= since_s


def _is_known(headers: Mapping[str, str], version: Version) -> bool:
    """Tell whether, by If-None-Match or else If-Modified-Since, the client has it already."""
    if "If-None-Match" in headers:
        known = headers["If-None-Match"].strip()
        # "*" means any version: there is one.
        return known == "*" or version.etag in {each.removeprefix("W/") for each in _ETAG.findall(known)}
    since_s = parse_date(headers.get("If-Modified-Since"))
    return since_s is not None and version.modified_s is not None and version.modified_s <= since_s


def _is_same(wanted: str | None, version: Version) -> bool:
    """Tell whether the version that a client has a part of is this one."""
    if wanted is None:
        return True
    if version.etag is None:
        return False
    return wanted.strip() == version.etag or (
        version.modified_s is not None and parse_date(wanted) == version.modified_s
    )


def _range(text: str, size_bytes: int) -> Verdict | None:
    """Read a Range header; None for what is to be ignored, as it is no range or several."""
    match = _RANGE.fullmatch(text.strip())
    if match is None or not (match[1] or match[2]):
        return None
    first, last = match[1], match[2]
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size_bytes - int(last))
    end = min(size_bytes, int(last) + 1) if first and last else size_bytes
    if start >= end:
        return Verdict(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0)
    return Verdict(HTTPStatus.PARTIAL_CONTENT, start, end - start)


def parse_date(text: str | None) -> int | None:
    """
    Read a date in the form that HTTP has had since 1999.

    Args:
        text: of a header; None if there is none.

    Returns:
        Unix seconds; None for what is no such date, which conditions ignore.
    """
    try:
        return None if text is None else int(datetime.strptime(text.strip(), HTTP_DATE).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def format_date(unix_s: int) -> str:
    """
    Write a date for a header.

    Args:
        unix_s: unix seconds.
    """
    return datetime.fromtimestamp(unix_s, UTC).strftime(HTTP_DATE)
