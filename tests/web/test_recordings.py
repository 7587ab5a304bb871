"""Recordings over HTTP: what is sent of which file, to whom, and what becomes of readers that are slow or many."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
import structlog
from aiohttp import ClientPayloadError, TraceConfig, web
from aiohttp.test_utils import TestClient, TestServer

from rtmpd.control.recorded import RecordedFiles
from rtmpd.errors import Refused
from rtmpd.net.policy import PlayGrant
from rtmpd.store.database import Database
from rtmpd.store.recordings import RecordingIndex
from rtmpd.web import recordings
from rtmpd.web.connections import CONNECTION_BYTES
from rtmpd.web.guard import Guard
from rtmpd.web.media import Media
from rtmpd.web.problems import answering
from rtmpd.web.recordings import Recordings, attachment, with_query
from tests.helpers.elsewhere import HEADER, let_requests_say_where_they_come_from
from tests.helpers.site import config_of
from tests.helpers.store import contents_of, file_row, recording_row
from tests.helpers.studio import until
from tests.helpers.transports import close_transports

DATA = bytes(range(256)) * 2000
PATH = "live/demo/f.flv"
PLAYLIST = b'#EXTM3U\n#EXT-X-MAP:URI="list/init-001.mp4"\n#EXTINF:2.000,\nlist/00000.m4s\n'


class FakePolicy:
    def __init__(self):
        self.asked = []
        self.key = None

    async def admit_player(self, request, address, client):
        self.asked.append((request.app, request.stream, request.query))
        if self.key is not None and self.key not in request.query.split("&"):
            raise Refused("NetStream.Play.Failed", "a key is needed")
        return PlayGrant(request.app, request.stream)


class Shelf:
    """Recordings served in the test's loop, from a real index."""

    def __init__(self, directory: Path, index: RecordingIndex):
        self.directory = directory
        self.index = index
        self.policy = FakePolicy()
        config = config_of(directory, http={"token": "a-token"})
        self.recordings = Recordings(Media(Guard(config), self.policy, config), RecordedFiles(index), directory)
        application = web.Application(middlewares=[answering(structlog.get_logger())])
        application.add_routes(self.recordings.routes())
        self.connections = 0
        tracing = TraceConfig()
        tracing.on_connection_create_end.append(self._count)
        self.server = TestServer(application)
        self.client = TestClient(self.server, trace_configs=[tracing])

    async def _count(self, *_):
        self.connections += 1

    async def add(self, file_id, path=PATH, data=DATA, *, is_open=False, file_format="flv"):
        (self.directory / path).parent.mkdir(parents=True, exist_ok=True)
        (self.directory / path).write_bytes(data)
        file = file_row(file_id, path=path, file_format=file_format)
        await self.index.reserve(file)
        await self.index.opened(file_id, path, 1.0)
        if not is_open:
            await self.index.closed(file_id, contents_of(file))

    @property
    def readers(self):
        return self.recordings._readers.total()

    async def ask(self, path=PATH, method="GET", **headers):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(method, f"/recordings/{path}", headers=sent) as response:
            return response.status, response.headers, await response.read()


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def shelf(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    index = RecordingIndex(database)
    await index.begin(recording_row("r"), [])
    shelf = Shelf(tmp_path / "recordings", index)
    await shelf.client.start_server()
    yield shelf
    await shelf.client.close()
    shelf.recordings.close()
    await database.close()
    await close_transports()


async def test_a_closed_file_is_sent_whole_with_all_that_helps_to_keep_it(shelf):
    await shelf.add("f")
    status, headers, body = await shelf.ask()

    assert (status, body) == (200, DATA)
    assert headers["Content-Type"] == "video/x-flv"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Cache-Control"] == "private, max-age=3600"
    assert headers["ETag"].startswith('"')
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Content-Range" in headers["Access-Control-Expose-Headers"]
    assert headers["Server"] == "rtmpd"
    assert "Content-Disposition" not in headers
    assert (await shelf.ask(If_None_Match=headers["ETag"]))[0] == 304
    assert (await shelf.ask(If_Modified_Since=headers["Last-Modified"]))[0] == 304


async def test_a_range_is_sent_as_such_and_a_head_without_a_body(shelf):
    await shelf.add("f")
    status, headers, body = await shelf.ask(Range="bytes=300000-300099")
    assert (status, body) == (206, DATA[300_000:300_100])
    assert (headers["Content-Range"], headers["Content-Length"]) == (f"bytes 300000-300099/{len(DATA)}", "100")

    status, headers, body = await shelf.ask(method="HEAD", Range="bytes=5-")
    assert (status, body) == (206, b"")
    assert headers["Content-Length"] == str(len(DATA) - 5)

    status, headers, body = await shelf.ask(Range=f"bytes={len(DATA)}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(DATA)}")
    assert headers["Content-Type"] == "application/problem+json"
    assert (await shelf.ask(If_Match='"x"'))[0] == 412


async def test_a_connection_is_used_again_after_each_kind_of_answer(shelf):
    await shelf.add("f")
    for options in (
        {},
        {"Range": "bytes=0-9"},
        {"If_None_Match": "*"},
        {"Range": "bytes=99999999-"},
        {"method": "HEAD"},
    ):
        await shelf.ask(**options)
    await shelf.ask()
    assert shelf.connections == 1


async def test_of_a_file_that_grows_what_is_there_is_sent_and_never_kept(shelf):
    await shelf.add("f", data=b"0123456789", is_open=True)
    status, headers, body = await shelf.ask()
    assert (status, body, headers["Cache-Control"]) == (200, b"0123456789", "no-store")
    assert not {"ETag", "Last-Modified"} & headers.keys()

    (shelf.directory / PATH).write_bytes(b"0123456789abcdef")
    status, headers, body = await shelf.ask(Range="bytes=10-")
    assert (status, body, headers["Content-Range"]) == (206, b"abcdef", "bytes 10-15/16")
    assert (await shelf.ask(Range="bytes=0-1", If_Range='"x"'))[0] == 200


async def test_a_name_is_decoded_once(shelf):
    await shelf.add("f", "live/a%2Fb c/x.flv", b"here")
    assert (await shelf.ask("live/a%252Fb%20c/x.flv"))[2] == b"here"
    for path in ("live/a%2Fb%20c/x.flv", "live/a%25252Fb%20c/x.flv", "live/%ff.flv", "live/x%00.flv"):
        assert (await shelf.ask(path))[0] == 404


async def test_a_file_that_the_index_does_not_know_is_not_there(shelf):
    await shelf.add("f")
    (shelf.directory / "live/demo/other.flv").write_bytes(b"x")
    status, headers, _ = await shelf.ask("live/demo/other.flv")
    assert (status, headers["Access-Control-Allow-Origin"]) == (404, "*")

    (shelf.directory / PATH).unlink()
    assert (await shelf.ask())[0] == 404
    (shelf.directory / PATH).symlink_to("/etc/passwd")
    assert (await shelf.ask())[0] == 404
    assert shelf.readers == 0


async def test_a_disk_that_fails_is_not_a_file_that_is_missing(shelf, monkeypatch):
    await shelf.add("f")

    def fail(directory, path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(recordings, "open_below", fail)
    status, _, body = await shelf.ask()
    assert (status, b"Input/output error" in body) == (503, True)


async def test_who_may_not_play_the_stream_has_no_recording_and_a_hook_is_asked_once(shelf):
    await shelf.add("f")
    shelf.policy.key = "key=k"
    assert (await shelf.ask())[0] == 403
    for start in range(5):
        assert (await shelf.ask(f"{PATH}?key=k", Range=f"bytes={start}-"))[0] == 206
    assert shelf.policy.asked == [("live", "demo", ""), ("live", "demo", "key=k")]
    assert (await shelf.ask(Authorization="Bearer a-token"))[0] == 200
    assert (await shelf.ask())[0] == 403

    shelf.recordings.forget_admissions()
    await shelf.ask(f"{PATH}?key=k")
    assert len(shelf.policy.asked) == 4


async def test_a_playlist_takes_its_query_to_what_it_names(shelf):
    await shelf.add("h", "live/list.m3u8", PLAYLIST, file_format="hls")
    (shelf.directory / "live/list").mkdir()
    (shelf.directory / "live/list/00000.m4s").write_bytes(b"segment")
    shelf.policy.key = "key=k"
    status, headers, body = await shelf.ask("live/list.m3u8?key=k&download=1")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert body == with_query(PLAYLIST, "key=k")
    assert body.splitlines()[1:] == [
        b'#EXT-X-MAP:URI="list/init-001.mp4?key=k"',
        b"#EXTINF:2.000,",
        b"list/00000.m4s?key=k",
    ]
    status, headers, body = await shelf.ask("live/list/00000.m4s?key=k")
    assert (status, body, headers["Content-Type"]) == (200, b"segment", "video/iso.segment")

    shelf.policy.key = None
    status, headers, body = await shelf.ask("live/list.m3u8")
    assert (body, headers["Cache-Control"]) == (PLAYLIST, "no-cache")
    assert headers["Content-Type"] == "application/vnd.apple.mpegurl"


async def test_a_long_playlist_with_a_long_query_is_made_as_it_is_read(shelf, monkeypatch):
    """It would have 160 MB, as often as somebody asks for it."""
    lines = b"".join(b"#EXTINF:2.000,\nlist/%05d.m4s\n" % number for number in range(43_200))
    await shelf.add("h", "live/list.m3u8", b"#EXTM3U\n" + lines, file_format="hls")
    query = "key=" + 4000 * "k"
    async with shelf.client.get(f"/recordings/live/list.m3u8?{query}") as response:
        first = await response.content.readexactly(200_000)
        assert with_query(b"#EXTM3U\n" + lines[:10_000], query).startswith(first)
        await until(lambda: shelf.readers == 1)
        (connection,) = shelf.server.runner.server.connections
        assert connection.transport.get_write_buffer_size() < CONNECTION_BYTES
    await until(lambda: not shelf.readers)

    assert (await shelf.ask("live/list.m3u8?key=k"))[2] == with_query(b"#EXTM3U\n" + lines, "key=k")
    status, _, body = await shelf.ask("live/list.m3u8?key=k", method="HEAD")
    assert (status, body) == (200, b"")


async def test_a_download_is_named(shelf):
    await shelf.add("f")
    _, headers, body = await shelf.ask(f"{PATH}?download=1")
    assert (headers["Content-Disposition"], body) == ("attachment; filename=\"f.flv\"; filename*=UTF-8''f.flv", DATA)


@pytest.mark.parametrize(
    ("name", "plain", "encoded"),
    [
        ('a"; x="b.mp4', "a__ x__b.mp4", "a%22%3B%20x%3D%22b.mp4"),
        ("Zo%C3%AB.mp4", "Zo_C3_AB.mp4", "Zo%25C3%25AB.mp4"),
        ("ä\r\nX: y.mp4", "___X_ y.mp4", "%C3%A4%0D%0AX%3A%20y.mp4"),
    ],
)
def test_a_name_cannot_leave_its_header(name, plain, encoded):
    assert attachment(name) == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


async def test_a_file_that_is_deleted_is_read_to_its_end(shelf):
    await shelf.add("f", data=DATA * 20)
    async with shelf.client.get(f"/recordings/{PATH}") as response:
        beginning = await response.content.readexactly(1000)
        (shelf.directory / PATH).unlink()
        assert beginning + await response.read() == DATA * 20


async def test_a_file_that_is_cut_is_not_taken_for_whole(shelf):
    await shelf.add("f", data=DATA * 40)
    async with shelf.client.get(f"/recordings/{PATH}") as response:
        await response.content.readexactly(1000)
        os.truncate(shelf.directory / PATH, 1000)
        with pytest.raises(ClientPayloadError):
            await response.read()


async def read_nothing(shelf, address=""):
    """Ask for a large file on a socket, and do not read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", shelf.client.port, limit=1)
    writer.write(f"GET /recordings/{PATH} HTTP/1.1\r\nHost: localhost\r\n{HEADER}: {address}\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def test_a_reader_that_takes_nothing_is_let_go_with_all_that_it_holds(shelf, monkeypatch):
    monkeypatch.setattr(recordings, "STALL_S", 0.2)
    await shelf.add("f", data=bytes(64 << 20))
    before = open_descriptors()
    _, writer = await read_nothing(shelf)
    await until(lambda: shelf.readers == 1)
    await until(lambda: shelf.readers == 0)
    writer.close()
    await until(lambda: open_descriptors() == before)


async def test_slow_readers_are_in_nobodys_way_and_their_number_is_bounded(shelf, monkeypatch):
    monkeypatch.setattr(recordings, "MOST_READERS", 20)
    await shelf.add("f", data=bytes(64 << 20))
    await shelf.add("small", "live/small.flv", b"small")
    slow = [await read_nothing(shelf) for _ in range(19)]
    await until(lambda: shelf.readers == 19)
    assert (await shelf.ask("live/small.flv"))[2] == b"small"

    slow.append(await read_nothing(shelf))
    await until(lambda: shelf.readers == 20)
    status, headers, body = await shelf.ask("live/small.flv")
    assert (status, headers["Retry-After"], b"20 recordings are being read already" in body) == (503, "5", True)
    for _, writer in slow:
        writer.transport.abort()
    await until(lambda: shelf.readers == 0)
    assert (await shelf.ask("live/small.flv"))[0] == 200


async def test_one_host_does_not_have_all_readers_but_this_machine_may(shelf, monkeypatch):
    monkeypatch.setattr(recordings, "MOST_READERS_PER_ADDRESS", 3)
    let_requests_say_where_they_come_from(monkeypatch)
    await shelf.add("f", data=bytes(64 << 20))
    slow = [await read_nothing(shelf, f"2001:db8::{number}") for number in range(3)]
    slow += [await read_nothing(shelf, address) for address in ("127.0.0.1", "::1") for _ in range(4)]
    await until(lambda: shelf.readers == 11)

    status, headers, body = await shelf.ask(**{HEADER: "2001:db8::9"})
    assert (status, headers["Retry-After"], b"3 recordings are being read from 2001:db8::/64" in body) == (
        503,
        "5",
        True,
    )
    assert (await shelf.ask(Range="bytes=0-9", **{HEADER: "2001:db8:0:1::9"}))[0] == 206
    slow[0][1].transport.abort()
    await until(lambda: shelf.readers == 10)
    assert (await shelf.ask(Range="bytes=0-9", **{HEADER: "2001:db8::9"}))[0] == 206
    for _, writer in slow[1:]:
        writer.transport.abort()
    await until(lambda: not shelf.recordings._readers)
