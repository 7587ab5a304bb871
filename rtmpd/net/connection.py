"""
A connection: where a session, a stream and a socket meet.

Everything that happens to a connection goes the same way: feed the session, act on its events, flush what it wants
to say, re-arm the one timer. `_flush` is the only place that queues bytes for the peer and the fan-out the only one
that writes them, so control messages can never end up inside a media message.

Every connection ends with one log line that says why.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from rtmpd.errors import Refused
from rtmpd.live.stream import Publication, Stream
from rtmpd.net.decisions import Decisions
from rtmpd.net.policy import PlayGrant
from rtmpd.net.publishing import Publishing
from rtmpd.net.report import RateReporter
from rtmpd.net.services import RECEIVE_BUFFER_BYTES, Services, client_numbers
from rtmpd.net.sink import Sink
from rtmpd.net.transport import TlsTransport, Transport
from rtmpd.session.events import (
    Connected,
    Event,
    MediaRun,
    PauseChanged,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    Terminated,
)
from rtmpd.session.server import ServerSession
from rtmpd.wire.handshake import RANDOM_BYTES
from rtmpd.wire.messages import Message

READ_SLICE_S = 0.005
"""A read that took longer makes the next one of this connection smaller."""
LEAST_WINDOW_BYTES = 4096
_STREAM_NOT_FOUND = "NetStream.Play.StreamNotFound"


class Connection:
    """One client."""

    __slots__ = (
        "_closed",
        "_decisions",
        "_end_reason",
        "_jumps",
        "_least_window_bytes",
        "_publishing",
        "_services",
        "_session",
        "_sink",
        "_stream",
        "_timer",
        "_transport",
        "_waits_until_s",
        "_window_bytes",
        "accepted_s",
        "address",
        "kind",
        "number",
        "on_handshake_done",
        "path",
        "role",
    )

    def __init__(
        self, services: Services, transport: Transport, address: str, on_handshake_done: Callable[[], None]
    ) -> None:
        """
        Start a session on an accepted socket.

        Args:
            services: of the server.
            transport: connected, non-blocking.
            address: the peer's IP address.
            on_handshake_done: is called once, when the peer has proven to speak RTMP or has gone.
        """
        now = services.loop.time()
        self._services = services
        self._transport = transport
        self._session = ServerSession(services.limits, os.urandom(RANDOM_BYTES), now)
        if services.connect_refusal is not None:
            self._session.refuse_connect(services.connect_refusal)
        settle = transport.settle if isinstance(transport, TlsTransport) else None
        self.kind = "rtmps" if settle else "rtmp"
        self._sink = Sink(
            transport.fileno(),
            transport.send,
            self,
            patience_s=services.lag_limit_s,
            may_jump=services.may_jump,
            settle=settle,
        )
        # TLS must be given room for all that it has decrypted: the poller does not see what it keeps.
        self._least_window_bytes = RECEIVE_BUFFER_BYTES if settle else LEAST_WINDOW_BYTES
        self._window_bytes = RECEIVE_BUFFER_BYTES
        self._publishing = Publishing(services)
        self._stream: Stream | None = None
        self._waits_until_s: float | None = None
        self._decisions = Decisions(services.tasks)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._end_reason = ""
        self._jumps: RateReporter | None = None
        self.on_handshake_done: Callable[[], None] | None = on_handshake_done
        self.accepted_s = now
        self.address = address
        self.number = next(client_numbers)
        self.role = "-"
        self.path = "-"
        services.connections.add(self)
        services.poller.register(self._sink.descriptor, self)
        self._arm_timer(now)

    # What the poller and the fan-out say

    def on_readable(self) -> bool:
        """Read once and let the session act on it."""
        if self._closed:
            return False
        try:
            return self._read()
        except Exception as error:  # noqa: BLE001 - our own bug: loud, without a word to the peer, and nobody else's end
            self._fail(error)
            return False

    def _read(self) -> bool:
        services = self._services
        now = services.loop.time()
        window = services.buffer[: self._window_bytes]
        try:
            size = self._transport.recv_into(window)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._after(self._session.receive_eof(now, error.strerror or str(error)), now)
            return False
        if size:
            self._after(self._session.receive_data(services.buffer[:size], now), now)
        else:
            self._after(self._session.receive_eof(now), now)
        self._fit_window(services.loop.time() - now)
        return size == len(window)

    def _fit_window(self, took_s: float) -> None:
        """Let a peer whose bytes are costly (thousands of tiny messages) have less of each turn, down to 4 KB."""
        if took_s > READ_SLICE_S:
            self._window_bytes = max(self._window_bytes // 2, self._least_window_bytes)
        elif self._window_bytes < RECEIVE_BUFFER_BYTES:
            self._window_bytes *= 2

    def on_writable(self) -> None:
        """Go on writing to a socket that was full."""
        if not self._closed:
            self._services.fanout.serve(self._sink)

    def on_drained(self) -> None:
        """Tell a player that its stream has ended, now that it has all of it."""
        now = self._services.loop.time()
        self._leave_stream()
        if not self._session.plays:  # it publishes what it plays and has ended both at once
            return
        self._session.finish_play(1, now, self._end_reason)
        self._flush()
        self._arm_timer(now)

    def on_lost(self, reason: str) -> None:
        """Give up on a peer that cannot be written to."""
        self._close(reason)

    # What streams say

    def stream_started(self, stream: Stream) -> None:
        """Begin to play what this connection has been waiting for."""
        now = self._services.loop.time()
        self._waits_until_s = None
        self._session.accept_play(1, now)
        self._flush()
        if not self._closed:
            self._sink.join(stream.log)
            self._services.fanout.serve(self._sink)
        self._arm_timer(now)

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """Finish playing once everything is sent."""
        self._end_reason = reason
        self._sink.ending = True
        self._services.fanout.serve(self._sink)
        if self._sink.ending and not stream.is_public:
            # The log goes on, for others: who is behind in it would never come to its end.
            self._sink.detach()

    # From outside

    def send_away(self, refused: Refused, tc_url: str | None) -> bool:
        """Ask the peer to go on elsewhere, if it is connected and can; it is served until it leaves."""
        self._session.refuse_connect(refused)
        asked = self._session.request_reconnect(tc_url, refused.description, self._services.loop.time())
        self._flush()
        return asked and not self._closed

    def evict(self, reason: str) -> None:
        """End the session for a reason that is not the peer's."""
        self._close(reason)

    # The one path: events, flush, timer

    def _after(self, events: Sequence[Event], now: float) -> None:
        if type(events) is MediaRun and events:
            # What nearly every read of a publisher comes to; its deadline moves on, and the timer looks by itself.
            self._take_media(events, now)
            self._flush()
            return
        terminated: Terminated | None = None
        for event in events:
            if type(event) is Message:
                self._take_media((event,), now)
            elif type(event) is Terminated:
                terminated = event
            else:
                _HANDLERS[type(event)](self, event, now)
            if self._closed:
                return
        self._flush()
        if terminated is not None:
            self._close(str(terminated))
        self._arm_timer(now)

    def _take_media(self, messages: Sequence[Message], now: float) -> None:
        """Append media of one message stream to what it publishes, unless it lost that to another publisher."""
        publication = self._publishing.find(messages[0].message_stream_id)
        if publication is None or not publication.current:
            return
        publication.extend(messages, now)
        self._services.fanout.mark(publication.stream.logs)
        self._report_jump(publication)

    def _report_jump(self, publication: Publication) -> None:
        """Tell of a jump in the timestamps; it is passed on as it came."""
        if (jump := publication.take_jump()) is not None:
            if self._jumps is None:
                self._jumps = RateReporter(self._services.log, self._services.loop.time)
            self._jumps.warn("timestamps jump", **self.description, from_ms=jump.from_ms, to_ms=jump.to_ms)

    def _flush(self) -> None:
        if self._closed:
            return
        data = self._session.data_to_send()
        if data:
            self._sink.insert(data)
            self._services.fanout.serve(self._sink)

    def _arm_timer(self, now: float) -> None:
        """Keep one timer at or before the next deadline; one that fires early is simply armed again."""
        deadline = self._deadline()
        timer = self._timer
        if self._closed or deadline is None or (timer is not None and timer.when() <= deadline and timer.when() > now):
            return
        if timer is not None:
            timer.cancel()
        self._timer = self._services.loop.call_at(deadline, self._on_timer)

    def _deadline(self) -> float | None:
        deadline = self._session.next_deadline()
        if self._waits_until_s is not None:
            return self._waits_until_s if deadline is None else min(deadline, self._waits_until_s)
        return deadline

    def _is_due(self, now: float) -> bool:
        deadline = self._deadline()
        return not self._closed and deadline is not None and now >= deadline

    def _on_timer(self) -> None:
        self._timer = None
        now = self._services.loop.time()
        if self._is_due(now):
            self.on_readable()  # Where the process stood still its timers may come before the poller: what has come counts.
        if not self._is_due(now):
            self._arm_timer(now)
            return
        if self._waits_until_s is not None and now >= self._waits_until_s:
            self._refuse_waiting(now)
        self._after(self._session.handle_timer(now), now)

    # Publishing

    def _handshake_done(self, _event: Connected | None = None, _now: float = 0.0) -> None:
        if self.on_handshake_done is not None:
            self.on_handshake_done()
            self.on_handshake_done = None

    def _publish_requested(self, event: PublishRequested, now: float) -> None:  # noqa: ARG002 - every handler takes both
        self.role = "publish"
        self.path = f"{event.app}/{event.stream}"
        self._decisions.start(event.message_stream_id, lambda: self._conclude(self._decide_publish(event)))

    async def _decide_publish(self, request: PublishRequested) -> None:
        services = self._services
        try:
            grant = await services.policy.admit_publisher(request, self.address, self.number)
            publication = self._publishing.begin(request.message_stream_id, grant, self.evict)
        except Refused as refused:
            self._session.refuse_publish(request.message_stream_id, refused, services.loop.time())
            services.log.info("publish refused", **self.description, code=refused.code, why=refused.description)
            return
        if publication is None:
            return
        self.path = publication.stream.path
        await services.journal.began(publication)
        now = services.loop.time()
        early = self._session.accept_publish(request.message_stream_id, now)
        services.log.info("publish started", **self.description)
        self._after(early, now)

    def _publish_ended(self, event: PublishEnded, now: float) -> None:
        self._decisions.drop(event.message_stream_id)
        self._publishing.end(event.message_stream_id, event.reason, now, clean=event.clean)

    # Playing

    def _play_requested(self, event: PlayRequested, now: float) -> None:  # noqa: ARG002
        self.role = "play"
        self.path = f"{event.app}/{event.stream}"
        self._decisions.start(event.message_stream_id, lambda: self._conclude(self._decide_play(event)))

    async def _decide_play(self, request: PlayRequested) -> None:
        services = self._services
        try:
            self._play(await services.policy.admit_player(request, self.address, self.number))
        except Refused as refused:
            self._session.refuse_play(request.message_stream_id, refused, services.loop.time())
            services.log.info("play refused", **self.description, code=refused.code, why=refused.description)

    def _play(self, grant: PlayGrant) -> None:
        services = self._services
        found = services.registry.find(grant.app, grant.stream)
        if not services.wait_s and (found is None or not found.is_watchable):
            raise Refused(_STREAM_NOT_FOUND, f"nobody publishes {grant.app}/{grant.stream}")
        stream = services.registry.join(grant.app, grant.stream, self)
        self._stream = stream
        self.path = stream.path
        if stream.is_watchable:
            self.stream_started(stream)
        else:
            self._waits_until_s = services.loop.time() + services.wait_s

    def _refuse_waiting(self, now: float) -> None:
        refused = Refused(_STREAM_NOT_FOUND, f"nobody published {self.path} for {self._services.wait_s:g} s")
        self._leave_stream()
        self._session.refuse_play(1, refused, now)

    def _play_ended(self, event: PlayEnded, now: float) -> None:  # noqa: ARG002
        self._decisions.drop(event.message_stream_id)
        self._sink.detach()
        self._sink.ending = False
        self._leave_stream()

    def _pause_changed(self, event: PauseChanged, now: float) -> None:  # noqa: ARG002
        stream = self._stream
        if stream is None or self._waits_until_s is not None:
            return
        if event.paused:
            self._sink.detach()
        elif self._sink.log is None and stream.is_watchable:
            self._flush()
            self._sink.join(stream.log)
            self._services.fanout.serve(self._sink)

    def _leave_stream(self) -> None:
        stream, self._stream, self._waits_until_s = self._stream, None, None
        if stream is not None:
            self._services.registry.leave(stream, self)

    async def _conclude(self, decision: Coroutine[Any, Any, None]) -> None:
        try:
            await decision
        except Exception as error:  # noqa: BLE001 - as in on_readable; the peer must not wait for ever
            self._fail(error)
            return
        self._flush()
        self._arm_timer(self._services.loop.time())

    # The end

    def _fail(self, error: Exception) -> None:
        self._services.log.error("internal error", **self.description, exc_info=error)
        self._close("internal error")

    def _close(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        services = self._services
        now = services.loop.time()
        services.connections.discard(self)
        services.poller.unregister(self._sink.descriptor)
        services.fanout.forget(self._sink)
        self._transport.close()
        self._decisions.drop_all()
        if self._timer is not None:
            self._timer.cancel()
        self._handshake_done()
        self._leave_stream()
        self._publishing.end_all(reason, now)
        services.tell_closed(self, reason, **self.description)

    @property
    def description(self) -> dict[str, Any]:
        """Who this is, for log lines."""
        return {"client": self.number, "address": self.address, "role": self.role, "stream": self.path}

    @property
    def bytes_in(self) -> int:
        """Received from the peer."""
        return self._session.description.bytes_received

    @property
    def bytes_out(self) -> int:
        """Taken by its socket."""
        return self._sink.sent_bytes

    @property
    def skipped_ms(self) -> int:
        """Media time that the peer was too slow for."""
        return self._sink.skipped_ms

    @property
    def lag_ms(self) -> int:
        """Media time between the newest frame of its stream and what it is being sent; 0 for who does not play."""
        return self._sink.lag_ms


_HANDLERS: dict[type, Callable[[Connection, Any, float], None]] = {
    Connected: Connection._handshake_done,  # noqa: SLF001 - the table belongs to the class; it is outside for its values
    PublishRequested: Connection._publish_requested,  # noqa: SLF001
    PublishEnded: Connection._publish_ended,  # noqa: SLF001
    PlayRequested: Connection._play_requested,  # noqa: SLF001
    PlayEnded: Connection._play_ended,  # noqa: SLF001
    PauseChanged: Connection._pause_changed,  # noqa: SLF001
}
