"""The answers to a server's question for user and password are those that ffmpeg 5.1 gave to the same questions."""

from __future__ import annotations

import pytest

from rtmpd.session.authentication import authenticate
from rtmpd.session.urls import RtmpUrl

ADOBE = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=bob&salt=7PLLwA==&challenge=JZtYAA=="
LLNW = "[ AccessManager.Reject ] : [ authmod=llnw ] : ?reason=needauth&user=bob&nonce=abc123"
URL = RtmpUrl.parse("rtmp://bob:se%63ret@h/live/s")
DEEP = RtmpUrl.parse("rtmp://bob:se%63ret@h/a/b/s")

# With the password se%63ret, which ffmpeg takes literally, too.
RECORDED = [
    (
        f"{ADOBE}&opaque=KmtYAA==",
        URL,
        "authmod=adobe&user=bob&challenge=e56022e6&response=mvdkBXUKBxIlMBM+WauQyg==&opaque=KmtYAA==",
    ),
    (
        f"{ADOBE}&opaque=KmtYAA==",
        DEEP,
        "authmod=adobe&user=bob&challenge=ab7ef4b9&response=ntPBHotlux6fCFEu7b0KmA==&opaque=KmtYAA==",
    ),
    (ADOBE, URL, "authmod=adobe&user=bob&challenge=e797301e&response=CIeO0HZZT7mal2UtBVtXTw=="),
    (
        LLNW,
        URL,
        "authmod=llnw&user=bob&nonce=abc123&cnonce=560e67d6&nc=00000001&response=f016d80f2a8769166ee754d4a4873cc4",
    ),
    (
        LLNW,
        DEEP,
        "authmod=llnw&user=bob&nonce=abc123&cnonce=d089353a&nc=00000001&response=37c445fbb8599a5a707800c7ecb09f02",
    ),
]


@pytest.mark.parametrize(("question", "url", "answer"), RECORDED)
def test_a_question_is_answered_as_ffmpeg_answers_it(question, url, answer):
    method = answer.partition("&")[0]
    challenge = answer.partition("challenge=" if "adobe" in method else "cnonce=")[2].partition("&")[0]

    assert authenticate(url, question, f"{method}&user=bob", challenge) == answer


@pytest.mark.parametrize("method", ["adobe", "llnw"])
def test_the_first_answer_only_names_the_user(method):
    question = f"[ AccessManager.Reject ] : [ code=403 need auth; authmod={method} ] : "

    assert authenticate(URL, question, "", "00000000") == f"authmod={method}&user=bob"


@pytest.mark.parametrize(
    ("url", "question", "sent"),
    [
        (URL, "", ""),
        (URL, "no such application", ""),
        (URL, "authmod=kerberos", ""),
        (RtmpUrl.parse("rtmp://h/live/s"), "authmod=adobe", ""),
        (URL, f"{ADOBE}{'x' * 4096}", "authmod=adobe&user=bob"),
        (URL, "code=403 need auth; authmod=adobe", "authmod=adobe&user=bob"),
        (URL, "[ authmod=adobe ] : ?reason=authfailed", "authmod=adobe&user=bob&challenge=0&response=1"),
        (URL, "[ authmod=adobe ] : ?reason=nosuchuser", "authmod=adobe&user=bob"),
        (URL, ADOBE, "authmod=adobe&user=bob&challenge=0&response=1"),
    ],
    ids=["nothing", "other", "unknown", "no user", "long", "again", "failed", "no such user", "answered"],
)
def test_what_is_no_question_or_was_answered_before_gets_no_answer(url, question, sent):
    assert authenticate(url, question, sent, "00000000") == ""
