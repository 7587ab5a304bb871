"""What the console needs, made up: operations, a session, pictures, and a live MP4 that lasts as long as a test says."""

from __future__ import annotations

import asyncio
import io
import threading
from http import HTTPStatus
from pathlib import Path

import av
from aiohttp import web

from rtmpd.control.models import Callback, CallbackList
from rtmpd.web.problems import Refusal
from tests.helpers.media import remux
from tests.helpers.operations import EVENT, NOW_S, FakeOperations, file

PART_S = 0.2


EVIL = "live/<img src=x onerror=document.title='evil'>\"'"
"""A stream's name that would be markup, and out of its attribute."""


class ConsoleOperations(FakeOperations):
    """Operations whose names of everything come from whoever is out there."""

    def __init__(self):
        super().__init__()
        self.public = True
        self.recordings_of = 1
        self.pages = None

    def streams(self):
        answer = super().streams()
        changed = [
            each.model_copy(update={"public": self.public, "recordings": self.recordings_of}) for each in answer.streams
        ]
        return answer.model_copy(update={"streams": changed})

    async def recordings(self, query):
        answer = await super().recordings(query)
        found = [
            each.model_copy(
                update={"path": f"live/me/{each.file_id}{EVIL[5:]}.mp4", "url": "http://x.example/r", "stream": EVIL}
            )
            for each in answer.recordings
        ]
        if self.pages:
            found = [file(f"f-{number}") for number in range(self.pages)]
        return answer.model_copy(update={"recordings": found[query.offset : query.offset + query.limit]})

    async def callbacks(self, query):
        self._note("callbacks", query)
        callback = Callback(
            event_id=EVENT,
            event_type=100,
            stream=EVIL,
            url="http://a.example/<script>document.title='evil'</script>",
            state="dead",
            attempts=3,
            created_at=NOW_S,
            next_try_at=None,
            last_error="answered <b onmouseover=\"document.title='evil'\">500</b>",
            body={},
        )
        return CallbackList(pending=0, dead=1, callbacks=[callback])

    def asked_for(self, verb):
        """What was asked of a verb: its arguments, each time."""
        return [values for name, *values in self.asked if name == verb]


class FakeSessions:
    """The session alone: who has it is asked by nobody."""

    def __init__(self, token: str = "") -> None:
        self.token = token
        self.is_open = False

    def routes(self):
        return [
            web.get("/session", self._tell),
            web.post("/session", self._open),
            web.delete("/session", self._close),
        ]

    async def _tell(self, _request):
        return web.json_response({"needs_token": bool(self.token), "is_open": self.is_open})

    async def _open(self, request):
        if self.token and (await request.json()).get("token") != self.token:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "the token is not one of http.token")
        self.is_open = True
        return web.Response(status=204)

    async def _close(self, _request):
        self.is_open = False
        return web.Response(status=204)


class FakeMedia:
    """A live MP4 of any stream, in real time from a file, and a picture of any stream and recording."""

    def __init__(self, fragmented: Path) -> None:
        """
        Prepare.

        Args:
            fragmented: an MP4 whose fragments are parts; see `fragment`.
        """
        self.init, self.parts = split(fragmented.read_bytes())
        self.picture = b""
        self.asked = 0
        """How often the live MP4 was."""
        self.playing = 0
        """Responses that have not ended."""
        self.going = threading.Event()
        """Cleared, a response ends."""
        self.going.set()
        self.pace = 1.0
        """Of the live MP4: 1 is real time, 0 all at once."""
        self.missing = False
        """Answer 404."""

    def routes(self):
        return [
            web.get("/{path:.+}.mp4", self._live),
            web.get("/{path:.+}.jpg", self._picture),
        ]

    async def _picture(self, _request):
        if not self.picture:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no picture")
        return web.Response(body=self.picture, content_type="image/jpeg")

    async def _live(self, request):
        self.asked += 1
        if self.missing:
            raise Refusal(HTTPStatus.NOT_FOUND, "nobody publishes it")
        response = web.StreamResponse(headers={"Content-Type": "video/mp4"})
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        self.playing += 1
        try:
            await response.write(self.init)
            for number, part in enumerate(self.parts):
                if not self.going.is_set():
                    break
                await response.write(part)
                await asyncio.sleep(max(0.0, started_s + (number + 1) * PART_S * self.pace - loop.time()))
            while not self.pace and self.going.is_set():  # the edge has come, and nothing after it
                await asyncio.sleep(PART_S)
        except ConnectionError:  # the page has been left
            pass
        finally:
            self.playing -= 1
        return response


def fragment(source: Path, target: Path) -> Path:
    """Make parts of a file, as the packager does: fragments of 200 ms, cut at key frames as well."""
    options = {
        "movflags": "frag_keyframe+empty_moov+default_base_moof",
        "min_frag_duration": "0",
        "frag_duration": str(int(PART_S * 1_000_000)),
    }
    return remux(source, target, options)


def split(data: bytes) -> tuple[bytes, list[bytes]]:
    """Take a fragmented MP4 apart: its init section, and its parts."""
    init, parts, at = b"", [], 0
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        box = data[at : at + size]
        at += size
        if kind in {b"ftyp", b"moov"}:
            init += box
        elif kind in {b"moof", b"styp"}:
            parts.append(box)
        elif parts and kind == b"mdat":
            parts[-1] += box
    return init, parts


def jpeg_of(source: Path) -> bytes:
    """The first picture of a file as JPEG."""
    with av.open(source) as container:
        frame = next(container.decode(video=0))
    target = io.BytesIO()
    with av.open(target, "w", format="mjpeg") as made:
        stream = made.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuvj420p"
        for packet in [*stream.encode(frame.reformat(format="yuvj420p")), *stream.encode(None)]:
            made.mux(packet)
    return target.getvalue()
