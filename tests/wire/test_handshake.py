import pytest

from rtmpd.errors import HandshakeError, UsageError
from rtmpd.wire.handshake import BLOCK_BYTES, RANDOM_BYTES, ClientHandshake, ServerHandshake

RANDOM = bytes(i * 7 % 256 for i in range(RANDOM_BYTES))
# ffmpeg's block: time 0, then its version 9.0.124.2, which a server must not echo into its own block.
C1 = bytes.fromhex("00000000 09007c02") + bytes(i * 5 % 256 for i in range(RANDOM_BYTES))
C2 = bytes(BLOCK_BYTES)
CHUNKS = b"\x03the first chunk"


def server():
    return ServerHandshake(RANDOM, 0x0A0B0C0D)


def feed_in_pieces(handshake, data, size):
    return b"".join(handshake.feed(data[start : start + size]) for start in range(0, len(data), size))


def test_the_answer_is_version_block_and_echo_in_one_piece_as_soon_as_the_clients_block_is_in():
    handshake = server()

    assert handshake.feed(b"\x03" + C1[:-1]) == b""
    answer = handshake.feed(C1[-1:])

    assert answer == b"\x03" + bytes.fromhex("0a0b0c0d 00000000") + RANDOM + C1
    assert not handshake.done


def test_bytes_four_to_seven_of_our_block_are_zero_because_ffmpeg_would_look_for_a_digest():
    assert server().feed(b"\x03" + C1)[1 + 4 : 1 + 8] == bytes(4)


@pytest.mark.parametrize("echo", [C2, b"\xff" * BLOCK_BYTES, C1], ids=["zeros", "ones", "its own block"])
def test_the_clients_echo_is_never_compared(echo):
    handshake = server()
    handshake.feed(b"\x03" + C1)

    assert handshake.feed(echo) == b""
    assert handshake.done
    assert handshake.remainder == b""


@pytest.mark.parametrize("size", [1, 2, 1535, 1536, 1537, 1538, 3073, 10_000])
def test_any_split_gives_the_same_answer_and_remainder(size):
    handshake = server()
    whole = b"\x03" + C1 + C2 + CHUNKS
    answer = b""
    fed = 0
    while not handshake.done:
        answer += handshake.feed(whole[fed : fed + size])
        fed += size

    assert answer == server().feed(whole)
    assert handshake.remainder + whole[fed:] == CHUNKS


def test_the_handshake_and_what_follows_may_come_at_once():
    handshake = server()

    assert len(handshake.feed(memoryview(b"\x03" + C1 + C2 + CHUNKS))) == 3073
    assert handshake.done
    assert handshake.remainder == CHUNKS


@pytest.mark.parametrize("sent", [1, 2, 1536, 1537, 1538, 3072])
def test_a_handshake_that_stops_half_way_is_not_done(sent):
    handshake = server()
    handshake.feed((b"\x03" + C1 + C2)[:sent])

    assert not handshake.done


WRONG_PROTOCOLS = [
    (0x16, "TLS on the plain RTMP port"),
    (0x47, r"HTTP on the RTMP port \(first byte 'G'\)"),
    (0x50, r"HTTP on the RTMP port \(first byte 'P'\)"),
    (6, r"RTMPE \(version 6\)"),
    (8, r"RTMPE \(version 8\)"),
    (9, r"RTMPE \(version 9\)"),
    (0, "no RTMP: version 0 where 3 is due"),
    (2, "no RTMP: version 2 where 3 is due"),
    (32, "no RTMP: version 32 where 3 is due"),
    (0xFF, "no RTMP: version 255 where 3 is due"),
]


@pytest.mark.parametrize(("first_byte", "name"), WRONG_PROTOCOLS)
def test_another_protocol_is_named_at_its_first_byte(first_byte, name):
    with pytest.raises(HandshakeError, match=name) as caught:
        server().feed(bytes((first_byte,)))

    assert caught.value.offset == 0


def test_no_bytes_are_no_fault():
    assert server().feed(b"") == b""


def test_client_and_server_meet():
    client = ClientHandshake(RANDOM[::-1], 1)
    server_side = server()

    answer = server_side.feed(client.first_bytes())
    echo = feed_in_pieces(client, answer + CHUNKS, 4096)
    server_side.feed(echo + b"connect")

    assert client.done
    assert server_side.done
    assert client.remainder == CHUNKS
    assert server_side.remainder == b"connect"


def test_the_client_answers_the_servers_block_before_it_has_the_servers_echo():
    client = ClientHandshake(RANDOM, 0)
    block = bytes(8) + RANDOM[::-1]

    assert client.feed(b"\x03" + block) == block
    assert not client.done


def test_the_time_wraps_into_its_field():
    assert ClientHandshake(RANDOM, 2**32 + 5).first_bytes()[1:5] == bytes.fromhex("00000005")


def test_a_wrong_number_of_random_bytes_is_our_mistake():
    with pytest.raises(UsageError, match="1528"):
        ServerHandshake(b"", 0)


def test_feeding_a_finished_handshake_is_our_mistake():
    handshake = server()
    handshake.feed(b"\x03" + C1 + C2)

    with pytest.raises(UsageError, match="chunk reader"):
        handshake.feed(b"")
