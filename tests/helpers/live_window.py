"""A window of segments with made-up media, in step with a wall clock."""

from __future__ import annotations

from rtmpd.live.fragments import Init, Part
from rtmpd.live.window import Window

INIT = Init(b"ftypmoov", "avc1.64001f,mp4a.40.2", has_video=True)
OTHER_INIT = Init(b"ftypmoov2", "avc1.640028,mp4a.40.2", has_video=True)
SOUND_INIT = Init(b"ftypmoov3", "mp4a.40.2", has_video=False)
FIRST = 1_800_000_000
PART_MS = 200


class Feed:
    """Appends parts that follow one another to a window."""

    def __init__(self, *, begun=True, **options):
        defaults = {
            "first_number": FIRST,
            "first_discontinuity": FIRST,
            "segment_ms": 2000,
            "part_ms": PART_MS,
            "most_segments": 3,
        }
        self.window = Window(**{**defaults, "most_bytes": 1 << 20, **options})
        self.time_ms = 5000
        self.late_s = 0.0
        self.offset_s = 1000.0
        self.sent = 0
        if begun:
            self.window.begin(INIT, self.now)

    @property
    def now(self):
        """Unix time at which what was last appended arrived."""
        return self.offset_s + self.time_ms / 1000 + self.late_s

    def part(self, *, key=False, duration_ms=PART_MS, size=10):
        """Append a part; its first bytes are its number."""
        start_ms, self.time_ms = self.time_ms, self.time_ms + duration_ms
        data = self.sent.to_bytes(4, "big").ljust(size, b".")[:size]
        self.sent += 1
        self.window.append(Part(data, start_ms, duration_ms, key), self.now)

    def group(self, parts=10, **options):
        """A key frame and what hangs on it."""
        for index in range(parts):
            self.part(key=index == 0, **options)
