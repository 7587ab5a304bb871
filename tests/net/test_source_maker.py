"""Sources are made of their URLs, and are within the limits of publishers."""

from __future__ import annotations

import pytest

from rtmpd.errors import Unreachable
from rtmpd.net.http_flv import HttpFlvSource
from rtmpd.net.pull_sources import RtmpSource
from rtmpd.net.pull_urls import parse_source
from rtmpd.net.source_maker import SourceMaker
from rtmpd.session.limits import Limits
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
        source = SourceMaker(rig.services, None, None).make(parse_source(url))

    assert isinstance(source, kind)
    assert source.label == parse_source(url).label


async def test_a_source_may_be_silent_as_long_as_a_publisher():
    async with Rig(limits=Limits(publisher_idle_s=7.0)) as rig:
        assert SourceMaker(rig.services, None, None).silence_s == 7.0


async def test_an_rtmp_source_is_dialled_as_it_is_told():
    dialled = []

    async def dial(url):
        dialled.append(url.label)
        raise Unreachable("not today")

    async with Rig() as rig:
        parting = await SourceMaker(rig.services, dial, None).make(parse_source("rtmp://h/app/s")).receive(None)

    assert (parting.reason, dialled) == ("not today", ["rtmp://h/app"])
