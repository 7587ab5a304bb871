"""URLs that streams are pulled from; what may be secret in them is never shown."""

from __future__ import annotations

import re

import pytest

from rtmpd.net.pull_urls import HttpFlvUrl, Origin, StreamPlace, parse_source, place_of
from rtmpd.session.urls import RtmpUrl


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("http://cdn.example/live/s.flv", "http://cdn.example/live"),
        ("https://cdn.example:8443/s.flv?key=hush", "https://cdn.example:8443"),
        ("https://bob:hush@cdn.example/a/b/s.flv", "https://cdn.example/a/b"),
        ("http://[::1]:8080/a/s.flv", "http://[::1]:8080/a"),
        ("rtmps://bob:hush@h.example/app/hush?k=v", "rtmps://h.example/app"),
    ],
)
def test_a_source_is_shown_without_its_stream_and_secrets(text, label):
    url = parse_source(text)

    assert url.label == label
    assert "hush" not in repr(url)


def test_an_http_source_keeps_its_text():
    assert parse_source("https://bob:pw@h/s.flv?k=v#f") == HttpFlvUrl("https://bob:pw@h/s.flv?k=v#f", "https://h")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ftp://hush/s", "is no rtmp:// or rtmps:// URL"),
        ("http://", "is no http:// or https:// URL"),
        ("http://h", "names no stream: http://HOST/PATH is expected"),
        ("http://h/", "names no stream"),
        ("http://h:hush/s", "has a host or port that cannot be"),
        ("http://[hush/s", "has a host or port that cannot be"),
        ("http://h/hush s", "has a space or a character that is not printable"),
        ("http://h/\n", "has a space or a character that is not printable"),
        (f"http://h/{'x' * 2048}", "is longer than 2048 characters"),
        ("rtmp://h/app", "names no stream"),
    ],
)
def test_what_is_no_source_is_told_without_being_shown(text, fault):
    with pytest.raises(ValueError, match=f"^{re.escape(fault)}") as caught:
        parse_source(text)

    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("origin", "name", "url"),
    [
        ("rtmp://o.example/live", "s", RtmpUrl(False, "o.example", 1935, "live", "s")),
        ("rtmp://o.example:1936/a/b/", "s", RtmpUrl(False, "o.example", 1936, "a/b", "s")),
        (
            "rtmps://bob:pw@o.example/live?key=k/2",
            "s",
            RtmpUrl(True, "o.example", 443, "live", "s?key=k/2", "bob", "pw"),
        ),
        ("rtmp://o.example/live", "//evil.example/x", RtmpUrl(False, "o.example", 1935, "live", "//evil.example/x")),
    ],
)
def test_a_stream_of_an_origin_has_its_name_and_the_query_of_the_origin(origin, name, url):
    assert Origin.parse(origin).stream(name) == url


@pytest.mark.parametrize("text", ["rtmp://o.example", "rtmp://o.example/", "http://o.example/live", "live"])
def test_an_origin_is_an_application(text):
    with pytest.raises(ValueError, match=r"names no application: rtmp://HOST/APPLICATION is expected|is no rtmp"):
        Origin.parse(text)


def test_the_query_of_an_origin_is_not_shown():
    assert "hush" not in repr(Origin.parse("rtmp://o.example/live?key=hush"))


def test_the_place_of_a_source_is_known_for_rtmp_alone():
    assert place_of(parse_source("rtmp://h/a?x=1/s")) == StreamPlace("h", 1935, "a", "s")
    assert place_of(parse_source("rtmp://h:1/a/s?x=1")) == StreamPlace("h", 1, "a", "s")
    assert place_of(parse_source("http://h/a/s.flv")) is None
