"""
Pictures over HTTP: GET /APPLICATION/STREAM.jpg and /recordings/FILE_ID.jpg, to who may play the stream.

Who looks at a picture is no player: nobody is counted, no publisher is waited for, and nothing is pulled for it.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from rtmpd.control.recorded import RecordedFiles
from rtmpd.control.rooms import Named
from rtmpd.errors import NotPossible
from rtmpd.live.registry import Registry
from rtmpd.web.admissions import Admissions
from rtmpd.web.media import Media
from rtmpd.web.problems import Refusal
from rtmpd.web.recordings import PREFIX
from rtmpd.workers.thumbnails import STREAM_KEPT_S, Thumbnails

_RECORDING_CACHED_S = 3600


class Pictures:
    """Serves them."""

    def __init__(self, media: Media, thumbnails: Thumbnails, registry: Registry, files: RecordedFiles) -> None:
        """
        Prepare.

        Args:
            media: knows who may have them.
            thumbnails: makes them.
            registry: of the streams.
            files: knows which recordings there are.
        """
        self._media = media
        self._thumbnails = thumbnails
        self._registry = registry
        self._files = files
        self._admissions = Admissions(media)

    def routes(self) -> list[web.RouteDef]:
        """What it answers; a recording's picture before a recording's path, and both before a stream's picture."""
        return [
            web.get(f"{PREFIX}{{file_id:[^/]+}}.jpg", self._of_recording),
            web.get("/{app:.+}/{stream:[^/]+}.jpg", self._of_stream),
        ]

    def forget_admissions(self) -> None:
        """Ask for everybody anew: another configuration may admit others."""
        self._admissions.clear()

    async def _of_recording(self, request: web.Request) -> web.Response:
        try:
            file = await self._files.find(request.match_info["file_id"])
        except NotPossible as error:
            if error.kind != "unknown":
                raise
            raise self._absent(request, error.detail) from None
        await self._admissions.require(request, file.stream, file.file_id)
        picture = await self._thumbnails.of_recording(file.path, file.file_format, file.file_id)
        return self._answer(request, picture, _RECORDING_CACHED_S)

    async def _of_stream(self, request: web.Request) -> web.Response:
        asked = Named(request.match_info["app"], request.match_info["stream"])
        named = await self._admissions.admit(request, asked, asked.path)
        stream = self._registry.find(*named)
        if stream is None or not stream.is_watchable:
            raise self._absent(request, f"nobody publishes {asked.path}")
        return self._answer(request, await self._thumbnails.of_stream(stream), round(STREAM_KEPT_S))

    def _answer(self, request: web.Request, picture: bytes | None, cached_s: int) -> web.Response:
        if picture is None:
            raise self._absent(request, "there is no picture of it")
        headers = {"Cache-Control": f"private, max-age={cached_s}", "Server": "rtmpd", **self._media.headers(request)}
        return web.Response(body=picture, content_type="image/jpeg", headers=headers)

    def _absent(self, request: web.Request, detail: str) -> Refusal:
        return Refusal(HTTPStatus.NOT_FOUND, detail, headers=self._media.headers(request))
