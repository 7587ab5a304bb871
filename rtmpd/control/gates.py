"""The two gates of an application: who publishes passes one, who plays the other, and each has guards of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rtmpd.config import AppConfig
from rtmpd.control.addresses import Network
from rtmpd.errors import Refused

PUBLISH_DENIED = "NetStream.Publish.Denied"
"""OBS, ffmpeg and GStreamer give up on it and show the description."""
PLAY_FAILED = "NetStream.Play.Failed"
"""librtmp stops at it whatever its level; the others at the level."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One way into an application."""

    app: str
    verb: str
    """"publish" or "play"."""
    code: str
    """The status code of a refusal."""
    keys: tuple[str, ...]
    secrets: tuple[str, ...]
    allow: tuple[Network, ...]
    deny: tuple[Network, ...]
    hook: str | None
    """The URL that is asked; None: nobody is."""
    hook_timeout_s: float
    hook_failure: Literal["refuse", "admit"]
    """What holds when the hook gives no answer that can be understood."""

    def refused(self, description: str) -> Refused:
        """
        Make a refusal.

        Args:
            description: non-empty, for the user.
        """
        return Refused(self.code, description)


def publish_gate(name: str, app: AppConfig) -> Gate:
    """
    Find what guards publishing.

    Args:
        name: of the application.
        app: its configuration.
    """
    return Gate(
        app=name,
        verb="publish",
        code=PUBLISH_DENIED,
        keys=app.publish_key,
        secrets=app.publish_secret,
        allow=app.publish_allow,
        deny=app.publish_deny,
        hook=app.on_publish,
        hook_timeout_s=app.hook_timeout_s,
        hook_failure=app.hook_failure,
    )


def play_gate(name: str, app: AppConfig) -> Gate:
    """
    Find what guards playing.

    Args:
        name: of the application.
        app: its configuration.
    """
    return Gate(
        app=name,
        verb="play",
        code=PLAY_FAILED,
        keys=app.play_key,
        secrets=app.play_secret,
        allow=app.play_allow,
        deny=app.play_deny,
        hook=app.on_play,
        hook_timeout_s=app.hook_timeout_s,
        hook_failure=app.hook_failure,
    )
