"""Bit rates of publishers, and the limit on them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rtmpd.config_file import validate
from rtmpd.control.meter import SETTLE_S, WINDOW_SAMPLES, Meter
from rtmpd.live.registry import Takeover
from rtmpd.live.terms import Terms
from tests.helpers.live import new_registry

LIMIT = 1_000_000
LIMIT_BYTES = LIMIT // 8


@dataclass(eq=False)
class FakeClient:
    number: int
    bytes_in: int = 0


class Yard:
    """Publishers that send what they are told, a second at a time."""

    def __init__(self, limit=LIMIT):
        self.registry = new_registry()
        self.clients = set()
        self.meter = Meter(self.registry, self.clients)
        self.apps = validate({"apps": {"live": {"max_bits_per_s": limit}}}).apps
        self.now = 50.0

    def publisher(self, number=1, app="live", name="s"):
        client = FakeClient(number)
        self.clients.add(client)
        self.registry.publish(app, name, "me", Takeover.ALWAYS, lambda _: None, Terms(client=number))
        return client

    def second(self, **bytes_by_client):
        self.now += 1
        for client in self.clients:
            client.bytes_in += bytes_by_client.get(f"c{client.number}", 0)
        self.meter.sample(self.now)
        return self.meter.over_limit(self.apps)

    def seconds(self, count, **bytes_by_client):
        """The second at which the limit was first found exceeded; None if it was not."""
        found = [number for number in range(1, count + 1) if self.second(**bytes_by_client)]
        return found[0] if found else None


def test_rate_is_that_of_the_last_ten_seconds():
    yard = Yard()
    yard.publisher()
    yard.seconds(30, c1=1_000)
    assert yard.meter.bits_per_s(1) == 8_000

    yard.seconds(WINDOW_SAMPLES // 2, c1=3_000)
    assert yard.meter.bits_per_s(1) == 16_000
    yard.seconds(WINDOW_SAMPLES // 2, c1=3_000)
    assert yard.meter.bits_per_s(1) == 24_000


def test_rate_is_known_after_two_samples_and_0_before_and_for_strangers():
    yard = Yard()
    yard.publisher()
    yard.second(c1=1_000)
    assert yard.meter.bits_per_s(1) == 0
    yard.second(c1=1_000)
    assert yard.meter.bits_per_s(1) == 8_000
    assert yard.meter.bits_per_s(2) == 0


def test_who_stops_publishing_is_forgotten():
    yard = Yard()
    yard.publisher()
    yard.seconds(3, c1=1_000)
    yard.registry.end_all("over")
    yard.second(c1=1_000)

    assert yard.meter.bits_per_s(1) == 0
    assert not yard.meter._samples


def test_samples_of_the_same_instant_count_once():
    yard = Yard()
    yard.publisher()
    yard.second(c1=1_000)
    yard.now -= 1
    yard.second(c1=1_000)

    assert yard.meter.bits_per_s(1) == 0


def test_a_publisher_that_sends_too_much_is_found_after_ten_whole_seconds_with_the_reason():
    yard = Yard()
    yard.publisher()
    assert yard.seconds(60, c1=LIMIT_BYTES + 100) == 1 + SETTLE_S + WINDOW_SAMPLES

    (excess,) = yard.second(c1=LIMIT_BYTES + 100)
    assert excess.publication is yard.registry.find("live", "s").publication
    assert excess.reason == "more than 1000000 bits per second (apps.live.max_bits_per_s)"


@pytest.mark.parametrize("burst_seconds", [1, 2, 5])
def test_a_burst_at_the_beginning_does_not_count(burst_seconds):
    yard = Yard()
    yard.publisher()

    assert yard.seconds(burst_seconds, c1=LIMIT_BYTES * 20) is None
    assert yard.seconds(60, c1=LIMIT_BYTES) is None


def test_a_burst_later_counts_within_its_ten_seconds():
    yard = Yard()
    yard.publisher()
    assert yard.seconds(30, c1=LIMIT_BYTES // 2) is None

    assert yard.seconds(1, c1=LIMIT_BYTES * 4) is None
    assert yard.seconds(30, c1=LIMIT_BYTES // 2) is None
    assert yard.seconds(1, c1=LIMIT_BYTES * 7) == 1


def test_a_publisher_that_sends_as_much_as_it_may_stays():
    yard = Yard()
    yard.publisher()

    assert yard.seconds(120, c1=LIMIT_BYTES) is None


def test_without_a_limit_nobody_is_found():
    yard = Yard(limit=0)
    yard.publisher()

    assert yard.seconds(60, c1=LIMIT_BYTES * 100) is None


def test_only_who_exceeds_the_limit_of_its_own_application_is_found():
    yard = Yard()
    yard.publisher(1)
    yard.publisher(2, name="other")
    yard.publisher(3, app="unlimited")
    yard.seconds(60, c1=LIMIT_BYTES // 2, c2=LIMIT_BYTES * 2, c3=LIMIT_BYTES * 2)

    assert [each.publication.stream.name for each in yard.second(c2=LIMIT_BYTES * 2)] == ["other"]


def test_a_publisher_that_takes_over_begins_anew():
    yard = Yard()
    yard.publisher(1)
    yard.seconds(12, c1=LIMIT_BYTES * 2)
    yard.publisher(2)

    assert yard.seconds(60, c2=LIMIT_BYTES * 2) == 1 + SETTLE_S + WINDOW_SAMPLES
