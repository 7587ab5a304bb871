"""The book of pushes: found by stream and by id, replaced whole, noted in its own columns."""

from __future__ import annotations

import pytest

from rtmpd.control.push_book import PushBook, about, name_of
from rtmpd.control.rooms import Named
from rtmpd.errors import NotPossible
from rtmpd.store.pushes import Kept, PushRow
from tests.helpers.studio import logger_to


class Notes:
    """Keeps what is noted."""

    def __init__(self):
        self.keys = []

    def note(self, key, work):
        self.keys.append(key)


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def book(notes):
    return PushBook(notes, logger_to([]), lambda: 5.0)


def kept(channel_id="c", stream="s"):
    return Kept(PushRow(channel_id, "live", stream, "manual", "n", 1.0), ())


def test_a_push_is_found_by_its_stream_and_its_id(book):
    book.put(kept())

    assert book.of(Named("live", "s")) == book.find("c") == book.get("c") == kept()
    assert tuple(book) == (kept(),)
    assert name_of(kept()) == Named("live", "s")
    assert about(kept()) == {"stream": "live/s", "channel_id": "c"}


def test_a_stream_has_one_push(book):
    book.put(kept("first"))
    book.put(kept("other", "other"))
    book.put(kept("second"))

    assert {each.push.channel_id for each in book} == {"other", "second"}
    assert book.find("first") is None


def test_a_push_that_was_dropped_is_unknown(book):
    book.put(kept())
    book.drop(kept())

    assert (book.of(Named("live", "s")), book.find("c")) == (None, None)
    with pytest.raises(NotPossible, match="there is no push c") as raised:
        book.get("c")
    assert raised.value.kind == "unknown"


def test_a_state_is_noted_when_it_changes(book, notes):
    book.put(kept())
    book.set_state(kept(), "manual", None)
    assert notes.keys == []

    book.set_state(kept(), "auto", 3.0)
    assert (book.get("c").push.mode, book.get("c").push.waiting_since) == ("auto", 3.0)
    assert notes.keys == [("state", "c")]


def test_urls_that_a_push_has_make_no_new_targets(book):
    first = book.new_targets("c", (), ["rtmp://a/1", "rtmp://a/2", "rtmp://a/1"])
    assert [(each.url, each.channel_id, each.added_at) for each in first] == [
        ("rtmp://a/1", "c", 5.0),
        ("rtmp://a/2", "c", 5.0),
    ]

    more = book.new_targets("c", first, ["rtmp://a/2", "rtmp://a/3"])
    assert [each.url for each in more] == ["rtmp://a/3"]
    assert len({each.target_id for each in first + more}) == 3


def test_a_target_is_dropped_once(book):
    targets = book.new_targets("c", (), ["rtmp://a/1", "rtmp://a/2"])
    book.put(kept())
    book.add_targets("c", targets)

    assert book.drop_target("c", targets[0].target_id) == targets[0]
    assert book.drop_target("c", targets[0].target_id) is None
    assert book.drop_target("never", targets[1].target_id) is None
    assert book.get("c").targets == targets[1:]


def test_observers_hear_of_each_change_of_a_push(book):
    heard = []
    book.observers.append(heard.append)

    book.put(kept())
    book.add_targets("c", book.new_targets("c", (), ["rtmp://a/b/1"]))
    book.drop(book.get("c"))

    assert heard == [Named("live", "s")] * 3
