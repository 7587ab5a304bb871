"""Targets as they are shown: no key of theirs is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.control.targets import TargetState, masked, shown
from rtmpd.store.pushes import TargetRow


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("rtmp://a.example/live/SECRET", "rtmp://a.example/live/***"),
        ("rtmps://a.example:443/live2/SECRET", "rtmps://a.example:443/live2/***"),
        ("rtmp://a.example/app/inst/SECRET?k=SECRET", "rtmp://a.example/app/inst/***"),
        ("rtmp://a.example/SECRET", "rtmp://a.example/***"),
        ("rtmp://a.example/live/SECRET/", "rtmp://a.example/live/***"),
        ("rtmp://a.example/live/SECRET///?a/b", "rtmp://a.example/live/***"),
        ("rtmp://a.example/live?k=SECRET/SECRET", "rtmp://a.example/***"),
        ("rtmp://a.example/live/x#SECRET", "rtmp://a.example/live/***"),
        ("rtmp://me:SECRET@a.example/live/SECRET", "rtmp://***@a.example/live/***"),
        ("rtmp://[::1]:1935/live/SECRET", "rtmp://[::1]:1935/live/***"),
        ("rtmp://me:SEC?RET#@a.example/live/SECRET", "rtmp://***@a.example/live/***"),
        ("rtmp://a.example?k=SECRET/SECRET", "rtmp://a.example/***"),
        ("SECRET", "***"),
    ],
)
def test_the_last_segment_the_query_and_the_password_are_hidden(url, seen):
    assert masked(url) == seen


@given(
    st.from_regex(r"\Artmps?://[A-Za-z0-9._~\[\]:%-]+/[!-~]*/", fullmatch=True), st.sampled_from(["", "/", "?a", "#a"])
)
def test_whatever_stands_before_it_a_key_is_hidden(folder, tail):
    assert "SECRETKEY" not in masked(f"{folder}SECRETKEY{tail}")


class States:
    def state_of(self, target):
        return TargetState("backing_off", f"{target.target_id}: Connection refused")


def test_a_target_is_shown_with_what_became_of_it():
    target = shown(TargetRow("t", "c", "rtmp://a/b/SECRET", 1.0), States())

    assert target.model_dump() == {
        "target_id": "t",
        "url": "rtmp://a/b/***",
        "state": "backing_off",
        "reason": "t: Connection refused",
    }
