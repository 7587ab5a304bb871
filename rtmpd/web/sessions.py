"""
Sessions: what a page of the console has instead of the token, as EventSource, images and players can send no headers.

A session is a cookie that scripts cannot read and that a browser sends from pages of this site alone. It is kept in memory:
after a restart the token is asked for once more.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import ClassVar

COOKIE = "rtmpd_session"
IDLE_S = 12 * 3600.0
"""Since its last use."""
MOST_SESSIONS = 256
"""With one more the one that was not used for longest ends."""
_ID_BYTES = 32


class Sessions:
    """Those that are open."""

    _LONGEST_ID: ClassVar = 64

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Start with none.

        Args:
            clock: seconds.
        """
        self._clock = clock
        self._used_s: dict[bytes, float] = {}
        """By the hash of the id, so that looking one up takes the same time whatever was guessed; oldest use first."""

    def __len__(self) -> int:
        return len(self._used_s)

    def open(self) -> str:
        """
        Open one.

        Returns:
            Its id, for the cookie.
        """
        while len(self._used_s) >= MOST_SESSIONS:
            del self._used_s[next(iter(self._used_s))]
        session = secrets.token_urlsafe(_ID_BYTES)
        self._used_s[_hashed(session)] = self._clock()
        return session

    def use(self, session: str) -> bool:
        """
        Say whether one is open, and prolong it.

        Args:
            session: its id, or anything.
        """
        key = _hashed(session[: self._LONGEST_ID])
        used_s = self._used_s.pop(key, None)
        now = self._clock()
        if used_s is None or now - used_s > IDLE_S:
            return False
        self._used_s[key] = now
        return True

    def close(self, session: str) -> None:
        """
        End one; harmless where there is none.

        Args:
            session: its id, or anything.
        """
        self._used_s.pop(_hashed(session[: self._LONGEST_ID]), None)

    def close_all(self) -> None:
        """End all."""
        self._used_s.clear()


def _hashed(session: str) -> bytes:
    return hashlib.sha256(session.encode(errors="replace")).digest()
