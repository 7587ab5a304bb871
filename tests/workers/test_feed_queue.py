"""The queue between the reader of all feeds and the writer of one recording."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from rtmpd.workers.feed_queue import BATCH_BYTES, Budget, FeedQueue


def no_room():
    raise AssertionError("on_room was not expected")


def test_chunks_come_out_in_order_and_then_the_end():
    queue = FeedQueue(100, no_room)
    queue.put(b"a")
    queue.put(b"b")
    queue.end()

    assert queue.take(None) == [b"a", b"b"]
    assert queue.take(None) is None
    assert queue.take(None) is None


def test_waiting_ends_with_the_timeout():
    assert FeedQueue(100, no_room).take(0.0) == []


def test_a_full_queue_says_so_and_tells_when_half_of_it_is_written():
    told = []
    queue = FeedQueue(2 * BATCH_BYTES, lambda: told.append(queue.size))
    chunk = bytes(BATCH_BYTES)

    assert queue.put(chunk)
    assert not queue.put(chunk)
    queue.take(None)
    assert told == [BATCH_BYTES]

    queue.take(None)
    assert told == [BATCH_BYTES]


def test_a_backlog_is_taken_in_batches_and_a_giant_chunk_by_itself():
    queue = FeedQueue(100 * BATCH_BYTES, no_room)
    for size in (BATCH_BYTES // 2, BATCH_BYTES // 2, 1, 3 * BATCH_BYTES, 1):
        queue.put(bytes(size))
    queue.end()

    taken = iter(lambda: queue.take(None), None)

    assert [sum(map(len, chunks)) for chunks in taken] == [BATCH_BYTES, 1, 3 * BATCH_BYTES, 1]
    assert queue.size == 0


def test_a_writer_that_waits_is_woken_by_a_chunk_and_by_the_end():
    queue = FeedQueue(100, no_room)
    taken = []

    def write():
        while (chunks := queue.take(None)) is not None:
            taken.extend(chunks)

    writer = threading.Thread(target=write)
    writer.start()
    queue.put(b"a")
    queue.end()
    writer.join()

    assert taken == [b"a"]


@given(st.lists(st.integers(1, 50)), st.integers(1, 100))
def test_a_reader_that_obeys_never_holds_more_than_the_limit_and_one_chunk(sizes, limit):
    resumed = []
    queue = FeedQueue(limit, lambda: resumed.append(True))
    received = []
    for size in sizes:
        assert queue.size < limit
        if not queue.put(bytes(size)):
            assert queue.size < limit + 50
            received.extend(queue.take(0.0))
            assert resumed.pop()

    received.extend(queue.take(0.0))
    assert [len(chunk) for chunk in received] == sizes


def test_a_spent_budget_lets_each_queue_hold_its_share_and_no_more():
    budget = Budget(100)
    large, small = (FeedQueue(1000, lambda: None, budget) for _ in range(2))

    assert large.put(bytes(90))
    assert small.put(bytes(20))
    assert not large.put(bytes(10))
    assert small.put(bytes(20))
    assert not small.put(bytes(20))
    assert budget.used_bytes == 160


def test_what_is_taken_and_what_is_discarded_goes_back_into_the_budget():
    rooms = []
    budget = Budget(100)
    first, second = (FeedQueue(1000, lambda: rooms.append(1), budget) for _ in range(2))
    first.put(bytes(60))
    second.put(bytes(60))
    assert not first.put(bytes(1))

    first.take(None)
    assert rooms == [1]
    second.discard()

    assert budget.used_bytes == 0
    assert budget.share_bytes == 100
