"""
Publishing as fast as everybody takes it, and no faster.

A log keeps the group of pictures before the newest one, and who is farther behind goes on at a key frame. At eight times
real time that is a quarter of a second: where each packet has to arrive, whoever stands still has to hold up who publishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from rtmpd.wire.flv import FlvTag
from tests.helpers.media import is_key_frame
from tests.helpers.processes import wait_until
from tests.helpers.server import Server


def in_step(server: Server, tags: Iterable[FlvTag], *, ready: Callable[[], object] = lambda: None) -> Iterator[FlvTag]:
    """
    Give each group of pictures when all that the server sends to others has been sent up to the one before.

    Args:
        server: the tags are published to.
        tags: of a file.
        ready: returns when everybody is there who is to have all of it; it is called once, before the first tag.
    """
    ready()
    for tag in tags:
        if is_key_frame(tag):
            wait_until(lambda: not _is_behind(server), "who takes from the server to have all")
        yield tag


def _is_behind(server: Server) -> bool:
    taking = [*server.api.get("relays").body["relays"], *server.api.get("clients").body["clients"]]
    return any(each["lag_ms"] for each in taking)
