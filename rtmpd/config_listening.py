"""
Where the server listens, by the configuration, and how others reach it.

A leaf; `rtmpd.config` has these among its tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from rtmpd.address import Address
from rtmpd.config_types import (
    Bytes,
    Count,
    FilePath,
    HttpUrl,
    Keys,
    ListenAddress,
    Origins,
    RtmpUrl,
    Section,
    SocketPath,
)

_KIB = 1024


class Certificate(NamedTuple):
    """Two PEM files."""

    cert: Path
    """The chain."""
    key: Path


class RtmpConfig(Section):
    """Plain RTMP."""

    listen: ListenAddress = Field(default=Address("127.0.0.1", 1935), description="Where plain RTMP is accepted.")


class RtmpsConfig(Section):
    """RTMP over TLS; off until `listen` is set."""

    listen: ListenAddress | None = Field(
        default=None,
        description="Where RTMPS is accepted, 443 by custom; needs cert and key.",
        examples=["127.0.0.1:1936"],
    )
    cert: FilePath | None = Field(
        default=None, description="Certificate chain, PEM; read again on SIGHUP.", examples=["cert.pem"]
    )
    key: FilePath | None = Field(default=None, description="Private key of the certificate, PEM.", examples=["key.pem"])

    @property
    def certificate(self) -> Certificate | None:
        """What it shows of itself, where both files are named."""
        return _certificate(self.cert, self.key)


class HttpsConfig(Section):
    """HTTP over TLS: the same as over HTTP; off until `listen` is set."""

    listen: ListenAddress | None = Field(
        default=None, description="Where HTTPS is accepted; needs cert and key.", examples=["127.0.0.1:8443"]
    )
    cert: FilePath | None = Field(
        default=None,
        description="Certificate chain, PEM; read again on SIGHUP. By default that of rtmps.",
        examples=["cert.pem"],
    )
    key: FilePath | None = Field(default=None, description="Private key of the certificate, PEM.", examples=["key.pem"])

    @property
    def certificate(self) -> Certificate | None:
        """What it shows of itself, where both files are named."""
        return _certificate(self.cert, self.key)


def _certificate(cert: Path | None, key: Path | None) -> Certificate | None:
    return None if cert is None or key is None else Certificate(cert, key)


class HttpConfig(Section):
    """Console, control API and live outputs over HTTP; who reaches the API without a token can do everything."""

    listen: ListenAddress = Field(default=Address("127.0.0.1", 8080), description="Where HTTP is accepted.")
    token: Keys = Field(
        default=(),
        repr=False,
        description="Who uses the API must send one of these as Authorization: Bearer TOKEN; empty: nobody needs one, which "
        "only a loopback address allows.",
    )
    connections: Count = Field(
        default=4096,
        description="Connections at once that ask for something, players of HLS among them; those that play FLV and MP4 are "
        "counted by limits.connections.",
    )
    body_bytes: Bytes = Field(default=64 * _KIB, description="The body of one request.")
    event_streams: Count = Field(default=64, description="Clients that follow /api/v1/events at once.")
    media_origins: Origins = Field(
        default=("*",),
        description="Sites whose pages may show live outputs and recordings (CORS); *: every site. Pages of this server "
        "always may.",
        examples=[["https://www.example.com"]],
    )


class ControlConfig(Section):
    """The control socket: the same API for programs on this machine, without a token."""

    socket: SocketPath | None = Field(
        default=None,
        description="A Unix socket that only this user can open; by default rtmpd.sock in the data directory.",
        examples=["/run/rtmpd/rtmpd.sock"],
    )


class UrlsConfig(Section):
    """How others reach this server: what URLs in answers and callbacks begin with."""

    rtmp: RtmpUrl | None = Field(
        default=None,
        description="Before /application/stream; by default the address that RTMP is accepted on.",
        examples=["rtmp://live.example.com"],
    )
    http: HttpUrl | None = Field(
        default=None,
        description="The same for HTTP.",
        examples=["https://live.example.com"],
    )
