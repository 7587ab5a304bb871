import pytest

from rtmpd.errors import MessageError, UsageError
from rtmpd.wire.flv import FlvTag, TagReader, encode_file_header, encode_tag

TAGS = [
    FlvTag(18, 0, b"metadata"),
    FlvTag(9, 40, b"\x17\x01" + bytes(500)),
    FlvTag(8, 0x01020304, b"\xaf\x01\x55"),
    FlvTag(8, 2**32 - 1, b""),
]
STREAM = encode_file_header(audio=True, video=True) + b"".join(encode_tag(*tag) for tag in TAGS)


def read_in_pieces(data, size, tags=None):
    reader = TagReader()
    tags = [] if tags is None else tags
    for start in range(0, len(data) + size, size):  # the last piece is empty: a fault may wait for the next call
        tags += reader.feed(data[start : start + size])
    return tags, reader


@pytest.mark.parametrize(("audio", "video", "flags"), [(True, True, 5), (True, False, 4), (False, True, 1)])
def test_a_file_header_names_the_kinds_of_tags(audio, video, flags):
    expected = bytes.fromhex(f"464c5601 {flags:02x} 00000009 00000000")

    assert encode_file_header(audio=audio, video=video) == expected


def test_a_tag_has_the_bytes_of_the_specification():
    expected = bytes.fromhex("08 000004 020304 01 000000 af015566 0000000f")

    assert encode_tag(8, 0x01020304, b"\xaf\x01\x55\x66") == expected


@pytest.mark.parametrize(("timestamp_ms", "size"), [(2**32, 0), (-1, 0), (0, 2**24)])
def test_a_time_or_body_beyond_its_field_is_our_mistake(timestamp_ms, size):
    with pytest.raises(UsageError, match="no FLV tag"):
        encode_tag(9, timestamp_ms, bytes(size))


@pytest.mark.parametrize("size", [1, 2, 7, 13, 100, len(STREAM)])
def test_tags_are_read_from_pieces_of_any_size(size):
    tags, reader = read_in_pieces(STREAM, size)

    assert tags == TAGS
    assert reader.position == len(STREAM)


def test_the_file_header_may_be_missing():
    tags, _ = read_in_pieces(STREAM[13:], 1)

    assert tags == TAGS


def test_a_shared_receive_buffer_may_be_overwritten_after_the_call():
    shared = bytearray(STREAM)
    tags = TagReader().feed(memoryview(shared))
    shared[:] = bytes(len(shared))

    assert tags == TAGS
    assert all(type(tag.body) is bytes for tag in tags)


def test_position_is_where_a_torn_last_tag_begins():
    last = len(encode_tag(*TAGS[-1]))
    tags, reader = read_in_pieces(STREAM[:-1], 5)

    assert tags == TAGS[:-1]
    assert reader.position == len(STREAM) - last


@pytest.mark.parametrize("missing", [0, 1, 11])
def test_the_habits_of_other_writers_of_the_previous_tag_size_are_read(missing):
    tag = encode_tag(8, 7, b"abc")[:-4] + (14 - missing).to_bytes(4, "big")

    assert TagReader().feed(tag) == [FlvTag(8, 7, b"abc")]


NONSENSE = {
    "a tag type that FLV does not have": bytes(11),
    "an encrypted tag": bytes.fromhex("29 000000 00000000 000000 0000000b"),
    "a second file header": encode_file_header(audio=True, video=True),
    "a previous tag size that does not add up": encode_tag(8, 0, b"abc")[:-1] + b"\xff",
}


@pytest.mark.parametrize("broken", NONSENSE.values(), ids=NONSENSE.keys())
@pytest.mark.parametrize("size", [1, 10_000])
def test_nonsense_is_refused_after_the_tags_before_it_have_been_returned(broken, size):
    tags = []

    with pytest.raises(MessageError):
        read_in_pieces(STREAM + broken, size, tags)

    assert tags == TAGS


def test_a_reader_that_has_met_nonsense_reads_no_more():
    reader = TagReader()

    for data in (bytes(11), STREAM):
        with pytest.raises(MessageError, match="type 0"):
            reader.feed(data)


@pytest.mark.parametrize("header", [b"FLV\x02", b"FWS\x01", b"F\x00", b"FLV\x01\x05\x00\x00\x00\x0a" + bytes(4)])
def test_another_file_header_is_refused_as_soon_as_it_shows(header):
    with pytest.raises(MessageError, match="file header"):
        TagReader().feed(header)


def test_a_tag_of_the_largest_size_arrives_whole_from_small_pieces():
    tag = FlvTag(9, 1, bytes(2**24 - 1))
    tags, _ = read_in_pieces(encode_tag(*tag), 65_536)

    assert tags == [tag]
