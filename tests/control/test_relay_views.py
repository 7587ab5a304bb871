"""Relays of all sources in one list."""

from __future__ import annotations

from rtmpd.control.relay_views import RelayDesk, RelayView


def view(kind="push", stream="live/s", **fields):
    values = {"state": "live", "reason": "", "since": 5.0, "attempts": 1, "bytes": 7} | fields
    return RelayView(kind=kind, stream=stream, url_shown="rtmp://a/app/***", **values)


def test_relays_of_all_sources_are_listed_by_their_streams():
    pushes = [view(stream="live/z"), view(stream="live/b", target_id="t", state="backing_off", reason="refused")]
    desk = RelayDesk(lambda: pushes, lambda: [view("pull", "live/a")])

    relays = desk.list().relays

    assert [(each.kind, each.stream) for each in relays] == [("pull", "live/a"), ("push", "live/b"), ("push", "live/z")]
    assert relays[1].model_dump() == {
        "kind": "push",
        "stream": "live/b",
        "url": "rtmp://a/app/***",
        "state": "backing_off",
        "reason": "refused",
        "since": 5.0,
        "attempts": 1,
        "bytes": 7,
        "target_id": "t",
        "lag_ms": 0,
        "skipped_ms": 0,
    }


def test_without_relays_the_list_is_empty():
    assert RelayDesk(list, tuple).list().relays == []
