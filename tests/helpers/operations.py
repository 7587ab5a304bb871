"""Operations without a server: in memory, answering with real models, and noting what was asked."""

from __future__ import annotations

import asyncio

from rtmpd.control.models import (
    Callback,
    CallbackList,
    ClientInfo,
    ClientList,
    Done,
    Draining,
    File,
    FileList,
    Publisher,
    Push,
    PushesStopped,
    PushList,
    PushStarted,
    PushStopped,
    Record,
    RecordList,
    RecordStarted,
    RecordStopped,
    Relay,
    RelayList,
    Reloaded,
    ServerInfo,
    StreamInfo,
    StreamList,
    Target,
    TargetAdded,
    Track,
    Url,
)
from rtmpd.errors import NotPossible

NOW_S = 1_764_000_000.0
PUBLISHED = "live/me"
IN_A_FOLDER = "events/2026/me"
"""A stream whose application's name holds a slash."""
CLIENT = 7
CHANNEL = "c-1"
TASK = "t-1"
FILE = "f-1"
EVENT = "e-1"
URLS = [Url(type=5, play_url="rtmp://127.0.0.1:1935/live/me")]


def stream_info(path):
    app, _, name = path.rpartition("/")
    publisher = Publisher(client_id=CLIENT, address="127.0.0.1", since=NOW_S, bytes_in=5_000_000, bits_per_s=2_000_000)
    tracks = [
        Track(kind="video", codec="H.264", width=1280, height=720),
        Track(kind="audio", codec="AAC", sample_rate=48_000, channels=2),
    ]
    return StreamInfo(
        stream=path,
        app=app,
        name=name,
        state="live",
        public=True,
        publisher=publisher,
        tracks=tracks,
        bits_per_s=2_000_000,
        frames_per_s=25.0,
        players=3,
        viewers={"rtmp": 2, "hls": 1},
        lag_ms=40,
        skipped_ms=1500,
        recordings=1,
        channel_id=CHANNEL,
        urls=URLS,
    )


def file(file_id=FILE, state="closed"):
    return File(
        file_id=file_id,
        format="mp4",
        state=state,
        path="live/me/1.mp4",
        url="",
        size=1_500_000,
        duration=61.5,
        start_time=NOW_S,
        end_time=NOW_S + 61.5,
        stream=PUBLISHED,
        task_id=TASK,
        recording_id="r-1",
        record_type="video",
        tags=["a"],
        tracks=[],
        fault=None,
    )


class FakeOperations:
    """Knows one of each thing; `asked` has each call, `refuse` what is raised instead of any answer."""

    def __init__(self):
        self.asked = []
        self.refuse = None
        self.is_draining = False
        self.paths = [PUBLISHED, IN_A_FOLDER]
        self.files = [FILE]
        self.address = "127.0.0.1"
        self.gate = asyncio.Event()
        """Cleared, it holds stop_record back."""
        self.gate.set()
        self.stopping = asyncio.Event()
        self.finished = []

    def _note(self, verb, *values):
        self.asked.append((verb, *values))
        if self.refuse is not None:
            raise self.refuse

    def _known(self, value, known, what):
        if value not in known:
            raise NotPossible("unknown", f"there is no such {what}")

    def streams(self):
        self._note("streams")
        return StreamList(streams=[stream_info(path) for path in self.paths])

    def stream(self, path):
        self._note("stream", path)
        self._known(path, self.paths, "stream")
        return stream_info(path)

    def disconnect_publisher(self, path):
        self._note("disconnect_publisher", path)
        self._known(path, self.paths, "stream")
        return Done()

    def clients(self):
        self._note("clients")
        client = ClientInfo(
            kind="rtmp",
            client_id=CLIENT,
            address=self.address,
            role="publish",
            stream=self.paths[0],
            connected_at=NOW_S,
            bytes_in=5_000_000,
            bytes_out=3000,
            skipped_ms=0,
            lag_ms=0,
        )
        return ClientList(clients=[client])

    def kick(self, client_id):
        self._note("kick", client_id)
        self._known(client_id, [CLIENT], "client")
        return Done()

    async def start_push(self, request):
        self._note("start_push", request)
        if isinstance(request.stream, str):
            self._known(request.stream, self.paths, "stream")
        task = TASK if request.record_formats else None
        return PushStarted(channel_id=CHANNEL, already=False, urls=URLS, record_task_id=task)

    async def stop_pushes(self, request):
        self._note("stop_pushes", request)
        states = ["stopped" if each == CHANNEL else "unknown" for each in request.channel_ids]
        results = [
            PushStopped(channel_id=each, state=state, already=False)
            for each, state in zip(request.channel_ids, states, strict=True)
        ]
        return PushesStopped(results=results)

    def pushes(self):
        self._note("pushes")
        push = Push(
            channel_id=CHANNEL,
            stream=self.paths[0],
            channel_name="Me",
            channel_desc="",
            state="on",
            mode="manual",
            started_at=NOW_S,
            waiting_since=None,
            record_id=None,
            record_task_id=None,
            urls=URLS,
            targets=[Target(target_id="1", url="rtmp://a.example/app/…", state="live")],
        )
        return PushList(pushes=[push])

    async def add_target(self, channel_id, request):
        self._note("add_target", channel_id, request)
        self._known(channel_id, [CHANNEL], "push")
        return TargetAdded(target=Target(target_id="2", url=request.url, state="connecting"), already=False)

    async def remove_target(self, channel_id, target_id):
        self._note("remove_target", channel_id, target_id)
        self._known(channel_id, [CHANNEL], "push")
        return Done()

    def relays(self):
        self._note("relays")
        relay = Relay(
            kind="push",
            stream=self.paths[0],
            url="rtmp://a.example/app/***",
            state="backing_off",
            reason="a.example: Connection refused",
            since=NOW_S,
            attempts=7,
            bytes=5_000_000,
            target_id="1",
            lag_ms=0,
            skipped_ms=1500,
        )
        return RelayList(relays=[relay])

    async def start_record(self, request):
        self._note("start_record", request)
        if isinstance(request.stream, str):
            self._known(request.stream, self.paths, "stream")
        return RecordStarted(task_id=TASK, state="recording", already=False, formats=request.formats or ["flv"])

    async def stop_record(self, task_id):
        self._note("stop_record", task_id)
        self._known(task_id, [TASK], "recording")
        self.stopping.set()
        await self.gate.wait()
        self.finished.append(task_id)
        return RecordStopped(task_id=TASK, state="closed", already=False, files=[file()])

    def records(self):
        self._note("records")
        record = Record(
            task_id=TASK,
            recording_id="r-1",
            stream=self.paths[0],
            origin="manual",
            state="recording",
            file_name="",
            record_type="video",
            formats=["flv", "mp4"],
            tags=[],
            started_at=NOW_S,
            ends_at=None,
        )
        return RecordList(records=[record])

    async def recordings(self, query):
        self._note("recordings", query)
        return FileList(recordings=[file(each) for each in self.files])

    async def recording(self, file_id):
        self._note("recording", file_id)
        self._known(file_id, self.files, "file")
        return file(file_id)

    async def delete_recording(self, file_id):
        self._note("delete_recording", file_id)
        self._known(file_id, self.files, "file")
        self.files.remove(file_id)
        return Done()

    async def callbacks(self, query):
        self._note("callbacks", query)
        callback = Callback(
            event_id=EVENT,
            event_type=100,
            stream=self.paths[0],
            url="http://127.0.0.1:9000/",
            state="pending",
            attempts=3,
            created_at=NOW_S,
            next_try_at=NOW_S + 60,
            last_error="answered 500",
            body={},
        )
        return CallbackList(pending=1, dead=0, callbacks=[callback])

    async def retry_callback(self, event_id):
        self._note("retry_callback", event_id)
        self._known(event_id, [EVENT], "callback")
        return Done()

    def drain(self, request):
        self._note("drain", request)
        return Draining(already=False, asked=2, waited_for=4, publishers=1, players=3, deadline=NOW_S + request.timeout)

    def server(self):
        self._note("server")
        return ServerInfo(
            version="1.2",
            started_at=NOW_S,
            is_draining=self.is_draining,
            rtmp=f"{self.address}:1935",
            rtmps=None,
            http=f"{self.address}:8080",
            https=None,
            data="/var/lib/rtmpd",
            connections=900,
            bytes_per_stream=67_108_864,
        )

    async def reload(self):
        self._note("reload")
        return Reloaded(needs_restart=["rtmp"])
