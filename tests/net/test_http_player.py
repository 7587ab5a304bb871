"""Players behind HTTP requests: real sockets, streams and the fan-out, without HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
from itertools import pairwise

import pytest

from rtmpd.errors import Refused
from rtmpd.live.fragments import FRAGMENT_FORM, Init
from rtmpd.live.log import Log, Retention
from rtmpd.media.tags import KEY_FRAME
from rtmpd.net import http_player
from rtmpd.net.http_player import CLOSED, MOST_IGNORED_BYTES, NOT_FOUND, FlvPlayer, Mp4Player
from rtmpd.wire.messages import VIDEO
from tests.helpers.live import PRIVATE, audio_frame, inter_frame, key_frame, metadata, video_header
from tests.helpers.rig import Rig
from tests.helpers.viewer import HEAD, Viewer

INIT = Init(b"ftypmoov", "avc1.64001f", has_video=True)


def spelt(messages):
    return [(each.type_id, each.timestamp_ms, each.body) for each in messages]


# FLV


async def test_a_player_that_waits_gets_what_is_published_tag_for_tag():
    async with Rig() as rig:
        viewer = Viewer(rig).join()
        starting = asyncio.ensure_future(viewer.start())
        publisher = await rig.publisher()
        sent = [metadata(width=320), video_header(), key_frame(0), audio_frame(10), inter_frame(40, size=100_000)]
        await publisher.send(*sent)
        await starting
        await viewer.until(lambda: len(viewer.tags) == 5)

        assert spelt(viewer.tags) == spelt(sent)
        assert viewer.player.bytes_out > 100_000


async def test_a_late_player_begins_with_headers_and_the_newest_key_frame():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0), inter_frame(40), key_frame(1000), inter_frame(1040))
        await publisher.ping()
        viewer = await Viewer(rig).play()
        await viewer.until(lambda: len(viewer.tags) == 3)

    assert [(tag.timestamp_ms, tag.body[:2]) for tag in viewer.tags] == [
        (1000, b"\x17\0"),
        (1000, b"\x17\1"),
        (1040, b"\x27\1"),
    ]


async def test_who_wants_the_newest_begins_with_the_next_key_frame():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0), inter_frame(40))
        await publisher.ping()
        viewer = await Viewer(rig, at_newest=True).play()
        await publisher.send(inter_frame(80), key_frame(120), inter_frame(160))
        await viewer.until(lambda: len(viewer.data) > len(HEAD) + 13 and len(viewer.tags) == 3)

    assert [(tag.timestamp_ms, tag.body[:2]) for tag in viewer.tags] == [
        (120, b"\x17\0"),
        (120, b"\x17\1"),
        (160, b"\x27\1"),
    ]


async def test_a_player_counts_as_one_while_it_waits_and_plays_and_leaves_nothing_behind():
    async with Rig() as rig:
        viewer = Viewer(rig).join()
        player = viewer.player
        stream = rig.services.registry.find("live", "s")
        assert player in stream.members
        assert player in rig.services.connections
        assert (player.role, player.path, player.lag_ms, player.bytes_out) == ("play", "live/s", 0, 0)
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        await viewer.start()
        await viewer.until(lambda: viewer.times == [0])
        viewer.socket.close()
        await rig.until(rig.closed)

        assert player not in stream.members
        assert player not in rig.services.connections
        (line,) = rig.closed()
    assert (line["kind"], line["role"], line["stream"], line["reason"]) == (
        "http-flv",
        "play",
        "live/s",
        "peer closed",
    )
    assert (line["client"], line["bytes_out"], line["bytes_in"]) == (player.number, player.bytes_out, 0)


@pytest.mark.parametrize(
    ("wait_s", "why"), [(0.02, "nobody published live/s for 0.02 s"), (0, "nobody publishes live/s")]
)
async def test_a_player_that_nobody_publishes_for_is_refused(wait_s, why):
    async with Rig(wait_s=wait_s) as rig:
        viewer = Viewer(rig).join()
        with pytest.raises(Refused) as caught:
            await viewer.player.ready()

        assert (caught.value.code, caught.value.description) == (NOT_FOUND, why)
        assert [line["reason"] for line in rig.closed()] == [why]
        assert rig.services.registry.find("live", "s") is None


async def test_a_peer_that_leaves_while_it_waits_ends_its_player():
    async with Rig() as rig:
        viewer = Viewer(rig).join()
        waiting = asyncio.ensure_future(viewer.player.ready())
        await asyncio.sleep(0)
        viewer.player.left()
        with pytest.raises(ConnectionError):
            await waiting

        assert [line["reason"] for line in rig.closed()] == ["peer closed"]
        assert rig.services.registry.find("live", "s") is None


@pytest.mark.parametrize("is_playing", [False, True])
async def test_a_player_can_be_evicted(is_playing):
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        viewer = Viewer(rig).join("s" if is_playing else "other")
        if is_playing:
            await viewer.start()
        viewer.player.evict("by somebody")
        if is_playing:
            await viewer.end()
        else:
            with pytest.raises(Refused) as caught:
                await viewer.player.ready()
            assert caught.value.code == CLOSED

        assert [line["reason"] for line in rig.closed()] == ["by somebody"]


async def test_nothing_is_played_to_who_was_evicted_between_its_stream_and_its_connection():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        viewer = Viewer(rig).join()
        await viewer.player.ready()
        viewer.player.evict("by somebody")
        viewer.player.play_on_socket(viewer.ours, HEAD)
        viewer.read_on()
        await viewer.end()

    assert viewer.data == b""


async def test_it_cannot_be_sent_away():
    async with Rig() as rig:
        viewer = Viewer(rig).join()

        assert not viewer.player.send_away(Refused("x", "y"), "rtmp://elsewhere/live")
        assert not viewer.player.over.done()


async def test_the_end_of_the_stream_is_the_end_of_the_connection_after_everything_was_sent():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        viewer = await Viewer(rig).play()
        await viewer.until(lambda: viewer.times == [0])
        viewer.pause()
        await publisher.send(*(inter_frame(40 * number, size=100_000) for number in range(1, 60)))
        await rig.until(lambda: rig.services.fanout._blocked)
        await publisher.command("deleteStream", 4, None, 1.0)
        await rig.until(lambda: rig.services.registry.find("live", "s") is None)
        await rig.publisher()
        viewer.read_on()
        await viewer.end()

        assert viewer.times == [40 * number for number in range(60)]
        assert viewer.player.has_all


async def test_a_stream_that_ends_before_its_player_has_a_connection_is_played_to_its_end():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        await publisher.ping()
        viewer = Viewer(rig, at_newest=True).join()
        await publisher.command("deleteStream", 4, None, 1.0)
        await rig.until(lambda: rig.services.registry.find("live", "s") is None)
        await viewer.start()
        await viewer.end()

    assert viewer.times == [0]


@pytest.mark.parametrize("has_connection", [True, False])
async def test_a_stream_that_becomes_private_ends_its_players_though_it_goes_on(has_connection):
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        await publisher.ping()
        viewer = Viewer(rig).join()
        stream = rig.services.registry.find("live", "s")
        if has_connection:
            await viewer.start()
            viewer.pause()
            await publisher.send(*(inter_frame(40 * number, size=100_000) for number in range(1, 60)))
            await rig.until(lambda: rig.services.fanout._blocked)
            stream.hide("push stopped")
            viewer.read_on()
        else:
            stream.hide("push stopped")
            await viewer.start()
        await viewer.end()

        assert stream.publication is not None
        assert [line["reason"] for line in rig.closed()] == ["push stopped"]


async def test_a_private_stream_is_waited_for():
    async with Rig(wait_s=0.02) as rig:
        rig.policy.terms = PRIVATE
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        with pytest.raises(Refused, match="nobody published"):
            await Viewer(rig).play()


async def test_what_a_peer_says_after_its_request_is_dropped_until_it_is_too_much():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        viewer = await Viewer(rig).play()
        await rig.loop.sock_sendall(viewer.socket, b"GET / HTTP/1.1\r\n\r\n")
        await rig.until(lambda: viewer.player.bytes_in == 18)
        assert not viewer.player.over.done()
        await rig.loop.sock_sendall(viewer.socket, bytes(MOST_IGNORED_BYTES))
        await viewer.end()

        assert rig.closed()[0]["reason"] == f"sent more than {MOST_IGNORED_BYTES} bytes after its request"


@pytest.mark.parametrize("may_jump", [True, False])
async def test_a_player_that_stops_reading_jumps_or_is_closed_and_others_see_no_gap(may_jump):
    async with Rig(may_jump=may_jump, bytes_=2_000_000) as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        good, slow = await Viewer(rig).play(), await Viewer(rig).play()
        await slow.until(lambda: slow.times == [0])
        slow.pause()
        for number in range(1, 200):
            make = key_frame if number % 10 == 0 else inter_frame
            await publisher.send(make(40 * number, size=100_000))
            if number % 10 == 0:  # as the log holds just 20 frames
                await good.until(lambda number=number: len(good.times) > number)
        await good.until(lambda: good.times == [40 * number for number in range(200)])

        slow.read_on()
        if may_jump:
            await slow.until(lambda: slow.times[-1] == 40 * 199)
            tags = slow.tags
            jumps = [now for before, now in pairwise(tags) if now.timestamp_ms > before.timestamp_ms + 40]
            assert jumps
            assert all(tag.body[:2] == b"\x17\0" for tag in jumps)
            assert slow.player.skipped_ms > 0
        else:
            await slow.end()
            assert rig.closed()[0]["reason"] == "too slow: fell out of the log"


async def test_a_player_whose_socket_takes_nothing_is_given_up():
    async with Rig(lag_limit_s=0.05) as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        viewer = await Viewer(rig).play()
        viewer.pause()
        for number in range(1, 100):
            await publisher.send(inter_frame(40 * number, size=100_000))
        await rig.until(lambda: rig.services.fanout._blocked)
        assert viewer.player.lag_ms > 0
        await rig.until(lambda: rig.services.fanout.cut_off_stalled(rig.loop.time()) or rig.closed())

        assert rig.closed()[0]["reason"] == "too slow: nothing taken for 0.05 s"


async def test_a_connection_that_was_reset_meanwhile_ends_its_player(monkeypatch):
    def reset(*_):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(http_player, "tune", reset)
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        viewer = await Viewer(rig).play()

        assert viewer.ours.fileno() == -1
        assert [line["reason"] for line in rig.closed()] == ["Invalid argument"]


async def test_a_player_that_has_ended_is_freed_without_the_collector():
    async with Rig(wait_s=0.01) as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        viewer, refused = await Viewer(rig).play(), Viewer(rig).join("other")
        with contextlib.suppress(Refused):
            await refused.player.ready()
        await viewer.until(lambda: viewer.times == [0])
        gc.collect()
        gc.disable()
        try:
            viewer.close()
            refused.close()
            await rig.until(lambda: len(rig.closed()) == 2)
            viewer.player = refused.player = None  # what is left of the test's own reading holds the viewer
            left = [each for each in gc.get_objects() if isinstance(each, FlvPlayer)]
        finally:
            gc.enable()

    assert not left


# Fragmented MP4


class FakePackaging:
    """Packages when it is told to."""

    def __init__(self, rig, refusal=None):
        self._rig = rig
        self.refusal = refusal
        self.viewers = []
        self.wanted = []
        self.log = None

    def want(self, stream):
        self.wanted.append(stream.path)
        return self

    def attach(self, viewer):
        self.viewers.append(viewer)
        if self.log is not None:
            viewer.fragments_started(self.log)

    def detach(self, viewer):
        if viewer in self.viewers:
            self.viewers.remove(viewer)

    def start(self):
        self.log = Log(FRAGMENT_FORM, Retention())
        for viewer in list(self.viewers):
            viewer.fragments_started(self.log)

    def append(self, data, flags=KEY_FRAME):
        self.log.append(VIDEO, 0, data, flags, INIT, self._rig.loop.time())
        self._rig.services.fanout.mark((self.log,))

    def end(self, reason="the stream ended"):
        for viewer in list(self.viewers):
            viewer.fragments_ended(reason)

    def viewer(self, **options):
        return Viewer(self._rig, functools.partial(Mp4Player, want=self.want), kind="mp4", **options)


async def test_a_player_of_mp4_wakes_the_packager_waits_for_fragments_and_plays_them_to_their_end():
    async with Rig() as rig:
        packaging = FakePackaging(rig)
        publisher = await rig.publisher()
        viewer = packaging.viewer().join()
        assert packaging.wanted == ["live/s"]
        starting = asyncio.ensure_future(viewer.start())
        packaging.start()
        packaging.append(b"k1")
        await starting
        packaging.append(b"p1", 0)
        await publisher.command("deleteStream", 4, None, 1.0)
        await rig.until(lambda: rig.services.registry.find("live", "s") is None)
        packaging.append(b"last", 0)
        packaging.end()
        await viewer.end()

        assert viewer.data == HEAD + b"ftypmoovk1p1last"
        assert packaging.viewers == []
        assert [line["kind"] for line in rig.closed() if line["role"] == "play"] == ["mp4"]


async def test_a_late_player_of_mp4_begins_at_the_newest_independent_part_or_at_the_next():
    async with Rig() as rig:
        packaging = FakePackaging(rig)
        await rig.publisher()
        packaging.start()
        packaging.append(b"k1")
        packaging.append(b"k2")
        packaging.append(b"p2", 0)
        viewer, newest = await packaging.viewer().play(), await packaging.viewer(at_newest=True).play()
        packaging.append(b"p3", 0)
        packaging.append(b"k4")
        await viewer.until(lambda: viewer.data == HEAD + b"ftypmoovk2p2p3k4")
        await newest.until(lambda: newest.data == HEAD + b"ftypmoovk4")


async def test_a_stream_that_cannot_be_packaged_is_refused_with_the_reason():
    async with Rig() as rig:
        packaging = FakePackaging(rig, refusal="codec zork")
        await rig.publisher()
        with pytest.raises(Refused) as caught:
            await packaging.viewer().play()

        assert caught.value.description == "live/s cannot be shown as MP4: codec zork"
        assert packaging.viewers == []


@pytest.mark.parametrize("how", ["stream", "packager"])
async def test_a_stream_that_ends_before_its_first_fragment_is_refused(how):
    async with Rig() as rig:
        packaging = FakePackaging(rig)
        publisher = await rig.publisher()
        viewer = packaging.viewer().join()
        if how == "stream":
            await publisher.command("deleteStream", 4, None, 1.0)
        else:
            packaging.end("the packager died")
        with pytest.raises(Refused) as caught:
            await viewer.player.ready()

        assert caught.value.code == NOT_FOUND
        assert packaging.viewers == []


async def test_a_stream_that_becomes_private_ends_its_players_of_mp4():
    async with Rig() as rig:
        packaging = FakePackaging(rig)
        await rig.publisher()
        packaging.start()
        packaging.append(b"k1")
        viewer = await packaging.viewer().play()
        await viewer.until(lambda: viewer.data.endswith(b"k1"))
        rig.services.registry.find("live", "s").hide("push stopped")
        await viewer.end()


async def test_fragments_that_never_come_are_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(http_player, "FIRST_FRAGMENT_S", 0.01)
    async with Rig(wait_s=0) as rig:
        packaging = FakePackaging(rig)
        await rig.publisher()
        with pytest.raises(Refused, match=r"nothing of live/s came for 0\.01 s"):
            await packaging.viewer().play()
