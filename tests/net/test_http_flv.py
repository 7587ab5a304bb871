"""FLV over HTTP: what servers answer becomes media, or a reason."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from rtmpd.control.resolver import Resolver
from rtmpd.net import http_flv
from rtmpd.net.client_connection import Parting
from rtmpd.net.http_flv import HttpFlvSource
from rtmpd.net.pull_feed import PullFeed
from rtmpd.net.pull_urls import HttpFlvUrl
from rtmpd.session.limits import Limits
from rtmpd.web.connections import close_servers
from rtmpd.wire.messages import DATA_AMF0, DATA_AMF3, Message
from tests.helpers.live import audio_frame, inter_frame, key_frame, metadata, video_header
from tests.helpers.pulls import TARGET, FlvServer, chunk, flv, head, in_log, tags, told
from tests.helpers.rig import Rig
from tests.helpers.transports import close_transports

MEDIA = [metadata(width=2), video_header(), key_frame(0, size=300_000), audio_frame(20), inter_frame(40)]


@pytest.fixture
async def rig():
    async with Rig() as rig:
        yield rig


def source_of(url, **limits):
    return HttpFlvSource(HttpFlvUrl.parse(url), Limits(**limits), Resolver())


async def receive(rig, answer, path="/live/s.flv?key=hush", **limits):
    """Ask a server that answers so; the parting."""
    async with FlvServer(answer) as server:
        return await source_of(server.url + path, **limits).receive(PullFeed(rig.services, TARGET, lambda: None))


def saying(*pieces):
    async def answer(_path, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return answer


def log_of(rig):
    return in_log(rig.services.registry.find("live", "s"))


async def test_media_come_whatever_the_pieces_are(rig):
    data = flv(*MEDIA)
    pieces = [data[start : start + 7919] for start in range(0, len(data), 7919)]

    parting = await receive(rig, saying(head("200 OK", "Content-Type: video/x-flv"), *pieces))

    assert parting == Parting("the answer has ended")
    assert log_of(rig) == told(*MEDIA)


async def test_a_chunked_answer_that_ends_as_it_should_is_the_end_of_the_stream(rig):
    chunked = head("200 OK", "Transfer-Encoding: chunked")

    whole = await receive(rig, saying(chunked, chunk(flv(*MEDIA)), b"0\r\n\r\n"))
    broken = await receive(rig, saying(chunked, chunk(flv(*MEDIA))))

    assert whole == Parting("the answer has ended", is_end=True)
    assert broken == Parting("the answer has broken off")


@pytest.mark.parametrize(("status", "may_retry"), [(404, True), (503, True), (403, False), (401, False)])
async def test_a_refusal_is_the_reason(rig, status, may_retry):
    assert await receive(rig, saying(head(f"{status} No"))) == Parting(f"answered {status}", may_retry)


async def test_a_redirect_is_followed_and_a_circle_of_them_is_not(rig):
    async def answer(path, writer):
        if path.startswith("/live/"):
            writer.write(head("302 Found", "Location: /edge/s.flv", "Content-Length: 0"))
        else:
            writer.write(head() + flv(*MEDIA))

    assert (await receive(rig, answer)).reason == "the answer has ended"
    assert log_of(rig) == told(*MEDIA)

    circle = saying(head("302 Found", "Location: /live/s.flv", "Content-Length: 0"))
    assert await receive(rig, circle) == Parting("more than 3 redirects")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>no", "not a stream of FLV: an FLV tag of type 60"),
        (b"FLV\x02\0\0\0\0\x09", "not a stream of FLV: an FLV file header with a wrong signature or version"),
    ],
)
async def test_garbage_is_the_reason(rig, body, reason):
    assert await receive(rig, saying(head(), body + bytes(20))) == Parting(reason)


async def test_garbage_behind_media_ends_the_try_after_them(rig):
    parting = await receive(rig, saying(head(), flv(*MEDIA), b"\xff" * 64))

    assert parting.reason.startswith("not a stream of FLV: ")
    assert log_of(rig) == told(*MEDIA)


async def test_a_tag_above_the_limit_of_its_type_ends_the_try(rig):
    parting = await receive(rig, saying(head(), flv(key_frame(0, size=5000))), message_bytes=4096)

    assert parting == Parting("not a stream of FLV: a tag of type 9 with 5005 bytes")


async def test_data_above_their_rate_and_data_of_another_kind_are_left_out(rig):
    large = Message(DATA_AMF0, 0, 1, b"\x02\0\x01x" + bytes(60))
    other = Message(DATA_AMF3, 0, 1, b"\x00\x02\0\x01x")

    await receive(rig, saying(head(), flv(key_frame(0), large, large, other)), data_bytes=64, data_bytes_per_s=1)

    assert log_of(rig) == told(key_frame(0), large)


async def test_an_answer_that_is_no_http_is_the_reason_and_shows_no_secret(rig):
    parting = await receive(rig, saying(b"hello \x1b[2J\r\n\r\n"))

    assert parting.reason.startswith("not an answer of HTTP: ")
    assert parting.reason.isprintable()
    assert "hush" not in parting.reason


async def test_a_server_that_says_nothing_is_given_up(rig, monkeypatch):
    monkeypatch.setattr(http_flv, "CONNECT_S", 0.05)
    gone = asyncio.Event()

    async def hang(_path, _writer):
        await gone.wait()

    async with FlvServer(hang) as server:
        parting = await source_of(f"{server.url}/s").receive(None)
        gone.set()

    assert parting == Parting("no answer within 0.05 s")


@pytest.mark.parametrize(
    ("url", "reason"),
    [("http://127.0.0.1:1/s", "cannot connect: "), ("http://no.such.host.invalid/s", "cannot find the host: ")],
)
async def test_a_server_that_is_not_there_is_the_reason(url, reason):
    assert (await source_of(url).receive(None)).reason.startswith(reason)


async def test_a_certificate_that_is_not_trusted_is_the_reason(rig, certificate_of_nobody):
    async def answer(_reader, _writer):
        pass

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificate_of_nobody)
    port = server.sockets[0].getsockname()[1]
    parting = await source_of(f"https://127.0.0.1:{port}/s").receive(None)
    await close_servers(server)
    await close_transports()

    assert parting == Parting("its certificate is not trusted")


@pytest.fixture
def certificate_of_nobody():
    trustme = pytest.importorskip("trustme")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_a_server_that_is_fast_is_not_read_ahead_of_what_we_take(rig):
    """The log keeps what it may, and of the rest the socket is the queue."""
    flood = [key_frame(40 * number, size=100_000) for number in range(100)]

    parting = await receive(rig, saying(head(), flv(*flood[:1]), *(tags(message) for message in flood[1:])))

    assert parting.reason == "the answer has ended"
    assert rig.services.registry.find("live", "s").last_timestamp_ms == 99 * 40


async def test_a_try_that_is_cancelled_closes_its_connection(rig):
    left = asyncio.Event()

    async def answer(_path, writer):
        writer.write(head() + flv(*MEDIA))
        try:
            while True:
                writer.write(tags(inter_frame(80)))
                await writer.drain()
                await asyncio.sleep(0.001)
        finally:
            left.set()

    async with FlvServer(answer) as server:
        feed = PullFeed(rig.services, TARGET, lambda: None)
        source = source_of(f"{server.url}/s")
        trying = asyncio.ensure_future(source.receive(feed))
        await rig.until(lambda: source.bytes_in > 300_000)
        trying.cancel()
        await asyncio.wait_for(left.wait(), 10)

    assert trying.cancelled()
