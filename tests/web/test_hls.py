"""HLS over HTTP: who is answered with what, when, and what is left of those who have gone."""

from __future__ import annotations

import asyncio
import io
import re
import socket
from itertools import pairwise

import pytest

from muxers import playlist
from muxers.fragments import FragmentSplitter
from rtmpd.live.fragments import Init, Part
from rtmpd.live.registry import Takeover
from rtmpd.web import hls as hls_module
from rtmpd.web import hls_view
from rtmpd.web.hls import PLAYLIST_TYPE
from tests.helpers.footage import footage, tags_of
from tests.helpers.hls import read, record
from tests.helpers.hls_rig import HlsRig
from tests.helpers.live_window import FIRST, SOUND_INIT


@pytest.fixture
async def rig(tmp_path):
    async with HlsRig(tmp_path) as rig:
        yield rig


@pytest.fixture
def feed(rig, monkeypatch):
    """Of a stream that is published, with a whole segment and three parts of another one; it never stalls by itself."""
    monkeypatch.setattr(hls_view, "TARGETS_STALLED", 60)
    monkeypatch.setattr(hls_view, "TARGETS_BLOCKED", 60)
    rig.publish()
    feed = rig.packaging().feed
    feed.group()
    feed.group(parts=3)
    return feed


def files_of(text):
    return re.findall(r'^([0-9a-f]{16}/.+)$|URI="([^"]+)"', text, re.MULTILINE)


# Playlists


async def test_a_playlist_is_answered_with_all_that_players_and_proxies_need(rig, feed):
    answer = await rig.get(Origin="https://a.example", **{"Accept-Encoding": "identity"})

    assert answer.status == 200
    assert answer.body.startswith(b"#EXTM3U\n")
    assert answer.headers["Content-Type"] == PLAYLIST_TYPE
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] == "rtmpd"
    assert int(answer.headers["Content-Length"]) == len(answer.body)


async def test_pages_of_some_sites_only_and_compression_are_both_named_to_caches(tmp_path):
    async with HlsRig(tmp_path, http={"media_origins": ["https://a.example"]}) as rig:
        rig.publish()
        rig.packaging().feed.group()
        rig.packaging().feed.part(key=True)
        answer = await rig.get(Origin="https://a.example")
        refused = await rig.get("/live/cam.m3u8?_HLS_msn=x", Origin="https://a.example")

    assert answer.headers["Vary"] == "Accept-Encoding, Origin"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert refused.headers["Access-Control-Allow-Origin"] == "https://a.example"


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        ("gzip, deflate", True),
        ("br;q=1, GZIP ;q=0.5", True),
        ("gzip;q=0, br", False),
        ("gzip; q=0.0", False),
        ("br", False),
    ],
)
async def test_a_playlist_is_compressed_for_who_takes_it(rig, feed, accepted, is_compressed):
    answer = await rig.get(**{"Accept-Encoding": accepted})

    assert (answer.headers.get("Content-Encoding") == "gzip") is is_compressed
    assert answer.body.startswith(b"#EXTM3U\n")


async def test_everything_that_a_playlist_names_is_answered(rig, feed):
    text = await rig.text()
    names = [one or other for one, other in files_of(text) if "part-13" not in (one or other)]

    assert len(names) == 1 + 10 + 1 + 3
    for name in names:
        answer = await rig.get(f"/live/{name}")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "video/mp4"
        assert answer.headers["Cache-Control"] == "public, max-age=3600, immutable"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_the_parts_of_a_segment_are_the_segment(rig, feed):
    edition = rig.packaging().edition
    whole = await rig.get(f"/live/{edition}/{FIRST}.m4s")
    parts = [await rig.get(f"/live/{edition}/part-{number}.m4s") for number in range(10)]
    init = await rig.get(f"/live/{edition}/init-0.m4s")

    assert whole.body == b"".join(part.body for part in parts)
    assert init.body == b"ftypmoov"


async def test_sound_alone_is_called_so(rig):
    rig.publish()
    feed = rig.packaging().feed
    feed.window.begin(SOUND_INIT, feed.now)
    feed.group()
    edition = rig.packaging().edition

    types = {(await rig.get(f"/live/{edition}/{name}.m4s")).headers["Content-Type"] for name in ("init-1", "part-0")}

    assert types == {"audio/mp4"}


@pytest.mark.parametrize("path", ["/live/cam.m3u8", "/live/{}/part-0.m4s", f"/live/{{}}/{FIRST}.m4s"])
async def test_head_is_answered_as_get_is_without_the_body(rig, feed, path):
    path = path.format(rig.packaging().edition)
    got, head = await rig.get(path), await rig.get(path, "HEAD")

    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


@pytest.mark.parametrize(
    "name", ["init-9", f"{FIRST + 1}", f"{FIRST - 1}", "part-14", "part-999999999999999", "init-0x", "cam", "part--1"]
)
async def test_a_file_that_is_not_there_is_not_found(rig, feed, name):
    answer = await rig.get(f"/live/{rig.packaging().edition}/{name}.m4s")

    assert answer.status == 404


async def test_files_of_another_edition_are_not_found(rig, feed):
    answer = await rig.get(f"/live/{'f' * 16}/part-0.m4s", Origin="https://a.example")

    assert answer.status == 404
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_applications_may_have_slashes_and_names_characters_that_are_escaped(rig):
    for app, name in (("a/b", "cam"), ("live", "Käse: 1+1%")):
        publication = rig.services.registry.publish(app, name, "me", Takeover.SAME, lambda _: None)
        feed = rig.packagings.want(publication.stream).feed
        feed.group()
        feed.part(key=True)

    assert (await rig.get("/a/b/cam.m3u8")).status == 200
    answer = await rig.get("/live/K%C3%A4se:%201%2B1%25.m3u8")
    assert answer.status == 200
    assert files_of(answer.body.decode())[0][1].startswith("0000000000000001/")


@pytest.mark.parametrize(
    "path", ["/live/a%2Fb.m3u8", "/live//cam.m3u8", "/live/a%0Ab.m3u8", f"/live/{'x' * 1100}.m3u8"]
)
async def test_what_no_stream_can_be_called_is_not_asked_about(rig, path):
    answer = await rig.get(path)

    assert answer.status == 404
    assert rig.viewers == []
    assert rig.rig.lines == []


# Waiting for a stream


async def test_the_first_answer_waits_for_a_publisher_and_for_a_whole_segment(rig):
    async with rig.asking("/live/cam.m3u8") as (task,):
        await rig.until(lambda: rig.viewers)
        rig.publish()
        feed = rig.packaging().feed
        await rig.until(lambda: rig.waiting)
        feed.group()
        assert rig.waiting == 1
        feed.part(key=True)

    assert task.result().body.count(b"#EXTINF:") == 1


async def test_where_key_frames_are_rare_parts_are_better_than_nothing(rig, monkeypatch):
    monkeypatch.setattr(hls_module, "FIRST_ANSWER_S", 0.05)
    rig.publish()
    rig.packaging().feed.group(parts=20)

    assert (await rig.text()).count("#EXT-X-PART:") == 20


async def test_nobody_waits_for_a_publisher_longer_than_players_do(tmp_path):
    async with HlsRig(tmp_path, wait_s=0.05) as rig:
        answer = await rig.get()

    assert answer.status == 404
    assert b"nobody publishes live/cam" in answer.body


async def test_a_stream_without_media_is_to_be_asked_for_again(rig, monkeypatch):
    monkeypatch.setattr(hls_module, "FIRST_ANSWER_S", 0.05)
    rig.publish()

    answer = await rig.get()

    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


async def test_what_cannot_be_packaged_is_refused_with_the_reason(rig):
    rig.publish()
    async with rig.asking("/live/cam.m3u8") as (task,):
        await rig.until(lambda: rig.waiting)
        rig.packaging().refusal = "no player has Speex"

    assert task.result().status == 415
    assert b"no player has Speex" in task.result().body


async def test_a_stream_that_has_ended_is_answered_for_as_long_as_it_is_kept(rig, feed):
    await rig.text()
    rig.services.registry.end_all("over")
    feed.window.break_off()

    text = await rig.text()

    assert "#EXT-X-ENDLIST" not in text
    assert "PRELOAD-HINT" not in text


async def test_a_stream_that_is_private_shows_nothing_not_even_what_it_showed(tmp_path):
    async with HlsRig(tmp_path, wait_s=0.0) as rig:
        publication = rig.publish()
        rig.packaging().feed.group()
        rig.packaging().feed.part(key=True)
        await rig.text()
        publication.stream.hide("for me alone")

        assert (await rig.get()).status == 404

        publication.stream.reveal()
        assert (await rig.get()).status == 200


async def test_a_stream_that_becomes_private_while_a_reload_waits_is_not_shown(rig, feed):
    async with rig.asking(f"/live/cam.m3u8?_HLS_msn={FIRST + 1}&_HLS_part=3") as (task,):
        await rig.until(lambda: rig.waiting)
        rig.services.registry.find("live", "cam").hide("for me alone")
        feed.part()

    assert task.result().status == 404


async def test_a_stream_under_the_name_of_one_that_ended_is_found(rig):
    """Whoever waits is no member any more when a stream ends, and the name is another stream's then."""
    rig.publish()
    async with rig.asking("/live/cam.m3u8") as (task,):
        await rig.until(lambda: rig.waiting)
        rig.services.registry.end_all("over")
        rig.publish()
        rig.packaging().feed.group()
        rig.packaging().feed.part(key=True)
        rig.packaging().window.break_off()

    assert task.result().status == 200


async def test_a_packaging_is_wanted_again_with_each_request(rig, feed):
    before = rig.packaging().wanted
    await rig.text()
    await rig.text()

    assert rig.packaging().wanted >= before + 3


# Blocking


async def test_a_reload_waits_for_the_part_that_it_asks_for(rig, feed):
    async with rig.asking(f"/live/cam.m3u8?_HLS_msn={FIRST + 1}&_HLS_part=3", "/live/cam.m3u8?x=1") as (blocked, other):
        await rig.until(lambda: rig.waiting and other.done())
        assert not blocked.done()
        feed.part()

    assert "part-13.m4s" in blocked.result().body.decode().split("#EXT-X-PRELOAD-HINT")[0]


async def test_a_reload_waits_for_a_whole_segment_if_it_names_no_part(rig, feed):
    async with rig.asking(f"/live/cam.m3u8?_HLS_msn={FIRST + 1}") as (task,):
        await rig.until(lambda: rig.waiting)
        feed.group(parts=7)
        assert rig.waiting == 1
        feed.part(key=True)
        assert rig.waiting == 0

    assert f"/{FIRST + 1}.m4s\n" in task.result().body.decode()


async def test_a_reload_for_what_is_there_is_answered_at_once(rig, feed):
    for query in (
        f"_HLS_msn={FIRST}",
        f"_HLS_msn={FIRST + 1}&_HLS_part=2",
        "_HLS_msn=0",
        "_HLS_skip=YES",
        "_HLS_msn=3&_HLS_x=1",
    ):
        assert (await rig.get(f"/live/cam.m3u8?{query}")).status == 200


async def test_a_part_that_is_hinted_at_is_answered_when_it_comes(rig, feed):
    path = f"/live/{rig.packaging().edition}/part-13.m4s"
    async with rig.asking(path) as (task,):
        await rig.until(lambda: rig.waiting)
        feed.part()

    assert task.result().body == (13).to_bytes(4, "big") + b"......"


async def test_nobody_waits_for_ever(rig, feed, monkeypatch):
    monkeypatch.setattr(hls_view, "TARGETS_BLOCKED", 0.02)

    playlist = await rig.get(f"/live/cam.m3u8?_HLS_msn={FIRST + 1}")
    part = await rig.get(f"/live/{rig.packaging().edition}/part-13.m4s")

    assert (playlist.status, part.status) == (200, 404)


async def test_a_part_that_is_hinted_at_and_will_not_come_is_not_found_at_once(rig, feed):
    async with rig.asking(f"/live/{rig.packaging().edition}/part-13.m4s") as (task,):
        await rig.until(lambda: rig.waiting)
        feed.window.break_off()
        assert rig.waiting == 0

    assert task.result().status == 404


@pytest.mark.parametrize(
    "query",
    [
        f"_HLS_msn={FIRST + 3}",
        f"_HLS_msn={FIRST + 1}&_HLS_part=24",
        f"_HLS_msn={FIRST + 2}&_HLS_part=21",
        "_HLS_msn=999999999999999",
        "_HLS_msn=-1",
        "_HLS_msn=",
        "_HLS_msn=1.5",
        "_HLS_msn=9999999999999999999999",
        "_HLS_msn=%D9%A1",
        "_HLS_part=1",
        "_HLS_msn=1&_HLS_part=x",
    ],
)
async def test_what_makes_no_sense_or_is_too_far_ahead_is_a_bad_request(rig, feed, query):
    assert (await rig.get(f"/live/cam.m3u8?{query}")).status == 400


@pytest.mark.parametrize(
    "query", [f"_HLS_msn={FIRST + 2}", f"_HLS_msn={FIRST + 1}&_HLS_part=23", f"_HLS_msn={FIRST + 2}&_HLS_part=0"]
)
async def test_what_is_not_far_ahead_is_waited_for(rig, feed, query):
    async with rig.asking(f"/live/cam.m3u8?{query}") as (task,):
        await rig.until(lambda: rig.waiting)
        for _ in range(3):
            feed.group(parts=24)

    assert task.result().status == 200


# Who has gone


async def test_500_wait_for_a_part_and_are_all_answered_when_it_comes(rig, feed):
    path = f"/live/cam.m3u8?_HLS_msn={FIRST + 1}&_HLS_part=3"
    async with rig.asking(*[path] * 500) as tasks:
        await rig.until(lambda: rig.waiting == 500)
        feed.part()

    bodies = {task.result().body for task in tasks}
    assert len(bodies) == 1
    assert rig.waiting == 0
    assert len(rig.viewers) == 1


async def test_500_wait_when_the_stream_ends_and_get_what_there_is(rig, feed, monkeypatch):
    monkeypatch.setattr(hls_view, "TARGETS_STALLED", 2)
    path = f"/live/cam.m3u8?_HLS_msn={FIRST + 2}"
    async with rig.asking(*[path] * 500) as tasks, asyncio.timeout(60):
        while rig.waiting < 500:
            feed.part(duration_ms=1)  # as long as something comes, who waits stays
            await asyncio.sleep(0.05)
        rig.services.registry.end_all("over")
        feed.window.break_off()

    assert {task.result().status for task in tasks} == {200}
    assert rig.waiting == 0


async def test_clients_that_have_gone_while_they_waited_leave_nothing_behind(rig, feed):
    request = f"GET /live/cam.m3u8?_HLS_msn={FIRST + 1}&_HLS_part=3 HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    address = ("127.0.0.1", int(rig.url.rpartition(":")[2]))
    sockets = [socket.create_connection(address) for _ in range(50)]
    for each in sockets:
        each.sendall(request)
    await rig.until(lambda: rig.waiting == 50)
    for each in sockets:
        each.close()
    feed.part()

    await rig.until(lambda: rig.waiting == 0)
    await rig.until(lambda: not any(viewer.is_asking for viewer in rig.viewers))
    assert rig.rig.failures == []


async def test_the_end_of_the_server_waits_for_nobody(rig, feed):
    path = f"/live/cam.m3u8?_HLS_msn={FIRST + 2}"
    async with rig.asking(path) as (task,):
        await rig.until(lambda: rig.waiting)
        rig.hls.close()

    # What players try again, so that they find the next server.
    assert task.result().status == (await rig.get()).status == 503
    assert rig.viewers == []
    assert feed.window.listeners == []
    assert rig.services.registry.find("live", "cam").members == {}


def end_streams(rig, feed):
    """As a server does that stops: streams end, and everything is packaged."""
    rig.services.registry.end_all("server stops")
    feed.window.break_off()


async def test_at_the_end_of_the_server_who_waits_has_the_last_playlist_and_time_for_the_last_part(rig, feed):
    async with rig.asking(f"/live/cam.m3u8?_HLS_msn={FIRST + 1}&_HLS_part=3") as (task,):
        await rig.until(lambda: rig.waiting)
        end_streams(rig, feed)
        finishing = asyncio.ensure_future(rig.hls.finish(20.0))
    text = task.result().body.decode()
    assert "part-12.m4s" in text
    assert text.count("#EXTINF:") == 2
    assert "#EXT-X-ENDLIST" not in text
    assert text.endswith("#EXT-X-DISCONTINUITY\n")
    assert (await rig.get(f"/live/{rig.packaging().edition}/part-11.m4s")).status == 200
    assert not finishing.done()
    assert (await rig.get(f"/live/{rig.packaging().edition}/part-12.m4s")).status == 200
    await finishing

    assert (await rig.get()).status == 503
    assert rig.viewers == []


async def test_at_the_end_of_the_server_who_asks_now_and_then_is_waited_for(rig, feed):
    await rig.text()
    end_streams(rig, feed)
    finishing = asyncio.ensure_future(rig.hls.finish(20.0))
    for _ in range(3):  # and nobody is kept waiting for what will not come
        assert "part-12.m4s" in await rig.text(f"/live/cam.m3u8?_HLS_msn={FIRST + 2}")
    assert not finishing.done()
    assert (await rig.get(f"/live/{rig.packaging().edition}/{FIRST + 1}.m4s")).status == 200

    await finishing


async def test_at_the_end_of_the_server_nobody_waits_for_who_has_everything_or_has_gone(rig, feed):
    end_streams(rig, feed)
    await rig.text()
    await rig.get(f"/live/{rig.packaging().edition}/{FIRST + 1}.m4s")
    async with rig.new_client(**{"User-Agent": "gone"}) as gone:
        await rig.get(client=gone)
        newest = max(rig.viewers, key=lambda viewer: viewer.number)
        newest.seen_s -= hls_module.TARGETS_SILENT * feed.window.target_duration_s

        async with asyncio.timeout(10):
            await rig.hls.finish(1000.0)
    assert rig.viewers == []


async def test_the_end_of_the_server_waits_no_longer_than_it_may(rig, feed):
    await rig.text()
    end_streams(rig, feed)
    async with asyncio.timeout(10):
        await rig.hls.finish(0.01)

    assert (await rig.get()).status == 503


async def test_at_the_end_of_the_server_who_has_seen_nothing_is_refused_at_once(rig):
    rig.publish()
    async with rig.asking("/live/cam.m3u8") as (task,), asyncio.timeout(10):
        await rig.until(lambda: rig.waiting)
        await rig.hls.finish(1000.0)

    assert task.result().status == 503


async def test_who_was_sent_away_while_it_waited_is_refused(rig, feed):
    async with rig.asking(f"/live/cam.m3u8?_HLS_msn={FIRST + 1}&_HLS_part=3") as (task,):
        await rig.until(lambda: rig.waiting)
        rig.viewers[0].evict("kicked by an operator")
        feed.part()

    assert task.result().status == 403
    assert b"kicked by an operator" in task.result().body


async def test_views_of_what_is_not_packaged_any_more_are_dropped(rig, feed, monkeypatch):
    monkeypatch.setattr(hls_module, "SWEEP_S", 0.01)
    await rig.text()
    rig.packagings.by_path.clear()

    await rig.until(lambda: feed.window.listeners == [])
    assert rig.hls._views == {}


async def test_what_was_sent_is_counted_for_who_asked(rig, feed):
    playlist = await rig.get(**{"Accept-Encoding": "identity"})
    part = await rig.get(f"/live/{rig.packaging().edition}/part-0.m4s")
    async with rig.new_client(**{"User-Agent": "another"}) as other:
        await rig.get(f"/live/{rig.packaging().edition}/part-1.m4s", client=other)

    assert rig.viewers[0].bytes_out == len(playlist.body) + len(part.body)


# Players


def parts_of(tmp_path, seconds):
    """The initialisation section of real media, and fragments of half a second, as parts."""
    path = tmp_path / "recorded.m3u8"
    record(path, tags_of(footage(seconds=seconds)), segment_ms=1000)
    segments = playlist.parse(path.read_text()).segments
    init = (tmp_path / segments[0].map_uri).read_bytes()
    splitter = FragmentSplitter(init)
    pieces = [piece for each in segments for piece in splitter.feed((tmp_path / each.uri).read_bytes())]
    starts = [piece.start_ms for piece in pieces] + [pieces[-1].end_ms]
    parts = [
        Part(piece.data, start_ms, end_ms - start_ms, bool(piece.video_at_key))
        for piece, (start_ms, end_ms) in zip(pieces, pairwise(starts), strict=True)
    ]
    return Init(init, "avc1.42c00a,mp4a.40.2", has_video=True), parts


async def test_ffmpeg_plays_what_comes_while_it_plays(tmp_path):
    init, parts = parts_of(tmp_path, seconds=6)
    expected = read(io.BytesIO(init.data + b"".join(part.data for part in parts)))
    async with HlsRig(tmp_path, window={"segment_ms": 1000, "part_ms": 500, "most_segments": 6, "begun": False}) as rig:
        rig.publish()
        window = rig.packaging().window
        window.begin(init, 0.0)
        for part in parts[:7]:
            window.append(part, part.start_ms / 1000)
        async with asyncio.TaskGroup() as group:
            player = group.create_task(asyncio.to_thread(read, f"{rig.url}/live/cam.m3u8", len(expected)))
            await rig.until(lambda: rig.viewers)
            await rig.until(lambda: rig.viewers[0].bytes_out > 0)
            for part in parts[7:]:
                window.append(part, part.start_ms / 1000)
            window.break_off()

    assert player.result() == expected
