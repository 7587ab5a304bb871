from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import warnings

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from rtmpd import logs

HOSTILE = "live\n12:00:00 [error] forged \x1b[2J\r\x07\u202e\x9b31m"


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Broken(io.StringIO):
    def write(self, _text):
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def put_back(monkeypatch):
    monkeypatch.delenv(logs.LEVEL_VARIABLE, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    root = logging.getLogger()
    handlers, level, show = list(root.handlers), root.level, warnings.showwarning
    yield
    logging.captureWarnings(capture=False)
    warnings.showwarning = show
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_a_program_gets_one_json_object_a_line():
    stream = io.StringIO()
    logs.configure(stream=stream)

    logs.get_logger(role="publish").info(
        "closed", reason="peer_eof", bytes_in=5, address=("::1", 1), error=OSError("x")
    )

    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "closed",
        "level": "info",
        "role": "publish",
        "reason": "peer_eof",
        "bytes_in": 5,
        "address": ["::1", 1],
        "error": "x",
    }


def test_a_person_gets_a_readable_line():
    stream = Terminal()
    logs.configure(stream=stream)

    logs.get_logger(role="publish").info("closed", reason="peer eof", bytes_in=5)

    time, rest = stream.getvalue().split(" ", 1)
    assert time.count(":") == 2
    assert rest.split() == ["[info", "]", "closed", "role=publish", "reason='peer", "eof'", "bytes_in=5"]


@pytest.mark.parametrize("stream_class", [Terminal, io.StringIO])
def test_what_a_client_sent_can_neither_break_a_line_nor_reach_the_terminal(stream_class):
    stream = stream_class()
    logs.configure(stream=stream)

    logs.get_logger(app=HOSTILE).info(HOSTILE, stream=HOSTILE, raw=HOSTILE.encode(), items=[HOSTILE])

    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isprintable()


@pytest.mark.parametrize("stream_class", [Terminal, io.StringIO])
def test_a_traceback_is_whole_and_cannot_forge_a_line(stream_class):
    stream = stream_class()
    logs.configure(stream=stream)

    try:
        int(HOSTILE)
    except ValueError:
        logs.get_logger().exception("internal error")

    first, *rest = stream.getvalue().splitlines()
    assert "internal error" in first
    assert "test_logs.py" in stream.getvalue()
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


@given(st.text())
def test_escaping_leaves_what_is_printable_and_nothing_else(text):
    escaped = logs.escaped(text)

    assert escaped.isprintable()
    assert escaped == text or not text.isprintable()


def test_lines_below_the_level_are_not_written():
    stream = io.StringIO()
    logs.configure("warning", stream)

    logs.get_logger().info("no")
    logs.get_logger().warning("yes")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes"]


def test_a_child_process_has_the_level_of_its_parent():
    logs.configure("error", io.StringIO())
    stream = io.StringIO()

    logs.configure(stream=stream)
    logs.get_logger().warning("no")

    assert os.environ[logs.LEVEL_VARIABLE] == "error"
    assert stream.getvalue() == ""


def test_a_level_in_the_environment_that_does_not_exist_is_not_used(monkeypatch):
    monkeypatch.setenv(logs.LEVEL_VARIABLE, "loud")
    stream = io.StringIO()

    logs.configure(stream=stream)
    logs.get_logger().info("yes")

    assert "yes" in stream.getvalue()


def test_the_standard_librarys_records_and_warnings_are_led_the_same_way():
    stream = io.StringIO()
    logs.configure(stream=stream)

    logging.getLogger("asyncio").error("Task %s", HOSTILE, exc_info=ValueError("why"))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old habit", DeprecationWarning, stacklevel=1)

    record, warning = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (f"Task {HOSTILE}", "asyncio", "error") == (record["event"], record["source"], record["level"])
    assert "ValueError: why" in record["exception"]
    assert "old habit" in warning["event"]


def test_a_reader_that_has_gone_raises_nothing():
    closed = io.StringIO()
    closed.close()

    for stream in (Broken(), closed):
        logs._Lines(stream).msg("closed")


def test_neither_rich_nor_av_is_loaded_by_logging():
    program = "import sys, rtmpd.logs as l; l.configure(); l.get_logger().info('x'); sys.exit('rich' in sys.modules);"

    assert subprocess.run([sys.executable, "-c", program], check=False, stderr=subprocess.PIPE).returncode == 0


def test_rich_can_still_be_imported_afterwards():
    program = "import rtmpd.logs, rich"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_closed_standard_error_is_no_reason_not_to_run():
    program = "import rtmpd.logs as logs; logs.configure(); logs.get_logger().info('x'); print('fine')"
    command = ["/bin/sh", "-c", f'exec "{sys.executable}" -c "{program}" 2>&-']
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout == "fine\n"


@pytest.mark.parametrize("level", logs.LEVELS)
def test_who_listens_hears_info_and_above_whatever_is_written(level):
    stream, heard = io.StringIO(), []
    logs.configure(level, stream)
    stop = logs.listen(heard.append)

    for method in logs.LEVELS:
        getattr(logs.get_logger(role="play"), method)(method, bytes_in=5)
    stop()
    stop()
    logs.get_logger().error("after")

    assert [line["event"] for line in heard] == ["info", "warning", "error"]
    assert heard[0] == {"event": "info", "level": "info", "role": "play", "bytes_in": 5}
    written = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert written == [*logs.LEVELS[logs.LEVELS.index(level) :], "after"]


def test_each_of_two_listeners_hears_and_what_they_hear_is_a_copy():
    stream, first, second = io.StringIO(), [], []
    logs.configure(stream=stream)
    stops = [logs.listen(lambda line: first.append(line.pop("event"))), logs.listen(second.append)]

    logs.get_logger().info("x")
    stops[0]()
    logs.get_logger().info("y")
    stops[1]()

    assert (first, [line["event"] for line in second]) == (["x"], ["x", "y"])
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["x", "y"]


def test_lines_of_the_standard_library_are_heard_as_well():
    heard = []
    logs.configure("error", io.StringIO())
    stop = logs.listen(heard.append)

    logging.getLogger("asyncio").warning("slow")
    stop()

    assert [(line["event"], line["source"]) for line in heard] == [("slow", "asyncio")]
