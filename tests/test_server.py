"""Wiring: what the server refuses to start with, and what a reload changes. The rest is in tests/e2e."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time

import pytest
import structlog
import trustme

from rtmpd.config_file import validate
from rtmpd.errors import ConfigError, StartError
from rtmpd.server import Server
from rtmpd.web.site import version
from tests.helpers.rig import Client


@pytest.fixture(autouse=True)
def lines():
    """What the servers of a test log."""
    kept = []

    def keep(_logger, _method, event):
        kept.append(event)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[keep], wrapper_class=structlog.make_filtering_bound_logger(0))
    yield kept
    structlog.configure(**before)


def config(tmp_path, **document):
    tables = {
        "rtmp": {"listen": "127.0.0.1:0"},
        "http": {"listen": "127.0.0.1:0"},
        "control": {"socket": f"/tmp/rtmpd-test-{os.getpid()}.sock"},  # tmp_path is too long a name for a socket
        "data": {"directory": str(tmp_path)},
    }
    return validate(tables | document)


class Running:
    """A server inside the test's own process, stopped by a signal like any other."""

    def __init__(self, config, reload=None):
        self.server = Server(config, reload or (lambda: config))

    async def __aenter__(self):
        self.task = asyncio.ensure_future(self.server.serve())
        return self

    async def __aexit__(self, *_):
        if not self.task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(self.task, 20)


async def serving(lines):
    async with asyncio.timeout(20):
        while not (found := [line for line in lines if line["event"] == "serving"]):
            await asyncio.sleep(0.01)
    return found[0]


async def until_logged(lines, event):
    async with asyncio.timeout(20):
        while not (found := [line for line in lines if line["event"] == event]):
            await asyncio.sleep(0.01)
    return found[-1]


async def publisher(lines):
    """A publisher of live/s, once there is a server."""
    host, _, port = (await serving(lines))["rtmp"].rpartition(":")
    sock = socket.create_connection((host, int(port)))
    sock.setblocking(False)
    client = Client(sock, None)
    await client.open()
    await client.publish("s")
    return client


async def test_server_says_where_it_serves_and_how_much_it_may_use(tmp_path, lines):
    some = config(tmp_path, packaging={"window_bytes": 1000}, http={"listen": "127.0.0.1:0", "connections": 7})
    before_s = time.time()
    async with Running(some) as running:
        line = await serving(lines)
        info = running.server._offices.operations.operations.server()

    assert line["rtmp"].startswith("127.0.0.1:")
    assert line["connections"] > 0
    limits = some.limits
    assert line["bytes_per_stream"] == 2 * (some.log.gop_bytes + limits.message_bytes)
    assert line["bytes_per_packaged_stream"] > 1000 + some.log.gop_bytes
    assert line["bytes_per_publisher"] == limits.incomplete_bytes + limits.output_bytes
    assert line["version"] == version()
    assert info.model_dump(exclude={"started_at", "is_draining"}).items() <= line.items()
    assert before_s <= info.started_at <= time.time()
    assert not info.is_draining
    assert line["rtmps"] is None
    assert line["https"] is None
    assert line["data"] == str(tmp_path)
    assert line["http_connections"] == 7
    assert line["bytes_per_http_connection"] > some.http.body_bytes
    assert line["bytes_of_pictures"] > 0
    assert lines[-1]["event"] == "stopped"


async def test_taken_port_is_a_start_error_of_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartError, match="Address already in use") as caught:
            await Server(config(tmp_path, rtmp={"listen": address}), lambda: None).serve()

    assert "\n" not in str(caught.value)


async def test_data_directory_of_another_server_is_refused(tmp_path, lines):
    async with Running(config(tmp_path)):
        await serving(lines)
        with pytest.raises(StartError, match="in use by another rtmpd"):
            await Server(config(tmp_path), lambda: None).serve()


async def test_data_directory_that_cannot_be_made_is_a_start_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="cannot use the data directory"):
        await Server(config(tmp_path / "file" / "below"), lambda: None).serve()


async def test_certificate_that_cannot_be_used_is_a_start_error(tmp_path):
    authority = trustme.CA()
    first, second = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    first.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    second.private_key_pem.write_to_path(tmp_path / "key.pem")
    rtmps = {"listen": "127.0.0.1:0", "cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    with pytest.raises(StartError, match="cannot use the certificate"):
        await Server(config(tmp_path, rtmps=rtmps), lambda: None).serve()


async def test_reload_takes_new_applications_and_names_what_needs_a_restart(tmp_path, lines):
    changed = config(tmp_path, apps={"live": {}, "more": {}}, fanout={"max_delay_ms": 50})
    async with Running(config(tmp_path), reload=lambda: changed) as running:
        await serving(lines)
        os.kill(os.getpid(), signal.SIGHUP)
        line = await until_logged(lines, "configuration reloaded")
        assert "more" in running.server._policy.apps

    assert line["needs_restart"] == ["fanout"]


async def test_what_needs_a_restart_is_named_at_each_reload_until_there_is_one(tmp_path, lines):
    (tmp_path / "pem").touch()
    rtmps = {"listen": "127.0.0.1:0", "cert": str(tmp_path / "pem"), "key": str(tmp_path / "pem")}
    first, changed = config(tmp_path), config(tmp_path, fanout={"max_delay_ms": 50}, rtmps=rtmps)
    read = iter([changed, changed, first])
    async with Running(first, reload=lambda: next(read)) as running:
        await serving(lines)
        told = [(await running.server._reload_now()).needs_restart for _ in range(3)]

    assert told == [["fanout", "rtmps"], ["fanout", "rtmps"], []]


async def test_reload_of_a_wrong_configuration_changes_nothing(tmp_path, lines):
    def fail():
        raise ConfigError(["apps.live.grace_s: wrong"])

    async with Running(config(tmp_path), reload=fail) as running:
        await serving(lines)
        os.kill(os.getpid(), signal.SIGHUP)
        line = await until_logged(lines, "configuration not reloaded")
        assert list(running.server._policy.apps) == ["live"]

    assert "grace_s" in line["reason"]


async def test_stop_tells_players_and_closes_every_connection_with_a_line(tmp_path, lines):
    async with Running(config(tmp_path)):
        client = await publisher(lines)
    client.close()

    assert "server stops" in [line["reason"] for line in lines if line["event"] == "closed"]


async def test_a_reload_packages_streams_that_are_published_already_and_the_end_leaves_no_packager(tmp_path, lines):
    changed = config(tmp_path, apps={"live": {"packaging": "always"}})
    running = Running(config(tmp_path), reload=lambda: changed)
    async with running:
        client = await publisher(lines)
        packagings = running.server._offices.packagings
        assert packagings.pid is None
        os.kill(os.getpid(), signal.SIGHUP)
        await until_logged(lines, "packaging started")
        pid = packagings.pid
    client.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert len([line for line in lines if line["event"] == "packaging ended"]) == 1


async def test_a_reload_takes_up_pulls_at_once_and_the_end_ends_them(tmp_path, lines):
    with socket.create_server(("127.0.0.1", 0)) as source:
        source.setblocking(False)
        url = f"rtmp://127.0.0.1:{source.getsockname()[1]}/a/s"
        changed = config(tmp_path, pulls={"live/s": {"sources": url}})
        async with Running(config(tmp_path), reload=lambda: changed):
            await serving(lines)
            os.kill(os.getpid(), signal.SIGHUP)
            line = await until_logged(lines, "configuration reloaded")
            accepted, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(source), 20)
        with accepted:
            assert len(accepted.recv(2000)) == 1537
            assert accepted.recv(1) == b""

    assert line["needs_restart"] == []
