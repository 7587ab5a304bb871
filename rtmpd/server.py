"""
The server: what is made in which order, what runs once a second, and how everything ends.

Start: descriptors, data directory, sockets, database, callbacks, recording (its media workers), packaging, operations and
their surfaces, then connections and pulls. Stop: no new connections, pulls and streams end, players have all of it,
recordings are closed; then each of these in turn, the database last. Nothing here knows a protocol.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from rtmpd import showing
from rtmpd.address import Address
from rtmpd.config import Config
from rtmpd.control import portrait
from rtmpd.control.callbacks_office import CallbacksOffice
from rtmpd.control.draining import Drainer
from rtmpd.control.hooks import Hooks
from rtmpd.control.limits import RegistryCounts
from rtmpd.control.meter import Meter
from rtmpd.control.metrics.office import Measured, MetricsOffice
from rtmpd.control.models import Reloaded, ServerInfo
from rtmpd.control.operations_office import Around, OperationsOffice
from rtmpd.control.policy import ConfiguredPolicy
from rtmpd.control.pulls import Pulls
from rtmpd.control.recorded import RecordedFiles
from rtmpd.control.relay_dialler import RelayDialler
from rtmpd.control.resolver import Resolver
from rtmpd.control.streams import Measures
from rtmpd.control.urls import Listening, reachable
from rtmpd.errors import ConfigError, StartError, StoreError
from rtmpd.live.log import Retention
from rtmpd.live.registry import Registry
from rtmpd.logs import get_logger
from rtmpd.net.acceptor import Admission
from rtmpd.net.certificates import load_certificate, renewed
from rtmpd.net.fanout import FanOut, Pace
from rtmpd.net.https import Https
from rtmpd.net.listener import Listener, listen
from rtmpd.net.poller import Poller
from rtmpd.net.services import Services
from rtmpd.net.source_maker import SourceMaker
from rtmpd.net.tasks import Tasks
from rtmpd.session.limits import Limits
from rtmpd.start import lock, raise_descriptor_limit, room_for_connections, take_no_signals
from rtmpd.store.database import Database
from rtmpd.store.playlists import PlaylistBook
from rtmpd.store.recordings import RecordingIndex
from rtmpd.web.connections import CONNECTION_BYTES
from rtmpd.web.site import version
from rtmpd.web.web_office import Shown, WebOffice
from rtmpd.workers import packaging, thumbnails
from rtmpd.workers.packaging import Packagings
from rtmpd.workers.playlist_ends import PlaylistEnds
from rtmpd.workers.recording_office import RecordingOffice

_TICK_S = 1.0
_RECORDINGS_CLOSE_S = 10.0
_CALLBACKS_LEAVE_S = 3.0
"""At shutdown: for callbacks that are due to be tried once; the next server goes on with the rest."""
_PUSHES_CLOSE_S = 3.0
_PACKAGED_S = 5.0
"""At shutdown: for the packager to send what is left of the streams. It takes moments, unless the machine stalls."""
_PLAYLISTS_READ_S = 4.0
"""At shutdown: for viewers of HLS to come for it. They ask once in a target duration, 2 s by default, and may stall as long."""
_PACKAGER_ENDS_S = 1.0
_STOPS = "server stops"
_SAME_SIGNAL_S = 1.0
_GC_THRESHOLDS = (50_000, 20, 50)
"""A log entry for each message would have the collector run 20 times a second with the defaults, and find nothing."""
_RESTART_KEYS = ("rtmp", "control", "data", "limits", "log", "fanout", "players", "workers", "packaging")
_LISTENERS = ("rtmps", "http", "https")
"""Tables of which only the address waits for a restart."""
_DATABASE_NAME = "rtmpd.db"
_DEMO = "live/demo"


def run(config: Config, *, demo: bool = False, reload: Callable[[], Config]) -> None:
    """
    Serve until SIGTERM or SIGINT.

    Args:
        config: checked.
        demo: also publish a synthetic stream, live/demo, and print what to open.
        reload: reads the configuration again, at SIGHUP; raises ConfigError.

    Raises:
        StartError: with one line that says why the server cannot start.
    """
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner() as runner:
        # The loop gives up its handlers when it is closed: a signal that comes then would make a failure of a good end. Its
        # threads take none at any time, as one that has been joined may live for a moment longer.
        runner.get_loop().set_default_executor(ThreadPoolExecutor(initializer=take_no_signals))
        runner.run(Server(config, reload).serve(demo=demo))
        take_no_signals()


class _Bound(NamedTuple):
    """An address with its sockets."""

    address: Address
    sockets: list[socket.socket]
    tls: bool


class _Offices(NamedTuple):
    """What works beside the connections, in the order in which it begins."""

    callbacks: CallbacksOffice
    recording: RecordingOffice
    packagings: Packagings
    operations: OperationsOffice
    web: WebOffice
    pulls: Pulls


class Server:
    """One rtmpd."""

    def __init__(self, config: Config, reload: Callable[[], Config]) -> None:
        """
        Prepare; follow with `serve`.

        Args:
            config: checked.
            reload: reads the configuration again.
        """
        self._config = config
        self._reload = reload
        self._log = get_logger()
        self._stop = asyncio.Event()
        self._stop_signal_s: float | None = None
        self._registry = Registry(Retention(config.log.gop_s, config.log.gop_bytes))
        hooks = Hooks(key_bytes=config.limits.key_bytes)
        self._policy = ConfiguredPolicy(config.apps, RegistryCounts(self._registry), hooks)
        self._tls: ssl.SSLContext | None = None
        self._listeners: list[Listener] = []
        self._started_s = time.time()

    async def serve(self, *, demo: bool = False) -> None:
        """
        Run until told to stop.

        Args:
            demo: with the synthetic stream.

        Raises:
            StartError: with one line that says why the server cannot start.
        """
        async with AsyncExitStack() as stack:
            self._descriptors = raise_descriptor_limit()
            directory = self._config.data.directory.absolute()
            stack.enter_context(lock(directory))
            services = self._services(stack)
            drainer = Drainer(services, self._policy.stop)
            bound = self._bound = self._bind(stack)
            admission = self._admission(self._descriptors)
            http = listen(*self._config.http.listen)
            self._https = Https(self._config)
            stack.callback(self._https.close)
            api = self._config.http.listen._replace(port=http[0].getsockname()[1])
            meter = Meter(services.registry, services.connections)
            listening = self._listening = Listening(bound[0].address, api)
            self._offices = await self._open(stack, services, directory, listening, http, meter, drainer, admission)
            self._https.open(services, admission, self._offices.web.connections)
            stack.callback(self._https.close)  # before the site, whose protocols it makes
            self._handle_signals(services.loop)
            # Not before everything else is ready: encoders that reconnect come at once, and their streams would be missed.
            self._accept(stack, services, bound, admission)
            self._offices.pulls.open()
            self._announce(services)
            showing = self._show(services, listening) if demo else None
            services.tasks.supervise(self._tick(services, meter, drainer), "tick")
            await self._stop.wait()
            self._log.info("stopping")
            if showing is not None:  # first, or it would see its stream end and try again
                showing.cancel()
            drainer.admit_nobody()
            await self._wind_up(services, self._offices, drainer)
        self._log.info("stopped")

    def _services(self, stack: AsyncExitStack) -> Services:
        config = self._config
        loop = asyncio.get_running_loop()
        slice_s = config.fanout.slice_ms / 1000
        poller = Poller(loop, slice_s)
        stack.callback(poller.close)
        tasks = Tasks(self._on_task_failure)
        stack.push_async_callback(tasks.cancel)
        stack.push_async_callback(self._policy.close)
        return Services(
            loop=loop,
            poller=poller,
            fanout=FanOut(loop, poller, Pace(config.fanout.share, config.fanout.max_delay_ms / 1000, slice_s)),
            registry=self._registry,
            policy=self._policy,
            limits=Limits(**config.limits.session()),
            wait_s=config.players.wait_s,
            lag_limit_s=config.players.lag_limit_s,
            may_jump=config.players.lag == "jump",
            tasks=tasks,
            log=self._log,
        )

    async def _open(
        self,
        stack: AsyncExitStack,
        services: Services,
        directory: Path,
        listening: Listening,
        http: list[socket.socket],
        meter: Meter,
        drainer: Drainer,
        admission: Admission,
    ) -> _Offices:
        """Open everything beside the connections; the stack closes it in the opposite order."""
        config, recordings = self._config, directory / "recordings"
        for each in http:
            stack.callback(each.close)
        stores = await self._open_stores(stack, services, directory, recordings, listening)
        database, callbacks, recording, packagings = stores
        services.registry.observers.append(recording.recorder)
        sources = SourceMaker(services, RelayDialler(services.lag_limit_s).dial, Resolver())
        pulls = Pulls(config, services, sources)
        operations = OperationsOffice(
            config,
            Around(
                services,
                database,
                recording.recorder,
                callbacks.publications,
                recordings,
                listening,
                Measures(portrait.tracks_of, meter.rates),
                pulls,
                wake=callbacks.delivery.wake,
                drainer=drainer,
                describe=self._describe,
                reload=self._reload_now,
            ),
        )
        stack.push_async_callback(operations.close, _PUSHES_CLOSE_S)
        await operations.open()
        services.registry.observers.append(packagings)  # behind pushes, which decide what is private
        metrics = MetricsOffice(
            Measured(
                services,
                recording.recorder,
                {"recording": recording.supervisor, "packaging": packagings},
                database,
                callbacks.outcomes,
                operations.operations.relays,
                version(),
                packagings,
            )
        )
        stack.callback(metrics.close)
        metrics.open()
        files = RecordedFiles(RecordingIndex(database))
        shown = Shown(services, operations.operations, packagings, files, recordings, metrics.scrape)
        web = WebOffice(config, shown, http, most_connections=admission.connections)
        stack.push_async_callback(web.close)
        await web.open()
        return _Offices(callbacks, recording, packagings, operations, web, pulls)

    async def _open_stores(
        self, stack: AsyncExitStack, services: Services, directory: Path, recordings: Path, listening: Listening
    ) -> tuple[Database, CallbacksOffice, RecordingOffice, Packagings]:
        """Open the database, and what cannot do without it from the first stream on."""
        try:
            database = await Database.open(directory / _DATABASE_NAME)
            stack.push_async_callback(database.close)
            callbacks = CallbacksOffice(self._config, database, services, listening, socket.gethostname())
            stack.push_async_callback(callbacks.close, _CALLBACKS_LEAVE_S)
            await callbacks.open()
            recording = RecordingOffice(
                self._config,
                recordings,
                database,
                fanout=services.fanout,
                poller=services.poller,
                tasks=services.tasks,
                log=self._log,
            )
            stack.push_async_callback(recording.close)
            await recording.open()
            packagings = Packagings(self._config, services, await PlaylistEnds.load(PlaylistBook(database), self._log))
            stack.push_async_callback(packagings.close, _PACKAGER_ENDS_S)
        except StoreError as error:
            raise StartError(f"cannot use the index of recordings: {error}") from error
        return database, callbacks, recording, packagings

    def _bind(self, stack: AsyncExitStack) -> list[_Bound]:
        """Open every configured address, RTMP first; nobody is answered yet."""
        bound = []
        for address, tls in self._addresses():
            sockets = listen(address.host, address.port)
            for each in sockets:
                stack.callback(each.close)
            bound.append(_Bound(address._replace(port=sockets[0].getsockname()[1]), sockets, tls))
        return bound

    def _admission(self, descriptors: int) -> Admission:
        """Limits on connections: those of RTMP, and those of HTTP that play."""
        limits, room = self._config.limits, room_for_connections(descriptors)
        return Admission(min(limits.connections or room, room), limits.handshaking, limits.handshaking_per_address)

    def _accept(self, stack: AsyncExitStack, services: Services, bound: list[_Bound], admission: Admission) -> None:
        """Begin to answer."""
        for _, sockets, tls in bound:
            for listening in sockets:
                listener = Listener(services, listening, admission, self._tls_context if tls else None)
                stack.callback(listener.close)
                self._listeners.append(listener)

    def _addresses(self) -> list[tuple[Address, bool]]:
        addresses = [(self._config.rtmp.listen, False)]
        if self._config.rtmps.listen is not None:
            assert self._config.rtmps.certificate is not None
            self._tls = load_certificate(self._config.rtmps.certificate)
            addresses.append((self._config.rtmps.listen, True))
        return addresses

    def _tls_context(self) -> ssl.SSLContext:
        assert self._tls is not None
        return self._tls

    def _handle_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload_signal)

    def _on_stop_signal(self) -> None:
        """
        Stop, also if draining; asked again, do not wait.

        The end of draining is no signal: the first that comes behind it may not cost what is being closed. `make run`
        passes a terminal's signal on, so the second may be the first.
        """
        now = asyncio.get_running_loop().time()
        self._stop.set()
        if self._stop_signal_s is None:
            self._stop_signal_s = now
        elif now - self._stop_signal_s > _SAME_SIGNAL_S:
            os._exit(1)

    def _on_reload_signal(self) -> None:
        try:
            self._take_configuration()
        except (ConfigError, StartError) as error:
            self._log.error("configuration not reloaded", reason=str(error))

    async def _reload_now(self) -> Reloaded:
        return Reloaded(needs_restart=self._take_configuration())

    def _take_configuration(self) -> list[str]:
        """Read the configuration again and use it; returns the tables in which what runs differs until the next start."""
        config = self._reload()
        tls = renewed(self._tls, config.rtmps.certificate)
        self._https.check(config)
        self._policy.apps = config.apps
        for office in self._offices:
            office.reload(config)
        self._tls = tls
        self._https.reload(config)
        waiting = [key for key in _RESTART_KEYS if getattr(config, key) != getattr(self._config, key)]
        waiting += [key for key in _LISTENERS if getattr(config, key).listen != getattr(self._config, key).listen]
        self._config = self._config.model_copy(update={"apps": config.apps})
        self._log.info("configuration reloaded", needs_restart=waiting)
        return waiting

    def _on_task_failure(self, error: BaseException) -> None:
        self._log.error("internal error", exc_info=error)

    def _describe(self) -> ServerInfo:
        return ServerInfo(
            version=version(),
            started_at=self._started_s,
            is_draining=False,
            rtmp=str(self._listening.rtmp),
            rtmps=next((str(each.address) for each in self._bound if each.tls), None),
            http=str(self._listening.http),
            https=self._https.address,
            data=str(self._config.data.directory.absolute()),
            connections=room_for_connections(self._descriptors),
            bytes_per_stream=2 * (self._config.log.gop_bytes + self._config.limits.message_bytes),
        )

    def _announce(self, services: Services) -> None:
        self._log.info(
            "serving",
            **self._describe().model_dump(exclude={"is_draining", "started_at"}),
            control=str(self._offices.web.control),
            bytes_per_packaged_stream=packaging.most_bytes(self._config),
            bytes_per_publisher=services.limits.incomplete_bytes + services.limits.output_bytes,
            http_connections=self._config.http.connections,
            bytes_per_http_connection=CONNECTION_BYTES + self._config.http.body_bytes,
            bytes_of_pictures=thumbnails.most_bytes(services.limits.message_bytes),
        )

    async def _tick(self, services: Services, meter: Meter, drainer: Drainer) -> None:
        """What needs no better clock than a second."""
        while True:
            await asyncio.sleep(_TICK_S)
            now = services.loop.time()
            services.registry.end_overdue(now)
            services.fanout.cut_off_stalled(now)
            meter.sample(now)
            for excess in meter.over_limit(self._config.apps):
                excess.publication.evict(excess.reason)
            self._offices.packagings.tick()
            self._offices.operations.tick(time.time())
            if drainer.is_over(now) and not self._stop.is_set():
                self._log.info("drained", left=len(drainer.waited_for))
                self._stop.set()

    def _show(self, services: Services, listening: Listening) -> asyncio.Task[None]:
        url = f"rtmp://{reachable(listening.rtmp)}/{_DEMO}"
        showing.tell(url, f"http://{reachable(listening.http)}", self._offices.web.control, sys.stdout)
        return services.tasks.supervise(showing.publish(url, self._config.apps["live"], self._log), "demo")

    async def _wind_up(self, services: Services, offices: _Offices, drainer: Drainer) -> None:
        for listener in self._listeners:
            listener.close()
        await offices.pulls.close(_STOPS)
        services.registry.end_all(_STOPS)
        async with asyncio.TaskGroup() as group:
            group.create_task(offices.recording.recorder.close(_RECORDINGS_CLOSE_S))
            await offices.packagings.finish(_PACKAGED_S)
            group.create_task(offices.web.finish_playlists(_PLAYLISTS_READ_S))
            group.create_task(drainer.players_leave())
        for connection in list(services.connections):
            connection.evict(_STOPS)
