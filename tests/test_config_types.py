from __future__ import annotations

import tomllib

import pytest

from rtmpd.config_file import validate
from tests.helpers.configuration import faults


@pytest.mark.parametrize("name", ["", "a//b", "/a", "a/", "..", "a/../b", "a?b", "a\\nb", "x" * 257])
def test_a_name_that_no_client_can_ask_for_is_no_application(name):
    (fault,) = faults(f'[apps."{name}"]')

    assert "an application's name is expected" in fault


@pytest.mark.parametrize("name", ["recordings", "recordings/live", "api", "api/v1/streams"])
def test_a_name_that_is_something_else_over_http_is_no_application(name):
    (fault,) = faults(f'[apps."{name}"]')

    assert fault.endswith("and the first of them not api or recordings, which is something else over HTTP")
    assert faults(f'[apps.live]\n[rooms]\napp = "{name}"')


def test_such_a_name_is_one_only_where_a_path_begins():
    assert set(validate({"apps": {"live/api": {}, "recordings2": {}}}).apps) == {"live/api", "recordings2"}


@pytest.mark.parametrize(
    ("formats", "read"),
    [('"mp4"', ("mp4",)), ('["hls", "flv", "hls"]', ("hls", "flv")), ('["m4a", "mp3", "mp4"]', ("m4a", "mp3", "mp4"))],
)
def test_formats_are_one_or_a_list_and_repeats_count_once(formats, read):
    assert validate(tomllib.loads(f"[apps.live]\nrecord_formats = {formats}")).apps["live"].record_formats == read


@pytest.mark.parametrize("url", ["rtmp://a/b", "http://", "http://a b/", "http://a:x/", "a", ""])
def test_a_hook_is_asked_over_http_and_nothing_else(url):
    assert faults(f'[apps.live]\non_publish = "{url}"')


def test_a_network_may_be_an_address_or_have_host_bits():
    app = validate(tomllib.loads('[apps.live]\npublish_allow = ["192.0.2.1/24", "2001:db8::1"]')).apps["live"]

    assert [str(each) for each in app.publish_allow] == ["192.0.2.0/24", "2001:db8::1/128"]


def test_a_network_that_is_none_is_named():
    (fault,) = faults('[apps.live]\nplay_deny = ["192.0.2.300"]')

    assert fault.startswith("apps.live.play_deny[0]: ")


@pytest.mark.parametrize(
    "origin", ["a.example", "https://a.example/", "https://a.example/x", "ftp://a.example", "", "https://u@a.example"]
)
def test_an_origin_is_what_a_browser_sends(origin):
    (fault,) = faults(f'[http]\nmedia_origins = "{origin}"')

    assert "an origin like" in fault


def test_origins_are_one_or_a_list_or_all():
    assert validate({"http": {"media_origins": "*"}}).http.media_origins == ("*",)
    assert validate({"http": {"media_origins": ["https://a.example:8443"]}}).http.media_origins == (
        "https://a.example:8443",
    )
