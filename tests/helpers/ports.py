"""Ports of programs that cannot choose one and say which: free when they are found, and still free a while later."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.processes import wait_until

_CONNECTIONS_FROM = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
_LISTEN = "0A"


def free_port() -> int:
    """
    Find a port of loopback that nobody listens on.

    It is none of those that the kernel gives to connections, as one that it chose itself would be: between now and the
    moment when somebody listens there, any program may connect to anything.
    """
    while True:
        port = random.randrange(10_000, _CONNECTIONS_FROM)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextlib.contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """
    Reserve ports of loopback for servers that come one after another.

    A port that was free may be taken while none of them listens: the kernel gives it to whoever connects from this machine,
    even to a client that tries to reach it, who then talks to himself. It does not give away what somebody is bound to.

    Args:
        count: of the ports.

    Returns:
        The ports, for as long as the block lasts; who listens there has to set SO_REUSEADDR.
    """
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(("127.0.0.1", 0))
        yield [each.getsockname()[1] for each in held]


def wait_until_listening(port: int) -> None:
    """Wait until somebody listens on a port of loopback: for those who take one connection, which a probe would use up."""
    wait_until(lambda: _is_listening(port), f"somebody to listen on port {port}")


def _is_listening(port: int) -> bool:
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == _LISTEN for fields in lines)
