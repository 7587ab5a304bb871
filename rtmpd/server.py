"""
The server: what is made in which order, what runs once a second, and how everything ends.

Start: descriptors, data directory, sockets, recording (its index, the media workers), then connections. Stop: no new connections, streams end
and players are told, recordings are closed, then the workers go. Nothing here knows a protocol.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, TextIO

from rtmpd.address import Address
from rtmpd.config import Config
from rtmpd.control.credentials import KEY_PARAMETER
from rtmpd.control.hooks import Hooks
from rtmpd.control.limits import RegistryCounts
from rtmpd.control.policy import ConfiguredPolicy
from rtmpd.errors import ConfigError, StartError, StoreError
from rtmpd.live.log import Retention
from rtmpd.live.registry import Registry
from rtmpd.logs import get_logger
from rtmpd.net.fanout import FanOut, Pace
from rtmpd.net.listener import Admission, Listener, listen
from rtmpd.net.poller import Poller
from rtmpd.net.services import Services
from rtmpd.net.tasks import Tasks
from rtmpd.session.limits import Limits
from rtmpd.store.database import Database
from rtmpd.workers.recorder import Recorder
from rtmpd.workers.recording_office import RecordingOffice

_TICK_S = 1.0
_PLAYERS_LEAVE_S = 1.0
"""At shutdown: for players to read that their stream has ended."""
_RECORDINGS_CLOSE_S = 10.0
_DESCRIPTORS_OF_OUR_OWN = 64
"""Listening sockets, database, log, worker sockets and feeds; the rest may be clients."""
_SAME_SIGNAL_S = 1.0
_DEMO_RESTART_S = 2.0
_GC_THRESHOLDS = (50_000, 20, 50)
"""A log entry for each message would have the collector run 20 times a second with the defaults, and find nothing."""
_LOOPBACK_OF = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not listened on
_LOCK_NAME = "rtmpd.lock"
_RESTART_KEYS = ("rtmp", "data", "limits", "log", "fanout", "players", "workers")
_DATABASE_NAME = "rtmpd.db"


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
    asyncio.run(Server(config, reload).serve(demo=demo))


class _Bound(NamedTuple):
    """An address with its sockets."""

    address: Address
    sockets: list[socket.socket]
    tls: bool


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
        self._stop_asked_s = 0.0
        self._registry = Registry(Retention(config.log.gop_s, config.log.gop_bytes))
        hooks = Hooks(key_bytes=config.limits.key_bytes)
        self._policy = ConfiguredPolicy(config.apps, RegistryCounts(self._registry), hooks)
        self._tls: ssl.SSLContext | None = None
        self._listeners: list[Listener] = []

    async def serve(self, *, demo: bool = False) -> None:
        """
        Run until told to stop.

        Args:
            demo: with the synthetic stream.

        Raises:
            StartError: with one line that says why the server cannot start.
        """
        async with AsyncExitStack() as stack:
            descriptors = raise_descriptor_limit()
            directory = self._config.data.directory.absolute()
            stack.enter_context(_lock(directory))
            services = self._services(stack)
            bound = self._bind(stack)
            office = await self._office(stack, services, directory)
            recorder = office.recorder
            services.registry.observers.append(recorder)
            self._handle_signals(services.loop, office)
            # Not before recording is ready: encoders that reconnect come at once, and their streams would be missed.
            opened = self._accept(stack, services, bound, descriptors)
            self._announce(services, opened, descriptors)
            showing = services.tasks.supervise(self._run_demo(opened[0]), "demo") if demo else None
            services.tasks.supervise(self._tick(services), "tick")
            await self._stop.wait()
            self._log.info("stopping")
            if showing is not None:  # first, or it would see its stream end and try again
                showing.cancel()
            await self._wind_up(services, recorder)
        self._log.info("stopped")

    def _services(self, stack: AsyncExitStack) -> Services:
        config = self._config
        loop = asyncio.get_running_loop()
        slice_s = config.fanout.slice_ms / 1000
        poller = Poller(loop, slice_s)
        stack.callback(poller.close)
        stack.push_async_callback(self._policy.close)
        tasks = Tasks(self._on_task_failure)
        stack.push_async_callback(tasks.cancel)
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

    async def _office(self, stack: AsyncExitStack, services: Services, directory: Path) -> RecordingOffice:
        try:
            database = await Database.open(directory / _DATABASE_NAME)
            stack.push_async_callback(database.close)
            office = RecordingOffice(
                self._config,
                directory / "recordings",
                database,
                fanout=services.fanout,
                poller=services.poller,
                tasks=services.tasks,
                log=self._log,
            )
            stack.push_async_callback(office.close)
            await office.open()
        except StoreError as error:
            raise StartError(f"cannot use the index of recordings: {error}") from error
        return office

    def _bind(self, stack: AsyncExitStack) -> list[_Bound]:
        """Open every configured address, RTMP first; nobody is answered yet."""
        bound = []
        for address, tls in self._addresses():
            sockets = listen(address.host, address.port)
            for each in sockets:
                stack.callback(each.close)
            bound.append(_Bound(address._replace(port=sockets[0].getsockname()[1]), sockets, tls))
        return bound

    def _accept(
        self, stack: AsyncExitStack, services: Services, bound: list[_Bound], descriptors: int
    ) -> list[Address]:
        """Begin to answer; what is returned, RTMP first, has the ports that the system chose."""
        limits = self._config.limits
        room = max(descriptors - _DESCRIPTORS_OF_OUR_OWN, 1)
        admission = Admission(min(limits.connections or room, room), limits.handshaking, limits.handshaking_per_address)
        for _, sockets, tls in bound:
            for listening in sockets:
                listener = Listener(services, listening, admission, self._tls_context if tls else None)
                stack.callback(listener.close)
                self._listeners.append(listener)
        return [each.address for each in bound]

    def _addresses(self) -> list[tuple[Address, bool]]:
        addresses = [(self._config.rtmp.listen, False)]
        if self._config.rtmps.listen is not None:
            self._tls = _load_certificate(self._config)
            addresses.append((self._config.rtmps.listen, True))
        return addresses

    def _tls_context(self) -> ssl.SSLContext:
        assert self._tls is not None
        return self._tls

    def _handle_signals(self, loop: asyncio.AbstractEventLoop, office: RecordingOffice) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload_signal, office)

    def _on_stop_signal(self) -> None:
        """Stop; asked again, do not wait. `make run` passes a terminal's signal on, so the second may be the first."""
        now = asyncio.get_running_loop().time()
        if not self._stop.is_set():
            self._stop.set()
            self._stop_asked_s = now
        elif now - self._stop_asked_s > _SAME_SIGNAL_S:
            os._exit(1)

    def _on_reload_signal(self, office: RecordingOffice) -> None:
        try:
            config = self._reload()
            tls = _load_certificate(config) if self._tls is not None else None
        except (ConfigError, StartError) as error:
            self._log.error("configuration not reloaded", reason=str(error))
            return
        self._policy.apps = config.apps
        office.reload(config)
        self._tls = tls
        waiting = [key for key in _RESTART_KEYS if getattr(config, key) != getattr(self._config, key)]
        self._config = config
        self._log.info("configuration reloaded", needs_restart=waiting)

    def _on_task_failure(self, error: BaseException) -> None:
        self._log.error("internal error", exc_info=error)

    def _announce(self, services: Services, opened: list[Address], descriptors: int) -> None:
        limits = services.limits
        kept = self._config.log.gop_bytes
        self._log.info(
            "serving",
            rtmp=str(opened[0]),
            rtmps=str(opened[1]) if len(opened) > 1 else None,
            data=str(self._config.data.directory.absolute()),
            connections=max(descriptors - _DESCRIPTORS_OF_OUR_OWN, 1),
            bytes_per_stream=2 * (kept + limits.message_bytes),
            bytes_per_publisher=limits.incomplete_bytes + limits.output_bytes,
        )

    async def _tick(self, services: Services) -> None:
        """What needs no better clock than a second."""
        while True:
            await asyncio.sleep(_TICK_S)
            now = services.loop.time()
            services.registry.end_overdue(now)
            services.fanout.cut_off_stalled(now)

    async def _run_demo(self, listens: Address) -> None:
        url = f"rtmp://{_reachable(listens)}/live/demo"
        _print_demo(url, sys.stdout)
        keys = self._config.apps["live"].publish_key
        target = f"{url}?{KEY_PARAMETER}={keys[0]}" if keys else url
        command = (sys.executable, "-m", "rtmpd.demo", "--parent", str(os.getpid()), target)
        while True:
            process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                process.terminate()
                await process.wait()
                raise
            self._log.warning("the demo's publisher ended", exit_code=code)
            await asyncio.sleep(_DEMO_RESTART_S)

    async def _wind_up(self, services: Services, recorder: Recorder) -> None:
        for listener in self._listeners:
            listener.close()
        self._policy.stop()
        services.registry.end_all("server stops")
        await recorder.close(_RECORDINGS_CLOSE_S)
        deadline = services.loop.time() + _PLAYERS_LEAVE_S
        while (  # noqa: ASYNC110 - connections end in many places; an event for this one wait would touch them all
            any(each.role == "play" for each in services.connections) and services.loop.time() < deadline
        ):
            await asyncio.sleep(_PLAYERS_LEAVE_S / 20)
        for connection in list(services.connections):
            connection.evict("server stops")


def raise_descriptor_limit() -> int:
    """
    Raise the soft limit of open files to the hard one.

    Returns:
        The limit in force.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # a hard limit that is "unlimited" may be more than the system allows
        return soft
    return hard


def _reachable(address: Address) -> Address:
    """Name an address that a client on this machine can connect to."""
    return address._replace(host=_LOOPBACK_OF.get(address.host, address.host))


def _load_certificate(config: Config) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert, key = config.rtmps.cert, config.rtmps.key
    assert cert is not None
    try:
        context.load_cert_chain(cert, key)
    except (ssl.SSLError, OSError) as error:
        raise StartError(f"cannot use the certificate {cert} with the key {key}: {error}") from error
    return context


def _lock(directory: Path) -> TextIO:
    """Take the data directory for this server alone, for as long as the returned file is open."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / _LOCK_NAME).open("w")
    except OSError as error:
        raise StartError(f"cannot use the data directory {directory}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StartError(f"the data directory {directory} is in use by another rtmpd") from None
    return lock


def _print_demo(url: str, out: TextIO) -> None:
    """Tell a newcomer what to do next."""
    out.write(f"\n  A test stream is live. Watch it:\n\n      ffplay {url}\n      vlc {url}\n\n")
    out.write(f"  Publish your own:\n\n      ffmpeg -re -i FILE -c copy -f flv {url.rpartition('/')[0]}/mystream\n\n")
    out.flush()
