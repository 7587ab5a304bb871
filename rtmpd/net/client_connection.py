"""
One connection to a server, as its client: where a client's session and a socket meet.

It ends once, with a `Parting` that says why and what to do next. What happens to it goes the same way as in
`rtmpd.net.connection`: feed the session, act on its events, flush what it wants to say, re-arm the one timer.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rtmpd.net.dial import Dialled
from rtmpd.net.services import Services
from rtmpd.net.sink import Sink, SinkOwner
from rtmpd.net.transport import TlsTransport
from rtmpd.session.client import ClientSession
from rtmpd.session.events import AuthenticationNeeded, Event, ReconnectRequested, RefusedByServer, Terminated
from rtmpd.session.urls import RtmpUrl


@dataclass(frozen=True, slots=True)
class Parting:
    """How a try ended."""

    reason: str
    """One line for people."""
    may_retry: bool = True
    """Whether the same request may be granted soon."""
    auth_query: str = ""
    """To be sent by the next try, which is to be made at once."""
    url: RtmpUrl | None = None
    """Where the server has sent us, if it has."""
    is_end: bool = False
    """Whether the server has said that the stream itself has ended."""


S_co = TypeVar("S_co", bound=Sink, covariant=True)
S = TypeVar("S", bound=Sink)


class SinkMaker(Protocol[S_co]):
    """Makes the sink of a connection, as the class `Sink` does."""

    def __call__(
        self,
        descriptor: int,
        send: Callable[[memoryview | bytearray], int],
        owner: SinkOwner,
        *,
        patience_s: float,
        settle: Callable[[], bool] | None,
    ) -> S_co:
        """Join a cursor and a socket."""


class ClientConnection(ABC, Generic[S]):
    """A connection to one server, with a sink of the kind that its purpose needs."""

    __slots__ = (
        "_address",
        "_closed",
        "_parting",
        "_peer",
        "_services",
        "_session",
        "_sink",
        "_timer",
        "_transport",
        "ended",
    )

    def __init__(
        self, services: Services, dialled: Dialled, session: ClientSession, make_sink: SinkMaker[S], peer: str
    ) -> None:
        """
        Begin to talk.

        Args:
            services: of the server.
            dialled: becomes ours.
            session: that has said nothing yet.
            make_sink: of what is written.
            peer: what the server is to us, for reasons: "target" or "source".
        """
        transport = dialled.transport
        self._services = services
        self._transport = transport
        self._address = dialled.address
        self._session = session
        self._peer = peer
        self._timer: asyncio.TimerHandle | None = None
        self._parting: Parting | None = None
        self._closed = False
        self.ended: asyncio.Future[Parting] = services.loop.create_future()
        """Is set when the connection has been closed."""
        settle = transport.settle if isinstance(transport, TlsTransport) else None
        self._sink = make_sink(transport.fileno(), transport.send, self, patience_s=services.lag_limit_s, settle=settle)
        services.poller.register(self._sink.descriptor, self)
        self._flush()
        self._arm_timer()

    @property
    def bytes_in(self) -> int:
        """Received from the server."""
        return self._session.bytes_received

    def close(self, parting: Parting) -> None:
        """End at once; harmless when it has ended."""
        if self._closed:
            return
        self._closed = True
        if not self.ended.done():  # a relay that is closed while it waits cancels it
            self.ended.set_result(self._parting or parting)
        self._services.poller.unregister(self._sink.descriptor)
        self._services.fanout.forget(self._sink)
        self._transport.close()
        if self._timer is not None:
            self._timer.cancel()

    # What the poller and the fan-out say

    def on_readable(self) -> bool:
        """Read once and let the session act on it."""
        if self._closed:
            return False
        try:
            return self._read()
        except Exception:
            self._services.log.exception("internal error", address=self._address)
            self.close(Parting("internal error"))
            return False

    def _read(self) -> bool:
        buffer = self._services.buffer
        now = self._services.loop.time()
        reason = "peer closed"
        try:
            size = self._transport.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            size = 0
            reason = error.strerror or str(error)
        if size:
            self._after(self._session.receive_data(buffer[:size], now))
            return size == len(buffer)
        self._after(self._session.receive_eof(now, reason))
        # A session that has said goodbye reports no end.
        self.close(Parting(reason))
        return False

    def on_writable(self) -> None:
        """Go on writing to a socket that was full."""
        if not self._closed:
            self._services.fanout.serve(self._sink)

    def on_drained(self) -> None:
        """Close: the goodbye is sent."""
        self.close(Parting("finished"))

    def on_lost(self, reason: str) -> None:
        """Give up on a server that cannot be written to."""
        self.close(Parting(reason))

    def _say_goodbye(self) -> None:
        self._session.finish(self._services.loop.time())
        self._sink.insert(self._session.data_to_send())
        self._sink.ending = True
        self._services.fanout.serve(self._sink)

    # The one path: events, flush, timer

    def _after(self, events: Sequence[Event]) -> None:
        for event in events:
            self._take(event)
        self._flush()
        if events and type(events[-1]) is Terminated:
            self.close(Parting(str(events[-1])))
        self._arm_timer()

    def _take(self, event: Event) -> None:
        match event:
            case RefusedByServer(code=code, description=description, may_retry=may_retry):
                self._parting = self._parting or Parting(f"refused: {code}: {description}", may_retry)
            case AuthenticationNeeded(url_query=query):
                reason = f"the {self._peer} asks for user and password"
                self._parting = self._parting or Parting(reason, auth_query=query)
            case ReconnectRequested(url=url):
                if self._parting is None:
                    self._finish(Parting(f"the {self._peer} asks to be left for another", url=url))
            case _:
                self._take_more(event)

    @abstractmethod
    def _take_more(self, event: Event) -> None:
        """Act on an event that is not the same for both roles."""

    def _finish(self, parting: Parting) -> None:
        """Leave the server in its own words."""
        self._parting = parting
        self._say_goodbye()

    def _flush(self) -> None:
        if self._closed:
            return
        data = self._session.data_to_send()
        if data:
            self._sink.insert(data)
            self._services.fanout.serve(self._sink)

    def _arm_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = None if self._closed else self._session.next_deadline()
        if deadline is not None:
            self._timer = self._services.loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.on_readable()  # Where the process stood still its timers may come before the poller: what has come counts.
        if not self._closed:
            self._after(self._session.handle_timer(self._services.loop.time()))
