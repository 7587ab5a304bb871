"""One question to a hook, over real sockets: how it ends, whatever the hook does."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl

import pytest
import trustme

from rtmpd.control.hook_answers import HookFailed, Reply
from rtmpd.control.hook_client import BODY_BYTES, HookClient
from tests.helpers.hook import Hook, drips, hangs, hangs_in_body, says, settles, speaks
from tests.helpers.processes import PATIENCE_S

QUESTION = {"action": "on_publish", "stream": "ü"}
SOON_S = 0.2
ASKED_S = 3.0
"""In which a hook is asked and begins to answer, also where somebody stands still for a moment."""
FAR_TOO_LONG_BYTES = 64 << 20


@pytest.fixture
async def client():
    client = HookClient()
    yield client
    await client.close()


@pytest.fixture
def hook():
    with Hook(says()) as hook:
        yield hook


async def failure(client, url, timeout_s=PATIENCE_S):
    with pytest.raises(HookFailed) as caught:
        await client.ask(url, QUESTION, timeout_s)
    return caught.value


async def test_a_question_is_posted_as_json_and_its_answer_comes_back_whole(client, hook):
    hook.behaviour = says(201, "x" * BODY_BYTES)

    reply = await client.ask(hook.url("/ask?token=t"), QUESTION, PATIENCE_S)

    assert reply == Reply(201, b"x" * BODY_BYTES)
    assert hook.questions == [QUESTION]
    (request,) = hook.requests
    assert (request.path_qs, request.content_type) == ("/ask?token=t", "application/json")
    assert request.headers["User-Agent"] == "rtmpd"


@pytest.mark.parametrize("behaviour", [hangs, hangs_in_body(200), drips], ids=["silent", "in the body", "slow head"])
async def test_a_hook_that_takes_too_long_has_failed_and_is_left(behaviour, client, hook):
    hook.behaviour = behaviour

    error = await failure(client, hook.url(), ASKED_S)

    assert error.told == "did not answer in 3 s"
    await asyncio.to_thread(hook.wait_for_abandoned)


@pytest.mark.parametrize(
    ("behaviour", "detail"),
    [
        (speaks(b""), "Server disconnected"),
        (speaks(b"SSH-2.0-OpenSSH_9.2\r\n"), "400"),
        (speaks(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "not completed"),
        (speaks(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), "400"),
        (speaks(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 10_000 + b"\r\n"), "400"),
    ],
    ids=["closes", "no HTTP", "cut short", "long header", "many headers"],
)
async def test_what_is_no_whole_answer_is_told_to_the_log_only(behaviour, detail, client, hook):
    hook.behaviour = behaviour

    error = await failure(client, hook.url())

    assert error.told == "failed"
    assert detail in str(error)


async def test_a_body_that_is_too_long_is_not_read_to_its_end(client, hook):
    hook.behaviour = hook.sends(200, FAR_TOO_LONG_BYTES)

    error = await failure(client, hook.url())

    assert (error.told, str(error)) == ("failed", "a body of more than 65536 bytes")
    await asyncio.to_thread(hook.wait_for_abandoned)
    assert hook.sent_bytes < FAR_TOO_LONG_BYTES / 2


async def test_a_body_is_not_unpacked(client, hook):
    packed = gzip.compress(bytes(10_000_000))
    hook.behaviour = says(200, packed, Content_Encoding="gzip")

    assert await client.ask(hook.url(), QUESTION, PATIENCE_S) == Reply(200, packed)


async def test_a_refusal_stands_whatever_becomes_of_its_reason(client, hook):
    hook.behaviour = hook.sends(403, FAR_TOO_LONG_BYTES)
    assert await client.ask(hook.url(), QUESTION, PATIENCE_S) == Reply(403, b"")

    hook.behaviour = hangs_in_body(401)
    assert await client.ask(hook.url(), QUESTION, ASKED_S) == Reply(401, b"")

    hook.behaviour = speaks(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nno")
    assert await client.ask(hook.url(), QUESTION, PATIENCE_S) == Reply(404, b"")


async def test_a_redirect_is_an_answer_and_not_followed(client, hook):
    hook.behaviour = says(307, Location=hook.url("/elsewhere"))

    assert (await client.ask(hook.url(), QUESTION, PATIENCE_S)).status == 307
    assert len(hook.requests) == 1


async def test_a_host_that_cannot_be_reached_or_named_has_failed(client):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        for url in (f"http://127.0.0.1:{deaf.getsockname()[1]}/", f"http://{'a' * 70}.example/"):
            assert (await failure(client, url)).told == "failed"


async def test_a_hook_with_a_certificate_that_nobody_vouches_for_is_not_asked(client):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with Hook(says(), tls) as hook:
        error = await failure(client, hook.url())

    assert error.told == "failed"
    assert "certificate" in str(error).lower()
    assert not hook.questions


async def test_connections_are_used_again_and_nothing_is_remembered(client, hook):
    hook.behaviour = says(200, Set_Cookie="a=b; Path=/")

    for _ in range(3):
        await client.ask(hook.url(), QUESTION, PATIENCE_S)

    assert len(hook.ports) == 1
    assert not any("Cookie" in request.headers for request in hook.requests)


async def test_user_and_password_of_the_url_are_sent(client, hook):
    await client.ask(hook.url().replace("//", "//user:pass@"), QUESTION, PATIENCE_S)

    assert hook.requests[0].headers["Authorization"] == "Basic dXNlcjpwYXNz"


async def test_a_question_that_is_cancelled_leaves_its_place_to_others(hook):
    client = HookClient(parallel=1)
    hook.behaviour = hangs
    asking = asyncio.ensure_future(client.ask(hook.url(), QUESTION, PATIENCE_S))
    await asyncio.to_thread(hook.wait_for_questions)

    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    await asyncio.to_thread(hook.wait_for_abandoned)

    hook.behaviour = settles(stream="s")
    assert (await client.ask(hook.url(), QUESTION, PATIENCE_S)).status == 200
    await client.close()


async def test_who_waits_for_a_place_waits_within_its_own_time_and_other_hosts_are_not_held_up(hook):
    client = HookClient(parallel=1)
    hook.behaviour = hangs
    asking = asyncio.ensure_future(client.ask(hook.url(), QUESTION, PATIENCE_S))
    await asyncio.to_thread(hook.wait_for_questions)

    assert (await failure(client, hook.url(), SOON_S)).told == "did not answer in 0.2 s"
    assert len(hook.questions) == 1
    with Hook(says()) as other:
        assert (await client.ask(other.url(), QUESTION, PATIENCE_S)).status == 200

    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    await client.close()


async def test_closing_fails_what_is_being_asked_and_is_harmless_without(hook):
    client = HookClient()
    await client.close()
    hook.behaviour = hangs
    asking = asyncio.ensure_future(failure(client, hook.url()))
    await asyncio.to_thread(hook.wait_for_questions)

    await client.close()

    assert (await asking).told == "failed"
