"""One request to a receiver: only 200 counts, and nothing that a receiver does takes long, or much memory."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from rtmpd.control import callback_client
from rtmpd.control.callback_body import Request
from rtmpd.control.callback_client import REASON_CHARACTERS, CallbackClient
from tests.helpers import receiver as answers
from tests.helpers.receiver import Receiver

REQUEST = Request(b'{"event_id": "e", "stream_id": "s"}', {"Content-Type": "application/json", "X-Rtmpd-Event": "e"})
PATIENT_S = 20.0


@pytest.fixture
async def receiver():
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def client(monkeypatch):
    monkeypatch.setattr(callback_client, "_ANSWER_ENDS_S", PATIENT_S)
    async with CallbackClient() as client:
        yield client


async def test_what_is_sent_arrives_byte_for_byte_with_its_headers(receiver, client):
    assert await client.post(receiver.url, REQUEST, PATIENT_S) == ""

    (received,) = receiver.requests
    assert received.data == REQUEST.body
    assert REQUEST.headers.items() <= received.headers.items()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answers.ok, ""),
        (answers.large, ""),
        (answers.endless, ""),
        (answers.error_500, "answered 500"),
        (answers.large_error, "answered 500"),
        (answers.accepted, "answered 202"),
        (answers.redirect, "answered 302, a redirect, which is not followed"),
        (answers.close, "closed the connection without an answer"),
    ],
)
async def test_only_200_counts(receiver, client, answer, reason, monkeypatch):
    receiver.plan = lambda *_: answer
    if answer is answers.endless:
        monkeypatch.setattr(callback_client, "_ANSWER_ENDS_S", 0.05)

    assert await client.post(receiver.url, REQUEST, PATIENT_S) == reason
    assert [each.path for each in receiver.requests] == ["/callbacks"]


async def test_a_receiver_that_hangs_is_left_after_the_timeout(receiver, client):
    receiver.plan = lambda *_: answers.hang

    assert await client.post(receiver.url, REQUEST, 0.05) == "no answer within 0.05 s"


async def test_a_receiver_that_accepts_no_connection_is_no_error_of_ours(receiver, client):
    await receiver.stop()

    assert await client.post(receiver.url, REQUEST, PATIENT_S) == (
        f"cannot connect: Connect call failed ('127.0.0.1', {receiver.port})"
    )


async def test_a_host_that_nobody_knows_is_no_error_of_ours(client, monkeypatch):
    async def look_up(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)

    assert await client.post("http://receiver.invalid/", REQUEST, PATIENT_S) == (
        "cannot find the host: Name or service not known"
    )


@pytest.mark.parametrize("url", ["http://", "http://[::1/?token=secret", "ftp://example.org/?token=secret", ""])
async def test_a_url_that_cannot_be_used_is_said_without_its_secrets(client, url):
    reason = await client.post(url, REQUEST, PATIENT_S)

    assert reason
    assert "secret" not in reason


async def test_an_answer_that_is_no_http_is_a_line_that_can_be_printed(client):
    async def answer(_reader, writer):
        writer.write(b"\x1b[2J\n" * 100 + b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        reason = await client.post(f"http://127.0.0.1:{port}/?token=secret", REQUEST, PATIENT_S)

    assert reason.startswith("not an answer of HTTP: ")
    assert "secret" not in reason
    assert reason.isprintable()
    assert len(reason) <= REASON_CHARACTERS


@pytest.mark.parametrize("answer", [answers.ok, answers.error_500])
async def test_a_connection_is_used_again(receiver, client, answer):
    receiver.plan = lambda *_: answer
    for _ in range(3):
        await client.post(receiver.url, REQUEST, PATIENT_S)

    assert len({each.peer_port for each in receiver.requests}) == 1


@pytest.mark.parametrize("answer", [answers.large, answers.endless])
async def test_a_connection_whose_answer_is_long_is_given_up_for_the_next_one(receiver, client, answer, monkeypatch):
    receiver.plan = lambda *_: answer
    if answer is answers.endless:
        monkeypatch.setattr(callback_client, "_ANSWER_ENDS_S", 0.05)
    for _ in range(2):
        await client.post(receiver.url, REQUEST, PATIENT_S)

    assert len({each.peer_port for each in receiver.requests}) == 2


async def test_an_attempt_at_a_receiver_that_is_down_leaves_nothing_to_the_collector(receiver, client):
    await receiver.stop()
    await client.post(receiver.url, REQUEST, PATIENT_S)
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            assert await client.post(receiver.url, REQUEST, PATIENT_S)
        assert gc.collect() < 20
    finally:
        gc.enable()
