"""Who published when: written down before the publisher may go ahead, and ended once whatever ends it."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from contextlib import asynccontextmanager, closing, suppress

import pytest

from rtmpd.control import diary as diary_module
from rtmpd.control import publications as publications_module
from rtmpd.control.publications import Publications
from rtmpd.errors import StoreError
from rtmpd.store.database import Database
from rtmpd.store.outbox import Owed, owe
from rtmpd.store.publications import PublicationBook
from rtmpd.wire.commands import encode_command
from rtmpd.wire.messages import COMMAND_AMF0, Message
from tests.corpus.media.make import HERE, read_tags
from tests.helpers.live import audio_header, key_frame, metadata, new_registry, video_header
from tests.helpers.push import NODE, TERMS, begun, publication_row, take_over, told
from tests.helpers.rig import Rig
from tests.helpers.store import HoldUp
from tests.helpers.studio import logger_to

HEADER = read_tags((HERE / "h264-high-50x38.flv").read_bytes())[0].body
WIDTH, HEIGHT = 640, 360


class Desk:
    """Publications over a database in a folder, and a registry that they observe."""

    def __init__(self, database):
        self.database = database
        self.now_s = 100.0
        self.unix_s = 5_000.0
        self.lines = []
        self.registry = new_registry()
        self.publications = Publications(
            PublicationBook(database), logger_to(self.lines), NODE, lambda: self.now_s, lambda: self.unix_s
        )
        self.registry.observers.append(self.publications)

    async def begin(self, name="s", terms=TERMS):
        publication = take_over(self.registry, self.publications, name, terms)
        await self.publications.began(publication)
        return publication

    def leave(self, publication, reason="deleteStream", grace_until_s=None):
        """What a connection does when its publisher has gone."""
        self.registry.unpublish(publication, reason, grace_until_s)
        self.publications.over(publication, reason, clean=grace_until_s is None)

    def go_on(self, seconds):
        self.now_s += seconds
        self.unix_s += seconds

    @property
    def told(self):
        return [each for each in told(self.database.path) if each.event_type != BALLAST]

    def bodies(self, event_type):
        with closing(sqlite3.connect(self.database.path)) as connection:
            query = "SELECT body FROM outbox WHERE event_type = ? ORDER BY number"
            return [json.loads(body) for (body,) in connection.execute(query, (event_type,))]

    @property
    def events(self):
        return [line["event"] for _, line in self.lines]


@asynccontextmanager
async def opened(directory):
    """A desk that works; leaving it is a crash: what waits is lost."""
    database = await Database.open(directory / "rtmpd.db")
    desk = Desk(database)
    running = asyncio.ensure_future(desk.publications.run())
    try:
        yield desk
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await database.close()


@pytest.fixture
async def desk(tmp_path, monkeypatch):
    monkeypatch.setattr(diary_module, "RETRY_S", 0.001)
    async with opened(tmp_path) as desk:
        yield desk


BALLAST = 999
"""Type of the events that take what room there is."""


def allow_pages(connection, pages):
    connection.execute(f"PRAGMA max_page_count = {pages}").close()


async def fill_disk(database):
    """Let the outbox take nothing more, not even an event of a few bytes."""
    numbers = itertools.count()

    def stop_growing(connection):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        allow_pages(connection, pages)

    def add(size):
        event = Owed(str(next(numbers)), BALLAST, "live/s", {"x": "x" * size}, 1.0)
        return database.submit(lambda connection: owe(connection, [event]))

    await database.submit(stop_growing)
    for size in (1_000, 100, 1):
        while not isinstance((await asyncio.gather(add(size), return_exceptions=True))[0], StoreError):
            pass


async def free_disk(database):
    """Let the outbox grow again. This may share its commit with a fact that meets the full disk: then all of it fails."""
    freed = False
    while not freed:
        with suppress(StoreError):
            await database.submit(lambda connection: allow_pages(connection, 1_000_000))
            freed = True


async def test_beginning_is_on_the_disk_when_began_returns(desk):
    publication = await desk.begin()

    sequence = desk.publications.find(publication).row.sequence
    assert desk.told == [(1, sequence)]
    (body,) = desk.bodies(1)
    assert body["stream_param"] == "key=k&groupid=7"
    assert (body["user_ip"], body["node"], body["event_time"]) == ("192.0.2.1", NODE, 5_000)


async def test_end_has_the_sequence_the_duration_and_the_reason(desk):
    publication = await desk.begin()
    desk.go_on(12.3456)
    desk.leave(publication, "closeStream")
    assert desk.publications.find(publication) is None

    assert await desk.publications.flush(5)
    (start,), (end,) = desk.bodies(1), desk.bodies(0)
    assert end["sequence"] == start["sequence"]
    assert (end["push_duration"], end["event_time"], end["errcode"]) == ("12346", 5_012, 2)


async def test_duration_does_not_follow_a_clock_that_is_set(desk):
    publication = await desk.begin()
    desk.now_s += 7
    desk.unix_s -= 3_600
    desk.leave(publication)

    assert await desk.publications.flush(5)
    assert desk.bodies(0)[0]["push_duration"] == "7000"


async def test_sequences_are_decimal_numbers_that_fit_64_bits(desk):
    sequences = {desk.publications.find(await desk.begin(str(n))).row.sequence for n in range(50)}

    assert len(sequences) == 50
    assert all(0 <= int(each) < 2**63 for each in sequences)


@pytest.mark.parametrize(
    "end",
    [
        lambda desk, publication: desk.leave(publication),
        lambda desk, publication: desk.leave(publication, "peer closed", grace_until_s=1e9),
        lambda desk, publication: (
            desk.registry.end_all("server stops"),
            desk.publications.over(publication, "server stops", clean=False),
        ),
        lambda desk, publication: take_over(desk.registry, desk.publications),
    ],
    ids=["said goodbye", "dropped", "server stops", "replaced"],
)
async def test_end_tells_the_size_of_the_picture_however_it_came(desk, end):
    publication = await desk.begin()
    publication.append(metadata(width=WIDTH, height=HEIGHT), 0.0)
    publication.append(video_header(b"\x12\x00\x00"), 0.0)
    publication.append(metadata(width=WIDTH, height=HEIGHT, videocodecid=2), 0.0)
    end(desk, publication)

    assert await desk.publications.flush(5)
    assert [(each["width"], each["height"]) for each in desk.bodies(0)] == [(WIDTH, HEIGHT)]
    assert desk.publications._sizes == desk.publications._running == {}


async def test_a_stream_without_a_picture_has_no_size(desk):
    publication = await desk.begin()
    publication.append(audio_header(), 0.0)
    desk.leave(publication)

    assert await desk.publications.flush(5)
    assert [(each["width"], each["height"]) for each in desk.bodies(0)] == [(0, 0)]


async def test_in_a_takeover_the_old_one_ends_before_the_new_one_begins(desk):
    first = await desk.begin()
    old = desk.publications.find(first).row.sequence
    second = await desk.begin()
    new = desk.publications.find(second).row.sequence

    assert desk.told == [(1, old), (0, old), (1, new)]
    assert desk.bodies(0)[0]["errcode"] == 102


async def test_over_is_told_once_and_not_of_who_never_began(desk):
    publication = take_over(desk.registry, desk.publications)
    desk.publications.over(publication, "peer closed", clean=False)
    await desk.publications.began(publication)
    desk.publications.over(publication, "peer closed", clean=False)
    desk.publications.over(publication, "peer closed", clean=False)

    assert await desk.publications.flush(5)
    assert [each.event_type for each in desk.told] == [1, 0]


async def test_last_words_come_before_the_end_and_everything_else_in_its_place(desk):
    asked = []

    def last_words(publication):
        row = desk.publications.find(publication).row
        asked.append(publication)
        return [Owed("last", 321, "live/s", {"sequence": row.sequence}, 1.0)]

    desk.publications.last_words.append(last_words)
    publication = await desk.begin()
    sequence = desk.publications.find(publication).row.sequence
    desk.publications.tell([Owed("first", 321, "live/s", {"sequence": sequence}, 1.0)])
    desk.leave(publication)

    assert await desk.publications.flush(5)
    assert [each.event_type for each in desk.told] == [1, 321, 321, 0]
    assert asked == [publication]


async def test_no_publisher_waits_longer_than_the_bound_for_a_full_disk_and_nothing_is_lost(desk, monkeypatch):
    monkeypatch.setattr(publications_module, "BEGIN_WAIT_S", 0.05)
    await fill_disk(desk.database)
    first = await desk.begin()
    second = await desk.begin()
    other = await desk.begin("other")
    desk.leave(other)
    assert desk.told == []
    assert desk.events.count("publisher goes ahead unwritten") == 3
    assert desk.events.count("publications not written") == 1
    assert desk.publications.find(first) is None

    await free_disk(desk.database)
    assert await desk.publications.flush(10)
    new = desk.publications.find(second).row.sequence
    mine = [each for each in desk.told if each.sequence not in {body["sequence"] for body in desk.bodies(1)[2:]}]
    assert [each.event_type for each in mine] == [1, 0, 1]
    assert mine[-1] == (1, new)
    assert [each.event_type for each in desk.told] == [1, 0, 1, 1, 0]


async def test_no_publisher_waits_longer_than_the_bound_for_a_disk_that_hangs(desk, monkeypatch):
    monkeypatch.setattr(publications_module, "BEGIN_WAIT_S", 0.05)
    hold_up = HoldUp(desk.database)
    publication = await desk.begin()
    assert desk.events == ["publisher goes ahead unwritten"]
    desk.leave(publication)
    assert not await desk.publications.flush(0.01)

    hold_up.release()
    assert await desk.publications.flush(10)
    assert [each.event_type for each in desk.told] == [1, 0]


async def test_a_publisher_that_is_gone_before_it_was_written_down_has_both_events(desk):
    hold_up = HoldUp(desk.database)
    beginning = asyncio.ensure_future(desk.begin())
    await asyncio.sleep(0)
    beginning.cancel()
    await asyncio.gather(beginning, return_exceptions=True)
    (publication,) = [stream.publication for stream in desk.registry]
    desk.leave(publication, "peer closed")
    hold_up.release()

    assert await desk.publications.flush(10)
    assert [each.event_type for each in desk.told] == [1, 0]


async def test_publications_of_a_server_that_died_end_at_the_next_start(tmp_path):
    async with opened(tmp_path) as desk:
        await desk.begin("a")
        await desk.begin("b")
        desk.leave(await desk.begin("c"))
        assert await desk.publications.flush(5)
        before = desk.told

    async with opened(tmp_path) as desk:
        desk.unix_s += 60
        assert await desk.publications.recover() == 2
        after = desk.told[len(before) :]
        assert after == [(0, before[0].sequence), (0, before[1].sequence)]
        body = desk.bodies(0)[-1]
        assert (body["errcode"], body["event_time"], body["push_duration"]) == (104, 5_060, "60000")
        assert "server stopped" in body["errmsg"]
        assert desk.events == ["publications ended with an earlier server"]

        assert await desk.publications.recover() == 0
        assert desk.told == before + after


async def test_a_full_disk_does_not_hold_up_a_start_and_ends_stay_before_beginnings(tmp_path, monkeypatch):
    monkeypatch.setattr(diary_module, "RETRY_S", 0.001)
    monkeypatch.setattr(publications_module, "BEGIN_WAIT_S", 0.05)
    database = await Database.open(tmp_path / "rtmpd.db")
    await PublicationBook(database).write([begun(publication_row("1"))])
    await database.close()

    async with opened(tmp_path) as desk:
        await fill_disk(desk.database)
        assert await desk.publications.recover() == 1
        publication = await desk.begin()
        assert desk.told == [(1, "1")]

        await free_disk(desk.database)
        assert await desk.publications.flush(10)
        assert desk.told == [(1, "1"), (0, "1"), (1, desk.publications.find(publication).row.sequence)]


async def test_a_connection_tells_of_its_publisher_before_it_goes_ahead_and_after_it_left(tmp_path):
    async with opened(tmp_path) as desk, Rig() as rig:
        rig.policy.terms = TERMS
        rig.services.registry.observers.append(desk.publications)
        rig.services.journal = desk.publications
        hold_up = HoldUp(desk.database)
        publisher = rig.connect()
        await publisher.open()
        await publisher.command("publish", 3, None, "s", "live", message_stream_id=1)
        await rig.until(lambda: rig.services.registry.find("live", "s"))
        await publisher.ping()
        assert not [each for each in publisher.messages if b"NetStream.Publish.Start" in each.body]
        hold_up.release()
        await publisher.status("NetStream.Publish.Start")
        assert [each.event_type for each in desk.told] == [1]

        await publisher.send(
            video_header(HEADER),
            key_frame(0),
            Message(COMMAND_AMF0, 0, 1, encode_command("deleteStream", 4, None, 1.0)),
        )
        await rig.until(lambda: not desk.publications._running)
        assert await desk.publications.flush(5)
        (end,) = desk.bodies(0)
        assert (end["errcode"], end["errmsg"]) == (1, "recv rtmp deleteStream")
        assert (end["width"], end["height"]) == (50, 38)
        assert not rig.failures


async def test_a_publisher_that_takes_a_stream_over_begins_after_the_other_has_ended(tmp_path):
    async with opened(tmp_path) as desk, Rig() as rig:
        rig.services.registry.observers.append(desk.publications)
        rig.services.journal = desk.publications
        await rig.publisher()
        await rig.publisher()
        assert await desk.publications.flush(5)

        first, end, second = desk.told
        assert (first.event_type, end.event_type, second.event_type) == (1, 0, 1)
        assert first.sequence == end.sequence != second.sequence
