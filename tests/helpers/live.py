"""Messages for tests of the live package: bodies that `classify` takes for what they are called."""

from __future__ import annotations

from rtmpd.live.log import Retention
from rtmpd.live.registry import Registry, Takeover
from rtmpd.live.stream import Publication, Stream
from rtmpd.live.terms import PLAIN, Terms
from rtmpd.wire import amf0
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO, Message

AVC_HEADER = bytes.fromhex("1700000000 0142c00bffe100046742c00b01000268ce")
AAC_HEADER = bytes.fromhex("af001190")


def video_header(body=AVC_HEADER, timestamp_ms=0):
    return Message(VIDEO, timestamp_ms, 1, body)


def audio_header(timestamp_ms=0):
    return Message(AUDIO, timestamp_ms, 1, AAC_HEADER)


def key_frame(timestamp_ms, size=40, mark=0):
    return Message(VIDEO, timestamp_ms, 1, b"\x17\x01\0\0\0" + bytes([mark]) * size)


def inter_frame(timestamp_ms, size=20, mark=0):
    return Message(VIDEO, timestamp_ms, 1, b"\x27\x01\0\0\0" + bytes([mark]) * size)


def audio_frame(timestamp_ms, size=10, mark=0):
    return Message(AUDIO, timestamp_ms, 1, b"\xaf\x01" + bytes([mark]) * size)


def metadata(**values):
    return Message(DATA_AMF0, 0, 1, amf0.encode("onMetaData", {name: float(value) for name, value in values.items()}))


def new_stream(**retention):
    return Stream("live", "s", Retention(**retention))


PRIVATE = Terms(is_public=False)


def publish(stream, identity="me", terms=PLAIN):
    publication = Publication(stream, identity, lambda _: None, terms)
    stream.open(publication)
    return publication


def new_registry(**retention):
    return Registry(Retention(**retention))


def publish_to(registry, name="s", identity="me", takeover=Takeover.SAME, evict=lambda _: None):
    return registry.publish("live", name, identity, takeover, evict)
