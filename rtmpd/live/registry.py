"""
Every stream of the server by its name, and who may publish it.

Pure: the caller says what time it is and carries out what is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Protocol

from rtmpd.errors import Refused
from rtmpd.live.log import Retention
from rtmpd.live.stream import Member, Publication, Stream, StreamState
from rtmpd.live.terms import PLAIN, Terms


class Takeover(Enum):
    """What happens when a second publisher comes for a name that is being published."""

    SAME = "same"
    """It takes over with the same key, or from the same address where there is no key; else it is refused."""
    ALWAYS = "always"
    NEVER = "never"


class StreamObserver(Protocol):
    """Someone who follows every stream: recordings, pushes."""

    def stream_published(self, stream: Stream) -> None:
        """A publisher holds the stream, for the first time or again within the grace time."""

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """The stream's life is over; its logs may still be read by who holds them."""


class DemandObserver(Protocol):
    """
    Someone who brings streams that are wanted.

    Apart from `StreamObserver`, as it is told of players: it must not cost those who follow publishers a call for each.
    """

    def stream_wanted(self, stream: Stream) -> None:
        """Its first member has come, whether somebody publishes it or not."""

    def stream_unwanted(self, stream: Stream) -> None:
        """It has no member; may be told again while that is so."""


class Registry:
    """The server's streams."""

    def __init__(self, retention: Retention) -> None:
        """
        Start without streams.

        Args:
            retention: what each stream's logs keep.
        """
        self.observers: list[StreamObserver] = []
        self.demand_observers: list[DemandObserver] = []
        self._retention = retention
        self._streams: dict[tuple[str, str], Stream] = {}

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self._streams.values()))

    def __len__(self) -> int:
        return len(self._streams)

    def find(self, app: str, name: str) -> Stream | None:
        """The stream of a name, if somebody publishes it or waits for it."""
        return self._streams.get((app, name))

    def publish(
        self,
        app: str,
        name: str,
        identity: str,
        takeover: Takeover,
        evict: Callable[[str], None],
        terms: Terms = PLAIN,
    ) -> Publication:
        """
        Give a stream to a publisher.

        Args:
            app: the application.
            name: the stream's name in it.
            identity: the publisher's key, or its address where there is no key.
            takeover: what a second publisher of the name may do.
            evict: ends this publisher's session when another takes over.
            terms: on which it was admitted.

        Returns:
            The publisher's hold on the stream; members and observers have been told.

        Raises:
            Refused: somebody else publishes it (`NetStream.Publish.BadName`).
        """
        stream = self._stream(app, name)
        held = stream.publication
        if held is not None:
            if not _may_take_over(held, identity, takeover):
                raise Refused("NetStream.Publish.BadName", f"{stream.path} is already being published")
            stream.publication = None
            held.evict("replaced by another publisher of the same stream")
        publication = Publication(stream, identity, evict, terms)
        try:
            stream.open(publication)
            for observer in self.observers:
                observer.stream_published(stream)
        except Exception:  # our own bug: nobody holds what would be live for ever
            self._end(stream, "internal error")
            raise
        return publication

    def unpublish(self, publication: Publication, reason: str, grace_until_s: float | None) -> None:
        """
        Take a stream back from its publisher.

        Args:
            publication: what `publish` returned; one that was replaced is ignored.
            reason: why it ends, for players and the log.
            grace_until_s: keep the players until then; None where the publisher said that it has finished.
        """
        if not publication.current:
            return
        stream = publication.stream
        if grace_until_s is None:
            self._end(stream, reason)
        else:
            stream.lose(grace_until_s)

    def join(self, app: str, name: str, member: Member) -> Stream:
        """Add someone who plays a stream, or waits for it where nobody publishes it yet."""
        stream = self._stream(app, name)
        stream.members[member] = None
        if len(stream.members) == 1:
            for observer in self.demand_observers:
                observer.stream_wanted(stream)
        return stream

    def leave(self, stream: Stream, member: Member) -> None:
        """Take a member out; a stream that nobody holds or waits for is forgotten."""
        stream.members.pop(member, None)
        self._tell_if_unwanted(stream)
        self._forget_if_unused(stream)

    def end_overdue(self, now: float) -> None:
        """End the streams whose publisher did not come back within the grace time."""
        for stream in self:
            if stream.ends_at_s is not None and stream.ends_at_s <= now:
                self._end(stream, "publisher did not come back")

    def end_all(self, reason: str) -> None:
        """End every stream, at shutdown."""
        for stream in self:
            if stream.state is not StreamState.IDLE:
                self._end(stream, reason)

    def _stream(self, app: str, name: str) -> Stream:
        key = (app, name)
        if key not in self._streams:
            self._streams[key] = Stream(app, name, self._retention)
        return self._streams[key]

    def _end(self, stream: Stream, reason: str) -> None:
        for observer in self.observers:
            observer.stream_ended(stream, reason)
        stream.end(reason)
        self._tell_if_unwanted(stream)
        self._forget_if_unused(stream)

    def _tell_if_unwanted(self, stream: Stream) -> None:
        if not stream.members:
            for observer in self.demand_observers:
                observer.stream_unwanted(stream)

    def _forget_if_unused(self, stream: Stream) -> None:
        key = (stream.app, stream.name)
        if stream.state is StreamState.IDLE and not stream.members and self._streams.get(key) is stream:
            del self._streams[key]


def _may_take_over(held: Publication, identity: str, takeover: Takeover) -> bool:
    if takeover is Takeover.SAME:
        return held.identity == identity
    return takeover is Takeover.ALWAYS
