from hypothesis import given
from hypothesis import strategies as st

from rtmpd.errors import HandshakeError
from rtmpd.wire.handshake import BLOCK_BYTES, RANDOM_BYTES, ClientHandshake, ServerHandshake
from tests.helpers.splits import splits


def shake(handshake, pieces):
    sent = b""
    unread = b""
    try:
        for piece in pieces:
            if handshake.done:
                unread += piece
            else:
                sent += handshake.feed(piece)
    except HandshakeError as fault:
        return str(fault)
    return sent, handshake.done, handshake.remainder + unread


@given(
    st.data(),
    st.sampled_from([ServerHandshake, ClientHandshake]),
    st.sampled_from([b"\x03"] * 5 + [b"\x16", b"G", b"\x06", b"\x00"]),
    st.integers(0, 2 * BLOCK_BYTES + 20),
    st.integers(1, 255),
)
def test_a_handshake_answers_the_same_bytes_in_any_split(data, kind, version, size, step):
    stream = version + bytes(step * i % 251 for i in range(size))
    own_random = bytes(RANDOM_BYTES)

    assert shake(kind(own_random, 1), data.draw(splits(stream))) == shake(kind(own_random, 1), [stream])
