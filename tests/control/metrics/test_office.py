"""Everything that is measured, asked for at once: names, units, and figures that never go back."""

from __future__ import annotations

import asyncio
import itertools
import re

import pytest

from rtmpd.control.metrics import office as module
from rtmpd.errors import Refused
from tests.helpers.live import inter_frame, key_frame, video_header
from tests.helpers.measuring import measuring, scraped
from tests.helpers.metrics import Samples
from tests.helpers.store import HoldUp

UNITS = ("seconds", "bytes", "info", "fds")


async def test_names_and_units_are_as_prometheus_wants_them(tmp_path):
    async with measuring(tmp_path) as rig:
        await rig.publisher()
        samples = await scraped(rig)

    names = [family.name for family in samples.families]
    assert len(names) == len(set(names))
    for family in samples.families:
        assert re.fullmatch(r"(rtmpd|process)(_[a-z]+)+", family.name)
        assert family.documentation.endswith(".")
        assert family.type in {"gauge", "counter", "histogram"}
        assert not re.search(r"(_ms|_bits|_milliseconds|_kb|_mb|_total|_count|_sum)$", family.name)
        measured = [unit for unit in UNITS if unit in family.name.split("_")]
        assert all(family.name.endswith(f"_{unit}") for unit in measured)
        assert family.type != "histogram" or family.name.endswith("_seconds")
        assert all(re.fullmatch(r"[a-z]+", label) for sample in family.samples for label in sample.labels)


async def test_a_page_tells_of_the_program_streams_connections_and_recordings(tmp_path):
    async with measuring(tmp_path) as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0, size=3000), inter_frame(40))
        await publisher.ping()
        player = await rig.player()
        await rig.until(lambda: player.connection.bytes_out > 3000)
        samples = await scraped(rig)

        assert samples.value("rtmpd_build_info", version="1.2.3") == 1
        assert samples.value("rtmpd_draining") == 0
        assert samples.of("rtmpd_streams") == {("live", "live"): 1}
        assert samples.value("rtmpd_publishes_total", app="live") == 1
        assert samples.value("rtmpd_stream_frames_total", stream="live/s", media="video") == 2
        assert samples.value("rtmpd_stream_players", stream="live/s", kind="rtmp") == 1
        assert samples.value("rtmpd_stream_sent_bytes_total") == samples.value("rtmpd_sent_bytes_total") > 3000
        assert samples.value("rtmpd_recordings", origin="auto", state="running") == 1
        assert samples.value("rtmpd_packagings") == 1
        assert samples.value("process_open_fds") > 0


async def test_totals_never_go_back_when_players_come_and_go(tmp_path):
    async with measuring(tmp_path) as rig:
        publisher = await rig.publisher()
        pages = []
        for number in range(3):
            await publisher.send(video_header(), key_frame(40 * number, size=1000))
            player = await rig.player()
            await rig.until(lambda player=player: player.connection.bytes_out > 1000)
            pages.append(await scraped(rig))
            player.close()
            await rig.until(lambda: len(rig.services.connections) == 1)
            pages.append(await scraped(rig))

    for before, after in itertools.pairwise(pages):
        for family in before.families:
            if family.type == "counter":
                for sample in family.samples:
                    assert after.value(sample.name, **sample.labels) >= sample.value, sample


async def test_a_client_that_goes_while_others_are_looked_at_is_counted_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CLIENTS_A_TURN", 1)
    async with measuring(tmp_path) as rig:
        for _ in range(10):
            rig.connect()
        scrape = asyncio.ensure_future(rig.office.scrape(""))
        await asyncio.sleep(0)
        for connection in list(rig.services.connections):
            connection.evict("goes")
        samples = Samples.parse((await scrape).body.decode())
        later = await scraped(rig)

    for each in (samples, later):
        gone = each.value("rtmpd_clients_closed_total")
        assert each.value("rtmpd_clients") + gone == each.value("rtmpd_clients_accepted_total") == 10
    assert later.value("rtmpd_clients") == 0


async def test_connections_are_looked_at_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CLIENTS_A_TURN", 2)
    async with measuring(tmp_path) as rig:
        for _ in range(10):
            rig.connect()
        turns = 0

        async def others():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.ensure_future(others())
        samples = await scraped(rig)
        other.cancel()

    assert turns >= 5 + len(samples.families)


async def test_a_database_that_hangs_does_not_keep_the_rest_from_being_told(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_DATABASE_S", 0.05)
    async with measuring(tmp_path) as rig:
        held = HoldUp(rig.database)
        samples = await scraped(rig)
        held.release()
        await held.done

        assert samples.value("process_open_fds") > 0
        assert "rtmpd_callbacks" not in {family.name for family in samples.families}
        monkeypatch.setattr(module, "_DATABASE_S", 10.0)
        assert "rtmpd_callbacks" in {family.name for family in (await scraped(rig)).families}


async def test_draining_is_told(tmp_path):
    async with measuring(tmp_path) as rig:
        rig.services.connect_refusal = Refused("x", "y")

        assert (await scraped(rig)).value("rtmpd_draining") == 1


async def test_what_is_closed_counts_no_more_and_may_be_closed_again(tmp_path):
    async with measuring(tmp_path) as rig:
        rig.office.close()
        rig.office.close()


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_scrapes_at_the_same_time_are_all_answered(tmp_path, accept):
    async with measuring(tmp_path) as rig:
        expositions = await asyncio.gather(*(rig.office.scrape(accept) for _ in range(5)))

    assert {exposition.content_type for exposition in expositions} == {expositions[0].content_type}
    assert all(b"rtmpd_build_info" in exposition.body for exposition in expositions)
