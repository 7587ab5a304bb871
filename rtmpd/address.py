"""A host and a port, as a person writes them, and what limits count of a peer's IP address."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple, Self

HOST_PREFIX_BITS = 64
"""Of an IPv6 address; the others tell the hosts of one link apart (RFC 4291 section 2.5.1), and one host may use them all."""
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
"""Hosts that stand for every interface; the first for those of IPv4 and IPv6."""


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

    def overlaps(self, other: Address) -> bool:
        """
        Tell whether two servers cannot listen here and there.

        Args:
            other: the other one's; names are not looked up, so that only the same name is taken for the same place.

        Returns:
            Whether a connection could be meant for both.
        """
        everywhere = _EVERYWHERE & {self.host, other.host}
        families = {host.count(":") > 0 for host in (self.host, other.host)}
        hosts_overlap = self.host == other.host or "" in everywhere or bool(everywhere and len(families) == 1)
        return self.port == other.port and hosts_overlap

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def counted_as(address: str) -> str:
    """
    Say what a limit for each address counts: one host of IPv6 has a whole network of them.

    Args:
        address: of a peer, as its socket reports it.

    Returns:
        An IPv4 address, also of one that is written as IPv6; the network of an IPv6 address, without its zone, but for this
        machine's own; what is neither, as it is.
    """
    if ":" not in address:
        return address
    try:
        peer = plain(IPv6Address(address.partition("%")[0]))
    except ValueError:
        return address
    if isinstance(peer, IPv4Address) or peer.is_loopback:
        return str(peer)
    return str(IPv6Network((int(peer), HOST_PREFIX_BITS), strict=False))


def plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """
    Take an IPv4 address for one however it is written; `::ffff:192.0.2.1` is what a socket for both kinds reports.

    Args:
        address: of either kind.
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
