"""
The stream that the conformance kit records: the smallest pictures and sounds that FFmpeg takes for real.

Every frame carries its number between two `#`, in bytes that decoders skip and containers keep, so that it is known
again in whatever form an output has it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rtmpd.media.tags import EMPTY, END_OF_SEQUENCE, SEQUENCE_HEADER, classify, header_slot
from rtmpd.wire import amf0
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO

VIDEO_STEP_MS = 40
KEY_INTERVAL = 10
COMPOSITION_MS = 40

_AVC = (
    (
        bytes.fromhex("0142c00affe100146742c00ada7a1000000300100000030320f1226a01000468ce0fc8"),  # 16x16
        bytes.fromhex("000000066588843a2780"),
        bytes.fromhex("00000005419a202694"),
    ),
    (
        bytes.fromhex("0142c00affe100156742c00ada2e84000003000400000300c83c489a8001000468ce0fc8"),  # 32x16
        bytes.fromhex("000000076588843a272780"),
        bytes.fromhex("00000005419a20269c"),
    ),
)
"""Two sizes: configuration, key frame, frame that repeats the picture."""
_FILLER = b"\x0c"
"""The NAL unit type that decoders skip."""
_AAC = (b"\x11\x90", b"\x12\x10")
"""Two configurations, 48 and 44.1 kHz, both stereo."""
_SILENCE = bytes.fromhex("211004608c1c")
"""An AAC frame of both."""
_MP3 = bytes.fromhex("fffb9000") + bytes(413 - 8)
"""The head of a silent frame of 417 bytes: 128 kb/s, 44.1 kHz, stereo."""
_SOUND_STEPS_MS = {"mp4a": 64 / 3, ".mp3": 1152 / 44.1}
_NUMBER = re.compile(rb"#(\d{6})#")


class SentFrame(NamedTuple):
    """A frame of the feed."""

    number: int
    kind: str
    """"video" or "audio"."""
    dts_ms: int
    """The publisher's time."""
    composition_ms: int
    tag: int
    """Index of its tag."""


class Feed:
    """Tags as a publisher sends them, and what is in them."""

    def __init__(self, audio: str = "mp4a", *, start_ms: int = 70_000) -> None:
        """
        Start without tags.

        Args:
            audio: "mp4a" or ".mp3".
            start_ms: the publisher's first timestamp.
        """
        self._audio = audio
        self._start_ms = start_ms
        self._pictures = 0
        self.tags: list[FlvTag] = []
        self.frames: list[SentFrame] = []

    def add_metadata(self, *, video: bool = True, audio: bool = True) -> None:
        """Announce tracks."""
        values: dict[str, amf0.AmfValue] = {"encoder": "conformance"}
        if video:
            values["videocodecid"] = 7.0
        if audio:
            values["audiocodecid"] = 10.0 if self._audio == "mp4a" else 2.0
        self.add_script("onMetaData", amf0.EcmaArray(values))

    def add_script(self, name: str, *values: amf0.AmfValue) -> None:
        """Add a script tag."""
        self.tags.append(FlvTag(DATA_AMF0, 0, amf0.encode(name, *values)))

    def add_video_header(self, version: int = 0) -> None:
        """Add a video configuration, stamped 0 as OBS does; there are two."""
        self.tags.append(FlvTag(VIDEO, 0, b"\x17\0\0\0\0" + _AVC[version][0]))

    def add_audio_header(self, version: int = 0) -> None:
        """Add an audio configuration, where the codec has one; there are two."""
        if self._audio == "mp4a":
            self.tags.append(FlvTag(AUDIO, 0, b"\xaf\0" + _AAC[version]))

    def add_video(self, at_ms: int, *, version: int = 0, key: bool | None = None) -> None:
        """Add a picture at a time after the start; every tenth is a key frame."""
        if key is None:
            key = self._pictures % KEY_INTERVAL == 0
        self._pictures = 1 if key else self._pictures + 1
        number = self._note("video", at_ms, COMPOSITION_MS)
        filler = _FILLER + number + b"\x80"
        head = (b"\x17\x01" if key else b"\x27\x01") + COMPOSITION_MS.to_bytes(3, "big")
        picture = _AVC[version][1 if key else 2]
        self._add(VIDEO, at_ms, head + picture + len(filler).to_bytes(4, "big") + filler)

    def add_audio(self, at_ms: int) -> None:
        """Add a sound at a time after the start."""
        number = self._note("audio", at_ms, 0)
        if self._audio == "mp4a":
            self._add(AUDIO, at_ms, b"\xaf\x01" + _SILENCE + number)
        else:
            self._add(AUDIO, at_ms, b"\x2f" + _MP3 + number)

    def add_frames(self, from_ms: int, to_ms: int, *, video: bool = True, audio: bool = True, version: int = 0) -> None:
        """
        Add pictures and sounds in the order of their times.

        Args:
            from_ms: after the start, of the first ones.
            to_ms: before which they end.
            video: whether there are pictures.
            audio: whether there are sounds.
            version: which configuration the pictures are of.
        """
        step_ms = _SOUND_STEPS_MS[self._audio]
        sounds = [round(from_ms + number * step_ms) for number in range(int((to_ms - from_ms) / step_ms))]
        events = [(at_ms, 0) for at_ms in range(from_ms, to_ms, VIDEO_STEP_MS) if video]
        for at_ms, is_sound in sorted(events + [(at_ms, 1) for at_ms in sounds if audio]):
            if is_sound:
                self.add_audio(at_ms)
            else:
                self.add_video(at_ms, version=version)

    def headers_before(self, tag: int) -> list[FlvTag]:
        """The headers in force before a tag, as whoever begins a new output there gives them."""
        headers: dict[tuple[int, int, int], FlvTag] = {}
        for each in self.tags[:tag]:
            if classify(each.type_id, each.body) & SEQUENCE_HEADER:
                headers[header_slot(each.type_id, each.body)] = each
        return list(headers.values())

    def _note(self, kind: str, at_ms: int, composition_ms: int) -> bytes:
        number = len(self.frames)
        self.frames.append(SentFrame(number, kind, self._start_ms + at_ms, composition_ms, len(self.tags)))
        return b"#%06d#" % number

    def _add(self, type_id: int, at_ms: int, body: bytes) -> None:
        self.tags.append(FlvTag(type_id, (self._start_ms + at_ms) % 2**32, body))


def number_of(payload: bytes) -> int:
    """
    Find the number of a frame in its payload.

    Raises:
        AssertionError: there is none.
    """
    found = _NUMBER.search(payload)
    assert found, f"a payload that the feed never had: {payload[:40].hex()}"
    return int(found[1])


def is_start(tag: FlvTag, *, video: bool) -> bool:
    """Say whether an output may begin with a tag: a key frame, or any sound of a stream without pictures."""
    flags = classify(tag.type_id, tag.body)
    if tag.type_id == VIDEO:
        return bool(flags & 1)
    return tag.type_id == AUDIO and not video and not flags & (SEQUENCE_HEADER | EMPTY | END_OF_SEQUENCE)
