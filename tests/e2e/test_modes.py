"""The four modes: whether a stream is pushed and whether it is recorded, each by itself or on request, in every format."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from rtmpd.wire.flv import FlvTag, encode_file_header, encode_tag
from tests.helpers.callback_server import CallbackServer
from tests.helpers.clients import pyav_player
from tests.helpers.compare import assert_same_packets, read_packets
from tests.helpers.media import Packet
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

MODES = list(itertools.product(("auto", "manual"), ("auto", "manual")))
FORMATS = ("flv", "hls", "mp4")
CONTENTS = {"video": "relayed", "audio only": "relayed, audio only"}
SHORTEST_MS = 4_000
"""Of media: a stream lasts as long as what is asked for while it runs, however long that takes."""
AT_ONCE = 6
"""Streams that are played through at a time: two cores encode nothing here, but copy everything."""


@dataclass
class Outcome:
    """What one stream saw of the API, its player and its receiver."""

    at_first: dict[str, Any]
    pushed: dict[str, Any]
    pushed_again: dict[str, Any]
    while_pushed: dict[str, Any]
    unpushed: dict[str, Any]
    unpushed_again: dict[str, Any]
    after_push: dict[str, Any]
    recorded: dict[str, Any] | None = None
    recorded_again: dict[str, Any] | None = None
    unrecorded: dict[str, Any] | None = None
    unrecorded_again: dict[str, Any] | None = None
    packets: list[Packet] = field(default_factory=list)
    sent: list[FlvTag] = field(default_factory=list)
    callbacks: list[dict[str, Any]] = field(default_factory=list)


def stream_of(push, record, file_format, content):
    return f"{push}-{record}-{file_format}/{content.replace(' ', '-')}"


def play_through(server, receiver, sources, push, record, file_format, content):
    """Publish one stream, and ask for everything that can be asked for while it runs."""
    api, stream = server.api, stream_of(push, record, file_format, content)
    app, _, name = stream.partition("/")
    with LivePublisher(server.address, name, sources.tags(CONTENTS[content]), app=app) as publisher:
        at_first = api.wait_for_stream(stream)
        pushed = api.start_push(stream)
        pushed_again = api.start_push(stream)
        while_pushed = api.stream(stream)
        recorded = recorded_again = unrecorded = unrecorded_again = None
        if record == "manual":
            recorded = api.start_record(stream, file_name="evening")
            recorded_again = api.start_record(stream, file_name="evening")
        with pyav_player(next(each["play_url"] for each in pushed["urls"] if each["type"] == 5)) as player:
            wait_until(lambda: len(player.packets()) >= 20, f"20 packets of {stream}")
            unpushed = api.stop_push(pushed["channel_id"])
            unpushed_again = api.stop_push(pushed["channel_id"])
            after_push = api.stream(stream)
            if push == "manual":
                player.finish()
            if recorded is not None:
                unrecorded = api.stop_record(recorded["task_id"])
                unrecorded_again = api.stop_record(recorded["task_id"])
            publisher.wait_until_sent(SHORTEST_MS)
            publisher.finish()
            packets = player.finish()
    return Outcome(
        at_first,
        pushed,
        pushed_again,
        while_pushed,
        unpushed,
        unpushed_again,
        after_push,
        recorded,
        recorded_again,
        unrecorded,
        unrecorded_again,
        packets,
        publisher.sent,
        receiver.wait_for(stream, count=5),
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with CallbackServer() as receiver:
        config = "".join(
            f'[apps.{push}-{record}-{each}]\npush = "{push}"\nrecord = "{record}"\nrecord_formats = "{each}"\nresume_s = 0\n'
            for (push, record), each in itertools.product(MODES, FORMATS)
        )
        with Server(tmp_path_factory.mktemp("server"), config + receiver.config) as server:
            server.receiver = receiver
            yield server


@pytest.fixture(scope="module")
def outcomes(server, sources):
    """By what is parametrized, a future of what was seen."""
    for each in CONTENTS.values():
        sources.tags(each)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        keys = [(*mode, *rest) for mode, *rest in itertools.product(MODES, FORMATS, CONTENTS)]
        yield {key: pool.submit(play_through, server, server.receiver, sources, *key) for key in keys}


@pytest.fixture
def outcome(outcomes, push, record, file_format, content):
    return outcomes[push, record, file_format, content].result(100)


all_modes = pytest.mark.parametrize(("push", "record"), MODES)
all_formats = pytest.mark.parametrize("file_format", FORMATS)
all_contents = pytest.mark.parametrize("content", CONTENTS)


@all_contents
@all_formats
@all_modes
def test_a_stream_is_pushed_and_recorded_in_every_mode(server, outcome, push, record, file_format, tmp_path):
    # Watching: by itself, or from the start of a push to its stop.
    assert outcome.at_first["public"] is (push == "auto")
    assert (outcome.pushed["already"], outcome.pushed_again["already"]) == (False, True)
    assert outcome.pushed["channel_id"] == outcome.pushed_again["channel_id"]
    assert outcome.while_pushed["public"]
    assert outcome.unpushed["state"] == ("on" if push == "auto" else "stopped")
    assert (outcome.unpushed["already"], outcome.unpushed_again["already"]) == (push == "auto", True)
    assert outcome.after_push["public"] is (push == "auto")
    assert len(outcome.packets) >= 20

    # The file: complete, from a key frame, as the API and the callback name it.
    statuses = [each["record_event"] for each in outcome.callbacks if each["event_type"] == 332]
    (told,) = [each for each in outcome.callbacks if each["event_type"] == 100]
    path = server.data / "recordings" / told["path"]
    source = tmp_path / "sent.flv"
    source.write_bytes(encode_file_header(audio=True, video=True) + b"".join(encode_tag(*tag) for tag in outcome.sent))
    assert told["file_format"] == file_format
    assert_same_packets(source, path, to_end=record == "auto")
    assert read_packets(path).keys() == read_packets(source).keys()
    if record == "manual":
        assert (outcome.recorded["already"], outcome.recorded_again["already"]) == (False, True)
        assert outcome.recorded["task_id"] == outcome.recorded_again["task_id"] == told["task_id"]
        assert (outcome.unrecorded["already"], outcome.unrecorded_again["already"]) == (False, True)
        for stopped in (outcome.unrecorded, outcome.unrecorded_again):
            (file,) = stopped["files"]
            assert (file["file_id"], file["path"], file["state"]) == (told["file_id"], told["path"], "closed")
        assert "evening" in path.name or "evening" in path.parent.name

    # The callbacks: all of them, in order.
    begun, *_, ended = outcome.callbacks
    assert (begun["event_type"], ended["event_type"]) == (1, 0) or record == "auto"
    assert {each["event_type"] for each in outcome.callbacks} == {1, 0, 100, 332}
    assert statuses == ["record_start_succeeded", "record_ended"]
    (start,), (end,) = ([each for each in outcome.callbacks if each["event_type"] == kind] for kind in (1, 0))
    assert start["sequence"] == end["sequence"]
    assert int(end["push_duration"]) > 0
    assert len({each["event_id"] for each in outcome.callbacks}) == len(outcome.callbacks)
