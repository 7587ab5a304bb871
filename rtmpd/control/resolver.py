"""
Host names of hooks and receivers, looked up in threads that nobody has to wait for.

A look-up cannot be stopped, and hangs for as long as the name server does. In asyncio's own threads, of which there are
few, it would hold up what else is done there, and the server's end. aiohttp asks once at a time for each host, and
hosts are named in the configuration only: that bounds how many threads there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

_FLAGS = getattr(socket, "AI_ADDRCONFIG", 0)
"""No IPv6 address where there is no IPv6."""
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

_Address: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


class Resolver(AbstractResolver):
    """Looks host names up, each in a thread of its own."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """
        Look a host name up.

        Args:
            host: its name.
            port: is passed on.
            family: of the addresses that are wanted.

        Returns:
            Its addresses.

        Raises:
            OSError: it has none, as far as can be found out.
        """
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[_Address]] = loop.create_future()

        def look_up() -> None:
            addresses: Sequence[_Address] = []
            error: Exception | None = None
            try:
                addresses = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, _FLAGS)
            except Exception as fault:  # noqa: BLE001 - whoever waits raises it
                error = fault
            with contextlib.suppress(RuntimeError):  # the loop was closed before us: nobody is left to tell
                loop.call_soon_threadsafe(_settle, found, addresses, error)

        try:
            threading.Thread(target=look_up, name="resolver", daemon=True).start()
        except RuntimeError as error:  # the system gives no more threads: that passes, and is nobody's bug
            raise OSError(str(error)) from error
        return [_result(host, port, each) for each in await found]

    async def close(self) -> None:
        """Nothing: a look-up that still runs ends by itself."""


def _settle(found: asyncio.Future[Sequence[_Address]], addresses: Sequence[_Address], error: Exception | None) -> None:
    if found.done():  # nobody waits any more
        return
    if error is None:
        found.set_result(addresses)
    else:
        found.set_exception(error)


def _result(hostname: str, port: int, address: _Address) -> ResolveResult:
    family, _, protocol, _, (host, _, *scope) = address
    zone = f"%{scope[1]}" if len(scope) > 1 and scope[1] else ""  # a link-local address means nothing without
    return ResolveResult(
        hostname=hostname, host=f"{host}{zone}", port=port, family=family, proto=protocol, flags=_NUMERIC
    )
