"""Which stream a caller means: its path, or who sends it in which room."""

from __future__ import annotations

import hashlib
from collections.abc import Container
from typing import NamedTuple

from rtmpd.config import RoomsConfig
from rtmpd.control.models import Room, StreamReference
from rtmpd.errors import NotPossible


class Named(NamedTuple):
    """A stream's name."""

    app: str
    """The application; may contain slashes."""
    name: str
    """The last segment of its path."""

    @property
    def path(self) -> str:
        """As URLs and log lines have it."""
        return f"{self.app}/{self.name}"


def stream_code(bizid: str, room: str, user: str, kind: str) -> str:
    """
    Make the name under which a user's camera or screen in a room is published.

    Args:
        bizid: what all names begin with.
        room: number or name of the room.
        user: who sends.
        kind: "main" for the camera, "aux" for the screen.

    Returns:
        BIZID_MD5(room_user_kind), the MD5 in lower-case hex.
    """
    text = f"{room}_{user}_{kind}".encode(errors="surrogatepass")
    return f"{bizid}_{hashlib.md5(text, usedforsecurity=False).hexdigest()}"


def resolve(reference: StreamReference, rooms: RoomsConfig) -> Named:
    """
    Find the stream of a request.

    Args:
        reference: a path, or a room with a user.
        rooms: how streams of rooms are named.

    Returns:
        Its name, whether such a stream exists or not.
    """
    if isinstance(reference, Room):
        return Named(rooms.app, stream_code(rooms.bizid, reference.room, reference.user, reference.kind))
    return split(reference)


def absent(stream: Named, apps: Container[str]) -> NotPossible:
    """
    Say why there is nothing to push or record.

    Args:
        stream: nobody publishes it.
        apps: the applications of this server.

    Returns:
        "unknown".
    """
    if stream.app not in apps:
        return NotPossible("unknown", f"there is no application {stream.app!r} on this server")
    return NotPossible("unknown", f"nobody publishes {stream.path}")


def split(path: str) -> Named:
    """
    Take a path apart.

    Args:
        path: "application/name"; an application may contain slashes, a name cannot.
    """
    app, _, name = path.rpartition("/")
    return Named(app, name)
