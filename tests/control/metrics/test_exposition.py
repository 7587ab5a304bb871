"""Metrics as text, in the format that is asked for, a family at a time."""

from __future__ import annotations

import asyncio

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open

from rtmpd.control.metrics.exposition import expose
from rtmpd.control.metrics.families import counter, gauge
from tests.helpers.metrics import Samples

OPEN = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"


def families():
    yield gauge("streams", "Streams.", ["app"], [(["live"], 3)])
    yield counter("sent_bytes", "Bytes.", (), [((), 7)])


async def test_it_is_prometheus_text_unless_something_else_is_asked_for():
    for accept in ("", "*/*", "text/plain", "application/json"):
        exposition = await expose(families(), accept)

        assert exposition.content_type == "text/plain; version=0.0.4; charset=utf-8"
        samples = Samples.parse(exposition.body.decode())
        assert (samples.value("rtmpd_streams", app="live"), samples.value("rtmpd_sent_bytes_total")) == (3, 7)


async def test_openmetrics_is_one_document():
    exposition = await expose(families(), OPEN)

    assert exposition.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert exposition.body.count(b"# EOF\n") == 1
    samples = Samples(parse_open(exposition.body.decode()))
    assert samples.value("rtmpd_sent_bytes_total") == 7


async def test_the_loop_has_its_turn_after_each_family():
    turns = []

    async def others():
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    def watched():
        for family in families():
            turns.clear()
            yield family
            assert turns

    other = asyncio.ensure_future(others())
    await expose(watched(), "")
    other.cancel()
