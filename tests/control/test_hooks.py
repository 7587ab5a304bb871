"""Hooks: what is asked, what holds when one fails, and that it harms nobody else."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import structlog

from rtmpd.config_file import validate
from rtmpd.control.gates import play_gate, publish_gate
from rtmpd.control.hook_answers import PlayAnswer, PublishAnswer
from rtmpd.control.hooks import Hooks, question_of
from rtmpd.errors import Refused
from rtmpd.session.events import PlayRequested, PublishRequested
from tests.helpers.hook import Hook, drips, hangs, hangs_in_body, says, settles, speaks
from tests.helpers.processes import PATIENCE_S

REQUEST = PublishRequested(message_stream_id=1, app="live", stream="s", query="key=k&a=%20&a=2")
SOON_S = 0.2
TEN_MEGABYTES = 10 << 20


class Asking:
    """Hooks with a log to look into."""

    def __init__(self):
        self.lines = []
        log = structlog.wrap_logger(
            None, processors=[self._keep], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self.hooks = Hooks(log=log)

    def _keep(self, _logger, _method, event):
        self.lines.append(event)
        raise structlog.DropEvent

    async def ask(self, url, model=PublishAnswer, **keys):
        keys = {"on_publish": url, "on_play": url, "hook_timeout_s": PATIENCE_S} | keys
        app = validate({"apps": {"live": keys}}).apps["live"]
        gate = (publish_gate if model is PublishAnswer else play_gate)("live", app)
        return await self.hooks.ask(gate, question_of(gate, REQUEST, "192.0.2.1", 7), model)

    async def refusal(self, url, **keys):
        with pytest.raises(Refused) as caught:
            await self.ask(url, **keys)
        return caught.value.code, caught.value.description


@pytest.fixture
async def asking():
    asking = Asking()
    yield asking
    await asking.hooks.close()


@pytest.fixture
def hook():
    with Hook(says()) as hook:
        yield hook


async def test_a_hook_is_told_all_that_is_known(asking, hook):
    assert await asking.ask(hook.url()) == PublishAnswer()

    assert hook.questions == [
        {
            "action": "on_publish",
            "app": "live",
            "stream": "s",
            "param": "key=k&a=%20&a=2",
            "params": {"key": "k", "a": "2"},
            "client_id": 7,
            "ip": "192.0.2.1",
        }
    ]


async def test_playing_has_a_hook_of_its_own(asking, hook):
    hook.behaviour = settles(stream="other")
    answer = await asking.ask(None, PlayAnswer, on_play=hook.url("/play"))

    assert answer == PlayAnswer(stream="other")
    assert hook.questions[0]["action"] == "on_play"
    assert hook.requests[0].path == "/play"
    hook.behaviour = says(403)
    assert await asking.refusal(hook.url(), model=PlayAnswer) == ("NetStream.Play.Failed", "refused by the play hook")


async def test_where_there_is_no_hook_nothing_is_settled(asking):
    assert await asking.ask(None) == PublishAnswer()


def test_the_question_of_a_player_is_its_own():
    gate = play_gate("live", validate({}).apps["live"])
    request = PlayRequested(message_stream_id=1, app="live", stream="s", query="")

    question = question_of(gate, request, "::1", 8)

    assert (question["action"], question["params"], question["ip"]) == ("on_play", {}, "::1")


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (says(403, '{"reason": "your plan has ended"}'), "your plan has ended"),
        (says(401, "who are you?"), "who are you?"),
        (says(404, "<html>\n</html>"), "refused by the publish hook"),
    ],
)
@pytest.mark.parametrize("hook_failure", ["refuse", "admit"])
async def test_a_refusal_of_the_hook_is_final_and_its_reason_is_shown(behaviour, told, hook_failure, asking, hook):
    hook.behaviour = behaviour

    assert await asking.refusal(hook.url(), hook_failure=hook_failure) == ("NetStream.Publish.Denied", told)
    assert not asking.lines


FAILURES = {
    "silent": (hangs, "the publish hook did not answer in 0.2 s", "no whole answer in 0.2 s"),
    "silent in its body": (hangs_in_body(200), "the publish hook did not answer in 0.2 s", "no whole answer in 0.2 s"),
    "slow": (drips, "the publish hook did not answer in 0.2 s", "no whole answer in 0.2 s"),
    "closes": (speaks(b""), "the publish hook failed", "Server disconnected"),
    "no HTTP": (speaks(b"220 mail\r\n"), "the publish hook failed", "400"),
    "redirect": (says(302, Location="/"), "the publish hook failed", "status 302"),
    "error": (says(500, "Traceback"), "the publish hook failed", "status 500"),
    "no JSON": (says(200, "OK"), "the publish hook failed", "body: Invalid JSON"),
    "wrong field": (settles(push=1), "the publish hook failed", "push: Input should be 'auto' or 'manual'"),
    "wrong name": (settles(stream="../s"), "the publish hook failed", "stream: The stream name has a segment . or .."),
}


@pytest.mark.parametrize(("behaviour", "told", "why"), FAILURES.values(), ids=FAILURES)
async def test_without_a_valid_answer_a_client_is_refused_or_admitted_as_configured(behaviour, told, why, asking, hook):
    hook.behaviour = behaviour
    timeout_s = SOON_S if "0.2 s" in told else PATIENCE_S

    refusal = await asking.refusal(hook.url("/hook?token=t"), hook_timeout_s=timeout_s)
    answer = await asking.ask(hook.url(), hook_timeout_s=timeout_s, hook_failure="admit")

    assert refusal == ("NetStream.Publish.Denied", told)
    assert answer == PublishAnswer()
    refused, admitted = asking.lines
    assert why in refused.pop("why")
    assert refused == {
        "event": "hook failed",
        "hook": "on_publish",
        "url": hook.url("/hook"),
        "then": "refuse",
        "client": 7,
        "stream": "live/s",
    }
    assert admitted["then"] == "admit"


async def test_ten_megabytes_are_a_failure(asking, hook):
    hook.behaviour = hook.sends(200, TEN_MEGABYTES)

    assert (await asking.refusal(hook.url()))[1] == "the publish hook failed"
    assert asking.lines[0]["why"] == "a body of more than 65536 bytes"


async def test_a_log_line_has_no_secrets_of_the_url(asking, hook):
    hook.behaviour = says(500)

    await asking.refusal(hook.url("/hook?token=t").replace("//", "//user:pass@"))

    assert asking.lines[0]["url"] == hook.url("/hook")


async def test_a_hanging_hook_holds_up_nobody_else(asking, hook):
    hook.behaviour = hangs
    waiting = [asyncio.ensure_future(asking.ask(hook.url())) for _ in range(20)]
    await asyncio.to_thread(hook.wait_for_questions, 20)

    with Hook(settles(stream="quick")) as other:
        assert (await asking.ask(other.url())).stream == "quick"
    hook.behaviour = settles(stream="too")
    assert (await asking.ask(hook.url())).stream == "too"

    assert not any(each.done() for each in waiting)
    for each in waiting:
        each.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*waiting)
    await asyncio.to_thread(hook.wait_for_abandoned, 20)
