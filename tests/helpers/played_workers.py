"""Media workers that a test plays: it says when a file is opened, how much is written, and who dies."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from contextlib import suppress
from pathlib import Path

from rtmpd.wire.flv import TagReader
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO
from rtmpd.workers import protocol
from rtmpd.workers.feeds import Feed, FeedEnded, FeedProgress, FeedState, FileClosed, FileFailed, FileOpened, WorkerDied

FULL = OSError(errno.ENOSPC, "No space left on device")


def file_facts(path="", file_format="flv", **facts):
    """Facts of a file of one frame."""
    known = {
        "path": str(path),
        "file_format": file_format,
        "size_bytes": 4,
        "duration_ms": 40,
        "start_ms": 0,
        "video_frames": 1,
        "audio_frames": 0,
        "key_frames": 1,
        "tracks": [],
        "gaps": 0,
        "gap_ms": 0,
        "jumps": 0,
        "left_out": 0,
        "empty": False,
    }
    return known | facts


def facts_on_disk(path, file_format):
    """What a muxer or a repair would say of a file that `PlayedWorker` wrote: a number of 4 bytes for each frame."""
    size = path.stat().st_size if path.exists() else 0
    count = size // 4
    return file_facts(
        path, file_format, size_bytes=size, duration_ms=40 * count, video_frames=count, key_frames=count, empty=not size
    )


def number_of(tag):
    """The number that a frame was sent with; None for headers and script tags."""
    is_frame = tag.type_id in {AUDIO, VIDEO} and tag.body[1:2] == b"\x01"
    return int.from_bytes(tag.body[5:9]) if is_frame else None


class PlayedWorker:
    """The worker's side of one feed."""

    def __init__(self, feed, connection, tell):
        self.feed = feed
        self.connection = connection
        self.at_end = False
        self.is_over = False
        self.tags = deque()
        """Received and not written, each with the byte of the feed that it ends at."""
        self.times = []
        """Of every tag received that is audio or video; "mark" for a script tag."""
        self.grants = {output.file_format: deque(output.grants) for output in feed.request.outputs}
        self.open_grants = {}
        self.failed_formats = set()
        """Whose frames are lost until they get another file."""
        self.lost_frames = {}
        """Numbers of frames that came while a format had no file."""
        self._tell = tell
        self._reader = TagReader()
        self._received = 0

    @property
    def formats(self):
        return tuple(self.grants)

    def receive(self):
        """Read what the server has fed so far."""
        with suppress(BlockingIOError):
            while data := self.connection.recv(1 << 16):
                for byte in range(len(data)):
                    self._take(data[byte : byte + 1])
            self.at_end = True
        return self

    def _take(self, data):
        for tag in self._reader.feed(data):
            self.tags.append((tag, self._reader.position))
            self.times.append("mark" if tag.type_id == DATA_AMF0 else tag.timestamp_ms)

    def open(self, file_format="flv", error=None):
        """Open the next file that was granted."""
        grant = self.grants[file_format].popleft()
        path = Path(grant.path)
        try:
            if error is not None:
                raise error
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab" if grant.resume else "xb"):
                pass
        except OSError as fault:
            self._tell(FileFailed(self.feed, file_format, grant.file_id, str(fault), fault.errno or 0, None))
            return None
        self.open_grants[file_format] = grant
        self.feed.open_files[file_format] = grant.file_id
        self.feed.state = FeedState.RUNNING
        self._tell(FileOpened(self.feed, file_format, grant.file_id))
        return path

    def write(self, count=None):
        """Write so many of the tags received, or all, to the files; a format without a file opens one if it can."""
        self.receive()
        count = len(self.tags) if count is None else min(count, len(self.tags))
        for _ in range(count):
            tag, end = self.tags.popleft()
            for file_format in self.formats:
                self._write(file_format, number_of(tag))
            self.feed.feed_bytes = end
        if count:
            self._tell(FeedProgress(self.feed))
        return self

    def _write(self, file_format, number):
        if file_format not in self.open_grants and self.grants[file_format]:
            self.open(file_format)
        if number is None:
            return
        grant = self.open_grants.get(file_format)
        if grant is None:
            self.lost_frames.setdefault(file_format, set()).add(number)
            return
        with Path(grant.path).open("ab") as file:
            file.write(number.to_bytes(4))

    def close(self, file_format="flv"):
        """Complete the file that is open; an empty one is removed."""
        grant = self.open_grants.pop(file_format)
        facts = self._complete(grant, file_format)
        self._tell(FileClosed(self.feed, file_format, grant.file_id, facts))

    def cut(self, file_format="flv"):
        """Open the next file, then complete the one before it."""
        before = self.open_grants.pop(file_format)
        self.open(file_format)
        self._tell(FileClosed(self.feed, file_format, before.file_id, self._complete(before, file_format)))

    def fail(self, file_format="flv", error=FULL):
        """Give up the file that is open."""
        grant = self.open_grants.pop(file_format)
        facts = self._complete(grant, file_format)
        self._tell(FileFailed(self.feed, file_format, grant.file_id, str(error), error.errno, facts))

    def _complete(self, grant, file_format):
        path = Path(grant.path)
        facts = facts_on_disk(path, file_format)
        if facts["empty"]:
            path.unlink(missing_ok=True)
        return facts

    def end(self):
        """Complete everything, as the feed has ended."""
        for file_format in list(self.open_grants):
            self.close(file_format)
        self.feed.state = FeedState.ENDED
        self.is_over = True
        self._tell(FeedEnded(self.feed))
        self.connection.close()

    def finish(self):
        """Write what is left; end if the feed has."""
        self.write()
        if self.at_end:
            self.end()
        return self


class PlayedSupervisor:
    """Hands out feeds and keeps their other ends."""

    def __init__(self, tell):
        self.tell = tell
        self.workers = []
        """By feed, in the order of their start."""
        self.refusal = None
        """What `start_feed` raises."""
        self.started = self.stopped = False
        self.finishes_at_stop = True
        self.health = ()

    @property
    def running(self):
        return [worker for worker in self.workers if not worker.is_over]

    async def start(self):
        self.started = True

    async def stop(self, timeout_s):
        self.stopped = True
        left = self.running
        for worker in left:
            worker.feed.finish()
            if self.finishes_at_stop:
                worker.finish()
        return tuple(worker.feed for worker in left if not worker.is_over)

    def start_feed(self, request):
        assert not self.stopped, "nothing is started after the stop"
        assert all(worker.feed.key != (request.recording_id, request.sequence) for worker in self.workers)
        if self.refusal is not None:
            raise self.refusal
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        feed = Feed(request, ours, 0)
        self.workers.append(PlayedWorker(feed, theirs, self.tell))
        return feed

    def grant(self, feed, file_format, grant):
        for worker in self.running:
            if worker.feed is feed:
                worker.grants[file_format].append(grant)

    def die(self, *workers):
        """The process of these feeds is killed."""
        for worker in workers:
            worker.connection.close()
            worker.is_over = True
            worker.feed.state = FeedState.LOST
        self.tell(WorkerDied(1, "killed by signal 9", tuple(worker.feed for worker in workers)))

    def close(self):
        for worker in self.workers:
            worker.feed.finish()
            worker.connection.close()


class PlayedWorkshop:
    """Repairs what `PlayedWorker` wrote, unless it is told what to say."""

    def __init__(self):
        self.jobs = []
        """Kind and path of each job, in order."""
        self.answers = {}
        """By path, or by kind: what to answer, one after another; then, a true answer. An exception is raised."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.stopped = False
        self.rested = 0

    async def run(self, kind, file_format, path):
        assert not self.stopped
        self.jobs.append((kind, path))
        await self.gate.wait()
        answers = self.answers.get(path) or self.answers.get(kind)
        if answers:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return protocol.JobDone(1, *answer)
        if kind != "repair":
            return protocol.JobDone(1, "done")
        if not path.exists():
            return protocol.JobDone(1, "failed", "No such file or directory")
        facts = facts_on_disk(path, file_format)
        if facts["empty"]:
            path.unlink()
            return protocol.JobDone(1, "done")
        return protocol.JobDone(1, "done", facts=facts)

    def rest(self):
        self.rested += 1

    def stop(self):
        self.stopped = True
