"""Audio, video and data bodies that no decent encoder sends, by the cases of protocol.md, section 8.2."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import NamedTuple

from rtmpd.wire import amf0
from rtmpd.wire.amf import UNDEFINED, Date, EcmaArray
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.messages import AUDIO, DATA_AMF0, DATA_AMF3, VIDEO
from tests.helpers.media import read_tags

CORPUS = Path(__file__).parents[1] / "corpus" / "media"
HOSTILE_MS = 1_000
MANY = b"\xff\xff\xff\xff"


class Bodies(NamedTuple):
    """Hostile messages of one kind: a row of the table."""

    name: str
    """The cases first."""
    tags: list[FlvTag]


def messages_of(type_id, *bodies, timestamp_ms=HOSTILE_MS):
    return [FlvTag(type_id, timestamp_ms, body) for body in bodies]


def pictures(*bodies):
    return messages_of(VIDEO, *bodies)


def sounds(*bodies):
    return messages_of(AUDIO, *bodies)


def metadata(*values):
    return messages_of(DATA_AMF0, amf0.encode("@setDataFrame", "onMetaData", *values))


def corpus(*names):
    return [tag for name in names for tag in read_tags(CORPUS / f"{name}.flv")]


AVC_HEADER = bytes.fromhex("1700000000")
AVC_KEY = bytes.fromhex("1701000000")
AVC_INTER = bytes.fromhex("2701000000")
AVCC = bytes.fromhex("0164001effe1001867640014acd94141fb0110000003001000000303c0f142996001000568ebecb22c")


def rows_of_bodies():
    """Bodies by case."""
    yield Bodies("54 pictures of a byte", pictures(*(bytes((first,)) for first in range(256))))
    yield Bodies("54 sounds of a byte", sounds(*(bytes((first,)) for first in range(256))))
    yield Bodies("54 nothing", pictures(b"", b"\x17\x01") + sounds(b"", b"\xaf\x00", b"\xaf\x01"))
    for type_id in (VIDEO, AUDIO):
        two = (bytes((first, second)) for first in range(256) for second in (*range(9), 0x16, 0x57, 0xFF))
        yield Bodies(f"54_58 bodies of two bytes, type {type_id}", messages_of(type_id, *two))
    yield Bodies("55 avcC of 0 to 7 bytes", pictures(*(AVC_HEADER + AVCC[:size] for size in range(8))))
    counts = [AVCC[:5] + bytes((0xE0 | sps,)) + AVCC[6:-9] + bytes((pps,)) for sps in (0, 31) for pps in (0, 1, 255)]
    yield Bodies("55 avcC that counts too many", pictures(*(AVC_HEADER + each for each in counts)))
    beyond = [AVCC[:6] + size.to_bytes(2, "big") + AVCC[8:] for size in (0, 1, 0xFFFF)]
    yield Bodies("55 SPS beyond the end", pictures(*(AVC_HEADER + each for each in beyond)))
    noise = [AVCC[:8] + bytes(each ^ mask for each in AVCC[8:]) for mask in (0x55, 0xFF, 0x80)]
    yield Bodies("55 SPS of noise", pictures(*(AVC_HEADER + each for each in noise)))
    yield from rows_of_configurations()
    yield from rows_of_frames()
    yield from rows_of_extended_headers()


def rows_of_configurations():
    """Case 56: headers of other codecs."""
    hevc = b"\x90hvc1" + bytes(22)
    counts = {
        "255 arrays": hevc + b"\xff" + b"\x20\xff\xff\xff\xff",
        "255 empty arrays": hevc + b"\xff" + b"\x20\0\0" * 255,
        "65535 units": hevc + b"\x01\x21\xff\xff" + b"\0\0" * 65_535,
        "legacy": b"\x1c\0\0\0\0" + bytes(22) + b"\xff\x21\0\x01\xff\xff",
    }
    for name, body in counts.items():
        yield Bodies(f"56 hvcC, {name}", pictures(body))
    video_codecs = (b"hvc1", b"av01", b"vp09", b"vp08", b"vvc1", b"avc1")
    start = bytes.fromhex("8101000a0b")
    short = [b"\x90" + fourcc + start[:size] for fourcc in video_codecs for size in range(6)]
    yield Bodies("56 short headers of pictures", pictures(*short))
    audio_codecs = (b"Opus", b"fLaC", b"mp4a", b".mp3", b"ac-3", b"ec-3")
    short = [b"\x90" + fourcc + b"OpusHead\x01\xff\0"[:size] for fourcc in audio_codecs for size in range(12)]
    yield Bodies("56 short headers of sounds", sounds(*short))
    yield Bodies("56 AAC headers of noise", sounds(*(b"\xaf\0" + bytes((each,)) * 9 for each in range(0, 256, 5))))


def rows_of_frames():
    """Cases 57, 61 and 62: units of wrong length, other codecs, headers without end."""
    units = [
        b"",
        b"\0",
        b"\0\0\0\0",
        MANY,
        MANY + b"x" * 100,
        b"\0\0\0\x05abc",
        b"\x7f\xff\xff\xff\x65",
        b"\0\0\0\0" * 100,
    ]
    yield Bodies(
        "57 units of wrong length", pictures(*(head + unit for head in (AVC_KEY, AVC_INTER) for unit in units))
    )
    extended = (b"\x91hvc1\0\0\0", b"\xa1av01", b"\x93avc1", b"\xa3hvc1", b"\x91vp09")
    yield Bodies("57 extended units", pictures(*(head + unit for head in extended for unit in units)))
    others = ("hevc-main-50x38", "av1-66x70", "vp9-51x37", "sorenson-50x38", "h264-high-50x38")
    yield Bodies("61 other pictures", corpus(*others))
    yield Bodies(
        "61 other sounds", corpus("opus-48000-stereo", "flac-44100-stereo", "ac3-48000-stereo", "aac-48000-quad")
    )
    yield Bodies("61 every codec in turn", corpus(*(path.stem for path in sorted(CORPUS.glob("*.flv")))) * 5)
    changing = [AVC_HEADER + AVCC[:1] + bytes((each & 0xFF, each >> 8)) + AVCC[3:] for each in range(1000)]
    yield Bodies("62 a new header each message", pictures(*changing))
    frames = [body for each in changing for body in (each, AVC_INTER + b"\0\0\0\x02\x41\x9a")]
    yield Bodies("62 a new header each frame", pictures(*frames))
    yield Bodies("62 the same header each message", pictures(*[AVC_HEADER + AVCC] * 1000))
    yield Bodies(
        "62 a new AAC header each message", sounds(*(b"\xaf\0" + struct.pack(">H", each) for each in range(2000)))
    )


def rows_of_extended_headers():
    """Cases 58 to 60: the headers of Enhanced RTMP."""
    first = [0x80 | kind << 4 | packet for kind in range(8) for packet in range(16)]
    yield Bodies(
        "58 without FourCC", pictures(*(bytes((each,)) + b"hvc"[:size] for each in first for size in range(4)))
    )
    yield Bodies("58 unknown FourCC", pictures(*(bytes((each,)) + b"XXXX" + bytes(9) for each in first)))
    yield Bodies(
        "58 command frames", pictures(*(bytes((0xD0 | packet, what)) for packet in range(16) for what in (0, 1, 9)))
    )
    yield Bodies("58 unknown FourCC in sounds", sounds(*(bytes((0x90 | packet,)) + b"XXXX" for packet in range(16))))
    for type_id, head in ((VIDEO, 0x96), (VIDEO, 0xA6), (AUDIO, 0x95)):
        bodies = list(multitrack(head, AUDIO if type_id == AUDIO else VIDEO))
        yield Bodies(f"59 multitrack {head:#x}", messages_of(type_id, *bodies))
    for type_id, head in ((VIDEO, 0x97), (AUDIO, 0x97)):
        yield Bodies(f"60 ModEx of type {type_id}", messages_of(type_id, *modex(head)))


def multitrack(head, type_id):
    fourcc = b"avc1" if type_id == VIDEO else b"mp4a"
    nested = 0x06 if type_id == VIDEO else 0x05
    for kind in range(16):
        for packet in (0, 1, 2, 3, nested, 7):
            start = bytes((head, kind << 4 | packet))
            yield start
            yield start + fourcc
            yield start + fourcc + b"\0"
            yield start + fourcc + b"\0\xff\xff\xff" + b"short"
            yield start + fourcc + b"".join(bytes((track, 0, 0, 1, 0x55)) for track in range(256))
            yield start + b"".join(fourcc + bytes((track, 0, 0, 0)) for track in range(256))
            yield start + fourcc + b"\x07\0\0\0" * 5_000


def modex(head):
    yield bytes((head,))
    yield bytes((head, 0xFF))
    yield bytes((head, 0xFF, 0xFF))
    yield bytes((head, 2, 0, 0, 0))
    yield bytes((head, 0xFF, 0xFF, 0xFF)) + bytes(65_536) + b"\x01avc1\0\0\0"
    yield bytes((head, 0xFF, 0xFF, 0xFF)) + bytes(100)
    yield bytes((head,)) + b"\x02\xff\xff\xff\x07" * 1000
    yield bytes((head,)) + b"\x00\x00\x07" * 8 + b"\x00\x00\x01avc1"
    for kind in range(16):
        yield bytes((head, 2, 0, 0, 9, kind << 4 | 1)) + b"avc1\0\0\0\0\0\0\x01\x65"


def rows_of_data():
    """Data messages that are not what they should be: cases 28 to 37 where they meet the recorder, and 67."""
    name = amf0.encode("onMetaData")
    odd = [-1.0, math.nan, math.inf, 1e9, 1e300, "x" * 60_000, None, UNDEFINED, Date(math.nan), [], {}, True]
    keys = ("width", "framerate", "duration", "audiosamplerate", "videocodecid")
    values = [EcmaArray({key: value, "height": value}) for key in keys for value in odd]
    yield Bodies("67 odd values", [tag for value in values for tag in metadata(value)])
    for value in (-1.0, math.nan, 1e9):
        yield Bodies(f"67 size {value}", metadata(EcmaArray({"width": value, "height": value, "framerate": value})))
    yield Bodies(
        "67 no object", metadata(1.0) + metadata("x") + metadata() + metadata([1.0, 2.0]) + metadata({"width": -1.0})
    )
    huge = EcmaArray({f"key {number}": "x" * 1000 for number in range(500)})
    yield Bodies("67 half a megabyte of values", metadata(huge))
    index = {"keyframes": {"times": [1e300] * 20_000, "filepositions": [-1.0] * 20_000}, "filesize": -1.0}
    yield Bodies("67 an index of lies", metadata(EcmaArray(index)))
    lies = [{"from_ms": value, "to_ms": -value} for value in (math.nan, math.inf, 1e300, 0.0)]
    yield Bodies("67 gaps of lies", [tag for lie in lies for tag in messages_of(DATA_AMF0, amf0.encode("onGap", lie))])
    for cases, what, rest in (
        ("28", "17 objects", b"\x03\0\x01a" * 17 + b"\x05"),
        ("28", "100000 arrays", b"\x0a\0\0\0\x01" * 100_000),
        ("29", "array", b"\x0a" + MANY),
        ("30", "string", b"\x02\xff\xffx"),
        ("33", "object without end", b"\x08\0\0\0\0\0\x05width\0"),
        (
            "35",
            "references",
            b"\x0a\0\0\0\x0a" + b"\x0a\0\0\0\x0a" + b"\x05" * 10 + b"\x07\0\x01" * 9 + b"\x07\0\0" * 90_000,
        ),
        (
            "35",
            "long references",
            b"\x0a\0\0\x10\0\x03\0\x01a\x02\xf0\0" + b"x" * 0xF000 + b"\0\0\x09" + b"\x07\0\x01" * 4095,
        ),
        ("37", "100000 keys", b"\x03" + b"\0\x02ab\x05" * 100_000 + b"\0\0\x09"),
    ):
        yield Bodies(f"{cases} {what} in metadata", messages_of(DATA_AMF0, name + rest))
    amf3 = [
        b"",
        b"\x01",
        b"\0",
        b"\0\x11",
        b"\0" + name + b"\x11\x09\x03\x01\x09\0",
        b"\0" + name + b"\x11\x0a\x0b\x01\x03a" * 9,
    ]
    yield Bodies("27_36 data in AMF3", messages_of(DATA_AMF3, *amf3))
    strings = b"\x11\x09" + b"\xbf\x81" + b"\x01" + b"\x06\x87\xc1\x01" + b"x" * 0xF000 + b"\x06\0" * 4095
    yield Bodies("36 AMF3 strings that multiply", messages_of(DATA_AMF3, b"\0" + name + strings))
    noise = [bytes((first,)) * size for first in (0, 2, 3, 8, 0xFF) for size in (1, 3, 100)]
    yield Bodies("40 data of noise", messages_of(DATA_AMF0, b"", *noise))


def rows_of_times():
    """Case 64."""
    half = 1 << 31

    def at(*times):
        frames = (FlvTag(VIDEO, time % (1 << 32), AVC_INTER + b"\0\0\0\x02\x41\x9a") for time in times)
        return [*pictures(AVC_HEADER + AVCC), *frames]

    yield Bodies("64 forwards and backwards by 2^31", at(*(1000 + half * (number % 2) for number in range(100))))
    yield Bodies("64 steps of 2^31", at(*(1000 + half * number for number in range(50))))
    yield Bodies("64 steps of 2^31 - 1", at(*(1000 + (half - 1) * number for number in range(50))))
    yield Bodies("64 backwards", at(*(1000 - number * 50 for number in range(100))))
    yield Bodies("64 from end to end", at(*(value for _ in range(50) for value in (0, (1 << 32) - 1, half, half - 1))))
    yield Bodies(
        "64 at the boundaries", at(*(value for _ in range(50) for value in ((1 << 24) - 1, 0, half - 1, 1 << 24)))
    )
    yield Bodies("64 no time passes", at(*[1000] * 200))


ROWS = (*rows_of_bodies(), *rows_of_data(), *rows_of_times())
