"""A host and a port, as a person writes them."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple, Self


class Address(NamedTuple):
    """A host and a port to listen on."""

    host: str
    """A name or an address, IPv6 without its brackets; empty for every interface."""
    port: int
    """0 .. 65535; 0 lets the system choose."""

    @classmethod
    def parse(cls, text: object) -> Self:
        """
        Read `HOST:PORT`.

        Args:
            text: `127.0.0.1:1935`, `[::1]:1935`, `localhost:1935` or `:1935` for every interface.

        Returns:
            The address; whether the host exists is left to the listener.

        Raises:
            ValueError: not of that form.
        """
        if isinstance(text, cls):
            return text
        host, colon, port = str(text).rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not isinstance(text, str) or not colon or (":" in host and not bracketed):
            raise ValueError("not HOST:PORT")
        if not (port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
            raise ValueError("not a port")
        return cls(str(ipaddress.IPv6Address(host[1:-1])) if bracketed else host, int(port))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it; a name other than localhost is taken as reachable."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
