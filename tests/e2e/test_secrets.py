"""Keys, tokens, signatures and what relays and callbacks are opened with: none of them is ever told to anybody."""

from __future__ import annotations

import contextlib
import json
import re
import time

import pytest
from typer.testing import CliRunner

from rtmpd import cli
from rtmpd.control.signed_urls import sign
from tests.helpers.api import Api
from tests.helpers.hook import Hook, settles
from tests.helpers.rtmp_client import Connection
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

SECRET = "QmV3YXJl"
"""A part of every secret here."""
CONFIG = f"""
[http]
token = "{SECRET}-token"
[callbacks]
urls = "http://user:{SECRET}-password@127.0.0.1:9/cb?token={SECRET}-query"
key = "{SECRET}-callbacks"
longest_pause_s = 0.1
[apps.keyed]
publish_key = "{SECRET}-publish"
play_key = "{SECRET}-play"
[apps.signed]
publish_secret = ["{SECRET}-primary", "{SECRET}-backup"]
[apps.hooked]
on_publish = "HOOK?token={SECRET}-hook"
hook_timeout_s = 20
[apps.failing]
on_publish = "http://user:{SECRET}-password@127.0.0.1:9/hook?token={SECRET}-hook"
"""
TARGET = f"rtmp://user:{SECRET}-password@127.0.0.1:9/app/{SECRET}-stream-key?auth={SECRET}-auth"
WRONG = f"{SECRET}-guess"


class Told:
    """Everything that was said to anybody."""

    def __init__(self):
        self.texts: list[str] = []

    def __call__(self, said):
        self.texts.append(said if isinstance(said, str) else json.dumps(said))
        return said


@pytest.fixture
def told():
    told = Told()
    yield told
    assert [found for each in told.texts for found in re.findall(f".{{0,80}}{SECRET}.{{0,20}}", each)] == []


@pytest.fixture
def server(directory, told):
    with Hook(settles(targets=[TARGET])) as hook:
        config = CONFIG.replace("HOOK", hook.url())
        with Server(directory, config, arguments=["--log-level", "debug"]) as server:
            yield server
    told([server.log, server.noise])


def refusals(server):
    """What those are told who guess."""
    expired = sign(f"{SECRET}-primary", "s", int(time.time()) - 5)
    for verb, app, stream in (
        ("publish", "keyed", f"s?key={WRONG}"),
        ("play", "keyed", f"s?key={WRONG}"),
        ("publish", "signed", f"s?{expired}&more=x"),
        ("publish", "signed", f"s?txSecret={SECRET}&txTime=zzzz"),
        ("publish", "failing", f"s?key={SECRET}"),
    ):
        with Connection(server.address).connect(app) as connection:
            yield connection.refused(verb, stream)


def test_no_secret_is_told_to_anybody(server, told):
    api, http = server.api, Api(server.http_address, f"{SECRET}-token")
    with contextlib.closing(api.connection()) as following:
        following.request("GET", "/api/v1/events")
        events = following.getresponse()
        told(list(refusals(server)))
        signature = sign(f"{SECRET}-backup", "s", int(time.time()) + 60)
        with (
            Connection(server.address).connect("keyed").publish(f"s?key={SECRET}-publish"),
            Connection(server.address).connect("signed").publish(f"s?{signature}&more=x"),
            Connection(server.address).connect(f"hooked?key={SECRET}").publish("s"),
            Connection(server.address).connect("keyed").request_play(f"s?key={SECRET}-play") as player,
        ):
            player.wait_for_status("NetStream.Play.Start")
            server.wait_for("push started", stream="hooked/s")
            push = told(api.start_push("signed/s", targets=[TARGET]))
            told(api.start_push("signed/s", targets=[TARGET]))
            told(http.post(f"pushes/{push['channel_id']}/targets", {"url": f"{TARGET}-too"}))
            told(http.post("pushes", {"stream": "signed/s", "channel_name": "x", "targets": [f"http{TARGET}"]}))
            told(http.post("pushes", {"stream": "signed/s", "channel_name": "x", "targets": [TARGET] * 17}))
            told(Api(server.http_address, WRONG).get("streams"))
            told(Api(server.http_address).get("streams", Authorization=f"Basic {WRONG}"))
            told(api.get("recordings?stream=signed/s"))
            server.wait_for("callback not delivered")
            for path in ("streams", "clients", "pushes", "records", "recordings", "callbacks", "openapi.json"):
                told(api.get(path))
            for verb in ("streams", "streams signed/s", "clients", "push list", "callbacks"):
                told(CliRunner().invoke(cli.app, ["ctl", "--socket", str(server.control), *verb.split()]).output)
            signed_secret = f'publish_secret = ["{SECRET}-primary"'
            server.config.write_text(
                server.config.read_text().replace(signed_secret, f'publish_secret = ["\\u0007{SECRET}"')
            )
            told(api.post("reload"))
        api.post("pushes/stop", {"channel_ids": [push["channel_id"]]})
        server.stop()
        told(events.read().decode())
