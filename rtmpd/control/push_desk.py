"""What callers ask of pushes, and what they are answered."""

from __future__ import annotations

from typing import Literal

from rtmpd.control import models, words
from rtmpd.control.push_values import Begun, Ended, PushRequest
from rtmpd.control.pushes import Pushes
from rtmpd.control.reach import Reach
from rtmpd.control.rooms import Named
from rtmpd.control.targets import TargetStates, shown
from rtmpd.control.urls import Watched, watched
from rtmpd.store.pushes import Kept, PushRow
from rtmpd.workers.answers import NotEntered


class PushDesk:
    """Takes requests about pushes."""

    def __init__(self, pushes: Pushes, reach: Reach, states: TargetStates) -> None:
        """
        Prepare.

        Args:
            pushes: of the server.
            reach: how streams are named and reached.
            states: know what became of their targets.
        """
        self._pushes = pushes
        self._reach = reach
        self._states = states

    async def start(self, request: models.PushStart) -> models.PushStarted:
        """Start a push; see `Pushes.start`. The URLs are those that this request wants, whatever the first one wanted."""
        named = self._reach.find(request.stream)
        begun = await self._pushes.start(named, _request(request))
        where = watched(self._reach.bases, named, request.outputs)
        return models.PushStarted(
            channel_id=begun.kept.push.channel_id,
            state=_state(begun.kept.push),
            already=begun.already,
            urls=where.urls,
            record_task_id=begun.recorded.task_id,
            targets=self._targets(begun.kept),
            notes=[*begun.notes, *where.notes, *await _entered(begun)],
        )

    async def stop(self, request: models.PushStop) -> models.PushesStopped:
        """Stop pushes; see `Pushes.stop`."""
        ended = await self._pushes.stop(request.channel_ids)
        pairs = zip(request.channel_ids, ended, strict=True)
        return models.PushesStopped(results=[_stopped(channel_id, each) for channel_id, each in pairs])

    async def add_target(self, channel_id: str, request: models.TargetAdd) -> models.TargetAdded:
        """Relay a pushed stream to one more place; see `Pushes.add_target`."""
        target, already = await self._pushes.add_target(channel_id, request.url)
        return models.TargetAdded(target=shown(target, self._states), already=already)

    async def remove_target(self, channel_id: str, target_id: str) -> models.Done:
        """Relay it to one place less; see `Pushes.remove_target`."""
        return models.Done(already=await self._pushes.remove_target(channel_id, target_id))

    def _show(self, kept: Kept) -> models.Push:
        push = kept.push
        named = Named(push.app, push.stream)
        return models.Push(
            channel_id=push.channel_id,
            stream=named.path,
            channel_name=push.channel_name,
            channel_desc=push.channel_desc,
            state=_state(push),
            mode=push.mode,
            started_at=push.started_at,
            waiting_since=push.waiting_since,
            record_id=push.record_id,
            record_task_id=push.record_task_id,
            urls=self._watched(named, push).urls,
            targets=self._targets(kept),
        )

    def _watched(self, named: Named, push: PushRow) -> Watched:
        outputs = None if push.encode_type is None else words.outputs(push.encode_type)
        return watched(self._reach.bases, named, outputs)

    def _targets(self, kept: Kept) -> list[models.Target]:
        return [shown(target, self._states) for target in kept.targets]

    def list(self) -> models.PushList:
        """Every push that is on, or waits for its publisher."""
        return models.PushList(pushes=[self._show(kept) for kept in self._pushes])


def _request(request: models.PushStart) -> PushRequest:
    kind = request.encode_type
    return PushRequest(
        channel_name=request.channel_name,
        channel_desc=request.channel_desc,
        encode_type=words.ENCODE_TYPES[kind] if isinstance(kind, str) else kind,
        formats=request.record_formats,
        record_id=request.record_id,
        targets=tuple(request.targets),
    )


def _state(push: PushRow) -> Literal["on", "waiting"]:
    return "on" if push.waiting_since is None else "waiting"


async def _entered(begun: Begun) -> list[str]:
    """Wait until the recording is in the index; the push is on in any case."""
    if begun.recorded.started is None:
        return []
    try:
        await begun.recorded.started.entered()
    except NotEntered as error:
        return [str(error)]
    return []


def _stopped(channel_id: str, ended: Ended) -> models.PushStopped:
    if not ended.known:
        return models.PushStopped(channel_id=channel_id, state="unknown", already=False)
    if ended.stays_on:
        note = "its application pushes every stream: it can be watched as before"
        notes = [note if ended.already else f"{note}; its recording and its targets have ended"]
        return models.PushStopped(channel_id=channel_id, state="on", already=ended.already, notes=notes)
    return models.PushStopped(channel_id=channel_id, state="stopped", already=ended.already)
