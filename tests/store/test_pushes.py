"""Pushes in the database: one for a stream, remembered after their end."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from rtmpd.store import pushes, schema
from rtmpd.store.pushes import Kept, PushRow, TargetRow


@pytest.fixture
def connection():
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        schema.migrate(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


def push(channel_id="c", **fields):
    return PushRow(
        **{
            "channel_id": channel_id,
            "app": "live",
            "stream": "s",
            "mode": "manual",
            "channel_name": "n",
            "started_at": 1.0,
        }
        | fields
    )


def target(target_id="t", channel_id="c", **fields):
    return TargetRow(
        **{"target_id": target_id, "channel_id": channel_id, "url": f"rtmp://a/b/{target_id}", "added_at": 2.0} | fields
    )


FULL = push(
    channel_desc="Zoë",
    encode_type=6,
    formats=("flv", "mp4"),
    record_id=2**32 - 1,
    record_task_id="r",
    waiting_since=5.5,
)


@pytest.mark.parametrize("kept", [Kept(push(waiting_since=3.0), ()), Kept(FULL, (target("1"), target("2")))])
def test_a_push_comes_back_as_it_was(connection, kept):
    pushes.begin(connection, kept)

    assert pushes.take_up(connection, 9.0) == (kept,)


def test_every_column_has_its_field(connection):
    for table, row in (("pushes", FULL), ("push_targets", target())):
        columns = {each["name"] for each in connection.execute(f"PRAGMA table_info({table})")}
        assert columns == set(row.__slots__)


def test_what_was_on_waits_since_it_was_taken_up(connection):
    pushes.begin(connection, Kept(push(), ()))

    assert pushes.take_up(connection, 9.0) == (Kept(push(waiting_since=9.0), ()),)
    assert pushes.take_up(connection, 99.0) == (Kept(push(waiting_since=9.0), ()),)
    assert pushes.take_up(connection, 8.0) == (Kept(push(waiting_since=8.0), ()),)


def test_a_stream_has_one_push_at_a_time(connection):
    pushes.begin(connection, Kept(push("first"), (target("1", "first"),)))
    pushes.begin(connection, Kept(push("other", stream="other"), ()))
    pushes.begin(connection, Kept(push("second", started_at=4.0), ()))

    assert [kept.push.channel_id for kept in pushes.take_up(connection, 9.0)] == ["other", "second"]
    assert pushes.end(connection, "first", 5.0) is False


def test_an_end_is_told_from_a_second_one_and_from_nothing(connection):
    pushes.begin(connection, Kept(push(), ()))

    assert pushes.end(connection, "c", 5.0) is True
    assert pushes.end(connection, "c", 6.0) is False
    assert pushes.end(connection, "never", 6.0) is None
    assert pushes.take_up(connection, 9.0) == ()
    assert connection.execute("SELECT ended_at FROM pushes").fetchone()["ended_at"] == 5.0


def test_what_has_ended_is_not_changed_by_what_is_written_late(connection):
    pushes.begin(connection, Kept(push(), ()))
    pushes.end(connection, "c", 5.0)
    pushes.set_state(connection, "c", "auto", 3.0)
    pushes.set_recording(connection, push(formats=("flv",), record_task_id="r"))

    row = connection.execute("SELECT * FROM pushes").fetchone()
    assert (row["mode"], row["waiting_since"], row["formats"], row["record_task_id"]) == ("manual", None, "[]", None)


def test_state_and_recording_are_changed_apart(connection):
    pushes.begin(connection, Kept(push(), ()))
    pushes.set_state(connection, "c", "auto", 3.0)
    pushes.set_recording(connection, push(formats=("flv",), record_id=7, record_task_id="r"))

    changed = push(mode="auto", waiting_since=3.0, formats=("flv",), record_id=7, record_task_id="r")
    assert pushes.take_up(connection, 9.0) == (Kept(changed, ()),)


def test_targets_come_and_go_and_going_is_remembered(connection):
    pushes.begin(connection, Kept(push(waiting_since=1.0), (target("1"),)))
    pushes.add_targets(connection, [target("1"), target("2")])

    assert pushes.remove_target(connection, "c", "1", 5.0) is True
    assert pushes.remove_target(connection, "c", "1", 5.0) is False
    assert pushes.remove_target(connection, "c", "never", 5.0) is None
    assert pushes.remove_target(connection, "other", "2", 5.0) is None
    assert pushes.take_up(connection, 9.0) == (Kept(push(waiting_since=1.0), (target("2"),)),)


def test_a_push_that_is_stripped_is_on_without_its_recording_and_targets(connection):
    pushes.begin(
        connection, Kept(push(formats=("flv",), record_task_id="r", waiting_since=1.0), (target("1"), target("2")))
    )
    pushes.strip(connection, "c", 5.0)

    assert pushes.take_up(connection, 9.0) == (Kept(push(waiting_since=1.0), ()),)
    assert pushes.remove_target(connection, "c", "1", 5.0) is False


def test_what_ended_long_ago_is_forgotten_and_nothing_else(connection):
    for channel_id in ("old", "new", "on"):
        pushes.begin(
            connection, Kept(push(channel_id, stream=channel_id, waiting_since=1.0), (target(channel_id, channel_id),))
        )
    pushes.add_targets(connection, [target("gone", "on"), target("going", "on")])
    pushes.end(connection, "old", 5.0)
    pushes.end(connection, "new", 7.0)
    pushes.remove_target(connection, "on", "gone", 5.0)
    pushes.remove_target(connection, "on", "going", 7.0)

    assert pushes.purge(connection, 6.0) == 1

    assert pushes.end(connection, "old", 9.0) is None
    assert pushes.end(connection, "new", 9.0) is False
    assert pushes.remove_target(connection, "on", "gone", 9.0) is None
    assert pushes.remove_target(connection, "on", "going", 9.0) is False
    assert [len(kept.targets) for kept in pushes.take_up(connection, 9.0)] == [1]
