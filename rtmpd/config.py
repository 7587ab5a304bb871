"""
The configuration: TOML in, frozen models out, every fault named by key, value and expectation.

Each field carries a unit, a range and a description; the faults that a user reads and the reference that `rtmpd config`
prints are made from them, so that neither can drift from what is accepted. Secure by default: an address that others
can reach is refused until publishing needs a key, or the file says `open = true`.

A leaf: every folder may read its own section, none is imported here.
"""

from __future__ import annotations

import contextlib
import difflib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    ValidationError,
)
from pydantic.fields import FieldInfo

from rtmpd import config_words
from rtmpd.address import Address
from rtmpd.config_words import Unit, dotted, expectation, shown, tables_model, unit_of
from rtmpd.errors import ConfigError

_KIB = 1024
_MIB = 1024 * 1024

Location = tuple[int | str, ...]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _without_repeats(formats: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(formats))


def _application_name(name: object) -> str:
    """Accept what a client can write between host and stream, and a file system can hold percent-encoded."""
    if not isinstance(name, str) or not 0 < len(name.encode()) <= 256 or not name.isprintable():
        raise ValueError("not a name")
    if "?" in name or any(segment in {"", ".", ".."} for segment in name.split("/")):
        raise ValueError("not a path")
    return name


def _without_nul(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("no file system holds it")
    return path


def _relative_path(text: str) -> str:
    """Refuse what would lead out of the directory whatever the fields stand for."""
    if "\0" in text or not text or text.startswith("/") or {".", ".."} & set(text.split("/")):
        raise ValueError("not below")
    return text


ListenAddress = Annotated[
    Address, PlainValidator(Address.parse), Unit("HOST:PORT", 'an address like "127.0.0.1:1935" or "[::1]:1935"')
]
FilePath = Annotated[
    Path, Strict(strict=False), AfterValidator(_without_nul), Unit("path", "the path of a file that can be read")
]
DirectoryPath = Annotated[
    Path, Strict(strict=False), AfterValidator(_without_nul), Unit("path", "the path of a directory")
]
Seconds = Annotated[float, Unit("seconds", "a number of seconds")]
Milliseconds = Annotated[float, Unit("milliseconds", "a number of milliseconds")]
Bytes = Annotated[int, Field(ge=1), Unit("bytes", "a whole number of bytes")]
BytesOrOff = Annotated[int, Field(ge=0), Unit("bytes", "a whole number of bytes")]
BytesPerSecond = Annotated[int, Field(ge=1), Unit("bytes per second", "a whole number of bytes per second")]
Count = Annotated[int, Field(ge=1), Unit("count", "a whole number")]
PerSecond = Annotated[float, Field(gt=0), Unit("per second", "a number per second")]
Share = Annotated[float, Field(gt=0, le=1), Unit("fraction of one core", "a fraction")]
Switch = Annotated[bool, Unit("true or false", "true or false")]
Mode = Annotated[Literal["auto", "manual"], Unit("choice", "a choice")]
Key = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]
Keys = Annotated[
    tuple[Key, ...],
    Strict(strict=False),
    BeforeValidator(_as_list),
    Unit("list of keys", "a key, or a list of keys, each of 1 to 128 visible ASCII characters", secret=True),
]
Template = Annotated[str, AfterValidator(_relative_path), Unit("template", "a relative path without . or ..")]
ApplicationName = Annotated[str, BeforeValidator(_application_name)]


class Section(BaseModel):
    """What every table has in common: no unknown key, no guessed type, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class RtmpConfig(Section):
    """Plain RTMP."""

    listen: ListenAddress = Field(default=Address("127.0.0.1", 1935), description="Where plain RTMP is accepted.")


class RtmpsConfig(Section):
    """RTMP over TLS; off until `listen` is set."""

    listen: ListenAddress | None = Field(
        default=None,
        description="Where RTMPS is accepted, 443 by custom; needs cert and key.",
        examples=["127.0.0.1:1936"],
    )
    cert: FilePath | None = Field(
        default=None, description="Certificate chain, PEM; read again on SIGHUP.", examples=["cert.pem"]
    )
    key: FilePath | None = Field(default=None, description="Private key of the certificate, PEM.", examples=["key.pem"])


class DataConfig(Section):
    """What is kept on disk."""

    directory: DirectoryPath = Field(
        default=Path("./data"),
        description="Holds recordings/ and their index, rtmpd.db; made when missing, locked by the one server that uses it.",
    )


class SessionLimits(Section):
    """The bounds of one session, name by name those of `rtmpd.session.limits.Limits`."""

    message_bytes: Bytes = Field(default=16 * _MIB, description="One audio, video or aggregate message.")
    command_bytes: Bytes = Field(default=64 * _KIB, description="One command message.")
    data_bytes: Bytes = Field(default=_MIB, description="One data message (metadata).")
    chunk_streams: Count = Field(default=64, description="Distinct chunk streams.")
    incomplete_bytes: Bytes = Field(default=32 * _MIB, description="Unfinished messages of a publisher, together.")
    streams_per_connection: Count = Field(default=8, description="Message streams at one time.")
    stray_bytes: Bytes = Field(default=32 * _MIB, description="Media sent while nothing is published; it is dropped.")
    output_bytes: Bytes = Field(default=128 * _KIB, description="Answers that the peer does not read.")
    amf_depth: Count = Field(default=16, description="Nesting of AMF values.")
    command_elements: Count = Field(default=4096, description="AMF values in one command.")
    data_elements: Count = Field(default=65_536, description="AMF values in one data message.")
    app_bytes: Bytes = Field(default=256, description="An application's name.")
    key_bytes: Bytes = Field(default=1024, description="A stream's name with its query.")
    commands_per_s: PerSecond = Field(default=50, description="Commands and pings.")
    plays_per_s: PerSecond = Field(default=5, description="Plays: each sends a whole group of pictures.")
    data_bytes_per_s: BytesPerSecond = Field(
        default=256 * _KIB, description="Data messages of a publisher: each goes to every player; more is dropped."
    )
    tolerated_faults: Annotated[int, Unit("count", "a whole number")] = Field(
        default=8, ge=0, description="Commands that are broken, or illegal where they come."
    )
    handshake_s: Seconds = Field(default=10, gt=0, description="From accept to the end of the handshake.")
    connect_s: Seconds = Field(default=10, gt=0, description="From the handshake to connect.")
    command_s: Seconds = Field(default=20, gt=0, description="From connect to publish or play.")
    publisher_idle_s: Seconds = Field(
        default=20, gt=0, description="A publisher that sends nothing for so long has gone."
    )
    linger_s: Seconds = Field(default=0.5, ge=0, description="Time to read a refusal before the connection is closed.")

    def session(self) -> dict[str, Any]:
        """
        Pick what a session needs.

        Returns:
            Keyword arguments for `Limits`.
        """
        return self.model_dump(include=set(SessionLimits.model_fields))


class LimitsConfig(SessionLimits):
    """What a peer may make the server spend; past a limit its connection is closed, and the log says which."""

    connections: Annotated[int, Unit("count", "a whole number")] = Field(
        default=0, ge=0, description="Connections at once; 0: as many as the open-file limit allows."
    )
    handshaking: Count = Field(default=4096, description="Connections at once that have not finished the handshake.")
    handshaking_per_address: Count = Field(default=1024, description="The same, from one address.")


class LogConfig(Section):
    """
    The log of each live stream in memory: what late joiners start from and slow players catch up in.

    (Log lines are another thing: see `rtmpd serve --log-level`.)
    """

    gop_s: Seconds = Field(default=10, gt=0, description="Kept since the last key frame, at most.")
    gop_bytes: Bytes = Field(default=16 * _MIB, description="Kept since the last key frame, at most; per stream.")
    recorder_keep_s: Seconds = Field(default=10, ge=0, description="Kept at least while the stream is recorded.")


class FanoutConfig(Section):
    """How latency is traded for processor time when many players watch."""

    share: Share = Field(default=0.25, description="Processor time that sending may take before passes are spaced out.")
    max_delay_ms: Milliseconds = Field(default=100, ge=0, le=10_000, description="Longest pause between two passes.")
    slice_ms: Milliseconds = Field(default=5, gt=0, le=1000, description="A pass lets other work run this often.")


class PlayersConfig(Section):
    """What happens to those who watch."""

    lag: Annotated[Literal["jump", "disconnect"], Unit("choice", "a choice")] = Field(
        default="jump",
        description="A player that falls out of the log: goes on at the newest key frame, or is disconnected.",
    )
    lag_limit_s: Seconds = Field(
        default=30, gt=0, description="A player that took nothing for so long is disconnected."
    )
    wait_s: Seconds = Field(
        default=30, ge=0, description="Wait for a publisher, then StreamNotFound; 0: refused at once."
    )


class RecordingsConfig(Section):
    """
    Which closed recordings are deleted: the oldest first, never one that is being written.

    Each rule is off at 0. With `max_bytes` or `min_free_bytes` a full disk is prevented, not only survived.
    """

    max_age_s: Seconds = Field(default=0, ge=0, description="Those that ended longer ago.")
    max_bytes: BytesOrOff = Field(default=0, description="While all of them together are larger.")
    min_free_bytes: BytesOrOff = Field(default=0, description="While their disk has less room than this.")


class WorkersConfig(Section):
    """The media workers: processes that write recordings, so that no disk and no muxer can touch a live stream."""

    count: Annotated[int, Unit("count", "a whole number")] = Field(
        default=1, ge=1, le=64, description="Processes that recordings are spread over."
    )
    memory_bytes: Bytes = Field(
        default=1024 * _MIB,
        description="Of each: for its recordings (an open MP4 needs 16 MB an hour, as do M4A), and as much again for what "
        "slow disks have not taken; a recording that would exceed it is not started.",
    )
    queue_bytes: Bytes = Field(default=64 * _MIB, description="Kept of one recording while its disk is slow.")


class AppConfig(Section):
    """One application: the first part of a stream's path. Others than those configured are refused."""

    record: Mode = Field(default="manual", description="auto: every published stream is recorded; manual: none is.")
    record_formats: Annotated[
        tuple[Literal["flv", "mp4", "hls", "m4a", "mp3"], ...],
        Strict(strict=False),
        BeforeValidator(_as_list),
        AfterValidator(_without_repeats),
        Unit("list", "a list of formats"),
    ] = Field(
        default=("flv",),
        min_length=1,
        description="What a recording is written as; m4a and mp3 take the sound alone (mp3: if that is what is sent).",
    )
    record_path: Template = Field(
        default="{app}/{stream}/{date}-{time}-{id}-{sequence}.{format}",
        description="Below recordings/; names in the fields are made safe for the file system. Date and time are those of "
        "the recording's start (UTC), sequence is the number of the file in it.",
    )
    record_cut_s: Seconds = Field(
        default=1800, ge=0, description="The next file begins at the first key frame after so much media; 0: never."
    )
    record_cut_bytes: BytesOrOff = Field(default=0, description="The same by size; 0: never.")
    record_faststart: Switch = Field(
        default=False,
        description="Rewrite each closed MP4 with its index in front, for players that cannot seek in what they download.",
    )
    hls_segment_s: Seconds = Field(
        default=2, gt=0, description="Length of HLS segments; each begins at the first key frame after it."
    )
    hls_segment_type: Annotated[Literal["fmp4", "ts"], Unit("choice", "a choice")] = Field(
        default="fmp4", description="What HLS segments are; ts: for old players, H.264, HEVC, AAC, MP3 and AC-3 only."
    )
    resume_s: Seconds = Field(
        default=60,
        ge=0,
        description="After a stream's end its recording waits for so long and goes on in the same files if it comes back.",
    )
    grace_s: Seconds = Field(default=10, ge=0, description="Players stay for so long when a publisher drops.")
    takeover: Annotated[Literal["same", "always", "never"], Unit("choice", "a choice")] = Field(
        default="same",
        description="A second publisher of a name takes over: same: with the key of the first, or from its address where "
        "no key is needed; always; never.",
    )
    publish_key: Keys = Field(
        default=(), repr=False, description="Who publishes must give one of these as ?key=; empty: anyone may publish."
    )
    play_key: Keys = Field(default=(), repr=False, description="The same for who plays.")


class Config(Section):
    """Everything that an operator can set."""

    open: Switch = Field(
        default=False, description="Allow anyone who reaches an address other than loopback to publish without a key."
    )
    rtmp: RtmpConfig = RtmpConfig()
    rtmps: RtmpsConfig = RtmpsConfig()
    data: DataConfig = DataConfig()
    limits: LimitsConfig = LimitsConfig()
    log: LogConfig = LogConfig()
    fanout: FanoutConfig = FanoutConfig()
    players: PlayersConfig = PlayersConfig()
    recordings: RecordingsConfig = RecordingsConfig()
    workers: WorkersConfig = WorkersConfig()
    apps: dict[ApplicationName, AppConfig] = Field(
        default_factory=lambda: {"live": AppConfig()},
        description="One table per application, [apps.NAME]; a name with other characters than letters, digits, - and _ "
        "is quoted.",
    )


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
    rtmps = config.rtmps
    for name, path in (("cert", rtmps.cert), ("key", rtmps.key)):
        field = RtmpsConfig.model_fields[name]
        if path is None and rtmps.listen is not None and name not in at_fault:
            yield ("rtmps", name), f"not set: {expectation(field)} is expected, since rtmps.listen is set"
        elif path is not None and not path.is_file():
            yield ("rtmps", name), f"{shown(str(path))}: {expectation(field)} is expected"
    if config.open or at_fault & {"open", "publish_key"}:
        return
    keyless = [dotted(("apps", name)) for name, app in config.apps.items() if not app.publish_key]
    for section, listen in (("rtmp", config.rtmp.listen), ("rtmps", config.rtmps.listen)):
        if keyless and listen is not None and not listen.loopback:
            wanted = f"a loopback address, or a publish_key for {', '.join(keyless)}, or open = true"
            yield (section, "listen"), f"{shown(str(listen))}: {wanted} is expected"


def _fault(location: Location, kind: str, value: object) -> str:
    model, field = _resolve(location)
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        meant = unit_of(model.model_fields[close[0]]) if close else None
        return f"{_value(value, meant)}: no such key; one of {', '.join(model.model_fields)} is expected{hint}"
    if location[-1] == "[key]":
        return f"{shown(value)}: an application's name is expected: 1 to 256 bytes, no ?, no empty, . or .. segment"
    unit = None if field is None else unit_of(field)
    if field is None or unit is None:
        return f"{shown(value)}: a table is expected"
    return f"{_value(value, unit)}: {expectation(field)} is expected"


def _value(value: object, unit: Unit | None) -> str:
    return "(not shown)" if unit is not None and unit.secret else shown(value)


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
            model, field = table, None
            if table is AppConfig:
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
