"""
One recording of one stream: its feeds one after another, and how it ends.

Order: a file is in the index before a worker may open it (`rtmpd.workers.grants`); the feed's cursor is placed where
the recording began, however long the index took. The end of the stream is not the recording's: it waits for the
publisher, goes on in the same files, and ends when it has waited long enough or is told to.
"""

from __future__ import annotations

import asyncio
import enum
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from rtmpd.errors import Overloaded
from rtmpd.live.log import Log
from rtmpd.live.stream import Stream
from rtmpd.live.subscription import NOWHERE
from rtmpd.store.outbox import Owed
from rtmpd.store.rows import FileRow, RecordingRow
from rtmpd.wire.messages import AUDIO, VIDEO
from rtmpd.workers import owed
from rtmpd.workers.feed_sink import FeedSink
from rtmpd.workers.feeds import Feed, FeedRequest
from rtmpd.workers.grants import Grants
from rtmpd.workers.ledger import Write
from rtmpd.workers.plan import RecordingPlan
from rtmpd.workers.studio import Studio

RETRY_S = 5.0
"""Until a recording that no worker could take is offered again."""
_KINDS = {AUDIO: "audio", VIDEO: "video"}
LAST_OFFER_S = 300.0
"""After its end: what the log still has of it is worth that much waiting."""
_PROBE_BYTES = 64


class Phase(enum.Enum):
    """Where a recording is."""

    STARTING = "starting"
    """No worker has it yet."""
    RUNNING = "running"
    WAITING = "waiting"
    """The stream has ended; its publisher may come back."""
    ENDING = "ending"
    """What is left is being written."""
    ENDED = "ended"


_OVER = frozenset({Phase.ENDING, Phase.ENDED})


class _Left(NamedTuple):
    """A life of the stream that the feed has left behind, and whose end is not confirmed to be in the files."""

    log: Log
    position: int
    """What was confirmed when the feed left."""
    feed_bytes: int
    """Of the feed, up to the end of this life."""


class StreamRecorder:
    """One recording of one stream."""

    def __init__(
        self,
        studio: Studio,
        stream: Stream,
        plan: RecordingPlan,
        on_end: Callable[[StreamRecorder], None],
        *,
        row: RecordingRow | None = None,
        files: Sequence[FileRow] = (),
    ) -> None:
        """
        Begin to record a stream from where a player would start.

        Args:
            studio: what all recordings share.
            stream: is being published.
            plan: how.
            on_end: called if it ends because no worker took it.
            row: of a recording that goes on, after a restart.
            files: all that such a recording has.
        """
        self.plan = plan
        self.phase = Phase.STARTING
        self.repairs = 0
        """Repairs of its files under way; it has not ended before they are done."""
        self.fault: str | None = None
        """Why it ended, if not by its stream's end or a request."""
        self.reason = ""
        """Why it ends, for people."""
        self.entered = asyncio.Event()
        """It is in the index."""
        self.over = asyncio.Event()
        """Its end is in the index, and all of its files."""
        self._studio = studio
        self._on_end = on_end
        self.row = _new_row(stream, plan, studio.now()) if row is None else replace(row, formats=plan.formats)
        self.grants = Grants(studio, self.row, plan, files)
        self._logs = [self._follow(stream)]
        self._left: list[_Left] = []
        self._position = _start_of(self._logs[0])
        self._feed: Feed | None = None
        self._sink: FeedSink | None = None
        self._trace: FeedSink | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._ending_s = math.inf
        self._earlier_bytes = 0
        if row is None:
            new_row = self.row
            self._note(lambda index: index.begin(new_row, ()), then=self._begun)
        else:
            self.entered.set()
            self._note_resumed()
            self._next_feed()
        if self.row.ends_at is not None:
            left_s = max(0.0, self.row.ends_at - studio.now())
            self._end_timer = studio.loop.call_later(left_s, self.end, "its maximum duration is over")

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be recorded, though files may still be finished."""
        return self.phase in _OVER

    @property
    def path(self) -> str:
        """The stream's."""
        return f"{self.row.app}/{self.row.stream}"

    @property
    def recorded_bytes(self) -> int:
        """Media that is in the files, since the server's start."""
        return self._earlier_bytes + (0 if self._feed is None else self._feed.feed_bytes)

    @property
    def announced(self) -> frozenset[str]:
        """Kinds of tracks, "video" and "audio", that the stream's newest headers speak of."""
        newest = self._logs[-1].newest_key_frame if self._logs else None
        types = set() if newest is None else {type_id for type_id, _ in newest.headers}
        return frozenset(kind for type_id, kind in _KINDS.items() if type_id in types)

    def turn(self, event: str, reason: str = "", file_format: str = "") -> Owed:
        """Make the callback of a turn of this recording; whether it is told, the index knows, see `owed.status`."""
        return owed.status(self.row, event, reason, self._studio.now(), file_format)

    def on_readable(self) -> bool:
        """Notice that the worker has closed its end; what that means is told by its events."""
        if self._sink is not None and self._is_hung_up():
            self._let_go()
        return False

    def on_writable(self) -> None:
        """Go on feeding."""
        self._serve()

    def on_drained(self) -> None:
        """Everything is fed and nothing more will come: the end of the feed finishes the files."""
        self._let_go()
        if self._feed is not None:
            self._feed.finish()

    def on_lost(self, reason: str) -> None:  # noqa: ARG002 - the worker's events say more
        """Wait for what the supervisor says of a feed that cannot be written to."""
        self._let_go()

    def publisher_returned(self, stream: Stream) -> None:
        """Go on with another publisher: in the same life of the stream, or in its next one."""
        if self.is_over:
            return
        self._cancel_timer()
        log = self._follow(stream)
        if self.phase is Phase.WAITING:
            self._note_resumed()
            self.phase = Phase.RUNNING
        if self._sink is not None:
            self._cross_over(self._sink, self._logs[-1], log)
            self._logs = [log]
            self._serve()
        elif log is not self._logs[-1]:
            self._logs.append(log)

    def stream_ended(self) -> None:
        """Wait for the publisher, as long as the plan says."""
        if self.is_over:
            return
        if self.plan.resume_s <= 0:
            self.end("its stream has ended")
            return
        if self.phase is Phase.RUNNING:
            self._wait()
        self._cancel_timer()
        self._timer = self._studio.loop.call_later(self.plan.resume_s, self.end, "its publisher did not come back")

    def end(self, reason: str) -> None:
        """
        End the recording for good: no server after this one goes on with it. Harmless when called again.

        Args:
            reason: for people.
        """
        if self.is_over:
            return
        self.reason = reason
        now = self._studio.now()
        self.row = replace(self.row, ending_at=now)
        if self.entered.is_set():
            self._note_ending(now)
        self.finish()

    def finish(self) -> None:
        """Record nothing more once everything is fed; the next server may go on with it. Harmless when called again."""
        self._cancel_timer()
        self._cancel_end_timer()
        if not self.is_over:
            self.phase = Phase.ENDING
            self._ending_s = self._studio.loop.time()
        if self._retry is not None:  # a server that stops may not live until the next try
            self._retry.cancel()
            self._start()
        else:
            self._end_feed()

    def confirmed(self) -> None:
        """Let go of what the worker has confirmed to be in the files."""
        if self._left and self._feed is not None:
            self._left = [left for left in self._left if left.feed_bytes > self._feed.feed_bytes]

    def ended(self) -> tuple[FileRow, ...]:
        """
        Let go of everything: the last feed's files are all reported.

        Returns:
            The files that are to be repaired.
        """
        self.give_up()
        return self.grants.end()

    def give_up(self) -> None:
        """Let go of everything and start nothing more, though files may be open: the next server finds them."""
        self._cancel_timer()
        self._cancel_end_timer()
        self._let_go()
        self.phase = Phase.ENDED
        if self._feed is not None:
            self._feed.finish()
        self._leave_feed()
        self._trace = None
        self._logs.clear()
        self._left.clear()

    def worker_died(self, old: Feed) -> tuple[FileRow, ...]:
        """
        Go on in a new feed after the worker's death.

        Args:
            old: the lost feed, with what was confirmed to be in its files.

        Returns:
            The files that are to be repaired.
        """
        self.confirmed()
        if self._left:
            self._position = self._left[0].position
            self._logs[:0] = [left.log for left in self._left]
            self._left.clear()
        elif self._trace is not None:
            self._position = self._trace.position_of(old.feed_bytes)
        self._let_go()
        old.finish()
        self._leave_feed()
        left = self.grants.worker_died()
        self._next_feed()
        return left

    def _begun(self) -> None:
        self.entered.set()
        if self.row.ending_at is not None:
            self._note_ending(self.row.ending_at)
        self._prepare()

    def _note_ending(self, at: float) -> None:
        self._note(lambda index: index.ending(self.row.recording_id, at))

    def _note(self, write: Write, then: Callable[[], None] | None = None) -> None:
        self._studio.ledger.note(self.row.recording_id, write, then)

    def _leave_feed(self) -> None:
        self._earlier_bytes = self.recorded_bytes
        self._feed = None

    def _next_feed(self) -> None:
        """Give the next feed a number of its own."""
        self.row = replace(self.row, state="running", last_sequence=self.row.last_sequence + 1)
        self._note(lambda index: index.next_sequence(self.row.recording_id), then=self._prepare)

    def _prepare(self) -> None:
        if self.phase is not Phase.ENDED:
            self.grants.prepare(self._start)

    def _start(self) -> None:
        """Hand the recording to a worker."""
        self._retry = None
        if self.phase is Phase.ENDED:
            return
        studio, row = self._studio, self.row
        request = FeedRequest(row.recording_id, row.last_sequence, self.grants.outputs(), self.plan.memory_bytes)
        try:
            self._feed = studio.supervisor.start_feed(request)
        except (OSError, Overloaded) as error:
            self._try_again(str(error))
            return
        self.grants.give_to(self._feed)
        self._sink = self._trace = FeedSink(self._feed.socket, self)
        studio.poller.register(self._sink.descriptor, self)
        self._place(self._sink)

    def _try_again(self, reason: str) -> None:
        """Wait for a worker that has room, though not for ever once the recording is over."""
        studio, loop = self._studio, self._studio.loop
        studio.log.error("recording failed", recording=self.row.recording_id, stream=self.path, reason=reason)
        told = [self.turn("record_start_failed", reason)]
        self._note(lambda index: index.tell(told))
        if loop.time() - self._ending_s > LAST_OFFER_S:
            self.fault = reason
            self._on_end(self)
        else:
            self._retry = loop.call_later(RETRY_S, self._start)

    def _place(self, sink: FeedSink) -> None:
        """Put the cursor where the recording began, or was when its worker died."""
        first, *later = self._logs
        sink.private += first.form.opening
        sink.begin(first, self._position)
        for before, log in zip(self._logs, later, strict=False):
            self._cross_over(sink, before, log)
        self._logs = self._logs[-1:]
        if self.phase is Phase.ENDING:
            self._end_feed()
            return
        if self.phase is Phase.STARTING:
            self.phase = Phase.RUNNING
            if self._timer is not None:  # the stream has ended meanwhile
                self._wait()
        self._serve()

    def _wait(self) -> None:
        self.phase = Phase.WAITING
        now = self._studio.now()
        told = [self.turn("record_paused", "its publisher is gone")]
        self._note(lambda index: index.wait(self.row.recording_id, now, told))

    def _note_resumed(self) -> None:
        told = [self.turn("record_resumed")]
        self._note(lambda index: index.resumed(self.row.recording_id, told))

    def _cross_over(self, sink: FeedSink, before: Log, log: Log) -> None:
        """Go on in another log; the one before it is kept until its end is in the files."""
        assert self._feed is not None
        self.confirmed()
        position = sink.position_of(self._feed.feed_bytes)
        sink.cross_over(log)
        if log is not before:
            written = sink.private_sent_bytes + sink.sent_bytes + len(sink.private)
            self._left.append(_Left(before, position, written))

    def _follow(self, stream: Stream) -> Log:
        log = stream.flv_log()
        log.retain(self._studio.keep_s)
        return log

    def _serve(self) -> None:
        if self._sink is not None:
            self._studio.fanout.serve(self._sink)

    def _end_feed(self) -> None:
        if self._sink is not None:
            self._sink.ending = True
            self._serve()
        elif self._feed is not None:
            self._feed.finish()

    def _is_hung_up(self) -> bool:
        assert self._feed is not None
        try:
            return not self._feed.socket.recv(_PROBE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _let_go(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            self._studio.poller.unregister(sink.descriptor)
            self._studio.fanout.forget(sink)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel_end_timer(self) -> None:
        if self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None


def _new_row(stream: Stream, plan: RecordingPlan, now: float) -> RecordingRow:
    return RecordingRow(
        recording_id=secrets.token_hex(6),
        app=stream.app,
        stream=stream.name,
        origin=plan.origin,
        started_at=now,
        formats=plan.formats,
        task_id=plan.task_id,
        record_type=plan.record_type,
        tags=plan.tags,
        stream_param="" if stream.publication is None else stream.publication.terms.query,
        file_name=plan.file_name,
        push=plan.push,
        record_id=plan.record_id,
        ends_at=now + plan.max_duration_s if plan.max_duration_s else None,
    )


def _start_of(log: Log) -> int:
    """Find where a player would start: the newest key frame, or the beginning."""
    if log.newest_key_frame is not None:
        return log.newest_key_frame.position
    return 0 if log.start == 0 else NOWHERE
