"""
Promises 1 and 2 of the design, for a session as a client: whatever a server sends, in whatever state and split, leads to
events and at most one termination, and what is reported does not depend on the split.
"""

from __future__ import annotations

import gc
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.session.client_commands import MAY_RETRY
from rtmpd.session.events import (
    AuthenticationNeeded,
    Ended,
    Playing,
    Publishing,
    RefusedByServer,
    Terminated,
)
from rtmpd.session.replies import error, on_status, result
from rtmpd.wire.amf0 import encode
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.messages import (
    Message,
    encode_acknowledgement,
    encode_set_chunk_size,
    encode_set_peer_bandwidth,
    encode_user_control,
    encode_window_acknowledgement_size,
)
from tests.helpers.amf import amf_values
from tests.helpers.client_transcript import CONNECT_RESULT, CREATED, STARTS, new_client
from tests.helpers.splits import mutated
from tests.helpers.transcript import HANDSHAKE, START, Listener, audio, command, data, video

NEED_AUTH = error(1, "NetConnection.Connect.Rejected", "authmod=adobe ] : ?reason=needauth&user=bob&salt=S&challenge=C")

PREFIXES = {
    "nothing": (),
    "half a handshake": (HANDSHAKE[:2000],),
    "handshake": (HANDSHAKE,),
    "connected": (HANDSHAKE, CONNECT_RESULT),
    "asked": (HANDSHAKE, CONNECT_RESULT, CREATED),
    "granted": (HANDSHAKE, CONNECT_RESULT, CREATED, "grant"),
    "ended": (HANDSHAKE, CONNECT_RESULT, CREATED, command("close", 0)),
}
ENDS = (Ended, RefusedByServer, AuthenticationNeeded)

u32s = st.integers(0, 2**32 - 1)
small_ids = st.integers(0, 3)
names = st.sampled_from(
    ["_result", "_error", "onStatus", "close", "onFCUnsubscribe", "_onbwcheck", "onBWDone", "nonsense"]
)
infos = st.fixed_dictionaries(
    {},
    optional={
        "level": st.sampled_from(["status", "warning", "error"]) | amf_values,
        "code": st.sampled_from([*MAY_RETRY, *STARTS.values(), "NetConnection.Connect.ReconnectRequest"]) | amf_values,
        "description": st.sampled_from(["", "why", NEED_AUTH.body.decode("latin-1")]) | amf_values,
        "tcUrl": st.sampled_from(["/x", "rtmp://h/a", "//", "http://h"]) | amf_values,
    },
)
commands = st.builds(
    lambda name, transaction_id, values, msid: command(name, transaction_id, *values, msid=msid),
    names,
    st.one_of(st.sampled_from([0, 1, 4, 5]), st.floats()),
    st.lists(st.one_of(st.none(), infos, small_ids, amf_values), max_size=4),
    small_ids,
)
controls = st.one_of(
    st.builds(encode_set_chunk_size, st.integers(128, 2**31 - 1)),
    st.builds(encode_acknowledgement, u32s),
    st.builds(encode_window_acknowledgement_size, u32s),
    st.builds(encode_set_peer_bandwidth, u32s, st.integers(0, 2)),
    st.builds(encode_user_control, st.integers(0, 32), u32s, u32s),
)
others = st.builds(
    Message, st.integers(0, 255), u32s, small_ids, st.one_of(st.binary(max_size=60), st.binary(max_size=400)), small_ids
).map(lambda message: message._replace(chunk_stream_id=message.chunk_stream_id + 2))
sensible = st.one_of(
    st.sampled_from([CONNECT_RESULT, CREATED, NEED_AUTH, *(on_status(1, code) for code in STARTS.values())]),
    st.builds(result, st.sampled_from([1, 4, 5]), small_ids),
    st.builds(video, st.binary(max_size=300), u32s, small_ids),
    st.builds(audio, st.binary(max_size=300), u32s, small_ids),
    st.builds(data, st.just(encode("onMetaData", {})), small_ids),
)
items = st.one_of(
    st.one_of(commands, controls, others, sensible).map(lambda message: encode_message(message, 128)),
    st.binary(max_size=30),
)
runs = st.lists(items, max_size=8).map(b"".join)
hostile_bytes = st.one_of(runs, mutated(runs))


def bring_to(prefix, role):
    """Make a session in one of the states of PREFIXES, and the server's ear that goes with it."""
    session = new_client(role)
    listener = Listener()
    events = []
    for step in PREFIXES[prefix]:
        message = on_status(1, STARTS[role]) if step == "grant" else step
        received = encode_message(message, 128) if isinstance(message, Message) else message
        events += session.receive_data(received, START)
        listener.read(session.data_to_send())
    return session, listener, events


def feed_in_pieces(session, listener, received, cuts):
    """Feed bytes cut at some places, and read what is said after each piece."""
    events = []
    edges = [0, *sorted({cut % (len(received) + 1) for cut in cuts}), len(received)]
    for start, end in pairwise(edges):
        events += session.receive_data(received[start:end], START)
        listener.read(session.data_to_send())
    return events


def check_promises(session, events):
    """Check what the owner may rely on, once the connection is closed."""
    assert [type(event) for event in events].count(Terminated) == 1
    assert isinstance(events[-1], Terminated)
    ends = [index for index, event in enumerate(events) if isinstance(event, ENDS)]
    assert ends in ([], [len(events) - 2])
    assert sum(isinstance(event, Publishing | Playing) for event in events) <= 1
    assert session.next_deadline() is None
    assert session.receive_data(HANDSHAKE, START) == []
    assert session.handle_timer(START + 1e6) == []
    assert session.finish(START) == []


@given(received=hostile_bytes, cuts=st.lists(st.integers(0, 2000), max_size=5), role=st.sampled_from(list(STARTS)))
def test_any_bytes_in_any_split_after_any_beginning_are_survived_and_reported_alike(received, cuts, role):
    for prefix in PREFIXES:
        session, listener, before = bring_to(prefix, role)
        events = feed_in_pieces(session, listener, received, cuts)
        check_promises(session, before + events + session.receive_eof(START))

        other_session, other_listener, _ = bring_to(prefix, role)
        assert events == feed_in_pieces(other_session, other_listener, received, ())


@given(received=hostile_bytes, late_s=st.floats(0, 100), role=st.sampled_from(list(STARTS)))
def test_any_bytes_and_then_silence_end_by_a_deadline_or_wait_for_the_owner(received, late_s, role):
    for prefix in PREFIXES:
        session, listener, events = bring_to(prefix, role)
        events += feed_in_pieces(session, listener, received, ())
        deadline = session.next_deadline()
        late = session.handle_timer(START + late_s)
        assert len(late) == (deadline is not None and deadline <= START + late_s)
        check_promises(session, events + late + session.finish(START + late_s))


@pytest.mark.parametrize("role", STARTS)
def test_a_server_that_begins_messages_and_never_ends_them_holds_bounded_memory(role):
    session, _, _ = bring_to("granted", role)
    # 16 MiB declared on each of 64 chunk streams, and as much of each as fits one chunk.
    begun = b"".join(bytes((csid,)) + bytes(3) + b"\xff\xff\xff\x09\1\0\0\0" + bytes(128) for csid in range(3, 64))
    gc.collect()
    tracemalloc.start()
    try:
        events = session.receive_data(begun, START)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert isinstance(events[-1], Terminated)
    assert events[-1].reason.startswith("limit: ")
    assert peak_bytes < 1 << 20


def test_a_server_that_asks_and_never_reads_is_left():
    session = new_client("publish")
    session.receive_data(HANDSHAKE, START)
    question = encode_message(command("x" * 1000, 9, None), 128)
    events = []
    now = START
    while not events:
        now += 1
        assert now < START + 5000
        events = session.receive_data(question * 40, now)

    assert events == [Terminated("limit: more than 131072 bytes of answers were not read")]
