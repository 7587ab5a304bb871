"""Where a server under test lives."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """What a server is given for one measurement."""

    port: int
    """For RTMP, on 127.0.0.1."""
    http_port: int
    directory: Path
    """Of its own."""
    files: int
    """The limit of open files."""
