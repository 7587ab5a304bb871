"""What was asked for outlives the server: pushes and recordings go on after a restart, or end as they should; draining."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from muxers.playlist import parse
from tests.helpers.callback_server import CallbackServer, assert_never_altered
from tests.helpers.compare import read_packets
from tests.helpers.media import frames_of, is_frame, is_key_frame, read_tags
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import Closed, Connection, LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

ON_DEMAND = '[apps.live]\npush = "manual"\nrecord = "manual"\n'
RECORDED = '[apps.live]\nrecord = "auto"\nresume_s = 0\n'
STREAM = "live/s"
endings = pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])


class Asked(NamedTuple):
    """What is asked for of a stream: a push that is recorded, and a recording."""

    channel_id: str
    push_task: str
    task: str

    @classmethod
    def of(cls, server):
        server.api.wait_for_stream(STREAM)
        pushed = server.api.start_push(STREAM, record_file_type="HLS_FLV")
        recorded = server.api.start_record(STREAM, file_name="evening", formats=["flv", "mp4"])
        return cls(pushed["channel_id"], pushed["record_task_id"], recorded["task_id"])


def wait_until_recorded(server, frame):
    """Wait until the FLV files of both recordings, which keep nothing back, hold a frame."""

    def is_recorded():
        files = [path for path in server.recordings(STREAM) if path.suffix == ".flv"]
        return len(files) == 2 and all(frame in frames_of(read_tags(path)) for path in files)

    wait_until(is_recorded, "a frame in both recordings")


def publish_until_the_end(server, tags, *, is_killed):
    """
    Publish, ask for everything, and stop the server or kill all that it is.

    Returns:
        What was asked, what was sent, and what a player saw of it: all, or until just before the kill.
    """
    with LivePublisher(server.address, "s", tags) as publisher:
        asked = Asked.of(server)
        with Player(server.address, "s") as player:
            player.wait_for_media(20)
            player.wait_until_played(publisher.sent_ms + 1_500)
            if is_killed:
                seen = frames_of(player.media)
                wait_until_recorded(server, seen[-1])
                server.kill_all()
            else:
                server.stop()
                player.wait_for_end()
                seen = frames_of(player.media)
    return asked, list(publisher.sent), seen


def states_of(server):
    return {each["task_id"]: each["state"] for each in server.api.get("records").body["records"]}


def wait_until_closed(server, task):
    """What a recording that has ended by itself wrote, once that is whole."""
    wait_until(lambda: server.api.stop_record(task)["state"] == "closed", f"the files of {task}")
    return server.api.stop_record(task)


def paths_of(server, stopped, file_format):
    """The files of a recording in a format, in their order."""
    files = [file for file in stopped["files"] if file["format"] == file_format]
    assert all(file["state"] == "closed" for file in files)
    return [server.data / "recordings" / file["path"] for file in files]


def packets_in(path):
    return sum(map(len, read_packets(path).values()))


def run_of(path, sent):
    """See that an FLV file is a run of what was sent, from a key frame on; where it begins and ends."""
    tags = [tag for tag in read_tags(path) if is_frame(tag)]
    frames, whole = frames_of(tags), frames_of(sent)
    assert is_key_frame(tags[0])
    start = whole.index(frames[0])
    assert whole[start : start + len(frames)] == frames
    return start, start + len(frames)


def end_of(seen, sent):
    """How many of the sent frames had come when a player saw its last one."""
    return frames_of(sent).index(seen[-1]) + 1


def assert_recorded(server, stopped, first, second, *, is_killed):
    """See that nothing is missing in the two files of a recording, and what it has beside them is as long."""
    (sent, seen), (sent_again, seen_again) = first, second
    before, after = paths_of(server, stopped, "flv")
    _, stop = run_of(before, sent)
    assert stop >= end_of(seen, sent) if is_killed else stop == end_of(seen, sent)
    start, stop = run_of(after, sent_again)
    assert start == 0
    assert stop >= end_of(seen_again, sent_again)
    others = [*paths_of(server, stopped, "mp4"), *paths_of(server, stopped, "hls")]
    assert others
    if not is_killed:
        assert sum(map(packets_in, others)) == packets_in(before) + packets_in(after)


@endings
def test_a_push_and_recordings_by_request_go_on_when_the_server_and_the_publisher_are_back(
    directory, sources, is_killed
):
    tags = sources.tags("long")
    with CallbackServer() as receiver:
        config = ON_DEMAND + receiver.config
        with Server(directory, config) as server:
            asked, *first = publish_until_the_end(server, tags, is_killed=is_killed)
        with Server(directory, config) as server:
            (waiting,) = server.api.get("pushes").body["pushes"]
            assert (waiting["channel_id"], waiting["state"]) == (asked.channel_id, "waiting")
            with LivePublisher(server.address, "s", tags) as publisher, Player(server.address, "s") as player:
                player.wait_for_media(40)
                tasks = {asked.push_task: "running", asked.task: "running"}
                wait_until(lambda: states_of(server) == tasks, "recordings that go on")
                (push,) = server.api.get("pushes").body["pushes"]
                assert (push["channel_id"], push["state"]) == (asked.channel_id, "on")
                assert push["record_task_id"] == asked.push_task
                publisher.wait_until_sent(2_200)
                recorded = frames_of(player.media)
                stopped = server.api.stop_record(asked.task)
                unpushed = server.api.stop_push(asked.channel_id)
                player.wait_for_end()
                pushed = server.api.stop_record(asked.push_task)
                assert not server.api.stream(STREAM)["public"]
                publisher.finish()
            second = list(publisher.sent), recorded
            receiver.wait_for(STREAM, 0, count=2)
            wait_until(lambda: not server.api.get("callbacks").body["pending"], "everything told")
            assert_recorded(server, stopped, first, second, is_killed=is_killed)
            assert_recorded(server, pushed, first, second, is_killed=is_killed)
            (playlist,) = paths_of(server, pushed, "hls")

    assert (stopped["already"], unpushed["already"], pushed["already"]) == (False, False, True)
    assert [segment.discontinuity for segment in parse(playlist.read_text()).segments].count(True) == 1
    turns = ["start_succeeded", "paused", "resumed", "ended"]
    assert_told(receiver, asked, [turns], [*stopped["files"], *pushed["files"]])
    pushes = [(body["event_type"], body["sequence"]) for body in receiver.of(STREAM, 0, 1)]
    assert [kind for kind, _ in pushes] == [1, 0, 1, 0]
    assert (pushes[0][1], pushes[2][1]) == (pushes[1][1], pushes[3][1])


def assert_told(receiver, asked, turns, files):
    """See that the turns of both recordings were told, in one of the ways that may be, and each file."""
    for task in (asked.push_task, asked.task):
        told = [body for body in receiver.of(STREAM, 332) if body["task_id"] == task]
        assert [body["record_event"].removeprefix("record_") for body in told] in turns
        assert [body["seq"] for body in told] == list(range(1, len(told) + 1))
    assert {body["file_id"] for body in receiver.of(STREAM, 100)} == {file["file_id"] for file in files}
    assert_never_altered(receiver.attempts)


@endings
def test_a_push_and_recordings_whose_publisher_stays_away_end_by_themselves(directory, sources, is_killed):
    with CallbackServer() as receiver:
        config = ON_DEMAND + "push_kept_s = 1\nresume_s = 1\n" + receiver.config
        with Server(directory, config) as server:
            asked, sent, _ = publish_until_the_end(server, sources.tags("long"), is_killed=is_killed)
        with Server(directory, config) as server:
            wait_until(lambda: not server.api.get("pushes").body["pushes"] and not states_of(server), "their end")
            results = [wait_until_closed(server, task) for task in (asked.task, asked.push_task)]
            unpushed = server.api.stop_push(asked.channel_id)
            wait_until(lambda: not server.api.get("callbacks").body["pending"], "everything told")
            for stopped in results:
                (path,) = paths_of(server, stopped, "flv")
                run_of(path, sent)

            # The next one of the name is private again, and is not recorded.
            with LivePublisher(server.address, "s", sources.tags("long")):
                assert not server.api.wait_for_stream(STREAM)["public"]
                assert not states_of(server)

    assert all((stopped["already"], stopped["state"]) == (True, "closed") for stopped in results)
    assert (unpushed["already"], unpushed["state"]) == (True, "stopped")
    # Who was killed and comes back after the window has not paused.
    turns = [["start_succeeded", "paused", "ended"], *([["start_succeeded", "ended"]] if is_killed else [])]
    assert_told(receiver, asked, turns, [file for each in results for file in each["files"]])
    assert [body["event_type"] for body in receiver.of(STREAM, 0, 1)][:2] == [1, 0]


def test_a_server_that_is_drained_admits_nobody_and_ends_with_its_last_client(directory, sources):
    with (
        CallbackServer() as receiver,
        Server(directory, RECORDED + "[limits]\ncommand_s = 600\n" + receiver.config) as server,
        Connection(server.address).connect() as last,
        Player(server.address, "s") as player,
        LivePublisher(server.address, "s", sources.tags("long")) as publisher,
    ):
        player.wait_until_played(500)
        draining = server.api.post("drain", {"timeout": 600})
        assert (draining.status, draining.body["publishers"], draining.body["players"]) == (200, 1, 1)
        assert server.api.post("drain", {"timeout": 600}).body["already"]
        with pytest.raises((OSError, Closed)), Connection(server.address).connect().publish("late"):
            pass
        publisher.wait_until_sent(publisher.sent_ms + 1_500)
        assert server.running
        publisher.finish()
        player.wait_for_end()
        receiver.wait_for(STREAM, count=5)
        assert server.running
        last.close()
        assert server.wait() == 0
        server.check_log()

        (path,) = server.recordings(STREAM)
        assert frames_of(read_tags(path)) == frames_of(publisher.sent) == frames_of(player.media)
        assert [body["event_type"] for body in receiver.of(STREAM, 0, 1)] == [1, 0]
        assert [body["event_type"] for body in receiver.of(STREAM, 100, 332)] == [332, 100, 332]


def test_a_server_that_is_drained_ends_at_the_deadline_and_keeps_what_it_owes(directory, sources):
    with CallbackServer() as receiver:
        config = RECORDED + receiver.config
        receiver.go_down()
        with (
            Server(directory, config) as server,
            Player(server.address, "s") as player,
            LivePublisher(server.address, "s", sources.tags("long")),
        ):
            player.wait_until_played(500)
            assert server.api.post("drain", {"timeout": 0.5}).status == 200
            player.wait_for_end()
            assert server.wait() == 0
            server.check_log()
        (path,) = server.recordings(STREAM)
        assert frames_of(read_tags(path)) == frames_of(player.media)
        assert not receiver.attempts

        receiver.come_back()
        with Server(directory, config) as server:
            wait_until(lambda: not server.api.get("callbacks").body["pending"], "everything told")
    assert [body["event_type"] for body in receiver.of(STREAM, 0, 1)] == [1, 0]
    assert [body["event_type"] for body in receiver.of(STREAM, 100, 332)] == [332, 100, 332]
