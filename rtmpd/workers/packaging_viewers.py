"""Who watches a stream as fragmented MP4: those who wait for something to play, and those who play."""

from __future__ import annotations

from rtmpd.live.fragments import FragmentViewer
from rtmpd.live.log import Log


class Viewers:
    """The viewers of one stream."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._waiting: dict[FragmentViewer, None] = {}
        self._playing: dict[FragmentViewer, None] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._playing)

    def attach(self, viewer: FragmentViewer) -> None:
        """Add one that waits."""
        self._waiting[viewer] = None

    def detach(self, viewer: FragmentViewer) -> None:
        """Take one out without a word; harmless for one that was ended."""
        self._waiting.pop(viewer, None)
        self._playing.pop(viewer, None)

    def start(self, log: Log) -> None:
        """Let those who wait play a log."""
        # Taken out first, here and below: who is told may attach or detach anybody while the others are not told yet.
        while self._waiting:
            viewer, _ = self._waiting.popitem()
            self._playing[viewer] = None
            viewer.fragments_started(log)

    def end_playing(self, reason: str) -> None:
        """End those who play; those who wait go on waiting."""
        playing, self._playing = self._playing, {}
        _tell(playing, reason)

    def end(self, reason: str) -> None:
        """End everybody."""
        everybody = self._playing | self._waiting
        self._playing, self._waiting = {}, {}
        _tell(everybody, reason)


def _tell(viewers: dict[FragmentViewer, None], reason: str) -> None:
    while viewers:
        viewer, _ = viewers.popitem()
        viewer.fragments_ended(reason)
