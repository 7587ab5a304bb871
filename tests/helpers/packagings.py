"""The server's side of live packaging, with a real fan-out, a clock of its own, and a packager that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from pathlib import Path

from rtmpd.config_file import validate
from rtmpd.live.log import Retention
from rtmpd.live.registry import Registry, Takeover
from rtmpd.live.terms import Terms
from rtmpd.net.fanout import FanOut, Pace
from rtmpd.net.poller import Poller
from rtmpd.net.services import Services
from rtmpd.net.sink import NOBODY, Sink
from rtmpd.net.tasks import Tasks
from rtmpd.session.limits import Limits
from rtmpd.workers.packaging import Packagings
from rtmpd.workers.playlist_ends import PlaylistEnds
from tests.helpers.live import inter_frame, key_frame, video_header
from tests.helpers.rig import OpenPolicy
from tests.helpers.studio import PATIENCE_S, Clock, logger_to, until

UNIX_S = 1_700_000_000.0
FRAME_MS = 40


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


class KeptWindow:
    """A window that keeps what it is told."""

    def __init__(self, first_number):
        self.first_number = first_number
        self.next_number = first_number
        self.next_discontinuity_sequence = 0
        self.is_broken_off = False
        self.target_duration_s = 2
        self.events = []
        """"begin", the numbers of parts and "break", in order."""
        self.dates = []
        """Of the parts."""

    def begin(self, init, at):
        self.events.append("begin")

    def append(self, part, at):
        self.events.append(number_of(part.data))
        self.dates.append(at)

    def break_off(self):
        self.events.append("break")


def number_of(body):
    """The number that a picture was sent with."""
    return int.from_bytes(body[5:7])


class Waiting:
    """Somebody who waits for a stream."""

    def stream_started(self, stream):
        pass

    def stream_ended(self, stream, reason):
        pass


class Viewer(Sink):
    """A player of MP4 that keeps what it was told and sent."""

    def __init__(self):
        super().__init__(-1, self._take, NOBODY, patience_s=math.inf)
        self.told = []
        self._received = bytearray()

    def fragments_started(self, log):
        self.told.append("started")
        self.join(log)
        self._drain()

    def fragments_ended(self, reason):
        self.told.append(reason)

    def read(self):
        """Everything that was not read yet."""
        self._drain()
        data = bytes(self._received)
        self._received.clear()
        return data

    def _drain(self):
        while (piece := self.next_bytes()) is not None:
            self.advance(self._take(piece))

    def _take(self, data):
        self._received += data
        return len(data)


class Rig:
    """Packaging without a server."""

    def __init__(self, *, keeps_windows=True, apps=None, retention=None, module=None, **packaging):
        loop = asyncio.get_running_loop()
        self.descriptors = open_descriptors()
        self.lines = []
        self.faults = []
        loop.set_exception_handler(lambda _loop, context: self.faults.append(context))
        self.clock = Clock()
        self.poller = Poller(loop, 0.005, share=1.0, max_delay_s=0.0)
        self.registry = Registry(Retention(**retention or {"seconds": 3600.0}))
        self.services = Services(
            loop=self.clock,
            poller=self.poller,
            fanout=FanOut(self.clock, self.poller, Pace(max_delay_s=0.0)),
            registry=self.registry,
            policy=OpenPolicy(),
            limits=Limits(),
            wait_s=0.0,
            lag_limit_s=30.0,
            may_jump=True,
            tasks=Tasks(self.faults.append),
            log=logger_to(self.lines),
        )
        self.tables = {"apps": apps or {"live": {}}, "packaging": packaging}
        options = {} if module is None else {"module": module}
        config = validate(self.tables)
        self.stored_ends = []
        """What was written of where playlists end."""
        self.ends = PlaylistEnds([], self._store_end, self.services.log)
        self.packagings = Packagings(config, self.services, self.ends, unix_now=self.unix_now, **options)
        if keeps_windows:
            self.packagings._new_window = lambda *_path: KeptWindow(int(self.unix_now()))
        self.registry.observers.append(self.packagings)
        self._numbers = itertools.count(1)
        self._began_s = self.clock.time()

    def _store_end(self, row):
        self.stored_ends.append(row)
        written = asyncio.get_running_loop().create_future()
        written.set_result(None)
        return written

    def unix_now(self):
        return UNIX_S + self.clock.time() - self._began_s

    @property
    def packager(self):
        return self.packagings._packager

    @property
    def feed(self):
        """The packager's end of the newest feed."""
        return self.packager.feeds[-1]

    def publish(self, name="s", app="live", identity="me", **terms):
        """Publish a stream, which begins with a header."""
        publication = self.registry.publish(
            app, name, identity, Takeover.SAME, lambda _reason: None, terms=Terms(**terms)
        )
        self.append(publication, video_header())
        return publication

    def send(self, publication, kinds="k", size=40, step_ms=FRAME_MS):
        """Send a key frame for each "k" and another one for each "."; returns their numbers."""
        sent = [next(self._numbers) for _ in kinds]
        for number, kind in zip(sent, kinds, strict=True):
            make = key_frame if kind == "k" else inter_frame
            message = make(number * step_ms, size)
            self.append(publication, message._replace(body=message.body[:5] + number.to_bytes(2) + message.body[7:]))
        return sent

    def append(self, publication, message):
        publication.append(message, self.clock.time())
        self.services.fanout.mark(publication.stream.logs)

    def end(self, publication):
        """End the stream: its publisher has finished."""
        self.registry.unpublish(publication, "done", None)

    def lose(self, publication):
        """Lose the publisher, who may come back within the grace time."""
        self.registry.unpublish(publication, "lost", 1e12)

    def watch(self, publication):
        """Have a stream packaged for a viewer; returns the packaging, and the viewer."""
        packaging = self.packagings.want(publication.stream)
        viewer = Viewer()
        packaging.attach(viewer)
        return packaging, viewer

    def pass_time(self, seconds):
        """Let the server's clock go on; timers come due, and the server ticks once a second."""
        end_s = self.clock.time() + seconds
        while self.clock.time() < end_s:
            step_s = min(self.clock.time() + 1.0, end_s)
            while self.clock.next_s <= step_s:
                self.clock.run_next()
            self.clock.go_on_to(step_s)
            self.packagings.tick()

    async def until(self, reached):
        await until(reached)

    async def settle_feed(self):
        """Let what was sent reach the packager, which does nothing with it."""
        await until(lambda: not self.services.fanout._scheduled)

    async def settle(self):
        """Have the packager package whatever reaches it, until nothing more comes."""
        calm = 0
        deadline = time.monotonic() + PATIENCE_S
        while calm < 5:
            assert time.monotonic() < deadline, "it does not come to rest"
            await asyncio.sleep(0.001)
            # A turn that was cut short goes on: on a busy machine a slice may be over after one of a hundred feeds.
            is_busy = self.services.fanout._scheduled or bool(self.poller._ready)
            for feed in self.packager.running:
                feed.receive()
                is_busy = is_busy or feed.is_busy
                feed.play()
            calm = 0 if is_busy else calm + 1

    def said(self, event):
        """Values of the log's lines for an event."""
        return [values for _, values in self.lines if values["event"] == event]

    async def close(self):
        """Stop as a server does; nothing is left, and whatever a callback raised is raised here."""
        self.registry.end_all("server stops")
        await self.packagings.close(5.0)
        await asyncio.sleep(0)
        self.poller.close()
        assert open_descriptors() == self.descriptors
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not self.faults, self.faults
        assert not self.said("internal error"), self.said("internal error")


@contextlib.asynccontextmanager
async def rigs(**always):
    """What makes rigs, which are closed at the end; `always` are options of all of them."""
    made = []

    def make(**options):
        made.append(Rig(**always, **options))
        return made[-1]

    yield make
    for rig in made:
        await rig.close()
