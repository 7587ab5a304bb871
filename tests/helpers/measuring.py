"""All that is measured, without a server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace

from rtmpd.control import models
from rtmpd.control.metrics.office import Measured, MetricsOffice
from rtmpd.store.database import Database
from tests.helpers.metrics import Samples
from tests.helpers.pushes import PlayedRow, PlayedStatus
from tests.helpers.rig import Rig


@asynccontextmanager
async def measuring(directory):
    """A rig with its office, a recording and no workers."""
    database = await Database.open(directory / "db")
    async with Rig() as rig:
        rig.database = database
        recorder = SimpleNamespace(statuses=[PlayedStatus(PlayedRow("r", None, "live", "s", origin="auto"))])
        workers = {"recording": SimpleNamespace(health=(), deaths=0)}
        no_relays = models.RelayList(relays=[])
        rig.office = MetricsOffice(
            Measured(rig.services, recorder, workers, database, {}, lambda: no_relays, "1.2.3", packagings=["one"])
        )
        rig.office.open()
        yield rig
        rig.office.close()
        for connection in list(rig.services.connections):
            connection.evict("test ends")
    await database.close()


async def scraped(rig):
    """What a scrape tells."""
    exposition = await rig.office.scrape("")
    return Samples.parse(exposition.body.decode())
