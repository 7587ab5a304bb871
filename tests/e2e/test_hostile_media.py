"""
Hostile media against a real server: cases 54 to 67 of protocol.md, section 8.2 (see test_hostile).

Each attack is a real publish with a player and a recording: valid groups of pictures, and hostile messages in front of
them or between them. Whatever those are, all valid frames must come out at the player and in the one file of the
recording, which must open; and the media worker must live.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time
from pathlib import Path

import av
import av.error
import pytest

from rtmpd.wire.amf import EcmaArray
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.messages import AGGREGATE, AUDIO, DATA_AMF0, DATA_AMF3, VIDEO, Message
from tests.helpers.attack import Arena, Attack, table, wire
from tests.helpers.chunks import set_chunk_size
from tests.helpers.footage import demux, feed_of
from tests.helpers.hostile_media import AVC_KEY, ROWS, metadata, pictures
from tests.helpers.media import frames_of, is_key_frame, packets_of, read_tags
from tests.helpers.processes import wait_until
from tests.helpers.transcript import command

pytestmark = pytest.mark.e2e

CHUNK_SIZE = 65_536
CHUNK_STREAM_IDS = {AUDIO: 4, VIDEO: 6, DATA_AMF0: 5, DATA_AMF3: 5, AGGREGATE: 7}
METADATA_BYTES_PER_S = 256 << 10
METADATA_BURST_BYTES = 1 << 20
"""What the limits allow, by default."""


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    with Arena(tmp_path_factory.mktemp("arena")) as arena:
        yield arena


@pytest.fixture(autouse=True)
def nobody_else_is_harmed(arena):
    yield
    arena.check()


@pytest.fixture(scope="module")
def valid(sources):
    """Two groups of pictures with their sound; metadata and headers in front."""
    tags = sources.tags("short")
    second = [number for number, tag in enumerate(tags) if is_key_frame(tag)][1]
    return tags[:second], tags[second:]


class Stage:
    """A publisher of a recorded stream and a player of it."""

    def __init__(self, arena, name):
        self.arena = arena
        self.path = f"recorded/{name}"
        self.sent: list[FlvTag] = []
        self.valid: list[FlvTag] = []
        self.player = arena.attacker().play(name, app="recorded")
        self.publisher = arena.attacker().publish(name, app="recorded")
        self.publisher.send(set_chunk_size(CHUNK_SIZE))
        # Who reads only now and then may fall out of the log, and rightly so.
        self._reader = threading.Thread(target=self._play)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.publisher.__exit__()
        self._reader.join()
        self.player.__exit__()

    def _play(self):
        with contextlib.suppress(TimeoutError):
            while "stream eof 1" not in self.player.said and self.player.receive():
                pass

    def send(self, tags):
        """Publish tags, each as a message."""
        self.sent += tags
        found = (Message(*tag[:2], 1, tag.body, CHUNK_STREAM_IDS[tag.type_id]) for tag in tags)
        self.publisher.send(wire(*found, chunk_size=CHUNK_SIZE))

    def wait_for_player(self):
        """Wait until the player has the newest frame: one that is two groups behind may rightly be spared the older one."""
        newest = frames_of(self.sent)[-1:]
        wait_until(lambda: frames_of(self.player.media[-1:]) == newest, "the newest frame at the player")

    def finish(self):
        """End the stream; what the player got, and the tags of the recording."""
        self.publisher.send(wire(command("deleteStream", 0, None, 1)))
        self.publisher.ping()
        self._reader.join()
        assert "stream eof 1" in self.player.said, self.player.log_line()
        server = self.arena.server
        self.facts = server.wait_for("recording closed", stream=self.path)
        (started,) = server.found("recording started", stream=self.path)
        self.file = Path(started["path"])
        return self.player.media, read_tags(self.file)


def opens(source):
    """Whether FFmpeg opens a file or its bytes."""
    try:
        av.open(source if isinstance(source, Path) else io.BytesIO(source), format="flv").close()
    except av.error.FFmpegError:
        return False
    return True


def assert_opens(stage, recorded, frames):
    """See that FFmpeg opens the file, unless it refuses the hostile bytes as such, and reads all that is valid in it."""
    assert opens(stage.file) or not opens(feed_of([tag for tag in stage.sent if tag.type_id in (AUDIO, VIDEO)]))
    bodies = {tag.body for tag in stage.valid}
    assert len(demux(feed_of([tag for tag in recorded if tag.body in bodies]))) == len(frames)


def assert_holds(found, frames):
    """See that all frames are among those found, in their order."""
    rest = iter(frames_of(found))
    assert all(frame in rest for frame in frames)


@pytest.mark.parametrize(
    "bodies",
    [pytest.param(row, id=row.name) for row in ROWS],
)
def test_valid_frames_come_through_to_the_player_and_the_file(bodies, valid, arena):
    first, second = valid
    frames = frames_of([*first, *second])
    with Stage(arena, bodies.name) as stage:
        stage.valid = [*first, *second]
        stage.send([*bodies.tags, *first])
        stage.wait_for_player()
        stage.send([*bodies.tags, *second])
        stage.publisher.ping()
        with arena.attacker() as late:
            late.play(stage.path.partition("/")[2], app="recorded")
            late.receive_until(lambda: frames_of(late.media)[-1:] == frames[-1:], "the last frame")
            assert is_key_frame(next(each for each in late.media if frames_of([each])))
        played, recorded = stage.finish()

    assert_holds(played, frames)
    assert_holds(recorded, frames)
    assert {body for type_id, _, _, body, _ in played if type_id != DATA_AMF0} <= {tag.body for tag in stage.sent}
    assert_opens(stage, recorded, frames)
    assert stage.facts["video_frames"] + stage.facts["audio_frames"] == len(frames_of(recorded))


def test_63_a_stream_without_key_frame_is_played_and_recorded(valid, arena):
    first, _ = valid
    tags = [tag for tag in first if tag.type_id == VIDEO and not is_key_frame(tag)]
    with Stage(arena, "no key frame") as stage:
        stage.send(tags)
        played, recorded = stage.finish()
    assert frames_of(played) == frames_of(recorded) == frames_of(tags)
    assert packets_of(stage.file)


def test_63_a_stream_without_a_header_is_played_and_its_recording_says_what_it_leaves_out(valid, arena):
    """FFmpeg opens no file that begins with such a picture, also if a header comes later."""
    first, _ = valid
    headless = [tag for tag in first if frames_of([tag]) and tag.type_id == VIDEO]
    with Stage(arena, "no header") as stage:
        stage.send([*headless, *first])
        played, recorded = stage.finish()
    assert frames_of(played) == frames_of([*headless, *first])
    assert frames_of(recorded) == frames_of(first)
    assert stage.facts["left_out"] == len(headless)
    assert packets_of(stage.file)


# Aggregates


def part(type_id, body, size=None, time=0):
    length = len(body) if size is None else size
    head = bytes((type_id,)) + length.to_bytes(3, "big") + time.to_bytes(3, "big") + bytes(4)
    return head + body + (len(body) + 11).to_bytes(4, "big")


def rows_of_aggregates():
    """Case 65, where it ends the session."""
    good = part(VIDEO, AVC_KEY + b"picture")
    for name, body in {
        "inner length beyond the end": part(VIDEO, b"short", size=1000),
        "inner length of 16 MB": good + part(VIDEO, b"short", size=0xFFFFFF),
        "cut in a header": good + good[:7],
        "cut in a back pointer": good[:-2],
        "aggregate inside": part(AGGREGATE, good),
        "command inside": part(20, command("deleteStream", 0, None, 1).body),
        "Set Chunk Size inside": part(1, b"\0\0\0\x01"),
        "1025 parts": part(AUDIO, b"") * 1025,
        "a million parts": part(AUDIO, b"") * 1_000_000,
    }.items():
        sent = set_chunk_size(1 << 24) + wire(Message(AGGREGATE, 0, 1, body, 7), chunk_size=1 << 24)
        yield Attack("65", name, "publishing", sent, "message: (an|a part of an) aggregate .+")


@table(rows_of_aggregates())
def test_a_broken_aggregate_ends_the_session(attack, arena):
    arena.ends(attack)


def test_65_an_aggregate_is_played_and_recorded_as_its_parts(valid, arena):
    first, _ = valid
    with Stage(arena, "aggregate") as stage:
        body = b"".join(part(tag.type_id, tag.body, time=tag.timestamp_ms) for tag in first)
        stage.send([FlvTag(AGGREGATE, 0, body)])
        played, recorded = stage.finish()
    assert frames_of(played) == frames_of(recorded) == frames_of(first)
    assert packets_of(stage.file)


# Bombs


def test_66_metadata_with_each_frame_reaches_the_player_within_its_rate(valid, arena):
    first, second = valid
    bomb = metadata(EcmaArray({"x": "y" * 1_000_000}))
    pictures_only = [tag for tag in first if tag.type_id == VIDEO]
    began_s = time.monotonic()
    with Stage(arena, "bomb") as stage:
        stage.send(first)
        for tag in pictures_only[:20]:
            stage.send([*bomb, tag])
        stage.send(second)
        played, recorded = stage.finish()
    seconds = time.monotonic() - began_s  # the limit is one of time, however long somebody stood still in between
    got = sum(len(each.body) for each in played if each.type_id == DATA_AMF0)
    print(f"{got} bytes of metadata of {20 * len(bomb[0].body)}")  # noqa: T201
    assert got <= METADATA_BURST_BYTES + METADATA_BYTES_PER_S * seconds
    assert_holds(played, frames_of(second))
    assert_holds(recorded, frames_of(second))
    assert packets_of(stage.file)


def test_66_headers_without_end_do_not_grow_what_late_joiners_get(valid, arena):
    """60 KB for each of 256 tracks and several kinds of packet: of these 46 MB half a megabyte is kept."""
    first, second = valid
    kinds = (0, 4, 5)
    headers = [
        bytes((0x96, kind)) + b"avc1" + bytes((track,)) + bytes(60_000) for track in range(256) for kind in kinds
    ]
    with Stage(arena, "headers") as stage:
        stage.send([*first, *pictures(*headers), *second])
        stage.publisher.ping()
        with arena.attacker() as late:
            late.play("headers", app="recorded")
            late.receive_until(lambda: frames_of(late.media), "a frame")
            got = late.received_bytes
        _, recorded = stage.finish()
    print(f"{got} bytes in front of the first frame")  # noqa: T201
    assert got < 1_000_000
    assert_holds(recorded, frames_of(second))


def test_nothing_is_left_of_it(arena):
    arena.check_for_leaks()
