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
