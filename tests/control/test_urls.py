"""Watch URLs and what they begin with."""

from __future__ import annotations

import pytest

from rtmpd.address import Address
from rtmpd.config import UrlsConfig
from rtmpd.control import urls
from rtmpd.control.rooms import Named
from rtmpd.control.urls import Bases, bases, watched
from rtmpd.control.words import FMP4, HLS, RTMP, outputs

BASES = Bases("rtmp://live.example.com", "https://live.example.com")


@pytest.mark.parametrize(
    ("listen", "base", "host"),
    [
        (Address("127.0.0.1", 1935), "rtmp://127.0.0.1:1935", "127.0.0.1"),
        (Address("0.0.0.0", 1), "rtmp://127.0.0.1:1", "127.0.0.1"),
        (Address("", 1), "rtmp://127.0.0.1:1", "127.0.0.1"),
        (Address("::", 1), "rtmp://[::1]:1", "::1"),
        (Address("media.lan", 1935), "rtmp://media.lan:1935", "media.lan"),
    ],
)
def test_without_a_public_base_urls_begin_with_an_address_that_can_be_reached(listen, base, host):
    found = bases(UrlsConfig(), listen)

    assert found == (base, "")
    assert found.host == host


def test_a_public_base_goes_before_the_address():
    configured = UrlsConfig(rtmp="rtmp://live.example.com/", http="https://live.example.com/")

    assert bases(configured, Address("", 1)) == BASES


@pytest.mark.parametrize("wanted", [None, outputs(RTMP)])
def test_a_stream_has_a_url_for_each_output_that_is_served(wanted):
    where = watched(BASES, Named("live", "me"), wanted)

    assert [url.model_dump() for url in where.urls] == [
        {"type": 5, "play_url": "rtmp://live.example.com/live/me", "rate_type": 0}
    ]
    assert where.notes == []


def test_what_is_wanted_and_not_served_is_named():
    where = watched(BASES, Named("live", "me"), outputs(6) | {FMP4})

    assert [url.type for url in where.urls] == [RTMP]
    assert where.notes == ["HLS is not served by this server", "live fMP4 is not served by this server"]


def test_rtmp_urls_name_the_stream_as_it_is_as_no_client_decodes_them():
    assert watched(BASES, Named("a/b", "Zoë 50%")).urls[0].play_url == "rtmp://live.example.com/a/b/Zoë 50%"


def test_an_output_over_http_would_have_its_path_encoded(monkeypatch):
    monkeypatch.setattr(urls, "_OUTPUTS", {HLS: urls._Output("http", ".m3u8")})

    where = watched(BASES, Named("a/b", "Zoë #1?"))

    assert where.urls[0].play_url == "https://live.example.com/a/b/Zo%C3%AB%20%231%3F.m3u8"
