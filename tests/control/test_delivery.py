"""The delivery of callbacks: whatever receivers do, each gets all of it, in order for each stream, and harms no other."""

from __future__ import annotations

import asyncio
import json

import pytest

from rtmpd.control import delivery as delivery_module
from rtmpd.control.callback_client import CallbackClient
from rtmpd.control.delivery import UNTRIED_S, DeliverySettings
from rtmpd.errors import StoreError
from rtmpd.store.database import Database
from rtmpd.store.deliveries import UNTRIED, Deliveries, Due
from rtmpd.store.outbox import Owed, owe
from tests.helpers import receiver as answers
from tests.helpers.delivery import PATIENT_S, DeliveryRig, PlayedClient
from tests.helpers.receiver import Received, Receiver
from tests.helpers.studio import until

DAY_S = 24 * 3600.0


@pytest.fixture
async def rig(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    rig = DeliveryRig(database)
    yield rig
    await rig.stop()
    await database.close()
    assert not rig.said("internal error") or rig.errors_allowed


@pytest.fixture
async def receiver():
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
def client():
    return PlayedClient()


def first_events_fail(answer, attempts):
    """A plan: the first event of each stream is answered so a number of times, and then taken."""
    return lambda received, times: answer if received.event_id.endswith("1") and times <= attempts else answers.ok


def impatient_where_it_hangs(receiver):
    """A client that waits for no answer of a receiver that will give none, and for each other one as long as it takes."""

    class Impatient(CallbackClient):
        async def post(self, url, request, timeout_s):
            event_id = json.loads(request.body)["event_id"]
            attempt = Received("", {}, request.body, 0)
            times = 1 + sum(each.event_id == event_id for each in receiver.requests)
            hangs = receiver.plan(attempt, times) is answers.hang
            return await super().post(url, request, 0.2 if hangs else timeout_s)

    return Impatient


FAULTS = {
    "answers 500": answers.error_500,
    "answers 500 at length": answers.large_error,
    "answers 202": answers.accepted,
    "redirects": answers.redirect,
    "closes": answers.close,
    "hangs": answers.hang,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_a_receiver_does_wrong_twice_it_gets_every_event_in_order(rig, receiver, fault):
    receiver.plan = first_events_fail(FAULTS[fault], 2)
    await rig.start(receiver.url, client=impatient_where_it_hangs(receiver), key="k")
    await rig.owe("a1", "a2", "a3", stream="a")
    await rig.owe("b1", "b2", stream="b")
    await rig.until_all_is_delivered()

    assert receiver.of("a") == ["a1", "a1", "a1", "a2", "a3"]
    assert receiver.of("b") == ["b1", "b1", "b1", "b2"]
    assert {each.path for each in receiver.requests} == {"/callbacks"}
    for event_id in ("a1", "b1"):
        bodies = [each.same_at_each_attempt for each in receiver.requests if each.event_id == event_id]
        assert bodies == [bodies[0]] * 3


async def test_an_answer_of_10_mb_is_an_answer(rig, receiver):
    receiver.plan = lambda *_: answers.large
    await rig.start(receiver.url)
    await rig.owe("e1", "e2")
    await rig.until_all_is_delivered()

    assert receiver.of("demo") == ["e1", "e2"]


async def test_a_receiver_that_is_down_gets_everything_once_when_it_is_back(rig, receiver):
    await receiver.stop()
    await rig.start(receiver.url)
    await rig.owe("e1", "e2")
    await until(lambda: rig.outcomes.count(("failed", "e1")) >= 3)
    await receiver.start()
    await rig.until_all_is_delivered()

    assert receiver.of("demo") == ["e1", "e2"]


async def test_a_stream_is_not_held_up_by_another_that_hangs(rig, receiver):
    receiver.plan = lambda received, _times: answers.hang if received.stream == "hanging" else answers.ok
    await rig.start(receiver.url)
    await rig.owe("h1", "h2", stream="hanging")
    await until(lambda: receiver.of("hanging"))
    events = [f"e{number}" for number in range(20)]
    await rig.owe(*events, stream="other")
    await until(lambda: receiver.of("other") == events)

    assert receiver.of("hanging") == ["h1"]


async def test_receivers_are_independent(rig, receiver):
    async with Receiver(lambda *_: answers.hang) as hanging, Receiver() as down:
        await down.stop()
        await rig.start(hanging.url, down.url, receiver.url)
        await rig.owe("e1", "e2", "e3")
        await until(lambda: receiver.of("demo") == ["e1", "e2", "e3"])

        assert hanging.of("demo") == ["e1"]
        while (await Deliveries(rig.database).counts())[receiver.url].pending:
            await asyncio.sleep(0.005)
        assert {each.url for each in await rig.listed(state="pending")} == {hanging.url, down.url}
        await rig.stop()


async def test_streams_that_hang_get_half_of_the_places_once_they_have_failed(rig, client):
    await rig.start("http://a", client=client, parallel=4, longest_pause_s=0.0)
    for name in "abcd":
        await rig.owe(name, stream=name)
    await until(lambda: client.waiting() == set("abcd"))
    await rig.owe("v", stream="v")
    for name in "abcd":
        await client.answer(name, "no answer within 20 s")

    # Two of them are tried again, and for the others there is a place now and later, however long those take.
    await until(lambda: len(client.waiting()) == 3)
    assert "v" in client.waiting()
    for name in "wxyz":
        await rig.owe(name, stream=name)
    for name in "vwxyz":
        await client.answer(name)
    await until(lambda: len(client.waiting()) == 2)
    assert client.waiting() < set("abcd")
    assert client.most == 4


async def test_a_stream_that_failed_gets_the_next_free_place_though_others_have_much_to_say(rig, client):
    await rig.start("http://a", client=client, parallel=2, longest_pause_s=60.0)
    await rig.owe("f", stream="f")
    await client.answer("f", "answered 500")
    for number in range(20):
        await rig.owe(f"e{number}", stream=f"s{number}")
    await until(lambda: client.waiting() == {"e0", "e1"})
    rig.now += 60.0
    await client.answer("e0")
    await until(lambda: len(client.waiting()) == 2)

    assert client.tried() == ["f", "e0", "e1", "f"]


async def test_a_receiver_that_is_down_is_not_tried_flat_out_however_many_wait_for_it(rig, client, monkeypatch):
    monkeypatch.setattr(delivery_module, "rest_s", lambda _: 3600.0)
    await rig.start("http://a", client=client, parallel=4, longest_pause_s=60.0)
    for name in "abcd":
        await rig.owe(name, stream=name)
        await client.answer(name, "cannot connect")
    await until(lambda: len(rig.outcomes) == 4)
    rig.now += 60.0
    for name in "ab":
        await client.answer(name, "cannot connect")
    await until(lambda: len(rig.outcomes) == 6)
    await rig.owe("fresh", stream="fresh")
    await client.answer("fresh")
    await until(lambda: len(rig.outcomes) == 7)
    assert client.tried() == [*"abcd", *"ab", "fresh"]

    # Who stops has no time for a rest.
    flushing = asyncio.ensure_future(rig.delivery.flush(PATIENT_S))
    for name in "cd":
        await client.answer(name)
    await flushing


async def test_a_backlog_is_not_delivered_flat_out_as_media_need_the_loop(rig, client, monkeypatch):
    monkeypatch.setattr(delivery_module, "BREATH_S", 3600.0)
    await rig.start("http://a", client=client, parallel=2)
    for name in "abc":
        await rig.owe(name, stream=name)
    for name in "ab":
        await client.answer(name)
    await until(lambda: len(rig.outcomes) == 2)
    # The database answers in order, so a look for what is due that came before this one has been made by now.
    await rig.count()
    await rig.count()
    assert client.tried() == ["a", "b"]

    flushing = asyncio.ensure_future(rig.delivery.flush(PATIENT_S))
    await client.answer("c")
    await flushing


async def test_what_waits_is_tried_at_once_after_a_restart_however_long_its_pause_was(rig, client, monkeypatch):
    await rig.start("http://a", client=client, longest_pause_s=3600.0)
    await rig.owe("e1", "e2")
    await client.answer("e1", "answered 500")
    await until(lambda: ("failed", "e1") in rig.outcomes)
    await rig.stop()
    assert client.closed

    after = PlayedClient()
    await rig.start("http://a", client=after, longest_pause_s=3600.0)
    await after.answer("e1")
    await after.answer("e2")
    await rig.until_all_is_delivered()


async def test_an_attempt_without_an_outcome_is_made_again_by_the_next_server(rig, client):
    await rig.start("http://a", client=client)
    await rig.owe("e1")
    await until(lambda: client.waiting() == {"e1"})
    await rig.stop()
    assert client.waiting() == set()

    await rig.start("http://a", client=client)
    await client.answer("e1")
    await rig.until_all_is_delivered()

    assert client.tried() == ["e1", "e1"]


async def test_a_commit_that_owes_wakes_the_delivery(rig, client, monkeypatch):
    monkeypatch.setattr(delivery_module, "POLL_S", 3600.0)
    await rig.start("http://a", client=client)
    for number in range(5):
        await rig.owe(f"e{number}")
        await client.answer(f"e{number}")
    await rig.until_all_is_delivered()


async def test_a_pause_ends_though_nothing_else_happens(rig, client, monkeypatch):
    monkeypatch.setattr(delivery_module, "POLL_S", 3600.0)
    await rig.start("http://a", client=client)
    await rig.owe("e1")
    for _ in range(3):
        await client.answer("e1", "answered 500")
    await client.answer("e1")
    await rig.until_all_is_delivered()


async def test_what_is_too_old_when_it_would_be_tried_again_is_given_up_and_can_be_replayed(rig, client):
    await rig.start("http://a", client=client, give_up_s=DAY_S)
    await rig.owe("e1", "e2")
    await client.answer("e1", "answered 500")
    rig.now += DAY_S
    await client.answer("e1", "answered 500")
    await rig.until_dead(1)

    (line,) = rig.said("callback given up")
    values = {"event_id": "e1", "event_type": 1, "stream": "live/demo", "url": "http://a", "reason": "answered 500"}
    assert line == ("warning", {"event": "callback given up"} | values)
    await client.answer("e2")
    assert await Deliveries(rig.database).retry("e1", rig.now) == 1
    await client.answer("e1")
    await rig.until_all_is_delivered()
    assert rig.outcomes == [
        ("failed", "e1"),
        ("given_up", "e1"),
        ("delivered", "e2"),
        ("delivered", "e1"),
    ]


async def test_what_is_too_old_is_cleared_away(rig, client, monkeypatch):
    monkeypatch.setattr(delivery_module, "CLEAR_S", 0.0)
    await rig.start("http://a", client=client, give_up_s=DAY_S, dead_kept_s=7 * DAY_S)
    await rig.owe("e1", "e2")
    await until(lambda: client.waiting() == {"e1"})
    rig.now += DAY_S + UNTRIED_S + 1
    await rig.owe("e3", stream="other")
    await rig.until_dead(1)

    assert [(each.event_id, each.last_error) for each in await rig.listed(state="dead")] == [("e2", UNTRIED)]
    assert [values["count"] for _, values in rig.said("callbacks given up")] == [1]
    await client.answer("e1")
    rig.now += 7 * DAY_S
    await client.answer("e3")
    await rig.until_all_is_delivered()


async def test_a_clock_that_is_set_back_makes_nobody_wait(rig, client, monkeypatch):
    monkeypatch.setattr(delivery_module, "CLEAR_S", 0.0)
    await rig.start("http://a", client=client)
    await rig.owe("e1")
    await client.answer("e1", "answered 500")
    await until(lambda: ("failed", "e1") in rig.outcomes)
    rig.now -= DAY_S
    await client.answer("e1")
    await rig.until_all_is_delivered()


async def test_receivers_change_with_the_configuration_and_what_is_pending_to_those_that_go_is_dropped(rig, client):
    await rig.start("http://a", "http://b", client=client)
    await rig.owe("e1", "e2")
    await client.answer("e1", url="http://b")
    await until(lambda: client.open.keys() == {("http://a", "e1"), ("http://b", "e2")})

    rig.delivery.reconfigure(DeliverySettings(("http://b", "http://c")))
    await until(lambda: rig.said("callbacks dropped"))
    await rig.owe("e3")
    await client.answer("e2", url="http://b")
    await client.answer("e3", url="http://b")
    await client.answer("e3", url="http://c")
    await client.answer("e1", "answered 500", url="http://a")
    await until(lambda: ("failed", "e1") in rig.outcomes)

    assert [values["count"] for _, values in rig.said("callbacks dropped")] == [2]
    assert await rig.listed() == ()


async def test_a_receiver_that_goes_and_comes_back_is_sent_no_more_at_a_time_than_before(rig, client):
    await rig.start("http://a", client=client, parallel=2)
    await rig.owe("a1", stream="a")
    await rig.owe("b1", stream="b")
    await until(lambda: client.waiting() == {"a1", "b1"})
    for urls in ((), ("http://a",)):
        rig.delivery.reconfigure(DeliverySettings(urls, parallel=2))
        while set(await Deliveries(rig.database).counts()) != set(urls):
            await asyncio.sleep(0.005)
    await rig.owe("c1", stream="c")
    for event_id in ("a1", "b1", "c1"):
        await client.answer(event_id)
    await rig.until_all_is_delivered()

    assert client.most == 2
    assert client.tried() == ["a1", "b1", "c1"]


async def test_an_outcome_that_cannot_be_stored_is_kept_and_the_event_is_not_sent_again(rig, client, monkeypatch):
    monkeypatch.setattr(delivery_module, "POLL_S", 0.001)
    await rig.start("http://a", client=client)
    real, refusals = rig.database.submit, []

    def refuse(_work):
        refusals.append(1)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(StoreError("database or disk is full"))
        return future

    await rig.owe("e1")
    await until(lambda: client.waiting() == {"e1"})
    rig.database.submit = refuse
    await client.answer("e1")
    await until(lambda: len(refusals) > 10)
    rig.database.submit = real
    await rig.until_all_is_delivered()

    assert client.tried() == ["e1"]
    assert {level for event in ("callbacks not written", "callbacks not read") for level, _ in rig.said(event)} == {
        "warning"
    }


async def test_a_fault_of_our_own_is_loud_and_costs_an_attempt(rig, client):
    rig.errors_allowed = True
    await rig.start("http://a", client=client)
    await rig.owe("e1")
    await until(lambda: client.waiting() == {"e1"})
    client.open["http://a", "e1"].set_exception(KeyError("bug"))
    await until(lambda: ("failed", "e1") in rig.outcomes)
    await client.answer("e1")
    await rig.until_all_is_delivered()

    assert [level for level, _ in rig.said("internal error")] == ["error"]


async def test_failures_are_said_once_for_each_receiver_without_its_secrets_and_successes_in_detail(rig, client):
    urls = ("http://u:s@a/in?token=s", "http://b")
    await rig.start(*urls, client=client, key="s")
    await rig.owe("e1", "e2")
    for url in urls:
        for _ in range(3):
            await client.answer("e1", "answered 500", url=url)
        await client.answer("e1", url=url)
        await client.answer("e2", url=url)
    await rig.until_all_is_delivered()

    failed = [(level, values["url"], values["reason"]) for level, values in rig.said("callback not delivered")]
    assert failed == [("warning", "http://a/in", "answered 500"), ("warning", "http://b", "answered 500")]
    delivered = [(level, values["url"], values["event_id"]) for level, values in rig.said("callback delivered")]
    assert delivered == [("debug", url, event) for url in ("http://a/in", "http://b") for event in ("e1", "e2")]


async def test_a_server_that_stops_tries_once_what_is_due_and_what_waits_behind_it(rig, client):
    await rig.start("http://a", client=client, longest_pause_s=0.0)
    await rig.owe("a1", "a2", "a3", stream="a")
    await rig.owe("b1", "b2", stream="b")
    await until(lambda: client.waiting() == {"a1", "b1"})
    flushing = asyncio.ensure_future(rig.delivery.flush(PATIENT_S))
    await until(rig.delivery._flushing.is_set)
    await client.answer("b1", "answered 500")
    for event_id in ("a1", "a2", "a3"):
        await client.answer(event_id)
    await flushing

    assert client.tried().count("b1") == 1
    assert {each.event_id for each in await rig.listed(state="pending")} == {"b1", "b2"}


async def test_a_server_that_stops_does_not_wait_for_a_receiver_that_hangs(rig, client):
    await rig.start("http://a", client=client)
    await rig.owe("e1")
    await until(lambda: client.waiting() == {"e1"})
    await rig.delivery.flush(0.01)

    assert rig.said("callbacks left for the next start")
    assert await rig.count() == 1


async def test_a_server_that_stops_with_nothing_to_deliver_stops_at_once(rig, client):
    await rig.start("http://a", client=client)
    await rig.delivery.flush(PATIENT_S)

    assert not rig.said("callbacks left for the next start")


async def test_a_delivery_that_was_never_opened_adopts_its_receivers_by_itself(rig, client):
    await rig.start("http://a", client=client, open_first=False)
    while not await Deliveries(rig.database).counts():
        await asyncio.sleep(0.005)
    await rig.owe("e1")
    await client.answer("e1")
    await rig.until_all_is_delivered()


@pytest.mark.parametrize("streams", [1, 10_000])
async def test_however_much_is_pending_little_of_it_is_read_and_tried_at_a_time(rig, client, streams):
    await Deliveries(rig.database).set_receivers(["http://a"], 0.0, 0.0)
    owed = [Owed(f"e{number}", 1, f"live/{number % streams}", {}, rig.now) for number in range(10_000)]
    await rig.database.submit(lambda connection: owe(connection, owed))
    read = []
    real = rig.database.submit

    def submit(work):
        future = real(work)
        future.add_done_callback(count)
        return future

    def count(future):
        if not future.cancelled() and isinstance(result := future.result(), Due):
            read.append(len(result.first) + len(result.again))

    rig.database.submit = submit
    await rig.start("http://a", client=client, parallel=8)
    for number in range(200):
        await client.answer(f"e{number}", "answered 500" if number % 7 == 0 and streams > 1 else "")

    assert sum(read) <= 200 + 200 / 7 + 2 * 8
    assert max(read) <= 2 * 8
    assert client.most <= 8
