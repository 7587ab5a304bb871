"""
A live stream: what one name publishes, over all the publishers that hold it while its players stay.

`Stream` outlives a publisher that drops and comes back within the grace time; `Publication` is one publisher's hold
on it. Timestamps in the log never go back over that seam: a new publication is moved, all tracks by one offset, to
where the wall clock says that the stream should be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from rtmpd.live.forms import CHUNK_FORM, FLV_FORM, Form
from rtmpd.live.headers import METADATA_MS, Headers
from rtmpd.live.log import Log, LogMessage, Retention
from rtmpd.live.terms import PLAIN, Terms
from rtmpd.media.tags import EMPTY, END_OF_SEQUENCE, KEY_FRAME, SEQUENCE_HEADER, classify, header_slot
from rtmpd.media.timeline import Jump, Timeline
from rtmpd.wire.messages import DATA_AMF0, VIDEO, Message

_METADATA_SLOT = (DATA_AMF0, "onMetaData")
_ON_METADATA = b"\x02\x00\x0aonMetaData"
_NOT_A_FRAME = EMPTY | END_OF_SEQUENCE | SEQUENCE_HEADER
_LONG_AGO_MS = -(1 << 62)
AUDIO_ENTRY_INTERVAL_S = 1.0
"""Where there is no video, a player may start at an audio message this often."""
VIDEO_GONE_S = 10.0
"""A stream without a picture for this long is treated as audio only until the next one."""


class StreamState(Enum):
    """Where a stream is between its first publisher and its end."""

    IDLE = "idle"
    LIVE = "live"
    GRACE = "grace"
    """The publisher dropped; its players are kept for a while."""


class Member(Protocol):
    """Someone who waits for a stream or plays it."""

    def stream_started(self, stream: Stream) -> None:
        """The stream has a log to read."""

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """Go: the log will not grow any more, or (where the stream is not public) not for this one."""


class Stream:
    """A name, its log in one or two forms, and those who wait for it or play it."""

    __slots__ = (
        "_flv",
        "_last_audio_entry_s",
        "_last_frame_s",
        "_last_timestamp_ms",
        "_last_video_s",
        "_retention",
        "app",
        "ends_at_s",
        "headers",
        "is_public",
        "log",
        "members",
        "name",
        "publication",
        "state",
    )

    def __init__(self, app: str, name: str, retention: Retention) -> None:
        """
        Make a stream that nobody publishes yet.

        Args:
            app: its application, without slashes at either end.
            name: its name within the application.
            retention: what its logs keep.
        """
        self.app = app
        self.name = name
        self.members: dict[Member, None] = {}
        self._retention = retention
        self._reset()

    def _reset(self) -> None:
        self.state = StreamState.IDLE
        self.publication: Publication | None = None
        self.headers = Headers()
        self.log = Log(CHUNK_FORM, self._retention)
        self.ends_at_s: float | None = None
        self.is_public = False
        self._flv: Log | None = None
        self._last_timestamp_ms = 0
        self._last_frame_s = float("-inf")
        self._last_video_s = float("-inf")
        self._last_audio_entry_s = float("-inf")

    @property
    def path(self) -> str:
        """The name that URLs and logs use."""
        return f"{self.app}/{self.name}"

    def is_named(self, app: str, name: str) -> bool:
        """Whether this is the stream of a name."""
        return (self.app, self.name) == (app, name)

    @property
    def is_watchable(self) -> bool:
        """Whether a player may start; while it is not, players are treated as if nobody published."""
        return self.is_public and self.state is not StreamState.IDLE

    @property
    def logs(self) -> tuple[Log, ...]:
        """Every log that a message goes to."""
        return (self.log,) if self._flv is None else (self.log, self._flv)

    @property
    def last_timestamp_ms(self) -> int:
        """Time of the newest frame in the log, unwrapped."""
        return self._last_timestamp_ms

    @property
    def has_frames(self) -> bool:
        """Whether this life of the stream has begun to show something."""
        return self._last_frame_s != float("-inf")

    def flv_log(self) -> Log:
        """The FLV form, made now from what the log still holds if nobody wanted it before."""
        if self._flv is None:
            self._flv = self._fill(FLV_FORM)
        return self._flv

    def write_frames(self, frames: Sequence[LogMessage], newest_ms: int, now: float, *, has_video: bool) -> None:
        """
        Append audio and video frames to every form.

        Args:
            frames: on this stream's clock, at least one.
            newest_ms: the latest of their times.
            now: seconds.
            has_video: whether there is a video frame among them.
        """
        if newest_ms > self._last_timestamp_ms:  # noqa: PLR1730 - max() takes three times as long
            self._last_timestamp_ms = newest_ms
        self._last_frame_s = now
        if has_video:
            self._last_video_s = now
        elif now - self._last_audio_entry_s >= AUDIO_ENTRY_INTERVAL_S:
            self._last_audio_entry_s = now
            if now - self._last_video_s > VIDEO_GONE_S:
                type_id, timestamp_ms, body, flags = frames[0]
                frames = [(type_id, timestamp_ms, body, flags | KEY_FRAME), *frames[1:]]
        self.log.extend(frames, self.headers, now)
        if self._flv is not None:
            self._flv.extend(frames, self.headers, now)

    def write_state(self, type_id: int, body: bytes, flags: int, now: float) -> None:
        """Append a message whose own timestamp means nothing, at the time of the newest frame."""
        if type_id == DATA_AMF0 and body.startswith(_ON_METADATA):
            self.headers = self.headers.updated(_METADATA_SLOT, type_id, body)
            self._write(type_id, METADATA_MS, body, flags, now)
            return
        if type_id == VIDEO:
            self._last_video_s = now
        if flags & SEQUENCE_HEADER:
            self.headers = self.headers.updated(header_slot(type_id, body), type_id, body)
        self._write(type_id, self.last_timestamp_ms, body, flags, now)

    def resume_timestamp_ms(self, now: float) -> int:
        """Where the stream should be by the wall clock: the time of a returned publisher's first frame."""
        return self._last_timestamp_ms + max(1, round((now - self._last_frame_s) * 1000))

    def open(self, publication: Publication) -> None:
        """Give the stream to a publisher; if that one was admitted to be public, tell those who wait."""
        self.publication = publication
        self.state = StreamState.LIVE
        self.ends_at_s = None
        if publication.terms.is_public:
            self.reveal()

    def reveal(self) -> None:
        """Make the stream watchable; those who wait begin to play. Harmless when it is watchable already."""
        if self.is_public:
            return
        self.is_public = True
        for member in list(self.members):
            member.stream_started(self)

    def hide(self, reason: str) -> None:
        """
        Make the stream private while it goes on: its players read what is left and are told that it has ended.

        Args:
            reason: for the players.
        """
        if self.is_public:
            self.is_public = False
            self._dismiss(reason)

    def lose(self, ends_at_s: float) -> None:
        """Keep the players without a publisher until an instant."""
        self.publication = None
        self.state = StreamState.GRACE
        self.ends_at_s = ends_at_s

    def end(self, reason: str) -> None:
        """
        End this life of the stream and dismiss its players.

        They read what is left of the log before they go; a publisher that comes meanwhile begins another life, which
        is none of theirs. Who waits, as nobody published or the stream was private, goes on waiting.
        """
        if self.is_public:
            self._dismiss(reason)
        self._reset()

    def _dismiss(self, reason: str) -> None:
        members, self.members = self.members, {}
        for member in members:
            member.stream_ended(self, reason)

    def _write(self, type_id: int, timestamp_ms: int, body: bytes, flags: int, now: float) -> None:
        for log in self.logs:
            log.append(type_id, timestamp_ms, body, flags, self.headers, now)

    def _fill(self, form: Form) -> Log:
        log = Log(form, self._retention)
        # From the oldest one: a playlist has a whole segment at once, and players start at the newest in any case.
        key_frame = self.log.key_frame_at_or_before(self.log.start)
        start = self.log.start if key_frame is None else key_frame.position
        headers = self.headers if key_frame is None else key_frame.headers
        assert isinstance(headers, Headers)
        for entry, body in self.log.messages(start):
            if entry.flags & SEQUENCE_HEADER:
                headers = headers.updated(header_slot(entry.type_id, body), entry.type_id, body)
            log.append(entry.type_id, entry.timestamp_ms, body, entry.flags, headers, entry.arrived_s)
        return log


class Publication:
    """One publisher's hold on a stream."""

    __slots__ = (
        "_offset_ms",
        "_timeline",
        "evict",
        "frames",
        "identity",
        "jumps",
        "jumps_back",
        "pictures",
        "stream",
        "terms",
    )

    def __init__(self, stream: Stream, identity: str, evict: Callable[[str], None], terms: Terms = PLAIN) -> None:
        """
        Take hold of a stream; `Stream.open` makes it known.

        Args:
            stream: what is published.
            identity: who publishes, for the takeover policy: the key, or the address where there is none.
            evict: ends this publisher's session, with the reason: another takes the stream over, or it was told to.
            terms: on which it was admitted.
        """
        self.stream = stream
        self.identity = identity
        self.evict = evict
        self.terms = terms
        self.frames = 0
        self.pictures = 0
        """Frames of video among them."""
        self.jumps = 0
        """Leaps of its timestamps, forwards."""
        self.jumps_back = 0
        self._timeline = Timeline()
        self._offset_ms: int | None = None if stream.has_frames else 0

    @property
    def current(self) -> bool:
        """Whether this publisher still holds the stream; one that was replaced is not heard any more."""
        return self.stream.publication is self

    def take_jump(self) -> Jump | None:
        """Fetch and forget the last jump of the timestamps; they are passed on as they come."""
        if self._timeline.jump is None:
            return None
        if self._timeline.jump.kind == "forward":
            self.jumps += 1
        else:
            self.jumps_back += 1
        return self._timeline.take_jump()

    def append(self, message: Message, now: float) -> None:
        """Take one message; see `extend`."""
        self.extend((message,), now)

    def extend(self, messages: Sequence[Message], now: float) -> None:
        """
        Take audio, video and data messages.

        Args:
            messages: as the session passed them on.
            now: seconds.
        """
        unwrap = self._timeline.unwrap
        offset_ms = self._offset_ms
        frames: list[LogMessage] = []
        newest_ms = _LONG_AGO_MS
        pictures = 0
        for type_id, raw_ms, _, body, _ in messages:
            flags = classify(type_id, body) if type_id != DATA_AMF0 else SEQUENCE_HEADER
            if flags & _NOT_A_FRAME:
                if frames:
                    self._write(frames, newest_ms, now, pictures)
                    frames = []
                    pictures = 0
                self._take_state(type_id, body, flags, now)
                continue
            timestamp_ms = unwrap(raw_ms)
            if offset_ms is None:
                offset_ms = self._offset_ms = self.stream.resume_timestamp_ms(now) - timestamp_ms
            timestamp_ms += offset_ms
            newest_ms = max(newest_ms, timestamp_ms)
            if type_id == VIDEO:
                pictures += 1
            frames.append((type_id, timestamp_ms, body, flags))
        if frames:
            self._write(frames, newest_ms, now, pictures)

    def _write(self, frames: list[LogMessage], newest_ms: int, now: float, pictures: int) -> None:
        self.frames += len(frames)
        self.pictures += pictures
        self.stream.write_frames(frames, newest_ms, now, has_video=pictures > 0)

    def _take_state(self, type_id: int, body: bytes, flags: int, now: float) -> None:
        if type_id == DATA_AMF0:
            self.stream.write_state(type_id, body, 0, now)
        elif not flags & EMPTY:
            self.stream.write_state(type_id, body, flags, now)
