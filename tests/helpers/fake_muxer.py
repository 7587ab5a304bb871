"""A muxer for tests: keeps tags in memory, and can be held up, refuse, or confirm late."""

from __future__ import annotations

import threading

from muxers.base import FileFacts


class FakeMuxer:
    """Takes tags while its gate is open; raises `fault` once it holds `room` tags."""

    def __init__(self, path, *, room=None, fault=None, close_fault=None, late=0):
        self.path = path
        self.tags = []
        self.gate = threading.Event()
        self.gate.set()
        self.blocked = threading.Event()
        self.room, self.fault, self.close_fault, self.late = room, fault, close_fault, late
        self.closed = 0

    @property
    def confirmed_tags(self):
        return max(0, len(self.tags) - (0 if self.closed else self.late))

    def open(self):
        self.path.touch(exist_ok=False)

    def write(self, tags):
        if not self.gate.is_set():
            self.blocked.set()
            self.gate.wait()
        for tag in tags:
            if len(self.tags) == self.room:
                raise self.fault
            self.tags.append(tag)
        return len(tags)

    def flush(self):
        pass

    def facts(self):
        return FileFacts(str(self.path), "fake", len(self.tags), 0, 0, 0, 0, 0, (), 0, 0, 0, 0, empty=not self.tags)

    def close(self):
        self.closed += 1
        if self.close_fault:
            raise self.close_fault
        return self.facts()
