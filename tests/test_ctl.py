"""Each command asks its operation, over a real control socket."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from rtmpd import cli, logs
from rtmpd.control.models import (
    CallbacksQuery,
    Drain,
    PushStart,
    PushStop,
    RecordingsQuery,
    RecordStart,
    Room,
    TargetAdd,
)
from rtmpd.errors import NotPossible
from tests.helpers.logged import log_in_memory
from tests.helpers.operations import CHANNEL, CLIENT, EVENT, FILE, IN_A_FOLDER, PUBLISHED, TASK
from tests.helpers.processes import Program, wait_until
from tests.helpers.site import RunningSite

COMMANDS = [
    ("streams", ("streams",)),
    ("streams live/me", ("stream", PUBLISHED)),
    (f"streams {IN_A_FOLDER}", ("stream", IN_A_FOLDER)),
    ("clients", ("clients",)),
    (f"kick {CLIENT}", ("kick", CLIENT)),
    ("kick --stream live/me", ("disconnect_publisher", PUBLISHED)),
    ("push list", ("pushes",)),
    ("relays", ("relays",)),
    ("push start live/me --name Me", ("start_push", PushStart(stream=PUBLISHED, channel_name="Me"))),
    (
        "push start live/me --name Me --desc d --encode-type HLS --record hls_mp4 --record-id 5 --target rtmp://a/b/c",
        (
            "start_push",
            PushStart(
                stream=PUBLISHED,
                channel_name="Me",
                channel_desc="d",
                encode_type="hls",
                record_file_type="hls_mp4",
                record_id=5,
                targets=["rtmp://a/b/c"],
            ),
        ),
    ),
    (
        "push start --room 1 --user u --kind aux --name Me --encode-type 5",
        ("start_push", PushStart(stream=Room(room="1", user="u", kind="aux"), channel_name="Me", encode_type=5)),
    ),
    (f"push stop {CHANNEL}", ("stop_pushes", PushStop(channel_ids=[CHANNEL]))),
    (f"push target add {CHANNEL} rtmp://a/b/c", ("add_target", CHANNEL, TargetAdd(url="rtmp://a/b/c"))),
    (f"push target remove {CHANNEL} a/b", ("remove_target", CHANNEL, "a/b")),
    ("record list", ("records",)),
    ("record start live/me", ("start_record", RecordStart(stream=PUBLISHED))),
    (
        "record start live/me --name one --type audio --format m4a --format mp3 --tag a --tag b --max-duration 2.5",
        (
            "start_record",
            RecordStart(
                stream=PUBLISHED,
                file_name="one",
                record_type="audio",
                formats=["m4a", "mp3"],
                tags=["a", "b"],
                max_duration=2.5,
            ),
        ),
    ),
    ("record start --room 1 --user u", ("start_record", RecordStart(stream=Room(room="1", user="u")))),
    (f"record stop {TASK}", ("stop_record", TASK)),
    ("recordings", ("recordings", RecordingsQuery())),
    (
        "recordings --stream live/me --app live --task t --state closed --since 1 --until 2 --limit 3 --offset 4",
        (
            "recordings",
            RecordingsQuery(
                stream=PUBLISHED, app="live", task_id="t", state="closed", since=1, until=2, limit=3, offset=4
            ),
        ),
    ),
    (f"recordings delete {FILE}", ("delete_recording", FILE)),
    ("callbacks", ("callbacks", CallbacksQuery())),
    ("callbacks --dead", ("callbacks", CallbacksQuery(state="dead"))),
    ("callbacks --pending --limit 5", ("callbacks", CallbacksQuery(state="pending", limit=5))),
    (f"callbacks retry {EVENT}", ("retry_callback", EVENT)),
    ("server", ("server",)),
    ("drain", ("drain", Drain())),
    ("drain --timeout 5", ("drain", Drain(timeout=5))),
    ("drain --to rtmps://[2001:db8::1]:443/live", ("drain", Drain(url="rtmps://[2001:db8::1]:443/live"))),
    ("reload", ("reload",)),
]


@pytest.fixture
def site(tmp_path):
    with RunningSite(tmp_path) as site:
        yield site


@pytest.fixture
def ctl(site):
    def ctl(line):
        return CliRunner().invoke(
            cli.app, ["ctl", *line.split()], env={"RTMPD_SOCKET": str(site.path)}, catch_exceptions=False
        )

    return ctl


@pytest.mark.parametrize(("line", "asked"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_a_command_asks_what_its_options_say_and_prints_the_answer(site, ctl, line, asked):
    result = ctl(line)

    assert (result.exit_code, result.stderr) == (0, "")
    assert site.operations.asked == [asked]
    assert result.stdout.strip()


@pytest.mark.parametrize(("line", "asked"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_with_json_the_answer_is_printed_as_it_came(site, ctl, line, asked):
    result = ctl(f"{line} --json")

    assert result.exit_code == 0
    assert isinstance(json.loads(result.stdout), dict)
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        "kick",
        f"kick {CLIENT} --stream live/me",
        "kick seven",
        "push start live/me",
        "push start --name Me",
        "push start --room 1 --name Me",
        "push start live/me --room 1 --user u --name Me",
        "push stop",
        "push target add c-1",
        "record start live/me --type zork",
        "recordings --limit 0",
        "recordings delete",
        "streams me",
        "streams live/",
        "kick --stream /me",
        "zork",
        "--json",
    ],
)
def test_a_command_that_makes_no_sense_asks_nothing(site, ctl, line):
    result = ctl(line)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert site.operations.asked == []


@pytest.mark.parametrize(
    "words",
    [
        ["record", "stop", ""],
        ["push", "stop", "c-1", ""],
        ["push", "target", "add", "", "rtmp://a/b/c"],
        ["push", "target", "remove", "c-1", ""],
        ["recordings", "delete", "f-1", ""],
        ["callbacks", "retry", ""],
    ],
)
def test_an_id_that_is_empty_is_told_and_asks_nothing(site, words):
    result = CliRunner().invoke(cli.app, ["ctl", "--socket", str(site.path), *words])

    assert result.exit_code == 2
    assert result.stderr.endswith("it is empty\n")
    assert site.operations.asked == []


def test_what_is_expected_of_a_stream_is_told(ctl):
    assert ctl("streams me").stderr.endswith('"me": APPLICATION/NAME is expected\n')


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kick 9", "rtmpd: there is no such client\n"),
        ("streams live/you", "rtmpd: there is no such stream\n"),
        (
            "push start live/me --name Me --target http://a",
            'rtmpd: targets[0]: text like "rtmp://a.example/app/key" is expected\n',
        ),
    ],
)
def test_what_the_server_refuses_is_told(ctl, line, said):
    result = ctl(line)

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", said)


def test_several_faults_are_lines_of_their_own_and_cannot_control_the_terminal(site, ctl):
    site.operations.refuse = NotPossible("invalid", "two faults", ["one\n\x1b[2J", "two"])

    result = ctl("reload")

    assert (result.exit_code, result.stderr) == (1, "rtmpd: one\\n\\x1b[2J\nrtmpd: two\n")


def test_a_push_that_is_unknown_among_others_is_no_success(ctl):
    result = ctl(f"push stop {CHANNEL} zork")

    assert result.exit_code == 1
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["PUSH", "STATE"],
        [CHANNEL, "stopped"],
        ["zork", "unknown"],
    ]


def test_files_are_deleted_up_to_the_first_that_cannot_be(site, ctl):
    site.operations.files = ["f-1", "f-2", "f-3"]

    result = ctl("recordings delete f-1 zork f-3")

    assert (result.exit_code, result.stdout, result.stderr) == (1, "done\n", "rtmpd: there is no such file\n")
    assert site.operations.files == ["f-2", "f-3"]


@pytest.fixture
def logged():
    with log_in_memory("error"):
        yield


@pytest.fixture
def following(logged, site):
    """`rtmpd ctl events`, when it follows."""
    command = [sys.executable, "-m", "rtmpd", "ctl", "events", "--socket", site.path]
    with Program(command) as program:
        wait_until(lambda: site.site._events.followers == 1, "the client to follow")
        yield program


def test_events_are_told_until_it_is_interrupted(following):
    logs.get_logger().info("publish started", stream="live/me", client=7)
    logs.get_logger().warning("closed", reason="\x1b[2J")

    first, second = following.wait_for_line("publish started"), following.wait_for_line("closed")
    following.signal(signal.SIGINT)

    assert first[8:] == " publish started stream=live/me client=7"
    assert second[8:] == r" [warning] closed reason=\x1b[2J"
    assert (following.wait(), following.stderr) == (0, [])


def test_the_servers_end_ends_events_with_a_word(site, following):
    site.loop.call_soon_threadsafe(site.site._events.close)

    assert following.wait() == 3
    assert following.stderr == [f"rtmpd: the server at {site.path} has ended"]


def test_a_reader_that_has_seen_enough_is_no_failure(logged, site):
    command = [sys.executable, "-m", "rtmpd", "ctl", "events", "--json", "--socket", str(site.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(lambda: site.site._events.followers == 1, "the client to follow")
        logs.get_logger().info("first")
        assert json.loads(process.stdout.readline())["event"] == "first"
        process.stdout.close()
        logs.get_logger().info("second")

        assert process.wait(20) == 0
        assert process.stderr.read() == b""
