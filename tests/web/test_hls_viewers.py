"""Who watches by HLS: one viewer for all of its requests, admitted once, gone when it asks no more."""

from __future__ import annotations

import pytest

from rtmpd.errors import Refused
from rtmpd.web import hls, hls_view, hls_viewers
from tests.helpers.elsewhere import HEADER, let_requests_say_where_they_come_from
from tests.helpers.hls_rig import HlsRig


@pytest.fixture
async def rig(tmp_path):
    async with HlsRig(tmp_path, wait_s=0.0) as rig:
        rig.publish()
        rig.packaging().feed.group()
        rig.packaging().feed.part(key=True)
        yield rig


@pytest.fixture
def asked(rig, monkeypatch):
    """What the policy was asked."""
    asked = []
    admit_player = rig.rig.policy.admit_player

    async def admit(request, address, client):
        asked.append(request.query)
        return await admit_player(request, address, client)

    monkeypatch.setattr(rig.rig.policy, "admit_player", admit)
    return asked


async def test_a_viewer_is_admitted_once_however_often_it_asks(rig, asked):
    for query in ("?key=k", "?key=k&_HLS_msn=0", "?_HLS_msn=0&_HLS_part=1&key=k"):
        await rig.text(f"/live/cam.m3u8{query}")

    assert asked == ["key=k"]
    assert [(viewer.role, viewer.path, viewer.address) for viewer in rig.viewers] == [("play", "live/cam", "127.0.0.1")]
    assert list(rig.services.registry.find("live", "cam").members) == rig.viewers


async def test_another_query_program_stream_or_credentials_are_another_viewer(rig, asked):
    rig.publish("other")
    rig.packaging("other").feed.group()
    rig.packaging("other").feed.part(key=True)
    await rig.text()
    await rig.text("/live/cam.m3u8?key=k")
    await rig.text("/live/other.m3u8")
    for name in ("User-Agent", "Authorization", "Cookie"):
        await rig.get(**{name: "x=another"})

    assert len(asked) == len(rig.viewers) == 6


async def test_an_admission_that_would_not_be_given_any_more_still_counts(rig):
    await rig.text("/live/cam.m3u8?signature=s")
    rig.rig.policy.refuse = ("NetStream.Play.Failed", "the signature has expired")

    assert (await rig.get("/live/cam.m3u8?signature=s")).status == 200
    assert (await rig.get("/live/cam.m3u8?signature=t")).status == 403


async def test_who_may_not_play_is_refused_and_leaves_a_line_only(rig):
    rig.rig.policy.refuse = ("NetStream.Play.Failed", "not for you")

    answer = await rig.get(Origin="https://a.example")

    assert answer.status == 403
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert rig.viewers == []
    (line,) = rig.rig.lines
    assert (line["event"], line["why"], line["stream"]) == ("play refused", "not for you", "live/cam")


async def test_requests_that_come_while_a_hook_is_asked_are_one_viewer(rig, asked):
    rig.rig.policy.gate.clear()
    async with rig.asking("/live/cam.m3u8", "/live/cam.m3u8"):
        await rig.until(lambda: len(asked) == 2)
        rig.rig.policy.gate.set()

    assert len(rig.viewers) == 1


async def test_who_asks_no_more_has_gone(rig, monkeypatch):
    monkeypatch.setattr(hls, "SWEEP_S", 0.01)
    await rig.text()
    (viewer,) = rig.viewers
    rig.hls._silence_s = 0.05

    await rig.until(lambda: not rig.viewers)

    assert rig.services.registry.find("live", "cam").members == {}
    (line,) = rig.rig.closed()
    assert (line["client"], line["kind"], line["reason"]) == (viewer.number, "hls", "asked for nothing any more")
    assert line["bytes_out"] > 0
    assert rig.hls._viewers._by_source == {}


async def test_who_waits_for_an_answer_is_there(rig, monkeypatch):
    for limit in ("TARGETS_STALLED", "TARGETS_BLOCKED"):
        monkeypatch.setattr(hls_view, limit, 60)
    sweeps = []
    sweep = rig.hls._viewers.sweep
    monkeypatch.setattr(hls, "SWEEP_S", 0.01)
    monkeypatch.setattr(rig.hls._viewers, "sweep", lambda patience_s: sweeps.append(sweep(patience_s)))
    rig.hls._silence_s = 0.0
    feed = rig.packaging().feed
    async with rig.asking(f"/live/cam.m3u8?_HLS_msn={feed.window.next_number}&_HLS_part=10"):
        await rig.until(lambda: rig.waiting)
        await rig.until(lambda: len(sweeps) >= 3)
        assert len(rig.viewers) == 1
        feed.group()


async def test_one_that_an_operator_sends_away_is_refused_for_a_while(rig, monkeypatch):
    await rig.text()
    rig.viewers[0].evict("kicked by an operator")
    assert rig.viewers == []

    answer = await rig.get()
    assert (answer.status, b"kicked by an operator" in answer.body) == (403, True)
    assert (await rig.get("/live/cam.m3u8?other=1")).status == 200

    now = rig.services.loop.time()
    monkeypatch.setattr(
        rig.hls._viewers, "_banned", {key: (now, why) for key, (_, why) in rig.hls._viewers._banned.items()}
    )
    assert (await rig.get()).status == 200


async def test_bans_end(rig, monkeypatch):
    monkeypatch.setattr(hls, "SWEEP_S", 0.01)
    monkeypatch.setattr(hls_viewers, "BANNED_S", 0.02)
    await rig.text()
    rig.viewers[0].evict("kicked by an operator")

    await rig.until(lambda: not rig.hls._viewers._banned)


async def test_there_is_an_end_to_how_many_may_watch(rig, monkeypatch):
    monkeypatch.setattr(hls_viewers, "MOST_VIEWERS", 1)
    await rig.text()

    assert (await rig.get("/live/cam.m3u8?another=1")).status == 503
    assert (await rig.get()).status == 200


async def test_one_host_does_not_have_all_places_but_this_machine_may(rig, monkeypatch):
    monkeypatch.setattr(hls_viewers, "MOST_VIEWERS_PER_ADDRESS", 2)
    let_requests_say_where_they_come_from(monkeypatch)

    async def ask(number, address):
        return await rig.get(f"/live/cam.m3u8?viewer={number}", **{HEADER: address})

    admitted = [await ask(each, f"2001:db8::{each}") for each in (1, 2)]
    refused = await ask(3, "2001:db8::3")
    assert [each.status for each in (*admitted, refused)] == [200, 200, 503]
    assert b"2 watch by HLS from 2001:db8::/64 already" in refused.body
    assert (await ask(1, "2001:db8::1")).status == 200
    assert (await ask(1, "2001:db8:0:1::1")).status == 200
    assert [(await ask(each, "127.0.0.1")).status for each in range(3)] == [200] * 3

    next(each for each in rig.viewers if each.address == "2001:db8::1").leave("asked for nothing any more")
    assert (await ask(3, "2001:db8::3")).status == 200
    for viewer in rig.viewers:
        viewer.leave("asked for nothing any more")
    assert not rig.hls._viewers._by_address


async def test_who_was_admitted_by_a_slow_hook_must_still_find_room(rig, asked, monkeypatch):
    monkeypatch.setattr(hls_viewers, "MOST_VIEWERS", 1)
    rig.rig.policy.gate.clear()
    async with rig.asking("/live/cam.m3u8?a", "/live/cam.m3u8?b") as answers:
        await rig.until(lambda: len(asked) == 2)
        rig.rig.policy.gate.set()

    assert sorted(each.result().status for each in answers) == [200, 503]
    assert len(rig.viewers) == 1


async def test_a_server_that_drains_lets_nobody_new_in(rig):
    await rig.text()
    rig.services.connect_refusal = Refused("NetConnection.Connect.AppShutdown", "the server is stopping")

    assert (await rig.get("/live/cam.m3u8?another=1")).status == 503
    assert (await rig.get()).status == 200
    assert not rig.viewers[0].send_away(rig.services.connect_refusal, None)


async def test_a_stream_that_ends_and_comes_back_has_its_viewers_again(rig):
    await rig.text()
    rig.services.registry.end_all("over")
    rig.publish()
    stream = rig.services.registry.find("live", "cam")
    assert stream.members == {}

    await rig.text()

    assert list(stream.members) == rig.viewers


async def test_who_has_the_token_is_no_key_for_others_behind_the_same_address(tmp_path):
    async with HlsRig(tmp_path, http={"token": "a-token"}) as rig:
        rig.publish()
        rig.packaging().feed.group()
        rig.packaging().feed.part(key=True)
        rig.rig.policy.refuse = ("NetStream.Play.Failed", "not for you")

        assert (await rig.get(Authorization="Bearer a-token")).status == 200
        assert (await rig.get()).status == 403
