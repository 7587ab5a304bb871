"""
HLS over HTTP, from memory: the playlist of a stream, and the files that it names.

    /APP/STREAM.m3u8         for who may play the stream; waits for its publisher, and for what a player asks to wait for
    /APP/EDITION/FILE.m4s    for who has the playlist: the edition cannot be guessed

Low-latency players ask for a playlist that has a certain part (`_HLS_msn`, `_HLS_part`) and for the part that is hinted
at before it is there; both are answered when it comes. RFC 8216bis section 6.2.5.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from aiohttp import web

from rtmpd.config import Config
from rtmpd.control.rooms import Named
from rtmpd.live.stream import Stream, StreamState
from rtmpd.live.window import Window
from rtmpd.net.services import Services
from rtmpd.web.farewell import Farewell
from rtmpd.web.hls_view import View
from rtmpd.web.hls_viewers import DIRECTIVES, Viewer, Viewers
from rtmpd.web.media import Media
from rtmpd.web.problems import Refusal
from rtmpd.web.sending import send
from rtmpd.workers.packaging import Packaging, Packagings

FIRST_ANSWER_S = 8.0
"""For a first playlist to have something in it; hls.js gives up after 10 s."""
NUMBERS_AHEAD = 1
"""How far behind the segment that grows a player may ask for one: two behind the last whole one."""
TARGETS_AHEAD = 2
"""
And how far behind the newest part for another one, in target durations.

RFC 8216bis section 6.2.5.2 would refuse what is 3 s ahead. After a pause hls.js asks for what it thinks has come meanwhile,
up to 1.5 target durations ahead, and gives up when that is refused.
"""
SILENCE_S = 10.0
"""A viewer that asks for no playlist for so long, and for as long as three segments take, has gone."""
SWEEP_S = 2.0
TARGETS_SILENT = 2
"""At the end of the server, a viewer that has asked for no playlist for so many target durations is not waited for."""
PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
_LOOK_S = 0.25
"""That a stream cannot be packaged is no change of its window: it is looked for this often, before the first answer."""
_PLAYLIST_HEADERS = {"Cache-Control": "no-cache", "Content-Type": PLAYLIST_TYPE, "Server": "rtmpd"}
_FILE_HEADERS = {"Cache-Control": "public, max-age=3600, immutable", "Server": "rtmpd"}
"""A file is never another one under the same name: an edition is new for each run of a packager."""
_LONGEST_NAME = 1024
_STOPS = "server stops"
_DIRECTIVE = re.compile("[0-9]{1,15}")
_REPLACEMENT = "\ufffd"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Wanted(NamedTuple):
    """What a playlist must have before a player wants it."""

    number: int
    part: int | None


class _Content(NamedTuple):
    """Of a file."""

    init_number: int
    data: bytes | memoryview
    newest_part: int
    """Number of its last part; -1 where it has none."""


class Hls:
    """Answers players of HLS (an `rtmpd.web.media.Outputs`)."""

    def __init__(self, media: Media, packagings: Packagings, services: Services, config: Config) -> None:
        """
        Prepare.

        Args:
            media: admits viewers.
            packagings: what there is to see.
            services: of the server.
            config: its packaging.
        """
        self._media = media
        self._packagings = packagings
        self._services = services
        self._silence_s = SILENCE_S + 3 * config.packaging.segment_s
        self._viewers = Viewers(media, services)
        self._views: dict[str, View] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._farewell: Farewell | None = None
        """Since streams have ended."""
        self._is_closed = False

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            web.get("/{app:.+}/{stream:[^/]+}.m3u8", self.playlist),
            web.get(r"/{app:.+}/{edition:[0-9a-f]{16}}/{kind:init-|part-|}{number:[0-9]{1,15}}.m4s", self.file),
        ]

    async def finish(self, timeout_s: float) -> None:
        """
        Let viewers have what was packaged last, which nothing follows, and close.

        Args:
            timeout_s: for those who read something to ask for the rest; who waits for a first answer is refused.
        """
        views, now = dict(self._views), self._services.loop.time()
        self._farewell = farewell = Farewell()
        for viewer in self._viewers:
            if viewer.edition not in views:
                viewer.leave(_STOPS)
                continue
            window = views[viewer.edition].window
            if viewer.is_asking or now - viewer.seen_s < TARGETS_SILENT * window.target_duration_s:
                farewell.owe(viewer, window)
        for view in views.values():
            view.end()
        await farewell.wait(timeout_s)
        self.close()

    def close(self) -> None:
        """Let everybody go, and nobody in; a while before the site is closed, so that all are answered."""
        self._is_closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for viewer in self._viewers:
            viewer.leave(_STOPS)
        for edition in list(self._views):
            self._views.pop(edition).close()

    async def playlist(self, request: web.Request) -> web.StreamResponse:
        """
        Answer with a stream's playlist.

        Args:
            request: its query is that of an RTMP URL, and may say what to wait for.

        Raises:
            Refusal: 400, 403, 404, 415 or 503.
        """
        return await self._shared(request, self._playlist)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """
        Answer with a file that a playlist names.

        Args:
            request: without a query.

        Raises:
            Refusal: 404.
        """
        return await self._shared(request, self._file)

    async def _shared(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refusals are for the pages of other sites to read, too."""
        try:
            self._check_open()
            return await handler(request)
        except Refusal as refusal:
            refusal.headers = {**self._media.headers(request), **refusal.headers}
            raise

    def _check_open(self) -> None:
        if self._is_closed:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the server is stopping")

    # Playlists

    async def _playlist(self, request: web.Request) -> web.Response:
        asked, wanted = _named(request), _wanted(request)
        viewer = await self._viewers.admit(request, asked)
        self._keep_sweeping()
        with viewer.asking():
            view = await self._ready(viewer)
            self._viewers.note_source(viewer, request, view.edition)
            if wanted is not None:
                _check_distance(view.window, wanted)
                await view.wait_for_media(wanted.number, wanted.part)
                if self._find(stream := viewer.join()) is None:  # it took a while, and may be private now
                    raise _nothing_yet(stream)
        return self._answer_playlist(request, view, viewer)

    def _answer_playlist(self, request: web.Request, view: View, viewer: Viewer) -> web.Response:
        rendered = view.playlist()
        headers = {**_PLAYLIST_HEADERS, **self._media.headers(request)}
        headers["Vary"] = ", ".join(filter(None, ("Accept-Encoding", headers.get("Vary"))))
        body = rendered.plain
        if _takes_gzip(request):
            headers["Content-Encoding"] = "gzip"
            body = rendered.compressed
        viewer.playlist_version = view.window.version
        self._note_sent(viewer, len(body))
        return web.Response(body=body, headers=headers)

    async def _ready(self, viewer: Viewer) -> View:
        """
        Wait for a publisher, and then for a whole segment, without which hls.js sees nothing.

        Where key frames are rare that takes too long, and a second of parts is better than nothing.
        """
        loop = self._services.loop
        media_s = loop.time() + FIRST_ANSWER_S
        publisher_s = loop.time() + min(self._services.wait_s, FIRST_ANSWER_S)
        while True:
            stream = viewer.join()
            view = self._find(stream)
            left_s = (media_s if stream.is_watchable else publisher_s) - loop.time()
            if view is not None and (view.has_segment or (left_s <= 0 and view.has_parts)):
                return view
            if left_s <= 0:
                raise _nothing_yet(stream)
            if view is None:
                await viewer.waiting.until(_watchable(stream), min(left_s, _LOOK_S))
            else:
                await view.waiting.until(_begun(view), min(left_s, _LOOK_S))

    def _find(self, stream: Stream) -> View | None:
        packaging = None
        if stream.is_watchable:
            packaging = self._packagings.want(stream)
        elif stream.state is StreamState.IDLE:  # one that is private is not to be seen, nor what was seen of it before
            packaging = self._packagings.get(stream.app, stream.name)
        if packaging is None:
            return None
        if packaging.refusal is not None:
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, packaging.refusal)
        return self._view(packaging)

    def _view(self, packaging: Packaging) -> View:
        view = self._views.get(packaging.edition)
        if view is None:
            view = self._views[packaging.edition] = View(packaging.window, packaging.edition)
            self._keep_sweeping()
        return view

    # Files

    async def _file(self, request: web.Request) -> web.StreamResponse:
        edition, number = request.match_info["edition"], int(request.match_info["number"])
        packaging = self._packagings.find(edition)
        if packaging is None:
            raise _gone()
        found = await self._content(packaging, request.match_info["kind"], number)
        if found is None:
            raise _gone()
        init = packaging.window.find_init(found.init_number)
        kind = "video/mp4" if init is None or init.has_video else "audio/mp4"
        headers = {**_FILE_HEADERS, "Content-Type": kind, **self._media.headers(request)}
        answer = await send(request, found.data, headers)
        viewer = self._viewers.find_source(request, edition)
        if viewer is not None:
            viewer.newest_part = max(viewer.newest_part, found.newest_part)
            self._note_sent(viewer, len(found.data))
        return answer

    def _note_sent(self, viewer: Viewer, size_bytes: int) -> None:
        viewer.bytes_out += size_bytes
        if self._farewell is not None:
            self._farewell.look(viewer)

    async def _content(self, packaging: Packaging, kind: str, number: int) -> _Content | None:
        window = packaging.window
        if kind == "init-":
            init = window.find_init(number)
            return None if init is None else _Content(number, init.data, -1)
        if kind == "part-":
            await self._view(packaging).wait_for_part(number)
            part = window.find_part(number)
            return None if part is None else _Content(part.init_number, part.data, number)
        segment = window.find_segment(number)
        if segment is None or segment.data is None:
            return None
        return _Content(segment.init_number, segment.data, segment.parts[-1].number)

    # What goes

    def _keep_sweeping(self) -> None:
        if self._sweep_timer is None and (self._viewers or self._views):
            self._sweep_timer = self._services.loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._sweep_timer = None
        self._viewers.sweep(self._silence_s)
        for edition in [each for each in self._views if self._packagings.find(each) is None]:
            self._views.pop(edition).close()
        self._keep_sweeping()


def _named(request: web.Request) -> Named:
    """What no publisher can be called is not asked about: it would reach hooks and the log."""
    named = Named(request.match_info["app"], request.match_info["stream"])
    segments = {*named.app.split("/"), named.name}
    is_name = named.path.isprintable() and len(named.path) <= _LONGEST_NAME and _REPLACEMENT not in named.path
    if "/" in named.name or segments & {"", ".", ".."} or not is_name:
        raise Refusal(HTTPStatus.NOT_FOUND, "no stream can have that name")
    return named


def _wanted(request: web.Request) -> _Wanted | None:
    """Read what a player asks to wait for; directives that are not known are to be ignored."""
    given: Mapping[str, str] = request.query
    values = {}
    for name in ("msn", "part"):
        value = given.get(f"{DIRECTIVES}{name}")
        if value is not None:
            if _DIRECTIVE.fullmatch(value) is None:
                raise Refusal(HTTPStatus.BAD_REQUEST, f"{DIRECTIVES}{name} is a whole number")
            values[name] = int(value)
    if not values:
        return None
    if "msn" not in values:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{DIRECTIVES}part needs {DIRECTIVES}msn")
    return _Wanted(values["msn"], values.get("part"))


def _check_distance(window: Window, wanted: _Wanted) -> None:
    ahead = wanted.number - window.next_number
    newest = len(window.current.parts) if ahead == 0 and window.current is not None else 0
    parts_ahead = 0 if wanted.part is None or ahead < 0 else wanted.part - newest
    if ahead > NUMBERS_AHEAD or parts_ahead * window.part_ms > TARGETS_AHEAD * window.target_duration_s * 1000:
        raise Refusal(HTTPStatus.BAD_REQUEST, "that is too far behind the end of the playlist")


def _watchable(stream: Stream) -> Callable[[], bool]:
    return lambda: stream.is_watchable


def _begun(view: View) -> Callable[[], bool]:
    return lambda: view.has_segment


def _nothing_yet(stream: Stream) -> Refusal:
    if stream.is_watchable:
        reason = f"nothing of {stream.path} is packaged yet"
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason, headers={"Retry-After": "1"})
    return Refusal(HTTPStatus.NOT_FOUND, f"nobody publishes {stream.path}")


def _gone() -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, "there is no such file any more, or not yet")


def _takes_gzip(request: web.Request) -> bool:
    for each in request.headers.get("Accept-Encoding", "").lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
