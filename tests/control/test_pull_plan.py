"""What is pulled, by the configuration, and what of it is refused before the start."""

from __future__ import annotations

import tomllib

import pytest

from rtmpd.config_file import validate
from rtmpd.control.pull_plan import EDGE_IDLE_S, PullPlan, pull_faults
from rtmpd.errors import ConfigError
from rtmpd.net.pull_target import PullTarget
from rtmpd.net.pull_urls import parse_source


def plan_of(text):
    return PullPlan(validate(tomllib.loads(text), [pull_faults]))


def faults(text):
    with pytest.raises(ConfigError) as caught:
        plan_of(text)
    return caught.value.faults


EDGE = '[apps.edge]\norigin = ["rtmp://a.example/live?key=k", "rtmp://b.example/live"]\ngrace_s = 3\nmax_streams = 7\n'
NAMED = '[apps.live]\npush = "manual"\n[pulls."live/s"]\nsources = ["rtmp://a.example/x/y", "http://b.example/s.flv"]\n'


def test_a_stream_with_a_table_is_always_on_unless_it_is_on_demand():
    urls = (parse_source("rtmp://a.example/x/y"), parse_source("http://b.example/s.flv"))

    static = plan_of(NAMED).find("live", "s")
    on_demand = plan_of(f"{NAMED}on_demand = true\nidle_s = 3").find("live", "s")

    assert static.target == PullTarget("live", "s", grace_s=10.0, is_public=False)
    assert (static.urls, static.idle_s) == (urls, None)
    assert (on_demand.urls, on_demand.idle_s) == (urls, 3)
    assert plan_of(NAMED).find("live", "other") is None


def test_every_stream_of_an_edge_is_pulled_on_demand():
    pull = plan_of(EDGE).find("edge", "s")

    assert pull.urls == (parse_source("rtmp://a.example/live/s?key=k"), parse_source("rtmp://b.example/live/s"))
    assert pull.idle_s == EDGE_IDLE_S
    assert pull.target == PullTarget("edge", "s", grace_s=3.0, is_public=True)
    assert plan_of(EDGE).find("live", "s") is None
    assert plan_of(EDGE).most_streams("edge") == 7
    assert plan_of(EDGE).named == {}


def test_a_table_of_its_own_goes_before_the_origin():
    pull = plan_of(f'{EDGE}[pulls."edge/s"]\nsources = "rtmp://c.example/x/y"').find("edge", "s")

    assert pull.urls == (parse_source("rtmp://c.example/x/y"),)
    assert pull.idle_s is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            '[apps.live]\n[pulls."live/s"]\nsources = ["rtmp://h/hush"]',
            'pulls."live/s".sources[0]: (not shown): the URL names no stream: rtmp://HOST/APPLICATION/STREAM is expected',
        ),
        (
            '[apps.edge]\norigin = "rtmp://h"',
            "apps.edge.origin[0]: (not shown): the URL names no application: rtmp://HOST/APPLICATION is expected",
        ),
    ],
)
def test_a_url_that_no_stream_can_be_pulled_from_is_a_fault(text, fault):
    assert faults(text) == [fault]


@pytest.mark.parametrize("listen", ["127.0.0.1:1940", ":1940", "[::1]:1940"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[apps.edge]\norigin = "rtmp://{host}:1940/edge?k=v"', "apps.edge.origin[0]"),
        ('[apps.live]\n[pulls."live/s"]\nsources = "rtmp://{host}:1940/live/s?k=v"', 'pulls."live/s".sources[0]'),
    ],
)
def test_a_stream_cannot_be_pulled_from_itself(listen, host, text, key):
    (fault,) = faults(f'open = true\n[rtmp]\nlisten = "{listen}"\n{text.format(host=host)}')

    assert fault.startswith(f"{key}: (not shown): another server than this one, ")


@pytest.mark.parametrize(
    "text",
    [
        '[apps.edge]\norigin = "rtmp://127.0.0.1:1940/live"',
        '[apps.edge]\norigin = "rtmp://127.0.0.1:1941/edge"',
        '[apps.edge]\norigin = "rtmp://192.0.2.1:1940/edge"',
        '[apps.live]\n[pulls."live/s"]\nsources = "rtmp://127.0.0.1:1940/live/other"',
        '[apps.live]\n[pulls."live/s"]\nsources = "http://127.0.0.1:1940/live/s"',
    ],
)
def test_another_application_stream_port_or_host_is_no_loop(text):
    plan_of(f'[rtmp]\nlisten = "127.0.0.1:1940"\n{text}')
