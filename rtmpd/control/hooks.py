"""Hooks: programs of the operator's that are asked before somebody publishes or plays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtmpd.control.callback_body import shown_url
from rtmpd.control.gates import Gate
from rtmpd.control.hook_answers import AnswerModel, HookFailed, HookRefused, read_answer
from rtmpd.control.hook_client import HookClient
from rtmpd.control.parameters import parameters
from rtmpd.logs import Logger, get_logger
from rtmpd.session.events import PlayRequested, PublishRequested

KEY_BYTES = 1024
"""The longest name of a stream, unless configured otherwise (limits.key_bytes)."""


class Hooks:
    """Asks them, and decides what holds when one fails."""

    def __init__(
        self, client: HookClient | None = None, *, key_bytes: int = KEY_BYTES, log: Logger | None = None
    ) -> None:
        """
        Prepare.

        Args:
            client: speaks HTTP; one of its own if not given.
            key_bytes: the longest name that a hook may give to a stream, as UTF-8.
            log: where failures are told.
        """
        self._client = client or HookClient()
        self._key_bytes = key_bytes
        self._log = log or get_logger()

    async def ask(self, gate: Gate, question: Mapping[str, Any], model: type[AnswerModel]) -> AnswerModel:
        """
        Ask a gate's hook, where it has one.

        Args:
            gate: that somebody wants to pass.
            question: made by `question_of`.
            model: what the hook may settle.

        Returns:
            What it settled; nothing where there is no hook, or where it failed and need not be heard.

        Raises:
            Refused: by the hook, with its reason, or because it failed.
        """
        if gate.hook is None:
            return model()
        try:
            reply = await self._client.ask(gate.hook, question, gate.hook_timeout_s)
            return read_answer(reply, model, self._key_bytes)
        except HookRefused as refused:
            raise gate.refused(str(refused) or f"refused by the {gate.verb} hook") from None
        except HookFailed as failed:
            self._log.warning(
                "hook failed",
                hook=question["action"],
                url=shown_url(gate.hook),
                why=str(failed),
                then=gate.hook_failure,
                client=question["client_id"],
                stream=f"{question['app']}/{question['stream']}",
            )
            if gate.hook_failure == "refuse":
                raise gate.refused(f"the {gate.verb} hook {failed.told}") from None
            return model()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()


def question_of(gate: Gate, request: PublishRequested | PlayRequested, address: str, client: int) -> dict[str, Any]:
    """
    Put a request into words for a hook.

    Args:
        gate: that the client wants to pass.
        request: what it asked for.
        address: its IP address.
        client: the number of its connection.

    Returns:
        A JSON object; `params` are the parameters of `param`, its query.
    """
    return {
        "action": f"on_{gate.verb}",
        "app": request.app,
        "stream": request.stream,
        "param": request.query,
        "params": parameters(request.query),
        "client_id": client,
        "ip": address,
    }
