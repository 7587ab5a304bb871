"""One recording: nothing missing over slow indexes, lost publishers, dead workers and the stream's next life."""

from __future__ import annotations

import asyncio
import gc

import pytest

from rtmpd.errors import Overloaded, StoreError
from rtmpd.live.log import Log
from rtmpd.workers.stream_recorder import LAST_OFFER_S, RETRY_S, Phase
from tests.helpers.studio import Rig


@pytest.fixture
async def rig(tmp_path):
    rig = await Rig.open(tmp_path)
    yield rig
    await rig.close()


def only(rig):
    (recorder,) = rig.recorder.recordings
    return recorder


def on_disk(rig):
    """Numbers of the frames in every file, file after file."""
    return [rig.frames(path) for path in rig.on_disk()]


async def finish(rig):
    """End what is being recorded, and let the workers write the rest."""
    for each in rig.recorder.recordings:
        each.finish()
    await rig.settle()
    for worker in rig.supervisor.running:
        worker.finish()
    await rig.settle()


async def test_a_stream_is_fed_from_its_first_frame_to_its_last(rig):
    publication = rig.publish()
    numbers = rig.send(publication, "..k.")
    rig.end(publication)
    await finish(rig)

    assert on_disk(rig) == [numbers]
    assert rig.recorder.recordings == ()
    assert rig.worker.feed.socket.fileno() == -1


async def test_a_recording_begins_where_it_began_however_long_the_index_takes(rig):
    rig.hold_database()
    publication = rig.publish()
    numbers = rig.send(publication, "k.k.k")
    await rig.settle()
    numbers += rig.send(publication, ".k")
    rig.release_database()
    await rig.settle()
    numbers += rig.send(publication, ".")
    await finish(rig)

    assert on_disk(rig) == [numbers]


async def test_a_stream_that_ends_before_its_recording_is_in_the_index_is_recorded_all_the_same(tmp_path):
    rig = await Rig.open(tmp_path, resume_s=0)
    rig.hold_database()
    publication = rig.publish()
    numbers = rig.send(publication, "k..")
    rig.end(publication)
    rig.release_database()
    await rig.settle()
    rig.worker.finish()
    await rig.settle()

    assert on_disk(rig) == [numbers]
    assert rig.recorder.recordings == ()
    await rig.close()


async def test_a_recording_that_is_asked_for_later_begins_at_the_newest_key_frame(tmp_path):
    rig = await Rig.open(tmp_path, record="manual")
    publication = rig.publish()
    rig.send(publication, "k.")
    numbers = rig.send(publication, "k.")
    rig.record(publication)
    numbers += rig.send(publication, ".k")
    await rig.settle()
    await finish(rig)

    assert on_disk(rig) == [numbers]
    await rig.close()


@pytest.mark.parametrize("how", ["lose", "take over"])
async def test_a_publisher_that_returns_in_the_same_life_is_marked_and_nothing_is_missing(rig, how):
    publication = rig.publish()
    numbers = rig.send(publication, "k.")
    await rig.settle()
    if how == "lose":
        rig.lose(publication)
    again = rig.publish()
    numbers += rig.send(again, "k.")
    await rig.settle()
    await finish(rig)

    assert on_disk(rig) == [numbers]
    assert rig.worker.times.count("mark") == 1
    assert len(rig.supervisor.workers) == 1


async def test_a_publisher_that_returns_after_the_end_goes_on_in_the_same_file(rig):
    publication = rig.publish()
    numbers = rig.send(publication, "k.")
    rig.end(publication)
    await rig.pass_time(59)
    assert list((await rig.recordings()).values()) == ["waiting"]
    assert only(rig).phase is Phase.WAITING
    again = rig.publish()
    numbers += rig.send(again, "k.")
    await rig.pass_time(59)
    assert list((await rig.recordings()).values()) == ["running"]
    await finish(rig)

    assert on_disk(rig) == [numbers]
    assert rig.worker.times.count("mark") == 1


@pytest.mark.parametrize("refusals", [1, 20])
async def test_a_recording_that_goes_on_is_not_said_to_wait_by_what_a_full_disk_held_up(rig, monkeypatch, refusals):
    rig.ledger._retry_s = 0.001
    wait, left = rig.index.wait, [StoreError("database or disk is full", cause="SQLITE_FULL")] * refusals

    def wait_when_there_is_room(*facts):
        if not left:
            return wait(*facts)
        refused = asyncio.get_running_loop().create_future()
        refused.set_exception(left.pop())
        return refused

    monkeypatch.setattr(rig.index, "wait", wait_when_there_is_room)
    publication = rig.publish()
    rig.send(publication, "k.")
    await rig.settle()
    rig.worker.open()
    await rig.settle()
    rig.end(publication)
    rig.publish()
    await rig.settle()

    assert not left
    assert only(rig).phase is Phase.RUNNING
    assert list((await rig.recordings()).values()) == ["running"]
    assert await rig.turns() == ["record_start_succeeded", "record_paused", "record_resumed"]


async def test_a_publisher_that_returns_before_the_recording_is_in_the_index_is_recorded_with_the_first(rig):
    rig.hold_database()
    numbers = []
    for _ in range(3):
        publication = rig.publish()
        numbers += rig.send(publication, "k.")
        rig.end(publication)
    rig.release_database()
    await rig.settle()
    assert only(rig).phase is Phase.WAITING
    await rig.pass_time(61)
    rig.worker.finish()
    await rig.settle()

    assert on_disk(rig) == [numbers]
    assert rig.worker.times.count("mark") == 2


async def test_a_recording_that_never_started_and_whose_publisher_stays_away_ends_and_never_pauses(rig):
    rig.end(rig.publish())
    await rig.pass_time(59)
    assert not rig.worker.receive().at_end

    await rig.pass_time(2)
    assert rig.worker.receive().at_end
    rig.worker.end()
    await rig.settle()

    assert list((await rig.recordings()).values()) == ["ended"]
    assert await rig.turns() == ["record_ended"]


async def test_a_recording_without_a_resume_time_ends_with_its_stream(tmp_path):
    rig = await Rig.open(tmp_path, resume_s=0)
    publication = rig.publish()
    await rig.settle()
    rig.end(publication)
    await rig.settle()

    assert rig.worker.finish().is_over
    await rig.close()


async def test_finishing_again_and_streams_that_go_on_do_not_bring_a_recording_back(rig):
    publication = rig.publish()
    await rig.settle()
    recorder = only(rig)
    recorder.finish()
    recorder.finish()
    recorder.publisher_returned(publication.stream)
    recorder.stream_ended()
    await rig.pass_time(100)
    rig.worker.finish()
    await rig.settle()
    recorder.finish()
    await rig.pass_time(100)

    assert recorder.phase is Phase.ENDED
    assert (await rig.turns()).count("record_ended") == 1
    assert len(rig.supervisor.workers) == 1


async def test_a_dead_workers_recording_goes_on_at_the_key_frame_before_what_was_confirmed(rig):
    publication = rig.publish()
    first = rig.send(publication, "k.k..k.")
    await rig.settle()
    rig.worker.write(5)  # a header, k.k.
    rig.supervisor.die(rig.worker)
    first += rig.send(publication, ".k")
    await rig.settle()
    await finish(rig)

    one, two = rig.supervisor.workers
    assert on_disk(rig) == [first[:4], first[2:]]
    assert (one.feed.request.recording_id, one.feed.request.sequence) == (two.feed.request.recording_id, 1)
    assert two.feed.request.sequence == 2
    assert one.feed.socket.fileno() == -1


async def test_a_worker_that_dies_again_and_again_costs_nothing(rig):
    publication = rig.publish()
    numbers = rig.send(publication, "k..")
    await rig.settle()
    for count in (2, 1, 0, 3):
        rig.worker.write(count)
        rig.supervisor.die(rig.worker)
        numbers += rig.send(publication, ".k.")
        await rig.settle()
    await finish(rig)

    assert set(numbers) == {number for frames in on_disk(rig) for number in frames}
    assert [worker.feed.request.sequence for worker in rig.supervisor.workers] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("confirmed", [0, 1, 3])
async def test_a_worker_that_dies_before_the_first_key_frame_costs_nothing(rig, confirmed):
    publication = rig.publish()
    numbers = rig.send(publication, "..")
    await rig.settle()
    rig.worker.write(confirmed)
    rig.supervisor.die(rig.worker)
    numbers += rig.send(publication, "k.k.")
    await rig.settle()
    await finish(rig)

    assert set(numbers) == {number for frames in on_disk(rig) for number in frames}


@pytest.mark.parametrize("confirmed", [0, 2, None])
async def test_a_worker_that_dies_after_the_streams_end_leaves_nothing_out(tmp_path, confirmed):
    rig = await Rig.open(tmp_path, resume_s=0)
    publication = rig.publish()
    numbers = rig.send(publication, "k.k.")
    rig.end(publication)
    await rig.settle()
    rig.worker.write(confirmed)
    rig.supervisor.die(rig.worker)
    await rig.settle()
    rig.worker.finish()
    await rig.settle()

    assert set(numbers) == {number for frames in on_disk(rig) for number in frames}
    assert list((await rig.recordings()).values()) == ["ended"]
    await rig.close()


async def test_what_a_dead_worker_had_not_confirmed_of_earlier_lives_of_the_stream_is_fed_again(rig):
    numbers = []
    for _ in range(3):
        publication = rig.publish()
        numbers += rig.send(publication, "k.")
        await rig.settle()
        rig.end(publication)
    await rig.settle()
    rig.worker.write(4)  # a header, k., a mark
    rig.supervisor.die(rig.worker)
    await rig.settle()
    rig.publish()
    await rig.settle()
    await finish(rig)

    assert on_disk(rig)[0] == numbers[:2]
    assert set(numbers) == {number for frames in on_disk(rig) for number in frames}


def logs_alive():
    return sum(type(each) is Log for each in gc.get_objects())


async def test_an_earlier_life_is_let_go_of_once_it_is_in_the_files(rig):
    gc.collect()
    gc.disable()
    try:
        rig.end(rig.publish())
        rig.publish()
        await rig.settle()
        before = logs_alive()
        rig.worker.write()

        assert logs_alive() == before - 1
    finally:
        gc.enable()


async def test_what_was_given_up_keeps_no_life_of_its_stream(rig):
    gc.collect()
    gc.disable()
    try:
        before = logs_alive()
        rig.end(rig.publish())
        rig.end(rig.publish())
        await rig.settle()
        recorder = only(rig)
        recorder.give_up()

        assert logs_alive() == before
        assert recorder.phase is Phase.ENDED
    finally:
        gc.enable()


async def test_the_log_of_a_recorded_stream_is_freed_with_its_recording_without_the_collector(tmp_path):
    rig = await Rig.open(tmp_path, resume_s=0)
    gc.collect()
    gc.disable()
    try:
        before = logs_alive()
        kept = []
        for _ in range(2):
            publication = rig.publish()
            rig.send(publication)
            await rig.settle()
            kept += rig.recorder.recordings
            rig.lose(publication)
            publication = rig.publish()
            await rig.settle()
            rig.supervisor.die(rig.worker)
            await rig.settle()
            rig.end(publication)
            await rig.settle()
            rig.worker.finish()
            del publication
        await rig.settle()
        after = logs_alive()
    finally:
        gc.enable()

    assert after == before
    assert [each.phase for each in kept] == [Phase.ENDED] * 2
    await rig.close()


async def test_a_worker_that_closes_its_end_is_let_go_of_until_its_death_is_told(rig):
    publication = rig.publish()
    numbers = rig.send(publication)
    await rig.settle()
    rig.worker.connection.close()
    await asyncio.sleep(0)
    numbers += rig.send(publication, ".k")
    await rig.settle()
    assert publication.stream.flv_log().cursors == []

    rig.supervisor.die(rig.worker)
    await rig.settle()
    await finish(rig)

    assert on_disk(rig) == [numbers]


async def test_a_publisher_that_returns_between_a_hang_up_and_the_death_is_recorded_too(rig):
    publication = rig.publish()
    numbers = rig.send(publication)
    await rig.settle()
    rig.worker.connection.close()
    await rig.settle()
    rig.end(publication)
    numbers += rig.send(rig.publish())
    await rig.settle()
    rig.supervisor.die(rig.worker)
    await rig.settle()
    await finish(rig)

    assert on_disk(rig) == [numbers]


async def test_a_recording_that_no_worker_can_take_is_offered_again(rig):
    rig.supervisor.refusal = Overloaded("no room")
    publication = rig.publish()
    numbers = rig.send(publication, "k.")
    await rig.pass_time(3 * RETRY_S)
    assert len(rig.said("recording failed")) == 4
    rig.supervisor.refusal = None
    await rig.pass_time(RETRY_S)
    await finish(rig)

    assert on_disk(rig) == [numbers]


@pytest.mark.parametrize("ends_before", [False, True])
async def test_a_recording_is_offered_at_once_where_the_server_stops_between_two_offers(rig, ends_before):
    rig.supervisor.refusal = Overloaded("no room")
    publication = rig.publish()
    numbers = rig.send(publication, "k.")
    await rig.settle()
    if ends_before:
        only(rig).end("it was told to stop")
    rig.supervisor.refusal = None
    await finish(rig)

    assert on_disk(rig) == [numbers]
    assert len(rig.supervisor.workers) == 1


async def test_a_recording_that_no_worker_takes_is_not_offered_for_ever_after_its_stream(rig):
    rig.supervisor.refusal = OSError(24, "Too many open files")
    rig.end(rig.publish())
    await rig.pass_time(60 + LAST_OFFER_S)
    assert len(rig.recorder.recordings) == 1
    await rig.pass_time(2 * RETRY_S)

    assert rig.recorder.recordings == ()
    assert await rig.files() == []
    (row,) = await rig.select("SELECT state, fault FROM recordings")
    assert tuple(row) == ("ended", "[Errno 24] Too many open files")


async def test_what_was_given_up_starts_nothing_any_more(rig):
    rig.hold_database()
    rig.publish()
    recorder = only(rig)
    recorder.give_up()
    rig.release_database()
    await rig.settle()

    assert rig.supervisor.workers == []
