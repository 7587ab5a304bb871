"""
The limits of the configuration: what a peer may make the server spend.

A leaf; `rtmpd.config` has it as one of its tables.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from rtmpd.config_types import Bytes, BytesPerSecond, Count, PerSecond, Seconds, Section
from rtmpd.config_words import Unit

_KIB = 1024
_MIB = 1024 * 1024


class SessionLimits(Section):
    """The bounds of one session, name by name those of `rtmpd.session.limits.Limits`."""

    message_bytes: Bytes = Field(default=16 * _MIB, description="One audio, video or aggregate message.")
    command_bytes: Bytes = Field(default=64 * _KIB, description="One command message.")
    data_bytes: Bytes = Field(default=_MIB, description="One data message (metadata).")
    chunk_streams: Count = Field(default=64, description="Distinct chunk streams.")
    incomplete_bytes: Bytes = Field(default=32 * _MIB, description="Unfinished messages of a publisher, together.")
    streams_per_connection: Count = Field(default=8, description="Message streams at one time.")
    stray_bytes: Bytes = Field(default=32 * _MIB, description="Media sent while nothing is published; it is dropped.")
    early_bytes: Bytes = Field(
        default=2 * _MIB, description="Media kept that come before their publish is granted; more is dropped."
    )
    output_bytes: Bytes = Field(default=128 * _KIB, description="Answers that the peer does not read.")
    amf_depth: Count = Field(default=16, description="Nesting of AMF values.")
    command_elements: Count = Field(default=4096, description="AMF values in one command.")
    data_elements: Count = Field(default=65_536, description="AMF values in one data message.")
    app_bytes: Bytes = Field(default=256, description="An application's name.")
    key_bytes: Bytes = Field(default=1024, description="A stream's name with its query.")
    commands_per_s: PerSecond = Field(default=50, description="Commands and pings.")
    plays_per_s: PerSecond = Field(default=5, description="Plays: each sends a whole group of pictures.")
    data_bytes_per_s: BytesPerSecond = Field(
        default=256 * _KIB, description="Data messages of a publisher: each goes to every player; more is dropped."
    )
    tolerated_faults: Annotated[int, Unit("count", "a whole number")] = Field(
        default=8, ge=0, description="Commands that are broken, or illegal where they come."
    )
    handshake_s: Seconds = Field(default=10, gt=0, description="From accept to the end of the handshake.")
    connect_s: Seconds = Field(default=10, gt=0, description="From the handshake to connect.")
    command_s: Seconds = Field(default=20, gt=0, description="From connect to publish or play.")
    publisher_idle_s: Seconds = Field(
        default=20, gt=0, description="A publisher that sends nothing for so long has gone."
    )
    linger_s: Seconds = Field(default=0.5, ge=0, description="Time to read a refusal before the connection is closed.")

    def session(self) -> dict[str, Any]:
        """
        Pick what a session needs.

        Returns:
            Keyword arguments for `Limits`.
        """
        return self.model_dump(include=set(SessionLimits.model_fields))


class LimitsConfig(SessionLimits):
    """What a peer may make the server spend; past a limit its connection is closed, and the log says which."""

    connections: Annotated[int, Unit("count", "a whole number")] = Field(
        default=0, ge=0, description="Connections at once; 0: as many as the open-file limit allows."
    )
    handshaking: Count = Field(default=4096, description="Connections at once that have not finished the handshake.")
    handshaking_per_address: Count = Field(
        default=1024, description="The same, from one address; of IPv6, from one /64."
    )
