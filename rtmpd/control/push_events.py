"""
The callbacks of a publication, in the field names of the hosted service: it began (1), it ended (0), it is odd (321).
What it is relayed to (1001) is told in the same form; the hosted service has no number for that.

Fields that only delivery can know (the host, the signature) are added there; what stands here is the same at each
attempt. Event ids are made from the publication's sequence, so that a fact that is stored again owes nothing new.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from rtmpd.store.outbox import Owed
from rtmpd.store.publications import PublicationRow

ENDED, STARTED, ABNORMAL, RELAY_STATUS = 0, 1, 321, 1001
REASON_CHARACTERS = 256
"""What is told of the reason of an end."""
MAX_DETAILS = 10
"""Of the findings of one type that are merged, those that are described."""


class Cause(NamedTuple):
    """Why a publication ended, as a receiver is told."""

    errcode: int
    """Up to 99 the hosted service's number, above it one of ours."""
    errmsg: str
    """One line."""


class End(NamedTuple):
    """What is known of a publication once it is over."""

    cause: Cause
    duration_ms: int
    width: int
    """Pixels; 0 where the stream's headers do not say."""
    height: int


RelayEvent: TypeAlias = Literal["relay_live", "relay_lost", "relay_stopped"]


class RelayChange(NamedTuple):
    """What became of a relay."""

    event: RelayEvent
    target_id: str | None
    """None where the configuration names the target."""
    url_shown: str
    """Of the target, without its stream's key."""
    reason: str
    """Why; empty for one that is live and has never failed."""


class Finding(NamedTuple):
    """Equal oddities of a publication."""

    type_: int
    """The hosted service's number, from 100 on one of ours."""
    times: int
    details: tuple[tuple[str, float], ...]
    """What it was and when (unix seconds), of the first `MAX_DETAILS`."""


SERVER_DIED = Cause(104, "the server stopped before the publication ended")
_REPLACED, _SILENT, _STOPPING, _AT_FAULT, _SENT_AWAY = 102, 101, 103, 106, 105
_FAULTS = ("handshake: ", "chunk: ", "AMF: ", "message: ", "limit: ", "order: ", "protocol: ")
_CONNECTION_ERRORS = frozenset(os.strerror(number) for number in errno.errorcode)

_CAUSES: tuple[tuple[Callable[[str], bool], int, str], ...] = (
    ("deleteStream".__eq__, 1, "recv rtmp deleteStream"),
    ("closeStream".__eq__, 2, "recv rtmp closeStream"),
    (lambda reason: reason.startswith("peer closed"), 3, "recv() return 0"),
    (_CONNECTION_ERRORS.__contains__, 4, "recv() return error: {}"),
    (lambda reason: reason.startswith("limit: message of "), 7, "rtmp message too large: {}"),
    (lambda reason: reason.startswith("timeout: "), _SILENT, "{}"),
    (lambda reason: reason.startswith("replaced by another publisher"), _REPLACED, "{}"),
    (lambda reason: reason.startswith("server stops"), _STOPPING, "{}"),
    (lambda reason: reason.startswith(_FAULTS), _AT_FAULT, "{}"),
)
"""How reasons are recognised, with the number and the words that they become; the first that fits counts."""


def cause_of(reason: str) -> Cause:
    """
    Translate the reason of an end.

    Args:
        reason: as the journal is told.

    Returns:
        The number and the words for the receiver; a reason that the table does not know is one for which the server
        sent the publisher away (an operator, a limit).
    """
    shown = reason if len(reason) <= REASON_CHARACTERS else f"{reason[: REASON_CHARACTERS - 1]}…"
    for matches, errcode, words in _CAUSES:
        if matches(reason):
            return Cause(errcode, words.format(shown))
    return Cause(_SENT_AWAY, shown)


def started(row: PublicationRow, node: str) -> Owed:
    """
    Tell that a publication began (event 1).

    Args:
        row: of the publication.
        node: the name of this server.
    """
    body = {**_common(row, STARTED, row.started_at, node), "errcode": 0, "errmsg": "", "width": 0, "height": 0}
    return Owed(f"push-1-{row.sequence}", STARTED, _path(row), body, row.started_at)


def ended(row: PublicationRow, node: str, end: End) -> Owed:
    """
    Tell that a publication ended (event 0).

    Args:
        row: of the publication, with its end.
        node: the name of this server.
        end: how it ended.
    """
    assert row.ended_at is not None
    body = {
        **_common(row, ENDED, row.ended_at, node),
        "errcode": end.cause.errcode,
        "errmsg": end.cause.errmsg,
        "push_duration": str(end.duration_ms),
        "width": end.width,
        "height": end.height,
    }
    return Owed(f"push-0-{row.sequence}", ENDED, _path(row), body, row.ended_at)


def abnormal(
    row: PublicationRow, node: str, number: int, findings: Sequence[Finding], interval_s: float, now: float
) -> Owed:
    """
    Tell what is odd about a publication (event 321).

    Args:
        row: of the publication.
        node: the name of this server.
        number: of the report among those of the publication.
        findings: one for each type.
        interval_s: how long equal ones are merged.
        now: unix seconds.
    """
    body = {
        **_common(row, ABNORMAL, now, node),
        "report_interval": round(interval_s * 1000),
        "abnormal_event": [
            {
                "type": each.type_,
                "type_desc_en": TYPES[each.type_],
                "count": each.times,
                "detail": [{"desc": text, "occur_time": math.floor(at)} for text, at in each.details],
            }
            for each in findings
        ],
    }
    return Owed(f"push-321-{row.sequence}-{number}", ABNORMAL, _path(row), body, now)


def relay_status(row: PublicationRow, node: str, number: int, change: RelayChange, now: float) -> Owed:
    """
    Tell what became of a relay of a stream (event 1001).

    Args:
        row: of the stream's newest publication.
        node: the name of this server.
        number: of the change among all that this server tells.
        change: what happened.
        now: unix seconds.
    """
    body = {
        **_common(row, RELAY_STATUS, now, node),
        "relay_event": change.event,
        "target_id": change.target_id or "",
        "url": change.url_shown,
        "reason": change.reason,
    }
    return Owed(f"push-1001-{row.sequence}-{number}", RELAY_STATUS, _path(row), body, now)


VIDEO_BACK, AUDIO_BACK, VIDEO_JUMP, AUDIO_JUMP, VIDEO_STALLED, AUDIO_STALLED, VIDEO_CHANGED, AUDIO_CHANGED = (
    1, 2, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
UNCOMMON_CODEC, UNREADABLE_HEADER = 13, 14
VIDEO_MISSING, AUDIO_MISSING = 101, 102

TYPES: dict[int, str] = {
    VIDEO_BACK: "video timestamps went back",
    AUDIO_BACK: "audio timestamps went back",
    VIDEO_JUMP: "video timestamps jumped forward",
    AUDIO_JUMP: "audio timestamps jumped forward",
    VIDEO_STALLED: "video frames far apart",
    AUDIO_STALLED: "audio frames far apart",
    VIDEO_CHANGED: "video codec or size changed",
    AUDIO_CHANGED: "audio codec or format changed",
    UNCOMMON_CODEC: "uncommon codec",
    UNREADABLE_HEADER: "sequence header cannot be read",
    VIDEO_MISSING: "video announced and missing",
    AUDIO_MISSING: "audio announced and missing",
}
"""Every type of finding, for people. Those from 100 on are ours."""


def _common(row: PublicationRow, event_type: int, at: float, node: str) -> dict[str, Any]:
    return {
        "event_type": event_type,
        "stream_id": row.stream,
        "channel_id": row.stream,
        "appname": row.app,
        "event_time": math.floor(at),
        "sequence": row.sequence,
        "node": node,
        "user_ip": row.address,
        "stream_param": row.stream_param,
    }


def _path(row: PublicationRow) -> str:
    return f"{row.app}/{row.stream}"
