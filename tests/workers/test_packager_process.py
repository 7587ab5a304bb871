"""The packager process: streams beside each other, a server that does not read, what goes wrong."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import subprocess
import sys
import threading

import pytest

from muxers import live
from rtmpd.live.fragments import Init, Part
from rtmpd.wire.messages import VIDEO
from rtmpd.workers import packager_process, protocol
from rtmpd.workers.fragment_feed import RecordReader, Refusal
from rtmpd.workers.marker import Marker
from rtmpd.workers.packager_process import OUTGOING_BYTES, READ_BYTES, PackagerProcess
from rtmpd.workers.protocol import Health, Package, Packaged, Ready
from tests.helpers.footage import assert_same_media, feed_of, footage, from_zero, tags_of, tracks_of

PART_MS = 200


class Server:
    """The server's side, without the loop."""

    numbers = itertools.count(1)

    def __init__(self, control, marker):
        self.control = control
        self.marker = marker

    def start(self):
        """Start a packaging; returns its number and the feed."""
        ours, theirs = socket.socketpair()
        number = next(self.numbers)
        with theirs:
            protocol.send(
                self.control, protocol.encode(Package(number, PART_MS)), [theirs.fileno(), self.marker.descriptor]
            )
        ours.settimeout(20)
        return number, ours

    def wait(self, packet):
        """Receive until this comes."""
        while True:
            received = protocol.receive(self.control)
            assert received is not None, f"the packager ended without {packet}"
            if received[0] == packet:
                return


@pytest.fixture
def process(tmp_path):
    """A packager as the server starts it."""
    ours, theirs = protocol.socketpair()
    command = [sys.executable, "-m", "rtmpd.workers.packager_process", "--control-fd", str(theirs.fileno())]
    with theirs, (tmp_path / "stderr").open("wb") as stderr:
        child = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=stderr)
    with ours, child, contextlib.closing(Marker()) as marker:
        yield Server(ours, marker), child
        ours.close()
        child.wait()


@pytest.fixture
def server():
    """A packager in a thread of this process, whose parts can be replaced."""
    ours, theirs = protocol.socketpair()
    thread = threading.Thread(target=PackagerProcess(theirs).run)
    thread.start()
    with ours, contextlib.closing(Marker()) as marker:
        yield Server(ours, marker)
    thread.join()


def read_all(feed):
    """Every record up to the end."""
    reader = RecordReader()
    records = []
    while data := feed.recv(65536):
        records += reader.feed(data)
    return records


def read_until(feed, kind):
    reader = RecordReader()
    while True:
        data = feed.recv(65536)
        assert data, f"the feed ended without {kind}"
        for record in reader.feed(data):
            if isinstance(record, kind):
                return record


def send_all(feed, data):
    """Send and say that it was all, while a thread of the test may read."""
    feed.sendall(data)
    feed.shutdown(socket.SHUT_WR)


def bytes_of(records):
    return b"".join(record.data for record in records)


def send_until_full(feed, data):
    """Send until neither the packager nor the kernel takes more; returns how much they took."""
    feed.setblocking(False)
    taken = 0
    while taken < len(data) and select.select([], [feed], [], 0.3)[1]:
        taken += feed.send(data[taken : taken + 65536])
    feed.settimeout(20)
    return taken


def test_a_stream_from_start_to_end(process):
    server, child = process
    source = footage()
    server.wait(Ready())
    number, feed = server.start()

    with feed:
        send_all(feed, feed_of(tags_of(source)))
        records = read_all(feed)

    server.wait(Packaged(number))
    assert [type(record) for record in records] == [Init] + [Part] * (len(records) - 1)
    assert_same_media(from_zero(tracks_of(bytes_of(records), "mp4")), from_zero(tracks_of(source)))
    server.control.close()
    assert child.wait(20) == 0


def test_a_part_comes_as_soon_as_the_frame_behind_it(process):
    server, _ = process
    _, feed = server.start()

    with feed:
        feed.sendall(feed_of([tag for tag in tags_of(footage()) if tag.timestamp_ms <= 260]))
        part = read_until(feed, Part)

        assert (part.duration_ms, part.is_independent) == (200, True)


def test_streams_beside_each_other_are_told_apart(process):
    server, _ = process
    sources = [footage(), footage("libx265", "libopus"), footage(None, "flac")]
    feeds = [server.start()[1] for _ in sources]
    data = [feed_of(tags_of(source)) for source in sources]

    for start in range(0, max(map(len, data)), 5_000):
        for feed, each in zip(feeds, data, strict=True):
            feed.sendall(each[start : start + 5_000])
    for feed in feeds:
        feed.shutdown(socket.SHUT_WR)

    for feed, source in zip(feeds, sources, strict=True):
        with feed:
            assert_same_media(from_zero(tracks_of(bytes_of(read_all(feed)), "mp4")), from_zero(tracks_of(source)))


def test_a_bug_in_one_stream_costs_that_stream(server, monkeypatch, capfd):
    feed_as_it_is = live.LivePackager.feed

    def feed(packager, tags, now_s):
        if any(tag.body == b"\x17bug" for tag in tags):
            raise ZeroDivisionError("a bug")
        return feed_as_it_is(packager, tags, now_s)

    monkeypatch.setattr(live.LivePackager, "feed", feed)
    (good_number, good), (bad_number, bad) = server.start(), server.start()
    first = tags_of(footage())

    with good, bad:
        good.sendall(feed_of(first[:10]))
        bad.sendall(feed_of([first[0]._replace(type_id=9, body=b"\x17bug")]))
        (refusal,) = read_all(bad)
        server.wait(Packaged(bad_number))
        send_all(good, feed_of(first[10:])[13:])
        records = read_all(good)

    server.wait(Packaged(good_number))
    assert isinstance(refusal, Refusal)
    assert "failed at this stream" in refusal.reason
    assert "ZeroDivisionError: a bug" in capfd.readouterr().err
    assert_same_media(from_zero(tracks_of(bytes_of(records), "mp4")), from_zero(tracks_of(footage())))


def test_what_is_in_hand_is_marked_for_who_sees_the_process_die(server, monkeypatch):
    marked = []
    feed_as_it_is = live.LivePackager.feed

    def feed(packager, tags, now_s):
        marked.append(server.marker.packaging_id)
        return feed_as_it_is(packager, tags, now_s)

    monkeypatch.setattr(live.LivePackager, "feed", feed)
    (first_number, first), (second_number, second) = server.start(), server.start()
    with first, second:
        for each, number in ((first, first_number), (second, second_number)):
            send_all(each, feed_of(tags_of(footage())))
            assert read_all(each)
            server.wait(Packaged(number))

    assert set(marked) == {first_number, second_number}
    assert server.marker.packaging_id == 0


def test_a_feed_that_is_no_flv_is_a_bug_of_that_stream(server, capfd):
    number, feed = server.start()

    with feed:
        feed.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert [type(record) for record in read_all(feed)] == [Refusal]

    server.wait(Packaged(number))
    assert "MessageError" in capfd.readouterr().err


def test_a_server_that_does_not_read_is_left_alone_and_other_streams_go_on(server):
    (slow_number, slow), (_, fast) = server.start(), server.start()
    tags = [tag._replace(body=tag.body + bytes(20_000 * (tag.type_id == VIDEO))) for tag in tags_of(footage())]
    length_ms = tags[-1].timestamp_ms + 40
    long = [tag._replace(timestamp_ms=tag.timestamp_ms + part * length_ms) for part in range(8) for tag in tags[3:]]
    long = [*tags_of(footage())[:3], *long]
    data = feed_of(long)

    with slow, fast:
        taken = send_until_full(slow, data)
        in_kernel = 2 * 2 * slow.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert taken < OUTGOING_BYTES + 2 * READ_BYTES + in_kernel < len(data)

        send_all(fast, feed_of(tags_of(footage())))
        assert_same_media(from_zero(tracks_of(bytes_of(read_all(fast)), "mp4")), from_zero(tracks_of(footage())))

        sender = threading.Thread(target=send_all, args=(slow, data[taken:]))
        sender.start()
        records = read_all(slow)
        sender.join()
        server.wait(Packaged(slow_number))
    assert records[-1].start_ms > 7 * length_ms


def test_a_feed_whose_server_wants_no_more_is_let_go_of(server):
    number, feed = server.start()
    feed.sendall(feed_of(tags_of(footage())))
    feed.close()

    server.wait(Packaged(number))


def test_the_end_of_the_server_is_the_end_of_the_packager(process):
    server, child = process
    feeds = [server.start()[1] for _ in range(3)]
    server.wait(Ready())
    feeds[0].sendall(feed_of(tags_of(footage())))

    server.control.close()

    assert child.wait(20) == 0
    for feed in feeds:
        feed.close()


def test_a_packager_that_is_killed_ends_its_feeds(process):
    server, child = process
    _, feed = server.start()
    server.wait(Ready())

    child.kill()

    with feed:
        assert feed.recv(1) == b""
    while protocol.receive(server.control) is not None:  # it may have lived long enough to say how it was
        pass


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(packager_process, "HEALTH_INTERVAL_S", 0.01)


def test_it_says_how_it_is(quick, server):
    _, feed = server.start()

    with feed:
        feed.sendall(feed_of(tags_of(footage())))
        while True:
            packet, _ = protocol.receive(server.control)
            if isinstance(packet, Health):
                assert packet.resident_bytes > 2**20
                assert packet.queued_bytes == 0
                return
