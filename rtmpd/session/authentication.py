"""
What a server's question for user and password is answered with, as encoders do it in the query of connect's URL.

Each answer needs a connection of its own. First the server names a method, then (asked with the user's name) it gives a
salt or nonce, and then it is told a hash. Both methods are MD5 and keep the password secret only within TLS. A token
or a password that stands in the URL's own query needs nothing of this: it is sent as it is.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import md5
from types import MappingProxyType

from rtmpd.session.urls import RtmpUrl

_MAX_QUESTION_CHARACTERS = 4096
_ASKS = "?reason=needauth"
_LLNW_REALM = "live"
_LLNW_COUNT = "00000001"
_LLNW_QUALITY = "auth"


def authenticate(url: RtmpUrl, question: str, sent: str, challenge: str) -> str:
    """
    Make the next query.

    Args:
        url: with the user and the password.
        question: the description of the refusal of connect.
        sent: the query that was refused; empty at first.
        challenge: fresh random text of our own, 8 hexadecimal digits.

    Returns:
        The query to connect with next, without a question mark; empty where the question is none, or was answered, or
        there is no user to answer it with.
    """
    method = next((name for name in _RESPONSES if f"authmod={name}" in question), None)
    if method is None or not url.user or "response=" in sent or len(question) > _MAX_QUESTION_CHARACTERS:
        return ""
    opening = f"authmod={method}&user={url.user}"
    _, asks, rest = question.partition(_ASKS)
    if not asks:
        return "" if sent else opening
    fields = dict(part.partition("=")[::2] for part in rest.strip().split("&"))
    return f"{opening}&{_RESPONSES[method](url, fields, challenge)}"


def _adobe(url: RtmpUrl, fields: Mapping[str, str], challenge: str) -> str:
    """Hash as Adobe's servers do: the salted password, then with what the server gave and with our challenge."""
    opaque = fields.get("opaque", "")
    salted = _base64_md5(url.user + fields.get("salt", "") + url.password)
    response = _base64_md5(salted + (opaque or fields.get("challenge", "")) + challenge)
    return f"challenge={challenge}&response={response}" + (f"&opaque={opaque}" if opaque else "")


def _llnw(url: RtmpUrl, fields: Mapping[str, str], challenge: str) -> str:
    """Hash as HTTP's digest does, with the application for a path."""
    nonce = fields.get("nonce", "")
    # Interop: an application without an instance is hashed under the instance's default name.
    path = url.app if "/" in url.app else f"{url.app}/_definst_"
    secret = _hex_md5(f"{url.user}:{_LLNW_REALM}:{url.password}")
    asked = _hex_md5(f"publish:/{path}")
    response = _hex_md5(f"{secret}:{nonce}:{_LLNW_COUNT}:{challenge}:{_LLNW_QUALITY}:{asked}")
    return f"nonce={nonce}&cnonce={challenge}&nc={_LLNW_COUNT}&response={response}"


def _base64_md5(text: str) -> str:
    return b64encode(md5(text.encode(), usedforsecurity=False).digest()).decode()


def _hex_md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


_RESPONSES: Mapping[str, Callable[[RtmpUrl, Mapping[str, str], str], str]] = MappingProxyType(
    {"adobe": _adobe, "llnw": _llnw}
)
"""By method: what goes behind method and user."""
