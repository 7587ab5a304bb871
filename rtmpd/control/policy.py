"""Who may publish and who may play, by the configuration and by hooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rtmpd.config import AppConfig
from rtmpd.control.credentials import identify
from rtmpd.control.gates import PLAY_FAILED, PUBLISH_DENIED, play_gate, publish_gate
from rtmpd.control.hook_answers import PlayAnswer, PublishAnswer
from rtmpd.control.hooks import Hooks, question_of
from rtmpd.control.limits import Counts, NoCounts, check_players, check_streams
from rtmpd.errors import Refused
from rtmpd.live.registry import Takeover
from rtmpd.live.terms import Terms
from rtmpd.net.policy import PlayGrant, PublishGrant
from rtmpd.session.events import PlayRequested, PublishRequested


class ConfiguredPolicy:
    """
    Asks what costs least first: application, address, key or signature, limits, and only then the hook.

    `apps` is replaced when the configuration is reloaded.
    """

    def __init__(
        self,
        apps: Mapping[str, AppConfig],
        counts: Counts | None = None,
        hooks: Hooks | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        Start with the applications of a configuration.

        Args:
            apps: by name.
            counts: what the server holds, for limits; nothing if not given.
            hooks: asks them; `close` closes it.
            now: unix time in seconds, for signatures.
        """
        self.apps = apps
        self._counts = counts or NoCounts()
        self._hooks = hooks or Hooks()
        self._now = now
        self._stopping = False

    async def admit_publisher(self, request: PublishRequested, address: str, client: int) -> PublishGrant:
        """Admit who passes the publish gate of a known application; a hook may rename its stream and set its terms."""
        app = self._app(request.app, PUBLISH_DENIED)
        if app.origin:
            raise Refused(PUBLISH_DENIED, f"{request.app} is an edge: its streams are published at its origin")
        gate = publish_gate(request.app, app)
        identity = identify(gate, request.stream, request.query, address, self._now())
        answer = await self._hooks.ask(gate, question_of(gate, request, address, client), PublishAnswer)
        app = self._app(request.app, PUBLISH_DENIED)  # the hook took its time
        stream = answer.stream or request.stream
        # Not before the hook has named it: a stream that is live is taken over, also where there is no room for another.
        check_streams(gate, stream, app.max_streams, self._counts)
        return PublishGrant(
            app=request.app,
            stream=stream,
            identity=identity,
            takeover=Takeover(app.takeover),
            grace_s=app.grace_s,
            terms=Terms(
                is_public=(answer.push or app.push) == "auto",
                record=None if answer.record is None else answer.record == "auto",
                record_formats=tuple(dict.fromkeys(answer.record_formats or ())),
                targets=tuple(dict.fromkeys(answer.targets or ())),
                query=request.query,
                address=address,
                client=client,
            ),
        )

    async def admit_player(self, request: PlayRequested, address: str, client: int) -> PlayGrant:
        """Admit who passes the play gate of a known application; a hook may show it another stream."""
        app = self._app(request.app, PLAY_FAILED)
        gate = play_gate(request.app, app)
        identify(gate, request.stream, request.query, address, self._now())
        check_players(gate, app.max_players, self._counts)
        answer = await self._hooks.ask(gate, question_of(gate, request, address, client), PlayAnswer)
        app = self._app(request.app, PLAY_FAILED)  # the hook took its time: others came, too
        check_players(gate, app.max_players, self._counts)
        return PlayGrant(request.app, answer.stream or request.stream)

    def stop(self) -> None:
        """Admit nobody any more, whom a hook is being asked about included; an encoder that reconnects finds the next server."""
        self._stopping = True

    async def close(self) -> None:
        """Close the connections to hooks."""
        await self._hooks.close()

    def _app(self, name: str, code: str) -> AppConfig:
        if self._stopping:
            raise Refused(code, "the server is stopping")
        app = self.apps.get(name)
        if app is None:
            raise Refused(code, f"there is no application {name!r} on this server")
        return app
