from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from rtmpd.net.poller import Poller
from tests.helpers.studio import Clock


class Owner:
    def __init__(self, sock):
        self.socket = sock
        self.heard = []

    def on_readable(self):
        self.heard.append("readable")
        self.socket.recv(100)

    def on_writable(self):
        self.heard.append("writable")


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


class PacedLoop(Clock):
    """Descriptors of the running loop, and time that goes on when it is told to."""

    def add_reader(self, descriptor, callback):
        asyncio.get_running_loop().add_reader(descriptor, callback)

    def remove_reader(self, descriptor):
        asyncio.get_running_loop().remove_reader(descriptor)


class Sockets:
    def __init__(self, slice_s=1.0, loop=None, **pace):
        self.poller = Poller(loop or asyncio.get_running_loop(), slice_s, **pace)
        self.sockets = []

    def pair(self):
        ours, theirs = socket.socketpair()
        self.sockets += [ours, theirs]
        owner = Owner(ours)
        self.poller.register(ours.fileno(), owner)
        return owner, theirs

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.poller.close()
        for each in self.sockets:
            each.close()


def taking_time(clock, read):
    """A read that takes 2 ms of a clock."""

    def take():
        clock.go_on(0.002)
        read()

    return take


async def test_every_readable_socket_is_reported_and_again_while_there_is_more():
    with Sockets() as sockets:
        pairs = [sockets.pair() for _ in range(3)]
        for _, theirs in pairs:
            theirs.send(bytes(150))
        await until(lambda: all(owner.heard == ["readable", "readable"] for owner, _ in pairs))


async def test_one_socket_can_be_asked_for_room_at_once():
    with Sockets() as sockets:
        owner, _ = sockets.pair()
        owner.socket.setblocking(False)
        assert sockets.poller.is_writable(owner.socket.fileno())
        with contextlib.suppress(BlockingIOError):
            while owner.socket.send(bytes(1 << 16)):
                pass
        assert not sockets.poller.is_writable(owner.socket.fileno())


async def test_writability_is_reported_only_while_asked_for():
    with Sockets() as sockets:
        owner, _ = sockets.pair()
        descriptor = owner.socket.fileno()
        sockets.poller.watch(descriptor, owner, writable=True)
        await until(lambda: "writable" in owner.heard)
        sockets.poller.watch(descriptor, owner, writable=False)
        owner.heard.clear()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert owner.heard == []


async def test_loop_gets_a_turn_when_the_slice_is_used_up():
    with Sockets(slice_s=0.0) as sockets:
        pairs = [sockets.pair() for _ in range(10)]
        for _, theirs in pairs:
            theirs.send(b"x")
        counts = []
        async with asyncio.timeout(10):
            while sum(len(owner.heard) for owner, _ in pairs) < 10:
                await asyncio.sleep(0)
                counts.append(sum(len(owner.heard) for owner, _ in pairs))

    assert len(set(counts)) > 3


async def test_turns_are_made_rarer_when_reading_costs_more_than_its_share():
    loop = PacedLoop()
    with Sockets(loop=loop, share=0.1, max_delay_s=5.0) as sockets:
        owner, theirs = sockets.pair()
        owner.on_readable = taking_time(loop, owner.on_readable)
        theirs.send(b"a")
        await until(lambda: len(owner.heard) == 1)
        theirs.send(b"b")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(owner.heard) == 1
        assert loop.next_s == pytest.approx(loop.time() + 0.02)
        loop.run_next()
        await until(lambda: len(owner.heard) == 2)


async def test_poller_can_be_closed_in_a_pause():
    loop = PacedLoop()
    with Sockets(loop=loop, share=0.1) as sockets:
        owner, theirs = sockets.pair()
        owner.on_readable = taking_time(loop, owner.on_readable)
        theirs.send(b"a")
        await until(lambda: owner.heard)
    loop.run_next()
    assert len(owner.heard) == 1


async def test_socket_that_always_has_more_does_not_keep_the_others_from_being_served():
    with Sockets(slice_s=0.0) as sockets:
        order = []

        def reads(number):
            def read():
                order.append(number)
                pairs[number][0].socket.recv(1)
                return True

            return read

        pairs = [sockets.pair() for _ in range(5)]
        for number, (owner, theirs) in enumerate(pairs):
            owner.on_readable = reads(number)
            theirs.send(bytes(100_000 if number == 0 else 1))
        await until(lambda: set(order) == set(range(5)))

    assert max(order.index(number) for number in range(5)) <= 10


async def test_there_is_no_pause_while_somebody_has_more_to_read():
    with Sockets(share=1e-9, max_delay_s=5.0) as sockets:
        owner, theirs = sockets.pair()
        read = owner.on_readable
        owner.on_readable = lambda: read() is None and len(owner.heard) < 3
        theirs.send(bytes(250))
        await until(lambda: len(owner.heard) == 3)


async def test_each_turn_is_measured_once():
    with Sockets() as sockets:
        owner, theirs = sockets.pair()
        theirs.send(b"a")
        await until(lambda: owner.heard)

        assert sockets.poller.turns.count == 1
        assert sockets.poller.turns.sum_s > 0
