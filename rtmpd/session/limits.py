"""
What one peer may ask of the server, and the bucket that counts it.

Every bound that a session enforces is a field here: nothing in a session grows, waits or answers without one.
The defaults follow what the clients of today send, with room to spare, and what other servers were brought down by.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from rtmpd.wire import messages

CONTROL_BODY_BYTES = 64
"""Types 1 to 6 carry 4 to 10 bytes; the longest body in use is a SWF verification answer of 44."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one session. Times are in seconds, sizes in bytes, rates per second."""

    message_bytes: int = 16 << 20
    """The longest audio, video or aggregate message. A key frame of 1 MiB is normal."""
    command_bytes: int = 64 << 10
    """The longest command, and the longest message of a type that is ignored."""
    data_bytes: int = 1 << 20
    """The longest data message (metadata with a key frame index can be large)."""
    chunk_streams: int = 64
    """Distinct chunk stream ids that a peer may use; known clients need at most 7."""
    incomplete_bytes: int = 32 << 20
    """Bytes held for messages that are not complete yet, over all chunk streams; before a publish was accepted no more
    than one command or data message may have."""
    streams_per_connection: int = 8
    """Message streams that exist at one time."""
    stray_bytes: int = 32 << 20
    """Media received while nothing may be published; it is dropped, and more than this ends the session."""
    early_bytes: int = 2 << 20
    """Media held that came between a publish and its grant, for one message stream: 2.7 s of 6 Mb/s. More is dropped."""
    output_bytes: int = 128 << 10
    """Answers that the caller has not taken: a peer that asks and never reads is let go."""

    amf_depth: int = 16
    """Nesting of AMF values (ffmpeg and GStreamer stop at 16, too); at most `rtmpd.wire.amf.DEPTH_CEILING`."""
    command_elements: int = 4_096
    """AMF values in one command, members and items included."""
    data_elements: int = 65_536
    """AMF values in one AMF3 data message, which is converted."""
    app_bytes: int = 256
    """The application's name, as UTF-8."""
    key_bytes: int = 1_024
    """The stream's name with its query, as UTF-8."""

    commands_per_s: float = 50.0
    """Commands and pings; one second's worth may come at once."""
    plays_per_s: float = 5.0
    """Plays and unpauses: each makes the server send a whole group of pictures."""
    data_bytes_per_s: float = 256 << 10
    """Data messages passed on; what is above is dropped. `data_bytes` may come at once."""
    tolerated_faults: int = 8
    """Commands that are broken or illegal where they come; one more ends the session."""

    handshake_s: float = 10.0
    """From accepting the connection to the end of the handshake."""
    connect_s: float = 10.0
    """From the handshake to a connect command."""
    command_s: float = 20.0
    """From connect, or the end of the last stream, to a publish or play."""
    publisher_idle_s: float = 20.0
    """Without a byte from a publisher: its network is gone, and its name must become free again."""
    linger_s: float = 0.5
    """From a refusal to closing: ffmpeg and librtmp read the reason, then wait to be closed."""


@dataclass(frozen=True, slots=True)
class ClientLimits(Limits):
    """The bounds of a session as a client: what one server may ask of us, and how long we wait for it."""

    answer_s: float = 35.0
    """From the answer to connect to that to publish or play. Some servers, this one too, hold a play for 30 s."""
    source_idle_s: float = 20.0
    """Without a byte from a server that we play from: its network is gone, or its publisher."""


@lru_cache(maxsize=16)
def body_limits(limits: Limits) -> tuple[int, ...]:
    """
    List the longest body of each message type.

    Args:
        limits: the session's bounds. All sessions with equal bounds share one list.

    Returns:
        256 numbers of bytes, by message type id.
    """
    table = [limits.command_bytes] * 256
    table[0:7] = [CONTROL_BODY_BYTES] * 7
    for type_id in (messages.AUDIO, messages.VIDEO, messages.AGGREGATE):
        table[type_id] = limits.message_bytes
    for type_id in (messages.DATA_AMF0, messages.DATA_AMF3):
        table[type_id] = limits.data_bytes
    return tuple(table)


class TokenBucket:
    """A rate with a burst: tokens flow in with time up to a capacity, and what costs more than is there is refused."""

    __slots__ = ("_capacity", "_level", "_rate", "_updated_s")

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        """
        Start full.

        Args:
            rate: tokens that flow in per second.
            capacity: the most that can be taken at once.
            now: the time in seconds.
        """
        self._rate = rate
        self._capacity = capacity
        self._level = capacity
        self._updated_s = now

    def take(self, amount: float, now: float) -> bool:
        """
        Take tokens if there are enough.

        Args:
            amount: tokens wanted.
            now: the time in seconds; one that goes back counts as standing still.

        Returns:
            Whether they were there. If not, none are taken.
        """
        elapsed = now - self._updated_s
        if elapsed > 0:
            self._level = min(self._capacity, self._level + elapsed * self._rate)
            self._updated_s = now
        if amount > self._level:
            return False
        self._level -= amount
        return True
