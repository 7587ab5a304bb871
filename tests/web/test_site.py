from __future__ import annotations

import asyncio
import json
import socket
import stat

import pytest
import structlog

from rtmpd.errors import StartError
from rtmpd.web.site import Site
from tests.helpers.operations import TASK, FakeOperations
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.site import RunningSite, config_of

END_S = PATIENCE_S
"""Far more than the second that closing may take, far less than what it would wait for: a keep-alive, or for ever."""


def test_both_surfaces_say_the_same(tmp_path):
    with RunningSite(tmp_path) as site:
        tcp, unix = (site.ask("GET", "/api/v1/streams", surface=surface) for surface in ("tcp", "unix"))

    assert tcp.body == unix.body


def test_the_control_socket_is_there_for_this_user_and_gone_at_the_end(tmp_path):
    with RunningSite(tmp_path) as site:
        assert stat.S_IMODE(site.path.stat().st_mode) == 0o600

    assert not site.path.exists()


def test_a_second_server_does_not_take_the_socket_of_the_first(tmp_path):
    with RunningSite(tmp_path) as site:
        with pytest.raises(StartError, match="another server listens there"), RunningSite(tmp_path):
            pass
        assert site.ask("GET", "/healthz", surface="unix").status == 200


async def test_a_site_that_could_not_start_can_be_closed(tmp_path):
    (tmp_path / "rtmpd.sock").write_text("")
    listening = socket.create_server(("127.0.0.1", 0))
    site = Site(FakeOperations(), config_of(tmp_path), structlog.get_logger(), [listening])

    with pytest.raises(StartError):
        await site.start()
    await site.close()

    assert listening.fileno() == -1


def test_it_ends_at_once_with_connections_kept_open_and_events_followed(tmp_path):
    with RunningSite(tmp_path) as site:
        idle, unasked, following = site.connection(), site.connection(), site.connection()
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        unasked.connect()
        following.request("GET", "/api/v1/events")
        events = following.getresponse()
        assert events.status == 200

        asyncio.run_coroutine_threadsafe(site.site.close(), site.loop).result(END_S)

        assert events.read().startswith(b": hello\n\n")
        for connection in (idle, unasked, following):
            connection.close()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", site.port))


def test_an_operation_that_hangs_does_not_hold_up_the_end(tmp_path):
    with RunningSite(tmp_path) as site:
        site.loop.call_soon_threadsafe(site.operations.gate.clear)
        client = site.connection()
        client.request("POST", f"/api/v1/records/{TASK}/stop")
        wait_until(site.operations.stopping.is_set, "the operation to begin")

        asyncio.run_coroutine_threadsafe(site.site.close(), site.loop).result(END_S)
        client.close()


def test_an_answer_that_is_under_way_is_sent_before_the_end(tmp_path):
    with RunningSite(tmp_path) as site:
        site.loop.call_soon_threadsafe(site.operations.gate.clear)
        client = site.connection()
        client.request("POST", f"/api/v1/records/{TASK}/stop")
        wait_until(site.operations.stopping.is_set, "the operation to begin")

        async def end():
            ending = asyncio.ensure_future(site.site.close())
            while not site.site._events._closed:  # in a turn of the loop, as the end waits for less than half a second
                await asyncio.sleep(0)
            site.operations.gate.set()
            await ending

        ending = asyncio.run_coroutine_threadsafe(end(), site.loop)

        assert json.loads(client.getresponse().read())["state"] == "closed"
        ending.result(END_S)
        client.close()


def test_a_reload_changes_limits(tmp_path):
    with RunningSite(tmp_path) as site:
        config = config_of(tmp_path, http={"body_bytes": 3})
        site.loop.call_soon_threadsafe(site.site.reload, config)

        assert site.ask("POST", "/api/v1/drain", {"timeout": 5}).status == 413
