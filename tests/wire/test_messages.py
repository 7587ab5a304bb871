import pytest

from rtmpd.errors import MessageError
from rtmpd.wire import messages
from rtmpd.wire.messages import (
    AGGREGATE,
    AUDIO,
    COMMAND_AMF0,
    DATA_AMF0,
    MAX_AGGREGATE_PARTS,
    VIDEO,
    Message,
    UserControl,
    decode_set_peer_bandwidth,
    decode_u32,
    decode_user_control,
    unpack_aggregate,
)

# protocol.md section 10, without the chunk headers, which tests/wire/test_chunk_writer.py checks.
CONTROL_VECTORS = [
    (messages.encode_set_chunk_size(65536), 1, "00010000"),
    (messages.encode_acknowledgement(2_500_000), 3, "002625a0"),
    (messages.encode_acknowledgement(2**32 + 7), 3, "00000007"),
    (messages.encode_window_acknowledgement_size(2_500_000), 5, "002625a0"),
    (messages.encode_set_peer_bandwidth(2_500_000, messages.LIMIT_DYNAMIC), 6, "002625a002"),
    (messages.encode_user_control(messages.STREAM_BEGIN, 1), 4, "000000000001"),
    (messages.encode_user_control(messages.STREAM_EOF, 1), 4, "000100000001"),
    (messages.encode_user_control(messages.PING_REQUEST, 1000), 4, "0006000003e8"),
    (messages.encode_user_control(messages.SET_BUFFER_LENGTH, 1, 3000), 4, "00030000000100000bb8"),
]


@pytest.mark.parametrize(("message", "type_id", "body"), CONTROL_VECTORS)
def test_control_messages_have_the_bytes_of_the_specification(message, type_id, body):
    assert Message(type_id, 0, 0, bytes.fromhex(body), 2) == message


@pytest.mark.parametrize("value", [0, 1, 127, 128, 2**24, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_four_byte_body_is_a_number_of_any_size(value):
    assert decode_u32(value.to_bytes(4, "big")) == value


@pytest.mark.parametrize("size", [0, 3, 5])
def test_a_number_body_of_another_length_is_refused(size):
    with pytest.raises(MessageError, match=f"{size} bytes where 4 are due"):
        decode_u32(bytes(size))


@pytest.mark.parametrize("limit_type", [0, 1, 2])
def test_set_peer_bandwidth_is_window_and_limit_type(limit_type):
    message = messages.encode_set_peer_bandwidth(5_000_000, limit_type)

    assert decode_set_peer_bandwidth(message.body) == (5_000_000, limit_type)


@pytest.mark.parametrize("body", [bytes(4), bytes(6), bytes(4) + b"\x03", bytes(4) + b"\xff"])
def test_set_peer_bandwidth_of_another_length_or_limit_type_is_refused(body):
    with pytest.raises(MessageError, match="Set Peer Bandwidth"):
        decode_set_peer_bandwidth(body)


def test_user_control_gives_the_arguments_of_known_events():
    assert UserControl(3, (1, 3000), bytes.fromhex("0000000100000bb8")) == decode_user_control(
        bytes.fromhex("00030000000100000bb8")
    )
    assert decode_user_control(bytes.fromhex("0006000003e8")).arguments == (1000,)


def test_user_control_keeps_what_stands_behind_the_arguments():
    assert decode_user_control(bytes.fromhex("000000000001ff")) == UserControl(0, (1,), bytes.fromhex("00000001ff"))


@pytest.mark.parametrize("event", [5, 26, 27, 31, 32, 0xFFFF])
def test_an_unknown_user_control_event_is_no_fault(event):
    assert decode_user_control(event.to_bytes(2, "big") + b"\x01") == UserControl(event, (), b"\x01")
    assert decode_user_control(event.to_bytes(2, "big")) == UserControl(event, (), b"")


@pytest.mark.parametrize("body", ["", "00", "0000", "0006000003", "000300000001", "0003000000010000"])
def test_user_control_that_ends_before_its_arguments_is_refused(body):
    with pytest.raises(MessageError, match="user control"):
        decode_user_control(bytes.fromhex(body))


def part(type_id, timestamp_ms, body, *, stream_id=0):
    header = bytes((type_id,)) + len(body).to_bytes(3, "big")
    time = (timestamp_ms & 0xFFFFFF).to_bytes(3, "big") + bytes((timestamp_ms >> 24,))
    return header + time + stream_id.to_bytes(3, "big") + body + (11 + len(body)).to_bytes(4, "big")


def aggregate(*parts, timestamp_ms=5000):
    return Message(AGGREGATE, timestamp_ms, 1, b"".join(parts), 4)


def test_an_aggregate_is_its_parts_at_the_time_and_on_the_stream_of_the_aggregate():
    message = aggregate(
        part(VIDEO, 0x01000100, b"first", stream_id=7),
        part(AUDIO, 0x01000110, b""),
        part(DATA_AMF0, 0x010000F0, b"third"),
    )

    assert [
        Message(VIDEO, 5000, 1, b"first", 4),
        Message(AUDIO, 5016, 1, b"", 4),
        Message(DATA_AMF0, 4984, 1, b"third", 4),
    ] == unpack_aggregate(message)


def test_the_times_in_an_aggregate_wrap():
    message = aggregate(part(VIDEO, 100, b"a"), part(VIDEO, 140, b"b"), timestamp_ms=2**32 - 20)

    assert [inner.timestamp_ms for inner in unpack_aggregate(message)] == [2**32 - 20, 20]


def test_an_aggregate_may_be_empty():
    assert unpack_aggregate(aggregate()) == []


@pytest.mark.parametrize("type_id", [AGGREGATE, COMMAND_AMF0, 0, 1, 255])
def test_an_aggregate_holds_no_aggregate_no_command_and_no_control_message(type_id):
    with pytest.raises(MessageError, match=f"type {type_id}$"):
        unpack_aggregate(aggregate(part(AUDIO, 0, b"x"), part(type_id, 0, b"x")))


def test_an_aggregate_that_is_cut_anywhere_is_refused():
    whole = part(AUDIO, 0, b"xyz")

    for size in range(1, len(whole)):
        with pytest.raises(MessageError):
            unpack_aggregate(aggregate(whole, whole[:size]))


def test_a_part_that_declares_more_than_the_aggregate_has_is_refused():
    with pytest.raises(MessageError, match="beyond it"):
        unpack_aggregate(aggregate(bytes.fromhex("08ffffff00000000000000") + bytes(100)))


def test_the_parts_of_an_aggregate_are_bounded():
    empty = part(AUDIO, 0, b"")

    assert len(unpack_aggregate(aggregate(empty * MAX_AGGREGATE_PARTS))) == MAX_AGGREGATE_PARTS
    with pytest.raises(MessageError, match="more than 1024"):
        unpack_aggregate(aggregate(empty * 1_000_000))
