"""What must hold for all chunk streams, legal or broken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtmpd.errors import ChunkError, LimitExceeded
from rtmpd.wire.chunk_reader import LONGEST_HEADER_BYTES, ChunkReader
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.messages import ABORT, SET_CHUNK_SIZE, Message
from tests.helpers.chunks import EXTENDED, MODULUS, NO_LIMITS, FreeChunkWriter, read

CSIDS = [3, 4, 6, 63, 64, 319, 320, 65599]
BODY_BYTES = st.sampled_from([0, 1, 2, 3, 4, 127, 128, 129, 130, 131, 132, 255, 256, 257, 300, 700, 1500])
HABITS = st.sampled_from([(True, True), (True, False), (False, False)])
"""Whether extended timestamps are repeated in mid-message, and where a message begins."""
TIMESTAMPS = st.one_of(
    st.integers(0, 5000),
    st.integers(EXTENDED - 3, EXTENDED + 3),
    st.integers(0, MODULUS - 1),
)
CUTS = st.lists(st.integers(1, 6000), max_size=30)


class Sender:
    """Turns drawn decisions into a legal chunk stream, and notes what a reader must make of it."""

    def __init__(self, draw):
        self.draw = draw
        within, at_start = draw(HABITS)
        self.writer = FreeChunkWriter(repeats_within=within, repeats_at_start=at_start)
        self.under_way = {}
        self.wire = b""
        self.expected = []

    def step(self, csid):
        """Send one chunk on a chunk stream."""
        if csid not in self.under_way:
            message = self.next_message(csid)
            if not self.is_clear(message, 0):
                message = message._replace(timestamp_ms=0)
            self.under_way[csid] = message, self.begin(message), len(message.body)
        message, chunks, left = self.under_way.pop(csid)
        self.wire += next(chunks)
        left -= self.writer.chunk_size
        if left > 0:
            self.under_way[csid] = message, chunks, left
        else:
            self.expected.append(message)

    def next_message(self, csid):
        last = self.writer.sent.get(csid)
        if last is not None and self.draw(st.booleans()):
            # As like the one before as can be, so that the short headers are legal.
            return Message(
                last.type_id, (last.timestamp + last.delta) % MODULUS, last.msid, b"\x55" * last.length, csid
            )
        type_id = self.draw(st.sampled_from([0, 8, 9, 18, 255]))
        msid = self.draw(st.sampled_from([0, 1, MODULUS - 1]))
        fill = self.draw(st.integers(0x40, 0x7F))
        return Message(type_id, self.draw(TIMESTAMPS), msid, bytes((fill,)) * self.draw(BODY_BYTES), csid)

    def begin(self, message):
        formats = [fmt for fmt in self.writer.legal_formats(message) if self.is_clear(message, fmt)]
        return self.writer.chunks(
            message,
            fmt=self.draw(st.sampled_from(formats)),
            long_form=self.draw(st.booleans()),
            force_extension=self.writer.repeats_at_start and self.draw(st.booleans()),
        )

    def is_clear(self, message, fmt):
        """Tell whether a timestamp that is left out differs in its first byte from all that may stand in its place."""
        value = self.writer.field_value(message, fmt)
        return self.writer.repeats_at_start or value < EXTENDED or not 0x40 <= value >> 24 < 0x80

    def control(self, type_id, value):
        message = Message(type_id, 0, 0, value.to_bytes(4, "big"), 2)
        self.wire += self.writer.write(message)
        self.expected.append(message)
        if type_id == SET_CHUNK_SIZE:
            self.writer.chunk_size = value
        else:
            self.under_way.pop(value, None)


@st.composite
def senders(draw):
    """A sender that has sent a legal chunk stream with nothing left under way."""
    sender = Sender(draw)
    csids = draw(st.lists(st.sampled_from(CSIDS), min_size=1, max_size=4, unique=True))
    for what in draw(st.lists(st.sampled_from([*csids, *csids, *csids, "size", "abort"]), max_size=25)):
        if what == "size":
            sender.control(SET_CHUNK_SIZE, draw(st.sampled_from([128, 129, 300, 1000, 65536])))
        elif what == "abort":
            sender.control(ABORT, draw(st.sampled_from([*csids, 2, 99])))
        else:
            sender.step(what)
    while sender.under_way:
        sender.step(draw(st.sampled_from(sorted(sender.under_way))))
    return sender


@st.composite
def broken(draw):
    """A legal chunk stream with a few bytes changed, lost or put in."""
    wire = bytearray(draw(senders()).wire)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(wire)))
        wire[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(wire)


@given(senders(), CUTS)
def test_any_legal_chunk_stream_is_read_back_in_any_split(sender, cuts):
    assert read(sender.wire, cuts).messages == sender.expected
    assert read(sender.wire, range(1, len(sender.wire))).messages == sender.expected


@given(senders(), st.data())
def test_the_messages_of_a_part_are_a_part_of_the_messages(sender, data):
    size = data.draw(st.integers(0, len(sender.wire)))
    outcome = read(sender.wire[:size])
    assert outcome.error is None
    assert outcome.messages == sender.expected[: len(outcome.messages)]


@given(broken() | st.binary(max_size=500), CUTS)
def test_broken_bytes_lead_to_the_same_end_in_any_split(wire, cuts):
    options = {"body_limits": [5000] * 256, "max_chunk_streams": 6, "max_incomplete_bytes": 9000}
    whole = read(wire, **options)
    assert read(wire, cuts, **options) == whole
    assert read(wire, range(1, len(wire)), **options) == whole
    assert whole.error in (None, ChunkError, LimitExceeded)
    assert whole.error is None or 0 <= whole.offset <= len(wire)


@given(broken() | st.binary(max_size=500), CUTS)
def test_what_is_kept_stays_within_the_limits(wire, cuts):
    reader = ChunkReader(body_limits=[5000] * 256, max_chunk_streams=6, max_incomplete_bytes=9000)
    read(wire, cuts, reader=reader)
    assert len(reader._header) < LONGEST_HEADER_BYTES
    assert len(reader._streams) <= 6
    assert sum(len(stream.body or b"") for stream in reader._streams.values()) <= 9000
    # Else room would leak, and in the end a legal peer be refused.
    assert reader._room == 9000 - sum(stream.length for stream in reader._streams.values() if stream.left)


@given(
    st.lists(
        st.builds(
            Message,
            st.integers(3, 255),
            TIMESTAMPS,
            st.integers(0, MODULUS - 1),
            st.binary(max_size=20) | st.integers(0, 3000).map(bytes),
            st.sampled_from([2, *CSIDS]),
        ),
        max_size=8,
    ),
    st.integers(128, 3000),
    CUTS,
)
def test_what_the_writer_writes_is_read_back(messages, chunk_size, cuts):
    reader = ChunkReader(body_limits=NO_LIMITS)
    reader.chunk_size = chunk_size
    wire = b"".join(encode_message(message, chunk_size) for message in messages)
    assert read(wire, cuts, reader=reader).messages == messages
    assert reader.bytes_received == len(wire)


@given(
    senders(),
    st.sampled_from([b"\x04", b"\x04\0\0\0\0\0\x05\x09", b"\0", b"\1\0", b"\x04\0\0\0\0\0\x05\x09\0\0\0\0part"]),
)
def test_an_unfinished_message_behind_the_last_takes_nothing_away(sender, trailing):
    assert read(sender.wire + trailing).messages == sender.expected
