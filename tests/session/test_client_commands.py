"""What servers say, in all the ways in which they say it."""

from __future__ import annotations

import pytest

from rtmpd.session import requests
from rtmpd.session.client_commands import MAY_RETRY
from rtmpd.session.events import (
    AuthenticationNeeded,
    Capabilities,
    Connected,
    Ended,
    Playing,
    Publishing,
    ReconnectRequested,
    RefusedByServer,
    Terminated,
)
from rtmpd.session.replies import connect_result, error, on_status, result
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire import messages
from rtmpd.wire.amf import EcmaArray
from rtmpd.wire.commands import STATUS
from rtmpd.wire.messages import STREAM_EOF, Message, encode_user_control
from tests.helpers.client_transcript import CONNECT_RESULT, CREATED, STARTS, URL, ClientTranscript
from tests.helpers.transcript import command

REJECT = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : "
NEED = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=bob&salt=S&challenge=C"


def status(code, level="status", msid=1, **extra):
    return command("onStatus", 0, None, {"level": level, "code": code, "description": "why", **extra}, msid=msid)


def refused(code, description="why", *, may_retry=True):
    return RefusedByServer(code, description, may_retry), Terminated(f"refused: {code}: {description}")


def ended(code):
    return Ended(code), Terminated(f"ended by the server: {code}")


@pytest.mark.parametrize("code", MAY_RETRY)
@pytest.mark.parametrize("level", ["status", "warning", "error", ""])
def test_a_code_that_refuses_refuses_at_any_level_and_at_any_time(code, level):
    for bring in (
        ClientTranscript.shakes_hands,
        ClientTranscript.connects,
        ClientTranscript.asks,
        ClientTranscript.starts,
    ):
        with ClientTranscript("publish") as script:
            bring(script)
            script.forget()
            script.received(status(code, level))
            script.reported(*refused(code, may_retry=MAY_RETRY[code]))


def test_every_status_of_level_error_that_can_come_has_an_entry():
    errors = {code for code, each in STATUS.items() if each.level == "error"}

    assert errors - set(MAY_RETRY) == {"NetStream.Seek.Failed", "NetStream.Seek.InvalidTime"}


def test_an_unknown_code_of_level_error_refuses_and_others_mean_nothing():
    with ClientTranscript("play") as script:
        script.asks()
        script.received(status("NetStream.Play.InsufficientBW", "warning"), status("NetStream.Data.Start"), status(""))
        script.reported()
        script.received(status("NetStream.Publish.Unauthorized", "error"))
        script.reported(*refused("NetStream.Publish.Unauthorized"))


@pytest.mark.parametrize(
    ("role", "sign"),
    [
        ("publish", on_status(1, STARTS["publish"])),
        ("publish", on_status(0, STARTS["publish"])),
        ("publish", result(requests.START)),
        ("publish", command("onStatus", 0, None, EcmaArray(level="status", code=STARTS["publish"]))),
        ("play", on_status(1, STARTS["play"])),
        ("play", on_status(1, "NetStream.Play.PublishNotify")),
        ("play", result(requests.START)),
    ],
)
def test_every_sign_of_a_grant_is_understood(role, sign):
    with ClientTranscript(role) as script:
        script.asks()
        script.received(sign)
        script.reported(Publishing(1) if role == "publish" else Playing(1))


@pytest.mark.parametrize(("role", "sign"), [("publish", STARTS["play"]), ("play", STARTS["publish"])])
def test_the_grant_of_something_else_is_none(role, sign):
    with ClientTranscript(role) as script:
        script.asks()
        script.received(on_status(1, sign))


@pytest.mark.parametrize(
    ("role", "sign", "code"),
    [
        ("publish", on_status(1, "NetStream.Unpublish.Success"), "NetStream.Unpublish.Success"),
        ("publish", command("close", 0), "close"),
        ("play", on_status(1, "NetStream.Play.UnpublishNotify"), "NetStream.Play.UnpublishNotify"),
        ("play", on_status(1, "NetStream.Play.Stop"), "NetStream.Play.Stop"),
        ("play", on_status(1, "NetStream.Play.Complete"), "NetStream.Play.Complete"),
        ("play", encode_user_control(STREAM_EOF, 1), "StreamEOF"),
        ("play", command("onFCUnsubscribe", 0), "onFCUnsubscribe"),
        ("play", command("close", 0), "close"),
    ],
)
def test_every_sign_of_an_end_is_understood(role, sign, code):
    with ClientTranscript(role) as script:
        script.starts()
        script.received(sign)
        script.reported(*ended(code))


@pytest.mark.parametrize(
    "sign",
    [
        encode_user_control(STREAM_EOF, 1),
        on_status(1, "NetStream.Play.Stop"),
        command("onFCUnsubscribe", 0),
        command("onFCUnpublish", 0),
    ],
)
def test_the_end_of_a_play_means_nothing_to_a_publisher(sign):
    with ClientTranscript("publish") as script:
        script.starts()
        script.received(sign)


def test_connect_that_fails_ends_the_session_with_or_without_a_description():
    for answer, expected in (
        (error(1, "NetConnection.Connect.InvalidApp", "no app"), ("NetConnection.Connect.InvalidApp", "no app")),
        (command("_error", 1, None, {"code": "Odd"}), ("Odd", "the server gives no reason")),
        (command("_error", 1, None), ("NetConnection.Connect.Rejected", "the server gives no reason")),
        (command("_result", 1, None, {"level": "error", "code": "Odd", "description": "x"}), ("Odd", "x")),
        (result(1, {"code": "NetConnection.Connect.Rejected"}), ("NetConnection.Connect.Rejected", None)),
    ):
        script = ClientTranscript("publish")
        script.shakes_hands()
        script.received(answer)
        refusal, _ = script._told
        assert refusal.code == expected[0]
        assert refusal.description == (expected[1] or "the server gives no reason")
        assert refusal.may_retry is (expected[0] == "Odd")


@pytest.mark.parametrize("transaction_id", [requests.CREATE_STREAM, requests.START])
def test_a_request_that_fails_ends_the_session(transaction_id):
    with ClientTranscript("publish") as script:
        script.asks()
        script.received(error(transaction_id, "NetConnection.Call.Failed", "no"))
        script.reported(*refused("NetConnection.Call.Failed", "no"))


def test_the_calls_around_publish_may_fail_and_odd_answers_mean_nothing():
    with ClientTranscript("publish") as script:
        script.asks()
        for transaction_id in (0, requests.RELEASE_STREAM, requests.FC_PUBLISH, 99, float("nan"), requests.CONNECT):
            script.received(error(transaction_id, "NetConnection.Call.Failed", "no"), result(transaction_id, None))
        script.received(command("onFCPublish", 0), command("onBWDone", 3, None, 8192), command("onFCSubscribe", 0))


@pytest.mark.parametrize("answer", [0, -1, 1.5, 2.0**32, float("nan"), "1", None, True])
def test_a_stream_number_that_is_none_ends_the_session(answer):
    with ClientTranscript("publish") as script:
        script.connects()
        script.received(result(requests.CREATE_STREAM, answer))
        (terminated,), script._told = script._told, []
        assert terminated.reason.startswith("message: createStream was answered with ")


def test_answers_that_come_too_early_are_not_taken():
    with ClientTranscript("publish") as script:
        script.shakes_hands()
        script.forget()
        script.received(CREATED, on_status(1, STARTS["publish"]), result(requests.START))
        script.sent()
        script.reported()


def test_the_server_says_who_it_is_and_what_it_can():
    with ClientTranscript("publish") as script:
        script.shakes_hands()
        script.forget()
        script.received(connect_result(1, {"capsEx": 15.0, "fourCcList": []}))
        (connected,), script._told = script._told, []
        assert connected.flash_version == "FMS/3,0,1,123"
        assert connected.capabilities.flags == 15
        assert "hvc1" in connected.capabilities.four_ccs
        script.forget()


def test_questions_are_answered_and_unknown_ones_fail():
    with ClientTranscript("publish") as script:
        script.starts()
        script.received(command("_onbwcheck", 8, None, "x"), command("setPlaylist", 9), command("onSomething", 0))
        script.sent("_result 8 0", "_error 9 error NetConnection.Call.Failed")


def test_an_answer_whose_rest_is_broken_is_still_an_answer():
    with ClientTranscript("publish") as script:
        script.shakes_hands()
        script.forget()
        script.received(CONNECT_RESULT._replace(body=CONNECT_RESULT.body[:-20]))
        script.reported(Connected("live", "rtmp://example.net/live", "", Capabilities()))
        script.sent("releaseStream 2 key?k=v", "FCPublish 3 key?k=v", "createStream 4")


def test_commands_that_cannot_be_read_at_all_are_counted():
    nameless = Message(messages.COMMAND_AMF0, 0, 0, b"\x02\0\x01x", 3)
    with ClientTranscript("publish") as script:
        script.starts()
        script.received(*[nameless] * 8)
        script.reported()
        script.received(nameless)
        (terminated,), script._told = script._told, []
        assert terminated.reason.startswith("order: more than 8 faulty commands")


def test_a_server_that_floods_us_with_commands_is_left():
    with ClientTranscript("publish") as script:
        script.starts()
        script.received(*[command("onBWDone", 0)] * 51)
        script.reported(Terminated("limit: more than 50 commands a second"))


@pytest.mark.parametrize("query", ["", "authmod=adobe&user=bob"])
def test_a_server_that_asks_for_user_and_password_is_answered_by_the_next_session(query):
    with ClientTranscript("publish", auth_query=query) as script:
        script.shakes_hands()
        script.forget()
        script.received(error(1, "NetConnection.Connect.Rejected", NEED if query else REJECT))
        asked, terminated = script._told
        script._told = []
        assert isinstance(asked, AuthenticationNeeded)
        assert asked.url_query.startswith("authmod=adobe&user=bob")
        assert ("&challenge=00010203&response=" in asked.url_query) is bool(query)
        assert terminated == Terminated("the server asks for user and password")
        assert asked.url_query not in repr(asked)


def test_a_server_that_asks_again_refuses_and_so_does_one_whose_user_we_do_not_know():
    for url, query, question in (
        (URL, "authmod=adobe&user=bob&challenge=1&response=2", NEED),
        (URL, "authmod=adobe&user=bob", REJECT),
        (RtmpUrl.parse("rtmp://h/live/key"), "", REJECT),
    ):
        with ClientTranscript("publish", url=url, auth_query=query) as script:
            script.shakes_hands()
            script.forget()
            script.received(error(1, "NetConnection.Connect.Rejected", question))
            script.reported(*refused("NetConnection.Connect.Rejected", question, may_retry=False))


@pytest.mark.parametrize(
    ("tc_url", "target"),
    [
        (None, "rtmp://bob:secret@example.net/live/key?k=v"),
        ("rtmp://b.example.net:1936/x/y", "rtmp://bob:secret@b.example.net:1936/x/y/key?k=v"),
        ("/other", "rtmp://bob:secret@example.net/other/key?k=v"),
    ],
)
def test_a_server_may_send_us_elsewhere_and_goes_on_until_we_leave(tc_url, target):
    with ClientTranscript("publish") as script:
        script.starts()
        extra = {} if tc_url is None else {"tcUrl": tc_url}
        script.received(status("NetConnection.Connect.ReconnectRequest", msid=0, **extra))
        script.reported(ReconnectRequested(RtmpUrl.parse(target), "why"))
        script.received(command("onBWDone", 0))
        script.finishes()
        script.sent("FCUnpublish 6 key?k=v", "deleteStream 7 1")
        script.reported(Terminated("finished"))


def test_being_sent_nowhere_is_a_fault_of_the_server():
    with ClientTranscript("publish") as script:
        script.starts()
        script.received(*[status("NetConnection.Connect.ReconnectRequest", tcUrl="http://h/a")] * 9)
        reason = "a reconnect request to a URL that is no rtmp:// or rtmps:// URL"
        script.reported(Terminated(f"order: more than 8 faulty commands; the last: {reason}"))
