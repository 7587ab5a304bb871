"""Why a request over HTTP came to nothing, in words for logs and the API: without its URL, which may hold a secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp


def reason(error: Exception) -> str:
    """
    Say what went wrong.

    Args:
        error: raised by aiohttp, or by what it uses.

    Returns:
        One line, not escaped: a part of it may be the other end's words.
    """
    for kinds, text in _REASONS:
        if isinstance(error, kinds):
            return text(error)
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _of_system(error: aiohttp.ClientConnectorError) -> str:
    return error.os_error.strerror or str(error.os_error)


_REASONS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    ((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError), lambda _: "not a URL that can be used"),
    (aiohttp.TooManyRedirects, lambda error: f"more than {len(error.history)} redirects"),
    (aiohttp.ClientResponseError, lambda error: f"not an answer of HTTP: {error.message}"),
    (aiohttp.ClientConnectorCertificateError, lambda _: "its certificate is not trusted"),
    (aiohttp.ClientConnectorDNSError, lambda error: f"cannot find the host: {_of_system(error)}"),
    (aiohttp.ClientConnectorError, lambda error: f"cannot connect: {_of_system(error)}"),
    (aiohttp.ServerDisconnectedError, lambda _: "closed the connection without an answer"),
    (aiohttp.ClientPayloadError, lambda _: "the answer has broken off"),
)
"""The first that fits: the narrower kinds stand before those that they belong to."""
