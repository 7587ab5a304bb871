"""Where a stream is to be relayed to, and what its name can do to a URL: nothing."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rtmpd.config import STATIC_TARGETS
from rtmpd.config_file import validate
from rtmpd.control.relay_targets import RelayTarget, changes, faults, filled, wanted_targets
from rtmpd.control.rooms import Named
from rtmpd.errors import ConfigError, Refused
from rtmpd.session.paths import resolve
from rtmpd.session.urls import RtmpUrl
from rtmpd.store.pushes import TargetRow

TEMPLATES = [
    "rtmp://far.example/{app}/{stream}",
    "rtmp://far.example/app/{stream}",
    "rtmp://h/app/key?name={stream}&k=v",
]


@pytest.mark.parametrize(
    ("app", "name", "url"),
    [
        ("live", "s", "rtmp://far.example/live/s"),
        ("events/2026", "room-1_a.b~", "rtmp://far.example/events/2026/room-1_a.b~"),
        ("live", "直播", "rtmp://far.example/live/直播"),
        ("live", "a b", "rtmp://far.example/live/a%20b"),
        ("live", "a%20b", "rtmp://far.example/live/a%2520b"),
        ("a b", "x&k=1#f", "rtmp://far.example/a%20b/x%26k%3D1%23f"),
        ("live", "{app}", "rtmp://far.example/live/%7Bapp%7D"),
        ("live", "\ud800", "rtmp://far.example/live/%ED%A0%80"),
    ],
)
def test_a_name_stays_as_it_is_but_for_what_would_change_the_url(app, name, url):
    assert filled(TEMPLATES[0], Named(app, name)) == url


def test_a_url_without_a_placeholder_stays_as_it_is():
    assert filled("rtmp://h/app/key?k=v", Named("live", "s")) == "rtmp://h/app/key?k=v"


NAMES = st.text(st.sampled_from("aB3%/&=#+@:{}~ é直\N{GRINNING FACE}"), min_size=1, max_size=12)


@given(NAMES, NAMES, st.sampled_from(TEMPLATES))
def test_no_name_that_can_be_published_chooses_another_place(app, name, template):
    try:
        stream = resolve(app, name)
    except Refused:
        assume(False)
    url = RtmpUrl.parse(filled(template, Named(stream.app, stream.stream)))
    plain = RtmpUrl.parse(filled(template, Named("x", "y")))

    assert (url.host, url.port, url.user, url.secure) == (plain.host, plain.port, plain.user, plain.secure)
    assert url.app.count("/") == plain.app.count("/") + ("{app}" in template) * stream.app.count("/")
    assert (url.key.count("&"), url.key.count("?")) == (plain.key.count("&"), plain.key.count("?"))


@given(st.text(max_size=10), st.text(max_size=10))
def test_two_names_never_meet_in_one_url(one, other):
    assume(one != other)

    assert filled(TEMPLATES[1], Named("live", one)) != filled(TEMPLATES[1], Named("live", other))


def row(target_id, url):
    return TargetRow(target_id, "c", url, 1.0)


def test_a_place_counts_once_and_the_push_knows_it_better():
    wanted = wanted_targets(
        Named("live", "s"),
        [row("t1", "rtmp://h/a/s"), row("t2", "rtmp://h/a/2")],
        ["rtmp://h/a/{stream}", "rtmp://h/a/3"],
    )

    assert {url: target.target_id for url, target in wanted.items()} == {
        "rtmp://h/a/s": "t1",
        "rtmp://h/a/3": None,
        "rtmp://h/a/2": "t2",
    }


def test_a_target_does_not_show_its_key_when_printed():
    assert "SECRET" not in repr(RelayTarget("rtmp://h/a/SECRET", None))


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_changes_lead_from_what_runs_to_what_is_wanted(wanted, running):
    begin, end = changes({url: RelayTarget(url, None) for url in wanted}, running)

    assert (running - set(end)) | {target.url for target in begin} == wanted
    assert set(end) <= running
    assert not {target.url for target in begin} & running


def found(*templates):
    return list(faults(validate({"apps": {"live": {"push_targets": list(templates)}}})))


@pytest.mark.parametrize("template", [*TEMPLATES, "rtmps://me:pass@[::1]:1936/a/b/key?k={stream}"])
def test_a_target_that_can_be_relayed_to_has_no_fault(template):
    assert found(template) == []


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("rtmp://h/SECRET", "names no stream"),
        ("rtmp://h/app/{name}-SECRET", "has braces around something else than app and stream"),
        ("rtmp://h/app/{SECRET", "has braces around something else than app and stream"),
        ("rtmp://{stream}.h/app/SECRET", "lets a stream's name choose the host"),
        ("rtmp://h:0/app/SECRET", "has a port that is not 1 to 65535"),
    ],
)
def test_a_fault_is_told_with_its_place_and_without_the_key(template, reason):
    ((location, text),) = found("rtmp://h/app/ok", template)

    assert location == ("apps", "live", "push_targets", 1)
    assert text.startswith("(not shown): an RTMP URL is expected: it ")
    assert reason in text
    assert "SECRET" not in text


@pytest.mark.parametrize(
    "targets",
    ["http://h/a/SECRET", ["rtmp://h/a/b", "SECRET"], [f"rtmp://h/a/SECRET{n}" for n in range(STATIC_TARGETS + 1)]],
)
def test_other_urls_and_too_many_are_refused_without_being_shown(targets):
    with pytest.raises(ConfigError) as raised:
        validate({"apps": {"live": {"push_targets": targets}}})

    (fault,) = raised.value.faults
    assert "a URL that begins with rtmp:// or rtmps://, or a list of at most 16 of them is expected" in fault
    assert "SECRET" not in fault


def test_a_configuration_does_not_show_its_targets_when_printed():
    assert "SECRET" not in repr(validate({"apps": {"live": {"push_targets": "rtmp://h/a/SECRET"}}}))
