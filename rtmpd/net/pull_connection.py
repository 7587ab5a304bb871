"""One try of a pull relay from an RTMP server: a connection whose media are taken as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rtmpd.net.client_connection import ClientConnection, Parting
from rtmpd.net.dial import Dialled
from rtmpd.net.services import Services
from rtmpd.net.sink import Sink
from rtmpd.session.client import ClientSession
from rtmpd.session.events import Ended, Event, MediaRun
from rtmpd.wire.messages import Message


class PullConnection(ClientConnection[Sink]):
    """A connection to one source."""

    __slots__ = ("_take_media",)

    def __init__(
        self,
        services: Services,
        dialled: Dialled,
        session: ClientSession,
        take_media: Callable[[Sequence[Message], str], None],
    ) -> None:
        """
        Begin to talk.

        Args:
            services: of the server.
            dialled: becomes ours.
            session: that plays, and has said nothing yet.
            take_media: is given what comes, and the IP address that it comes from.
        """
        self._take_media = take_media
        super().__init__(services, dialled, session, Sink, "source")

    def leave(self, reason: str) -> None:
        """
        End the play in the protocol's words, as far as the socket takes them, and close; harmless when it has ended.

        Args:
            reason: for the parting.
        """
        if not self._closed:
            self._finish(Parting(reason))
            self.close(Parting(reason))

    def _after(self, events: Sequence[Event]) -> None:
        if type(events) is MediaRun and events:
            # What nearly every read comes to; its deadline moves on, and the timer looks by itself.
            self._take_media(events, self._address)
            self._flush()
            return
        super()._after(events)

    def _take_more(self, event: Event) -> None:
        if type(event) is Message:
            self._take_media((event,), self._address)
        elif isinstance(event, Ended):
            self._parting = self._parting or Parting(f"ended by the source: {event.reason}", is_end=True)
