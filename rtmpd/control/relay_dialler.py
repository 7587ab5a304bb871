"""How relays connect: all addresses of a name, TLS with whom the system trusts, within one limit of time."""

from __future__ import annotations

import asyncio
import ssl

from rtmpd.net.dial import Dialled, dial
from rtmpd.session.urls import RtmpUrl

CONNECT_S = 10.0
"""For look-up, connecting and TLS together."""


class RelayDialler:
    """Connects to other servers."""

    def __init__(self, patience_s: float) -> None:
        """
        Prepare.

        Args:
            patience_s: how long a connection will wait for a peer that takes nothing.
        """
        self._patience_s = patience_s
        self._tls: ssl.SSLContext | None = None

    async def dial(self, url: RtmpUrl) -> Dialled:
        """
        Connect.

        Args:
            url: where to.

        Returns:
            The connection.

        Raises:
            Unreachable: there is none, and why.
        """
        tls = await self._trusted() if url.secure else None
        return await dial(url.host, url.port, tls=tls, timeout_s=CONNECT_S, patience_s=self._patience_s)

    async def _trusted(self) -> ssl.SSLContext:
        """Whom the system trusts; read when it is first needed, in a thread, as it is a whole file of certificates."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls
