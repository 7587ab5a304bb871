"""
Every route of the API, once: the application and the OpenAPI document are both made from this table.

What follows /streams/ is the path of a stream, application/name. An application's name may hold slashes; it makes no
difference which of them are written as %2F, as the last part is the stream's name in any case.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, Field, TypeAdapter

from rtmpd.control import models
from rtmpd.control.model_base import Answer, Request
from rtmpd.control.model_types import StreamPath
from rtmpd.web.operations import Operations

V1 = "/api/v1"
Kind: TypeAlias = Literal["unknown", "conflict", "invalid", "unavailable"]
"""Of NotPossible."""

_Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]
_PathPart: TypeAlias = Annotated[str, Field(min_length=1, max_length=512)]
PARAMETERS: Mapping[str, TypeAdapter[Any]] = MappingProxyType(
    {
        "app": TypeAdapter(_PathPart),
        "stream": TypeAdapter(Annotated[_PathPart, Field(json_schema_extra={"pattern": "^[^/]+$"})]),
        "client_id": TypeAdapter(Annotated[int, Field(ge=1, le=2**53)]),
        **dict.fromkeys(("channel_id", "target_id", "task_id", "file_id", "event_id"), TypeAdapter(_Id)),
    }
)
"""What may stand in a path, by name."""


class NoQuery(Request):
    """Nothing, so that a misspelt parameter of an operation that has none is told, too."""


class EventsQuery(Request):
    """Which events are wanted."""

    stream: StreamPath | None = Field(default=None, description="Only those of one stream.")
    event: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)] | None = Field(
        default=None, description="Only those of one name.", examples=["publish-started"]
    )


class Health(Answer):
    """The server answers; with status 503 while it is draining, so that nobody is sent to it."""

    status: Literal["ok", "draining"]


class Asked(NamedTuple):
    """A request, read and checked."""

    path: Mapping[str, Any]
    """By name, as PARAMETERS has them."""
    query: Any
    """An instance of the route's query model."""
    body: Any
    """An instance of the route's body model, None if it has none."""

    @property
    def stream(self) -> str:
        """The stream that the path names: application/name."""
        return f"{self.path['app']}/{self.path['stream']}"


Call: TypeAlias = Callable[[Operations, Asked], Answer | Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """A template; the names are those of PARAMETERS."""
    name: str
    summary: str
    answer: type[BaseModel] | None
    """None for what is no JSON of ours."""
    call: Call | None = None
    """None for what the surfaces answer themselves."""
    body: type[Request] | None = None
    body_optional: bool = field(default=False, kw_only=True)
    query: type[Request] = NoQuery
    refusals: tuple[Kind, ...] = ()
    """What the operation may find not possible."""


_SOUGHT: tuple[Kind, ...] = ("unknown",)
_CHANGE: tuple[Kind, ...] = ("unknown", "conflict", "invalid", "unavailable")
_STORED: tuple[Kind, ...] = ("unknown", "unavailable")

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{V1}/streams",
        "streams",
        "Every stream that somebody publishes or waits for.",
        models.StreamList,
        lambda operations, _: operations.streams(),
    ),
    Route(
        "GET",
        f"{V1}/streams/{{app}}/{{stream}}",
        "stream",
        "One stream; the last segment is its name, those before it the application.",
        models.StreamInfo,
        lambda operations, asked: operations.stream(asked.stream),
        refusals=_SOUGHT,
    ),
    Route(
        "DELETE",
        f"{V1}/streams/{{app}}/{{stream}}",
        "disconnect_publisher",
        "Disconnect who publishes a stream.",
        models.Done,
        lambda operations, asked: operations.disconnect_publisher(asked.stream),
        refusals=_SOUGHT,
    ),
    Route(
        "GET",
        f"{V1}/clients",
        "clients",
        "Every connection.",
        models.ClientList,
        lambda operations, _: operations.clients(),
    ),
    Route(
        "DELETE",
        f"{V1}/clients/{{client_id}}",
        "kick",
        "Disconnect a client.",
        models.Done,
        lambda operations, asked: operations.kick(asked.path["client_id"]),
        refusals=_SOUGHT,
    ),
    Route(
        "GET",
        f"{V1}/pushes",
        "pushes",
        "Every push that is on, or waits for its publisher.",
        models.PushList,
        lambda operations, _: operations.pushes(),
    ),
    Route(
        "POST",
        f"{V1}/pushes",
        "start_push",
        "Make a stream watchable, and record or relay it for as long as it is.",
        models.PushStarted,
        lambda operations, asked: operations.start_push(asked.body),
        models.PushStart,
        refusals=_CHANGE,
    ),
    Route(
        "POST",
        f"{V1}/pushes/stop",
        "stop_pushes",
        "End pushes; one that is unknown is told beside the others.",
        models.PushesStopped,
        lambda operations, asked: operations.stop_pushes(asked.body),
        models.PushStop,
        refusals=_CHANGE,
    ),
    Route(
        "POST",
        f"{V1}/pushes/{{channel_id}}/targets",
        "add_target",
        "Relay a pushed stream to one more place.",
        models.TargetAdded,
        lambda operations, asked: operations.add_target(asked.path["channel_id"], asked.body),
        models.TargetAdd,
        refusals=_CHANGE,
    ),
    Route(
        "DELETE",
        f"{V1}/pushes/{{channel_id}}/targets/{{target_id}}",
        "remove_target",
        "Relay it there no longer.",
        models.Done,
        lambda operations, asked: operations.remove_target(asked.path["channel_id"], asked.path["target_id"]),
        refusals=_CHANGE,
    ),
    Route(
        "GET",
        f"{V1}/relays",
        "relays",
        "Every relay of a stream that lives.",
        models.RelayList,
        lambda operations, _: operations.relays(),
    ),
    Route(
        "GET",
        f"{V1}/records",
        "records",
        "Every recording that has not ended.",
        models.RecordList,
        lambda operations, _: operations.records(),
    ),
    Route(
        "POST",
        f"{V1}/records",
        "start_record",
        "Record a stream, from its newest key frame on.",
        models.RecordStarted,
        lambda operations, asked: operations.start_record(asked.body),
        models.RecordStart,
        refusals=_CHANGE,
    ),
    Route(
        "POST",
        f"{V1}/records/{{task_id}}/stop",
        "stop_record",
        "End a recording; waits up to 10 s for its files.",
        models.RecordStopped,
        lambda operations, asked: operations.stop_record(asked.path["task_id"]),
        refusals=_CHANGE,
    ),
    Route(
        "GET",
        f"{V1}/recordings",
        "recordings",
        "Files of recordings, newest first.",
        models.FileList,
        lambda operations, asked: operations.recordings(asked.query),
        query=models.RecordingsQuery,
        refusals=("unavailable",),
    ),
    Route(
        "GET",
        f"{V1}/recordings/{{file_id}}",
        "recording",
        "A file of a recording.",
        models.File,
        lambda operations, asked: operations.recording(asked.path["file_id"]),
        refusals=_STORED,
    ),
    Route(
        "DELETE",
        f"{V1}/recordings/{{file_id}}",
        "delete_recording",
        "Delete a file that is not being written.",
        models.Done,
        lambda operations, asked: operations.delete_recording(asked.path["file_id"]),
        refusals=("unknown", "conflict", "unavailable"),
    ),
    Route(
        "GET",
        f"{V1}/callbacks",
        "callbacks",
        "Callbacks that were not delivered yet, and those given up.",
        models.CallbackList,
        lambda operations, asked: operations.callbacks(asked.query),
        query=models.CallbacksQuery,
        refusals=("unavailable",),
    ),
    Route(
        "POST",
        f"{V1}/callbacks/{{event_id}}/retry",
        "retry_callback",
        "Deliver a callback now, also one that was given up.",
        models.Done,
        lambda operations, asked: operations.retry_callback(asked.path["event_id"]),
        refusals=_STORED,
    ),
    Route(
        "GET",
        f"{V1}/server",
        "server",
        "What serves here, since when, and where.",
        models.ServerInfo,
        lambda operations, _: operations.server(),
    ),
    Route(
        "POST",
        f"{V1}/drain",
        "drain",
        "Let the server come to its end: nobody new, and time for those who are there.",
        models.Draining,
        lambda operations, asked: operations.drain(asked.body),
        models.Drain,
        body_optional=True,
        refusals=("conflict",),
    ),
    Route(
        "POST",
        f"{V1}/reload",
        "reload",
        "Read the configuration again.",
        models.Reloaded,
        lambda operations, _: operations.reload(),
        refusals=("conflict", "invalid", "unavailable"),
    ),
    Route("GET", f"{V1}/events", "events", "Everything that happens, as it happens.", None, query=EventsQuery),
    Route("GET", f"{V1}/openapi.json", "openapi", "This document.", None),
    Route("GET", "/metrics", "metrics", "What is measured, as Prometheus reads it.", None),
    Route(
        "GET",
        "/healthz",
        "health",
        "Whether the server answers, and admits clients (200, or 503 while it is draining); needs no token.",
        Health,
    ),
)
OPEN_TO_ALL = frozenset({"/healthz"})
"""Paths that need no token."""
