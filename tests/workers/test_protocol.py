"""What the server and its workers say to each other."""

from __future__ import annotations

import dataclasses
import os
import socket
from pathlib import Path

import pytest

from muxers import base
from muxers.formats import FORMATS
from rtmpd.errors import UsageError
from rtmpd.workers import protocol

FACTS = dataclasses.asdict(
    base.FileFacts(
        "/x.flv", "flv", 1, 2, 3, 4, 5, 6, (base.TrackFacts("video", 0, "avc1", 64, 48),), 0, 0, 0, 0, empty=False
    )
)
FACTS_IN_JSON = {**FACTS, "tracks": [dict(track) for track in FACTS["tracks"]]}
GRANT = protocol.Grant("f1", "/data/é/x.flv")
PACKETS = [
    protocol.Start(
        "id",
        1,
        (protocol.Output("flv", (GRANT, protocol.Grant("f2", "/y"))), protocol.Output("hls", (), 1, 2, 3, "ts")),
    ),
    protocol.MayOpen("id", 1, "hls", protocol.Grant("f3", "/z", resume=True)),
    protocol.Job(7, "repair", "flv", "/data/x.flv"),
    protocol.Package(5, 200),
    protocol.Packaged(5),
    protocol.Ready(),
    protocol.Opened("id", 1, "flv", "f1"),
    protocol.Written("id", 1, 2**40, 5),
    protocol.Closed("id", 1, "flv", "f1", FACTS_IN_JSON),
    protocol.Failed("id", 1, "flv", "f1", "No space left on device", 28, None),
    protocol.Ended("id", 1),
    protocol.JobDone(7, "done", facts=FACTS_IN_JSON),
    protocol.Health(2**30, 5),
]


@pytest.fixture
def ends():
    ours, theirs = protocol.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: type(packet).__name__)
def test_a_packet_arrives_as_it_was_sent(ends, packet):
    protocol.send(ends[0], protocol.encode(packet))

    assert protocol.receive(ends[1]) == (packet, [])


def test_the_facts_that_travel_are_the_facts_of_the_muxers():
    for typed, real in ((protocol.FileFacts, base.FileFacts), (protocol.TrackFacts, base.TrackFacts)):
        assert list(typed.__annotations__) == [field.name for field in dataclasses.fields(real)]


def test_a_descriptor_travels_with_its_packet(ends):
    reader, writer = os.pipe()
    protocol.send(ends[0], protocol.encode(PACKETS[0]), [writer])
    os.close(writer)

    _, descriptors = protocol.receive(ends[1])

    os.write(descriptors[0], b"through")
    assert not os.get_inheritable(descriptors[0])
    assert os.read(reader, 100) == b"through"
    for descriptor in (reader, *descriptors):
        os.close(descriptor)


def test_packets_are_kept_apart_and_in_order(ends):
    for packet in PACKETS:
        protocol.send(ends[0], protocol.encode(packet))
    ends[0].close()

    received = list(iter(lambda: protocol.receive(ends[1]), None))

    assert [packet for packet, _ in received] == PACKETS


def test_a_sender_that_may_not_wait_is_told_when_there_is_no_room(ends):
    data = protocol.encode(PACKETS[0])

    def flood():
        for _ in range(100_000):
            protocol.send(ends[0], data, flags=socket.MSG_DONTWAIT)

    with pytest.raises(BlockingIOError):
        flood()


def test_a_side_that_dies_without_reading_is_an_end_not_an_error(ends):
    protocol.send(ends[1], protocol.encode(protocol.Ready()))
    ends[0].close()

    assert protocol.receive(ends[1]) is None


def test_a_path_as_long_as_the_system_allows_fits_for_every_format():
    grants = (protocol.Grant("0" * 16, "/" + "é" * 2047), protocol.Grant("0" * 16, "/" + "\udc80" * 1364))
    outputs = tuple(protocol.Output(name, grants) for name in FORMATS)

    assert protocol.decode(protocol.encode(protocol.Start("id", 1, outputs))).outputs == outputs


def test_a_packet_that_is_too_long_is_not_sent():
    with pytest.raises(UsageError, match="does not fit"):
        protocol.encode(protocol.Opened("id", 1, "flv", "x" * protocol.PACKET_BYTES))


@pytest.mark.parametrize("data", [b"", b"x", b"[]", b'["Nonsense",{}]', b'["Ended",{"x":1}]', b"\xff", b"[1,2,3]"])
def test_what_is_no_packet_is_a_bug_and_its_descriptors_are_closed(ends, data):
    with pytest.raises(UsageError):
        protocol.decode(data)

    before = len(list(Path("/proc/self/fd").iterdir()))
    if data:
        protocol.send(ends[0], data, [0])
        with pytest.raises(UsageError):
            protocol.receive(ends[1])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
