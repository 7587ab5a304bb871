"""
Who may do what: the questions that connections ask, answered elsewhere (`rtmpd.control.policy`).

An answer may take seconds (a hook), so it is awaited; the session waits with it, and a refusal is told to the client
in its own terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rtmpd.live.registry import Takeover
from rtmpd.live.stream import Publication
from rtmpd.live.terms import PLAIN, Terms
from rtmpd.session.events import PlayRequested, PublishRequested


@dataclass(frozen=True, slots=True)
class PublishGrant:
    """What a publisher may do."""

    app: str
    stream: str
    identity: str
    """The key that it used, or its address: who may take the stream over from it."""
    takeover: Takeover
    grace_s: float
    """How long players are kept when it drops."""
    terms: Terms = PLAIN
    """What else was settled for its stream."""


@dataclass(frozen=True, slots=True)
class PlayGrant:
    """What a player may watch."""

    app: str
    stream: str


class Policy(Protocol):
    """Decides over publishers and players."""

    async def admit_publisher(self, request: PublishRequested, address: str, client: int) -> PublishGrant:
        """
        Decide whether a publisher may publish.

        Args:
            request: what it asked for.
            address: its IP address.
            client: the number of its connection.

        Returns:
            What it may do.

        Raises:
            Refused: with the code and the description that the client is shown.
        """

    async def admit_player(self, request: PlayRequested, address: str, client: int) -> PlayGrant:
        """
        Decide whether a player may play; raises `Refused` like `admit_publisher`.

        Args:
            request: what it asked for.
            address: its IP address.
            client: the number of its connection.

        Returns:
            What it may watch.
        """


class Journal(Protocol):
    """Writes down who publishes, so that it can be told to others whatever happens to this process."""

    async def began(self, publication: Publication) -> None:
        """
        Write down that a publisher begins; it is told to go ahead when this returns. It has to return, also when
        nothing can be written: no stream waits for a disk.
        """

    def over(self, publication: Publication, reason: str, *, clean: bool) -> None:
        """
        Write down that a publisher that began has gone.

        Args:
            publication: its hold on the stream, which it may have lost to another before.
            reason: one line.
            clean: whether it said so itself.
        """


class NoJournal:
    """Writes nothing down."""

    async def began(self, publication: Publication) -> None:
        """Let it begin."""

    def over(self, publication: Publication, reason: str, *, clean: bool) -> None:
        """Forget it."""
