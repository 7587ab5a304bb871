"""
Who watches by HLS: viewers are made of requests, as each of them has no connection of its own.

One viewer is all that asks for the same playlist, with the same query and credentials, from one address and program. It is
admitted once, counts as a player for as long as it goes on asking, and may go on asking when the signature that admitted
it has expired. Two people behind one address with the same player and the same URL are one viewer.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

from aiohttp import web

from rtmpd.address import counted_as
from rtmpd.control.addresses import is_this_machine
from rtmpd.control.rooms import Named
from rtmpd.errors import Refused
from rtmpd.live.stream import Stream
from rtmpd.net.policy import PlayGrant
from rtmpd.net.services import Services, client_numbers
from rtmpd.web.media import Media
from rtmpd.web.problems import Refusal
from rtmpd.web.waiting import Waiting

MOST_VIEWERS = 10_000
"""At once; a new one is refused then."""
MOST_VIEWERS_PER_ADDRESS = 2500
"""
Of those, from one address that is not this machine's: another query is another viewer, and a request in 16 s keeps it, so that
one client could have all places. A quarter, and none for this machine's, for the reasons that recordings have.
"""
BANNED_S = 60.0
"""Who was sent away is refused for so long: players ask again by themselves."""
DIRECTIVES = "_HLS_"
"""What parameters begin with that players add, and change from request to request (RFC 8216bis section 6.2.5)."""


class Viewer:
    """One who watches: a client and a member of its stream, as a connection is."""

    kind = "hls"
    role = "play"
    bytes_in = 0
    skipped_ms = 0
    lag_ms = 0

    def __init__(self, viewers: Viewers, key: bytes, number: int, address: str, grant: PlayGrant) -> None:
        """
        Prepare; follow with `use`.

        Args:
            viewers: which it is one of.
            key: what its requests have in common.
            number: as log lines name it.
            address: of its requests.
            grant: what it may watch.
        """
        self._viewers = viewers
        self._services = viewers.services
        self._stream: Stream | None = None
        self._asking = 0
        self._end_status = HTTPStatus.SERVICE_UNAVAILABLE  # players try that again
        self.key = key
        self.number = number
        self.address = address
        self.app = grant.app
        self.name = grant.stream
        self.path = f"{grant.app}/{grant.stream}"
        self.accepted_s = self.seen_s = self._services.loop.time()
        self.waiting = Waiting()
        """Looks when its stream begins or ends, and when it is sent away."""
        self.sources: set[bytes] = set()
        """Where media of it are asked for from."""
        self.edition = ""
        """What its newest playlist was of; empty before the first one."""
        self.playlist_version = self.newest_part = -1
        """Version of the window in that playlist, and number of the newest part that it was sent, alone or in a segment."""
        self.end_reason = ""
        """Why it is no viewer any more."""
        self.bytes_out = 0
        """Of playlists and media, as far as it is known who asked for them."""

    @property
    def is_asking(self) -> bool:
        """Whether a request of it is waiting for an answer."""
        return self._asking > 0

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Stay, however long the answer to one of its requests takes."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            self.seen_s = self._services.loop.time()

    def join(self) -> Stream:
        """
        Be a member of its stream.

        Returns:
            The stream, published or not; another one may have its name after it has ended.

        Raises:
            Refusal: it is no viewer any more; 403 if it was sent away.
        """
        if self.end_reason:
            raise Refusal(self._end_status, self.end_reason)
        if self._stream is None:
            self._stream = self._services.registry.join(self.app, self.name, self)
        return self._stream

    def stream_started(self, stream: Stream) -> None:  # noqa: ARG002 - a Member is told which
        """Let requests that wait for a publisher go on."""
        self.waiting.look()

    def stream_ended(self, stream: Stream, reason: str) -> None:  # noqa: ARG002
        """Be no member any more, until it asks again: the stream may come back."""
        self._stream = None
        self.waiting.look()

    def send_away(self, refused: Refused, tc_url: str | None) -> bool:  # noqa: ARG002 - as every Client
        """HLS has no way to ask for that."""
        return False

    def evict(self, reason: str) -> None:
        """End it; its requests are refused for a while."""
        self._end_status = HTTPStatus.FORBIDDEN
        self._viewers.ban(self.key, reason)
        self.leave(reason)

    def leave(self, reason: str) -> None:
        """Let go of everything."""
        self.end_reason = reason
        self._viewers.forget(self)
        stream, self._stream = self._stream, None
        if stream is not None:
            self._services.registry.leave(stream, self)
        self.waiting.dismiss()
        who = {
            "client": self.number,
            "address": self.address,
            "kind": self.kind,
            "role": self.role,
            "stream": self.path,
        }
        self._services.tell_closed(self, reason, **who)


class Viewers:
    """All of them."""

    def __init__(self, media: Media, services: Services) -> None:
        """
        Start with nobody.

        Args:
            media: admits.
            services: of the server.
        """
        self.services = services
        self._media = media
        self._viewers: dict[bytes, Viewer] = {}
        self._by_source: dict[bytes, Viewer] = {}
        self._banned: dict[bytes, tuple[float, str]] = {}
        self._by_address: Counter[str] = Counter()
        """How many there are, by address as `counted_as` has it."""

    def __len__(self) -> int:
        return len(self._viewers)

    def __iter__(self) -> Iterator[Viewer]:
        return iter(list(self._viewers.values()))

    async def admit(self, request: web.Request, asked: Named) -> Viewer:
        """
        Find the viewer that a request is of; a new one is made if it may watch.

        Args:
            request: for a playlist.
            asked: the stream that it names.

        Returns:
            The viewer.

        Raises:
            Refusal: 403, 404 or 503.
        """
        key = _key_of(request, asked)
        viewer = self._find(key)
        if viewer is not None:
            return viewer
        services = self.services
        if services.connect_refusal is not None:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, services.connect_refusal.description)
        number, address = next(client_numbers), request.remote or ""
        self._check_room(address)
        try:
            grant = await self._media.admit(request, asked, number)
        except Refusal as refusal:
            services.log.info(
                "play refused", client=number, address=address, role="play", stream=asked.path, why=refusal.detail
            )
            raise
        # A hook takes its time: another request of the same viewer may have come and been admitted, or those of many others.
        viewer = self._find(key)
        if viewer is None:
            self._check_room(address)
            viewer = self._enter(Viewer(self, key, number, address, grant))
        return viewer

    def note_source(self, viewer: Viewer, request: web.Request, edition: str) -> None:
        """Remember that what is asked for of an edition, from where this request came, goes to a viewer."""
        source = _source_of(request, edition)
        self._by_source[source] = viewer
        viewer.sources.add(source)
        if viewer.edition != edition:
            viewer.edition = edition
            viewer.playlist_version = viewer.newest_part = -1

    def find_source(self, request: web.Request, edition: str) -> Viewer | None:
        """Find who asks for media of an edition, as far as that can be told."""
        return self._by_source.get(_source_of(request, edition))

    def ban(self, key: bytes, reason: str) -> None:
        """Refuse the requests of a viewer for a while."""
        self._banned[key] = (self.services.loop.time() + BANNED_S, reason)

    def forget(self, viewer: Viewer) -> None:
        """Take a viewer out."""
        self.services.connections.discard(viewer)
        if self._viewers.pop(viewer.key, None) is not None:
            self.services.visitors -= 1
            counted = counted_as(viewer.address)
            self._by_address[counted] -= 1
            if not self._by_address[counted]:
                del self._by_address[counted]
        for source in viewer.sources:
            if self._by_source.get(source) is viewer:
                del self._by_source[source]

    def sweep(self, patience_s: float) -> None:
        """
        Let those go who ask no more, and bans end.

        Args:
            patience_s: for how long a viewer may ask for nothing.
        """
        now = self.services.loop.time()
        for viewer in self:
            if not viewer.is_asking and now - viewer.seen_s > patience_s:
                viewer.leave("asked for nothing any more")
        self._banned = {key: ban for key, ban in self._banned.items() if ban[0] > now}

    def _find(self, key: bytes) -> Viewer | None:
        until_s, reason = self._banned.get(key, (0.0, ""))
        if self.services.loop.time() < until_s:
            raise Refusal(HTTPStatus.FORBIDDEN, reason)
        return self._viewers.get(key)

    def _check_room(self, address: str) -> None:
        counted = counted_as(address)
        if len(self._viewers) >= MOST_VIEWERS:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{MOST_VIEWERS} watch by HLS already")
        if self._by_address[counted] >= MOST_VIEWERS_PER_ADDRESS and not is_this_machine(counted):
            reason = f"{MOST_VIEWERS_PER_ADDRESS} watch by HLS from {counted} already"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason)

    def _enter(self, viewer: Viewer) -> Viewer:
        self._viewers[viewer.key] = viewer
        self._by_address[counted_as(viewer.address)] += 1
        self.services.visitors += 1
        self.services.connections.add(viewer)
        return viewer


def _key_of(request: web.Request, asked: Named) -> bytes:
    """What admits is part of it, or one with a token would bring in all others behind the same address."""
    parameters = request.rel_url.raw_query_string.split("&")
    query = "&".join(each for each in parameters if not each.startswith(DIRECTIVES))
    headers = (request.headers.get(name, "") for name in ("User-Agent", "Authorization", "Cookie"))
    return _digest(request.remote or "", asked.path, query, *headers)


def _source_of(request: web.Request, edition: str) -> bytes:
    """Media are asked for without query and credentials."""
    return _digest(request.remote or "", request.headers.get("User-Agent", ""), edition)


def _digest(*texts: str) -> bytes:
    """Strangers choose how long the texts are, and there may be thousands of them."""
    return hashlib.blake2b("\n".join(texts).encode(errors="surrogateescape"), digest_size=16).digest()
