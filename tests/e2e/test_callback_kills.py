"""kill -9 between a fact and its delivery, at random moments: what the index says was told, all of it and in order."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from tests.helpers.callback_server import (
    CallbackServer,
    Odd,
    assert_never_altered,
    callbacks_config,
    first_arrivals,
)
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import Closed, LivePublisher
from tests.helpers.server import Server, is_alive

pytestmark = pytest.mark.e2e

APPS = """
[urls]
http = "https://example.org"  # else each start has another port, and so what is not delivered yet another video_url
[apps.brief]
record = "auto"
record_formats = ["flv", "mp4"]
record_cut_s = 1
resume_s = 0
[apps.kept]
record = "auto"
record_cut_s = 2
resume_s = 3
"""
STREAMS = ("brief/a", "brief/b", "kept/a")
TIMEOUT_S = 10.0
"""For the receiver: nothing that it takes may count as not taken because the machine is busy."""
SPEED = 2
"""Of the publishers: a file is cut twice as often."""
LIFE_S = (0.1, 3.0)
"""How long a server serves before it is killed."""
START_S = (0.1, 1.0)
"""How long one is there that is killed while it starts."""
KILLS_OF_A_RUN = 10
AT_ONCE = 3
MEDIA = {".flv", ".mp4"}


class Facts:
    """What the database of a stopped server says."""

    def __init__(self, data):
        with sqlite3.connect(data / "rtmpd.db") as database:
            self.sequences = {stream: [] for stream in STREAMS}
            for app, name, sequence in database.execute(
                "SELECT app, stream, sequence FROM publications ORDER BY number"
            ):
                self.sequences[f"{app}/{name}"].append(sequence)
            self.files = dict(database.execute("SELECT file_id, recording_id FROM files"))
            self.paths = {path for (path,) in database.execute("SELECT path FROM files")}
            self.file_states = {state for (state,) in database.execute("SELECT DISTINCT state FROM files")}
            self.turns = dict(database.execute("SELECT recording_id, turns FROM recordings"))
            self.recording_states = {state for (state,) in database.execute("SELECT DISTINCT state FROM recordings")}
            (self.owed,) = database.execute("SELECT COUNT(*) FROM deliveries").fetchone()

    @property
    def is_settled(self):
        """Whether nothing is open, unrepaired or owed any more."""
        return not self.owed and self.file_states <= {"closed"} and self.recording_states <= {"ended"}


class Flaky:
    """A receiver's answers: mostly it takes what it gets, and sometimes its answer is lost."""

    def __init__(self, chance):
        self._chance = chance
        self.lost = Counter()

    def __call__(self, body):
        answer = self._chance.choices([200, 500, Odd.CLOSE, Odd.LOSE, Odd.HANG], [70, 12, 8, 8, 2])[0]
        self.lost[f"{body['appname']}/{body['stream_id']}"] += answer is Odd.LOSE
        return answer


def come_and_go(server, stream, tags, chance, killed, begun):
    """Publish again and again, until the server is killed."""
    app, _, name = stream.partition("/")
    while server.running:
        with suppress(OSError, Closed), LivePublisher(server.address, name, tags, app=app, speed=SPEED) as publisher:
            begun[stream] += 1
            killed.wait(chance.uniform(0.1, 2.5))
            (publisher.finish if chance.random() < 0.5 else publisher.drop)()
        killed.wait(0.02)


def kill(server, chance):
    """End the server, and mostly its media worker: where that lives on, it finishes its files."""
    workers = server.children()
    server.kill()
    if chance.random() < 0.7:
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, workers)), "the end of the workers")
    assert not [line for line in server.log if line["level"] == "error"]


def live_and_be_killed(directory, config, tags, chance, begun):
    if chance.random() < 0.15:
        with ExitStack() as stack:
            server = Server(directory, config)
            stack.push(server)  # not entered, as that waits until it serves
            threading.Event().wait(chance.uniform(*START_S))
            kill(server, chance)
        return
    with Server(directory, config) as server:
        killed = threading.Event()
        publishers = [
            threading.Thread(
                target=come_and_go, args=(server, stream, tags, random.Random(chance.random()), killed, begun)
            )
            for stream in STREAMS
        ]
        for publisher in publishers:
            publisher.start()
        try:
            killed.wait(chance.uniform(*LIFE_S))
            kill(server, chance)
        finally:
            killed.set()
            for publisher in publishers:
                publisher.join()


def run(directory, tags, seed, kills):
    """One data directory and one receiver, over many lives of the server; counts what was seen."""
    chance = random.Random(seed)
    begun = Counter()
    with CallbackServer() as receiver:
        receiver.answer = flaky = Flaky(random.Random(chance.random()))
        config = APPS + callbacks_config(receiver, timeout_s=TIMEOUT_S)
        for _ in range(kills):
            live_and_be_killed(directory, config, tags, chance, begun)
        receiver.answer = lambda _body: 200
        with Server(directory, config) as server:
            wait_until(lambda: Facts(server.data).is_settled, "everything told", timeout_s=60)
            server.stop()
        facts = Facts(server.data)
        assert_told(facts, receiver, begun, {stream: kills + flaky.lost[stream] for stream in STREAMS})
        assert facts.paths == {
            str(path.relative_to(server.data / "recordings")) for path in server.recordings() if path.suffix in MEDIA
        }
    told = first_arrivals(receiver.bodies)
    return Counter(
        {
            "publications": sum(map(len, facts.sequences.values())),
            "files": len(facts.files),
            "events": len(told),
            "taken again": len(receiver.bodies) - len(told),
            "attempts": len(receiver.attempts),
        }
    )


def assert_told(facts, receiver, begun, doubtful):
    assert facts.is_settled
    told_ids = set()
    for stream in STREAMS:
        arrived = receiver.of(stream)
        told = first_arrivals(arrived)
        told_ids |= {body["event_id"] for body in told}
        assert_publications_told(told, facts.sequences[stream], begun[stream])
        # Of each line one callback is on its way at a time, and only a kill can lose what was answered.
        assert len(arrived) - len(told) <= doubtful[stream]
    assert len(told_ids) == len({body["event_id"] for body in receiver.bodies})
    assert_recordings_told(first_arrivals(receiver.bodies), facts)
    assert_never_altered(receiver.attempts)


def assert_publications_told(told, sequences, begun):
    """See that each publication, known to its publisher or not, has one 1 and then one 0."""
    assert len(sequences) >= begun
    pushes = [(body["event_type"], body["sequence"]) for body in told if body["event_type"] in {0, 1}]
    assert pushes == [(kind, sequence) for sequence in sequences for kind in (1, 0)]


def assert_recordings_told(told, facts):
    """See that each file has one 100, and each recording all of its turns, with its files between them."""
    assert Counter(body["file_id"] for body in told if body["event_type"] == 100) == Counter(list(facts.files))
    for recording_id, turns in facts.turns.items():
        mine = [body for body in told if recording_id in {body.get("session_id"), body.get("video_id")}]
        events = [body.get("record_event", body["event_type"]) for body in mine if body["event_type"] in {100, 332}]
        assert [body["seq"] for body in mine if body["event_type"] == 332] == list(range(1, turns + 1)), events
        assert events.count("record_ended") == 1, events
        assert events[-1] == "record_ended", events
        assert events[0] == "record_start_succeeded" or 100 not in events, events


def test_every_fact_is_told_in_order_however_often_the_server_is_killed(tmp_path, sources, prove, record_property):
    seed = random.SystemRandom().randrange(2**32) if prove else 0
    record_property("seed", seed)
    tags = sources.tags("long")
    runs = [KILLS_OF_A_RUN] * (200 // KILLS_OF_A_RUN) if prove else [5]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        works = [
            pool.submit(run, tmp_path / str(number), tags, seed + number, kills) for number, kills in enumerate(runs)
        ]
        failures = [
            f"seed {seed + number}\n{''.join(traceback.format_exception(work.exception()))}"
            for number, work in enumerate(works)
            if work.exception()
        ]
    assert not failures, "\n".join(failures)
    seen = sum((work.result() for work in works), Counter())
    record_property("seen", dict(seen))
    assert seen["events"] > seen["publications"] * 2
    print(f"seed {seed}: {sum(runs)} kills, {dict(seen)}")  # noqa: T201 - the figures of a proof
