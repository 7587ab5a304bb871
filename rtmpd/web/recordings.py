"""
Recordings over HTTP: GET /recordings/PATH, whole or in ranges, while they grow and when they are closed.

Disks are read in threads of our own, a piece at a time and only when the one before has been taken: neither a disk that
hangs nor readers that are slow hold up the loop, or each other for longer than it takes to read a piece. `sendfile`, and
so aiohttp's FileResponse, lost: it reads from the disk in the loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import quote, unquote

from aiohttp import web

from rtmpd.address import counted_as
from rtmpd.control.addresses import is_this_machine
from rtmpd.control.recorded import RecordedFile, RecordedFiles
from rtmpd.errors import NotPossible
from rtmpd.web.admissions import Admissions
from rtmpd.web.below import OpenFile, open_below
from rtmpd.web.conditions import Verdict, Version, format_date, judge
from rtmpd.web.media import Media
from rtmpd.web.problems import Refusal

PREFIX = "/recordings/"
MOST_READERS = 256
"""Transfers at once; each may hold a piece and what the socket's buffers do not take."""
MOST_READERS_PER_ADDRESS = 64
"""
Of those, from one address that is not this machine's: who takes 64 KB a minute on each of his connections keeps them all
for ever, and nobody else gets a recording. A quarter, as many may share an address; and none for this machine's, as one
proxy on it may be everybody.
"""
STALL_S = 60.0
"""A reader that takes nothing for so long is disconnected; browsers that pause come again with a range."""
_PIECE_BYTES = 64 * 1024
_THREADS = 4
_CACHED_S = 3600
_PLAYLIST_PIECE_BYTES = 2 * 1024
"""The same of a playlist: fifty lines, to each of which a query of 8 KB may be added."""
_RETRY_S = 5
_URI = re.compile(rb'URI="([^"]*)"')
_PLAIN_NAME = re.compile(r"[^A-Za-z0-9 ._-]")

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO})
"""Numbers of errors that mean: there is no plain file of that name here."""

T = TypeVar("T")


class Recordings:
    """Serves the recordings directory, as far as the index knows it."""

    def __init__(self, media: Media, files: RecordedFiles, directory: Path) -> None:
        """
        Prepare.

        Args:
            media: knows who may have them.
            files: knows which there are.
            directory: absolute; holds them.
        """
        self._media = media
        self._files = files
        self._directory = directory
        self._admissions = Admissions(media)
        self._threads = ThreadPoolExecutor(_THREADS, "recordings")
        self._readers: Counter[str] = Counter()
        """Transfers, by address as `counted_as` has it."""

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [web.get(f"{PREFIX}{{path:.+}}", self._answer)]

    def forget_admissions(self) -> None:
        """Ask for everybody anew: another configuration may admit others."""
        self._admissions.clear()

    def close(self) -> None:
        """Read nothing any more; after the last request."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        file = await self._find(request)
        await self._admissions.require(request, file.stream, file.file_id)
        address = counted_as(request.remote or "")
        self._check_room(request, address)
        self._readers[address] += 1
        try:
            source = await self._open(request, file)
            try:
                return await self._send(request, file, source)
            finally:
                self._let_go(source)
        finally:
            self._readers[address] -= 1
            if not self._readers[address]:
                del self._readers[address]

    def _check_room(self, request: web.Request, address: str) -> None:
        if self._readers.total() >= MOST_READERS:
            reason = f"{MOST_READERS} recordings are being read already"
        elif self._readers[address] >= MOST_READERS_PER_ADDRESS and not is_this_machine(address):
            reason = f"{MOST_READERS_PER_ADDRESS} recordings are being read from {address} already"
        else:
            return
        raise self._refusal(request, HTTPStatus.SERVICE_UNAVAILABLE, reason, {"Retry-After": str(_RETRY_S)})

    async def _find(self, request: web.Request) -> RecordedFile:
        try:
            # Once, and all of it: the router leaves some characters encoded.
            path = unquote(request.rel_url.raw_path, errors="strict")
        except UnicodeDecodeError:
            path = ""
        if not path.startswith(PREFIX):
            raise self._absent(request)
        try:
            return await self._files.find_path(path.removeprefix(PREFIX))
        except NotPossible as error:
            if error.kind != "unknown":
                raise
            raise self._absent(request) from None

    async def _open(self, request: web.Request, file: RecordedFile) -> OpenFile:
        """Open it; whoever gives up meanwhile leaves no descriptor behind."""
        opening = self._in_thread(lambda: open_below(self._directory, file.path))
        try:
            return await asyncio.shield(opening)
        except OSError as error:
            if error.errno in _ABSENT:
                raise self._absent(request) from None
            raise NotPossible("unavailable", f"the file cannot be opened: {error.strerror}") from None
        except asyncio.CancelledError:
            opening.add_done_callback(self._let_go_of_unused)
            raise

    def _let_go(self, source: OpenFile) -> None:
        """Close it in a thread: who closes a deleted file last removes it from the disk, which takes its time."""
        self._threads.submit(os.close, source.descriptor)

    def _let_go_of_unused(self, opening: asyncio.Future[OpenFile]) -> None:
        if not opening.cancelled() and opening.exception() is None:
            self._let_go(opening.result())

    async def _send(self, request: web.Request, file: RecordedFile, source: OpenFile) -> web.StreamResponse:
        query = _query_of(request)
        if file.is_playlist and query:
            response = web.StreamResponse(headers={**self._headers(request, file), "Cache-Control": "no-store"})
            if request.method != "HEAD":
                await response.prepare(request)
                await self._pour(request, response, self._with_query(source, query))
            return response
        version = _version_of(file, source.status)
        verdict = judge(request.headers, version)
        if verdict.status >= HTTPStatus.BAD_REQUEST:
            raise self._unsuited(request, verdict, version)
        response = web.StreamResponse(status=verdict.status, headers=self._headers(request, file))
        _describe(response, verdict, version)
        if verdict.status is HTTPStatus.NOT_MODIFIED or request.method == "HEAD":
            return response
        await response.prepare(request)
        end = verdict.start + verdict.size_bytes
        await self._pour(request, response, self._pieces(source.descriptor, verdict.start, end, _PIECE_BYTES))
        return response

    async def _pour(
        self, request: web.Request, response: web.StreamResponse, pieces: AsyncGenerator[bytes, None]
    ) -> None:
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    async with asyncio.timeout(STALL_S):
                        await response.write(piece)
        except EOFError:
            response.force_close()
        except (OSError, TimeoutError):
            response.force_close()
            if request.transport is not None:
                request.transport.abort()

    async def _pieces(self, descriptor: int, start: int, end: int, size: int) -> AsyncGenerator[bytes, None]:
        """
        Read a file.

        Raises:
            EOFError: it was cut, as a repair does; less than what was promised has to be seen to be less.
        """
        position = start
        while position < end:
            piece = await self._read(descriptor, min(size, end - position), position)
            if not piece:
                raise EOFError
            position += len(piece)
            yield piece

    async def _with_query(self, source: OpenFile, query: str) -> AsyncGenerator[bytes, None]:
        """Read a playlist and add to its lines, of which it may have a hundred thousand, a few at a time."""
        rest = b""
        async with aclosing(self._pieces(source.descriptor, 0, source.status.st_size, _PLAYLIST_PIECE_BYTES)) as pieces:
            async for piece in pieces:
                whole, newline, rest = (rest + piece).rpartition(b"\n")
                if newline:
                    yield with_query(whole + newline, query)
        if rest:
            yield with_query(rest, query)

    def _read(self, descriptor: int, size: int, position: int) -> Awaitable[bytes]:
        # A copy of the descriptor: who is cancelled closes its own while the thread may still be about to read.
        own = os.dup(descriptor)

        def read() -> bytes:
            try:
                return os.pread(own, size, position)
            finally:
                os.close(own)

        return self._in_thread(read)

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _headers(self, request: web.Request, file: RecordedFile) -> dict[str, str]:
        caching = "no-store"
        if file.is_final:
            # A playlist goes on when its publisher comes back.
            caching = "no-cache" if file.is_playlist else f"private, max-age={_CACHED_S}"
        headers = {"Content-Type": file.content_type, "Cache-Control": caching, "Server": "rtmpd"}
        if request.query.get("download") == "1":
            headers["Content-Disposition"] = attachment(PurePosixPath(file.path).name)
        return {**headers, **self._media.headers(request)}

    def _unsuited(self, request: web.Request, verdict: Verdict, version: Version) -> Refusal:
        if verdict.status == HTTPStatus.PRECONDITION_FAILED:
            return self._refusal(request, verdict.status, "the file is another one by now", {})
        span = {"Content-Range": f"bytes */{version.size_bytes}"}
        return self._refusal(request, verdict.status, f"the file has {version.size_bytes} bytes", span)

    def _absent(self, request: web.Request) -> Refusal:
        return self._refusal(request, HTTPStatus.NOT_FOUND, "there is no such file", {})

    def _refusal(self, request: web.Request, status: HTTPStatus, detail: str, headers: dict[str, str]) -> Refusal:
        return Refusal(status, detail, headers={**headers, **self._media.headers(request)})


def attachment(name: str) -> str:
    """
    Write the header that has a browser save what it gets (RFC 6266).

    Args:
        name: of the file; any text.

    Returns:
        The name twice: in ASCII without what means something to browsers, and whole.
    """
    return f"attachment; filename=\"{_PLAIN_NAME.sub('_', name)}\"; filename*=UTF-8''{quote(name, safe='')}"


def with_query(playlist: bytes, query: str) -> bytes:
    """
    Add to what a playlist names the query that admits to it: players resolve names without the playlist's own query.

    Args:
        playlist: of ours, so that its URIs have no queries.
        query: percent-encoded.

    Returns:
        The playlist.
    """
    added = f"?{query}".encode()
    lines = []
    for line in playlist.split(b"\n"):
        if line.startswith(b"#"):
            lines.append(_URI.sub(lambda match: b'URI="%b%b"' % (match[1], added), line))
        else:
            lines.append(line + added if line.strip() else line)
    return b"\n".join(lines)


def _query_of(request: web.Request) -> str:
    """The query of a playlist's request, fit for its lines, without what is about the playlist alone."""
    parts = request.rel_url.raw_query_string.split("&")
    return quote("&".join(part for part in parts if part and part != "download=1"), safe="=&%+-._~!$'()*,;:@/?")


def _version_of(file: RecordedFile, status: os.stat_result) -> Version:
    if not file.is_final:
        return Version(status.st_size, None, None)
    return Version(status.st_size, f'"{status.st_mtime_ns:x}-{status.st_size:x}"', int(status.st_mtime))


def _describe(response: web.StreamResponse, verdict: Verdict, version: Version) -> None:
    """Write the headers of a file, or of a part of it."""
    response.headers["Accept-Ranges"] = "bytes"
    if version.etag is not None:
        response.headers["ETag"] = version.etag
    if version.modified_s is not None:
        response.headers["Last-Modified"] = format_date(version.modified_s)
    if verdict.status is HTTPStatus.PARTIAL_CONTENT:
        last = verdict.start + verdict.size_bytes - 1
        response.headers["Content-Range"] = f"bytes {verdict.start}-{last}/{version.size_bytes}"
    if verdict.status is not HTTPStatus.NOT_MODIFIED:
        response.content_length = verdict.size_bytes
