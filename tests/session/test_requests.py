"""What we ask for, in the words that servers know."""

from __future__ import annotations

import pytest

from rtmpd.session import requests
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.commands import decode_command
from tests.helpers.transcript import describe

URL = RtmpUrl.parse("rtmp://u:p@h/live/key?k=v")


@pytest.mark.parametrize(
    ("url", "query", "suffix"),
    [
        (URL, "", ""),
        (URL, "authmod=adobe&user=u", "?authmod=adobe&user=u"),
        (RtmpUrl.parse("rtmp://h/live?t=1/key"), "authmod=adobe&user=u", "&authmod=adobe&user=u"),
    ],
)
def test_connect_names_the_application_and_never_the_stream_or_the_password(url, query, suffix):
    message = requests.connect(url, "publish", query)

    properties = decode_command(message).command_object
    assert properties["app"] == url.app + suffix
    assert properties["tcUrl"] == url.tc_url + suffix
    assert b"key" not in message.body
    assert b"u:p" not in message.body


def test_connect_says_that_we_pass_everything_on_and_can_be_sent_elsewhere():
    properties = decode_command(requests.connect(URL, "publish", "")).command_object

    assert properties["capsEx"] == 1 | 2 | 4 | 8
    assert {"avc1", "hvc1", "av01", "Opus"} <= set(properties["fourCcList"])
    assert properties["videoFourCcInfoMap"] == properties["audioFourCcInfoMap"] == {"*": 4}


def test_a_publisher_looks_like_an_encoder_and_a_player_like_a_player():
    publisher, player = (decode_command(requests.connect(URL, role, "")).command_object for role in ("publish", "play"))

    assert publisher["flashVer"].startswith("FMLE/3.0")
    assert publisher["type"] == "nonprivate"
    assert player["flashVer"].startswith("LNX")
    assert (player["audioCodecs"], player["videoCodecs"]) == (4071, 252)


def test_requests_carry_the_key_with_its_query():
    said = [
        *requests.announce_publish(URL.key),
        requests.create_stream(),
        *requests.publish(3, URL.key),
        *requests.play(3, URL.key),
        *requests.end_publish(3, URL.key),
        *requests.end_play(3),
    ]

    assert list(map(describe, said)) == [
        "releaseStream 2 key?k=v",
        "FCPublish 3 key?k=v",
        "createStream 4",
        "3: publish 5 key?k=v live",
        "3: play 5 key?k=v -2",
        "set buffer length 3 3000",
        "FCUnpublish 6 key?k=v",
        "deleteStream 7 3",
        "deleteStream 7 3",
    ]
