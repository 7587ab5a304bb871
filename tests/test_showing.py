"""What a newcomer is told, and with which key the test stream is published; the stream itself is in tests/e2e."""

from __future__ import annotations

import io
from pathlib import Path

from rtmpd.config import AppConfig
from rtmpd.control.signed_urls import verify
from rtmpd.showing import _query, tell

URL = "rtmp://127.0.0.1:1935/live/demo"


def test_a_newcomer_is_told_what_to_type():
    out = io.StringIO()
    tell(URL, "http://127.0.0.1:8080", Path("data/rtmpd.sock"), out)

    assert f"ffplay {URL}\n" in out.getvalue()
    assert "rtmpd ctl record start live/demo\n" in out.getvalue()
    assert "http://127.0.0.1:8080/api/v1/openapi.json" in out.getvalue()


def test_a_newcomer_is_told_where_the_console_is():
    out = io.StringIO()
    tell(URL, "http://127.0.0.1:8080", Path("data/rtmpd.sock"), out)

    assert "console" in out.getvalue()
    assert "      http://127.0.0.1:8080/\n" in out.getvalue()


def test_a_newcomer_is_told_where_the_server_is_that_is_not_where_ctl_looks():
    out = io.StringIO()
    tell(URL, "http://127.0.0.1:8080", Path("/my data/rtmpd.sock"), out)

    assert "rtmpd ctl --socket '/my data/rtmpd.sock' record start live/demo\n" in out.getvalue()
    assert "rtmpd ctl --socket '/my data/rtmpd.sock' clients" in out.getvalue()


def test_the_test_stream_is_published_with_whatever_its_application_wants():
    assert _query(URL, AppConfig()) == ""
    assert _query(URL, AppConfig(publish_key=("k", "l"))) == "?key=k"
    signed = _query(URL, AppConfig(publish_secret=("s",)))
    assert signed.startswith("?")
    assert verify(signed[1:], "demo", ["s"], 0.0) is None
