"""What can be done in the console: each button up to the operation that it asks for."""

from __future__ import annotations

import pytest

from rtmpd.errors import NotPossible
from tests.helpers.console import EVIL
from tests.helpers.operations import CHANNEL, CLIENT, EVENT, FILE, PUBLISHED, TASK
from tests.helpers.processes import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.peer("chromium")]


def test_escape_closes_a_dialog_and_gives_the_focus_back(page):
    shown = page("streams/live/me")
    shown.wait_for_text("Disconnect", "#main")
    shown.evaluate("[...document.querySelectorAll('button')].find((each) => each.innerText === 'Disconnect').focus()")
    shown.key("Enter")
    shown.wait_for("document.querySelector('dialog[open]')")

    shown.key("Escape")

    shown.wait_for("!document.querySelector('dialog')")
    assert shown.focused() == "Disconnect"


def test_a_publisher_is_disconnected_after_it_was_asked(page, operations):
    shown = page("streams/live/me")
    shown.click("Disconnect", "#main")
    shown.wait_for_text("Disconnect the publisher?", "dialog")
    assert not operations.asked_for("disconnect_publisher")

    shown.click("Disconnect", "dialog")

    wait_until(lambda: operations.asked_for("disconnect_publisher"), "the request")
    shown.wait_for("!document.querySelector('dialog')")
    assert operations.asked_for("disconnect_publisher") == [[PUBLISHED]]


def test_a_refusal_is_told_in_its_own_words_where_it_was_asked(page, operations):
    shown = page("clients")
    shown.click(f"Disconnect client {CLIENT}", "#main")
    shown.wait_for("document.querySelector('dialog[open]')")
    operations.refuse = NotPossible("conflict", "it is <b>busy</b>")

    shown.click("Disconnect", "dialog")

    shown.wait_for_text("it is <b>busy</b>", "dialog .fault")
    operations.refuse = None
    shown.click("Disconnect", "dialog")
    shown.wait_for("!document.querySelector('dialog')")
    assert len(operations.asked_for("kick")) == 2


def test_a_recording_is_started_in_the_formats_that_are_chosen(page, operations):
    operations.recordings_of = 0
    shown = page("streams/live/me")
    shown.click("Record", "#main")
    shown.evaluate("document.querySelector('dialog [value=mp4]').click()")
    shown.type("dialog [name=file]", "evening")

    shown.click("Start recording", "dialog")

    shown.wait_for_text("Recording live/me as MP4.", "#notices")
    ((request,),) = operations.asked_for("start_record")
    assert (request.stream, request.formats, request.file_name) == (PUBLISHED, ["mp4"], "evening")


def test_a_recording_is_stopped_from_its_stream(page, operations):
    operations.paths.remove("events/2026/me")
    shown = page("streams/live/me")

    shown.click("Stop", "#main .stream-side")

    shown.wait_for_text("Recorded: 1 file.", "#notices")
    assert operations.asked_for("stop_record") == [[TASK]]


def test_a_push_is_stopped_and_a_target_is_added(page, operations):
    shown = page("streams/live/me")
    shown.wait_for_text("rtmp://a.example/app/…", ".stream-side")
    shown.type("[name=url]", "rtmp://b.example/app/key")
    shown.click("Relay there", ".stream-side")
    wait_until(lambda: operations.asked_for("add_target"), "the target")
    shown.wait_for("document.querySelector('[name=url]').value === ''")
    shown.type("[name=url]", "http://b.example")
    shown.click("Relay there", ".stream-side")
    shown.wait_for_text("is expected", ".stream-side .fault")

    shown.click("Stop push", "#main")

    wait_until(lambda: operations.asked_for("stop_pushes"), "the stop")
    assert operations.asked_for("stop_pushes")[0][0].channel_ids == [CHANNEL]


def test_a_recording_is_deleted_after_it_was_asked(page, operations):
    shown = page("recordings")
    shown.click(f"Delete {FILE}{EVIL[5:]}.mp4", "#main")
    assert not operations.asked_for("delete_recording")
    assert shown.evaluate("document.activeElement.textContent") == "Cancel"

    shown.click("Delete", "dialog")

    shown.wait_for_text("Nothing recorded yet")
    assert operations.asked_for("delete_recording") == [[FILE]]


def test_recordings_are_turned_page_by_page_and_found_by_stream(page, operations):
    operations.pages = 30
    shown = page("recordings")
    shown.wait_for_text("1 to 25", ".pages")
    assert shown.evaluate("document.querySelectorAll('tbody tr').length") == 25

    shown.click("Older", ".pages")
    shown.wait_for_text("26 to 30", ".pages")
    assert shown.evaluate("document.querySelectorAll('tbody tr').length") == 5

    shown.type("#main [type=search]", "live/me")
    wait_until(lambda: operations.asked_for("recordings")[-1][0].stream == "live/me", "the question")
    shown.type("#main [type=search]", "live")
    wait_until(lambda: operations.asked_for("recordings")[-1][0].app == "live", "the question")
    shown.type("#main [type=search]", "/?/")
    shown.wait_for_text("expected", "#main .fault")


def test_a_callback_that_was_given_up_is_delivered_again(page, operations):
    shown = page("callbacks")
    shown.wait_for_text("given up", "tbody")
    shown.wait_for_text("1", "#nav .badge.bad")

    shown.click("Deliver now", "#main")

    wait_until(lambda: operations.asked_for("retry_callback"), "the request")
    assert operations.asked_for("retry_callback") == [[EVENT]]


def test_the_live_player_plays_in_a_card_and_one_at_a_time(page, media):
    shown = page()
    shown.click("Play live/me live", "#main")
    shown.wait_for("document.querySelector('video[src]')?.currentTime > 0.5")

    shown.click("Play events/2026/me live", "#main")
    shown.wait_for("document.querySelectorAll('video[src]').length === 1")
    shown.click("Play live/me live", "#main")
    shown.wait_for("document.querySelector('video[src]')?.currentTime > 0.5")
    shown.click("Unmute", "#main")
    assert shown.evaluate("document.querySelector('video[src]').muted") is False

    shown.click("Stop playing", "#main")
    shown.wait_for("!document.querySelector('video[src]')")


def test_the_server_is_described_drained_and_told_to_read_its_configuration(page, site, operations):
    shown = page()
    shown.click("Connected", "header")
    shown.wait_for_text("Version", "dialog")
    shown.wait_for_text("900 connections", "dialog")
    shown.click("Reload configuration", "dialog")
    shown.wait_for_text("after a restart only: rtmp", "#notices")

    shown.click("Connected", "header")
    shown.click("Drain…", "dialog")
    shown.type("dialog [name=timeout]", "5")
    shown.click("Drain", "dialog")
    shown.wait_for_text("Draining: 4 clients left.", "#notices")
    assert operations.asked_for("drain")[0][0].timeout == 5
