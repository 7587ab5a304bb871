"""
The exceptions of rtmpd, by who made the mistake.

A peer's mistake is a `PeerError`: it is raised below `session`, caught there once, and ends (or refuses) that
peer's session only. A wrong call by our own code is a `UsageError` and is meant to be loud. Nothing else may
leave a session.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


class RtmpdError(Exception):
    """The root of everything that rtmpd raises on purpose."""


class PeerError(RtmpdError):
    """A peer broke the protocol; its connection is closed and the reason logged."""

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        """
        Say what was wrong.

        Args:
            message: one line for the log.
            offset: bytes received from the peer before the fault, where it is known.
        """
        super().__init__(message)
        self.offset = offset


class HandshakeError(PeerError):
    """The first bytes are not RTMP's handshake."""


class ChunkError(PeerError):
    """A chunk header that no reading of RTMP 1.0 section 5.3.1 allows."""


class AmfError(PeerError):
    """AMF bytes that end early, nest too deep or exceed the element budget."""


class MessageError(PeerError):
    """A message whose body does not have the form its type demands."""


class MediaError(PeerError):
    """An audio or video body, or a codec configuration, that cannot be read."""


class LimitExceeded(PeerError):
    """A peer asked for more than a named limit allows."""


class OutOfOrder(PeerError):
    """A command that is not legal in the session's state."""


class PeerTimeout(PeerError):
    """A deadline of the session passed without what it was waiting for."""


class Refused(RtmpdError):
    """A request that is understood and not granted."""

    def __init__(self, code: str, description: str) -> None:
        """
        Refuse with a status code that clients understand.

        Args:
            code: a key of `rtmpd.wire.commands.STATUS`.
            description: non-empty text for the user; ffmpeg hangs and OBS crashes without one.
        """
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


class Overloaded(RtmpdError):
    """There is no room for more of what was asked: one line that says of what, and which limit says so."""


class Unreachable(RtmpdError):
    """A host that no connection could be made to: one line that says why, for each address that was tried."""


class NotPossible(RtmpdError):
    """An operation that cannot be done, for a reason that its caller can act on."""

    def __init__(
        self,
        kind: Literal["unknown", "conflict", "invalid", "unavailable"],
        detail: str,
        faults: Sequence[str] = (),
    ) -> None:
        """
        Say why not.

        Args:
            kind: there is no such thing; its state does not allow it; the request makes no sense; not now.
            detail: one line for the caller.
            faults: each fault, where there are several.
        """
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.faults = tuple(faults)


class UsageError(RtmpdError, RuntimeError):
    """Our own code called something in a way that it may not."""


class ConfigError(RtmpdError):
    """A configuration that cannot be used; holds every fault found, not just the first."""

    def __init__(self, faults: list[str]) -> None:
        """
        Collect the faults.

        Args:
            faults: one line each, naming key, value and expectation.
        """
        super().__init__("\n".join(faults))
        self.faults = faults


class StartError(RtmpdError):
    """The server cannot start: one line that says why (a taken port, a locked data directory)."""


class StoreError(RtmpdError):
    """The database did not do what it was asked; of that work nothing is kept."""

    def __init__(self, message: str, *, cause: str = "") -> None:
        """
        Say what went wrong.

        Args:
            message: one line.
            cause: SQLite's name of the error ("SQLITE_CONSTRAINT_UNIQUE"); empty where the refusal is ours and final.
        """
        super().__init__(message)
        self.cause = cause

    @property
    def disk_full(self) -> bool:
        """Whether room on the disk is all that was missing."""
        return self.cause in {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"}

    @property
    def passes(self) -> bool:
        """Whether waiting may help: SQLite's own refusals but for constraints; ours name a state that does not fit."""
        return bool(self.cause) and not self.cause.startswith("SQLITE_CONSTRAINT")
