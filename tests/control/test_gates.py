"""The two gates of an application, made of its configuration."""

from __future__ import annotations

import pytest

from rtmpd.config_file import validate
from rtmpd.control.gates import play_gate, publish_gate
from rtmpd.wire.commands import STATUS

APP = validate(
    {
        "apps": {
            "live": {
                f"{verb}_{what}": value.format(verb)
                for verb in ("publish", "play")
                for what, value in (("key", "{}-key"), ("secret", "{}-secret"))
            }
            | {
                "publish_allow": "192.0.2.1",
                "publish_deny": "192.0.2.2",
                "play_allow": "192.0.2.3",
                "play_deny": "192.0.2.4",
                "on_publish": "http://h/publish",
                "on_play": "http://h/play",
                "hook_timeout_s": 5.0,
                "hook_failure": "admit",
            }
        }
    }
).apps["live"]


@pytest.mark.parametrize(
    ("gate", "verb", "allow", "deny"),
    [
        (publish_gate("live", APP), "publish", "192.0.2.1/32", "192.0.2.2/32"),
        (play_gate("live", APP), "play", "192.0.2.3/32", "192.0.2.4/32"),
    ],
)
def test_each_gate_has_the_guards_of_its_own(gate, verb, allow, deny):
    assert (gate.app, gate.verb, gate.keys, gate.secrets) == ("live", verb, (f"{verb}-key",), (f"{verb}-secret",))
    assert (list(map(str, gate.allow)), list(map(str, gate.deny))) == ([allow], [deny])
    assert (gate.hook, gate.hook_timeout_s, gate.hook_failure) == (f"http://h/{verb}", 5.0, "admit")


@pytest.mark.parametrize("gate", [publish_gate("live", APP), play_gate("live", APP)])
def test_a_refusal_has_a_code_of_level_error_so_that_no_client_waits_on(gate):
    refused = gate.refused("because")

    assert (STATUS[refused.code].level, refused.description) == ("error", "because")
