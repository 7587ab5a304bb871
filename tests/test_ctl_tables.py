from __future__ import annotations

import io
import json
import sys
import time

import pytest
from rich.console import Console

from rtmpd.ctl_tables import TABLES, duration_of, rate_of, show, size_of, time_of
from tests.helpers.operations import NOW_S, FakeOperations, file, stream_info
from tests.helpers.site import RunningSite
from tests.helpers.terminal import run_on_terminal

HOSTILE = "live/[bold]x[/bold]\x1b[2J\u202e\n:smile:"


def plain(model):
    return json.loads(model.model_dump_json())


def shown(table, answer, columns=200):
    """As a terminal of so many columns shows it, without styles."""
    out = io.StringIO()
    console = Console(
        file=out, width=columns, force_terminal=True, color_system=None, highlight=False, markup=False, emoji=False
    )
    TABLES[table](console, answer)
    return out.getvalue()


async def test_a_wide_terminal_shows_a_table():
    lines = shown("streams", plain(FakeOperations().streams())).splitlines()

    assert len(lines) == 3
    assert lines[0].split() == ["STREAM", "STATE", "SINCE", "RATE", "FPS", "TRACKS", "PLAYERS", "RECORDINGS", "PUSH"]
    assert "H.264 1280x720, AAC 48 kHz" in lines[1]
    assert "2 Mb/s" in lines[1]
    assert "1 hls, 2 rtmp" in lines[1]


async def test_a_narrow_one_goes_without_the_columns_that_matter_least_and_says_so():
    head, *_, note = shown("streams", plain(FakeOperations().streams()), columns=80).splitlines()

    assert head.split() == ["STREAM", "STATE", "RATE", "TRACKS", "PLAYERS"]
    assert note.rstrip() == "Too narrow for PUSH, FPS, SINCE, RECORDINGS; --json has everything."


@pytest.mark.parametrize(
    ("table", "answer"),
    [
        ("streams", {"streams": [plain(stream_info("live/me"))]}),
        ("recordings", {"recordings": [plain(file())]}),
    ],
)
def test_eighty_columns_are_enough_for_a_table(table, answer):
    head, entry, _ = shown(table, answer, columns=80).splitlines()

    assert max(len(head), len(entry)) <= 80


def test_a_long_name_is_folded_and_does_not_spoil_the_table():
    streams = [plain(stream_info(f"live/{name}")) for name in ("x" * 100, "me")]

    lines = [line.rstrip() for line in shown("streams", {"streams": streams}, columns=100).splitlines()]

    assert lines[0].startswith("STREAM ")
    assert max(map(len, lines)) <= 100
    assert "".join(line.split()[0] for line in lines[1:-2]) == f"live/{'x' * 100}"
    assert lines[-2].startswith("live/me ")


async def test_one_that_is_too_narrow_for_any_table_shows_a_block_for_each_and_nothing_is_left_out():
    text = shown("streams", plain(FakeOperations().streams()), columns=40)

    assert all(len(line) <= 40 for line in text.splitlines())
    assert text.count("STREAM ") == 2
    assert "events/2026/me" in text


@pytest.mark.parametrize("columns", [1, 10, 20, 80])
async def test_every_width_can_be_had(columns):
    assert shown("streams", plain(FakeOperations().streams()), columns)


@pytest.mark.parametrize("columns", [30, 300])
@pytest.mark.parametrize("table", ["streams", "stream"])
def test_what_a_client_sent_is_shown_as_text(columns, table):
    entry = plain(stream_info(HOSTILE))

    text = shown(table, {"streams": [entry]} if table == "streams" else entry, columns)

    assert "\x1b" not in text
    assert "\u202e" not in text
    joined = "".join(text.replace(" ", "").split("\n"))
    assert "[bold]" in joined
    assert ":smile:" in joined


def test_an_event_is_one_line_whatever_is_in_it():
    text = shown("event", {"at": NOW_S, "event": HOSTILE, "level": "info", "reason": HOSTILE, "none": None})

    assert text.count("\n") == 1
    assert text[:-1].isprintable()


def test_lost_events_are_told():
    assert shown("event", {"count": 5}) == "-- count=5 events lost: they came faster than they were read\n"


def test_a_fault_and_a_private_stream_are_seen():
    faulty = plain(file()) | {"fault": "disk full", "start_time": None, "task_id": None}
    private = plain(stream_info("live/me")) | {"public": False, "publisher": None, "state": "idle"}

    assert "closed (disk full)" in shown("recordings", {"recordings": [faulty]})
    assert "idle (private)" in shown("streams", {"streams": [private]})


@pytest.mark.parametrize(
    ("table", "answer", "said"),
    [
        ("streams", {"streams": []}, "No streams.\n"),
        ("done", {"already": False, "notes": []}, "done\n"),
        ("done", {"already": True, "notes": ["why", "what"]}, "done (it was already); why; what\n"),
        ("done", {"already": True}, "done (it was already)\n"),
    ],
)
def test_short_answers_are_a_line(table, answer, said):
    assert shown(table, answer) == said


def test_a_pipe_gets_plain_lines_that_are_never_folded(capsys):
    long = "live/" + "x" * 500

    show("streams", {"streams": [plain(stream_info(long))]})

    head, line = capsys.readouterr().out.splitlines()
    assert head.rstrip() == head
    assert line.rstrip() == line
    assert line.startswith(long)


@pytest.mark.parametrize(("columns", "lines"), [(200, 3), (40, 19)])
def test_a_real_terminal_is_measured(tmp_path, columns, lines):
    with RunningSite(tmp_path) as site:
        command = [sys.executable, "-m", "rtmpd", "ctl", "streams", "--socket", site.path]
        result = run_on_terminal(command, whole=True, columns=columns)

    assert result.code == 0
    assert "\x1b[1m" in result.screen  # headings are bold
    assert len(result.screen.splitlines()) == lines


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.4, "999 B"),
        (999.6, "1 KB"),
        (1000, "1 KB"),
        (1_500_000, "1.5 MB"),
        (999_600, "1 MB"),
        (12_345_678_901, "12.3 GB"),
        (1e16, "10000 TB"),
    ],
)
def test_sizes_are_for_people(value, text):
    assert size_of(value) == text


def test_rates_durations_and_times_are_for_people(monkeypatch):
    monkeypatch.setenv("TZ", "XXX-5:30")
    time.tzset()
    try:
        assert time_of(NOW_S) == "2025-11-24 21:30:00"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert time_of(None) == "-"
    assert [duration_of(each) for each in (0, 61.5, 3599.6, 90_000)] == ["0:00", "1:02", "1:00:00", "25:00:00"]
    assert (rate_of(0), rate_of(2_000_000), rate_of(2_345_678)) == ("0 b/s", "2 Mb/s", "2.35 Mb/s")


def test_what_is_not_known_of_a_file_yet_is_not_told_as_nothing():
    text = shown("recordings", {"recordings": [plain(file(state="open"))]})

    assert "1:02" not in text
    assert "MB" not in text


def test_codecs_are_told_as_people_call_them():
    entry = plain(stream_info("live/me"))
    for track, codec in zip(entry["tracks"], ("avc1", "mp4a"), strict=True):
        track["codec"] = codec

    assert "H.264 1280x720, AAC 48 kHz" in shown("stream", entry)


def test_each_url_of_a_stream_has_a_line_of_its_own():
    urls = [{"type": 1, "play_url": "http://x/live/me.m3u8"}, {"type": 5, "play_url": "rtmp://x/live/me"}]

    lines = [line.split() for line in shown("stream", plain(stream_info("live/me")) | {"urls": urls}).splitlines()]

    assert lines[-2:] == [["URLS", "HLS", "http://x/live/me.m3u8"], ["RTMP", "rtmp://x/live/me"]]
    assert shown("stream", plain(stream_info("live/me")) | {"urls": []}).splitlines()[-1].split() == ["URLS", "-"]
