"""Thumbnails: made once for all, kept for a while, and none costs another one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from rtmpd.errors import NotPossible
from rtmpd.live.log import Retention
from rtmpd.live.stream import Stream
from rtmpd.net.tasks import Tasks
from rtmpd.wire.flv import TagReader
from rtmpd.wire.messages import AUDIO, Message
from rtmpd.workers import child, protocol, thumbnails
from rtmpd.workers.thumbnails import NOTHING_KEPT_S, STREAM_KEPT_S, Thumbnails, newest_film
from tests.helpers.footage import footage, tags_of
from tests.helpers.live import (
    AVC_HEADER,
    audio_frame,
    audio_header,
    inter_frame,
    key_frame,
    new_stream,
    publish,
    video_header,
)
from tests.helpers.studio import logger_to, until

JPEG = b"\xff\xd8picture\xff\xd9"


class PlayedWorkshop:
    """Does jobs when it is told to."""

    def __init__(self, room):
        self.room = room
        self.is_running = False
        self.rested = 0

    async def run(self, kind, file_format, path, descriptors):
        target, *source = descriptors
        self.is_running = True
        data = os.pread(source[0], 1 << 20, 0) if source else b""
        self.room.jobs.append((kind, file_format, str(path), data))
        self.room.busy += 1
        self.room.most_busy = max(self.room.most_busy, self.room.busy)
        try:
            await self.room.gate.wait()
            picture = self.room.pictures.get(str(path), self.room.picture)
            if picture:
                os.pwrite(target, picture, 0)
            return protocol.JobDone(1, self.room.outcome, "a reason")
        finally:
            self.room.busy -= 1
            for descriptor in descriptors:
                os.close(descriptor)

    def kill(self):
        """Nothing hangs here."""

    def rest(self):
        self.rested += 1

    stop = rest


class Room:
    """Thumbnails with processes that the test plays."""

    def __init__(self):
        self.jobs, self.lines, self.failures, self.workshops = [], [], [], []
        self.busy = self.most_busy = 0
        self.picture, self.pictures, self.outcome = JPEG, {}, "done"
        self.now = 1000.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.tasks = Tasks(self.failures.append)
        self.thumbnails = Thumbnails(
            Path("/recordings"), self.tasks, logger_to(self.lines), make=self._make, clock=lambda: self.now
        )

    def _make(self):
        self.workshops.append(PlayedWorkshop(self))
        return self.workshops[-1]

    def recording(self, number):
        return self.thumbnails.of_recording(f"live/{number}.flv", "flv", str(number))


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def room():
    before = open_descriptors()
    room = Room()
    yield room
    room.thumbnails.stop()
    await room.tasks.cancel()
    assert room.failures == []
    assert open_descriptors() == before


async def test_a_streams_newest_key_frame_is_shown_as_a_film_of_one_picture(room):
    stream = new_stream()
    publication = publish(stream)
    for message in (
        video_header(),
        audio_header(),
        key_frame(0),
        inter_frame(40),
        key_frame(80, mark=7),
        audio_frame(90),
    ):
        publication.append(message, 1.0)

    assert await room.thumbnails.of_stream(stream) == JPEG
    ((kind, file_format, path, data),) = room.jobs
    assert (kind, file_format, path) == ("picture", "flv", "")
    assert [(tag.timestamp_ms, tag.body) for tag in TagReader().feed(data)] == [
        (0, AVC_HEADER),
        (0, key_frame(0, mark=7).body),
    ]


async def test_a_streams_picture_is_made_anew_after_a_while_if_there_is_another(room):
    stream = new_stream()
    publication = publish(stream)
    for message in (video_header(), key_frame(0)):
        publication.append(message, 1.0)
    await room.thumbnails.of_stream(stream)
    room.now += 10 * STREAM_KEPT_S
    assert await room.thumbnails.of_stream(stream) == JPEG
    assert len(room.jobs) == 1

    publication.append(key_frame(1000), 2.0)
    await room.thumbnails.of_stream(stream)
    publication.append(key_frame(2000), 3.0)
    room.now += STREAM_KEPT_S - 1
    await room.thumbnails.of_stream(stream)
    assert len(room.jobs) == 2
    room.now += 2
    await room.thumbnails.of_stream(stream)
    assert len(room.jobs) == 3


async def test_a_stream_without_pictures_has_none_and_costs_nothing(room):
    stream = new_stream()
    assert await room.thumbnails.of_stream(stream) is None
    publication = publish(stream)
    publication.append(audio_header(), 1.0)
    publication.append(Message(AUDIO, 0, 1, b"\xaf\x01x"), 100.0)
    assert stream.log.newest_key_frame is not None
    assert await room.thumbnails.of_stream(stream) is None
    assert room.jobs == []


async def test_fifty_who_ask_at_once_have_one_picture_made(room):
    room.gate.clear()
    asking = [asyncio.ensure_future(room.recording(1)) for _ in range(50)]
    await until(lambda: room.jobs)
    room.gate.set()
    assert await asyncio.gather(*asking) == [JPEG] * 50
    assert room.jobs == [("picture", "flv", "/recordings/live/1.flv", b"")]
    assert await room.recording(1) == JPEG
    assert len(room.jobs) == 1


async def test_who_goes_away_takes_the_picture_from_nobody(room):
    room.gate.clear()
    first, second = (asyncio.ensure_future(room.recording(1)) for _ in range(2))
    await until(lambda: room.jobs)
    first.cancel()
    room.gate.set()
    assert await second == JPEG


async def test_a_recording_without_a_picture_is_tried_again_later(room):
    room.picture = None
    assert await room.recording(1) is None
    room.now += NOTHING_KEPT_S - 1
    assert await room.recording(1) is None
    assert len(room.jobs) == 1
    room.now += 2
    room.picture = JPEG
    assert await room.recording(1) == JPEG
    room.now += 1e9
    assert await room.recording(1) == JPEG
    assert len(room.jobs) == 2


@pytest.mark.parametrize("file_format", ["m4a", "mp3"])
async def test_a_recording_of_sound_is_not_looked_at(room, file_format):
    assert await room.thumbnails.of_recording("x", file_format, "1") is None
    assert room.jobs == []


@pytest.mark.parametrize(("outcome", "level"), [("failed", "debug"), ("died", "warning")])
async def test_a_picture_that_fails_is_none_and_said(room, outcome, level):
    room.outcome = outcome
    assert await room.recording(1) is None
    ((said, values),) = room.lines
    assert (said, values["event"], values["of"]) == (level, "picture not made", "live/1.flv")
    assert "a reason" in values["reason"]


async def test_what_is_too_large_for_a_picture_is_none(room, monkeypatch):
    monkeypatch.setattr(thumbnails, "MOST_BYTES", len(JPEG) - 1)
    assert await room.recording(1) is None


async def test_a_few_are_made_at_once_and_a_bounded_number_waits(room, monkeypatch):
    monkeypatch.setattr(thumbnails, "MOST_WAITING", 10)
    room.gate.clear()
    asking = [asyncio.ensure_future(room.recording(number)) for number in range(10)]
    await until(lambda: len(room.jobs) == thumbnails.AT_ONCE)
    with pytest.raises(NotPossible, match="10 pictures are being made already"):
        await room.recording(11)
    room.gate.set()
    assert await asyncio.gather(*asking) == [JPEG] * 10
    assert room.most_busy == thumbnails.AT_ONCE
    assert await room.recording(11) == JPEG


async def test_what_is_kept_is_bounded_and_the_oldest_goes_first(room, monkeypatch):
    monkeypatch.setattr(thumbnails, "KEPT_BYTES", 3 * (len(JPEG) + thumbnails._ENTRY_BYTES))
    for number in (1, 2, 3, 1, 4):
        await room.recording(number)
    assert len(room.jobs) == 4
    await room.recording(1)
    assert len(room.jobs) == 4
    await room.recording(2)
    assert len(room.jobs) == 5
    assert len(room.thumbnails._kept) == 3


async def test_who_waits_too_long_is_told_so(room, monkeypatch):
    monkeypatch.setattr(thumbnails, "PATIENCE_S", 0.05)
    room.gate.clear()
    with pytest.raises(NotPossible, match="no picture for"):
        await room.recording(1)
    room.gate.set()
    await until(lambda: not room.thumbnails._under_way)


async def test_processes_are_let_go_when_there_is_nothing_to_do(room, monkeypatch):
    monkeypatch.setattr(thumbnails, "REST_S", 0.05)
    await room.recording(1)
    await until(lambda: all(workshop.rested for workshop in room.workshops))


async def test_an_end_while_a_picture_is_made_answers_who_waits(room):
    room.gate.clear()
    asking = asyncio.ensure_future(room.recording(1))
    await until(lambda: room.jobs)
    await room.tasks.cancel()
    assert await asking is None


PROGRAM = """
import os, signal, time
from muxers import picture
from rtmpd.workers import process

real = picture.jpeg_of

def jpeg_of(source, file_format):
    if source.name == "hangs.flv":
        time.sleep(600)
    if source.name == "dies.flv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if source.name == "eats.flv":
        bytearray(3 << 30)
    return real(source, file_format)

picture.jpeg_of = jpeg_of
process.main()
"""
"""A media worker that meets the worst."""


async def test_a_decoder_that_hangs_dies_or_eats_costs_its_own_picture(tmp_path, monkeypatch):
    real, started, lines, failures = child.subprocess.Popen, [], [], []

    def popen(command, **options):
        module = command.index("-m")
        started.append(real([*command[:module], "-c", PROGRAM, *command[module + 2 :]], **options))
        return started[-1]

    monkeypatch.setattr(child.subprocess, "Popen", popen)
    for name in ("hangs", "dies", "eats", "a", "b"):
        (tmp_path / f"{name}.flv").write_bytes(footage(seconds=1))
    tasks = Tasks(failures.append)
    made = Thumbnails(tmp_path, tasks, logger_to(lines))

    async def of(name):
        return await made.of_recording(f"{name}.flv", "flv", name)

    assert (await of("a")).startswith(b"\xff\xd8")
    monkeypatch.setattr(thumbnails, "JOB_S", 1.0)
    hanging = asyncio.ensure_future(of("hangs"))
    await until(lambda: len(made._idle) == thumbnails.AT_ONCE - 1)
    monkeypatch.setattr(thumbnails, "JOB_S", 20.0)  # none of the others hangs, however slow it is
    assert await of("dies") is None
    assert await of("eats") is None
    assert (await of("b")).startswith(b"\xff\xd8")
    assert await hanging is None

    reasons = {values["of"]: values["reason"] for _, values in lines}
    assert reasons["hangs.flv"] == "its process ended: killed by signal 9"
    assert reasons["dies.flv"] == "its process ended: killed by signal 11"
    assert "MemoryError" in reasons["eats.flv"]
    made.stop()
    await tasks.cancel()
    assert failures == []
    assert all(process.returncode is not None for process in started)


def test_a_film_is_made_of_a_key_frame_that_is_still_there():
    stream = new_stream(seconds=1.0)
    publication = publish(stream)
    for tag in tags_of(footage(seconds=1)):
        publication.append(Message(tag.type_id, tag.timestamp_ms, 1, tag.body), 1.0)
    assert newest_film(stream).startswith(b"FLV")
    stream.log.trim(1000.0)
    assert newest_film(stream) is None


async def test_a_picture_that_waits_for_its_turn_is_taken_when_that_comes_and_none_of_what_is_private_by_then(room):
    room.gate.clear()
    others = [asyncio.ensure_future(room.recording(number)) for number in range(thumbnails.AT_ONCE)]
    await until(lambda: len(room.jobs) == thumbnails.AT_ONCE)
    stream, hidden = new_stream(), Stream("live", "hidden", Retention())
    publications = [publish(stream), publish(hidden)]
    for publication in publications:
        for message in (video_header(), key_frame(0)):
            publication.append(message, 1.0)
    asking = [asyncio.ensure_future(room.thumbnails.of_stream(each)) for each in (stream, hidden)]
    await asyncio.sleep(0)
    publications[0].append(key_frame(40, mark=7), 1.0)
    hidden.hide("its push has ended")
    room.gate.set()

    assert await asyncio.gather(*others, *asking) == [*[JPEG] * thumbnails.AT_ONCE, JPEG, None]
    ((*_, film),) = room.jobs[thumbnails.AT_ONCE :]
    assert [tag.body for tag in TagReader().feed(film)] == [AVC_HEADER, key_frame(0, mark=7).body]


def test_what_pictures_may_take_is_the_sum_of_what_is_kept_and_made():
    assert thumbnails.most_bytes(0) == thumbnails.KEPT_BYTES + 2 * thumbnails.AT_ONCE * thumbnails.MOST_BYTES
    assert thumbnails.most_bytes(10) - thumbnails.most_bytes(0) == 2 * thumbnails.AT_ONCE * 10
