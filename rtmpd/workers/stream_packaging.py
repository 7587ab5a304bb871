"""
Fragmented MP4 of one stream: when it is fed to the packager, and how long what was made is kept.

It lives over the lives of its stream, for as long as somebody uses it. What is due is not remembered in timers: it is
looked for once a second, at each change, and before anybody is given the packaging (`Packaging.look`).
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rtmpd.config import PackagingConfig
from rtmpd.live.fragments import FragmentViewer
from rtmpd.live.log import KeyFrame, Log, Retention
from rtmpd.live.stream import Stream, StreamState
from rtmpd.live.window import Window
from rtmpd.net.services import Services
from rtmpd.workers.fragment_feed import Record
from rtmpd.workers.packager import Packager
from rtmpd.workers.packaging_feed import PackagingFeed
from rtmpd.workers.packaging_output import PackagingOutput
from rtmpd.workers.playlist_ends import PlaylistEnds

RETRY_S = 5.0
"""Until a stream is fed again whose feed could not be opened, or was closed by the packager."""
END_S = 5.0
"""After a stream's end the packager has so long to send what is left of it."""
IDLE_TARGETS = 3
"""Who reads playlists comes back within so many target durations, and is watching meanwhile, however short idle_s is."""
_EDITION_BYTES = 8
_IDLE = "nobody watches it any more"
_PRIVATE = "the stream is private"
_ENDED = "the stream has ended"
_LATE = "the packager takes too long"
_LEFT = "it was kept long enough after the stream's end"
_FAILED = "the packager has failed"
_BARRED = "the packager has died of the stream repeatedly; it is tried again later"
_OVER = "it is not packaged any more"


@dataclass(slots=True)
class Shared:
    """What all packagings of a server share."""

    config: PackagingConfig
    retention: Retention
    services: Services
    packager: Packager
    ends: PlaylistEnds
    is_always_on: Callable[[str], bool]
    """Whether an application's streams are packaged though nobody watches them."""
    is_barred: Callable[[str], bool]
    """Whether the packager has died of a stream so often that it is not given to the next one for now."""
    unix_now: Callable[[], float]


class Packaging:
    """Fragmented MP4 of one stream."""

    def __init__(self, shared: Shared, window: Window, app: str, name: str) -> None:
        """
        Wait for the stream.

        Args:
            shared: by all packagings.
            window: empty.
            app: the stream's application.
            name: its name there.
        """
        self.app = app
        self.name = name
        self.edition = secrets.token_hex(_EDITION_BYTES)
        """Unguessable: who was given a playlist may have the segments, whose URLs contain it."""
        self.is_over = False
        """Nothing more will come of it; whoever wants the stream asks for another one."""
        self.at_rest = asyncio.Event()
        """Nothing is fed to the packager, and nothing comes back any more."""
        self.at_rest.set()
        self._shared = shared
        self._output = PackagingOutput(self.path, window, shared.services, shared.retention, shared.unix_now)
        self._stream: Stream | None = None
        """In its present life."""
        self._feed: PackagingFeed | None = None
        self._feed_began_s = 0.0
        self._fed_log: Log | None = None
        self._wanted_until_s = -math.inf
        self._kept_until_s: float | None = None
        """Set between two lives of the stream, if something was made of the first one."""
        self._retry_at_s = -math.inf

    @property
    def path(self) -> str:
        """The stream's."""
        return f"{self.app}/{self.name}"

    @property
    def window(self) -> Window:
        """Segments and parts, for HLS; begun anew with each edition."""
        return self._output.window

    @property
    def log(self) -> Log | None:
        """Parts, in FRAGMENT_FORM; None while there is nothing to play. Another one after each initialisation section."""
        return self._output.log

    @property
    def refusal(self) -> str | None:
        """Why the stream cannot be packaged as it is; a publisher may change that."""
        return self._output.refusal

    @property
    def is_running(self) -> bool:
        """Whether its stream is fed to the packager."""
        return self._feed is not None

    def attach(self, viewer: FragmentViewer) -> None:
        """
        Let somebody play: now, or when there is something to play. That keeps the packaging alive.

        Args:
            viewer: hashable; is told by `fragments_started`, possibly before this returns, and by `fragments_ended`.
        """
        now = self._shared.services.loop.time()
        self.use(now)
        self.look(now)
        if self.is_over:
            viewer.fragments_ended(_OVER)
        elif self._is_ending():
            self._output.viewers.attach(viewer)  # for the stream's next life
        else:
            self._output.attach(viewer)

    def detach(self, viewer: FragmentViewer) -> None:
        """Let a viewer go, which is told nothing more; harmless for one that was ended."""
        self._output.viewers.detach(viewer)
        self.use(self._shared.services.loop.time())

    def use(self, now: float) -> None:
        """
        Keep it alive for another `idle_s`: somebody has asked for a playlist.

        Args:
            now: seconds of the loop's clock.
        """
        self._wanted_until_s = now + max(self._shared.config.idle_s, IDLE_TARGETS * self.window.target_duration_s)

    def follow(self, stream: Stream) -> None:
        """Take up a stream that is being published; harmless when it is followed already."""
        if stream.state is not StreamState.IDLE and self._stream is None:
            self._stream = stream
            self._retry_at_s = -math.inf
            if self._kept_until_s is not None:  # who still reads its playlist has time to come back
                self._kept_until_s = None
                self.use(self._shared.services.loop.time())

    def stream_ended(self, now: float) -> None:
        """Send what is left; then wait for the stream's next life."""
        if self._stream is None:
            return
        if self._is_private():
            self.close(_PRIVATE)
            return
        self._stream = self._fed_log = None
        if self._output.has_media:
            self._kept_until_s = now + self._shared.config.kept_s
        self.use(now)
        if self._feed is not None:
            self._feed.finish()

    def cut_off(self) -> None:
        """Wait no longer for what is left of a stream that has ended."""
        self._end_feed(_LATE)

    def packager_died(self, now: float) -> None:
        """Go on in the next process, if somebody wants that: a stream that kills each of them may not be fed for ever."""
        self._end_feed(_FAILED)
        self._retry_at_s = -math.inf
        self.look(now)

    def look(self, now: float) -> None:
        """
        Do what is due.

        Args:
            now: seconds of the loop's clock.
        """
        if self._stream is not None and self._stream.state is StreamState.IDLE:
            self.stream_ended(now)
        reason = None if self.is_over else self._reason_to_close(now)
        if reason is not None:
            self.close(reason)
        elif self._feed is not None:
            since_s = self._feed.ending_since_s
            if since_s is not None and now - since_s > END_S:
                self.cut_off()
        elif self.refusal is None and self._is_barred():
            self._output.refuse(_BARRED)
        if self._is_due(now):
            self._begin_feed(now)

    def close(self, reason: str) -> None:
        """
        End it for good; harmless when called again.

        Args:
            reason: for viewers and the log.
        """
        if not self.is_over:
            self.is_over = True
            self._end_feed(reason)
            self._output.close(reason)
            self._stream = self._fed_log = None

    def _reason_to_close(self, now: float) -> str | None:
        if self._is_private():
            return _PRIVATE
        if self._kept_until_s is not None:
            # However short it is kept, who watches has all of it.
            return _LEFT if now >= self._kept_until_s and not self._is_ending() else None
        return None if self._is_wanted(now) else _IDLE

    def _is_private(self) -> bool:
        """Whether what was made, or is being made, may not be watched any more."""
        has_something = self._feed is not None or self._output.has_media
        return has_something and self._stream is not None and not self._stream.is_watchable

    def _is_barred(self) -> bool:
        return not self.is_over and self._shared.is_barred(self.path)

    def _is_ending(self) -> bool:
        """Whether a life of the stream is over whose last parts have not come back yet."""
        return self._feed is not None and self._feed.ending_since_s is not None

    def _is_wanted(self, now: float) -> bool:
        if self._output.viewers or now < self._wanted_until_s:
            return True
        return self._stream is not None and self._shared.is_always_on(self.app)

    def _is_due(self, now: float) -> bool:
        if self.is_over or self._feed is not None or self._stream is None or self._is_barred():
            return False
        return self._stream.is_watchable and now >= self._retry_at_s and self._is_wanted(now)

    def _begin_feed(self, now: float) -> None:
        shared, stream = self._shared, self._stream
        assert stream is not None
        try:
            connection = shared.packager.open_feed(self.path)
        except OSError as error:
            self._retry_at_s = now + RETRY_S
            report = shared.services.log.error
            report("packaging failed", stream=self.path, reason=str(error), again_s=RETRY_S)
            return
        self._output.refusal = None
        log = stream.flv_log()
        key_frame = self._start_of(log)
        self._fed_log = log
        self._feed_began_s = now
        self.at_rest.clear()
        self._feed = PackagingFeed(shared.services, connection, self._take, self._on_feed_end)
        self._feed.begin(log, key_frame)
        shared.services.log.info("packaging started", stream=self.path)

    def _start_of(self, log: Log) -> KeyFrame | None:
        """
        Choose where a feed begins: for HLS to have whole segments at once, as early as the log does.

        In a log that was fed before, at the newest key frame: what is sent to viewers twice is short then.
        """
        return log.newest_key_frame if log is self._fed_log else log.key_frame_at_or_before(log.start)

    def _take(self, records: Sequence[Record]) -> None:
        if self._is_private():
            self.close(_PRIVATE)
        else:
            stream = None if self._is_ending() else self._stream
            self._output.take(records, None if stream is None else stream.last_timestamp_ms)
            self._note_end()

    def _on_feed_end(self) -> None:
        """Nothing more comes back: after the stream's end as it should be, else because the packager has a fault."""
        assert self._feed is not None
        now = self._shared.services.loop.time()
        is_complete = self._is_ending()
        if not is_complete:
            # If its process has died that is told in a moment, and the next one is fed at once.
            self._retry_at_s = now + RETRY_S
        self._end_feed(_ENDED if is_complete else _FAILED)
        self.look(now)

    def _end_feed(self, reason: str) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()
            services = self._shared.services
            seconds = round(services.loop.time() - self._feed_began_s, 1)
            services.log.info("packaging ended", stream=self.path, reason=reason, seconds=seconds)
            self._output.break_off(reason)
            self._note_end()
            self.at_rest.set()

    def _note_end(self) -> None:
        self._shared.ends.note(self.app, self.name, self.window, self._shared.unix_now())
