"""The end of the server for viewers of HLS, who learn of nothing by themselves: each is owed the last of what it watches."""

from __future__ import annotations

import asyncio
import contextlib

from rtmpd.live.window import Window
from rtmpd.web.hls_viewers import Viewer


class Farewell:
    """Viewers that have not been sent the newest playlist of a window, which nothing follows, and the last part in it."""

    def __init__(self) -> None:
        """Owe nobody anything."""
        self._owed: dict[Viewer, Window] = {}
        self._over = asyncio.Event()

    def owe(self, viewer: Viewer, window: Window) -> None:
        """
        Wait for a viewer, unless it has everything.

        Args:
            viewer: goes on asking.
            window: which it watches; does not change any more.
        """
        self._owed[viewer] = window
        self.look(viewer)

    def look(self, viewer: Viewer) -> None:
        """Look whether a viewer has everything now; harmless for one that is owed nothing."""
        window = self._owed.get(viewer)
        if window is None or viewer.playlist_version != window.version:
            return
        if viewer.newest_part >= window.next_part_number - 1:
            del self._owed[viewer]
            if not self._owed:
                self._over.set()

    async def wait(self, timeout_s: float) -> None:
        """
        Wait until nobody is owed anything.

        Args:
            timeout_s: at most so long: some have gone without a word.
        """
        if self._owed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._over.wait()
