"""Grants in reserve: one at a time, after failures at growing pauses, and never faster than a few a second."""

from __future__ import annotations

import pytest

from rtmpd.workers.supply import APART_S, FIRST_PAUSE_S, LONGEST_PAUSE_S, STABLE_S, Supply


class Clerk:
    """Grants what is asked for, when the pause is over."""

    def __init__(self):
        self.now = 100.0
        self.pauses = []
        self.supply = Supply(self.pauses.append)
        self.supply.granted(2, self.now)

    def open(self):
        self.supply.opened(self.now)

    def fail(self, *, was_open=True):
        self.supply.failed(self.now, was_open=was_open)

    def grant(self):
        self.now += self.pauses[-1]
        self.supply.granted(1, self.now)


@pytest.fixture
def clerk():
    return Clerk()


def test_the_reserve_is_filled_up_when_it_is_taken(clerk):
    clerk.open()
    assert clerk.pauses == []

    clerk.now += 10
    clerk.open()

    assert clerk.pauses == [0.0]


def test_nothing_is_asked_for_twice(clerk):
    clerk.now += 10
    clerk.open()
    clerk.open()
    clerk.fail()

    assert len(clerk.pauses) == 1


def test_files_that_come_and_go_quickly_get_no_more_than_a_few_grants_a_second(clerk):
    clerk.open()
    for _ in range(10):
        clerk.open()
        clerk.grant()

    assert clerk.pauses[1:] == [pytest.approx(APART_S)] * 9


def test_failures_in_a_row_are_answered_at_growing_pauses(clerk):
    clerk.open()
    clerk.fail()
    for _ in range(12):
        clerk.open()
        clerk.fail()
        clerk.grant()

    assert clerk.pauses[:4] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S, 8 * FIRST_PAUSE_S]
    assert clerk.pauses[-1] == LONGEST_PAUSE_S


def test_a_file_that_cannot_be_opened_costs_its_grant(clerk):
    clerk.open()
    clerk.fail(was_open=False)

    assert clerk.pauses == [FIRST_PAUSE_S]


@pytest.mark.parametrize("good", ["closed", "stable"])
def test_what_went_well_makes_the_next_failure_the_first_one(clerk, good):
    for _ in range(5):
        clerk.fail()
    clerk.open()
    if good == "closed":
        clerk.supply.closed()
    else:
        clerk.now += STABLE_S + 1
    clerk.fail()

    assert clerk.supply.failures == 1


def test_a_grant_that_could_not_be_made_is_asked_for_again(clerk):
    clerk.open()
    clerk.fail()
    clerk.open()
    clerk.supply.withdrawn(clerk.now)

    assert clerk.pauses == [FIRST_PAUSE_S, FIRST_PAUSE_S]


def test_a_dead_workers_grants_are_forgotten(clerk):
    clerk.supply.lost()
    clerk.supply.granted(2, clerk.now)
    clerk.open()

    assert clerk.pauses == []
