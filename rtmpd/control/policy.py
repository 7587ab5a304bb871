"""Who may publish and who may play, by the configuration: applications and plain keys."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from rtmpd.config import AppConfig
from rtmpd.errors import Refused
from rtmpd.live.registry import Takeover
from rtmpd.live.terms import Terms
from rtmpd.net.policy import PlayGrant, PublishGrant
from rtmpd.session.events import PlayRequested, PublishRequested

KEY_PARAMETER = "key"
_PUBLISH_DENIED = "NetStream.Publish.Denied"
_PLAY_FAILED = "NetStream.Play.Failed"


class ConfiguredPolicy:
    """Answers from the configuration at once; `apps` is replaced when the configuration is reloaded."""

    def __init__(self, apps: Mapping[str, AppConfig]) -> None:
        """
        Start with the applications of a configuration.

        Args:
            apps: by name.
        """
        self.apps = apps

    async def admit_publisher(self, request: PublishRequested, address: str, client: int) -> PublishGrant:
        """Admit who names a known application and, where it has publish keys, one of them."""
        app = self._app(request.app, _PUBLISH_DENIED)
        key = _key(request.query, app.publish_key, _PUBLISH_DENIED, "publish")
        return PublishGrant(
            app=request.app,
            stream=request.stream,
            identity=address if key is None else f"key:{key}",
            takeover=Takeover(app.takeover),
            grace_s=app.grace_s,
            terms=Terms(is_public=app.push == "auto", query=request.query, address=address, client=client),
        )

    async def admit_player(self, request: PlayRequested, address: str, client: int) -> PlayGrant:  # noqa: ARG002 - for hooks to come
        """Admit who names a known application and, where it has play keys, one of them."""
        app = self._app(request.app, _PLAY_FAILED)
        _key(request.query, app.play_key, _PLAY_FAILED, "play")
        return PlayGrant(request.app, request.stream)

    def _app(self, name: str, code: str) -> AppConfig:
        app = self.apps.get(name)
        if app is None:
            raise Refused(code, f"there is no application {name!r} on this server")
        return app


class StoppingPolicy:
    """Admits nobody any more: the server is about to stop."""

    async def admit_publisher(self, request: PublishRequested, address: str, client: int) -> PublishGrant:  # noqa: ARG002
        """Refuse; an encoder that reconnects finds the next server."""
        raise Refused(_PUBLISH_DENIED, "the server is stopping")

    async def admit_player(self, request: PlayRequested, address: str, client: int) -> PlayGrant:  # noqa: ARG002
        """Refuse."""
        raise Refused(_PLAY_FAILED, "the server is stopping")


def _key(query: str, accepted: Sequence[str], code: str, verb: str) -> str | None:
    """Find which of the accepted keys the client gave; the comparison takes the same time wherever it fails."""
    if not accepted:
        return None
    given = parse_qs(query).get(KEY_PARAMETER, [""])[-1].encode()
    matching = [key for key in accepted if hmac.compare_digest(key.encode(), given)]
    if not matching:
        raise Refused(code, f"a valid ?{KEY_PARAMETER}= is needed to {verb}" if not given else f"wrong {verb} key")
    return matching[0]
