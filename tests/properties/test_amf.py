import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtmpd.errors import AmfError, MessageError
from rtmpd.wire import amf0
from rtmpd.wire.amf import MAX_DEPTH, AmfReader
from rtmpd.wire.amf3 import decode_value
from rtmpd.wire.commands import decode_command, decode_command_head, decode_data, encode_command
from rtmpd.wire.messages import COMMAND_AMF0, COMMAND_AMF3, DATA_AMF0, DATA_AMF3, Message
from tests.helpers.amf import amf_values, shape
from tests.helpers.splits import mutated

bodies = st.lists(amf_values, max_size=6).map(lambda values: amf0.encode(*values))

# AMF3 has no encoder here; every piece below is one that some decoder branch reads.
_AMF3_PIECES = [
    "00 01 02 03",
    "04 ffffffff",
    "05 3ff8000000000000",
    "06 07 616263",
    "06 00",
    "08 01 0000000000000000",
    "09 05 01",
    "09 01 03 61 01 01",
    "09 00",
    "0a 0b 01 03 61 03 01",
    "0a 1b 03 43 03 61 03 03 62 02 01",
    "0a 01",
    "0c 05 0102",
    "0d 05 00 ffffffff 00000001",
    "0f 03 00 3ff8000000000000",
    "10 05 00 01",
    "11 05 00",
]
amf3_values = st.lists(st.sampled_from([bytes.fromhex(piece) for piece in _AMF3_PIECES]), max_size=12).map(b"".join)


def height(value):
    match value:
        case dict():
            return 1 + max(map(height, value.values()), default=0)
        case list():
            return 1 + max(map(height, value), default=0)
    return 0


@given(st.lists(amf_values, max_size=6))
def test_what_is_encoded_decodes_to_the_same_values(values):
    decoded = amf0.decode(amf0.encode(*values))

    assert [shape(value) for value in decoded] == [shape(value) for value in values]


@given(bodies, st.binary(max_size=20), st.integers(0, 6))
def test_a_prefix_takes_exactly_its_values(body, trailing, count):
    whole = amf0.decode(body)[:count]
    values, end = amf0.decode_prefix(body + trailing, len(whole))

    assert [shape(value) for value in values] == [shape(value) for value in whole]
    assert body.startswith(amf0.encode(*values))
    assert end == len(amf0.encode(*values))


@given(mutated(bodies) | st.binary(max_size=100))
@example(b"\x07\x00\x00")
@example(b"\x0a\xff\xff\xff\xff")
@example(b"\x03\x00\x00")
@example(b"\x11")
def test_any_bytes_decode_to_values_that_can_be_written_back_or_are_an_amf_error(body):
    try:
        values = amf0.decode(body)
    except AmfError:
        return

    assert all(height(value) <= MAX_DEPTH for value in values)
    assert [shape(value) for value in amf0.decode(amf0.encode(*values))] == [shape(value) for value in values]


@given(st.binary(max_size=2).flatmap(lambda head: amf3_values.map(lambda pieces: head + pieces)) | mutated(amf3_values))
def test_any_amf3_bytes_decode_to_a_value_that_amf0_can_write_or_are_an_amf_error(data):
    reader = AmfReader(data)
    try:
        value = decode_value(reader, 0)
    except AmfError:
        return

    assert reader.position <= len(data)
    assert shape(*amf0.decode(amf0.encode(value))) == shape(value)


@given(
    mutated(st.lists(amf_values, max_size=4).map(lambda values: encode_command("connect", 1, *values))),
    st.sampled_from([COMMAND_AMF0, COMMAND_AMF3, DATA_AMF0, DATA_AMF3]),
)
def test_any_message_is_a_command_or_data_or_a_fault_of_the_peer(body, type_id):
    for decode in (decode_command, decode_command_head, decode_data):
        for form in (body, b"\0" + body):
            try:
                decode(Message(type_id, 0, 1, form))
            except (AmfError, MessageError):
                continue


REPEATED = ["05", "01 01", "0a 00000000", "03 000009", "08 00000000 000009", "02 0000", "0b" + "00" * 10, "07 0000"]
REPEATED += ["11 09 01 01", "11 0a 0b 01 01", "11 0c 01", "11 06 01", "11 08 01 0000000000000000", "0a 00000001", "11"]


@pytest.mark.parametrize("piece", REPEATED)
def test_no_short_value_repeated_over_a_megabyte_costs_much_memory(piece):
    body = bytes.fromhex("0a 00000000") + bytes.fromhex(piece) * (2**20 // len(bytes.fromhex(piece)))
    tracemalloc.start()
    try:
        with pytest.raises(AmfError):
            amf0.decode(body)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 16 << 20
