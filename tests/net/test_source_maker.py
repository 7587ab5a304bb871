"""Sources are made of their URLs, and are within the limits of publishers."""

from __future__ import annotations

import socket

import pytest

from rtmpd.net.http_flv import HttpFlvSource
from rtmpd.net.pull_feed import PullFeed
from rtmpd.net.pull_sources import RtmpSource
from rtmpd.net.pull_urls import parse_source
from rtmpd.net.source_maker import SourceMaker
from rtmpd.session.limits import Limits
from tests.helpers.pulls import TARGET
from tests.helpers.rig import Rig


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("rtmp://h/app/s", RtmpSource),
        ("rtmps://h/app/s", RtmpSource),
        ("http://h/s.flv", HttpFlvSource),
        ("https://h/s.flv", HttpFlvSource),
    ],
)
async def test_each_kind_of_url_has_its_kind_of_source(url, kind):
    async with Rig() as rig:
        source = SourceMaker(rig.services).make(parse_source(url))

    assert isinstance(source, kind)
    assert source.label == parse_source(url).label


async def test_a_source_may_be_silent_as_long_as_a_publisher():
    async with Rig(limits=Limits(publisher_idle_s=7.0)) as rig:
        assert SourceMaker(rig.services).silence_s == 7.0


@pytest.mark.parametrize("scheme", ["rtmp", "rtmps"])
async def test_an_rtmp_source_is_dialled_with_tls_or_without(scheme):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        port = listening.getsockname()[1]
        async with Rig() as rig:
            source = SourceMaker(rig.services).make(parse_source(f"{scheme}://127.0.0.1:{port}/app/s"))
            trying = rig.services.tasks.supervise(_receive(source, rig), "try")
            accepted, _ = await rig.loop.sock_accept(listening)
            accepted.setblocking(False)
            first = await rig.loop.sock_recv(accepted, 1)
            trying.cancel()
            accepted.close()

    assert first == {"rtmp": b"\x03", "rtmps": b"\x16"}[scheme]


async def _receive(source, rig):
    await source.receive(PullFeed(rig.services, TARGET, lambda: None))
