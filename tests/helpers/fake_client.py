"""A connection as those see it who look over all of them (`rtmpd.net.services.Client`), without a socket."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class FakeClient:
    """A player of live/s over RTMP that has done nothing, but for what it is given."""

    number: int = 1
    kind: str = "rtmp"
    address: str = "192.0.2.7"
    role: str = "play"
    path: str = "live/s"
    accepted_s: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    skipped_ms: int = 0
    lag_ms: int = 0
