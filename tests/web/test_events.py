"""Everything that happens, as it happens: in order, chosen, bounded, and taken up again."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from typing import NamedTuple

import pytest

from rtmpd import logs
from rtmpd.web import events
from rtmpd.web.events import KEPT_EVENTS, LONGEST_VALUE, QUEUED_EVENTS, name_of
from tests.helpers.logged import log_in_memory
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.site import RunningSite

EVENTS = "/api/v1/events"


class Told(NamedTuple):
    number: str | None
    name: str
    data: dict


class Following:
    """A client that follows events; closes its connection at the end of the block."""

    def __init__(self, site, query="", last_id=None, surface="tcp"):
        self._connection = site.connection(surface)
        self._connection.request("GET", EVENTS + query, headers={"Last-Event-ID": last_id} if last_id else {})
        self.response = self._connection.getresponse()
        self.comments = []
        if self.response.status == 200:
            self._read()  # it is followed only when the first comment is there

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.response.close()
        self._connection.close()

    def _read(self):
        lines = []
        while (line := self.response.readline()) not in {b"\n", b""}:
            lines.append(line.decode().removesuffix("\n"))
        self.comments += [line for line in lines if line.startswith(":")]
        return dict(line.split(": ", 1) for line in lines if not line.startswith(":"))

    def next(self):
        while not (fields := self._read()):
            pass
        return Told(fields.get("id"), fields["event"], json.loads(fields["data"]))

    def names(self, count):
        return [self.next().name for _ in range(count)]


@pytest.fixture(autouse=True)
def logged():
    with log_in_memory("error") as stream:
        yield stream


@pytest.fixture
def site(tmp_path, logged):
    with RunningSite(tmp_path) as site:
        yield site


def happen(site, event, **values):
    """Have the server's loop log something."""
    done = threading.Event()

    def log():
        logs.get_logger().info(event, **values)
        done.set()

    site.loop.call_soon_threadsafe(log)
    assert done.wait(20)


@pytest.mark.parametrize("surface", ["tcp", "unix"])
def test_what_is_logged_is_told_in_order_with_its_values(site, surface):
    with Following(site, surface=surface) as following:
        assert following.response.headers["Content-Type"] == "text/event-stream"
        happen(site, "publish started", stream="live/me", client=7, tls=True, reason=None)
        happen(site, "closed", stream="live/me")
        first, second = following.next(), following.next()

    assert (first.name, second.name) == ("publish-started", "closed")
    assert int(second.number) == int(first.number) + 1
    assert isinstance(first.data.pop("at"), float)
    assert first.data == {
        "event": "publish started",
        "level": "info",
        "stream": "live/me",
        "client": 7,
        "tls": True,
        "reason": None,
    }


def test_the_level_of_the_log_does_not_matter_but_debug_is_for_the_log_alone(site, logged):
    with Following(site) as following:
        logs.get_logger().debug("no")
        logs.get_logger().info("yes")
        logs.get_logger().error("loud")
        assert following.names(2) == ["yes", "loud"]

    assert "loud" in logged.getvalue()
    assert "yes" not in logged.getvalue()


def test_what_other_threads_and_the_standard_librarys_loggers_say_is_told(site):
    with Following(site) as following:
        logs.get_logger().info("from the test's thread")
        logging.getLogger("asyncio").error("Task %s was destroyed", "x\n")
        assert following.names(2) == ["from-the-test-s-thread", "task-x-was-destroyed"]


def test_several_follow_at_once(site):
    with Following(site) as first, Following(site) as second:
        happen(site, "one")
        assert first.next() == second.next()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?stream=live/me", ["publish-started", "closed", "end"]),
        ("?event=closed", ["closed", "closed", "end"]),
        ("?event=closed&stream=live/me", ["closed", "end"]),
    ],
)
def test_only_what_is_wanted_is_told(site, query, expected):
    with Following(site, query) as following:
        happen(site, "publish started", stream="live/me")
        happen(site, "closed", stream="live/you")
        happen(site, "closed", stream="live/me")
        happen(site, "configuration reloaded")
        names = following.names(len(expected) - 1)

    assert [*names, "end"] == expected


@pytest.mark.parametrize("query", ["?stream=me", "?event=Publish%20Started", "?event=", "?zork=1", "?event=a&event=b"])
def test_a_filter_that_makes_no_sense_is_refused(site, query):
    assert site.ask("GET", EVENTS + query).status == 422


def test_what_a_client_sent_cannot_forge_an_event(site):
    with Following(site) as following:
        happen(site, "closed", reason="x\n\nevent: forged\ndata: {}\n\n", stream="a\u2028\x1b[2J\ud800", raw=b"\n\n")
        told = following.next()
        happen(site, "next")
        assert following.next().name == "next"

    assert told.data["reason"] == "x\n\nevent: forged\ndata: {}\n\n"


def test_values_are_bounded_and_are_json(site):
    with Following(site) as following:
        happen(
            site,
            "closed",
            long="x" * 100_000,
            many=list(range(10_000)),
            share=float("nan"),
            address=("::1", 5),
            error=OSError("why"),
            nested=[["x"], {"a": 1}],
        )
        data = following.next().data

    assert len(data["long"]) == LONGEST_VALUE
    assert len(data["many"]) == 100
    assert (data["share"], data["address"], data["error"]) == (None, ["::1", 5], "why")


def test_tracebacks_stay_in_the_log(site, logged):
    with Following(site) as following:
        try:
            int("secret")
        except ValueError:
            logs.get_logger().exception("internal error")
        told = following.next()

    assert told.data.keys() == {"at", "event", "level"}
    assert "secret" in logged.getvalue()


def test_who_comes_back_gets_what_it_missed(site):
    with Following(site) as following:
        happen(site, "one")
        seen = following.next()
    for event in ("two", "three"):
        happen(site, event)

    with Following(site, last_id=seen.number) as following:
        happen(site, "four")
        assert following.names(3) == ["two", "three", "four"]


def test_who_comes_back_late_is_told_how_many_are_gone(site):
    happen(site, "first")
    with Following(site, last_id="0") as following:
        first = following.next()
    for _ in range(KEPT_EVENTS + 5):
        logs.get_logger().info("more")

    with Following(site, last_id=first.number) as following:
        lost, *rest = [following.next() for _ in range(KEPT_EVENTS + 1)]

    assert (lost.number, lost.name, lost.data) == (None, "lost", {"count": 5})
    assert {each.name for each in rest} == {"more"}


@pytest.mark.parametrize("last_id", ["0", "zork", "9" * 400, "-1", "\xb2"])
def test_an_id_of_another_server_gets_all_that_is_known(site, last_id):
    happen(site, "one")

    with Following(site, last_id=last_id) as following:
        assert following.next().name == "one"


def test_an_id_of_thousands_of_digits_is_answered_too(site):
    happen(site, "one")
    with Following(site, last_id="0") as following:
        seen = following.next()
    happen(site, "two")

    with Following(site, last_id=seen.number.zfill(20) + "9" * 5000) as following:
        assert following.next().name == "two"


def test_who_comes_anew_gets_what_happens_from_now_on(site):
    happen(site, "before")

    with Following(site) as following:
        happen(site, "after")
        assert following.next().name == "after"


def test_who_does_not_read_loses_events_and_is_told_how_many(site):
    """All in one turn of the loop, in which no answer can be written."""
    total = QUEUED_EVENTS + 100

    def burst():
        for number in range(total):
            logs.get_logger().info("more", number=number)

    with Following(site) as following, Following(site, "?event=rare") as chosen:
        site.loop.call_soon_threadsafe(burst)
        told = [following.next() for _ in range(QUEUED_EVENTS + 1)]
        happen(site, "rare")
        assert chosen.next().name == "rare"
        assert following.next().name == "rare"

    assert [each.data.get("number") for each in told[:-1]] == list(range(QUEUED_EVENTS))
    assert (told[-1].name, told[-1].data) == ("lost", {"count": 100})


def test_a_client_that_reads_nothing_holds_up_nobody_and_is_disconnected(site, monkeypatch):
    monkeypatch.setattr(events, "STALLED_S", 0.2)
    stuck = site.connection()
    stuck.sock = socket.socket()
    stuck.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or the kernel would take 10 MB of floods
    stuck.sock.connect(("127.0.0.1", site.port))
    stuck.request("GET", EVENTS)
    wait_until(lambda: site.site._events.followers == 1, "the client to be served")

    async def flood():
        for _ in range(QUEUED_EVENTS):
            logs.get_logger().info("flood", filler="x" * LONGEST_VALUE)

    def gone():
        # One after another: a slow machine would have as many to do as were asked for, long after the test.
        asyncio.run_coroutine_threadsafe(flood(), site.loop).result(PATIENCE_S)
        return site.site._events.followers == 0

    wait_until(gone, "the client to be given up")
    stuck.close()


def test_a_client_that_has_gone_makes_room(tmp_path):
    with RunningSite(tmp_path, http={"event_streams": 1}) as site:
        with Following(site), Following(site) as refused:
            assert refused.response.status == 503
            assert "(http.event_streams)" in json.loads(refused.response.read())["detail"]
        wait_until(lambda: site.site._events.followers == 0, "the client's leaving to be noticed")

        with Following(site) as following:
            assert following.response.status == 200


def test_a_silent_server_says_that_it_is_there(site, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.0)

    with Following(site) as following:
        following._read()
        assert following.comments == [": hello", ":"]


def test_the_last_words_are_told_before_the_end(site):
    with Following(site) as following:
        site.loop.call_soon_threadsafe(lambda: (logs.get_logger().info("stopping"), site.site._events.close()))
        assert following.next().name == "stopping"
        assert following.response.read() == b""


def test_nobody_listens_any_more_after_the_end(tmp_path):
    with RunningSite(tmp_path):
        assert len(logs._listeners) == 1

    assert logs._listeners == ()


def test_a_thread_that_logs_after_the_loop_has_ended_is_not_troubled(tmp_path):
    with RunningSite(tmp_path) as site:
        hear = site.site._events._hear

    hear({"event": "late", "level": "info"})  # raises nothing


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ("publish started", "publish-started"),
        ("the demo's publisher ended", "the-demo-s-publisher-ended"),
        ("x" * 100, "x" * 64),
        ("\n\n", "event"),
        ("Ä", "event"),
    ],
)
def test_a_name_is_made_of_letters_digits_and_hyphens(event, name):
    assert name_of(event) == name
