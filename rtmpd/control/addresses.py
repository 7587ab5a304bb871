"""What addresses say of a peer: whether it may publish or play, and whether it is on this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from rtmpd.address import plain

Network = IPv4Network | IPv6Network
_MAPPED = IPv6Network("::ffff:0:0/96")


def is_admitted(address: str, allow: Sequence[Network], deny: Sequence[Network]) -> bool:
    """
    Look an address up in the lists.

    An IPv4 address counts as one however it is written (`::ffff:192.0.2.1` is what a socket for both kinds reports), in
    the lists as well. An IPv6 address may have a scope.

    Args:
        address: of a peer, as its socket reports it.
        allow: if there are any, only these are admitted.
        deny: these are not, whatever `allow` says.

    Returns:
        Whether it is admitted; what is no IP address is, only where there are no lists.
    """
    if not allow and not deny:
        return True
    try:
        peer = plain(ipaddress.ip_address(address))
    except ValueError:
        return False
    if any(peer in _plain_network(each) for each in deny):
        return False
    return not allow or any(peer in _plain_network(each) for each in allow)


def is_this_machine(address: str) -> bool:
    """
    Say whether a peer is a program of this machine, which may be a proxy for others.

    Args:
        address: as its socket reports it, or as limits count it; empty for the control socket.
    """
    try:
        return not address or plain(ipaddress.ip_address(address)).is_loopback
    except ValueError:
        return False


def _plain_network(network: Network) -> Network:
    if isinstance(network, IPv4Network) or not network.subnet_of(_MAPPED):
        return network
    return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - _MAPPED.prefixlen))
