"""Names of recorded files: inside the data directory, and one name for one stream."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtmpd.workers.naming import (
    DEFAULT_TEMPLATE,
    FILE_NAME_CHARACTERS,
    NAMED,
    FileName,
    PathTemplate,
    check_file_name,
    numbered,
)

AT = datetime(2026, 11, 23, 10, 15, 2, tzinfo=UTC)
TEMPLATES = [
    DEFAULT_TEMPLATE,
    "{app}/{stream}.{format}",
    "{app}@{stream}-{date}.{format}",
    "{date}/{stream}+{app}-{sequence}.{format}",
    "all/{id}/{app}/{time}_{stream}.{format}",
]
HOSTILE = [".", "..", "/", "a/b", "../../etc/passwd", "\0", "a\0b", "NUL", "con.flv", "LPT1", "", " ", "a.", "\u200b"]
HOSTILE += ["~", "%", "%2E", "é", "e\u0301", "🎥", "x" * 5000, "🎥" * 400, "\ud800", "-", "a-b", "\\", "C:", "aux"]

any_name = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters()), st.text("ab-._~%/", max_size=6))


def render(template, app, stream, recording_id="k3f9", sequence=1, file_format="flv"):
    return PathTemplate(template).render(FileName(app, stream, recording_id, AT, sequence, file_format))


def test_the_default_template_gives_a_name_that_people_can_read():
    assert render(DEFAULT_TEMPLATE, "live", "demo") == PurePosixPath("live/demo/2026-11-23-101502-k3f9-001.flv")


@given(st.sampled_from(TEMPLATES), any_name, any_name, any_name)
@example(DEFAULT_TEMPLATE, "..", "..", "..")
@example("{app}/{stream}.{format}", "NUL", "con", "x")
def test_a_name_stays_inside_the_data_directory_whatever_a_stream_is_called(template, app, stream, recording_id):
    path = render(template, app, stream, recording_id)

    root = "/data/recordings"
    assert os.path.normpath(f"{root}/{path}") == f"{root}/{path}"
    assert len(path.parts) == template.count("/") + 1
    for segment in path.parts:
        assert segment.isascii()
        assert segment.isprintable()
        assert len(segment) + len("~999") <= 255
        assert segment[0] != "."
        assert segment[-1] not in ". "
        assert segment.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}


@given(st.sampled_from(TEMPLATES), st.tuples(any_name, any_name), st.tuples(any_name, any_name), st.integers(1, 2000))
@example("{app}@{stream}-{date}.{format}", ("a", "b"), ("a@b", ""), 1)
@example(DEFAULT_TEMPLATE, ("a", ""), ("a", "~"), 1)
def test_two_different_streams_never_have_one_name(template, one, other, sequence):
    if one != other:
        assert render(template, *one) != render(template, *other, sequence=sequence)


@pytest.mark.parametrize("name", ["x" * 5000, "🎥" * 400])
def test_long_names_that_differ_at_their_end_stay_different_and_fit(name):
    first, second = (render(DEFAULT_TEMPLATE, "live", name + end).parts[1] for end in "ab")

    assert first != second
    assert first[:60] == second[:60]
    assert len(first) <= 255


def test_the_longest_name_can_really_be_created(tmp_path):
    path = render("{app}@{stream}-{date}-{time}-{sequence}.{format}", "🎥" * 99, "." * 900)

    (tmp_path / numbered(path, 999)).touch(exist_ok=False)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("", "empty segments"),
        ("/{app}/{stream}.{format}", "empty segments"),
        ("{app}//{stream}.{format}", "empty segments"),
        ("{app}/{stream}/", "empty segments"),
        ("{app}/../{stream}.{format}", "begins with"),
        ("{app}/./{stream}.{format}", "begins with"),
        ("{app}/.{stream}.{format}", "begins with"),
        ("{app}/{stream}.{format}.", "ends with"),
        ("{app}\\{stream}.{format}", "character"),
        ("{app}/\0{stream}.{format}", "character"),
        ("{app}/{stream}~{date}.{format}", "character"),
        ("{app}/{stream}%2F{date}.{format}", "character"),
        ("{app}/{user}.{format}", "not a field"),
        ("{app}/{stream}/{name}.{format}", "not a field"),
        ("{app}/{stream!r}.{format}", "not a field"),
        ("{app}/{stream:>900}.{format}", "not a field"),
        ("{app}/{}.{format}", "not a field"),
        ("{app}/{stream.format}", "not a field"),
        ("{app}/{stream.{format}", "{stream.{format}"),
        ("{stream}.{format}", "{app} is missing"),
        ("{app}.{format}", "{stream} is missing"),
        ("{app}/{stream}", "{format} is missing"),
        ("{app}/{stream}{date}.{format}", "separator"),
        ("{app}/{stream}x{sequence}.{format}", "separator"),
        ("{app}-{stream}.{format}", "between them"),
        ("{app}-{date}-{stream}.{format}", "between them"),
        ("{app}/{app}/{stream}.{format}", "twice"),
        ("{app}/" + "x" * 240 + "-{stream}.{format}", "too little room"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_with_the_reason(template, reason):
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        PathTemplate(template)

    assert "\n" not in str(caught.value)


def test_a_name_that_is_taken_gets_a_number_before_its_extension():
    path = PurePosixPath("a/demo.flv")

    assert [str(numbered(path, number)) for number in (1, 2, 3)] == ["a/demo.flv", "a/demo~2.flv", "a/demo~3.flv"]


def named(name, stream="s", recording_id="k3f9"):
    return NAMED.render(FileName("live", stream, recording_id, AT, 1, "flv", name))


@given(any_name, any_name, any_name)
def test_what_a_request_calls_its_files_stays_one_part_of_their_path(stream, name, recording_id):
    path = named(name, stream, recording_id)

    assert len(path.parts) == 3
    assert os.path.normpath(f"/data/{path}") == f"/data/{path}"
    assert len(path.name) <= 255


@given(any_name, any_name)
@example("a-b", "a")
@example("a", "a-b")
def test_two_recordings_of_one_name_and_two_names_of_one_recording_are_apart(one, other):
    assert named("x", recording_id="a") != named("x", recording_id="b")
    if one != other:
        assert named(one) != named(other)


def test_people_can_read_what_they_called_their_files():
    assert str(named("Lesson 7, part b")) == "live/s/Lesson%207%2C%20part%20b-k3f9-001.flv"


@pytest.mark.parametrize(
    "name", ["a", "Lesson 7", "x" * FILE_NAME_CHARACTERS, "课程", "a..b", "\u0646\u0627\u0645", "🎥", "%2F"]
)
def test_a_safe_file_name_is_taken(name):
    check_file_name(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "1 to 200 characters; this one has 0"),
        ("x" * (FILE_NAME_CHARACTERS + 1), "this one has 201"),
        ("../up", "'/'"),
        ("a/b", "'/'"),
        ("a\\b", "another folder"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("a\x7f", "control characters"),
        ("a\u2028b", "control characters"),
        ("\udc80", "control characters"),
        ("gpj.\u202ekoob", "control characters"),
        (".hidden", "dot or a space"),
        ("..", "dot or a space"),
        ("a.", "dot or a space"),
        (" a", "dot or a space"),
        ("a ", "dot or a space"),
        ("con", "device"),
        ("NUL.flv", "device"),
        ("Com1 .x", "device"),
    ],
)
def test_an_unsafe_file_name_is_refused_with_the_reason_in_one_line(name, reason):
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        check_file_name(name)

    assert str(caught.value).isprintable() or "\u0646" in name
