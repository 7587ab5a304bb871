"""The chunk writer: fmt 0, then fmt 3 with the extended timestamp repeated, whatever was sent before."""

from __future__ import annotations

import pytest

from rtmpd.errors import UsageError
from rtmpd.wire.chunk_writer import encode_chunks, encode_header, encode_message
from rtmpd.wire.messages import Message
from tests.helpers.chunks import VECTORS, FreeChunkWriter, read_in_all_ways, set_chunk_size


def pattern(size):
    return bytes(index % 251 for index in range(size))


@pytest.mark.parametrize(("wire", "message"), VECTORS)
def test_hand_made_vectors_are_written(wire, message):
    assert encode_message(message, 128) == wire


@pytest.mark.parametrize("chunk_size", [1, 127, 128, 4096, 65536, 0xFFFFFF, 0x1000000])
@pytest.mark.parametrize("size", [0, 1, 128, 129, 256, 4097])
@pytest.mark.parametrize("csid", [2, 6, 64, 400])
def test_chunks_are_those_of_the_free_writer(chunk_size, size, csid):
    for timestamp_ms in (0, 0xFFFFFE, 0xFFFFFF, 0xFFFFFFFF):
        for message_stream_id in (0, 255, 256, 0xFFFFFFFF):
            message = Message(9, timestamp_ms, message_stream_id, pattern(size), csid)
            assert encode_message(message, chunk_size) == FreeChunkWriter(chunk_size).write(message)


def test_each_message_can_be_read_without_those_before_it():
    sent = [Message(8, 21 * index, 1, pattern(300), 4) for index in range(4)]
    for start in range(4):
        wire = b"".join(encode_message(message, 65536) for message in sent[start:])
        assert read_in_all_ways(set_chunk_size(65536) + wire).media == sent[start:]


def test_a_header_and_a_body_make_a_message_of_one_chunk():
    message = Message(9, 0x1234567, 1, b"body", 6)
    assert encode_header(9, 0x1234567, 1, 6, 4) + b"body" == encode_message(message, 128)


@pytest.mark.parametrize(
    "fields",
    [
        {"type_id": -1},
        {"type_id": 256},
        {"timestamp_ms": -1},
        {"timestamp_ms": 1 << 32},
        {"message_stream_id": -1},
        {"message_stream_id": 1 << 32},
        {"chunk_stream_id": 0},
        {"chunk_stream_id": 1},
        {"chunk_stream_id": 65600},
        {"body": bytes(0x1000000)},
    ],
)
@pytest.mark.parametrize("chunk_size", [128, 0x1000000])
def test_what_no_header_can_hold_is_our_mistake(fields, chunk_size):
    message = Message(9, 0, 1, b"", 4)._asdict() | fields
    with pytest.raises(UsageError, match="no chunk header"):
        encode_message(Message(**message), chunk_size)


def test_a_chunk_size_of_nothing_is_our_mistake():
    with pytest.raises(UsageError, match="chunk size 0"):
        encode_chunks(9, 0, 1, 4, b"body", 0)
