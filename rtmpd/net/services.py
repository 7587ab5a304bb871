"""What all connections of a server share."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Protocol

from rtmpd.errors import Refused
from rtmpd.live.registry import Registry
from rtmpd.logs import Logger
from rtmpd.net.fanout import FanOut
from rtmpd.net.policy import Journal, NoJournal, Policy
from rtmpd.net.poller import Poller
from rtmpd.net.tasks import Tasks
from rtmpd.net.turnover import Connections
from rtmpd.session.limits import Limits

RECEIVE_BUFFER_BYTES = 64 * 1024
"""Taken from one connection at a time: the smallest messages then hold the others up for 25 ms, not for 100."""


client_numbers = itertools.count(1)
"""Of clients of every kind, in the order in which they come."""


class Client(Protocol):
    """A connection, as those who look over all of them see it."""

    number: int
    """As log lines name it."""
    kind: str
    """What it speaks: "rtmp", "rtmps", "http-flv", "ws-flv", "mp4" or "hls"."""
    address: str
    """The peer's IP address."""
    role: str
    """"publish", "play" or "-" as long as it has asked for neither."""
    path: str
    """The stream that it asked for, "app/name"; "-" before."""
    accepted_s: float
    """Seconds of the loop's clock."""

    @property
    def bytes_in(self) -> int:
        """Received from it."""

    @property
    def bytes_out(self) -> int:
        """Taken by its socket."""

    @property
    def skipped_ms(self) -> int:
        """Media time that it was too slow for."""

    @property
    def lag_ms(self) -> int:
        """Media time between the newest frame of its stream and what it is being sent; 0 for who does not play."""

    def send_away(self, refused: Refused, tc_url: str | None) -> bool:
        """
        Ask the peer to go on elsewhere, if it is connected and can; refuse it if it is not connected yet.

        Args:
            refused: what a connect is answered with; its description is also what the request gives as the reason.
            tc_url: as for `ServerSession.request_reconnect`.

        Returns:
            Whether it was asked.
        """

    def evict(self, reason: str) -> None:
        """End the session for a reason that is not the peer's."""


@dataclass(slots=True)
class Services:
    """What all connections of a server share."""

    loop: asyncio.AbstractEventLoop
    poller: Poller
    fanout: FanOut
    registry: Registry
    policy: Policy
    limits: Limits
    wait_s: float
    """How long a player waits for a publisher; 0 refuses at once."""
    lag_limit_s: float
    """How long a client's full socket may take nothing before it is given up."""
    may_jump: bool
    """A player that falls out of the log goes on at a key frame, rather than be disconnected."""
    tasks: Tasks
    log: Logger
    journal: Journal = field(default_factory=NoJournal)
    connections: Connections = field(default_factory=Connections)
    visitors: int = 0
    """How many of the connections are none: viewers of HLS, who come and ask from time to time."""
    connect_refusal: Refused | None = None
    """What clients that connect from now on are told; None: they are welcome."""
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(RECEIVE_BUFFER_BYTES)))
    """Received into by all connections in turn; a session copies what it keeps."""

    @property
    def sockets(self) -> int:
        """How many clients have a connection of their own."""
        return len(self.connections) - self.visitors

    def tell_closed(self, client: Client, reason: str, /, **who: object) -> None:
        """
        Write the one line that every client ends with.

        Args:
            client: that has gone.
            reason: why, in one line.
            who: it was.
        """
        self.log.info(
            "closed",
            **who,
            reason=reason,
            bytes_in=client.bytes_in,
            bytes_out=client.bytes_out,
            skipped_ms=client.skipped_ms,
            seconds=round(self.loop.time() - client.accepted_s, 3),
        )
