"""Each way in which a request fails has its words, and none has the URL."""

from __future__ import annotations

import aiohttp
import pytest

from rtmpd.net.http_reasons import reason

KEY = OSError(111, "Connection refused")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (aiohttp.InvalidURL("http://a/SECRET"), "not a URL that can be used"),
        (aiohttp.ClientConnectorDNSError(None, OSError(-2, "Name or service not known")), "cannot find the host: Name"),
        (aiohttp.ClientConnectorError(None, KEY), "cannot connect: Connection refused"),
        (aiohttp.ServerDisconnectedError(), "closed the connection without an answer"),
        (aiohttp.ClientPayloadError("SECRET"), "the answer has broken off"),
        (aiohttp.ClientResponseError(None, (), status=400, message="bad status line"), "not an answer of HTTP: bad"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (ValueError("http://a/SECRET"), "ValueError"),
    ],
)
def test_a_failure_is_said_without_the_url(error, text):
    assert reason(error).startswith(text)
    assert "SECRET" not in reason(error)
