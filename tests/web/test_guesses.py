"""How many wrong tokens are looked at, and from whom."""

from __future__ import annotations

import pytest

from rtmpd.web import guesses as module
from rtmpd.web.guesses import WITHIN_S, WRONG_TOKENS, Guesses, too_many

ONE, OTHER = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def guesses(clock):
    return Guesses(clock)


def guess(guesses, *addresses):
    """Guess as often as is looked at, from each of the addresses in turn."""
    for count in range(WRONG_TOKENS):
        guesses.count(addresses[count % len(addresses)])


def test_so_many_wrong_tokens_are_looked_at_in_a_second_and_no_more(guesses, clock):
    for _ in range(WRONG_TOKENS):
        assert not guesses.are_too_many(ONE)
        guesses.count(ONE)

    assert guesses.are_too_many(ONE)
    clock.now += WITHIN_S - 0.01
    assert guesses.are_too_many(ONE)
    clock.now += 0.02
    assert not guesses.are_too_many(ONE)


def test_a_second_begins_with_each_guess(guesses, clock):
    for _ in range(10 * WRONG_TOKENS):
        guesses.count(ONE)
        clock.now += WITHIN_S / (WRONG_TOKENS - 0.5)
        assert not guesses.are_too_many(ONE)


def test_nobody_waits_for_the_guesses_of_another_address(guesses):
    guess(guesses, ONE)

    assert guesses.are_too_many(ONE)
    assert not guesses.are_too_many(OTHER)
    assert not guesses.are_too_many("")


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        (("2001:db8::1", "2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff"), "2001:db8:0:1::1"),
        (("192.0.2.1", "::ffff:192.0.2.1"), "::ffff:192.0.2.2"),
        (("fe80::1%eth0", "fe80::2%eth1"), "fe81::1%eth0"),
    ],
)
def test_all_that_one_host_may_call_itself_counts_together(guesses, addresses, other):
    guess(guesses, *addresses)

    assert all(guesses.are_too_many(each) for each in addresses)
    assert not guesses.are_too_many(other)


def test_who_has_stopped_guessing_is_forgotten(guesses, clock):
    guess(guesses, ONE)
    clock.now += WITHIN_S
    guesses.count(OTHER)

    assert len(guesses) == 1


def test_there_is_an_end_to_how_many_are_remembered(guesses, monkeypatch):
    monkeypatch.setattr(module, "MOST_ADDRESSES", 3)
    guess(guesses, ONE)
    for last in range(3):
        guesses.count(f"198.51.100.{last}")
        assert guesses.are_too_many(ONE) == (last < 2)

    assert len(guesses) == 3


def test_who_goes_on_guessing_is_forgotten_last(guesses, monkeypatch):
    monkeypatch.setattr(module, "MOST_ADDRESSES", 3)
    guess(guesses, ONE)
    for last in range(100):
        guesses.count(f"198.51.100.{last}")
        guesses.count(ONE)

    assert guesses.are_too_many(ONE)


def test_who_has_to_wait_is_told_for_how_long():
    answer = too_many().response()

    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
