"""What one connection publishes: given back whenever and however it ends."""

from __future__ import annotations

import pytest

from rtmpd.live.stream import StreamState
from tests.helpers.rig import Rig


class Evicting:
    """An observer that has every publisher sent away as soon as it has its stream."""

    def __init__(self):
        self.ends = 0

    def stream_published(self, stream):
        stream.publication.evict("sent away")

    def stream_ended(self, stream, reason):
        self.ends += 1


@pytest.mark.parametrize(("grace_s", "state"), [(10.0, StreamState.GRACE), (0.0, None)])
async def test_connection_that_ends_while_it_is_given_a_stream_does_not_keep_it(grace_s, state):
    async with Rig() as rig:
        told = []
        rig.policy.grace_s = grace_s
        rig.services.registry.observers.append(Evicting())
        rig.services.journal.began = told.append
        client = rig.connect()
        await client.open()
        await client.command("publish", 3, None, "s", "live", message_stream_id=1)
        await client.end()
        stream = rig.services.registry.find("live", "s")

        assert rig.closed()[0]["reason"] == "sent away"
        assert (stream and (stream.publication, stream.state)) == (state and (None, state))
        assert told == []
        assert not rig.failures
