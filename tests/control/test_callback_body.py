"""What receivers are sent: the hosted service's fields, signatures, and nothing else that changes between attempts."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from rtmpd.control.callback_body import Sender, make_request, shown_url, video_url

OWED = {"event_type": 1, "stream_id": "demo", "channel_id": "demo", "appname": "live", "sequence": "7"}
SENDER = Sender(key="k3y", host="live.example.org", http_base="https://example.org")


def test_the_body_is_what_is_owed_and_what_only_the_delivery_knows():
    request = make_request("e-1", OWED, SENDER, 1_000.9)

    sign = hashlib.md5(b"k3y1600").hexdigest()
    added = {"app": "live.example.org", "event_id": "e-1", "t": 1_600, "sign": sign}
    assert json.loads(request.body) == OWED | added


def test_the_header_signs_the_very_bytes():
    request = make_request("e-1", OWED, SENDER, 1_000.0)

    expected = hmac.new(b"k3y", request.body, hashlib.sha256).hexdigest()
    assert request.headers == {
        "Content-Type": "application/json",
        "User-Agent": "rtmpd",
        "X-Rtmpd-Event": "e-1",
        "X-Rtmpd-Signature": f"sha256={expected}",
    }


def test_without_a_key_nothing_is_signed():
    request = make_request("e-1", OWED, Sender(host="h"), 1_000.0)

    assert "sign" not in json.loads(request.body)
    assert "X-Rtmpd-Signature" not in request.headers


def test_two_attempts_differ_in_t_and_sign_alone():
    first, second = (json.loads(make_request("e-1", OWED, SENDER, now).body) for now in (1_000.0, 2_000.0))

    assert {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)} == {"t", "sign"}


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://example.org", "https://example.org/recordings/live/a%20b/%E2%82%AC%3F.flv"),
        ("https://example.org/tv/", "https://example.org/tv/recordings/live/a%20b/%E2%82%AC%3F.flv"),
        ("", ""),
    ],
)
def test_a_new_file_has_its_path_and_its_url_where_there_is_one(base, url):
    owed = OWED | {"event_type": 100, "path": "live/a b/€?.flv"}

    body = json.loads(make_request("e", owed, Sender(http_base=base), 1_000.0).body)

    assert (body["path"], body["video_url"]) == ("live/a b/€?.flv", url)


def test_only_a_new_file_has_a_url():
    assert "video_url" not in json.loads(make_request("e", OWED, SENDER, 1_000.0).body)


def test_names_that_are_no_text_are_sent_all_the_same():
    owed = OWED | {"event_type": 100, "stream_id": "\ud800", "path": "\ud800.flv"}

    body = json.loads(make_request("e", owed, SENDER, 1_000.0).body)

    assert (body["stream_id"], body["video_url"]) == ("\ud800", "https://example.org/recordings/%ED%A0%80.flv")


def test_a_path_that_is_missing_makes_no_url():
    assert video_url("https://example.org", "") == ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org:81/in?token=s#x", "https://example.org:81/in"),
        ("http://user:s@[::1]:80/", "http://[::1]:80/"),
        ("http://[::1?token=s", "(not a URL)"),
    ],
)
def test_a_url_is_shown_without_what_may_be_a_secret(url, shown):
    assert shown_url(url) == shown


def test_a_key_is_not_shown():
    assert "k3y" not in repr(SENDER)
