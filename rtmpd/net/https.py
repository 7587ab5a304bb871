"""The address of HTTPS: its sockets, its certificate, and how that is renewed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from rtmpd.config import Config
from rtmpd.net.acceptor import Admission
from rtmpd.net.certificates import load_certificate, renewed
from rtmpd.net.listener import listen
from rtmpd.net.services import Services
from rtmpd.net.tls_listener import TlsListener


class Https:
    """HTTPS of one server, if its configuration has that."""

    def __init__(self, config: Config) -> None:
        """
        Take the address; nobody is answered yet.

        Args:
            config: its https, and its rtmps for the certificate.

        Raises:
            StartError: the address is taken, or the certificate cannot be used.
        """
        self.address: str | None = None
        """HOST:PORT, with the port that the system chose; None where there is no HTTPS."""
        self._context: ssl.SSLContext | None = None
        self._sockets: list[socket.socket] = []
        self._listeners: list[TlsListener] = []
        address, pair = config.https.listen, config.https_certificate
        if address is not None and pair is not None:
            self._context = load_certificate(pair)
            self._sockets = listen(address.host, address.port)
            self.address = str(address._replace(port=self._sockets[0].getsockname()[1]))

    def open(self, services: Services, admission: Admission, make: Callable[[], asyncio.Protocol]) -> None:
        """
        Begin to answer.

        Args:
            services: of the server.
            admission: limits on connections in their handshake.
            make: makes the protocol of a connection.
        """
        if self._context is not None:
            self._listeners = [TlsListener(services, each, admission, self._context, make) for each in self._sockets]

    def check(self, config: Config) -> None:
        """
        See that another configuration can be used.

        Args:
            config: as at first.

        Raises:
            StartError: its certificate cannot.
        """
        renewed(self._context, config.https_certificate)

    def reload(self, config: Config) -> None:
        """
        Show the certificate as it is now; connections that are there stay as they are.

        Args:
            config: was checked.
        """
        if self._context is not None and config.https_certificate is not None:
            self._context.load_cert_chain(*config.https_certificate)

    def close(self) -> None:
        """Answer nobody any more; harmless when called again."""
        for listener in self._listeners:
            listener.close()
        for each in self._sockets:
            each.close()
