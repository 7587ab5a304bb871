"""
Small pictures of streams and of recordings, each made once for all who ask.

What is decoded comes from strangers, so it is done in processes that do nothing else, each of which has one picture in hand:
one that hangs is killed after some seconds, one that crashes is replaced, and either costs the one picture.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rtmpd.errors import NotPossible
from rtmpd.live.log import KeyFrame
from rtmpd.live.stream import Stream
from rtmpd.logs import Logger
from rtmpd.net.tasks import Tasks
from rtmpd.wire.flv import encode_file_header, encode_tag
from rtmpd.wire.messages import VIDEO
from rtmpd.workers.protocol import PICTURE, JobDone
from rtmpd.workers.workshop import DIED, Workshop

STREAM_KEPT_S = 5.0
"""A stream's picture is shown for so long, however often it is asked for."""
NOTHING_KEPT_S = 60.0
"""For so long it is not tried again to make a picture of a recording of which there was none."""
AT_ONCE = 2
"""Pictures that are made at once; others wait their turn."""
MOST_WAITING = 64
"""Pictures that are made or wait to be; more are refused."""
KEPT_BYTES = 16 * 1024 * 1024
"""All pictures that are kept."""
MOST_BYTES = 2 * 1024 * 1024
"""One picture: sixty times what one of a film is."""
JOB_S = 5.0
"""For a picture."""
START_S = 15.0
"""The same where a process has to be started for it."""
PATIENCE_S = 30.0
"""For who waits: a process that hangs in its disk cannot be killed."""
REST_S = 30.0
"""Without a picture to make, the processes are let go."""
ADDRESS_SPACE_BYTES = 2 * 1024 * 1024 * 1024
"""Of a process: a picture of 8K takes 450 MB of them, a broken one what it likes."""
_ENTRY_BYTES = 256
_WITHOUT_PICTURES = frozenset({"m4a", "mp3"})


def most_bytes(message_bytes: int) -> int:
    """
    Sum up what all pictures of a server may take of its memory.

    Args:
        message_bytes: of one audio or video message, at most.

    Returns:
        Bytes: what is kept, and the films and pictures that are being made.
    """
    return KEPT_BYTES + AT_ONCE * (2 * message_bytes + 2 * MOST_BYTES)


class _Kept(NamedTuple):
    picture: bytes | None
    until_s: float
    key_frame: KeyFrame | None = None
    """Of a stream: what it shows, which may still be the newest one."""


class _Subject(NamedTuple):
    """What a picture is of."""

    key: tuple[str, ...]
    name: str
    """For the log."""
    file_format: str
    path: Path | None = None
    film: Callable[[], bytes | None] | None = None
    """Makes the film of a stream when it has its turn: those that wait hold no pictures. None: of a recording."""


class Thumbnails:
    """Makes pictures, and keeps them for a while."""

    def __init__(
        self,
        directory: Path,
        tasks: Tasks,
        log: Logger,
        *,
        make: Callable[[], Workshop] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Prepare; processes are started when there is a picture to make.

        Args:
            directory: absolute; holds the recordings.
            tasks: run what goes on beside.
            log: for pictures that come to nothing.
            make: makes what makes them.
            clock: seconds of a clock that does not leap.
        """
        self._directory = directory
        self._tasks = tasks
        self._log = log
        self._clock = clock
        make = make or _workshop
        self._idle = [make() for _ in range(AT_ONCE)]
        self._all = tuple(self._idle)
        self._free = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[tuple[str, ...], asyncio.Future[bytes | None]] = {}
        self._kept: OrderedDict[tuple[str, ...], _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._resting: asyncio.TimerHandle | None = None

    async def of_stream(self, stream: Stream) -> bytes | None:
        """
        Show a stream's newest key frame, or one that was the newest some seconds ago.

        Args:
            stream: in any state.

        Returns:
            A JPEG; None where the stream has no picture, or one that cannot be decoded.

        Raises:
            NotPossible: "unavailable": too many pictures are being made, or it takes too long.
        """
        key_frame = stream.log.newest_key_frame
        key = ("stream", stream.app, stream.name)
        kept = self._find(key)
        if kept is not None and (kept.key_frame is key_frame or kept.until_s > self._clock()):
            return kept.picture
        if key_frame is None:
            return None
        subject = _Subject(key, stream.path, "flv", film=lambda: newest_film(stream))
        return await self._make_once(subject, lambda picture: _Kept(picture, self._clock() + STREAM_KEPT_S, key_frame))

    async def of_recording(self, path: str, file_format: str, file_id: str) -> bytes | None:
        """
        Show a key frame of a recording, also of one that grows.

        Args:
            path: relative to the recordings directory.
            file_format: a key of `muxers.formats.FORMATS`.
            file_id: of the file; its picture is kept under it.

        Returns:
            A JPEG; None where the recording has no picture, or none that can be decoded.

        Raises:
            NotPossible: "unavailable": too many pictures are being made, or it takes too long.
        """
        if file_format in _WITHOUT_PICTURES:
            return None
        subject = _Subject(("recording", file_id), path, file_format, self._directory / path)
        kept = self._find(subject.key)
        if kept is not None and kept.until_s > self._clock():
            return kept.picture
        return await self._make_once(
            subject,
            lambda picture: _Kept(picture, float("inf") if picture else self._clock() + NOTHING_KEPT_S),
        )

    def stop(self) -> None:
        """End the processes; after the last request."""
        if self._resting is not None:
            self._resting.cancel()
        for workshop in self._all:
            workshop.stop()

    async def _make_once(self, subject: _Subject, keep: Callable[[bytes | None], _Kept]) -> bytes | None:
        picture = self._under_way.get(subject.key)
        if picture is None:
            if len(self._under_way) >= MOST_WAITING:
                raise NotPossible("unavailable", f"{MOST_WAITING} pictures are being made already")
            picture = self._under_way[subject.key] = asyncio.get_running_loop().create_future()
            self._tasks.supervise(self._make(subject, keep, picture), "thumbnail")
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.shield(picture)
        except TimeoutError:
            raise NotPossible("unavailable", f"no picture for {PATIENCE_S:g} s") from None

    async def _make(
        self, subject: _Subject, keep: Callable[[bytes | None], _Kept], promised: asyncio.Future[bytes | None]
    ) -> None:
        """Make a picture whoever still waits for it; who does is answered in any case."""
        picture = None
        try:
            async with self._free:
                picture = await self._in_a_process(subject)
            self._keep(subject.key, keep(picture))
        finally:
            del self._under_way[subject.key]
            promised.set_result(picture)

    async def _in_a_process(self, subject: _Subject) -> bytes | None:
        film = None if subject.film is None else subject.film()
        if film is None and subject.film is not None:
            return None
        workshop = self._idle.pop()  # the one that was used last: others may rest
        loop = asyncio.get_running_loop()
        if self._resting is not None:
            self._resting.cancel()
        killing = loop.call_later(JOB_S if workshop.is_running else START_S, workshop.kill)
        target = os.memfd_create("picture")
        try:
            source = _in_memory(film)
            film = None  # it may have megabytes, and the process its time
            done = await workshop.run(PICTURE, subject.file_format, subject.path or "", (os.dup(target), *source))
            return self._taken(subject, done, target)
        except OSError as error:
            self._log.error("picture not made", of=subject.name, reason=str(error))
            return None
        finally:
            os.close(target)
            killing.cancel()
            self._idle.append(workshop)
            self._resting = loop.call_later(REST_S, self._rest)

    def _taken(self, subject: _Subject, done: JobDone, target: int) -> bytes | None:
        if done.outcome == DIED:
            self._log.warning("picture not made", of=subject.name, reason=f"its process ended: {done.reason}")
        elif done.outcome != "done":  # strangers send what cannot be decoded as often as they like
            self._log.debug("picture not made", of=subject.name, reason=done.reason)
        size_bytes = os.fstat(target).st_size
        if done.outcome != "done" or not 0 < size_bytes <= MOST_BYTES:
            return None
        return os.pread(target, size_bytes, 0)

    def _rest(self) -> None:
        for workshop in self._idle:
            workshop.rest()

    def _find(self, key: tuple[str, ...]) -> _Kept | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def _keep(self, key: tuple[str, ...], kept: _Kept) -> None:
        self._forget(key)
        self._kept[key] = kept
        self._kept_bytes += _size_of(kept)
        while self._kept_bytes > KEPT_BYTES:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: tuple[str, ...]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._kept_bytes -= _size_of(kept)


def newest_film(stream: Stream) -> bytes | None:
    """
    Make a film of the newest picture that stands for itself.

    Args:
        stream: in any state; it may have changed since it was asked for.

    Returns:
        FLV: the headers of pictures that are in force there, and the key frame; None where that is sound, and of a stream
        that may not be watched.
    """
    key_frame = stream.log.newest_key_frame
    if key_frame is None or not stream.is_watchable:
        return None
    for entry, body in stream.log.messages(key_frame.position):
        if entry.position != key_frame.position or entry.type_id != VIDEO:
            return None
        headers = [encode_tag(VIDEO, 0, header) for type_id, header in key_frame.headers if type_id == VIDEO]
        return encode_file_header(audio=False, video=True) + b"".join(headers) + encode_tag(VIDEO, 0, body)
    return None


def _workshop() -> Workshop:
    return Workshop(("--address-space-bytes", str(ADDRESS_SPACE_BYTES)))


def _in_memory(data: bytes | None) -> tuple[int, ...]:
    """Put what a process is to read where it can: no descriptor where there is nothing."""
    if not data:
        return ()
    descriptor = os.memfd_create("film")
    os.pwrite(descriptor, data, 0)
    return (descriptor,)


def _size_of(kept: _Kept) -> int:
    return _ENTRY_BYTES + len(kept.picture or b"")
