"""`rtmpd ctl` against a real server: each verb as a person and as a program asks it, and its exit codes."""

from __future__ import annotations

import json
import re
import sys

import pytest
from typer.testing import CliRunner

from rtmpd import cli
from tests.helpers.callback_server import CallbackServer
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import Connection, LivePublisher
from tests.helpers.server import Server
from tests.helpers.terminal import run_on_terminal

pytestmark = pytest.mark.e2e

LIVE = "live/me"
PRIVATE = "private/me"
CONFIG = '[apps.live]\n[apps.private]\npush = "manual"\n'
ELSEWHERE = ["../x", "..", "/etc/x", "a/b", "..\\x", ".x", "x/", " x", "x\n", "\x1b[2Jx", "x" * 201]
"""No names of files."""


@pytest.fixture(scope="module")
def receiver():
    with CallbackServer() as receiver:
        receiver.answer = lambda _body: 500
        yield receiver


@pytest.fixture(scope="module")
def server(tmp_path_factory, sources, receiver):
    tags = sources.tags("h264+aac")
    with (
        Server(tmp_path_factory.mktemp("server"), CONFIG + receiver.config) as server,
        LivePublisher(server.address, "me", tags),
        LivePublisher(server.address, "me", tags, app="private"),
    ):
        for stream in (LIVE, PRIVATE):
            server.api.wait_for_stream(stream)
        yield server


@pytest.fixture(scope="module")
def ctl(server):
    """Runs a command line, words or text that is split; returns exit code, standard output and standard error."""

    def ctl(line):
        words = line.split() if isinstance(line, str) else line
        result = CliRunner().invoke(cli.app, ["ctl", "--socket", str(server.control), *words], catch_exceptions=False)
        return result.exit_code, result.stdout, result.stderr

    return ctl


@pytest.fixture(scope="module")
def said(ctl):
    """What a command that succeeds prints: as JSON, or the cells of its lines."""

    def said(line, *, as_json=False):
        code, out, told = ctl(f"{line} --json" if as_json else line)
        assert (code, told) == (0, "")
        return json.loads(out) if as_json else [re.split(r" {2,}", each) for each in out.splitlines()]

    return said


def test_streams_and_clients_are_listed(said, server):
    titles, *rows = said("streams")
    assert titles == ["STREAM", "STATE", "SINCE", "RATE", "FPS", "TRACKS", "PLAYERS", "RECORDINGS", "PUSH"]
    assert [row[:2] for row in rows] == [[LIVE, "live"], [PRIVATE, "live (private)"]]
    assert rows[0][5].startswith("H.264 ")
    shown = said(f"streams {LIVE}")
    assert shown[0] == ["STREAM", LIVE]
    assert shown[-4][0] == "URLS"
    assert [line[-1] for line in shown[-4:]] == [
        f"HLS {server.http_url(LIVE)}.m3u8",
        f"FLV {server.http_url(LIVE)}.flv",
        f"RTMP {server.url(LIVE)}",
        f"fMP4 {server.http_url(LIVE)}.mp4",
    ]
    urls = said(f"streams {LIVE}", as_json=True)["urls"]
    assert [each["play_url"] for each in urls if each["type"] == 5] == [server.url(LIVE)]

    titles, *rows = said("clients")
    assert titles == ["CLIENT", "KIND", "ADDRESS", "ROLE", "STREAM", "SINCE", "IN", "OUT", "LAG", "SKIPPED"]
    assert [row[1:5] for row in rows] == [["rtmp", "127.0.0.1", "publish", each] for each in (LIVE, PRIVATE)]
    assert [each["stream"] for each in said("clients", as_json=True)["clients"]] == [LIVE, PRIVATE]


def test_a_push_is_started_changed_listed_and_stopped(said):
    first = dict(said(f"push start {PRIVATE} --name evening --target rtmp://a.example/b/secret"))
    again = said(f"push start {PRIVATE} --name evening", as_json=True)
    assert first["STATE"] == "on"
    assert (again["channel_id"], again["already"]) == (first["PUSH"], True)
    added = said(f"push target add {first['PUSH']} rtmp://c.example/d/secret", as_json=True)["target"]
    assert added["url"] == "rtmp://c.example/d/***"
    titles, row = said("push list")
    assert titles == ["PUSH", "STREAM", "NAME", "STATE", "MODE", "SINCE", "RECORDING", "TARGETS"]
    assert row[:5] == [first["PUSH"], PRIVATE, "evening", "on", "manual"]
    assert re.search(r"rtmp://a\.example/b/\*\*\* \((connecting|backing_off)\), ", row[7])
    titles, *rows = said("relays")
    assert titles == ["STREAM", "KIND", "URL", "STATE", "SINCE", "TRIES", "MEDIA", "LAG", "SKIPPED", "TARGET"]
    assert [row[:3] for row in rows] == [
        [PRIVATE, "push", f"rtmp://{host}.example/{app}/***"] for host, app in (("a", "b"), ("c", "d"))
    ]

    assert said(f"push target remove {first['PUSH']} {added['target_id']}") == [["done"]]
    assert said(f"push target remove {first['PUSH']} {added['target_id']}") == [["done (it was already)"]]
    assert said(f"push stop {first['PUSH']}") == [["PUSH", "STATE"], [first["PUSH"], "stopped"]]
    (result,) = said(f"push stop {first['PUSH']}", as_json=True)["results"]
    assert (result["state"], result["already"]) == ("stopped", True)
    assert said("push list") == [["No pushes."]]


def test_a_recording_is_started_listed_stopped_and_its_files_deleted(said, ctl):
    started = dict(said(f"record start {LIVE} --name evening --format flv --format mp4 --tag a"))
    assert started["FORMATS"] == "flv, mp4"
    titles, row = said("record list")
    assert titles == ["TASK", "STREAM", "STATE", "TYPE", "FORMATS", "SINCE", "ENDS", "NAME", "TAGS"]
    assert [row[each] for each in (0, 1, 3, 4, 7, 8)] == [started["TASK"], LIVE, "video", "flv, mp4", "evening", "a"]
    open_files = f"recordings --task {started['TASK']} --state open"
    wait_until(lambda: said(open_files, as_json=True)["recordings"], "a file that is written")
    (open_file, *_) = said(open_files, as_json=True)["recordings"]
    code, _, told = ctl(f"recordings delete {open_file['file_id']}")
    assert (code, told) == (1, f"rtmpd: file {open_file['file_id']} is still written: stop its recording first\n")

    first, note, titles, *rows = said(f"record stop {started['TASK']}")
    assert (first, note) == (["RECORDING", f"{started['TASK']} closed"], ["NOTE", "stopped"])
    assert titles == ["FILE", "STREAM", "FORMAT", "STATE", "BEGAN", "LASTS", "SIZE", "PATH", "TASK"]
    assert sorted(row[2] for row in rows) == ["flv", "mp4"]
    assert {each["file_id"] for each in said(f"record stop {started['TASK']}", as_json=True)["files"]} == {
        row[0] for row in rows
    }
    assert said(f"recordings --task {started['TASK']}")[0] == titles
    assert said(f"recordings delete {rows[0][0]} {rows[1][0]}") == [["done"], ["done"]]
    assert said(f"recordings --task {started['TASK']}") == [["No files."]]
    assert said("record list") == [["No recordings run."]]


def test_callbacks_are_listed_and_tried_again(said, receiver):
    _, *rows = said("callbacks --pending")
    (event,) = (row for row in rows if row[1:4] == ["1", LIVE, "pending"])
    # While it is refused: once the receiver takes it, the server may have delivered it by itself.
    assert said(f"callbacks retry {event[0]}") == [["done"]]
    receiver.answer = lambda _body: 200
    receiver.wait_for(LIVE, 1)
    assert said("callbacks --dead") == [["No callbacks wait."]]


def test_a_client_and_a_publisher_are_disconnected(said, server):
    with Connection(server.address).connect().publish("first") as first:
        client = dict(said("streams live/first"))["PUBLISHER"].split()[1]
        assert said(f"kick {client}") == [["done"]]
        first.wait_for_end()
    with Connection(server.address).connect().publish("second") as second:
        assert said("kick --stream live/second", as_json=True)["already"] is False
        second.wait_for_end()


def test_the_configuration_is_read_again_or_every_fault_is_told(said, ctl, server):
    assert dict(said("reload")) == {"RELOADED": "yes", "NEED A RESTART": "-"}
    text = server.config.read_text()
    server.config.write_text('[apps.live]\npush = "sometimes"\n[http]\nbody_bytes = "x"\n')
    code, out, told = ctl("reload")
    server.config.write_text(text)

    assert (code, out) == (1, "")
    assert told.splitlines() == [
        'rtmpd: http.body_bytes: "x": a whole number of bytes >= 1 is expected',
        'rtmpd: apps.live.push: "sometimes": "auto" or "manual" is expected',
    ]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_name_that_could_lead_elsewhere_is_refused(ctl, server, name):
    with server.api.nothing_is_done():
        code, out, told = ctl(["record", "start", LIVE, f"--name={name}"])

    assert (code, out) == (1, "")
    assert told.startswith("rtmpd: file_name: text")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("record start live/nobody", 1, "rtmpd: nobody publishes live/nobody\n"),
        ("record start lives/me", 1, "rtmpd: there is no application 'lives' on this server\n"),
        ("record stop ..", 1, "rtmpd: there is no recording of task ..\n"),
        ("recordings delete ../../x", 1, "rtmpd: there is no file ../../x\n"),
        ("kick 4711", 1, "rtmpd: there is no client 4711\n"),
        ("kick --stream ../recordings", 1, "rtmpd: nobody publishes ../recordings\n"),
        ("streams ../pushes", 1, "rtmpd: nobody publishes ../pushes\n"),
        (
            "--socket /no/such streams",
            3,
            "rtmpd: no server answers at /no/such (is it running? --socket PATH says where)\n",
        ),
    ],
)
def test_what_cannot_be_is_told_in_a_line(ctl, server, line, code, told):
    with server.api.nothing_is_done():
        assert ctl(line) == (code, "", told)


def test_on_a_terminal_there_are_tables(server):
    command = [sys.executable, "-m", "rtmpd", "ctl", "--socket", server.control, "streams"]
    shown = run_on_terminal(command, whole=True, columns=160)

    assert shown.code == 0
    assert LIVE in shown.screen


def test_a_server_is_drained(tmp_path):
    with Server(tmp_path / "server") as server, Connection(server.address).connect().publish("me"):
        result = CliRunner().invoke(cli.app, ["ctl", "--socket", str(server.control), "drain", "--timeout", "0.1"])

        assert result.exit_code == 0
        assert dict(re.split(r" {2,}", line) for line in result.stdout.splitlines())["PUBLISHERS"] == "1"
        assert server.wait() == 0
