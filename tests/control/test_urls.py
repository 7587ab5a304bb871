"""Watch URLs and what they begin with."""

from __future__ import annotations

import pytest

from rtmpd.address import Address
from rtmpd.config import UrlsConfig
from rtmpd.control.rooms import Named
from rtmpd.control.urls import Bases, Listening, bases, watched
from rtmpd.control.words import FLV, FMP4, HLS, RAW, RTMP, outputs

BASES = Bases("rtmp://live.example.com", "https://live.example.com")


@pytest.mark.parametrize(
    ("listen", "reached", "host"),
    [
        (Address("127.0.0.1", 1935), "127.0.0.1:1935", "127.0.0.1"),
        (Address("0.0.0.0", 1), "127.0.0.1:1", "127.0.0.1"),
        (Address("", 1), "127.0.0.1:1", "127.0.0.1"),
        (Address("::", 1), "[::1]:1", "::1"),
        (Address("media.lan", 1935), "media.lan:1935", "media.lan"),
    ],
)
def test_without_a_public_base_urls_begin_with_an_address_that_can_be_reached(listen, reached, host):
    other = Address("127.0.0.1", 8080)
    found = bases(UrlsConfig(), Listening(listen, other))

    assert found == (f"rtmp://{reached}", "http://127.0.0.1:8080")
    assert found.host == host
    assert bases(UrlsConfig(), Listening(other, listen)).http == f"http://{reached}"


def test_a_public_base_goes_before_the_address():
    configured = UrlsConfig(rtmp="rtmp://live.example.com/", http="https://live.example.com/")

    assert bases(configured, Listening(Address("", 1), Address("", 2))) == BASES


def test_a_stream_has_a_url_for_each_output_that_is_served():
    where = watched(BASES, Named("live", "me"))

    assert [url.model_dump() for url in where.urls] == [
        {"type": HLS, "play_url": "https://live.example.com/live/me.m3u8", "rate_type": 0},
        {"type": FLV, "play_url": "https://live.example.com/live/me.flv", "rate_type": 0},
        {"type": RTMP, "play_url": "rtmp://live.example.com/live/me", "rate_type": 0},
        {"type": FMP4, "play_url": "https://live.example.com/live/me.mp4", "rate_type": 0},
    ]
    assert where.notes == []


def test_what_is_wanted_and_not_served_is_named():
    where = watched(BASES, Named("live", "me"), outputs(6) | {RAW})

    assert [url.type for url in where.urls] == [HLS, RTMP]
    assert where.notes == ["RAW is not served by this server"]


def test_rtmp_urls_name_the_stream_as_it_is_as_no_client_decodes_them():
    assert watched(BASES, Named("a/b", "Zoë 50%"), {RTMP}).urls[0].play_url == "rtmp://live.example.com/a/b/Zoë 50%"


def test_an_output_over_http_has_its_path_encoded():
    where = watched(BASES, Named("a/b", "Zoë #1?"))

    assert where.urls[0].play_url == "https://live.example.com/a/b/Zo%C3%AB%20%231%3F.m3u8"
