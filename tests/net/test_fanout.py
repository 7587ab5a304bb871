"""The fan-out: everyone gets everything, slow sockets wait alone, and passes make room for other work."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from rtmpd.live.subscription import MAX_PRIVATE_BYTES
from rtmpd.net.fanout import FanOut, Pace
from rtmpd.net.poller import Poller
from rtmpd.net.sink import Sink
from tests.helpers.live import inter_frame, key_frame, new_stream, publish, video_header
from tests.helpers.studio import Clock


class Owner:
    def __init__(self):
        self.sink = None
        self.fanout = None
        self.lost = []
        self.drained = 0

    def on_readable(self):
        pass

    def on_writable(self):
        self.fanout.serve(self.sink)

    def on_drained(self):
        self.drained += 1

    def on_lost(self, reason):
        self.lost.append(reason)
        with contextlib.suppress(ValueError, KeyError):
            self.poller.unregister(self.sink.descriptor)


class Hall:
    """A published stream, a fan-out and an audience on socketpairs; with a clock, pauses end when it is told so."""

    def __init__(self, pace=None, clock=None, **retention):
        loop = asyncio.get_running_loop()
        self.poller = Poller(loop, 0.005)
        self.fanout = FanOut(clock or loop, self.poller, pace or Pace())
        self.stream = new_stream(**retention)
        self.publication = publish(self.stream)
        self.sockets = []
        self.publish(video_header(), key_frame(0))

    def publish(self, *messages):
        for message in messages:
            self.publication.append(message, asyncio.get_running_loop().time())
        self.fanout.mark(self.stream.logs)

    def seat(self, *, patience_s=30.0, may_jump=True, send=None, settle=None, buffer_bytes=None):
        ours, theirs = socket.socketpair()
        self.sockets += [ours, theirs]
        ours.setblocking(False)
        theirs.setblocking(False)
        if buffer_bytes:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        owner = Owner()
        owner.fanout, owner.poller = self.fanout, self.poller
        owner.socket = theirs
        owner.ours = ours
        owner.sink = Sink(
            ours.fileno(),
            send(ours) if send else ours.send,
            owner,
            patience_s=patience_s,
            may_jump=may_jump,
            settle=settle,
        )
        self.poller.register(ours.fileno(), owner)
        owner.sink.join(self.stream.log)
        self.fanout.serve(owner.sink)
        return owner

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.poller.close()
        for each in self.sockets:
            each.close()

    def log_bytes(self):
        return self.stream.log.slice(self.stream.log.newest_key_frame.position, self.stream.log.end)


async def read_until(owner, size):
    data = bytearray()
    async with asyncio.timeout(10):
        while len(data) < size:
            data += await asyncio.get_running_loop().sock_recv(owner.socket, 1 << 20)
    return bytes(data)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_everyone_gets_the_same_bytes():
    async with Hall() as hall:
        owners = [hall.seat() for _ in range(200)]
        for number in range(20):
            hall.publish(inter_frame(40 * (number + 1), size=1000))
            await asyncio.sleep(0)
        preamble = len(hall.stream.log.newest_key_frame.preamble(hall.stream.log.form))
        expected = hall.log_bytes()
        received = [await read_until(owner, preamble + len(expected)) for owner in owners]

    assert {data[preamble:] for data in received} == {expected}


async def test_new_player_is_served_without_waiting_for_a_pass():
    async with Hall() as hall:
        owner = hall.seat()
        assert len(owner.socket.recv(1 << 20)) > len(hall.log_bytes())


async def test_partial_writes_are_resumed_at_any_byte():
    async with Hall() as hall:
        owner = hall.seat(send=lambda ours: lambda data: ours.send(data[:7]))
        hall.publish(*(inter_frame(40 * number, size=200, mark=number) for number in range(1, 20)))
        preamble = len(hall.stream.log.newest_key_frame.preamble(hall.stream.log.form))
        expected = hall.log_bytes()
        data = await read_until(owner, preamble + len(expected))

    assert data[preamble:] == expected


async def test_full_socket_waits_for_itself_and_nobody_else():
    async with Hall(bytes_=10_000_000) as hall:
        slow, good = hall.seat(buffer_bytes=4096), hall.seat()
        preamble = len(hall.stream.log.newest_key_frame.preamble(hall.stream.log.form))
        received = bytearray()
        for number in range(1, 30):
            hall.publish(inter_frame(40 * number, size=100_000))
            await until(lambda: good.sink.position == hall.stream.log.end or good.sink.blocked)
            while good.sink.position != hall.stream.log.end:
                received += await read_until(good, 1)
        received += await read_until(good, preamble + len(hall.log_bytes()) - len(received))

        assert received[preamble:] == hall.log_bytes()
        assert slow.sink.blocked
        data = await read_until(slow, preamble + len(hall.log_bytes()))
        assert data[preamble:] == hall.log_bytes()
        await until(lambda: not slow.sink.blocked)


async def test_socket_that_takes_nothing_is_given_up_after_its_patience_and_one_that_reads_is_not():
    async with Hall(bytes_=10_000_000) as hall:
        stalled, patient = hall.seat(patience_s=5.0), hall.seat(patience_s=50.0)
        for number in range(1, 30):
            hall.publish(inter_frame(40 * number, size=100_000))
        await until(lambda: stalled.sink.blocked and patient.sink.blocked)
        since_s = stalled.sink.progressed_s
        hall.fanout.cut_off_stalled(since_s + 4)
        assert stalled.lost == []
        hall.fanout.cut_off_stalled(since_s + 6)

    assert stalled.lost == ["too slow: nothing taken for 5 s"]
    assert patient.lost == []
    assert stalled.sink.log is None


async def test_who_has_taken_something_while_the_loop_stood_still_is_not_given_up():
    async with Hall(bytes_=10_000_000) as hall:
        reading = hall.seat(patience_s=5.0)
        for number in range(1, 30):
            hall.publish(inter_frame(40 * number, size=100_000))
        await until(lambda: reading.sink.blocked)
        position = reading.sink.position
        reading.socket.recv(1 << 20)
        hall.fanout.cut_off_stalled(asyncio.get_running_loop().time() + 6)
        assert reading.sink.position > position
        hall.fanout.cut_off_stalled(asyncio.get_running_loop().time() + 6)

    assert reading.lost == ["too slow: nothing taken for 5 s"]


async def test_who_has_taken_nothing_is_given_up_though_the_kernel_would_take_a_few_bytes_more():
    def roomy(ours):
        def send(data):
            try:
                return ours.send(data)
            except BlockingIOError:
                return 1

        return send

    async with Hall(bytes_=10_000_000) as hall:
        stalled = hall.seat(patience_s=5.0, send=roomy)
        for number in range(1, 30):
            hall.publish(inter_frame(40 * number, size=100_000))
        await until(lambda: stalled.sink.blocked)
        hall.fanout.cut_off_stalled(stalled.sink.progressed_s + 6)

    assert stalled.lost == ["too slow: nothing taken for 5 s"]


async def test_sink_that_is_owed_too_many_private_bytes_is_given_up():
    async with Hall() as hall:
        owner = hall.seat()
        owner.sink.insert(bytes(3 * MAX_PRIVATE_BYTES))
        hall.fanout.serve(owner.sink)
        hall.fanout.cut_off_stalled(asyncio.get_running_loop().time())

    assert owner.lost == ["too slow: control messages pile up"]


@pytest.mark.parametrize("may_jump", [True, False])
async def test_sink_that_fell_out_of_the_log_jumps_or_is_cut_off(may_jump):
    async with Hall(bytes_=500_000) as hall:
        owner = hall.seat(may_jump=may_jump)
        for number in range(1, 60):
            hall.publish(key_frame(40 * number, size=100_000))
            await asyncio.sleep(0)
        await until(lambda: owner.sink.fell_out)
        received = await read_until(owner, 100_000)
        if may_jump:
            while owner.sink.blocked or owner.sink.position != hall.stream.log.end:
                received += await read_until(owner, 1)
            assert owner.sink.skipped_ms > 0
        else:
            await until(lambda: owner.lost)
            assert owner.lost == ["too slow: fell out of the log"]


async def test_closed_socket_is_lost_and_the_others_are_served():
    async with Hall() as hall:
        owners = [hall.seat() for _ in range(5)]
        for owner in (owners[0], owners[3]):
            hall.poller.unregister(owner.ours.fileno())
            owner.ours.close()
        hall.publish(inter_frame(40))
        await until(lambda: owners[1].sink.position == hall.stream.log.end)

    assert [bool(owner.lost) for owner in owners] == [True, False, False, True, False]
    assert len(hall.stream.log.cursors) == 3


async def test_ending_sink_is_reported_when_everything_is_sent():
    async with Hall() as hall:
        owner = hall.seat()
        owner.sink.ending = True
        hall.fanout.serve(owner.sink)
        assert owner.drained == 1

        blocked = hall.seat()
        hall.publish(*(inter_frame(40 * number, size=100_000) for number in range(1, 30)))
        await until(lambda: blocked.sink.blocked)
        blocked.sink.ending = True
        hall.fanout.serve(blocked.sink)
        assert blocked.drained == 0
        while not blocked.drained:
            await read_until(blocked, 1)


async def test_transport_that_holds_bytes_back_is_not_done_before_they_are_out():
    async with Hall() as hall:
        settled = []
        owner = hall.seat(settle=lambda: bool(settled))
        assert owner.sink.blocked
        settled.append(True)
        await until(lambda: not owner.sink.blocked)
        hall.publish(inter_frame(40))
        await until(lambda: owner.sink.position == hall.stream.log.end)


async def test_passes_of_many_players_leave_room_for_other_work():
    async with Hall(pace=Pace(share=0.01, max_delay_s=0.05, slice_s=0.0)) as hall:
        owners = [hall.seat() for _ in range(300)]
        turns = 0
        hall.publish(inter_frame(40, size=1000))
        async with asyncio.timeout(10):
            while any(owner.sink.position != hall.stream.log.end for owner in owners):
                await asyncio.sleep(0)
                turns += 1

    assert turns > 3, "one slice would have served them all in a turn or two"


def taking_time(clock):
    """Sending that takes a millisecond of a clock."""

    def to(ours):
        def send(data):
            clock.go_on(0.001)
            return ours.send(data)

        return send

    return to


async def test_messages_that_come_during_the_pause_are_sent_by_the_next_pass():
    clock = Clock()
    async with Hall(Pace(share=0.1, max_delay_s=0.05), clock) as hall:
        owner = hall.seat(send=taking_time(clock))
        hall.publish(inter_frame(40))
        await asyncio.sleep(0)
        assert owner.sink.position == hall.stream.log.end
        hall.publish(inter_frame(80))
        assert clock.next_s == pytest.approx(clock.time() + 0.01)
        assert owner.sink.position != hall.stream.log.end
        clock.run_next()
        assert owner.sink.position == hall.stream.log.end


async def test_each_pass_is_measured_once_with_how_long_its_oldest_message_waited():
    clock = Clock()
    async with Hall(Pace(share=1e-9, max_delay_s=0.05), clock) as hall:
        owners = [hall.seat(send=taking_time(clock)) for _ in range(3)]
        fanout = hall.fanout
        hall.publish(inter_frame(40))
        await asyncio.sleep(0)
        assert (fanout.passes.count, fanout.delays.count) == (1, 1)
        assert fanout.delays.sum_s == pytest.approx(0.003)
        hall.publish(inter_frame(80))  # has to wait for the pause after the first pass
        clock.go_on(0.01)
        hall.publish(inter_frame(120))
        clock.run_next()

        assert (fanout.passes.count, fanout.delays.count) == (2, 2)
        assert fanout.passes.sum_s == pytest.approx(0.006)
        assert fanout.delays.sum_s == pytest.approx(0.003 + 0.05 + 0.003)
        assert all(owner.sink.position == hall.stream.log.end for owner in owners)


async def test_what_comes_during_a_pass_waits_from_then_on():
    async with Hall(Pace(slice_s=0.0)) as hall:
        for _ in range(200):
            hall.seat()
        hall.publish(inter_frame(40))
        await asyncio.sleep(0)
        assert hall.fanout.passes.count == 0  # only a slice of it is done
        hall.publish(inter_frame(80))
        await until(lambda: hall.fanout.passes.count == 2)

        assert hall.fanout.delays.count == 2
