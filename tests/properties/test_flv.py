from hypothesis import given
from hypothesis import strategies as st

from rtmpd.errors import MessageError
from rtmpd.wire.flv import TagReader
from tests.helpers.flv import file_headers, spell, streams, tags
from tests.helpers.splits import mutated, splits


def read(pieces):
    """Read to the end or to the fault; the empty piece at the end brings out a fault that waits."""
    reader = TagReader()
    found = []
    try:
        for piece in [*pieces, b""]:
            found += reader.feed(piece)
    except MessageError as fault:
        return found, reader.position, str(fault)
    return found, reader.position, None


@given(st.data(), file_headers, st.lists(tags, max_size=5))
def test_what_is_written_is_read_in_any_split(data, header, contents):
    stream = spell(header, contents)

    assert read(data.draw(splits(stream))) == (contents, len(stream), None)


@given(st.data(), mutated(streams) | st.binary(max_size=100))
def test_any_bytes_are_tags_and_at_most_one_fault_in_any_split(data, stream):
    assert read(data.draw(splits(stream))) == read([stream])


@given(streams, st.integers(0, 400))
def test_a_stream_that_is_cut_gives_its_whole_tags_and_where_they_end(stream, size):
    whole, _, _ = read([stream])
    found, position, fault = read([stream[:size]])

    assert fault is None
    assert found == whole[: len(found)]
    assert read([stream[:position]]) == (found, position, None)
