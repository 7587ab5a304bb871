"""Names of hosts: what is found, and that a look-up that hangs is in nobody's way."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading

import pytest

from rtmpd.control.hook_answers import HookFailed
from rtmpd.control.hook_client import HookClient
from rtmpd.control.resolver import Resolver
from tests.helpers.hook import Hook, says
from tests.helpers.passing_time import pass_time
from tests.helpers.processes import PATIENCE_S
from tests.helpers.studio import until

STREAM = socket.SOCK_STREAM


def answer(monkeypatch, *addresses):
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **_options: [(family, STREAM, 6, "", at) for family, at in addresses]
    )


async def test_a_name_becomes_its_addresses_with_the_zone_of_those_that_need_one(monkeypatch):
    answer(
        monkeypatch,
        (socket.AF_INET, ("192.0.2.1", 80)),
        (socket.AF_INET6, ("2001:db8::1", 80, 0, 0)),
        (socket.AF_INET6, ("fe80::1", 80, 0, 2)),
    )
    found = await Resolver().resolve("a.example", 80, socket.AF_UNSPEC)

    assert [each["host"] for each in found] == ["192.0.2.1", "2001:db8::1", "fe80::1%2"]
    assert {(each["hostname"], each["port"], each["proto"]) for each in found} == {("a.example", 80, 6)}
    assert [each["family"] for each in found] == [socket.AF_INET, socket.AF_INET6, socket.AF_INET6]


async def test_a_name_that_nobody_knows_is_an_oserror(monkeypatch):
    def fail(*_, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(socket.gaierror):
        await Resolver().resolve("a.invalid", 80)


async def test_a_host_without_an_address_of_the_family_is_an_oserror(monkeypatch):
    answer(monkeypatch, (socket.AF_INET, ("192.0.2.1", 80)))

    with pytest.raises(OSError, match=r"a\.example has no address"):
        await Resolver().resolve("a.example", 80, socket.AF_INET6)


async def test_a_host_that_is_named_is_reached():
    with Hook(says(204)) as hook:
        client = HookClient()
        reply = await client.ask(hook.url().replace("127.0.0.1", "localhost"), {}, PATIENCE_S)
        await client.close()

    assert reply.status == 204


async def test_look_ups_that_hang_leave_the_threads_of_everybody_else_alone(monkeypatch):
    hangs = threading.Event()
    looked_up = []

    def hang(host, *_, **_options):
        looked_up.append(host)
        hangs.wait(PATIENCE_S)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    client = HookClient()
    hosts = [f"{number}.example" for number in range(40)]
    try:
        asked = asyncio.gather(
            *(client.ask(f"http://{host}/", {}, PATIENCE_S) for host in hosts), return_exceptions=True
        )
        await until(lambda: len(looked_up) == len(hosts))
        pass_time(PATIENCE_S)
        outcomes = await asked
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.to_thread(lambda: "done") == "done"
    finally:
        hangs.set()
        await client.close()

    assert sorted(looked_up) == sorted(hosts)
    assert all(isinstance(each, HookFailed) for each in outcomes)


ENDING = """
import asyncio, socket, time
from rtmpd.control.callback_body import Request
from rtmpd.control.callback_client import CallbackClient
from rtmpd.control.hook_answers import HookFailed
from rtmpd.control.hook_client import HookClient

async def main():
    hooks = HookClient()
    try:
        await hooks.ask("http://a.example/", {}, 0.05)
    except HookFailed as error:
        print(error)
    await hooks.close()
    async with CallbackClient() as callbacks:
        print(await callbacks.post("http://b.example/", Request(b"", {}), 0.05))

socket.getaddrinfo = lambda *_, **_options: time.sleep(3600)
asyncio.run(main())
"""


def test_a_program_ends_while_look_ups_hang():
    ended = subprocess.run(
        [sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "no whole answer in 0.05 s\nno answer within 0.05 s\n"
