"""The event loop, measured."""

from __future__ import annotations

import asyncio
import time

from rtmpd.control.metrics.loop import LoopLag, loop_metrics
from tests.helpers.metrics import Samples
from tests.helpers.rig import Rig


async def test_a_loop_that_was_held_up_is_late(monkeypatch):
    monkeypatch.setattr("rtmpd.control.metrics.loop.EVERY_S", 0.01)
    async with Rig() as rig:
        lag = LoopLag(rig.loop)
        lag.start()
        time.sleep(0.3)  # noqa: ASYNC251 - what is to be noticed
        await rig.until(lambda: lag.lateness.count)
        lag.stop()
        samples = Samples(loop_metrics(lag, rig.services.fanout, rig.services.poller))

    assert samples.value("rtmpd_loop_lag_seconds_sum") >= 0.25
    assert samples.value("rtmpd_loop_lag_seconds_bucket", le="0.25") < samples.value("rtmpd_loop_lag_seconds_count")


async def test_what_is_stopped_measures_no_more(monkeypatch):
    monkeypatch.setattr("rtmpd.control.metrics.loop.EVERY_S", 0.001)
    lag = LoopLag(asyncio.get_running_loop())
    lag.stop()
    lag.start()
    while not lag.lateness.count:
        await asyncio.sleep(0.001)
    lag.stop()
    measured = lag.lateness.count
    await asyncio.sleep(0.02)

    assert lag.lateness.count == measured


async def test_passes_and_turns_are_told():
    async with Rig() as rig:
        await rig.publisher()
        samples = Samples(loop_metrics(LoopLag(rig.loop), rig.services.fanout, rig.services.poller))

        assert samples.value("rtmpd_poller_turn_seconds_count") == rig.services.poller.turns.count > 0
        assert samples.value("rtmpd_fanout_pass_seconds_count") == rig.services.fanout.passes.count
        assert samples.value("rtmpd_fanout_delay_seconds_count") == rig.services.fanout.delays.count
