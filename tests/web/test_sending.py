"""Answers with megabytes from memory."""

from __future__ import annotations

import socket

import pytest

from rtmpd.web import sending
from tests.helpers.hls_rig import HlsRig
from tests.helpers.live_window import FIRST

SEGMENT_BYTES = 11 * 1024 * 1024


@pytest.fixture
async def rig(tmp_path):
    async with HlsRig(tmp_path, window={"most_bytes": 1 << 30}) as rig:
        rig.publish()
        rig.packaging().feed.group(size=SEGMENT_BYTES // 10)
        rig.packaging().feed.part(key=True)
        yield rig


@pytest.fixture
def path(rig):
    return f"/live/{rig.packaging().edition}/{FIRST}.m4s"


async def test_a_large_answer_comes_whole_with_its_length(rig, path):
    answer = await rig.get(path)
    head = await rig.get(path, "HEAD")

    assert answer.body == rig.packaging().window.find_segment(FIRST).data
    assert answer.headers["Content-Length"] == head.headers["Content-Length"] == str(len(answer.body))
    assert head.body == b""


async def test_a_connection_is_kept_after_it(rig, path):
    await rig.get(path)
    await rig.get(path)

    assert len(rig.site._runner.server.connections) == 1


async def test_a_client_that_reads_nothing_costs_little_and_is_disconnected(rig, path, monkeypatch):
    monkeypatch.setattr(sending, "STALLED_S", 0.2)
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.setblocking(False)
        await rig.services.loop.sock_connect(stuck, ("127.0.0.1", int(rig.url.rpartition(":")[2])))
        stuck.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await rig.until(lambda: buffered(rig))
        assert max(buffered(rig)) <= 4 * sending.SLICE_BYTES

        await rig.until(lambda: not rig.site._runner.server.connections)


def buffered(rig):
    """Bytes that wait for each connection."""
    transports = [each.transport for each in rig.site._runner.server.connections if each.transport]
    return [size for size in (each.get_write_buffer_size() for each in transports) if size]
