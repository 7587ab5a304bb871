"""
Reading a configuration: TOML in, frozen tables out, every fault named by key, value and expectation.

Secure by default: an address that others can reach is refused until publishing needs a key, or the file says
`open = true`, and until the API needs a token.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from rtmpd import config_words
from rtmpd.config import AppConfig, Config, HttpsConfig, PlayersConfig, RtmpsConfig
from rtmpd.config_types import RESERVED
from rtmpd.config_words import Unit, dotted, expectation, shown, tables_model, unit_of
from rtmpd.errors import ConfigError

Location = tuple[int | str, ...]

_NAMES = {
    "apps": "an application's name is expected: 1 to 256 bytes, no ?, no empty, . or .. segment, and the first of them "
    f"not {' or '.join(sorted(RESERVED))}, which is something else over HTTP",
    "pulls": "a stream's path is expected: APPLICATION/STREAM, 3 to 256 bytes, no ?, no empty, . or .. segment",
}
"""What the keys of tables of tables have to be."""
_GUARDS = ("publish_key", "publish_secret", "on_publish")
"""Keys of an application, any of which keeps strangers from publishing (see `_is_guarded`)."""
Check = Callable[[Config], Iterable[tuple[Location, str]]]
"""Finds faults that only another part of rtmpd can see: yields keys, and what to say of each."""


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None, checks: Sequence[Check] = ()) -> Config:
    """
    Read a configuration file and check all of it.

    Args:
        path: a TOML file; none for the defaults.
        overrides: tables laid over the file's, as the command line gives them: `{"rtmp": {"listen": "…"}}`.
        checks: further checks of what could be read.

    Returns:
        The configuration, safe to start with.

    Raises:
        ConfigError: with every fault that was found.
    """
    return validate(_overlaid({} if path is None else _read(path), overrides or {}), checks)


def validate(document: Mapping[str, Any], checks: Sequence[Check] = ()) -> Config:
    """
    Check a configuration that is already a tree of tables.

    Args:
        document: as `tomllib` reads it.
        checks: further checks of what could be read.

    Returns:
        The configuration, safe to start with.

    Raises:
        ConfigError: with every fault that was found.
    """
    faults: list[tuple[Location, str]] = []
    config = None
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        found = error.errors()
        # pydantic calls a list too short, too, when none of its items was right: the items say it.
        inner = {each["loc"][:-1] for each in found if isinstance(each["loc"][-1], int)}
        faults += [
            (each["loc"], _fault(each["loc"], each["type"], each["input"]))
            for each in found
            if each["loc"] not in inner
        ]
        # What several keys say together is checked too, as far as the rest can be read, so that one run tells all.
        with contextlib.suppress(ValidationError):
            config = Config.model_validate(_without(document, [location for location, _ in faults]))
    if config is not None:
        at_fault = {part for location, _ in faults for part in location}
        faults += _faults_between_keys(config, at_fault)
        faults += [fault for check in checks for fault in check(config)]
    if config is None or faults:
        raise ConfigError([f"{dotted(location)}: {text}" for location, text in faults])
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}: a file that can be read is expected"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: {error}: valid TOML is expected"]) from error


def _overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _overlaid(under, value) if isinstance(under, dict) and isinstance(value, Mapping) else value
    return merged


def _without(document: Mapping[str, Any], locations: Sequence[Location]) -> dict[str, Any]:
    """Copy the tables, leaving out the keys at fault (a faulty item of a list takes the whole list with it)."""
    kept: dict[str, Any] = {}
    for key, value in document.items():
        below = [location[1:] for location in locations if location[0] == key]
        if isinstance(value, Mapping) and () not in below and ("[key]",) not in below:
            kept[key] = _without(value, below)
        elif not below:
            kept[key] = value
    return kept


def _faults_between_keys(config: Config, at_fault: set[int | str]) -> Iterator[tuple[Location, str]]:
    """Find what is wrong only in view of other keys; `at_fault` are names that were already complained about."""
    yield from _faults_of_certificates(config, at_fault)
    for section, address in (("http", config.http.listen), ("https", config.https.listen)):
        if address is not None and not address.loopback and not config.http.token and "token" not in at_fault:
            wanted = "a loopback address, or an http.token for the API"
            yield (section, "listen"), f"{shown(str(address))}: {wanted} is expected"
    yield from _faults_of_addresses(config)
    yield from _faults_of_pulls(config)
    if config.open or at_fault & {"open", *_GUARDS}:
        return
    keyless = [dotted(("apps", name)) for name, app in config.apps.items() if not _is_guarded(app)]
    for section, listen in (("rtmp", config.rtmp.listen), ("rtmps", config.rtmps.listen)):
        if keyless and listen is not None and not listen.loopback:
            wanted = f"a loopback address, or a publish_key for {', '.join(keyless)}, or open = true"
            yield (section, "listen"), f"{shown(str(listen))}: {wanted} is expected"


def _faults_of_addresses(config: Config) -> Iterator[tuple[Location, str]]:
    """Find listeners that would take the same port; 0 is another one each time."""
    addresses = (
        ("rtmp", config.rtmp.listen),
        ("rtmps", config.rtmps.listen),
        ("http", config.http.listen),
        ("https", config.https.listen),
    )
    listeners = [(section, address) for section, address in addresses if address is not None and address.port]
    for (earlier, theirs), (section, ours) in itertools.combinations(listeners, 2):
        if ours.overlaps(theirs):
            yield (section, "listen"), f"{shown(str(ours))}: another port than that of {earlier}.listen is expected"


def _faults_of_certificates(config: Config, at_fault: set[int | str]) -> Iterator[tuple[Location, str]]:
    """Find missing files; HTTPS shows what RTMPS shows where it has none of its own."""
    https = config.https
    shares = https.cert is None and https.key is None and config.rtmps.certificate is not None
    tables: tuple[tuple[str, RtmpsConfig | HttpsConfig, bool], ...] = (
        ("rtmps", config.rtmps, config.rtmps.listen is not None),
        ("https", https, https.listen is not None and not shares),
    )
    for section, table, is_needed in tables:
        for name, path in (("cert", table.cert), ("key", table.key)):
            wanted = f"{expectation(type(table).model_fields[name])} is expected"
            if path is None and is_needed and name not in at_fault:
                yield (section, name), f"not set: {wanted}, since {section}.listen is set"
            elif path is not None and not path.is_file():
                yield (section, name), f"{shown(str(path))}: {wanted}"


def _faults_of_pulls(config: Config) -> Iterator[tuple[Location, str]]:
    on_demand: list[Location] = [("apps", name, "origin") for name, app in config.apps.items() if app.origin]
    for path, pull in config.pulls.items():
        app = path.rpartition("/")[0]
        if app not in config.apps:
            yield ("pulls", path), f"a table [{dotted(('apps', app))}] is expected, for the application of this stream"
        if pull.on_demand:
            on_demand.append(("pulls", path, "on_demand"))
    if on_demand and not config.players.wait_s:
        field = PlayersConfig.model_fields["wait_s"]
        wanted = f"{expectation(field).replace('>=', '>')} is expected, since {dotted(on_demand[0])} is set"
        yield ("players", "wait_s"), f"{shown(config.players.wait_s)}: {wanted}"


def _is_guarded(app: AppConfig) -> bool:
    """Whether strangers cannot publish, also while the application's hook is down."""
    return bool(
        app.origin or app.publish_key or app.publish_secret or (app.on_publish and app.hook_failure == "refuse")
    )


def _fault(location: Location, kind: str, value: object) -> str:
    model, field = _resolve(location)
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        meant = unit_of(model.model_fields[close[0]]) if close else None
        return f"{_value(value, meant)}: no such key; one of {', '.join(model.model_fields)} is expected{hint}"
    if location[-1] == "[key]":
        return f"{shown(value)}: {_NAMES[str(location[0])]}"
    unit = None if field is None else unit_of(field)
    if field is None or unit is None:
        return f"{_value(value, None)}: a table is expected"
    if kind == "missing":
        return f"not set: {expectation(field)} is expected"
    return f"{_value(value, unit)}: {expectation(field)} is expected"


def _value(value: object, unit: Unit | None) -> str:
    """Write a value, but for one that may be a key, or hold one: a table in the wrong place has its keys with it."""
    is_hidden = unit.secret or _holds_a_table(value) if unit is not None else _holds_text(value)
    return "(not shown)" if is_hidden else shown(value)


def _holds_a_table(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(map(_holds_a_table, value)))


def _holds_text(value: object) -> bool:
    return isinstance(value, str | list | Mapping) and bool(value)


def _resolve(location: Location) -> tuple[type[BaseModel], FieldInfo | None]:
    """Find the table that a location lies in, and the field of it, if it is one."""
    model: type[BaseModel] = Config
    field: FieldInfo | None = None
    parts = iter([part for part in location if isinstance(part, str)])
    for part in parts:
        field = model.model_fields.get(part)
        if field is None:
            break
        table = tables_model(field)
        if table is not None:
            is_table_of_tables = field.annotation is not table
            model, field = table, None
            if is_table_of_tables:
                next(parts, None)
    return model, field


def reference() -> str:
    """
    Write the default configuration as TOML, each key with its description and unit.

    Returns:
        A file that loads back to the defaults; a key without a default stands in a comment, with an example.
    """
    heading = "The configuration of rtmpd with its defaults; a file needs only the keys that it changes."
    return config_words.reference(Config, heading, "live")
