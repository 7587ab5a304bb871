"""
A player behind an HTTP request: of FLV, or of fragmented MP4; where a stream, an answer without end and a socket meet.

It is a client, a member of its stream and the owner of a sink, as an RTMP connection that plays is: it counts as a player,
wakes what is brought on demand, waits for a publisher, lags and jumps by the same rules. Whoever took the request waits
for `ready`, so that one that comes to nothing can still be answered as such, and then gives it a connection.

Every player ends with one log line that says why.
"""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from rtmpd.errors import Refused
from rtmpd.live.fragments import FragmentViewer
from rtmpd.live.log import Log
from rtmpd.live.stream import Stream
from rtmpd.net.http_outlet import Outlet, SocketOutlet, TransportOutlet, websocket_frame
from rtmpd.net.policy import PlayGrant
from rtmpd.net.services import Services, client_numbers
from rtmpd.net.sink import Sink
from rtmpd.net.transport import tune

NOT_FOUND = "NetStream.Play.StreamNotFound"
CLOSED = "NetConnection.Connect.Closed"
"""Of who was evicted before it played."""
FIRST_FRAGMENT_S = 10.0
"""From a stream to its first fragment: a packager has to be started, and a key frame to come."""
MOST_IGNORED_BYTES = 64 * 1024
"""A peer that has asked has nothing more to say; some do, and this is how much of it is read and dropped."""


class Fragments(Protocol):
    """A stream as fragmented MP4."""

    @property
    def refusal(self) -> str | None:
        """Why there are none; None if that is not known."""

    def attach(self, viewer: FragmentViewer) -> None:
        """Tell a viewer of the log, now or when there is one."""

    def detach(self, viewer: FragmentViewer) -> None:
        """Tell it nothing more."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a stream."""

    address: str
    """The peer's IP address."""
    kind: str
    """As `Client` has it."""
    at_newest: bool = False
    """Begin with the next key frame that comes, not with the newest one that is there: less latency, a later picture."""


class HttpPlayer:
    """One player; give it a connection when it is ready."""

    def __init__(self, services: Services, asked: Asked, number: int | None = None) -> None:
        """
        Prepare; follow with `join`.

        Args:
            services: of the server.
            asked: what, and who.
            number: of the client; the next one if not given.
        """
        self.number = next(client_numbers) if number is None else number
        self.kind = asked.kind
        self.address = asked.address
        self.role = "play"
        self.path = "-"
        self.accepted_s = services.loop.time()
        self.bytes_in = 0
        self.over: asyncio.Future[str] = services.loop.create_future()
        """Done when it has ended, with the reason."""
        self.has_all = False
        """It ended as its stream did, and was sent all of it."""
        self._services = services
        self._at_newest = asked.at_newest
        self._stream: Stream | None = None
        self._log: Log | None = None
        self._failure: tuple[str, str] | None = None
        self._settled = asyncio.Event()
        self._end_reason: str | None = None
        self._log_goes_on = False
        self._outlet: Outlet | None = None
        self._sink: Sink | None = None

    # Waiting

    def join(self, grant: PlayGrant) -> None:
        """
        Become a player of a stream, or wait for it.

        Args:
            grant: what it may watch.
        """
        self.path = f"{grant.app}/{grant.stream}"
        self._services.connections.add(self)
        self._stream = self._services.registry.join(grant.app, grant.stream, self)
        if self._stream.is_watchable:
            self.stream_started(self._stream)

    async def ready(self) -> None:
        """
        Wait until there is something to send.

        Raises:
            Refused: nothing came in time, or it will not come; this player has ended.
            ConnectionError: the peer has gone, and this player has ended.
        """
        limit_s = self._patience_s()
        try:
            async with asyncio.timeout(limit_s):
                await self._settled.wait()
        except TimeoutError:
            self._refuse(NOT_FOUND, self._what_was_missed(limit_s))
        # Made here, not kept: an exception that something keeps holds its frames, and these hold the player.
        if self._failure is not None:
            code, reason = self._failure
            raise Refused(code, reason)
        if self.over.done():
            raise ConnectionResetError(self.over.result())

    def _patience_s(self) -> float:
        return self._services.wait_s

    def _what_was_missed(self, limit_s: float) -> str:
        if self._stream is not None and self._stream.is_watchable:
            return f"nothing of {self.path} came for {limit_s:g} s"
        return f"nobody published {self.path} for {limit_s:g} s" if limit_s else f"nobody publishes {self.path}"

    @abstractmethod
    def stream_started(self, stream: Stream) -> None:
        """Find the log to play."""

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """Finish once everything is sent."""
        self._finish(reason, goes_on=not stream.is_public)

    def _take(self, log: Log) -> None:
        if self._log is None:
            self._log = log
            self._settled.set()

    def _refuse(self, code: str, reason: str) -> None:
        self._failure = (code, reason)
        self._close(reason)

    def _finish(self, reason: str, *, goes_on: bool = False) -> None:
        """
        Come to an end with the log.

        Args:
            reason: one line.
            goes_on: the log does, for others: who is behind in it would never come to its end.
        """
        self._end_reason = reason
        self._log_goes_on = goes_on
        if self._log is None:
            self._refuse(NOT_FOUND, reason)
        elif self._sink is not None:
            self._send_the_rest(self._sink)

    def _send_the_rest(self, sink: Sink) -> None:
        sink.ending = True
        self._services.fanout.serve(sink)
        if sink.ending and self._log_goes_on:
            sink.detach()

    # Playing

    def play_on_socket(self, connection: socket.socket, head: bytes) -> None:
        """
        Play to a plain connection that is nobody else's.

        Args:
            connection: connected; closed with this player.
            head: of the answer.
        """
        try:
            tune(connection, self._services.lag_limit_s)
        except OSError as error:  # reset meanwhile
            connection.close()
            self._close(error.strerror or str(error))
            return
        outlet = SocketOutlet(connection)
        if self.over.done():
            outlet.close()
            return
        self._services.poller.register(outlet.descriptor, self)
        self._play(outlet, head)

    def play_on_transport(self, transport: asyncio.WriteTransport, head: bytes, *, framed: bool = False) -> None:
        """
        Play through a transport; whoever has its protocol calls `on_writable` when writing goes on, `left` when it is
        lost, and closes it when this is `over`.

        Args:
            transport: of the loop.
            head: of the answer; none where it was sent.
            framed: as messages of a WebSocket.
        """
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
            try:
                tune(connection, self._services.lag_limit_s)
            except OSError as error:
                self._close(error.strerror or str(error))
        if not self.over.done():
            self._play(TransportOutlet(transport, websocket_frame if framed else bytes), head)

    def _play(self, outlet: Outlet, head: bytes) -> None:
        services = self._services
        assert self._log is not None
        self._outlet = outlet
        self._sink = sink = Sink(
            outlet.descriptor,
            outlet.send,
            self,
            patience_s=services.lag_limit_s,
            may_jump=services.may_jump,
            settle=outlet.settle,
        )
        sink.insert(head)
        if self._at_newest and self._end_reason is None:
            sink.attach(self._log)
            sink.private += self._log.form.opening
            sink.await_key_frame()
        else:
            sink.join(self._log)
        if self._end_reason is None:
            services.fanout.serve(sink)
        else:
            self._send_the_rest(sink)

    def on_readable(self) -> bool:
        """Look whether the peer is there; what it says is dropped."""
        if not isinstance(self._outlet, SocketOutlet) or self.over.done():
            return False
        try:
            size = self._outlet.recv_into(self._services.buffer)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._close(error.strerror or str(error))
            return False
        self.heard(size)
        if not size:
            self.left()
        return size == len(self._services.buffer)

    def heard(self, size: int) -> None:
        """
        Count what the peer says after its request, and close where that has no end.

        Args:
            size: bytes.
        """
        self.bytes_in += size
        if self.bytes_in > MOST_IGNORED_BYTES:
            self._close(f"sent more than {MOST_IGNORED_BYTES} bytes after its request")

    def on_writable(self) -> None:
        """Go on writing to a socket, or a transport, that was full."""
        if self._sink is not None and not self.over.done():
            self._services.fanout.serve(self._sink)

    def on_drained(self) -> None:
        """All is sent."""
        self.has_all = True
        self._close(self._end_reason or "the stream ended")

    def on_lost(self, reason: str) -> None:
        """Give up on a peer that cannot be written to."""
        self._close(reason)

    # The end

    def left(self) -> None:
        """The peer has closed the connection."""
        self._close("peer closed")

    def request_ended(self) -> None:
        """Whoever took the request is done with it: without a connection of its own there is nothing to play to."""
        if not isinstance(self._outlet, SocketOutlet):
            self.evict("the request ended")

    def send_away(self, refused: Refused, tc_url: str | None) -> bool:  # noqa: ARG002 - as every client has it
        """HTTP has no words for it: the player is served until it leaves."""
        return False

    def evict(self, reason: str) -> None:
        """End it for a reason that is not the peer's."""
        self._refuse(CLOSED, reason)

    def _close(self, reason: str) -> None:
        if self.over.done():
            return
        self.over.set_result(reason)
        self._settled.set()
        services = self._services
        services.connections.discard(self)
        if self._sink is not None and self._outlet is not None:
            if isinstance(self._outlet, SocketOutlet):
                services.poller.unregister(self._outlet.descriptor)
            services.fanout.forget(self._sink)
            self._outlet.close()
        self._leave()
        services.tell_closed(self, reason, **self.description)

    def _leave(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._services.registry.leave(stream, self)

    @property
    def description(self) -> dict[str, Any]:
        """Who this is, for log lines."""
        return {
            "client": self.number,
            "address": self.address,
            "kind": self.kind,
            "role": self.role,
            "stream": self.path,
        }

    @property
    def bytes_out(self) -> int:
        """Taken by its socket, of the log."""
        return 0 if self._sink is None else self._sink.sent_bytes

    @property
    def skipped_ms(self) -> int:
        """Media time that the peer was too slow for."""
        return 0 if self._sink is None else self._sink.skipped_ms

    @property
    def lag_ms(self) -> int:
        """Media time between the newest frame of its stream and what it is being sent; 0 before it plays."""
        return 0 if self._sink is None else self._sink.lag_ms


class FlvPlayer(HttpPlayer):
    """A player of FLV."""

    def stream_started(self, stream: Stream) -> None:
        """Play the stream's tags."""
        self._take(stream.flv_log())


class Mp4Player(HttpPlayer):
    """A player of fragmented MP4."""

    def __init__(
        self, services: Services, asked: Asked, want: Callable[[Stream], Fragments], number: int | None = None
    ) -> None:
        """
        Prepare; follow with `join`.

        Args:
            services: of the server.
            asked: what, and who.
            want: has a stream packaged.
            number: as for all players.
        """
        super().__init__(services, asked, number)
        self._want = want
        self._fragments: Fragments | None = None

    def stream_started(self, stream: Stream) -> None:
        """Have the stream packaged, and wait for the first fragments."""
        self._fragments = fragments = self._want(stream)
        if fragments.refusal is not None:
            self._refuse(NOT_FOUND, f"{stream.path} cannot be shown as MP4: {fragments.refusal}")
        else:
            fragments.attach(self)

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """Wait for the last fragments, which are on their way; where the stream goes on in private there is no last."""
        if not stream.is_public or self._log is None:
            super().stream_ended(stream, reason)

    def fragments_started(self, log: Log) -> None:
        """Play them, unless there were others before."""
        self._take(log)

    def fragments_ended(self, reason: str) -> None:
        """Finish once everything is sent."""
        self._finish(reason)

    def _patience_s(self) -> float:
        return super()._patience_s() + FIRST_FRAGMENT_S

    def _leave(self) -> None:
        if self._fragments is not None:
            self._fragments.detach(self)
        super()._leave()
