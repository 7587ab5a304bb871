"""Fragmented MP4 in a log."""

from rtmpd.live.fragments import FRAGMENT_FORM, Init, Part, append_part
from rtmpd.live.log import Log, Retention
from rtmpd.live.subscription import Cursor
from rtmpd.media.tags import KEY_FRAME
from rtmpd.wire.messages import VIDEO

INIT = Init(b"ftypmoov", "avc1.64001f", has_video=True)


def log_of(*parts):
    log = Log(FRAGMENT_FORM, Retention())
    for number, (data, flags) in enumerate(parts):
        log.append(VIDEO, number * 200, data, flags, INIT, number * 0.2)
    return log


def test_a_late_joiner_is_sent_the_initialisation_section_and_then_parts_from_the_newest_key_frame_on():
    log = log_of((b"k1", KEY_FRAME), (b"p1", 0), (b"k2", KEY_FRAME), (b"p2", 0))
    cursor = Cursor()

    cursor.join(log)

    sent = b""
    while (data := cursor.next_bytes()) is not None:
        sent += bytes(data)
        cursor.advance(len(data))
    assert sent == b"ftypmoovk2p2"


def test_parts_come_back_out_of_the_log_as_they_went_in():
    log = log_of((b"k1", KEY_FRAME), (b"p1", 0))

    assert [body for _, body in log.messages(0)] == [b"k1", b"p1"]


def test_players_may_start_at_parts_that_are_independent():
    log = log_of()
    for number, is_independent in enumerate((True, False, True, False)):
        append_part(log, Part(b"%d" % number, 200 * number, 200, is_independent), INIT, 0.2 * number)

    assert log.newest_key_frame.timestamp_ms == 400
    assert log.newest_key_frame.headers is INIT
    assert log.slice(log.newest_key_frame.position, log.end) == b"23"
