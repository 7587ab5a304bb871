"""
Promises 1 and 2 of the design, for the server's session: whatever a peer sends, in whatever state and split, leads to
events and at most one termination, and what is reported does not depend on the split.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rtmpd.errors import Refused
from rtmpd.session import connection_commands, stream_commands
from rtmpd.session.events import PlayEnded, PlayRequested, PublishEnded, PublishRequested, Terminated
from rtmpd.wire import messages
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
from tests.helpers.transcript import HANDSHAKE, START, Listener, audio, command, data, new_session, video

TAKEN = Refused("NetStream.Publish.BadName", "taken")
GONE = Refused("NetStream.Play.StreamNotFound", "gone")


def connect(**properties):
    return command("connect", 1, {"app": "live", **properties})


def create():
    return command("createStream", 2)


def publish(msid=1):
    return command("publish", 3, None, "s", "live", msid=msid)


def play():
    return command("play", 3, None, "s", msid=1)


# A legal beginning: what is received, and in between the decisions of the owner.
PREFIXES = {
    "nothing": (),
    "half a handshake": (HANDSHAKE[:2000],),
    "handshake": (HANDSHAKE,),
    "connected": (HANDSHAKE, connect()),
    "stream created": (HANDSHAKE, connect(), create()),
    "publish requested": (HANDSHAKE, connect(), create(), publish()),
    "publishing": (HANDSHAKE, connect(), create(), publish(), ("accept_publish", 1, START), video()),
    "publish refused": (HANDSHAKE, connect(), create(), publish(), ("refuse_publish", 1, TAKEN, START)),
    "publish ended": (
        HANDSHAKE,
        connect(),
        create(),
        publish(),
        ("accept_publish", 1, START),
        ("end_publish", 1, START, TAKEN),
    ),
    "publishing twice": (
        HANDSHAKE,
        connect(),
        create(),
        publish(),
        ("accept_publish", 1, START),
        create(),
        publish(2),
        ("accept_publish", 2, START),
    ),
    "play requested": (HANDSHAKE, connect(), create(), play()),
    "playing": (HANDSHAKE, connect(), create(), play(), ("accept_play", 1, START)),
    "paused": (
        HANDSHAKE,
        connect(),
        create(),
        play(),
        ("accept_play", 1, START),
        command("pause", 0, None, True, 0, msid=1),
    ),
    "play finished": (
        HANDSHAKE,
        connect(),
        create(),
        play(),
        ("accept_play", 1, START),
        ("finish_play", 1, START, "over"),
    ),
    "asked to reconnect": (
        HANDSHAKE,
        connect(capsEx=1.0),
        create(),
        publish(),
        ("request_reconnect", "rtmp://b.example", "going", START),
        ("accept_publish", 1, START),
        ("request_reconnect", None, "going", START),
    ),
    "connect refused": (("refuse_connect", TAKEN), HANDSHAKE, connect()),
    "connects refused": (HANDSHAKE, ("refuse_connect", TAKEN)),
    "deleted": (HANDSHAKE, connect(), create(), publish(), command("deleteStream", 4, None, 1)),
}

ENDING_VERBS = {"refuse_publish", "end_publish", "refuse_play", "finish_play"}
NAMES = [*connection_commands.HANDLERS, *stream_commands.HANDLERS, "_result", "onStatus", "nonsense"]
u32s = st.integers(0, 2**32 - 1)
small_ids = st.integers(0, 3)

commands = st.builds(
    lambda name, transaction_id, values, msid: command(name, transaction_id, *values, msid=msid),
    st.sampled_from(NAMES),
    st.one_of(st.sampled_from([0, 1, 2]), st.floats()),
    st.lists(st.one_of(st.none(), st.just("s"), st.booleans(), small_ids, amf_values), max_size=4),
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
    st.sampled_from([connect(), create(), publish(), play(), publish(2), command("deleteStream", 4, None, 1)]),
    st.builds(video, st.binary(max_size=300), u32s, small_ids),
    st.builds(audio, st.binary(max_size=300), u32s, small_ids),
    st.builds(data, st.just(encode("@setDataFrame", "onMetaData", {})), small_ids),
)
aggregates = st.builds(
    lambda body, size: Message(messages.AGGREGATE, 0, 1, b"\x09" + size.to_bytes(3, "big") + bytes(7) + body, 4),
    st.binary(min_size=4, max_size=20),
    st.integers(0, 16),
)
MEDIA = (messages.AUDIO, messages.VIDEO, messages.DATA_AMF0, messages.DATA_AMF3, messages.AGGREGATE)


def is_media(message):
    return message.type_id in MEDIA


def as_media(message):
    return message._replace(type_id=MEDIA[message.type_id % len(MEDIA)])


items = st.one_of(
    st.one_of(commands, controls, others, sensible).map(lambda message: encode_message(message, 128)),
    st.binary(max_size=30),
)


@st.composite
def hostile_bytes(draw):
    """Draw a run of messages and junk, then overwrite or cut out a piece of it in one of two cases."""
    received = b"".join(draw(st.lists(items, max_size=8)))
    if draw(st.booleans()) and received:
        start = draw(st.integers(0, len(received) - 1))
        end = draw(st.integers(start, min(len(received), start + 20)))
        received = received[:start] + draw(st.binary(max_size=20)) + received[end:]
    return received


def bring_to(prefix):
    """Make a session in one of the states of PREFIXES, and the client's ear that goes with it."""
    session = new_session()
    listener = Listener()
    events = []
    for step in PREFIXES[prefix]:
        if isinstance(step, Message):
            events += session.receive_data(encode_message(step, 128), START)
        elif isinstance(step, bytes):
            events += session.receive_data(step, START)
        else:
            verb, *arguments = step
            getattr(session, verb)(*arguments)
        listener.read(session.data_to_send())
    return session, listener, events


def feed_in_pieces(session, listener, received, cuts):
    """Feed bytes cut at some places, and read the answers after each piece."""
    events = []
    edges = [0, *sorted({cut % (len(received) + 1) for cut in cuts}), len(received)]
    for start, end in pairwise(edges):
        events += session.receive_data(received[start:end], START)
        listener.read(session.data_to_send())
    return events


def check_promises(session, events, prefix):
    """Check what the owner may rely on, once the connection is closed."""
    assert sum(isinstance(event, Terminated) for event in events) == 1
    assert isinstance(events[-1], Terminated)
    assert session.next_deadline() is None
    assert session.receive_data(HANDSHAKE, START) == []
    assert session.receive_eof(START) == []
    assert session.handle_timer(START + 1e6) == []
    decided = [step for step in PREFIXES[prefix] if type(step) is tuple]
    ended = sum(step[0] in ENDING_VERBS for step in decided)
    assert count(events, PublishRequested, PlayRequested) == count(events, PublishEnded, PlayEnded) + ended


def count(events, *kinds):
    return sum(isinstance(event, kinds) for event in events)


@given(received=hostile_bytes(), cuts=st.lists(st.integers(0, 2000), max_size=5))
def test_any_bytes_in_any_split_after_any_beginning_are_survived_and_reported_alike(received, cuts):
    for prefix in PREFIXES:
        session, listener, before = bring_to(prefix)
        events = feed_in_pieces(session, listener, received, cuts)
        check_promises(session, before + events + session.receive_eof(START), prefix)

        other_session, other_listener, _ = bring_to(prefix)
        assert events == feed_in_pieces(other_session, other_listener, received, ())


@given(received=hostile_bytes(), late_s=st.floats(0, 100))
def test_any_bytes_and_then_silence_end_by_a_deadline_or_wait_for_the_owner(received, late_s):
    for prefix in PREFIXES:
        session, listener, events = bring_to(prefix)
        events += feed_in_pieces(session, listener, received, ())
        deadline = session.next_deadline()
        late = session.handle_timer(START + late_s)
        assert count(late, Terminated) == (deadline is not None and deadline <= START + late_s)
        check_promises(session, events + late + session.receive_eof(START + late_s), prefix)


@given(
    media=st.lists(st.one_of(sensible, aggregates, others.map(as_media)).filter(is_media), max_size=8),
    cuts=st.lists(st.integers(0, 2000), max_size=5),
    granted_after=st.integers(0, 8),
)
def test_whenever_a_publish_is_granted_the_same_media_are_reported(media, cuts, granted_after):
    def publish_them(granted_after):
        session, listener, events = bring_to("publish requested")
        received = [encode_message(message, 128) for message in media]
        events += feed_in_pieces(session, listener, b"".join(received[:granted_after]), cuts)
        events += session.accept_publish(1, START)
        return events + feed_in_pieces(session, listener, b"".join(received[granted_after:]), cuts)

    assert publish_them(granted_after) == publish_them(0)


VERBS = {
    PublishRequested: (
        lambda session, event: session.accept_publish(event.message_stream_id, START),
        lambda session, event: session.refuse_publish(event.message_stream_id, TAKEN, START),
    ),
    PlayRequested: (
        lambda session, event: session.accept_play(event.message_stream_id, START),
        lambda session, event: session.refuse_play(event.message_stream_id, GONE, START),
    ),
}


@given(st.lists(items, max_size=30), st.data())
def test_an_owner_that_decides_at_once_never_meets_an_error(received, draws):
    session, listener, _ = bring_to("stream created")
    terminated = 0
    for item in received:
        events = session.receive_data(item, START)
        listener.read(session.data_to_send())
        ended = {event.message_stream_id for event in events if isinstance(event, PublishEnded | PlayEnded)}
        for event in events:
            terminated += isinstance(event, Terminated)
            if type(event) in VERBS and event.message_stream_id not in ended:
                draws.draw(st.sampled_from(VERBS[type(event)]))(session, event)
                listener.read(session.data_to_send())
    terminated += count(session.receive_eof(START), Terminated)
    assert terminated == 1
