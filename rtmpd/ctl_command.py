"""
What the commands of `rtmpd ctl` have in common: where the server is, how an answer is printed, how failures are told.

Exit codes: 0 it is done, 1 the server said no, 2 the command line makes no sense, 3 there is no server.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from rtmpd import config_file, logs
from rtmpd.ctl_client import Client, NoServer, ServerSaidNo
from rtmpd.errors import ConfigError
from rtmpd.web.control_socket import SOCKET_NAME, path_of

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_NO_SERVER = 3
DEFAULT_SOCKET = f"./data/{SOCKET_NAME}"
SOCKET_VARIABLE = "RTMPD_SOCKET"
_COMPLETION_S = 1.0
"""Who presses the tab key does not wait for a server that hangs."""

Socket = Annotated[
    str | None,
    typer.Option("--socket", metavar="PATH", help=f"The server's control socket (or ${SOCKET_VARIABLE})."),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The server's configuration, which says where.")
]
DataDirectory = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The server's data directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's answer as it is.")]


class Where(NamedTuple):
    """What was said about the server and the form of its answer."""

    socket: str | None = None
    config: Path | None = None
    data: Path | None = None
    as_json: bool = False

    def over(self, below: Where) -> Where:
        """
        Fill in what was said before.

        Args:
            below: counts where nothing was said here.

        Returns:
            Both together.
        """
        return Where(
            self.socket or below.socket,
            self.config or below.config,
            self.data or below.data,
            self.as_json or below.as_json,
        )

    def find(self) -> str:
        """
        Find the control socket.

        Returns:
            Its path, as it was said or configured.

        Raises:
            ConfigError: the configuration that was named cannot be used.
        """
        if self.socket is not None:
            return self.socket
        if self.config is not None:
            overrides = {} if self.data is None else {"data": {"directory": str(self.data)}}
            return str(path_of(config_file.load(self.config, overrides)))
        if self.data is not None:
            return str(self.data / SOCKET_NAME)
        return os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET


_SAID_ANYWHERE = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for name, default, annotation in (
        ("socket", None, Socket),
        ("config", None, ConfigFile),
        ("data", None, DataDirectory),
        ("as_json", False, AsJson),
    )
]


class Reply(NamedTuple):
    """What was answered, and how it is shown."""

    table: str
    """A key of `rtmpd.ctl_tables.TABLES`."""
    bodies: Iterable[bytes]
    """One answer, or one after another as they come."""
    refused: bool = False
    """Something of what was asked was not possible, which the answer says."""


Command = Callable[..., Reply]


def command(register: Callable[[Callable[..., None]], Any]) -> Callable[[Command], Command]:
    """
    Make a command of a function whose first argument is the client, with the options that can be said anywhere.

    Args:
        register: what typer has for it: `app.command("name")`, or a group's `callback`.

    Returns:
        The decorator; it leaves the function as it is.
    """

    def decorate(function: Command) -> Command:
        first, *own = inspect.signature(function, eval_str=True).parameters.values()
        context = first.replace(name="context", annotation=typer.Context)

        def run(context: typer.Context, **values: Any) -> None:
            said = Where(*(values.pop(each.name) for each in _SAID_ANYWHERE)).over(context.obj or Where())
            context.obj = said
            if context.invoked_subcommand is None:
                _answer(function, said, values)

        run.__name__, run.__doc__ = function.__name__, function.__doc__
        parameters = [context, *own, *_SAID_ANYWHERE]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect looks for first
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        register(run)
        return function

    return decorate


def _answer(function: Command, said: Where, values: Mapping[str, Any]) -> None:
    with _failures_told():
        reply = function(Client(said.find()), **values)
        for body in reply.bodies:
            if said.as_json:
                sys.stdout.write(body.decode() + "\n")
            else:
                from rtmpd.ctl_tables import show  # noqa: PLC0415 - rich, for people only

                show(reply.table, json.loads(body))
            sys.stdout.flush()
        if reply.refused:
            raise typer.Exit(EXIT_REFUSED)


@contextlib.contextmanager
def _failures_told() -> Iterator[None]:
    try:
        yield
    except ServerSaidNo as refusal:
        raise _failed(refusal.lines, EXIT_REFUSED) from None
    except NoServer as error:
        raise _failed([str(error)], EXIT_NO_SERVER) from None
    except ConfigError as error:
        raise _failed(error.faults, EXIT_USAGE) from None
    except KeyboardInterrupt:  # how one stops to follow events
        raise typer.Exit from None
    except BrokenPipeError:  # `rtmpd ctl events | head`; what is left in the buffer has no reader either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def _failed(lines: Iterable[str], code: int) -> typer.Exit:
    for line in lines:
        typer.echo(f"rtmpd: {logs.escaped(line)}", err=True)
    return typer.Exit(code)


def known(*segments: str, items: str, key: str) -> Callable[[str], list[str]]:
    """
    Complete what the server knows by now; where none is, nothing is completed.

    Args:
        segments: of the path that lists them.
        items: the list in its answer.
        key: of the value in each of its items.

    Returns:
        For typer's `autocompletion`.
    """

    def complete(incomplete: str) -> list[str]:
        try:
            answer = json.loads(Client(Where().find(), _COMPLETION_S).ask("GET", *segments))
        except (NoServer, ServerSaidNo):
            return []
        values = [str(each[key]) for each in answer[items] if each[key] is not None]
        return [value for value in values if value.startswith(incomplete) and value.isprintable()]

    return complete
