"""Stream codes, and which stream a request means."""

from __future__ import annotations

import pytest

from rtmpd.config import RoomsConfig
from rtmpd.control.models import Room
from rtmpd.control.rooms import Named, absent, resolve, split, stream_code


def test_a_stream_code_is_the_hosted_services():
    code = stream_code("8888", "293710", "14y2l2c", "main")

    assert code == "8888_81265058829fd2e50c8ec2ac78d55127"


def test_camera_and_screen_of_a_user_are_two_streams():
    assert stream_code("1", "r", "u", "main") != stream_code("1", "r", "u", "aux")


@pytest.mark.parametrize("user", ["Zoë", "用户", "\ud800"])
def test_any_text_names_a_room_or_a_user(user):
    assert stream_code("1", "r", user, "main").startswith("1_")


def test_a_room_is_resolved_by_the_configuration():
    rooms = RoomsConfig(bizid="42", app="rooms")

    named = resolve(Room(room="1", user="2", kind="aux"), rooms)

    assert named == Named("rooms", stream_code("42", "1", "2", "aux"))
    assert named.path == f"rooms/{named.name}"


@pytest.mark.parametrize(("path", "named"), [("live/me", ("live", "me")), ("a/b/c", ("a/b", "c"))])
def test_a_path_is_split_at_its_last_slash(path, named):
    assert resolve(path, RoomsConfig()) == split(path) == named


@pytest.mark.parametrize(
    ("app", "told"),
    [("live", "nobody publishes live/me"), ("life", "there is no application 'life' on this server")],
)
def test_a_stream_that_is_not_there_is_told_apart_from_an_application_that_is_not(app, told):
    error = absent(Named(app, "me"), {"live"})

    assert (error.kind, error.detail) == ("unknown", told)
