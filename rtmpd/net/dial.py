"""
Connecting to a host by its name: all of its addresses, the first that answers, within one limit of time.

Addresses of the two families take turns, and a new one is tried when the last has failed or has said nothing for
`STAGGER_S`, so that a host whose IPv6 is dead costs a quarter of a second (RFC 8305 calls it happy eyeballs). asyncio has
this only inside `create_connection`, which does not give its socket away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from rtmpd.errors import Unreachable
from rtmpd.net.transport import TlsTransport, Transport, tune

STAGGER_S = 0.25
MAX_ADDRESSES = 16
"""Of one name; each that says nothing holds a socket until the end of the attempt."""
_SHOWN_FAILURES = 4


class Place(NamedTuple):
    """One address of a host."""

    family: int
    address: tuple[Any, ...]
    """As the socket module wants it for this family; the IP address comes first."""

    def __str__(self) -> str:
        """Show the IP address."""
        return str(self.address[0])


Resolver = Callable[[str, int], Awaitable[Sequence[Place]]]
"""Finds the addresses of a host and port; raises OSError or ValueError."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """A connection that was made."""

    transport: Transport
    """Connected, tuned, its TLS handshake done; nobody watches it yet. Close it when it is not wanted."""
    address: str
    """The IP address that answered."""


async def look_up(host: str, port: int) -> list[Place]:
    """
    Ask the system for the addresses of a host.

    In a thread of its own that nobody waits for: a name server may take half a minute to say nothing, and that must
    neither take a thread from others nor hold up the end of the process.

    Args:
        host: a name or an address.
        port: to be part of each place.

    Raises:
        OSError: the name is unknown, or the look-up failed.
        ValueError: no name can look like this.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Place]] = loop.create_future()

    def tell(found: list[Place] | Exception) -> None:
        if answer.done():
            return
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def ask() -> None:
        found: list[Place] | Exception
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = [Place(family, address) for family, _, _, _, address in infos]
        except Exception as error:  # noqa: BLE001 - handed over to who asked, whatever it is
            found = error
        with contextlib.suppress(RuntimeError):  # the loop has gone meanwhile
            loop.call_soon_threadsafe(tell, found)

    try:
        threading.Thread(target=ask, name=f"look-up of {host}", daemon=True).start()
    except RuntimeError as error:
        raise OSError(f"no thread to look the name up in: {error}") from error
    return await answer


async def dial(
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    timeout_s: float,
    patience_s: float,
    resolve: Resolver = look_up,
) -> Dialled:
    """
    Connect.

    Args:
        host: a name or an address; the certificate has to be for it.
        port: TCP.
        tls: speak TLS with whom it trusts; None for plain TCP.
        timeout_s: for all of it: look-up, connecting, TLS.
        patience_s: how long the connection will wait for a peer that takes nothing (see `tune`).
        resolve: finds the addresses.

    Returns:
        The connection. A dial that is cancelled leaves no socket open.

    Raises:
        Unreachable: there is none, and why.
    """
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        async with asyncio.timeout(timeout_s):
            places = await resolve(host, port)
            connection, place = await _race(interleave(places)[:MAX_ADDRESSES])
            transport = await _secure(connection, tls, host, patience_s)
    except TimeoutError:
        raise Unreachable(f"{shown}: no connection within {timeout_s:g} s") from None
    except (OSError, ValueError) as error:
        raise Unreachable(f"{shown}: {_reason(error)}") from error
    except _AllFailed as failed:
        raise Unreachable(f"{shown}: {str(failed).removeprefix(f'{host}: ')}") from failed  # an address is said once
    return Dialled(transport, str(place))


def interleave(places: Sequence[Place]) -> list[Place]:
    """
    Let the families take turns, that of the first one first.

    Args:
        places: in the order in which the system prefers them.

    Returns:
        All of them, once each.
    """
    families: dict[int, dict[Place, None]] = {}
    for place in places:
        families.setdefault(place.family, {})[place] = None
    turns = zip_longest(*families.values())
    return [place for place in chain.from_iterable(turns) if place is not None]


class _AllFailed(Exception):
    """No address could be connected to."""


async def _race(places: Sequence[Place]) -> tuple[socket.socket, Place]:
    """Return the first connection, having closed the others; raises _AllFailed."""
    waiting = list(reversed(places))
    failures: list[str] = []
    opened: list[socket.socket] = []
    winner: tuple[socket.socket, Place] | None = None
    try:
        async with asyncio.TaskGroup() as group:
            trying: set[asyncio.Task[tuple[socket.socket, Place] | str]] = set()
            while winner is None and (waiting or trying):
                if waiting:
                    trying.add(group.create_task(_connect(waiting.pop(), opened)))
                done, trying = await asyncio.wait(
                    trying, timeout=STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for outcome in (task.result() for task in done):
                    if isinstance(outcome, str):
                        failures.append(outcome)
                    else:
                        winner = winner or outcome
            for task in trying:
                task.cancel()
    finally:
        for connection in opened:
            if winner is None or connection is not winner[0]:
                connection.close()
    if winner is None:
        raise _AllFailed("; ".join(failures[:_SHOWN_FAILURES]) or "the name has no address")
    return winner


async def _connect(place: Place, opened: list[socket.socket]) -> tuple[socket.socket, Place] | str:
    """Connect to one address; a failure is a line."""
    try:
        connection = socket.socket(place.family, socket.SOCK_STREAM)
        opened.append(connection)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, place.address)
    except OSError as error:
        # Not its own text, which has the address once more.
        return f"{place}: {os.strerror(error.errno) if error.errno else _reason(error)}"
    return connection, place


async def _secure(connection: socket.socket, tls: ssl.SSLContext | None, host: str, patience_s: float) -> Transport:
    """Make a transport of a connection, which is closed if that fails."""
    try:
        tune(connection, patience_s)
        if tls is None:
            return connection
        transport = TlsTransport(connection, tls, host)
        while not transport.shake_hands():
            await _readable(connection.fileno())
    except BaseException:
        connection.close()
        raise
    return transport


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or 'the peer has left').lower().replace('_', ' ')}"
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__
