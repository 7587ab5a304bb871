"""What the configuration says of names and URLs, shared by all operations."""

from __future__ import annotations

from dataclasses import dataclass

from rtmpd.config import RoomsConfig
from rtmpd.control.models import StreamReference
from rtmpd.control.rooms import Named, resolve
from rtmpd.control.urls import Bases


@dataclass(slots=True)
class Reach:
    """How streams are named and reached; its fields are replaced when the configuration is reloaded."""

    rooms: RoomsConfig
    bases: Bases

    def find(self, reference: StreamReference) -> Named:
        """The name of the stream that a request is about."""
        return resolve(reference, self.rooms)
