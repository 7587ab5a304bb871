"""What is asked of pushes and what comes of it, as values; and what follows from these alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rtmpd.control.push_recordings import Recorded
from rtmpd.errors import NotPossible
from rtmpd.store.pushes import Kept, PushRow, TargetRow

TARGETS = 16
"""Of one push."""


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What a push is to be."""

    channel_name: str
    channel_desc: str = ""
    encode_type: int | None = None
    """Which watch URLs are wanted, a number of `rtmpd.control.words`; None: all."""
    formats: tuple[str, ...] = ()
    """What the stream is recorded as while the push lasts."""
    record_id: int | None = None
    targets: tuple[str, ...] = ()
    """RTMP URLs."""


class Begun(NamedTuple):
    """A push that was started."""

    kept: Kept
    already: bool
    recorded: Recorded
    notes: list[str]


class Ended(NamedTuple):
    """What became of a push that was stopped."""

    known: bool
    already: bool
    stays_on: bool
    """Its application pushes every stream, so that it can be watched as before."""


def check_count(targets: Sequence[TargetRow]) -> None:
    """Refuse more targets than a push may have; raises NotPossible, "conflict"."""
    if len(targets) > TARGETS:
        raise NotPossible("conflict", f"a push has at most {TARGETS} targets")


def differences(push: PushRow, request: PushRequest) -> list[str]:
    """Say in what a push is not what this request asks for, which has started it again."""
    notes = []
    if request.formats and push.formats != request.formats:
        notes.append(f"it is recorded as {', '.join(push.formats)} already")
    if request.record_id not in {None, push.record_id}:
        notes.append(f"it keeps its record_id, {push.record_id}")
    if (push.channel_name, push.channel_desc) != (request.channel_name, request.channel_desc):
        notes.append("it keeps the name and the description that it was started with")
    return notes


def in_order(channel_ids: Sequence[str], outcomes: Mapping[str, Ended]) -> list[Ended]:
    """Answer for each id; the second time, what it asks for is so already."""
    seen: set[str] = set()
    answers = []
    for channel_id in channel_ids:
        outcome = outcomes[channel_id]
        answers.append(outcome._replace(already=outcome.known) if channel_id in seen else outcome)
        seen.add(channel_id)
    return answers
