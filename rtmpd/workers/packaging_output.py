"""
What the packager has made of one stream: the log that players of MP4 read, and the window that HLS is answered from.

Players of MP4 begin at the newest key frame and stay as far behind as they began, so they are not let in while the packager
works off what the stream's log had when it was asked: until then the newest key frame is an old one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from rtmpd.live.fragments import FRAGMENT_FORM, FragmentViewer, Init, Part, append_part
from rtmpd.live.log import Log, Retention
from rtmpd.live.window import Window
from rtmpd.net.services import Services
from rtmpd.workers.fragment_feed import Record, Refusal
from rtmpd.workers.packaging_viewers import Viewers

LIVE_MS = 1000
"""Parts that end so near to the newest frame of their stream are live."""
QUIET_S = 0.05
"""So are those that nothing follows for so long: what waits in the log is packaged much faster."""
BACKLOG_MS = 60_000
"""More than any log holds: a part that seems to be older has a clock of its own."""
DOUBT_S = 2.0
"""A track that cannot be packaged refuses the whole stream if nothing comes for so long; the others may be late."""
TOLD = 4
"""Reasons that are logged of one feed: its publisher decides how many there are."""
RECONFIGURED = "the codec configuration changed"
BREAK = "a break in the stream"
_TIMESTAMPS = 1 << 32


class PackagingOutput:
    """Log, window and viewers of one stream."""

    def __init__(
        self, path: str, window: Window, services: Services, retention: Retention, unix_now: Callable[[], float]
    ) -> None:
        """
        Begin empty.

        Args:
            path: of the stream, for the log.
            window: empty.
            services: of the server.
            retention: what each log of parts keeps.
            unix_now: unix seconds.
        """
        self.window = window
        self.log: Log | None = None
        """In FRAGMENT_FORM; None before the first initialisation section and after a break."""
        self.refusal: str | None = None
        """Why the stream cannot be packaged as it is."""
        self.has_media = False
        """Something was made, in this life of the stream or an earlier one."""
        self.viewers = Viewers()
        self._path = path
        self._services = services
        self._retention = retention
        self._unix_now = unix_now
        self._init: Init | None = None
        self._is_live = False
        self._told: set[str] = set()
        self._quiet: asyncio.TimerHandle | None = None
        """Runs while the newest part is an old one."""
        self._doubt: asyncio.TimerHandle | None = None
        """Runs while no part has come since a refusal."""

    def attach(self, viewer: FragmentViewer) -> None:
        """Let a viewer play as soon as there is something live; end one of a stream that is refused."""
        self.viewers.attach(viewer)
        if self.refusal is not None:
            self.viewers.end(self.refusal)
        else:
            self._start_viewers()

    def take(self, records: Sequence[Record], newest_ms: int | None) -> None:
        """
        Take what has come back from the packager.

        Args:
            records: in order.
            newest_ms: time of the stream's newest frame; None after the stream's end.
        """
        for record in records:
            if isinstance(record, Part):
                self._append(record, newest_ms)
            elif isinstance(record, Init):
                self._begin(record)
            else:
                self._refuse(record)
        if self.log is not None:
            self._services.fanout.mark([self.log])
            if newest_ms is not None:  # who waits now waits for the stream's next life
                self._start_viewers()

    def break_off(self, reason: str) -> None:
        """
        Expect nothing more before another feed begins.

        Args:
            reason: for those who play; those who wait go on waiting.
        """
        self._stop_timers()
        self._drop_log()
        self._init = self.refusal = None
        self._is_live = False
        self._told.clear()
        self.viewers.end_playing(reason)

    def refuse(self, reason: str) -> None:
        """
        End everybody: the stream cannot be packaged as it is.

        Args:
            reason: for the viewers, those to come included.
        """
        self._drop_log()
        self.refusal = reason
        self.viewers.end(reason)

    def close(self, reason: str) -> None:
        """
        End everybody, for good.

        Args:
            reason: for the viewers.
        """
        self.break_off(reason)
        self.viewers.end(reason)

    def _begin(self, init: Init) -> None:
        is_same, is_playing = init == self._init, self.log is not None
        self._init = init
        self.log = Log(FRAGMENT_FORM, self._retention)
        self.refusal = None
        self.has_media = True
        self.window.begin(init, self._unix_now())
        if is_playing:
            self.viewers.end_playing(BREAK if is_same else RECONFIGURED)

    def _append(self, part: Part, newest_ms: int | None) -> None:
        if self._init is None:
            raise ValueError("the packager sent a part before what it is decoded with")
        if self.log is None:  # what was taken for the end of it was a pause
            self._begin(self._init)
        assert self.log is not None
        self._stop_timers()
        append_part(self.log, part, self._init, self._services.loop.time())
        behind_ms = 0 if newest_ms is None else _since(part.start_ms + part.duration_ms, newest_ms)
        is_backlog = LIVE_MS < behind_ms < BACKLOG_MS
        self.window.append(part, self._unix_now() - (behind_ms / 1000 if is_backlog else 0))
        self._is_live = self._is_live or not is_backlog
        if not self._is_live:
            self._quiet = self._services.loop.call_later(QUIET_S, self._be_live)

    def _refuse(self, refusal: Refusal) -> None:
        """Take note of a track that is left out; where no part comes there is none that is not."""
        if refusal.reason not in self._told and len(self._told) < TOLD:
            self._told.add(refusal.reason)
            self._services.log.warning("not packaged", stream=self._path, reason=refusal.reason)
        if self._doubt is None:
            self._doubt = self._services.loop.call_later(DOUBT_S, self._be_refused, refusal.reason)

    def _be_refused(self, reason: str) -> None:
        self._doubt = None
        self.refuse(reason)

    def _drop_log(self) -> None:
        if self.log is not None:
            self.log = None
            self.window.break_off()

    def _be_live(self) -> None:
        self._quiet = None
        self._is_live = True
        self._start_viewers()

    def _start_viewers(self) -> None:
        log = self.log
        # A cursor that finds no key frame in a log that has its beginning would go without the initialisation section.
        if self._is_live and log is not None and log.newest_key_frame is not None:
            self.viewers.start(log)

    def _stop_timers(self) -> None:
        for timer in (self._quiet, self._doubt):
            if timer is not None:
                timer.cancel()
        self._quiet = self._doubt = None


def _since(earlier_ms: int, later_ms: int) -> int:
    """Tell how much later a time is than another, where one may have lost what 32 bits do not hold."""
    return (later_ms - earlier_ms + _TIMESTAMPS // 2) % _TIMESTAMPS - _TIMESTAMPS // 2
