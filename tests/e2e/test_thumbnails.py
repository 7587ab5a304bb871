"""Thumbnails of a real server: of a stream that moves, of its recordings, for many at once, and of what breaks decoders."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import av
import pytest

from rtmpd.workers.thumbnails import STREAM_KEPT_S
from tests.helpers.http_viewer import HttpViewer
from tests.helpers.media import HEIGHT, WIDTH, is_key_frame, read_tags
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.rtmp_client import Connection, LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = """
[apps.live]
[apps.guarded]
play_key = "k"
[apps.hidden]
push = "manual"
"""
VIEWERS = 50


def fetch(server, path):
    """Ask for a path as it stands; status, headers and body."""
    with contextlib.closing(http.client.HTTPConnection(*server.http_address, timeout=PATIENCE_S)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def size_of(jpeg):
    """Decode a JPEG."""
    with av.open(io.BytesIO(jpeg), format="jpeg_pipe") as container:
        picture = next(container.decode(video=0))
        return picture.width, picture.height


def painters(server):
    """The processes that make pictures."""
    return [pid for pid in server.children() if b"--address-space-bytes" in command_line(pid)]


def has_picture(path):
    """Whether an FLV file has something to show."""
    return path.exists() and any(map(is_key_frame, read_tags(path)))


def command_line(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), CONFIG) as server:
        yield server


@pytest.mark.parametrize("codecs", ["h264+aac", "hevc+aac", "av1+opus"])
def test_a_stream_shows_its_newest_key_frame_which_moves_on(server, sources, codecs):
    name = f"{codecs} 100%"
    path = f"/live/{quote(name)}.jpg"
    tags = sources.tags(codecs)
    with Connection(server.address).connect().publish(name) as publisher:
        keys = [number for number, tag in enumerate(tags) if tag.timestamp_ms >= 1500]
        for tag in tags[: keys[0]]:
            publisher.send_tag(tag)
        wait_until(lambda: fetch(server, path)[0] == 200, "a picture")
        _, headers, first = fetch(server, path)
        for tag in tags[keys[0] :]:
            publisher.send_tag(tag)
        wait_until(lambda: fetch(server, path)[2] != first, "another one", 4 * STREAM_KEPT_S)
        _, _, second = fetch(server, path)

    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Cache-Control"] == "private, max-age=5"
    assert size_of(first) == size_of(second) == (WIDTH, HEIGHT)


def test_fifty_who_ask_at_once_cost_one_picture(server, sources):
    with LivePublisher(server.address, "many", sources.tags("long")):
        # Not by asking for the picture: it would be made then, for one.
        with HttpViewer(server.http_address, "/live/many.flv") as viewer:
            while not any(map(is_key_frame, viewer.tags)):
                assert viewer.read()
        wait_until(lambda: not server.api.stream("live/many")["players"], "the viewer to be gone")
        with ThreadPoolExecutor(VIEWERS) as pool:
            answers = list(pool.map(lambda _: fetch(server, "/live/many.jpg"), range(VIEWERS)))
        assert not server.api.stream("live/many")["players"]

    assert {status for status, *_ in answers} == {200}
    assert len({body for *_, body in answers}) == 1
    assert len(painters(server)) <= 2


def test_a_recording_shows_a_picture_of_it_while_it_grows_and_when_it_is_closed(server, sources):
    with LivePublisher(server.address, "recorded", sources.tags("long")):
        server.api.wait_for_stream("live/recorded")
        formats = ["flv", "mp4", "hls", "m4a"]
        task = server.api.start_record("live/recorded", formats=formats)["task_id"]
        open_files = "recordings?stream=live/recorded&state=open"
        wait_until(lambda: len(server.api.get(open_files).body["recordings"]) == len(formats), "all files")
        growing = {file["format"]: file for file in server.api.get(open_files).body["recordings"]}
        # Where there was no picture none is looked for in the next minute.
        wait_until(lambda: has_picture(server.data / "recordings" / growing["flv"]["path"]), "a picture in a file")
        grown = {each: fetch(server, f"/recordings/{growing[each]['file_id']}.jpg")[0] for each in ("flv", "m4a")}
        files = server.api.stop_record(task)["files"]
        answers = {each["format"]: fetch(server, f"/recordings/{each['file_id']}.jpg") for each in files}

    assert grown == {"flv": 200, "m4a": 404}
    sizes = {each: size_of(body) if status == 200 else status for each, (status, _, body) in answers.items()}
    assert sizes == {**dict.fromkeys(("flv", "mp4", "hls"), (WIDTH, HEIGHT)), "m4a": 404}
    assert answers["flv"][1]["Cache-Control"] == "private, max-age=3600"

    assert server.api.delete(f"recordings/{files[0]['file_id']}").status == 200
    assert fetch(server, f"/recordings/{files[0]['file_id']}.jpg")[0] == 404


def test_who_may_not_play_a_stream_does_not_see_it(server, sources):
    tags = sources.tags("short")
    with (
        Connection(server.address).connect("guarded").publish("s") as guarded,
        Connection(server.address).connect("hidden").publish("s") as hidden,
    ):
        for tag in tags:
            guarded.send_tag(tag)
            hidden.send_tag(tag)
        wait_until(lambda: fetch(server, "/guarded/s.jpg?key=k")[0] == 200, "a picture")
        assert fetch(server, "/guarded/s.jpg")[0] == 403
        assert fetch(server, "/guarded/s.jpg?key=wrong")[0] == 403
        assert fetch(server, "/hidden/s.jpg")[0] == 404
    assert fetch(server, "/live/nobody.jpg")[0] == 404
    assert fetch(server, "/unknown/s.jpg")[0] == 403


def test_sound_alone_has_no_picture(server, sources):
    with LivePublisher(server.address, "sound", sources.tags("audio only")):
        server.api.wait_for_stream("live/sound")
        assert fetch(server, "/live/sound.jpg")[0] == 404


def test_a_broken_key_frame_costs_its_own_picture_alone(server, sources):
    tags = sources.tags("h264+aac")
    with (
        Connection(server.address).connect().publish("broken") as broken,
        LivePublisher(server.address, "whole", sources.tags("long")),
    ):
        for tag in tags:
            is_picture = tag.type_id == 9 and tag.body[1] == 1
            broken.send_tag(tag._replace(body=tag.body[:5] + os.urandom(len(tag.body) - 5)) if is_picture else tag)
        server.api.wait_for_stream("live/broken")
        server.api.wait_for_stream("live/whole")
        assert fetch(server, "/live/broken.jpg")[0] == 404
        wait_until(lambda: fetch(server, "/live/whole.jpg")[0] == 200, "a picture of the other")


def test_a_process_that_dies_is_replaced(server, sources):
    tags = sources.tags("short")
    with Connection(server.address).connect().publish("first") as publisher:
        for tag in tags:
            publisher.send_tag(tag)
        wait_until(lambda: fetch(server, "/live/first.jpg")[0] == 200, "a picture")
    killed = painters(server)
    workers = set(server.children()) - set(killed)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    # The picture that one of them is given before the server knows costs it.
    wait_until(lambda: not set(killed) & set(server.children()), "the server to know")
    with Connection(server.address).connect().publish("second") as publisher:
        for tag in tags:
            publisher.send_tag(tag)
        wait_until(lambda: fetch(server, "/live/second.jpg")[0] == 200, "a picture by another process")
    assert workers <= set(server.children())
