"""
Host names of hooks and receivers, looked up in threads that nobody has to wait for.

In asyncio's own threads, of which there are few, a look-up that hangs would hold up what else is done there, and the
server's end. aiohttp asks once at a time for each host, and hosts are named in the configuration only: that bounds how
many threads there are.
"""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from rtmpd.net.dial import Place, look_up

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Resolver(AbstractResolver):
    """Looks host names up as relays do."""

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
            Its addresses, at least one.

        Raises:
            OSError: it has none, as far as can be found out.
        """
        wanted = {socket.AF_INET, socket.AF_INET6} if family == socket.AF_UNSPEC else {family}
        places = [each for each in await look_up(host, port) if each.family in wanted]
        if not places:
            raise OSError(f"{host} has no address that can be used")
        return [_result(host, port, each) for each in places]

    async def close(self) -> None:
        """Nothing: a look-up that still runs ends by itself."""


def _result(hostname: str, port: int, place: Place) -> ResolveResult:
    host, _, *scope = place.address
    zone = f"%{scope[1]}" if len(scope) > 1 and scope[1] else ""  # a link-local address means nothing without
    return ResolveResult(
        hostname=hostname,
        host=f"{host}{zone}",
        port=port,
        family=socket.AddressFamily(place.family),
        proto=socket.IPPROTO_TCP,
        flags=_NUMERIC,
    )
