"""All packagings of a server: always on, by their editions, a hundred at once, and nothing left of any of them."""

from __future__ import annotations

import asyncio

import pytest

from muxers import live_run
from rtmpd.config_file import validate
from rtmpd.live.registry import Registry
from rtmpd.workers import packaging as packaging_module
from rtmpd.workers.packaging import PART_BYTES, most_bytes
from rtmpd.workers.protocol import Health
from tests.helpers.live import AVC_HEADER
from tests.helpers.packagings import UNIX_S, Viewer, rigs
from tests.helpers.played_packager import PlayedPackager

ALWAYS = {"live": {"packaging": "always"}, "other": {}}


@pytest.fixture
async def new_rig(monkeypatch):
    monkeypatch.setattr(packaging_module, "Packager", PlayedPackager)
    async with rigs() as new_rig:
        yield new_rig


async def test_nothing_is_packaged_that_nobody_asked_for(new_rig):
    rig = new_rig()
    rig.send(rig.publish(), "k.")
    rig.pass_time(3)

    assert len(rig.packagings) == 0
    assert rig.packager.ticks == 3
    assert rig.packager.feeds == []
    assert rig.packagings.get("live", "s") is None


async def test_an_application_that_is_always_packaged_is_so_from_the_publishers_coming_to_its_end(new_rig):
    rig = new_rig(apps=ALWAYS)
    publication = rig.publish()
    rig.publish("t", app="other")
    packaging = rig.packagings.get("live", "s")
    sent = rig.send(publication, "k.")
    rig.pass_time(1000)
    await rig.settle()
    assert packaging.window.events == ["begin", *sent]
    assert len(rig.packagings) == 1

    rig.end(publication)
    await rig.settle()
    rig.pass_time(59)
    assert rig.packagings.get("live", "s") is packaging
    rig.pass_time(2)
    assert len(rig.packagings) == 0


async def test_a_reload_packages_what_is_published_already_and_lets_go_of_what_nobody_watches(new_rig):
    rig = new_rig()
    rig.publish()
    rig.packagings.reload(validate(rig.tables | {"apps": ALWAYS}))
    assert len(rig.packager.feeds) == 1
    rig.pass_time(100)
    assert len(rig.packagings) == 1
    rig.packagings.reload(validate(rig.tables))

    assert len(rig.packagings) == 0
    assert [line["reason"] for line in rig.said("packaging ended")] == ["nobody watches it any more"]


async def test_an_always_packaged_stream_that_was_private_is_packaged_when_it_is_not(new_rig):
    rig = new_rig(apps=ALWAYS)
    publication = rig.publish(is_public=False)
    rig.pass_time(5)
    assert len(rig.packagings) == 0
    publication.stream.reveal()
    rig.pass_time(1)
    assert rig.packagings.get("live", "s").is_running
    publication.stream.hide("private")
    rig.pass_time(1)

    assert len(rig.packagings) == 0


async def test_editions_are_random_and_lead_to_their_packagings(new_rig):
    rig = new_rig()
    first, second = (rig.packagings.want(rig.publish(name).stream) for name in "ab")

    assert len(first.edition) == len(second.edition) == 16
    assert int(first.edition, 16) != int(second.edition, 16)
    assert rig.packagings.find(first.edition) is first
    assert rig.packagings.find(second.edition) is second
    assert rig.packagings.find("0" * 16) is None
    assert rig.packagings.find("") is None


async def test_a_packaging_that_waits_for_a_stream_that_never_comes_is_forgotten(new_rig):
    rig = new_rig()
    packaging = rig.packagings.want(Registry(rig.registry._retention)._stream("live", "s"))
    rig.pass_time(29)
    assert rig.packagings.get("live", "s") is packaging
    rig.pass_time(2)

    assert len(rig.packagings) == 0


async def test_a_hundred_streams_are_packaged_at_once_and_none_is_left(new_rig):
    rig = new_rig()
    viewers = {}
    publications = [rig.publish(f"s{number}") for number in range(100)]
    for publication in publications:
        viewers[publication] = Viewer()
        rig.packagings.want(publication.stream).attach(viewers[publication])
    sent = [rig.send(publication, "k..") for publication in publications]
    await rig.settle()
    windows = [rig.packagings.get("live", f"s{number}").window for number in range(100)]
    assert [window.events for window in windows] == [["begin", *numbers] for numbers in sent]
    assert all(viewer.told == ["started"] for viewer in viewers.values())
    for publication in publications[:50]:
        rig.end(publication)
    rig.packager.die()
    await rig.settle()
    for publication in publications[50:]:
        rig.packagings.get("live", publication.stream.name).detach(viewers[publication])
    rig.pass_time(100)

    assert len(rig.packagings) == 0
    assert rig.packagings._by_edition == {}
    assert rig.packager.running == [feed for feed in rig.packager.running if feed.receive().at_end]
    assert all(log.cursors == [] for publication in publications for log in publication.stream.logs)


async def test_before_a_stop_what_is_left_of_streams_is_packaged(new_rig):
    rig = new_rig()
    viewers, publications = [Viewer(), Viewer()], [rig.publish("a"), rig.publish("b")]
    for viewer, publication in zip(viewers, publications, strict=True):
        rig.packagings.want(publication.stream).attach(viewer)
    sent = [rig.send(publication, "k") for publication in publications]
    await rig.settle()
    sent = [sent[number] + rig.send(publication, "..") for number, publication in enumerate(publications)]
    rig.registry.end_all("server stops")
    finishing = asyncio.ensure_future(rig.packagings.finish(20.0))
    await asyncio.sleep(0)
    assert not finishing.done()
    await rig.settle()

    await finishing
    for viewer, publication, numbers in zip(viewers, publications, sent, strict=True):
        window = rig.packagings.get("live", publication.stream.name).window
        assert window.events == ["begin", *numbers, "break"]
        assert viewer.told == ["started", "the stream has ended"]
        assert len(viewer.read()) == len(AVC_HEADER) + 3 * 45


async def test_a_packager_that_hangs_holds_up_a_stop_no_longer_than_it_may(new_rig):
    rig = new_rig()
    viewer, publication = Viewer(), rig.publish()
    packaging = rig.packagings.want(publication.stream)
    packaging.attach(viewer)
    sent = rig.send(publication, "k")
    await rig.settle()
    rig.send(publication, ".")
    rig.registry.end_all("server stops")
    await rig.packagings.finish(0.01)

    assert packaging.window.events == ["begin", *sent, "break"]
    assert viewer.told == ["started", "the packager takes too long"]


async def test_after_the_servers_stop_nothing_is_begun(new_rig):
    rig = new_rig(apps=ALWAYS)
    publication = rig.publish()
    packaging = rig.packagings.get("live", "s")
    viewer = Viewer()
    packaging.attach(viewer)
    rig.send(publication, "k")
    await rig.settle()
    await rig.packagings.close(5.0)
    rig.pass_time(3)
    late = rig.packagings.want(publication.stream)

    assert viewer.told == ["started", "server stops"]
    assert packaging.is_over
    assert late.is_over
    assert len(rig.packagings) == 0
    assert rig.packager.stopped


async def test_windows_are_as_configured_and_numbered_by_the_time_of_day_and_then_from_where_they_ended(new_rig):
    rig = new_rig(
        keeps_windows=False, segment_s=1.5, part_ms=50, playlist_segments=4, window_bytes=1 << 20, kept_s=5, idle_s=0
    )
    publication = rig.publish()
    packaging = rig.packagings.want(publication.stream)
    rig.send(publication, "k.", step_ms=1000)
    await rig.settle()
    window = packaging.window
    assert (window.next_number, window.discontinuity_sequence) == (int(UNIX_S), 0)
    assert (window.part_ms, window.target_duration_s, window.next_part_number) == (50, 2, 2)
    rig.end(publication)
    await rig.settle()
    assert [segment.number for segment in window.segments] == [int(UNIX_S)]
    rig.pass_time(6)

    window = rig.packagings.want(rig.publish().stream).window
    assert (window.next_number, window.discontinuity_sequence) == (int(UNIX_S) + 1, 1)
    assert [(row.next_number, row.discontinuities) for row in rig.stored_ends] == [(None, 0), (int(UNIX_S) + 1, 1)]


async def test_the_packagers_figures_are_those_of_the_server(new_rig):
    rig = new_rig()
    rig.packager.health = Health(1 << 20, 5)
    rig.packager.pid = 77
    rig.packager.deaths = 3

    assert (rig.packagings.health, rig.packagings.pid, rig.packagings.deaths) == (Health(1 << 20, 5), 77, 3)


async def test_a_stream_that_packagers_die_of_is_packaged_no_more_for_a_while_and_others_are(new_rig):
    rig = new_rig()
    good, bad = rig.publish("good"), rig.publish("bad")
    packagings = [rig.packagings.want(each.stream) for each in (good, bad)]
    viewer = Viewer()
    packagings[1].attach(viewer)
    rig.packager.die("live/bad")
    assert [each.is_running for each in packagings] == [True, True]

    rig.packager.die("live/bad")
    assert [each.is_running for each in packagings] == [True, False]
    assert viewer.told == [packagings[1].refusal]
    assert "died of the stream" in packagings[1].refusal
    (line,) = rig.said("packaging barred")
    assert (line["stream"], line["deaths"]) == ("live/bad", packaging_module.DEATHS_BARRED)

    for _ in range(int(packaging_module.BARRED_S) - 1):  # somebody goes on asking
        rig.pass_time(1.0)
        assert not rig.packagings.want(bad.stream).is_running
        assert rig.packagings.want(bad.stream).refusal
    rig.pass_time(2.0)
    assert rig.packagings.want(bad.stream).is_running
    assert rig.packagings.want(bad.stream).refusal is None


async def test_deaths_that_nobody_is_blamed_for_bar_nobody_and_those_long_ago_are_forgotten(new_rig):
    rig = new_rig()
    publication = rig.publish("s")
    packaging = rig.packagings.want(publication.stream)
    packaging.attach(Viewer())
    for name in ("", "", "", "live/s"):
        rig.packager.die(name)
        assert packaging.is_running
    rig.pass_time(packaging_module.BARRED_S + 1)
    rig.packager.die("live/s")

    assert packaging.is_running
    assert rig.packagings._blamed.keys() == {"live/s"}


def test_what_a_stream_may_take_is_the_sum_of_its_parts():
    config = validate({"packaging": {"window_bytes": 1000}, "log": {"gop_bytes": 100}, "limits": {"message_bytes": 10}})

    assert most_bytes(config) == 1100 + 3 * (PART_BYTES + 10)
    assert live_run.MOST_BYTES == PART_BYTES
