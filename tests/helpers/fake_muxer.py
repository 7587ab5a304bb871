"""A muxer for tests: keeps tags in memory, and can be held up, refuse, or confirm late."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from muxers.base import FileFacts
from rtmpd.wire.messages import AUDIO


def fake_formats(**makers):
    """Formats for `rtmpd.workers.writer.FORMATS`, by name: each makes its muxers from a path."""

    def fake(make):
        def make_with(path, options):
            return make(path, resumes=True) if options.resume else make(path)

        return SimpleNamespace(make=make_with)

    return {name: fake(make) for name, make in makers.items()}


class FakeMuxer:
    """Takes tags while its gate is open; raises `fault` once it holds `room` tags."""

    def __init__(self, path, *, room=None, fault=None, close_fault=None, late=0, resumes=False):
        self.path = path
        self.tags = []
        self.gate = threading.Event()
        self.gate.set()
        self.blocked = threading.Event()
        self.room, self.fault, self.close_fault, self.late = room, fault, close_fault, late
        self.closed = 0
        self.resumes = resumes

    @property
    def confirmed_tags(self):
        return max(0, len(self.tags) - (0 if self.closed else self.late))

    def open(self):
        self.path.touch(exist_ok=self.resumes)

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
        sounds = sum(tag.type_id == AUDIO for tag in self.tags)
        return FileFacts(
            str(self.path), "fake", len(self.tags), 0, 0, 0, sounds, 0, (), 0, 0, 0, 0, empty=not self.tags
        )

    def close(self):
        self.closed += 1
        if self.close_fault:
            raise self.close_fault
        return self.facts()
