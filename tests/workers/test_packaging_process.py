"""Packaging with the real packager: what players of MP4 and HLS get is what was published, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from rtmpd.live.registry import Takeover
from rtmpd.wire.messages import Message
from tests.helpers.footage import assert_same_media, footage, from_zero, tags_of, tracks_of
from tests.helpers.packagings import Viewer, rigs


@pytest.fixture
async def new_rig():
    async with rigs(keeps_windows=False) as new_rig:
        yield new_rig


def send(rig, publication, tags):
    for tag in tags:
        rig.append(publication, Message(tag.type_id, tag.timestamp_ms, 1, tag.body))


def publish(rig, name="s"):
    return rig.registry.publish("live", name, "me", Takeover.SAME, lambda _reason: None)


def pictures_of(data):
    """The pictures in a run of fragmented MP4, or FLV, as FFmpeg reads it."""
    return [packet.payload for packet in tracks_of(data)["video 0"]]


def assert_began_at_a_key_frame(data):
    """Everything to the end, from one of the key frames that there were when the player was let in."""
    wanted = pictures_of(footage())
    assert pictures_of(data) in [wanted[start:] for start in (0, 25, 50)]


def is_gone(pid):
    return not Path(f"/proc/{pid}").exists()


def held(window):
    """Everything in a window, with the initialisation section that its first segment needs."""
    segments = [*window.segments, *([window.current] if window.current else [])]
    init = window.find_init(segments[0].init_number)
    return init.data + b"".join(part.data for segment in segments for part in segment.parts)


async def test_players_and_window_have_what_was_published(new_rig):
    rig = new_rig()
    publication = publish(rig)
    tags = tags_of(footage(reordered=2))
    packaging, viewer = rig.watch(publication)
    send(rig, publication, [tag for tag in tags if tag.timestamp_ms < 900])
    await rig.until(lambda: viewer.told == ["started"])
    send(rig, publication, [tag for tag in tags if tag.timestamp_ms >= 900])
    rig.end(publication)
    await rig.until(lambda: not packaging.is_running)

    data = viewer.read()
    assert_same_media(from_zero(tracks_of(data)), from_zero(tracks_of(footage(reordered=2))))
    assert held(packaging.window) == data


async def test_a_killed_packager_costs_players_a_break_and_the_edition_goes_on(new_rig):
    rig = new_rig()
    publication = publish(rig)
    tags = tags_of(footage())
    viewer, again = Viewer(), Viewer()
    packaging = rig.packagings.want(publication.stream)
    packaging.attach(viewer)
    send(rig, publication, [tag for tag in tags if tag.timestamp_ms < 1_500])
    await rig.until(lambda: viewer.told == ["started"])
    pid, edition = rig.packagings.pid, packaging.edition
    os.kill(pid, signal.SIGKILL)
    await rig.until(lambda: len(viewer.told) == 2)
    packaging.attach(again)
    send(rig, publication, [tag for tag in tags if tag.timestamp_ms >= 1_500])
    await rig.until(lambda: again.told == ["started"])
    rig.end(publication)
    await rig.until(lambda: again.told[-1:] == ["the stream has ended"])

    assert viewer.told == ["started", "the packager has failed"]
    assert_began_at_a_key_frame(again.read())
    assert [segment.is_discontinuity for segment in packaging.window.segments] == [False, True]
    assert rig.packagings.find(edition) is packaging
    assert rig.packagings.deaths == 1
    assert is_gone(pid)


async def test_sound_that_cannot_be_carried_leaves_the_pictures(new_rig):
    rig = new_rig()
    publication = publish(rig)
    packaging, viewer = rig.watch(publication)
    speex = [tag._replace(body=b"\xb2" + tag.body[1:]) if tag.type_id == 8 else tag for tag in tags_of(footage())]
    send(rig, publication, speex)
    await rig.until(lambda: viewer.told == ["started"])
    rig.end(publication)
    await rig.until(lambda: not packaging.is_running)
    rig.pass_time(5)

    assert len(rig.said("not packaged")) == 1
    assert viewer.told == ["started", "the stream has ended"]
    assert_began_at_a_key_frame(viewer.read())


async def test_a_stream_of_nothing_that_can_be_carried_is_refused(new_rig):
    rig = new_rig()
    publication = publish(rig)
    packaging, viewer = rig.watch(publication)
    for tag in tags_of(footage(video=None)):
        send(rig, publication, [tag._replace(body=b"\xb2" + tag.body[1:])] if tag.type_id == 8 else [])
    await rig.until(lambda: rig.said("not packaged"))
    rig.pass_time(5)

    assert packaging.refusal == viewer.told[0] == rig.said("not packaged")[0]["reason"]


async def test_a_packager_that_hangs_at_the_stop_is_killed(new_rig):
    rig = new_rig()
    publication = publish(rig)
    rig.packagings.want(publication.stream)
    send(rig, publication, tags_of(footage()))
    await rig.until(lambda: rig.packagings.get("live", "s").log)
    pid = rig.packagings.pid
    os.kill(pid, signal.SIGSTOP)
    await rig.packagings.close(0.1)

    assert is_gone(pid)


async def test_many_streams_share_a_packager(new_rig):
    rig = new_rig()
    tags = tags_of(footage())
    publications = [publish(rig, f"s{number}") for number in range(30)]
    viewers = [Viewer() for _ in publications]
    for publication, viewer in zip(publications, viewers, strict=True):
        rig.packagings.want(publication.stream).attach(viewer)
    pid = rig.packagings.pid
    for publication in publications:
        send(rig, publication, tags)
        await asyncio.sleep(0)
    await rig.until(lambda: all(viewer.told == ["started"] for viewer in viewers))
    for publication in publications:
        rig.end(publication)
    await rig.until(lambda: all(viewer.told[-1] == "the stream has ended" for viewer in viewers))

    assert rig.packagings.pid == pid
    received = {viewer.read() for viewer in viewers}
    assert len(received) == 1
