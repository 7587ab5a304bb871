"""One name from all the ways in which clients split a URL."""

from __future__ import annotations

import pytest

from rtmpd.errors import Refused
from rtmpd.session.paths import printable, resolve


@pytest.mark.parametrize(
    ("app", "name", "expected"),
    [
        ("live", "s", ("live", "s", "")),
        ("live", "s?k=v", ("live", "s", "k=v")),
        ("live?k=v", "s", ("live", "s", "k=v")),
        ("live?k=v", "s?a=b", ("live", "s", "k=v&a=b")),
        ("a/b", "c", ("a/b", "c", "")),
        ("a", "b/c", ("a/b", "c", "")),
        ("live/s", "", ("live", "s", "")),
        ("live/s", "?a=b", ("live", "s", "a=b")),
        ("", "live/s", ("live", "s", "")),
        ("/live/", "/s", ("live", "s", "")),
        ("live", "mp4:s.mp4", ("live", "s.mp4", "")),
        ("live", "flv:s", ("live", "s", "")),
        ("live", "mp3:s", ("live", "s", "")),
        ("live", "mp4:a/s", ("live/a", "s", "")),
        ("live", "s?k=a/b?c", ("live", "s", "k=a/b?c")),
        ("live", "%2e%2e", ("live", "%2e%2e", "")),
        ("live", "été 😀", ("live", "été 😀", "")),
        ("live", "s?", ("live", "s", "")),
    ],
)
def test_application_and_key_are_joined_and_split_at_the_last_slash(app, name, expected):
    assert resolve(app, name) == expected


def test_the_query_of_the_url_counts_if_the_application_has_none():
    assert resolve("live", "s?a=b", "rtmp://h/live?k=v").query == "k=v&a=b"
    assert resolve("live?x=y", "s", "rtmp://h/live?x=y").query == "x=y"


@pytest.mark.parametrize(
    ("app", "name", "reason"),
    [
        ("live", "", "names no stream"),
        ("live", "///", "names no stream"),
        ("", "", "names no stream"),
        ("", "s", "names no stream"),
        ("live", "mp4:", "names no stream"),
        ("live", "?k=v", "names no stream"),
        ("live", "..", "segment"),
        ("..", "s", "segment"),
        ("live/../x", "s", "segment"),
        ("live", "./s", "segment"),
        ("live", "a\0b", "printable"),
        ("live", "a\x1b[2J", "printable"),
        ("li\nve", "s", "printable"),
        ("live", "s?k=\r", "printable"),
        ("live", "a\u202eb", "printable"),
        ("live", "�", "printable"),
        ("x" * 257, "s", "application is longer than 256"),
        ("live", "x" * 256 + "/s", "application is longer than 256"),
        ("live", "é" * 513, "stream name is longer than 1024"),
        ("live?" + "x" * 1025, "s", "query is longer than 1024"),
    ],
)
def test_names_that_must_not_exist_are_refused(app, name, reason):
    with pytest.raises(Refused, match=reason) as refused:
        resolve(app, name)
    assert refused.value.code == "NetStream.Publish.BadName"


def test_the_refusal_carries_the_code_that_was_asked_for():
    with pytest.raises(Refused) as refused:
        resolve("live", "", code="NetStream.Play.StreamNotFound")
    assert refused.value.code == "NetStream.Play.StreamNotFound"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("live", "live"), ("a\nb\0", "a�b�"), ("x" * 20, "x" * 9 + "…"), ("x" * 10, "x" * 10), ("", "")],
)
def test_a_peers_text_becomes_fit_for_a_log_line(text, shown):
    assert printable(text, 10) == shown
