"""What was settled when a publisher was admitted: it holds for as long as this publisher holds its stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms on which a publisher was admitted."""

    is_public: bool = True
    """Whether the stream can be watched at once; otherwise it is private until a push is started."""
    record: bool | None = None
    """Whether it is recorded; None: as its application is configured."""
    record_formats: tuple[str, ...] = ()
    """What it is recorded as; empty: as its application is configured."""
    targets: tuple[str, ...] = ()
    """RTMP URLs that it is relayed to."""
    query: str = ""
    """What stood behind the question mark of the publish URL."""
    address: str = ""
    """The publisher's IP address."""
    client: int = 0
    """The number of its connection, as log lines name it."""


PLAIN = Terms()
"""Those of a server without policy: everything as it is configured."""
