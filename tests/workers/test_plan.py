"""How a stream is recorded: from the configuration, to what a worker is told and what it may cost."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest

from muxers.formats import FORMATS
from rtmpd.config import AppConfig
from rtmpd.workers.naming import FileName, PathTemplate
from rtmpd.workers.plan import CONTINUED, INDEX_BYTES_PER_HOUR, UNCUT_HOURS, RecordingPlan, suffix
from rtmpd.workers.protocol import Grant, Output
from rtmpd.workers.request import RecordingRequest
from tests.helpers.store import recording_row

GRANTS = [Grant("f", "/f.mp4"), Grant("g", "/g.mp4")]


def test_a_plan_says_what_its_application_is_configured_to():
    app = AppConfig(
        record_formats=("mp4", "hls"),
        record_path="{app}/{stream}.{format}",
        record_cut_s=1.5,
        record_cut_bytes=1000,
        record_faststart=True,
        hls_segment_s=0.5,
        hls_segment_type="ts",
        resume_s=7,
    )
    plan = RecordingPlan.of(app)

    assert plan.output("mp4", GRANTS) == Output("mp4", tuple(GRANTS), 1500, 1000, 500, "ts")
    assert (plan.formats, plan.faststart, plan.resume_s, plan.origin) == (("mp4", "hls"), True, 7, "auto")
    name = FileName("live", "s", "r", datetime.fromtimestamp(0, UTC), 1, "mp4")
    assert str(plan.template.render(name)) == "live/s.mp4"


def test_a_plan_does_not_change_while_it_is_carried_out():
    with pytest.raises(FrozenInstanceError):
        RecordingPlan.of(AppConfig()).formats = ()


def memory_bytes(*formats, cut_s=1800):
    return RecordingPlan.of(AppConfig(record_formats=formats, record_cut_s=cut_s)).memory_bytes


def test_open_files_that_keep_an_index_cost_memory_by_their_length():
    assert memory_bytes("flv", "hls", "mp3") == 0
    assert memory_bytes("mp4", cut_s=3600) == INDEX_BYTES_PER_HOUR
    assert memory_bytes("mp4", "m4a", "flv", cut_s=1800) == INDEX_BYTES_PER_HOUR
    assert memory_bytes("mp4", cut_s=0) == INDEX_BYTES_PER_HOUR * UNCUT_HOURS


@pytest.mark.parametrize(("file_format", "moves"), [("mp4", True), ("m4a", True), ("flv", False), ("hls", False)])
def test_only_files_with_an_index_at_their_end_are_rewritten_and_only_when_asked(file_format, moves):
    template = PathTemplate("{app}/{stream}.{format}")

    assert RecordingPlan((file_format,), template, faststart=True).moves_index(file_format) is moves
    assert not RecordingPlan((file_format,), template).moves_index(file_format)


def test_files_are_named_by_their_kind_and_hls_by_its_playlist():
    assert {name: suffix(name) for name in FORMATS} == {
        "flv": "flv",
        "mp4": "mp4",
        "m4a": "m4a",
        "mp3": "mp3",
        "hls": "m3u8",
        "ts": "ts",
    }
    assert set(FORMATS) > CONTINUED


APP = AppConfig(record_formats=("flv", "hls"), record_path="{app}/{stream}.{format}", record_cut_s=1.5, resume_s=7)
WISH = {"task_id": "t", "file_name": "n", "record_type": "audio", "formats": ("m4a",), "tags": ("a",)}
WISH |= {"push": True, "record_id": 7}


def requested(**request):
    return RecordingPlan.requested(APP, RecordingRequest(**{"task_id": "t", "formats": ("flv",)} | request))


def test_the_formats_of_one_stream_may_be_others_than_those_of_its_application():
    assert RecordingPlan.of(APP).formats == ("flv", "hls")
    assert RecordingPlan.of(APP, ("mp4",)).formats == ("mp4",)


def test_a_request_is_carried_out_as_it_says_and_else_as_its_application_is_configured():
    plan = requested(**WISH, max_duration_s=5.0)

    assert (plan.origin, plan.task_id, plan.tags, plan.push, plan.max_duration_s) == ("manual", "t", ("a",), True, 5.0)
    assert (plan.file_name, plan.record_type, plan.formats) == ("n", "audio", ("m4a",))
    assert (plan.cut_after_ms, plan.resume_s) == (1500, 7)


def test_files_are_named_by_the_request_or_else_by_the_application():
    name = FileName("live", "s", "r", datetime.fromtimestamp(0, UTC), 1, "flv", "n")

    assert str(requested().template.render(name)) == "live/s.flv"
    assert str(requested(file_name="n").template.render(name)) == "live/s/n-r-001.flv"


def test_a_request_goes_on_over_a_restart_as_it_was_made():
    row = recording_row("r", origin="manual", **WISH)

    assert RecordingPlan.again(APP, row) == requested(**WISH)


def test_sound_alone_is_written_without_pictures_whatever_the_format_carries():
    assert requested(record_type="audio").output("flv", GRANTS).sound_only
    assert not requested().output("m4a", GRANTS).sound_only


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        ({"task_id": "u"}, True),
        ({"tags": ("b",)}, True),
        ({"max_duration_s": 9.0}, True),
        ({"formats": ("hls", "flv")}, True),
        ({"formats": ("flv",)}, False),
        ({"file_name": "m"}, False),
        ({"record_type": "audio"}, False),
        ({"push": True}, False),
    ],
)
def test_two_requests_are_one_wish_if_they_come_to_the_same_files(changed, is_same):
    wish = {"formats": ("flv", "hls"), "file_name": "n"}

    assert requested(**wish).is_same_wish(requested(**wish | changed)) is is_same
    assert not requested().is_same_wish(RecordingPlan.of(APP, ("flv",)))
