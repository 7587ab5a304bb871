"""The operations: each verb reaches its desk, and reloading says what is wrong."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest

from rtmpd.control.models import ServerInfo
from rtmpd.control.operations import Desks, Operations
from rtmpd.errors import ConfigError, NotPossible, StartError

VERBS = {
    "streams": ("streams", "list", ()),
    "stream": ("streams", "get", ("live/s",)),
    "disconnect_publisher": ("streams", "disconnect_publisher", ("live/s",)),
    "clients": ("clients", "list", ()),
    "kick": ("clients", "kick", (7,)),
    "start_push": ("pushes", "start", ("request",)),
    "stop_pushes": ("pushes", "stop", ("request",)),
    "pushes": ("pushes", "list", ()),
    "add_target": ("pushes", "add_target", ("c", "request")),
    "remove_target": ("pushes", "remove_target", ("c", "t")),
    "relays": ("relays", "list", ()),
    "start_record": ("records", "start", ("request",)),
    "stop_record": ("records", "stop", ("t",)),
    "records": ("records", "list", ()),
    "recordings": ("files", "list", ("query",)),
    "recording": ("files", "get", ("f",)),
    "delete_recording": ("files", "delete", ("f",)),
    "callbacks": ("callbacks", "list", ("query",)),
    "retry_callback": ("callbacks", "retry", ("e",)),
    "drain": ("drainer", "drain", ("request",)),
}


def operations(**desks):
    return Operations(Desks(**dict.fromkeys(Desks._fields) | desks))


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_is_its_desks(verb):
    desk, method, arguments = VERBS[verb]
    operation = getattr(Operations, verb)

    def now(*given):
        return given

    async def later(*given):
        return given

    played = SimpleNamespace(**{method: later if inspect.iscoroutinefunction(operation) else now})
    answer = operation(operations(**{desk: played}), *arguments)

    assert (await answer if inspect.iscoroutine(answer) else answer) == arguments


def test_every_verb_is_in_the_table():
    verbs = {name for name, _ in inspect.getmembers(Operations, inspect.isfunction) if not name.startswith("_")}

    assert verbs == VERBS.keys() | {"reload", "server"}


@pytest.mark.parametrize("is_draining", [True, False])
def test_whether_the_server_is_draining_is_told(is_draining):
    assert operations(drainer=SimpleNamespace(is_draining=is_draining)).is_draining is is_draining


@pytest.mark.parametrize("is_draining", [True, False])
def test_the_server_is_described_with_whether_it_drains(is_draining):
    info = ServerInfo(
        version="1",
        started_at=1.0,
        is_draining=False,
        rtmp="a:1",
        rtmps=None,
        http="a:2",
        https=None,
        data="/d",
        connections=1,
        bytes_per_stream=1,
    )
    desks = {"describe": lambda: info, "drainer": SimpleNamespace(is_draining=is_draining)}

    assert operations(**desks).server() == info.model_copy(update={"is_draining": is_draining})


@pytest.mark.parametrize(
    ("error", "detail", "faults"),
    [
        (
            ConfigError(["a: wrong", "b: wrong"]),
            "the configuration was not taken: it has faults",
            ("a: wrong", "b: wrong"),
        ),
        (StartError("no certificate"), "the configuration was not taken: no certificate", ()),
    ],
)
async def test_a_configuration_that_is_not_taken_is_the_callers_mistake(error, detail, faults):
    async def reload():
        raise error

    with pytest.raises(NotPossible) as raised:
        await operations(reload=reload).reload()
    assert (raised.value.kind, raised.value.detail, raised.value.faults) == ("invalid", detail, faults)


async def test_a_configuration_that_is_taken_is_answered():
    async def reload():
        return "reloaded"

    assert await operations(reload=reload).reload() == "reloaded"
