"""
`rtmpd ctl`: a client of the control socket, tables for people and the API's own JSON for programs.

Each command asks one operation. Where the server is, and whether JSON is wanted, can be said after any of them, or before.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from rtmpd.ctl_client import Client
from rtmpd.ctl_command import Reply, command, known


def _typer(text: str) -> typer.Typer:
    return typer.Typer(help=text, rich_markup_mode=None, no_args_is_help=True)


_EXAMPLES = """\b
Examples:
  rtmpd ctl streams
  rtmpd ctl push start live/me --name "My channel"
  rtmpd ctl record start live/me --format mp4
  rtmpd ctl record stop TASK_ID
  rtmpd ctl recordings --stream live/me --json
  rtmpd ctl --data /var/lib/rtmpd events
"""

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, epilog=_EXAMPLES)
push = _typer("Make streams watchable, and relay them.")
target = _typer("Relay a pushed stream to more places, or fewer.")
record = _typer("Record streams.")
recordings = typer.Typer(rich_markup_mode=None)
callbacks = typer.Typer(rich_markup_mode=None)
for _parent, _child, _name in (
    (app, push, "push"),
    (push, target, "target"),
    (app, record, "record"),
    (app, recordings, "recordings"),
    (app, callbacks, "callbacks"),
):
    _parent.add_typer(_child, name=_name)


def _no_gap(given: str) -> str:
    """An id becomes a part of a path; without it, the path would be another one."""
    if not given:
        raise typer.BadParameter("it is empty")
    return given


def _no_gaps(given: list[str]) -> list[str]:
    return [_no_gap(each) for each in given]


_streams = known("streams", items="streams", key="stream")
_clients = known("clients", items="clients", key="client_id")
_pushes = known("pushes", items="pushes", key="channel_id")
_records = known("records", items="records", key="task_id")
_files = known("recordings", items="recordings", key="file_id")
_events = known("callbacks", items="callbacks", key="event_id")

Stream = Annotated[
    str | None,
    typer.Argument(metavar="STREAM", help="APPLICATION/NAME; or --room and --user.", autocompletion=_streams),
]
OneStream = Annotated[
    str | None, typer.Option("--stream", metavar="STREAM", help="APPLICATION/NAME.", autocompletion=_streams)
]
Channel = Annotated[
    str, typer.Argument(metavar="CHANNEL_ID", help="As `push list` has it.", callback=_no_gap, autocompletion=_pushes)
]
RoomName = Annotated[
    str | None, typer.Option("--room", metavar="ROOM", help="Instead of STREAM: the room, and --user.")
]
RoomUser = Annotated[str | None, typer.Option("--user", metavar="USER", help="Who sends in that room.")]
RoomKind = Annotated[
    Literal["main", "aux"], typer.Option("--kind", help="Of that user: main is the camera, aux the screen.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]
Offset = Annotated[int, typer.Option("--offset", min=0, help="After so many.")]


def _reference(stream: str | None, room: str | None, user: str | None, kind: str) -> str | dict[str, str]:
    if stream is not None and room is None and user is None:
        return stream
    if stream is None and room is not None and user is not None:
        return {"room": room, "user": user, "kind": kind}
    raise typer.BadParameter("STREAM, or --room and --user, is expected")


def _parts(stream: str) -> list[str]:
    parts = [each for each in stream.rpartition("/") if each]
    if len(parts) != 3:
        raise typer.BadParameter(f"{json.dumps(stream)}: APPLICATION/NAME is expected")
    return parts[::2]


def _given(**values: Any) -> dict[str, Any]:
    """What was said on the command line; the server knows the defaults."""
    return {name: value for name, value in values.items() if value is not None and value != []}


@command(app.callback())
def said_before(_server: Client) -> Reply:
    """Ask a running server, or tell it what to do."""
    raise AssertionError("there is always a command that follows")


@command(app.command())
def streams(
    server: Client,
    stream: Annotated[
        str | None, typer.Argument(metavar="STREAM", help="APPLICATION/NAME.", autocompletion=_streams)
    ] = None,
) -> Reply:
    """List the streams, or show one of them."""
    if stream is None:
        return Reply("streams", [server.ask("GET", "streams")])
    return Reply("stream", [server.ask("GET", "streams", *_parts(stream))])


@command(app.command())
def clients(server: Client) -> Reply:
    """List the connections."""
    return Reply("clients", [server.ask("GET", "clients")])


@command(app.command())
def kick(
    server: Client,
    client_id: Annotated[
        int | None, typer.Argument(metavar="CLIENT_ID", help="As `clients` has it.", autocompletion=_clients)
    ] = None,
    stream: OneStream = None,
) -> Reply:
    """Disconnect a client, or who publishes a stream."""
    if (client_id is None) == (stream is None):
        raise typer.BadParameter("either CLIENT_ID or --stream is expected")
    if stream is not None:
        return Reply("done", [server.ask("DELETE", "streams", *_parts(stream))])
    return Reply("done", [server.ask("DELETE", "clients", str(client_id))])


@command(push.command("start"))
def push_start(
    server: Client,
    stream: Stream = None,
    *,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Of the channel; comes back in callbacks.")],
    desc: Annotated[str | None, typer.Option("--desc", metavar="TEXT", help="Of the channel.")] = None,
    encode_type: Annotated[
        str | None,
        typer.Option("--encode-type", metavar="TYPE", help="Which URLs: hls, flv, rtmp, hls_and_rtmp, fmp4; else all."),
    ] = None,
    recorded: Annotated[
        str | None,
        typer.Option("--record", metavar="KIND", help="Record meanwhile: flv, mp4, hls_mp4 …, or the number."),
    ] = None,
    record_id: Annotated[int | None, typer.Option("--record-id", help="Comes back in callbacks.")] = None,
    targets: Annotated[
        list[str] | None, typer.Option("--target", metavar="URL", help="Relay to it; may be repeated.")
    ] = None,
    room: RoomName = None,
    user: RoomUser = None,
    kind: RoomKind = "main",
) -> Reply:
    """Make a stream watchable."""
    optional = _given(channel_desc=desc, encode_type=encode_type, record_file_type=recorded, record_id=record_id)
    body = {"stream": _reference(stream, room, user, kind), "channel_name": name, **optional, **_given(targets=targets)}
    return Reply("push_started", [server.ask("POST", "pushes", body=body)])


@command(push.command("stop"))
def push_stop(
    server: Client,
    channel_ids: Annotated[
        list[str],
        typer.Argument(metavar="CHANNEL_ID", help="As `push list` has it.", callback=_no_gaps, autocompletion=_pushes),
    ],
) -> Reply:
    """End pushes."""
    body = server.ask("POST", "pushes", "stop", body={"channel_ids": channel_ids})
    return Reply("pushes_stopped", [body], any(each["state"] == "unknown" for each in json.loads(body)["results"]))


@command(push.command("list"))
def push_list(server: Client) -> Reply:
    """List the pushes."""
    return Reply("pushes", [server.ask("GET", "pushes")])


@command(target.command("add"))
def target_add(
    server: Client,
    channel_id: Channel,
    url: Annotated[str, typer.Argument(metavar="URL", help="Like rtmp://a.example/app/key.")],
) -> Reply:
    """Relay a pushed stream to one more place."""
    return Reply("target_added", [server.ask("POST", "pushes", channel_id, "targets", body={"url": url})])


@command(target.command("remove"))
def target_remove(
    server: Client,
    channel_id: Channel,
    target_id: Annotated[str, typer.Argument(metavar="TARGET_ID", help="As `push list` has it.", callback=_no_gap)],
) -> Reply:
    """Relay it there no longer."""
    return Reply("done", [server.ask("DELETE", "pushes", channel_id, "targets", target_id)])


@command(app.command())
def relays(server: Client) -> Reply:
    """List the relays, to and from other servers."""
    return Reply("relays", [server.ask("GET", "relays")])


@command(record.command("start"))
def record_start(
    server: Client,
    stream: Stream = None,
    *,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Part of the files' names.")] = None,
    what: Annotated[Literal["video", "audio"], typer.Option("--type", help="audio: the sound alone.")] = "video",
    formats: Annotated[
        list[str] | None, typer.Option("--format", metavar="FORMAT", help="flv, mp4, hls, m4a or mp3; may be repeated.")
    ] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="May be repeated.")] = None,
    max_duration: Annotated[
        float | None, typer.Option("--max-duration", metavar="SECONDS", help="Then it ends by itself.")
    ] = None,
    room: RoomName = None,
    user: RoomUser = None,
    kind: RoomKind = "main",
) -> Reply:
    """Record a stream, from its newest key frame on."""
    optional = _given(file_name=name, formats=formats, tags=tags, max_duration=max_duration)
    body = {"stream": _reference(stream, room, user, kind), "record_type": what, **optional}
    return Reply("record_started", [server.ask("POST", "records", body=body)])


@command(record.command("stop"))
def record_stop(
    server: Client,
    task_id: Annotated[
        str,
        typer.Argument(metavar="TASK_ID", help="As `record list` has it.", callback=_no_gap, autocompletion=_records),
    ],
) -> Reply:
    """End a recording, and list what it wrote."""
    return Reply("record_stopped", [server.ask("POST", "records", task_id, "stop")])


@command(record.command("list"))
def record_list(server: Client) -> Reply:
    """List the recordings that run."""
    return Reply("records", [server.ask("GET", "records")])


@command(recordings.callback(invoke_without_command=True))
def recordings_list(
    server: Client,
    *,
    stream: OneStream = None,
    application: Annotated[str | None, typer.Option("--app", metavar="APP", help="Of one application.")] = None,
    task_id: Annotated[str | None, typer.Option("--task", metavar="TASK_ID", help="Of one recording.")] = None,
    state: Annotated[
        Literal["reserved", "open", "closed"] | None,
        typer.Option("--state", help="In this state; else open or closed."),
    ] = None,
    since: Annotated[float | None, typer.Option("--since", metavar="UNIX_S", help="Began at or after it.")] = None,
    until: Annotated[float | None, typer.Option("--until", metavar="UNIX_S", help="Began before it.")] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Reply:
    """List or delete recorded files, newest first."""
    query = {"stream": stream, "app": application, "task_id": task_id, "state": state, "since": since, "until": until}
    return Reply("recordings", [server.ask("GET", "recordings", query={**query, "limit": limit, "offset": offset})])


@command(recordings.command("delete"))
def recordings_delete(
    server: Client,
    file_ids: Annotated[
        list[str],
        typer.Argument(metavar="FILE_ID", help="As `recordings` has it.", callback=_no_gaps, autocompletion=_files),
    ],
) -> Reply:
    """Delete files; ends at the first that cannot be."""
    return Reply("done", (server.ask("DELETE", "recordings", each) for each in file_ids))


@command(callbacks.callback(invoke_without_command=True))
def callbacks_list(
    server: Client,
    *,
    dead: Annotated[bool, typer.Option("--dead", help="Those that were given up.")] = False,
    pending: Annotated[bool, typer.Option("--pending", help="Those that are tried again.")] = False,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Reply:
    """List callbacks that were not delivered, or retry one."""
    state = None if dead == pending else "dead" if dead else "pending"
    query = {"state": state, "limit": limit, "offset": offset}
    return Reply("callbacks", [server.ask("GET", "callbacks", query=query)])


@command(callbacks.command("retry"))
def callbacks_retry(
    server: Client,
    event_id: Annotated[
        str, typer.Argument(metavar="EVENT_ID", help="As `callbacks` has it.", callback=_no_gap, autocompletion=_events)
    ],
) -> Reply:
    """Deliver a callback now, also one that was given up."""
    return Reply("done", [server.ask("POST", "callbacks", event_id, "retry")])


@command(app.command())
def events(
    server: Client,
    *,
    stream: OneStream = None,
    event: Annotated[str | None, typer.Option("--event", metavar="NAME", help="Of one name: publish-started.")] = None,
) -> Reply:
    """Tell what happens, as it happens, until Ctrl-C."""
    return Reply("event", server.events({"stream": stream, "event": event}))


@command(app.command(name="server"))
def show_server(server: Client) -> Reply:
    """Show what serves, since when, and where."""
    return Reply("server", [server.ask("GET", "server")])


@command(app.command())
def drain(
    server: Client,
    *,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="Then whoever is left is stopped; 60 if not said."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="Where clients are asked to reconnect to: rtmp://HOST[/APPLICATION]."),
    ] = None,
) -> Reply:
    """Let the server end when everybody has left. Nobody new is admitted."""
    return Reply("draining", [server.ask("POST", "drain", body=_given(timeout=timeout, url=to))])


@command(app.command())
def reload(server: Client) -> Reply:
    """Have the server read its configuration again."""
    return Reply("reloaded", [server.ask("POST", "reload")])
