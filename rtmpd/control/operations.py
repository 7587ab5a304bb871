"""
The operations: everything that a caller may ask of a running server, whatever surface it came by.

Rule: requests and answers are models, mistakes of callers are `NotPossible`, and who asks twice for the same is told that
it is so already. What is done stands in a log line, without keys.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from rtmpd.control import models
from rtmpd.control.callbacks import Callbacks
from rtmpd.control.clients import Clients
from rtmpd.control.draining import Drainer
from rtmpd.control.files import Files
from rtmpd.control.push_desk import PushDesk
from rtmpd.control.records import Records
from rtmpd.control.relay_views import RelayDesk
from rtmpd.control.streams import Streams
from rtmpd.errors import ConfigError, NotPossible, StartError


class Desks(NamedTuple):
    """Who takes which requests."""

    streams: Streams
    clients: Clients
    pushes: PushDesk
    relays: RelayDesk
    records: Records
    files: Files
    callbacks: Callbacks
    drainer: Drainer
    describe: Callable[[], models.ServerInfo]
    """Says what serves here, as if it did not drain."""
    reload: Callable[[], Awaitable[models.Reloaded]]
    """Reads the configuration again; raises ConfigError, or StartError for what it names and cannot be used."""


class Operations:
    """The verbs; each raises `NotPossible` as the desk does that it is passed on to."""

    def __init__(self, desks: Desks) -> None:
        """
        Put them together.

        Args:
            desks: do the work.
        """
        self._desks = desks

    def streams(self) -> models.StreamList:
        """List every stream that somebody publishes or waits for."""
        return self._desks.streams.list()

    def stream(self, path: str) -> models.StreamInfo:
        """Show the stream of a path, "application/name"."""
        return self._desks.streams.get(path)

    def disconnect_publisher(self, path: str) -> models.Done:
        """Disconnect who publishes a stream."""
        return self._desks.streams.disconnect_publisher(path)

    def clients(self) -> models.ClientList:
        """List every connection."""
        return self._desks.clients.list()

    def kick(self, client_id: int) -> models.Done:
        """Disconnect a client."""
        return self._desks.clients.kick(client_id)

    async def start_push(self, request: models.PushStart) -> models.PushStarted:
        """Make a stream watchable, and record or relay it for as long as it is."""
        return await self._desks.pushes.start(request)

    async def stop_pushes(self, request: models.PushStop) -> models.PushesStopped:
        """End pushes."""
        return await self._desks.pushes.stop(request)

    def pushes(self) -> models.PushList:
        """List every push that is on, or waits for its publisher."""
        return self._desks.pushes.list()

    async def add_target(self, channel_id: str, request: models.TargetAdd) -> models.TargetAdded:
        """Relay a pushed stream to one more place."""
        return await self._desks.pushes.add_target(channel_id, request)

    async def remove_target(self, channel_id: str, target_id: str) -> models.Done:
        """Relay it to one place less."""
        return await self._desks.pushes.remove_target(channel_id, target_id)

    def relays(self) -> models.RelayList:
        """List every relay of a stream that lives."""
        return self._desks.relays.list()

    async def start_record(self, request: models.RecordStart) -> models.RecordStarted:
        """Record a stream from its newest key frame on."""
        return await self._desks.records.start(request)

    async def stop_record(self, task_id: str) -> models.RecordStopped:
        """End a recording, and say what it wrote."""
        return await self._desks.records.stop(task_id)

    def records(self) -> models.RecordList:
        """List every recording that has not ended."""
        return self._desks.records.list()

    async def recordings(self, query: models.RecordingsQuery) -> models.FileList:
        """List recorded files, newest first."""
        return await self._desks.files.list(query)

    async def recording(self, file_id: str) -> models.File:
        """Show a recorded file."""
        return await self._desks.files.get(file_id)

    async def delete_recording(self, file_id: str) -> models.Done:
        """Delete a recorded file."""
        return await self._desks.files.delete(file_id)

    async def callbacks(self, query: models.CallbacksQuery) -> models.CallbackList:
        """List callbacks that were not delivered."""
        return await self._desks.callbacks.list(query)

    async def retry_callback(self, event_id: str) -> models.Done:
        """Have a callback tried now."""
        return await self._desks.callbacks.retry(event_id)

    def server(self) -> models.ServerInfo:
        """Say what serves here."""
        return self._desks.describe().model_copy(update={"is_draining": self.is_draining})

    def drain(self, request: models.Drain) -> models.Draining:
        """Let the server come to its end."""
        return self._desks.drainer.drain(request)

    @property
    def is_draining(self) -> bool:
        """Whether the server is on the way to its end, and admits nobody any more."""
        return self._desks.drainer.is_draining

    async def reload(self) -> models.Reloaded:
        """Read the configuration again; "invalid", with every fault, leaves everything as it was."""
        try:
            return await self._desks.reload()
        except ConfigError as error:
            raise NotPossible("invalid", "the configuration was not taken: it has faults", error.faults) from None
        except StartError as error:
            raise NotPossible("invalid", f"the configuration was not taken: {error}") from None
