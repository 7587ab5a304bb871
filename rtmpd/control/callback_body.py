"""
What is sent to receivers: the body of a callback at one attempt, its signatures and its headers.

Only `t` and `sign` differ between two attempts, and `app` and `video_url` after a restart under other addresses, as those
of before lead nowhere. A receiver that was written for the hosted service checks `sign`, which covers nothing but the time;
the signature in the header covers every byte of the body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

EXPIRES_S = 600
"""For how long a receiver may take a callback for a fresh one; `t` is its end."""
NEW_FILE = 100
"""The event that has a `path`, and so a `video_url`."""
EVENT_HEADER = "X-Rtmpd-Event"
SIGNATURE_HEADER = "X-Rtmpd-Signature"


@dataclass(frozen=True, slots=True)
class Sender:
    """What callbacks say of the server that sends them."""

    key: str = field(default="", repr=False)
    """Shared with the receivers; empty: nothing is signed."""
    host: str = ""
    """The host part of the public RTMP URL."""
    http_base: str = ""
    """The public base URL under which recordings are served, "https://example.org"; empty: there is none."""


class Request(NamedTuple):
    """One attempt, ready to be sent."""

    body: bytes
    headers: dict[str, str]


def make_request(event_id: str, body: dict[str, Any], sender: Sender, now: float) -> Request:
    """
    Make the request of one attempt.

    Args:
        event_id: of the event.
        body: the fields that are the same at each attempt.
        sender: who sends it.
        now: unix seconds.

    Returns:
        Body and headers. Event 100 has a `video_url`, under which the file is served.
    """
    expires = math.floor(now) + EXPIRES_S
    fields = {**body, "app": sender.host, "event_id": event_id, "t": expires}
    if body.get("event_type") == NEW_FILE:
        fields["video_url"] = video_url(sender.http_base, str(body.get("path", "")))
    headers = {"Content-Type": "application/json", "User-Agent": "rtmpd", EVENT_HEADER: event_id}
    if sender.key:
        fields["sign"] = sign(sender.key, expires)
    data = json.dumps(fields).encode()
    if sender.key:
        headers[SIGNATURE_HEADER] = signature(sender.key, data)
    return Request(data, headers)


def sign(key: str, expires: int) -> str:
    """
    Make the hosted service's signature.

    Args:
        key: shared with the receiver.
        expires: unix seconds, the body's `t`.

    Returns:
        Lower-case hex of MD5(key + t).
    """
    return hashlib.md5(f"{key}{expires}".encode(), usedforsecurity=False).hexdigest()


def signature(key: str, data: bytes) -> str:
    """
    Make the signature of the header.

    Args:
        key: shared with the receiver.
        data: the body's exact bytes.

    Returns:
        "sha256=" and the hex of the HMAC.
    """
    return f"sha256={hmac.new(key.encode(), data, hashlib.sha256).hexdigest()}"


def video_url(http_base: str, path: str) -> str:
    """
    Make the URL of a recording.

    Args:
        http_base: public, with or without a slash at its end; empty where none is known.
        path: below the recordings directory.

    Returns:
        The URL, percent-encoded; empty where there is none.
    """
    if not http_base or not path:
        return ""
    # Bytes, as a file's name need not be text that can be encoded.
    return f"{http_base.rstrip('/')}/recordings/{quote(path.encode('utf-8', 'surrogatepass'))}"


def shown_url(url: str) -> str:
    """
    Make the URL of a receiver or a hook fit for a log line: without what may be a secret.

    Args:
        url: as it is configured.

    Returns:
        Scheme, host, port and path.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
