"""What a machine thinks of that reads the OpenAPI document of a real server, with live streams, a push and a recording."""

from __future__ import annotations

import pytest

from tests.helpers.fuzz import find_faults
from tests.helpers.rtmp_client import LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

TOKEN = "a-token-for-the-api"
CONFIG = f'[apps.live]\n[apps.private]\npush = "manual"\n[http]\ntoken = "{TOKEN}"\n'
LIVE = "live/me"
PRIVATE = "private/me"
SEEDS = (1, 2)
SEEDS_OF_THE_PROOF = range(20)
EXAMPLES = 8
EXAMPLES_OF_THE_PROOF = 60


def test_nothing_is_found_by_who_asks_everything_that_the_document_allows(tmp_path, sources, prove):
    tags = sources.tags("h264+aac")
    with Server(tmp_path / "server", CONFIG) as server:
        url = f"http://127.0.0.1:{server.http_address[1]}"
        for seed in SEEDS_OF_THE_PROOF if prove else SEEDS:
            # Clients are kicked and publishers disconnected in the course of it.
            with (
                LivePublisher(server.address, "me", tags),
                LivePublisher(server.address, "me", tags, app="private"),
            ):
                server.api.wait_for_stream(LIVE)
                server.api.start_push(PRIVATE, record_file_type=2)
                server.api.start_record(LIVE)
                faults = find_faults(
                    url,
                    TOKEN,
                    examples=EXAMPLES_OF_THE_PROOF if prove else EXAMPLES,
                    seed=seed,
                    leave_out=["/api/v1/drain"],
                )
            assert not faults, "\n\n".join([f"seed {seed}", *faults])
        assert {"record requested", "push started", "push target added", "record stopped"} <= {
            line["event"] for line in server.log
        }
