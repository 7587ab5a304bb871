"""Recordings of a real server over HTTP: fetched by the URLs that it tells, by who may, and nothing else with them."""

from __future__ import annotations

import contextlib
import http.client
import socket
from urllib.parse import quote, urlsplit

import pytest

from tests.helpers.api import Api
from tests.helpers.browser import Browser
from tests.helpers.callback_server import CallbackServer
from tests.helpers.media import HEIGHT, WIDTH, from_start, packets_of
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.rtmp_client import Connection, LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

KEY = "a+key&with%25/more?"
CONFIG = f"""
[apps.live]
record = "auto"
record_formats = ["flv", "mp4", "hls"]
resume_s = 0
[apps.guarded]
record = "auto"
record_formats = ["flv", "hls"]
resume_s = 0
play_key = "{KEY}"
[limits]
linger_s = 0.1
"""
STREAM = "Zoë 50%"
SECRET = b"nobody's business"


def fetch(url, method="GET", **headers):
    """Ask for a URL as it stands; status, headers and body."""
    parts = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_S)) as connection:
        target = url.partition(parts.netloc)[2]
        connection.request(method, target, headers={name.replace("_", "-"): each for name, each in headers.items()})
        response = connection.getresponse()
        return response.status, {name.lower(): each for name, each in response.getheaders()}, response.read()


def publish(server, stream, tags, app="live"):
    """Publish a stream to its end."""
    with Connection(server.address).connect(app).publish(stream) as publisher:
        for tag in tags:
            publisher.send_tag(tag)
        publisher.unpublish()


def files_of(server, stream, formats):
    """The files of a stream by format, once all of them are closed."""

    def listed():
        files = server.api.get(f"recordings?stream={quote(stream, safe='')}&state=closed").body["recordings"]
        return {each["format"]: each for each in files}

    wait_until(lambda: listed().keys() == set(formats), f"closed files of {stream}")
    return listed()


@pytest.fixture(scope="module")
def server(tmp_path_factory, sources):
    with (
        CallbackServer() as receiver,
        Server(tmp_path_factory.mktemp("server"), CONFIG + receiver.config) as server,
    ):
        server.receiver = receiver
        publish(server, STREAM, sources.tags("h264+aac"))
        publish(server, "s", sources.tags("h264+aac"), "guarded")
        server.files = files_of(server, f"live/{STREAM}", {"flv", "mp4", "hls"})
        server.guarded = files_of(server, "guarded/s", {"flv", "hls"})
        yield server


def on_disk(server, file):
    return server.data / "recordings" / file["path"]


@pytest.mark.parametrize(
    ("file_format", "content_type"),
    [("flv", "video/x-flv"), ("mp4", "video/mp4"), ("hls", "application/vnd.apple.mpegurl")],
)
def test_a_file_is_had_by_the_url_that_is_told(server, file_format, content_type):
    file = server.files[file_format]
    status, headers, body = fetch(file["url"])

    assert file["url"].startswith("http://{}:{}/recordings/live/".format(*server.http_address))
    assert (status, headers["content-type"]) == (200, content_type)
    assert body == on_disk(server, file).read_bytes()
    assert file_format == "hls" or len(body) == file["size"]
    wait_until(lambda: any(each.get("video_url") == file["url"] for each in server.receiver.bodies), "its callback")


def test_what_is_fetched_by_ranges_is_the_file(server):
    file = server.files["mp4"]
    whole = on_disk(server, file).read_bytes()
    _, head, nothing = fetch(file["url"], "HEAD")
    step = len(whole) // 7
    parts = [fetch(file["url"], Range=f"bytes={start}-{start + step - 1}") for start in range(0, len(whole), step)]

    assert (head["content-length"], head["accept-ranges"], nothing) == (str(len(whole)), "bytes", b"")
    assert {status for status, *_ in parts} == {206}
    assert b"".join(body for *_, body in parts) == whole
    assert parts[1][1]["content-range"] == f"bytes {step}-{2 * step - 1}/{len(whole)}"
    assert fetch(file["url"], Range="bytes=-9")[2] == whole[-9:]
    assert fetch(file["url"], Range=f"bytes={len(whole)}-")[0] == 416
    assert fetch(file["url"], Range="bytes=0-8", If_Range='"another"')[2] == whole
    assert fetch(file["url"], If_None_Match=head["etag"])[0] == 304


def test_players_play_each_format_from_its_url_and_seek(server, sources):
    source = from_start(packets_of(sources.flv("h264+aac")))
    for file_format in ("flv", "mp4", "hls"):
        played = from_start(packets_of(server.files[file_format]["url"]))
        assert [md5 for *_, md5 in played["video"]] == [md5 for *_, md5 in source["video"]], file_format


ENCODED_DOTS = "%2e%2e"


@pytest.mark.parametrize(
    "path",
    [
        "../rtmpd.db",
        "live/../../rtmpd.db",
        f"{ENCODED_DOTS}/rtmpd.db",
        f"live/{ENCODED_DOTS}/{ENCODED_DOTS}/rtmpd.db",
        "%2e%2e%2frtmpd.db",
        "live%2f%2e%2e%2f%2e%2e%2frtmpd.db",
        "%252e%252e%252frtmpd.db",
        "..%5crtmpd.db",
        "..%c0%af..%c0%afrtmpd.db",
        "%00",
        "live/%00/../../rtmpd.db",
        "/etc/passwd",
        "//etc/passwd",
        "%2fetc%2fpasswd",
        "file:///etc/passwd",
        "live",
        "live/",
        ".",
        "",
        "link.flv",
        "linked/secret.flv",
        "unknown.flv",
    ],
)
def test_nothing_but_recordings_is_had_whatever_is_asked_for(server, tmp_path, path):
    recordings = server.data / "recordings"
    (tmp_path / "secret.flv").write_bytes(SECRET)
    for name, target in (("link.flv", tmp_path / "secret.flv"), ("linked", tmp_path)):
        with contextlib.suppress(FileNotFoundError):
            (recordings / name).unlink()
        (recordings / name).symlink_to(target)
    (recordings / "unknown.flv").write_bytes(SECRET)

    status, _, body = fetch(server.http_url("recordings/") + path)

    assert status == 404
    assert SECRET not in body
    assert b"root:" not in body
    assert b"SQLite" not in body


def test_a_recording_whose_place_was_taken_by_a_link_is_not_there(server, sources, tmp_path):
    publish(server, "linked", sources.tags("h264+aac"))
    file = files_of(server, "live/linked", {"flv", "mp4", "hls"})["flv"]
    (tmp_path / "secret").write_bytes(SECRET)
    path = on_disk(server, file)
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    assert fetch(file["url"])[0] == 404
    path.unlink()
    assert fetch(file["url"])[0] == 404


def test_parts_of_a_playlist_are_had_and_what_else_lies_there_is_not(server):
    file = server.files["hls"]
    folder = on_disk(server, file).with_suffix("")
    (folder / "notes.txt").write_bytes(SECRET)
    (folder / "00099.m4s.part").write_bytes(SECRET)
    for path in folder.iterdir():
        status, _, body = fetch(f"{file['url'].removesuffix('.m3u8')}/{path.name}")
        ours = path.name.startswith(("0", "init")) and path.suffix in {".m4s", ".mp4"}
        assert (status, body == path.read_bytes()) == ((200, True) if ours else (404, False)), path.name


def test_who_may_not_play_a_stream_has_no_recording_of_it(server, sources):
    source = from_start(packets_of(sources.flv("h264+aac")))
    for file in server.guarded.values():
        assert fetch(file["url"])[0] == 403
        assert fetch(f"{file['url']}?key=wrong")[0] == 403
        url = f"{file['url']}?key={quote(KEY, safe='')}"
        assert fetch(url)[0] == 200
        # Of HLS also what the playlist names: the key goes with it.
        assert [md5 for *_, md5 in from_start(packets_of(url))["video"]] == [md5 for *_, md5 in source["video"]]
        assert fetch(file["url"])[0] == 403


def test_a_recording_that_grows_is_had_as_far_as_it_is(server, sources):
    with LivePublisher(server.address, "growing", sources.tags("long")):

        def files():
            return server.api.get("recordings?stream=live/growing&state=open").body["recordings"]

        wait_until(lambda: any(each["format"] == "flv" for each in files()), "an open file")
        (file,) = (each for each in files() if each["format"] == "flv")
        url, path = file["url"], on_disk(server, file)
        wait_until(lambda: path.exists() and path.stat().st_size > 20_000, "something in it")
        status, headers, first = fetch(url)
        wait_until(lambda: path.stat().st_size > len(first), "more in it")
        rest = fetch(url, Range=f"bytes={len(first)}-")

    assert (status, headers["cache-control"], "etag" in headers) == (200, "no-store", False)
    assert first.startswith(b"FLV")
    assert len(first) >= 20_000
    assert (rest[0], rest[2] != b"") == (206, True)


def test_a_recording_that_is_deleted_is_read_on_and_then_gone(server, sources):
    publish(server, "deleted", sources.tags("long"))
    file = files_of(server, "live/deleted", {"flv", "mp4", "hls"})["mp4"]
    whole = on_disk(server, file).read_bytes()
    parts = urlsplit(file["url"])
    with socket.socket() as connection:
        # What the kernel takes at once must be less than the file.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE_S)
        connection.connect(server.http_address)
        connection.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        read = connection.recv(1000)
        assert server.api.delete(f"recordings/{file['file_id']}").status == 200
        assert not on_disk(server, file).exists()
        while piece := connection.recv(65536):
            read += piece
    assert read.partition(b"\r\n\r\n")[2] == whole
    assert fetch(file["url"])[0] == 404


def test_a_page_of_another_site_may_play_a_recording(server):
    _, headers, _ = fetch(server.files["mp4"]["url"], Origin="https://www.example.com", Range="bytes=0-1")
    assert headers["access-control-allow-origin"] == "*"
    assert "Content-Range" in headers["access-control-expose-headers"]


def test_readers_that_go_leave_no_descriptor(server):
    url = server.files["mp4"]["url"]
    fetch(url)
    before = server.open_files()
    for _ in range(50):
        with socket.create_connection(server.http_address, PATIENCE_S) as connection:
            connection.sendall(f"GET {urlsplit(url).path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            connection.recv(10)
    wait_until(lambda: server.open_files() <= before, "everything to be closed")


def test_the_token_opens_every_recording(tmp_path, sources):
    config = CONFIG + '[http]\ntoken = "a-token"\n'
    with Server(tmp_path, config) as server:
        publish(server, "s", sources.tags("short"), "guarded")
        files = files_of(server, "guarded/s", {"flv", "hls"})
        path = urlsplit(files["flv"]["url"]).path
        assert fetch(files["flv"]["url"])[0] == 403
        assert fetch(files["flv"]["url"], Authorization="Bearer a-token")[0] == 200
        connection = server.api.connection()
        connection.request("GET", path)
        assert connection.getresponse().status == 200
        connection.close()
        assert Api(server.http_address, "a-token").get("recordings").status == 200


def test_who_was_admitted_is_asked_again_after_a_reload(tmp_path, sources):
    with Server(tmp_path, CONFIG) as server:
        publish(server, "s", sources.tags("short"), "guarded")
        file = files_of(server, "guarded/s", {"flv", "hls"})["flv"]
        picture = server.http_url(f"recordings/{file['file_id']}.jpg")
        asked = [f"{url}?key={quote(KEY, safe='')}" for url in (file["url"], picture)]
        assert [fetch(url)[0] for url in asked] == [200, 200]

        server.config.write_text(CONFIG.replace(KEY, "another"))
        assert server.api.post("reload").status == 200
        assert [fetch(url)[0] for url in asked] == [403, 403]


def test_a_server_ends_in_time_while_somebody_reads(tmp_path, sources):
    with Server(tmp_path, CONFIG) as server, socket.socket() as connection:
        publish(server, "s", sources.tags("long"))
        file = files_of(server, "live/s", {"flv", "mp4", "hls"})["mp4"]
        # A hole in it, as no disk of a test takes more than a socket's buffers do.
        with on_disk(server, file).open("ab") as growing:
            growing.truncate(1 << 30)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE_S)
        connection.connect(server.http_address)
        connection.sendall(f"GET {urlsplit(file['url']).path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 200"
        server.stop()


@pytest.mark.peer("chromium")
def test_a_browser_plays_a_recording_from_its_url_and_seeks(server, tmp_path):
    with Browser(tmp_path) as browser:
        browser.navigate(server.files["mp4"]["url"])
        seen = browser.evaluate("""(async () => {
            const video = document.querySelector('video');
            if (video.readyState < 1) await new Promise((done) => video.onloadedmetadata = done);
            video.pause();
            const seeked = new Promise((done, fail) => { video.onseeked = done; video.onerror = () => fail(video.error); });
            video.currentTime = 2;
            await seeked;
            return [video.videoWidth, video.videoHeight, video.currentTime, video.readyState > 1];
        })()""")
    assert seen == [WIDTH, HEIGHT, 2, True]
