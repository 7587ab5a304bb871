"""Bit rates of publishers, and the limit on them."""

from __future__ import annotations

import pytest

from rtmpd.config_file import validate
from rtmpd.control.meter import SETTLE_S, STILL, WINDOW_SAMPLES, Meter, Rates
from rtmpd.live.registry import Takeover
from rtmpd.live.terms import Terms
from tests.helpers.fake_client import FakeClient
from tests.helpers.live import audio_frame, inter_frame, new_registry

LIMIT = 1_000_000
LIMIT_BYTES = LIMIT // 8


class Yard:
    """Publishers that send what they are told, a second at a time."""

    def __init__(self, limit=LIMIT):
        self.registry = new_registry()
        self.clients = set()
        self.meter = Meter(self.registry, self.clients)
        self.apps = validate({"apps": {"live": {"max_bits_per_s": limit}}}).apps
        self.now = 50.0

    def publisher(self, number=1, app="live", name="s"):
        client = FakeClient(number, role="publish")
        self.clients.add(client)
        self.registry.publish(app, name, "me", Takeover.ALWAYS, lambda _: None, Terms(client=number))
        return client

    def log_in(self, name, *, pictures, sounds=0, size=100):
        """Bytes that come to a stream's log with so many frames."""
        publication = self.registry.find("live", name).publication
        before = publication.stream.log.end
        publication.extend([inter_frame(int(self.now * 1000), size)] * pictures, self.now)
        publication.extend([audio_frame(int(self.now * 1000), size)] * sounds, self.now)
        return publication.stream.log.end - before

    def rates(self, name="s"):
        return self.meter.rates(self.registry.find("live", name))

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


def test_rates_are_those_of_the_last_ten_seconds_and_of_pictures_alone():
    yard = Yard()
    yard.publisher()
    for _ in range(30):
        logged = yard.log_in("s", pictures=25, sounds=43)
        yard.second()
    assert yard.rates() == Rates(logged * 8, 25.0)

    for _ in range(WINDOW_SAMPLES // 2):
        yard.second()
    assert yard.rates() == Rates(logged * 4, 12.5)
    for _ in range(WINDOW_SAMPLES // 2):
        yard.second()
    assert yard.rates() == STILL


def test_rates_are_known_after_two_samples_and_nothing_before_and_for_who_waits():
    yard = Yard()
    yard.publisher()
    yard.registry.join("live", "idle", object())
    assert yard.rates() == STILL
    yard.log_in("s", pictures=1)
    yard.second()
    assert yard.rates() == STILL
    logged = yard.log_in("s", pictures=1)
    yard.second()
    assert yard.rates() == Rates(logged * 8, 1.0)
    assert yard.rates("idle") == STILL


def test_a_stream_without_a_connection_of_ours_has_rates_and_a_limit():
    yard = Yard()
    yard.registry.publish("live", "pulled", "a pull", Takeover.ALWAYS, lambda _: None, Terms())
    found = []
    for _ in range(60):
        logged = yard.log_in("pulled", pictures=25, size=10_000)
        found += yard.second()

    assert yard.rates("pulled") == Rates(logged * 8, 25.0)
    assert found[0].publication is yard.registry.find("live", "pulled").publication


def test_a_publisher_that_comes_back_to_its_stream_begins_anew():
    yard = Yard()
    yard.publisher(1)
    for _ in range(12):
        yard.log_in("s", pictures=25)
        yard.second()
    yard.publisher(2)
    yard.second()
    assert yard.rates() == STILL
    logged = yard.log_in("s", pictures=25)
    yard.second()
    assert yard.rates() == Rates(logged * 8, 25.0)


def test_who_stops_publishing_is_forgotten():
    yard = Yard()
    yard.publisher()
    yard.seconds(3, c1=1_000)
    yard.registry.end_all("over")
    yard.second(c1=1_000)

    assert not yard.meter._samples


def test_samples_of_the_same_instant_count_once():
    yard = Yard()
    yard.publisher()
    yard.second()
    yard.now -= 1
    yard.log_in("s", pictures=25)
    yard.second()

    assert yard.rates() == STILL


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
