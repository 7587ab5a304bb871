"""Callbacks arrive, whatever their receiver does: all of them, in order, none altered, and again only where they must."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.helpers.callback_server import (
    CallbackServer,
    Odd,
    assert_never_altered,
    callbacks_config,
    first_arrivals,
)
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

RECORDED = '[apps.live]\nrecord = "auto"\nrecord_cut_s = 1\nresume_s = 0\n'
TIMEOUT_S = 5.0
"""For the receivers of these tests to answer, however long they are kept from it; those that hang take so long each time."""
TROUBLES = {
    "500": (500, 500),
    "202": (202,),
    "hang": (Odd.HANG,),
    "close": (Odd.CLOSE,),
    "lose": (Odd.LOSE,),
    "redirect": (Odd.REDIRECT,),
    "large-error": (Odd.LARGE_ERROR,),
    "large": (),
}
"""What a receiver does with each callback of a stream at first; then it takes it."""
RARELY = "hang"
"""The stream whose trouble is with the callbacks of its publisher alone: with all of them it would take half a minute."""
PARALLEL = 16
"""The default of callbacks.parallel."""


def troubles_of(body):
    """What a receiver in trouble does with a callback before it takes it."""
    is_spared = body["stream_id"] == RARELY and body["event_type"] not in {0, 1}
    return () if is_spared else TROUBLES[body["stream_id"]]


def publish(server, stream, tags, media_ms=2_600):
    """Publish so long that files are closed by a cut, and another one by the end."""
    with LivePublisher(server.address, stream, tags) as publisher:
        publisher.wait_until_sent(media_ms)
        publisher.finish()


def wait_until_told(receiver, stream, publications=1):
    """Wait for the last callbacks of a stream: that of its publisher's end and that of its recording's."""

    def is_told():
        ended = [body for body in receiver.of(stream, 332) if body["record_event"] == "record_ended"]
        return len(receiver.of(stream, 0)) >= publications <= len(ended)

    wait_until(is_told, f"the last callbacks of {stream}")
    return receiver.of(stream)


def ids_of(bodies):
    return [body["event_id"] for body in bodies]


def assert_complete(told):
    """See that one publication with its recording was told from its beginning to its end."""
    assert [body["event_type"] for body in told if body["event_type"] in {0, 1}] == [1, 0]
    assert told[0]["event_type"] == 1
    (begin, end) = (body for body in told if body["event_type"] in {0, 1})
    assert begin["sequence"] == end["sequence"]
    recorded = [body for body in told if body["event_type"] in {100, 332}]
    assert len(recorded) >= 4
    assert (recorded[0]["record_event"], recorded[-1]["record_event"]) == ("record_start_succeeded", "record_ended")
    assert {body["event_type"] for body in recorded[1:-1]} == {100}


@pytest.fixture(scope="module")
def troubled(tmp_path_factory, sources):
    """Two receivers of the same callbacks, when all is delivered: one that is well, one with a trouble for each stream."""
    with CallbackServer() as well, CallbackServer() as odd:
        tries = Counter()

        def answer(body):
            plan, times = troubles_of(body), tries[body["event_id"]]
            tries[body["event_id"]] += 1
            taken = Odd.LARGE if body["stream_id"] == "large" else 200
            return plan[times] if times < len(plan) else taken

        odd.answer = answer
        config = RECORDED + callbacks_config(well, odd, timeout_s=TIMEOUT_S)
        with Server(tmp_path_factory.mktemp("troubled"), config) as server:
            tags = sources.tags("long")
            with ThreadPoolExecutor(len(TROUBLES)) as pool:
                list(pool.map(lambda stream: publish(server, stream, tags), TROUBLES))
            for stream in TROUBLES:
                wait_until_told(well, f"live/{stream}")
                wait_until_told(odd, f"live/{stream}")
            wait_until(lambda: not server.api.get("callbacks").body["pending"], "everything delivered")
        yield well, odd


@pytest.mark.parametrize("stream", TROUBLES)
def test_a_receiver_in_trouble_gets_everything_in_order_and_again_only_what_it_did_not_take(troubled, stream):
    well, odd = troubled

    arrived = odd.of(f"live/{stream}")
    told = first_arrivals(arrived)
    assert_complete(told)
    # The other receiver got them in the order in which they became owed, too, as nothing held it up.
    assert ids_of(told) == ids_of(well.of(f"live/{stream}"))
    assert len(arrived) == len(told) * (1 + TROUBLES[stream].count(Odd.LOSE))
    attempts = [body for body in odd.attempts if body["stream_id"] == stream]
    repeated = [body for body in told for _ in range(len(troubles_of(body)) + 1)]
    assert ids_of(attempts) == ids_of(repeated)
    assert_never_altered(attempts)


def test_a_receiver_that_is_down_gets_everything_in_order_when_it_is_back(directory, sources, prove):
    with CallbackServer() as receiver, Server(directory, RECORDED + callbacks_config(receiver)) as server:
        with LivePublisher(server.address, "s", sources.tags("long"), speed=1 if prove else 2) as publisher:
            receiver.wait_for("live/s", 1)
            receiver.go_down()
            down_ms = publisher.sent_ms
            server.wait_for("callback not delivered")
            if prove:
                threading.Event().wait(60)
            else:
                publisher.wait_until_sent(down_ms + 4_000)
            publisher.finish()
        server.wait_for("closed", role="publish")
        wait_until(lambda: server.api.get("callbacks?state=pending").body["pending"] >= 4, "what is owed meanwhile")
        receiver.come_back()
        told = wait_until_told(receiver, "live/s")
        wait_until(lambda: not server.api.get("callbacks").body["pending"], "everything delivered")

    assert_complete(told)
    assert ids_of(receiver.attempts) == ids_of(told)


def test_a_stream_whose_callbacks_hang_delays_no_other_and_no_receiver_another(directory, sources):
    # One place is left at the receiver; that more streams than that fail does not matter either, but takes a time-out.
    hanging = [f"hang-{number}" for number in range(PARALLEL - 1)]
    with CallbackServer() as well, CallbackServer() as odd:
        odd.answer = lambda body: Odd.HANG if body["stream_id"] in hanging else 200
        config = "[apps.live]\n[apps.recorded]\nrecord = 'auto'\nresume_s = 0\n"
        # Who hangs does so until long after this test has given up.
        config += callbacks_config(well, odd, timeout_s=600)
        with Server(directory, config) as server, ExitStack() as stack:
            tags = sources.tags("long")
            for stream in hanging:
                stack.enter_context(LivePublisher(server.address, stream, tags))
            wait_until(lambda: len(odd.attempts) == len(hanging), "callbacks that hang")
            with LivePublisher(server.address, "s", tags, app="recorded") as publisher:
                publisher.wait_until_sent(500)
                publisher.finish()
            wait_until_told(odd, "recorded/s")
            wait_until_told(well, "recorded/s")
            for stream in hanging:
                well.wait_for(f"live/{stream}", 1)
            assert not [body for body in odd.bodies if body["stream_id"] in hanging]
            odd.go_down()


def test_what_was_given_up_is_listed_and_can_be_sent_again(directory, sources):
    with CallbackServer() as well, CallbackServer() as odd:
        odd.answer = lambda _body: 500
        config = RECORDED + callbacks_config(well, odd, give_up_s=0.3)
        with Server(directory, config) as server:
            publish(server, "s", sources.tags("long"))
            told = wait_until_told(well, "live/s")
            wait_until(lambda: server.api.get("callbacks").body["dead"] == len(told), "dead letters", timeout_s=40)
            listed = server.api.get("callbacks?state=dead").body["callbacks"]
            assert [each["event_id"] for each in listed] == ids_of(told)[::-1]
            assert {(each["url"], each["state"], each["last_error"]) for each in listed} == {
                (odd.url, "dead", "answered 500")
            }
            odd.answer = lambda _body: 200
            for number, body in enumerate(told, 1):
                assert server.api.post(f"callbacks/{body['event_id']}/retry").status == 200
                wait_until(lambda: len(odd.bodies) == number, "what was sent again")  # noqa: B023 - asked at once
            wait_until(lambda: not server.api.get("callbacks").body["callbacks"], "an empty list")
            unknown = server.api.post(f"callbacks/{told[0]['event_id']}/retry")

    assert unknown.status == 404
    assert ids_of(odd.bodies) == ids_of(told) == ids_of(well.bodies)
    assert_never_altered([*odd.attempts, *well.attempts])
