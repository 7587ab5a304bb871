"""
The command line: what a person types, checked, and handed to the server.

Errors are lines on standard error: exit code 2 for a configuration (or an option) that is wrong, 1 for a server that
cannot start. What a command does not need is not imported: `serve` runs without PyAV and rich.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rtmpd import config_file, ctl, logs
from rtmpd.address import Address
from rtmpd.config import Config
from rtmpd.config_file import Location
from rtmpd.config_words import shown
from rtmpd.control.pull_plan import pull_faults
from rtmpd.errors import ConfigError, StartError
from rtmpd.workers.naming import PathTemplate

EXIT_START = 1
EXIT_CONFIGURATION = 2
_KEYS_OF_OPTIONS = {"rtmp": "listen", "http": "listen", "control": "socket", "data": "directory"}
"""Each option has the name of a table; this is the key in it."""

# Without rich: it would be imported for every --help and every mistyped option.
app = typer.Typer(
    name="rtmpd",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(ctl.app, name="ctl")

callbacks_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Callbacks, for those who receive them.")
app.add_typer(callbacks_app, name="callbacks")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Configuration, TOML (see `rtmpd config`).")
]
RtmpOption = Annotated[
    str | None, typer.Option("--rtmp", metavar="HOST:PORT", help="Where RTMP is accepted, instead of rtmp.listen.")
]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="Where recordings land, instead of data.directory.")
]
HttpOption = Annotated[
    str | None, typer.Option("--http", metavar="HOST:PORT", help="Where HTTP is accepted, instead of http.listen.")
]
ControlOption = Annotated[
    str | None, typer.Option("--control", metavar="PATH", help="The control socket, instead of control.socket.")
]
LogLevelOption = Annotated[
    Literal["debug", "info", "warning", "error"] | None, typer.Option("--log-level", help="The least that is logged.")
]


def main() -> None:
    """Run what the command line says; the console script."""
    app(prog_name="rtmpd")


def _print_version(asked: bool) -> None:  # noqa: FBT001 - the signature that typer calls
    if asked:
        typer.echo(f"rtmpd {_version()}")
        raise typer.Exit


@app.callback()
def root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Serve live streams: encoders push to it, players pull from it, and it records what passes."""


@app.command()
def serve(
    config: ConfigOption = None,
    rtmp: RtmpOption = None,
    http: HttpOption = None,
    control: ControlOption = None,
    data: DataOption = None,
    log_level: LogLevelOption = None,
) -> None:
    """
    Serve until Ctrl-C or SIGTERM.

    SIGHUP reads the configuration again.
    """
    _run(config, _overrides(rtmp=rtmp, http=http, control=control, data=data), log_level, demo=False)


@app.command()
def demo(
    config: ConfigOption = None,
    rtmp: RtmpOption = None,
    http: HttpOption = None,
    control: ControlOption = None,
    data: DataOption = None,
    log_level: LogLevelOption = None,
) -> None:
    """Serve, with a test stream live/demo made on the spot."""
    _run(config, _overrides(rtmp=rtmp, http=http, control=control, data=data), log_level, demo=True)


@app.command()
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="A configuration, TOML.")]) -> None:
    """Say what is wrong in a configuration, every fault with its key."""
    with _faults_told():
        config_file.load(file, checks=(*_CHECKS, _certificate_faults))
    typer.echo(f"{file}: nothing wrong")


@app.command()
def repair(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Recordings, or folders of them.")],
) -> None:
    """
    Make interrupted recordings whole.

    The server does it by itself at its start. What is whole stays as it is.
    """
    from rtmpd.repairs import repair_all  # noqa: PLC0415 - PyAV and rich, for those who need them

    raise typer.Exit(repair_all(paths))


@callbacks_app.command(name="listen")
def listen_for_callbacks(
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen.")] = "127.0.0.1:8090",
    key: Annotated[str, typer.Option("--key", metavar="KEY", help="Check signatures, with callbacks.key.")] = "",
    fail: Annotated[int, typer.Option("--fail", metavar="N", min=0, help="Answer 500 to the first N requests.")] = 0,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print each body as a line of JSON.")] = False,
) -> None:
    """
    Receive callbacks and print them, until Ctrl-C.

    To try out what a server sends.
    """
    from rtmpd import callback_receiver  # noqa: PLC0415 - aiohttp, for those who need it

    try:
        address = Address.parse(listen)
    except ValueError as error:
        raise typer.BadParameter(f"{shown(listen)}: HOST:PORT is expected: {error}", param_hint="--listen") from None
    with _faults_told():
        callback_receiver.listen(address.host, address.port, key=key, fail=fail, as_json=as_json)


@app.command(name="config")
def print_reference() -> None:
    """Print the default configuration, with every key and its unit."""
    typer.echo(config_file.reference(), nl=False)


def _run(path: Path | None, overrides: dict[str, Any], log_level: str | None, *, demo: bool) -> None:
    logs.configure(log_level)
    load = functools.partial(config_file.load, path, overrides, _CHECKS)
    with _faults_told():
        config = load()
        if demo and "live" not in config.apps:
            raise ConfigError(['apps: an application "live" is expected: the demo publishes to live/demo'])
        # Late: the commands that only look at a configuration do not wait for the server's imports.
        from rtmpd import server  # noqa: PLC0415

        server.run(config, demo=demo, reload=load)


def _overrides(**options: str | None) -> dict[str, Any]:
    return {table: {_KEYS_OF_OPTIONS[table]: value} for table, value in options.items() if value is not None}


def _template_faults(config: Config) -> Iterator[tuple[Location, str]]:
    for name, application in config.apps.items():
        try:
            PathTemplate(application.record_path)
        except ValueError as error:
            yield (
                ("apps", name, "record_path"),
                f"{shown(application.record_path)}: a path template is expected: {error}",
            )


def _target_faults(config: Config) -> Iterable[tuple[Location, str]]:
    from rtmpd.control import relay_targets  # noqa: PLC0415 - the API's models, which only the server needs otherwise

    return relay_targets.faults(config) if any(each.push_targets for each in config.apps.values()) else ()


def _certificate_faults(config: Config) -> Iterator[tuple[Location, str]]:
    """Read what listeners with TLS would; a server does it when it starts, or is told to read them again."""
    from rtmpd.net.certificates import load_certificate  # noqa: PLC0415 - TLS, for those who have it

    for section, table in (("rtmps", config.rtmps), ("https", config.https)):
        pair = table.certificate
        if pair is None or not all(path.is_file() for path in pair):
            continue  # the faults that every command finds
        try:
            load_certificate(pair)
        except StartError as error:
            yield (section, "cert"), f"{shown(str(pair.cert))}: a certificate with its key is expected: {error}"


_CHECKS = (_template_faults, _target_faults, pull_faults)
"""Of a configuration: what only other parts of rtmpd can see."""


@contextlib.contextmanager
def _faults_told() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        for fault in error.faults:
            typer.echo(f"rtmpd: {logs.escaped(fault)}", err=True)
        raise typer.Exit(EXIT_CONFIGURATION) from None
    except StartError as error:
        typer.echo(f"rtmpd: {logs.escaped(str(error))}", err=True)
        raise typer.Exit(EXIT_START) from None


def _version() -> str:
    try:
        return importlib.metadata.version("rtmpd")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
