"""Sessions in memory."""

from __future__ import annotations

import pytest

from rtmpd.web.sessions import IDLE_S, MOST_SESSIONS, Sessions


def test_a_session_is_open_until_it_is_closed(clock):
    sessions = Sessions(clock)
    one, other = sessions.open(), sessions.open()
    assert one != other
    assert len(one) >= 43

    sessions.close(one)

    assert (sessions.use(one), sessions.use(other)) == (False, True)


@pytest.mark.parametrize("guess", ["", "x", "x" * 100_000, "\udc80", "é"])
def test_what_was_never_opened_is_no_session(clock, guess):
    sessions = Sessions(clock)
    sessions.open()

    assert not sessions.use(guess)
    sessions.close(guess)
    assert len(sessions) == 1


def test_an_id_with_something_behind_it_is_no_session(clock):
    sessions = Sessions(clock)

    assert not sessions.use(sessions.open() + "x")


def test_a_session_ends_when_it_is_not_used_for_long(clock):
    sessions = Sessions(clock)
    used, forgotten = sessions.open(), sessions.open()
    clock.now += IDLE_S
    assert sessions.use(used)
    clock.now += 1

    assert (sessions.use(used), sessions.use(forgotten)) == (True, False)
    assert len(sessions) == 1


def test_with_one_too_many_the_one_that_was_not_used_for_longest_ends(clock):
    sessions = Sessions(clock)
    opened = [sessions.open() for _ in range(MOST_SESSIONS)]
    sessions.use(opened[0])
    sessions.open()

    assert [sessions.use(each) for each in opened[:3]] == [True, False, True]
    assert len(sessions) == MOST_SESSIONS


def test_all_can_be_ended(clock):
    sessions = Sessions(clock)
    session = sessions.open()
    sessions.close_all()

    assert not sessions.use(session)
