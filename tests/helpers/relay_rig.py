"""Streams that are relayed: real connections, pushes and a database, and targets that a test plays."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager

from rtmpd.config_file import validate
from rtmpd.control.commits import Commits
from rtmpd.control.publications import Publications
from rtmpd.control.push_recordings import PushRecordings
from rtmpd.control.push_values import PushRequest
from rtmpd.control.pushes import Pushes
from rtmpd.control.relay_news import RelayNews
from rtmpd.control.relayed import RelayTools
from rtmpd.control.relays import Relays
from rtmpd.control.rooms import Named
from rtmpd.live.terms import Terms
from rtmpd.net.transport import tune
from rtmpd.session.limits import ClientLimits
from rtmpd.store.database import Database
from rtmpd.store.outbox import Outbox
from rtmpd.store.publications import PublicationBook
from tests.helpers.push import NODE
from tests.helpers.pushes import PlayedRecorder
from tests.helpers.rig import PATIENCE_S, Rig


class RelayRig:
    """Everything that relays need; made by `relay_rig`."""

    def __init__(self, rig, database, app):
        services = rig.services
        self.rig = rig
        self.targets = {}
        """What is dialled, by the host of the URL."""
        self.database = database
        self.commits = Commits(database, services.log, timeout_s=PATIENCE_S)
        self.publications = Publications(PublicationBook(database), services.log, NODE, rig.loop.time)
        services.journal = self.publications
        recorder = PlayedRecorder()
        recordings = PushRecordings(recorder, services.tasks, services.log)
        apps = validate({"apps": {"live": app}}).apps
        self.pushes = Pushes(self.commits, services.registry, recordings, apps, tasks=services.tasks, log=services.log)
        news = RelayNews(self.publications, services.log, time.time)
        self.relays = Relays(RelayTools(services, self._dial, ClientLimits(), news, time.time), self.pushes, apps)
        services.registry.observers += [self.publications, recorder, self.pushes, self.relays]
        rig.policy.terms = Terms(is_public=apps["live"].push == "auto")

    async def _dial(self, url):
        dialled = await self.targets[url.host].dial(url)
        tune(dialled.transport, 30.0)
        return dialled

    async def push(self, name="s", **fields):
        """Start a push."""
        return (await self.pushes.start(Named("live", name), PushRequest(**{"channel_name": "n"} | fields))).kept

    def views(self):
        """By URL."""
        return {view.url_shown: view for view in self.relays.views()}

    def states(self):
        """Of all relays, by the host of their targets."""
        return {view.url_shown.split("/")[2]: view.state for view in self.relays.views()}

    async def until_states(self, **states):
        """Wait until there are relays to these hosts, in these states, and no others."""
        await self.rig.until(lambda: self.states() == states)

    def said(self, event):
        """Lines of the log."""
        return [line for line in self.rig.lines if line["event"] == event]

    async def owed(self, event_type=1001):
        """Bodies of what is owed to receivers, in its order."""
        assert await self.publications.flush(PATIENCE_S)
        return [each.body for each in await Outbox(self.database).pending(1000) if each.event_type == event_type]


@asynccontextmanager
async def relay_rig(directory, *, rig=None, **app):
    """
    Make a server that relays; nothing of it is left at the end, and no task of it may fail.

    Args:
        directory: of its data.
        rig: its connections.
        app: of `[apps.live]`.
    """
    database = await Database.open(directory / "rtmpd.db")
    async with rig or Rig() as connections:
        made = RelayRig(connections, database, app)
        for work in (made.commits.run(), made.publications.run()):
            connections.services.tasks.supervise(work, "writing")
        await made.pushes.take_up()
        yield made
        connections.services.registry.end_all("test ends")
        await made.relays.close(PATIENCE_S)
        assert made.relays._leaving == set()
        assert connections.failures == []
    await database.close()
