"""Which streams are pulled from where, by the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple, TypeAlias

from rtmpd.address import Address
from rtmpd.config import AppConfig, Config, PullConfig
from rtmpd.net.pull_target import PullTarget
from rtmpd.net.pull_urls import Origin, SourceUrl, StreamPlace, parse_source, place_of

EDGE_IDLE_S = 10.0
"""How long the pull of an edge outlasts its last player: who comes back finds the stream."""
Location: TypeAlias = tuple[int | str, ...]
"""A key of the configuration."""
_ANY_STREAM = "-"
_EVERY_INTERFACE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not listened on


class Pull(NamedTuple):
    """One stream that is pulled."""

    target: PullTarget
    urls: tuple[SourceUrl, ...]
    """Where it is pulled from; the first is tried first."""
    idle_s: float | None
    """On demand: how long it outlasts its last player; None: always on."""


class PullPlan:
    """Every stream that the configuration has pulled."""

    def __init__(self, config: Config) -> None:
        """
        Read a configuration.

        Args:
            config: checked, by `pull_faults` too.
        """
        self._origins = {name: tuple(map(Origin.parse, app.origin)) for name, app in config.apps.items() if app.origin}
        self._apps = config.apps
        self._named = {path: _named(path, pull, config.apps) for path, pull in config.pulls.items()}

    @property
    def named(self) -> Mapping[str, Pull]:
        """Those that have a table of their own, by the paths of their streams."""
        return self._named

    def find(self, app: str, name: str) -> Pull | None:
        """
        Find how a stream is pulled.

        Args:
            app: its application.
            name: its name there.

        Returns:
            By a table of its own, or else from the origin of its application; None if it is not pulled.
        """
        named = self._named.get(f"{app}/{name}")
        if named is not None:
            return named
        origins = self._origins.get(app)
        if origins is None:
            return None
        urls = tuple(origin.stream(name) for origin in origins)
        return Pull(_target(app, name, self._apps[app]), urls, EDGE_IDLE_S)

    def most_streams(self, app: str) -> int:
        """How many streams an application may have at once; 0: no limit."""
        return self._apps[app].max_streams if app in self._apps else 0


def pull_faults(config: Config) -> Iterator[tuple[Location, str]]:
    """
    Find the URLs that no stream can be pulled from, and those that lead to where they are pulled to.

    Args:
        config: as far as it could be read.

    Yields:
        Keys, and what to say of each.
    """
    for path, pull in config.pulls.items():
        app, _, name = path.rpartition("/")
        for index, text in enumerate(pull.sources):
            yield from _faults_of(config, ("pulls", path, "sources", index), partial(parse_source, text), app, name)
    for app, settings in config.apps.items():
        for index, text in enumerate(settings.origin):
            read = partial(_example, text)
            yield from _faults_of(config, ("apps", app, "origin", index), read, app, _ANY_STREAM)


def _example(origin: str) -> SourceUrl:
    return Origin.parse(origin).stream(_ANY_STREAM)


def _faults_of(
    config: Config, key: Location, read: Callable[[], SourceUrl], app: str, name: str
) -> Iterator[tuple[Location, str]]:
    """Read one URL. A stream that would be pulled from itself over other servers cannot be seen here; it ends by itself."""
    try:
        place = place_of(read())
    except ValueError as error:
        yield key, f"(not shown): the URL {error}"
        return
    if place is not None and (place.app, place.name) == (app, name) and _is_here(place, config):
        yield key, f"(not shown): another server than this one, {place.host}:{place.port}, is expected"


def _is_here(place: StreamPlace, config: Config) -> bool:
    is_loopback = Address(place.host, place.port).loopback
    return any(
        listen is not None
        and place.port == listen.port
        and (place.host == listen.host or (is_loopback and (listen.loopback or listen.host in _EVERY_INTERFACE)))
        for listen in (config.rtmp.listen, config.rtmps.listen)
    )


def _named(path: str, pull: PullConfig, apps: Mapping[str, AppConfig]) -> Pull:
    app, _, name = path.rpartition("/")
    urls = tuple(map(parse_source, pull.sources))
    return Pull(_target(app, name, apps[app]), urls, pull.idle_s if pull.on_demand else None)


def _target(app: str, name: str, config: AppConfig) -> PullTarget:
    return PullTarget(app, name, config.grace_s, config.push == "auto")
