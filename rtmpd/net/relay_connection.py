"""
One try of a push relay: where a client's session, a log and a socket meet.

It ends once, with a `Parting` that says why and what to do next. What happens to it goes the same way as in
`rtmpd.net.connection`: feed the session, act on its events, flush what it wants to say, re-arm the one timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rtmpd.live.log import Log
from rtmpd.net.dial import Dialled
from rtmpd.net.relay_sink import RelaySink
from rtmpd.net.services import Services
from rtmpd.net.transport import TlsTransport
from rtmpd.session.client import ClientSession
from rtmpd.session.events import (
    AuthenticationNeeded,
    Event,
    Publishing,
    ReconnectRequested,
    RefusedByServer,
    Terminated,
)
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


class RelayConnection:
    """A connection to one target."""

    __slots__ = (
        "_address",
        "_closed",
        "_log",
        "_on_live",
        "_parting",
        "_services",
        "_session",
        "_sink",
        "_timer",
        "_transport",
        "ended",
    )

    def __init__(
        self, services: Services, dialled: Dialled, session: ClientSession, log: Log, on_live: Callable[[], None]
    ) -> None:
        """
        Begin to talk.

        Args:
            services: of the server.
            dialled: becomes ours.
            session: that publishes, and has said nothing yet.
            log: what is published, once the target grants it.
            on_live: is called then.
        """
        transport = dialled.transport
        self._services = services
        self._transport = transport
        self._address = dialled.address
        self._session = session
        self._log = log
        self._on_live = on_live
        self._timer: asyncio.TimerHandle | None = None
        self._parting: Parting | None = None
        self._closed = False
        self.ended: asyncio.Future[Parting] = services.loop.create_future()
        """Is set when the connection has been closed."""
        settle = transport.settle if isinstance(transport, TlsTransport) else None
        self._sink = RelaySink(transport.fileno(), transport.send, self, patience_s=services.lag_limit_s, settle=settle)
        services.poller.register(self._sink.descriptor, self)
        self._flush()
        self._arm_timer()

    @property
    def bytes_out(self) -> int:
        """Media taken by the target."""
        return self._sink.sent_bytes

    @property
    def skipped_ms(self) -> int:
        """Media time that the target was too slow for."""
        return self._sink.skipped_ms

    @property
    def lag_ms(self) -> int:
        """Media time between the newest frame of the stream and what the target is being sent."""
        return self._sink.lag_ms

    def finish(self, reason: str) -> None:
        """
        End the publish in the protocol's words, once everything is sent; harmless when it has ended.

        Args:
            reason: for the parting.
        """
        if not self._closed:
            self._finish(Parting(reason))

    def _finish(self, parting: Parting) -> None:
        self._parting = parting
        if self._sink.log is None:
            self._say_goodbye()
        else:
            self._sink.ending = True
            self._services.fanout.serve(self._sink)

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
        """Say goodbye behind the last media; when that is sent, too, close."""
        if self._sink.log is not None:
            self._sink.detach()
            self._say_goodbye()
        else:
            self.close(Parting("finished"))

    def on_lost(self, reason: str) -> None:
        """Give up on a target that cannot be written to."""
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
            case Publishing(message_stream_id=message_stream_id):
                self._begin(message_stream_id)
            case RefusedByServer(code=code, description=description, may_retry=may_retry):
                self._parting = self._parting or Parting(f"refused: {code}: {description}", may_retry)
            case AuthenticationNeeded(url_query=query):
                self._parting = self._parting or Parting("the target asks for user and password", auth_query=query)
            case ReconnectRequested(url=url):
                self._redirect(url)

    def _begin(self, message_stream_id: int) -> None:
        self._flush()
        if self._closed or self._parting is not None:
            return
        self._sink.join(self._log, message_stream_id)
        self._on_live()
        self._services.fanout.serve(self._sink)

    def _redirect(self, url: RtmpUrl) -> None:
        if self._parting is None:
            self._finish(Parting("the target asks to be left for another", url=url))

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
        self._after(self._session.handle_timer(self._services.loop.time()))
