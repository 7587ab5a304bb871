"""What all recordings of a server share: where things are, who does what, and how much room the disk has."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from rtmpd.logs import Logger
from rtmpd.net.fanout import FanOut
from rtmpd.net.poller import Poller
from rtmpd.workers.ledger import Ledger
from rtmpd.workers.supervisor import Supervisor
from rtmpd.workers.workshop import Workshop

ROOM_BYTES = 16 * 1024 * 1024
"""Free space that a recording which failed on a full disk waits for; less on a disk that is itself small."""
ROOM_SHARE = 0.05


@dataclass(slots=True)
class Studio:
    """Shared by the recordings of one server."""

    directory: Path
    """Absolute; holds the recordings."""
    keep_s: float
    """How far a recording may lag behind its stream before something is lost."""
    loop: asyncio.AbstractEventLoop
    fanout: FanOut
    poller: Poller
    supervisor: Supervisor
    workshop: Workshop
    ledger: Ledger
    log: Logger
    has_room: bool = field(default=True)
    """Whether the disk was seen to have room lately; see `look_for_room`."""

    def now(self) -> float:
        """The time of day, unix seconds: what the index and callbacks are in."""
        return time.time()

    async def look_for_room(self) -> None:
        """Ask the disk how full it is; in a thread, as a disk may hang."""
        self.has_room = await asyncio.to_thread(_has_room, self.directory)


def _has_room(directory: Path) -> bool:
    try:
        disk = os.statvfs(directory)
    except OSError:  # removed: whoever opens a file makes it again
        return True
    free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    return free >= min(ROOM_BYTES, size * ROOM_SHARE)
