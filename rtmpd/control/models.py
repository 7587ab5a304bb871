"""
What the control API is asked and what it answers: one model for each, used by every surface.

The OpenAPI document is generated from these, so each constraint is one that JSON Schema can say. Requests also take the
hosted service's spellings (`channelName`, `recrodFileType`) and values (numbers as well as names); fields of it that mean
nothing here are passed over. Answers have one spelling, times in unix seconds, and sizes in bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AliasChoices, Field

from rtmpd.control import words
from rtmpd.control.model_base import Answer, Request
from rtmpd.control.model_streams import ClientInfo, ClientList, Publisher, StreamInfo, StreamList, Track, Url
from rtmpd.control.model_types import (
    ChannelId,
    EncodeType,
    FileName,
    Format,
    Limit,
    Offset,
    PushState,
    RecordFileType,
    RecordType,
    RelayState,
    RoomPart,
    RtmpUrl,
    ServerUrl,
    StreamPath,
)

# With those of a file of their own: who asks or answers finds all of them here.
__all__ = ["ClientInfo", "ClientList", "Publisher", "StreamInfo", "StreamList", "Track", "Url"]


class Room(Request):
    """A stream named by who sends it: its name is BIZID_ and the MD5 of room_user_kind."""

    room: RoomPart
    user: RoomPart
    kind: Literal["main", "aux"] = Field(default="main", description="main: camera; aux: screen")


StreamReference: TypeAlias = StreamPath | Room


class PushStart(Request):
    """Make a stream watchable, and record or relay it for as long as it is."""

    stream: StreamReference
    channel_name: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        validation_alias=AliasChoices("channel_name", "channelName")
    )
    channel_desc: Annotated[str, Field(max_length=1024)] = Field(
        default="", validation_alias=AliasChoices("channel_desc", "channelDesc")
    )
    encode_type: EncodeType | None = Field(default=None, validation_alias=AliasChoices("encode_type", "encodeType"))
    record_file_type: RecordFileType = Field(
        default=0,
        validation_alias=AliasChoices("record_file_type", "recordFileType", "recrodFileType"),
        description="Record for as long as the push lasts: a bit mask of HLS 1, FLV 2, MP4 4, MP3 16 (sound only); NONE 0.",
    )
    record_id: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] | None = Field(
        default=None, validation_alias=AliasChoices("record_id", "recordId"), description="Comes back in callbacks."
    )
    targets: Annotated[list[RtmpUrl], Field(max_length=16)] = Field(
        default=[], description="RTMP URLs that the stream is relayed to."
    )

    @property
    def outputs(self) -> frozenset[int] | None:
        """The kinds of watch URL that are wanted, as numbers; None for all."""
        if self.encode_type is None:
            return None
        number = words.ENCODE_TYPES[self.encode_type] if isinstance(self.encode_type, str) else self.encode_type
        return words.outputs(number)

    @property
    def record_formats(self) -> tuple[str, ...]:
        """What is recorded while the push lasts; empty for nothing."""
        kind = self.record_file_type
        return words.record_formats(words.record_mask(kind) if isinstance(kind, str) else kind)


class Target(Answer):
    """Where a stream is relayed to."""

    target_id: str
    url: str = Field(description="Without the part of it that may be a key.")
    state: RelayState
    reason: str = Field(default="", description="Why it is in that state, where that is not obvious.")


class PushStarted(Answer):
    """A push that is on."""

    channel_id: str
    state: PushState = "on"
    already: bool = Field(description="It was on before; what the request adds was added.")
    urls: list[Url]
    record_task_id: str | None = None
    targets: list[Target] = Field(default=[])
    notes: list[str] = Field(default=[], description="What was done otherwise than asked, and why.")


class PushStop(Request):
    """End pushes."""

    channel_ids: Annotated[list[ChannelId], Field(min_length=1, max_length=100)] = Field(
        validation_alias=AliasChoices("channel_ids", "channelIds")
    )


class PushStopped(Answer):
    """What became of one push."""

    channel_id: str
    state: Literal["stopped", "on", "unknown"] = Field(
        description="on: its application pushes every stream, so that the stream can be watched as before."
    )
    already: bool
    notes: list[str] = Field(default=[])


class PushesStopped(Answer):
    """An answer for each of them, in their order."""

    results: list[PushStopped]


class Push(Answer):
    """A push."""

    channel_id: str
    stream: str
    channel_name: str
    channel_desc: str
    state: PushState
    mode: Literal["auto", "manual"]
    started_at: float
    waiting_since: float | None
    record_id: int | None
    record_task_id: str | None
    urls: list[Url]
    targets: list[Target]


class PushList(Answer):
    """Every push that is on, or waits for its publisher."""

    pushes: list[Push]


class TargetAdd(Request):
    """Relay a pushed stream to one more place."""

    url: RtmpUrl


class TargetAdded(Answer):
    """A target."""

    target: Target
    already: bool


class Relay(Answer):
    """A stream that leaves for another server (push), or enters from one (pull)."""

    kind: Literal["push", "pull"]
    stream: str
    url: str = Field(
        description="Of the other end, without the part of it that may be a key; empty for a pull that is idle."
    )
    state: RelayState | Literal["idle"] = Field(description="idle: a pull on demand that nobody asks for.")
    reason: str = Field(description="Why the last try ended.")
    since: float = Field(description="When it came to this state.")
    attempts: int = Field(description="How often it has begun to connect.")
    bytes: int = Field(description="Media carried, over all attempts.")
    target_id: str | None = Field(description="Of the push's target; none where the configuration names it.")
    lag_ms: int
    skipped_ms: int = Field(description="Media time that the receiving end was too slow for.")


class RelayList(Answer):
    """Every relay of a stream that lives, and every pull that is configured by name."""

    relays: list[Relay]


class Done(Answer):
    """It is so; `already` if it was so before."""

    already: bool = False
    notes: list[str] = Field(default=[])


class RecordStart(Request):
    """Record a stream from its newest key frame on."""

    stream: StreamReference
    file_name: FileName = Field(default="", validation_alias=AliasChoices("file_name", "fileName"))
    record_type: RecordType = Field(
        default="video",
        validation_alias=AliasChoices("record_type", "recordType"),
        description="VIDEO 0: pictures and sound; AUDIO 1: the sound alone.",
    )
    formats: Annotated[list[Format], Field(max_length=5)] = Field(
        default=[], description="None: those of the application; for the sound alone M4A."
    )
    tags: Annotated[list[Annotated[str, Field(max_length=128)]], Field(max_length=32)] = Field(default=[])
    max_duration: Annotated[float, Field(gt=0, le=7 * 24 * 3600)] | None = Field(
        default=None,
        validation_alias=AliasChoices("max_duration", "maxDuration"),
        description="Seconds after which it ends.",
    )

    @property
    def wants_audio_only(self) -> bool:
        """Whether pictures are left out."""
        return self.record_type in {1, "audio"}


class RecordStarted(Answer):
    """A recording that runs."""

    task_id: str
    state: str
    already: bool = Field(description="It ran before: the same stream, name, type and formats.")
    formats: list[str]
    notes: list[str] = Field(default=[])


class File(Answer):
    """A file of a recording."""

    file_id: str
    format: str
    state: Literal["reserved", "open", "closed", "removing"]
    path: str = Field(description="Below the recordings directory.")
    url: str = Field(description="Where it can be had; empty where it cannot.")
    size: int = Field(description="Bytes, once it is closed.")
    duration: float = Field(description="Seconds, once it is closed.")
    start_time: float | None
    end_time: float | None
    stream: str
    task_id: str | None
    recording_id: str
    record_type: Literal["video", "audio"]
    tags: list[str]
    tracks: list[dict[str, Any]]
    fault: str | None = Field(description="Why it ended before its recording.")


class RecordStopped(Answer):
    """A recording that has ended, or is ending."""

    task_id: str
    state: Literal["closed", "closing"] = Field(description="closing: its files keep their ids, but are still written.")
    already: bool
    files: list[File]


class Record(Answer):
    """A recording that has not ended."""

    task_id: str | None = Field(description="None: it is automatic.")
    recording_id: str
    stream: str
    origin: Literal["auto", "manual"]
    state: str
    file_name: str
    record_type: Literal["video", "audio"]
    formats: list[str]
    tags: list[str]
    started_at: float
    ends_at: float | None


class RecordList(Answer):
    """Every recording that has not ended."""

    records: list[Record]


class RecordingsQuery(Request):
    """Which files to list; what is not said does not matter."""

    stream: StreamPath | None = None
    app: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    task_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    state: Literal["reserved", "open", "closed"] | None = Field(
        default=None, description="In this state; by default those that are open or closed."
    )
    since: float | None = Field(default=None, description="Files that began at this unix time or later.")
    until: float | None = Field(default=None, description="Files that began before this unix time.")
    limit: Limit = 100
    offset: Offset = 0


class FileList(Answer):
    """A page of files, newest first."""

    recordings: list[File]


class Callback(Answer):
    """A callback that is owed to a receiver, or was given up."""

    event_id: str
    event_type: int
    stream: str
    url: str
    state: Literal["pending", "dead"]
    attempts: int
    created_at: float
    next_try_at: float | None
    last_error: str
    body: dict[str, Any]


class CallbacksQuery(Request):
    """Which callbacks to list."""

    state: Literal["pending", "dead"] | None = Field(default=None, description="None: both.")
    limit: Limit = 100
    offset: Offset = 0


class CallbackList(Answer):
    """Callbacks that were not delivered yet, newest first."""

    pending: int = Field(description="How many there are in all.")
    dead: int
    callbacks: list[Callback]


class Drain(Request):
    """Let the server come to its end: nobody new, and time for those who are there."""

    timeout: Annotated[float, Field(ge=0, le=24 * 3600)] = Field(
        default=60.0, description="Seconds after which it stops whoever is left."
    )
    url: ServerUrl | None = Field(
        default=None,
        description="Where clients are asked to reconnect to: an application, or only a server, where each goes to the "
        "application that it is in. None: the URL that they used.",
    )


class ServerInfo(Answer):
    """What serves here, since when, and where."""

    version: str
    started_at: float
    is_draining: bool
    rtmp: str = Field(description="HOST:PORT, as each of these.", examples=["127.0.0.1:1935"])
    rtmps: str | None
    http: str
    https: str | None
    data: str = Field(description="The data directory.")
    connections: int = Field(description="How many there may be of RTMP and of live media over HTTP, at once.")
    bytes_per_stream: int = Field(description="Memory that a stream takes, at most.")


class Draining(Answer):
    """The server ends when everybody has gone, or at the deadline."""

    already: bool
    asked: int = Field(description="Clients that were sent a request to reconnect; the others do not understand one.")
    waited_for: int = Field(description="Clients that have not gone yet, those who were asked included.")
    publishers: int = Field(description="Among those that are waited for.")
    players: int = Field(description="Among those that are waited for.")
    deadline: float


class Reloaded(Answer):
    """The configuration was read again."""

    needs_restart: list[str] = Field(description="Tables that were changed and are taken up at the next start only.")


class Problem(Answer):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[str] = Field(default=[], description="Each fault, where there are several.")
