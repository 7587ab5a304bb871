"""Viewers: who is told what, also when they come and go while others are told."""

from __future__ import annotations

from rtmpd.live.fragments import FRAGMENT_FORM
from rtmpd.live.log import Log, Retention
from rtmpd.workers.packaging_viewers import Viewers

LOG = Log(FRAGMENT_FORM, Retention())


class Told:
    """A viewer that keeps what it was told."""

    def __init__(self, act=lambda: None):
        self.told = []
        self.act = act

    def fragments_started(self, log):
        self.told.append(log)
        self.act()

    def fragments_ended(self, reason):
        self.told.append(reason)
        self.act()


def test_those_who_wait_are_started_once():
    viewers, one = Viewers(), Told()
    viewers.attach(one)
    viewers.start(LOG)
    viewers.start(LOG)

    assert one.told == [LOG]
    assert len(viewers) == 1


def test_the_end_of_playing_leaves_those_who_wait():
    viewers, playing, waiting = Viewers(), Told(), Told()
    viewers.attach(playing)
    viewers.start(LOG)
    viewers.attach(waiting)
    viewers.end_playing("over")
    assert (playing.told, waiting.told, len(viewers)) == ([LOG, "over"], [], 1)

    viewers.end("gone")
    assert (playing.told, waiting.told, len(viewers)) == ([LOG, "over"], ["gone"], 0)


def test_who_is_detached_is_told_nothing():
    viewers, one = Viewers(), Told()
    viewers.attach(one)
    viewers.detach(one)
    viewers.detach(one)
    viewers.start(LOG)
    viewers.end("gone")

    assert one.told == []


def test_who_comes_back_when_it_is_ended_waits_again():
    viewers = Viewers()
    one = Told(lambda: viewers.attach(one) if one.told[-1] == "over" else None)
    viewers.attach(one)
    viewers.start(LOG)
    viewers.end_playing("over")
    viewers.start(LOG)

    assert one.told == [LOG, "over", LOG]


def test_who_leaves_when_another_is_started_is_not_started():
    viewers = Viewers()
    both = [Told(lambda: viewers.detach(both[1])), Told(lambda: viewers.detach(both[0]))]
    for each in both:
        viewers.attach(each)
    viewers.start(LOG)

    assert sorted(len(each.told) for each in both) == [0, 1]
