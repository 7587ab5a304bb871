from hypothesis import given
from hypothesis import strategies as st

from rtmpd.errors import MessageError
from rtmpd.wire import messages
from rtmpd.wire.messages import AGGREGATE, MAX_AGGREGATE_PARTS, Message, unpack_aggregate
from tests.helpers.flv import spell, streams, tags
from tests.helpers.splits import mutated


@given(st.builds(Message, st.just(AGGREGATE), st.integers(0, 2**32 - 1), st.integers(0, 9), streams | mutated(streams)))
def test_any_aggregate_is_bounded_messages_or_a_fault(message):
    try:
        parts = unpack_aggregate(message)
    except MessageError:
        return

    assert len(parts) <= MAX_AGGREGATE_PARTS
    assert sum(len(part.body) + 15 for part in parts) == len(message.body)
    assert all(0 <= part.timestamp_ms < 2**32 for part in parts)
    assert not parts or parts[0].timestamp_ms == message.timestamp_ms


@given(st.lists(tags, max_size=5), st.integers(0, 2**32 - 1))
def test_an_aggregate_of_tags_is_those_tags_moved_in_time(contents, timestamp_ms):
    parts = unpack_aggregate(Message(AGGREGATE, timestamp_ms, 1, spell(b"", contents), 4))

    assert [(part.type_id, part.body) for part in parts] == [(tag.type_id, tag.body) for tag in contents]
    assert [(part.timestamp_ms - timestamp_ms) % 2**32 for part in parts] == [
        (tag.timestamp_ms - contents[0].timestamp_ms) % 2**32 for tag in contents
    ]


@given(st.binary(max_size=16))
def test_any_control_body_is_read_or_a_fault(body):
    for decode in (messages.decode_u32, messages.decode_set_peer_bandwidth, messages.decode_user_control):
        try:
            decode(body)
        except MessageError:
            continue


u32s = st.integers(0, 2**32 - 1)


@given(st.sampled_from([0, 1, 2, 3, 4, 6, 7]), st.lists(u32s, min_size=2, max_size=4))
def test_the_arguments_of_user_control_come_back(event, arguments):
    control = messages.decode_user_control(messages.encode_user_control(event, *arguments).body)

    assert control.event == event
    assert list(control.arguments) == arguments[: len(control.arguments)]
    assert control.arguments
    assert len(control.data) == 4 * len(arguments)


@given(u32s, st.integers(0, 2))
def test_the_numbers_of_control_messages_come_back(number, limit_type):
    for encode in (
        messages.encode_set_chunk_size,
        messages.encode_acknowledgement,
        messages.encode_window_acknowledgement_size,
    ):
        assert messages.decode_u32(encode(number).body) == number
    bandwidth = messages.encode_set_peer_bandwidth(number, limit_type)
    assert messages.decode_set_peer_bandwidth(bandwidth.body) == (number, limit_type)
