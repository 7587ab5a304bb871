"""
The recorder: which streams are recorded, and how each recording goes on when its worker dies.

It follows every stream as an observer. A recording is a feed at a time (`rtmpd.workers.recording`), joined to the
stream's FLV log; the media worker does the rest.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rtmpd.config import AppConfig
from rtmpd.live.stream import Stream
from rtmpd.live.subscription import NOWHERE
from rtmpd.logs import Logger
from rtmpd.net.fanout import FanOut
from rtmpd.net.poller import Poller
from rtmpd.workers.feed import FeedSink
from rtmpd.workers.naming import FileName, PathTemplate
from rtmpd.workers.recording import (
    OutputRequest,
    Recording,
    RecordingClosed,
    RecordingEnded,
    RecordingEvent,
    RecordingFailed,
    RecordingRequest,
    RecordingStarted,
    WorkerDied,
)
from rtmpd.workers.supervisor import Supervisor

_PROBE_BYTES = 64


class StreamRecorder:
    """One recording of one stream, over all its feeds."""

    def __init__(self, recorder: Recorder, stream: Stream, app: AppConfig) -> None:
        """
        Begin to record a stream from where a player would start.

        Args:
            recorder: of the server.
            stream: is being published.
            app: the configuration of its application.
        """
        self._recorder = recorder
        self._stream = stream
        self._log = stream.flv_log()
        self._log.retain(recorder.keep_s)
        self._template = PathTemplate(app.record_path)
        self._formats = app.record_formats
        self._started_at = datetime.now(UTC)
        self.recording_id = secrets.token_hex(6)
        self._sequence = 0
        self._open()
        stream.join(self._sink, self._log)
        recorder.fanout.serve(self._sink)

    @property
    def path(self) -> str:
        """The stream's."""
        return self._stream.path

    def on_readable(self) -> bool:
        """Notice that the worker has closed its end; what that means is told by its events."""
        if self._fed and self._is_hung_up():
            self._let_go()
        return False

    def on_writable(self) -> None:
        """Go on feeding."""
        if self._fed:
            self._recorder.fanout.serve(self._sink)

    def on_drained(self) -> None:
        """Everything is fed and the stream has ended: the end of the feed finishes the files."""
        self._let_go()
        self._recording.finish()

    def on_lost(self, reason: str) -> None:  # noqa: ARG002 - the worker's events say more
        """Wait for what the supervisor says of a feed that cannot be written to."""
        self._let_go()

    def finish(self) -> None:
        """End the recording once everything is fed."""
        self._sink.ending = True
        self._recorder.fanout.serve(self._sink)

    def resume(self, old: Recording) -> None:
        """
        Go on in a new feed after the worker's death.

        Args:
            old: the lost feed, with what was confirmed to be in its files.
        """
        position = self._sink.position_of(old.feed_bytes)
        ending = self._sink.ending or old.feed.fileno() < 0
        self._let_go()
        old.finish()
        self._open()
        key_frame = None if position == NOWHERE else self._log.key_frame_at_or_before(position)
        if key_frame is None:
            self._stream.join(self._sink, self._log)
        else:
            self._sink.attach(self._log)
            self._sink.private += self._log.form.opening
            self._sink.start_at_key_frame(key_frame)
        self._sink.ending = ending
        self._recorder.fanout.serve(self._sink)

    def _is_hung_up(self) -> bool:
        try:
            return not self._recording.feed.recv(_PROBE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _open(self) -> None:
        self._sequence += 1
        outputs = tuple(OutputRequest(each, self._file(each)) for each in self._formats)
        request = RecordingRequest(self.recording_id, self._sequence, outputs)
        self._recording = self._recorder.supervisor.start_recording(request)
        self._sink = FeedSink(self._recording.feed, self)
        self._recorder.poller.register(self._sink.descriptor, self)
        self._fed = True

    def _file(self, file_format: str) -> Path:
        name = FileName(
            self._stream.app, self._stream.name, self.recording_id, self._started_at, self._sequence, file_format
        )
        return self._recorder.directory / self._template.render(name)

    def _let_go(self) -> None:
        if self._fed:
            self._fed = False
            self._recorder.poller.unregister(self._sink.descriptor)
            self._recorder.fanout.forget(self._sink)


class Recorder:
    """Everything that is being recorded."""

    def __init__(
        self, directory: Path, apps: Mapping[str, AppConfig], keep_s: float, fanout: FanOut, poller: Poller, log: Logger
    ) -> None:
        """
        Prepare; follow with `start`.

        Args:
            directory: absolute; holds the recordings.
            apps: configuration by application; replaced when it is reloaded.
            keep_s: how far a recording may lag behind its stream before something is lost.
            fanout: feeds the workers.
            poller: watches the feeds.
            log: for what happens to recordings.
        """
        self.directory = directory
        self.apps = apps
        self.keep_s = keep_s
        self.fanout = fanout
        self.poller = poller
        self._log = log
        self.supervisor = Supervisor(self._on_event)
        self._by_stream: dict[Stream, StreamRecorder] = {}
        self._by_id: dict[str, StreamRecorder] = {}
        self._idle = asyncio.Event()

    async def start(self) -> None:
        """Start the media workers; raises `StartError` where that cannot be done."""
        self.directory.mkdir(parents=True, exist_ok=True)
        await self.supervisor.start()

    async def stop(self, timeout_s: float) -> None:
        """
        Finish all files.

        Args:
            timeout_s: for feeding what is left and again for closing files; files that take longer open as they are.
        """
        for recorder in list(self._by_stream.values()):
            recorder.finish()
        self._by_stream.clear()
        try:
            async with asyncio.timeout(timeout_s):
                while self._by_id:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            self._log.warning("recordings were cut off", recordings=len(self._by_id))
        for recording in await self.supervisor.stop(timeout_s):
            self._log.warning("recording not finished", recording=recording.request.recording_id)

    def stream_published(self, stream: Stream) -> None:
        """Record a stream from its beginning where its application says so."""
        app = self.apps.get(stream.app)
        if app is None or app.record != "auto" or stream in self._by_stream:
            return
        try:
            recorder = StreamRecorder(self, stream, app)
        except OSError as error:
            self._log.error("recording failed", stream=stream.path, reason=str(error))
            return
        self._by_stream[stream] = recorder
        self._by_id[recorder.recording_id] = recorder

    def stream_ended(self, stream: Stream, reason: str) -> None:  # noqa: ARG002 - a recording ends the same for all
        """Finish the files of a stream that has ended."""
        recorder = self._by_stream.pop(stream, None)
        if recorder is not None:
            recorder.finish()

    def _on_event(self, event: RecordingEvent) -> None:
        match event:
            case RecordingStarted(recording, file_format, path):
                self._log.info("recording started", **self._about(recording), format=file_format, path=str(path))
            case RecordingClosed(recording, _, facts):
                self._log.info("recording closed", **self._about(recording), **facts)
            case RecordingFailed(recording, file_format, reason):
                self._log.error("recording failed", **self._about(recording), format=file_format, reason=reason)
            case RecordingEnded(recording):
                self._ended(recording)
            case WorkerDied(pid, reason, recordings):
                self._log.error("media worker died", pid=pid, reason=reason, recordings=len(recordings))
                for recording in recordings:
                    self._by_id[recording.request.recording_id].resume(recording)

    def _ended(self, recording: Recording) -> None:
        recorder = self._by_id.pop(recording.request.recording_id, None)
        if recorder is not None:
            recorder.on_lost("ended")
            recording.finish()
            self._by_stream = {stream: each for stream, each in self._by_stream.items() if each is not recorder}
        self._idle.set()

    def _about(self, recording: Recording) -> dict[str, str]:
        recorder = self._by_id.get(recording.request.recording_id)
        return {"recording": recording.request.recording_id, "stream": recorder.path if recorder else "-"}
