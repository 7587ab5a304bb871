"""Many players in one thread: the kernel throws away what they are sent, and only its size is kept."""

from __future__ import annotations

import selectors
import socket
import threading

from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.rtmp_client import Connection

_DROPPED = bytearray(1 << 20)


class Crowd:
    """Players of one server, to be used as a context manager."""

    def __init__(self, address: tuple[str, int], app: str) -> None:
        """
        Start without players.

        Args:
            address: of the server.
            app: the application.
        """
        self._address = address
        self._app = app
        self._connections: list[Connection] = []
        self._received: dict[int, int] = {}
        self.lost = 0
        """Connections that the server has closed."""
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="crowd", daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)
        for connection in self._connections:
            connection.close()
        self._selector.close()

    def play(self, stream: str) -> None:
        """Add a player."""
        connection = Connection(self._address).connect(self._app).request_play(stream)
        self._connections.append(connection)
        self._received[connection.socket.fileno()] = 0
        self._selector.register(connection.socket, selectors.EVENT_READ)

    def wait_until_all_have(self, size_bytes: int, timeout_s: float = PATIENCE_S) -> None:
        """Wait until each player has received so much more than now."""
        wanted = {player: size + size_bytes for player, size in self._received.items()}
        wait_until(
            lambda: all(self._received[player] >= size for player, size in wanted.items()),
            f"{size_bytes} bytes at each of {len(wanted)} players",
            timeout_s,
        )

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.1):
                try:
                    size = key.fileobj.recv_into(_DROPPED, 0, socket.MSG_TRUNC)
                except OSError:
                    size = 0
                if size:
                    self._received[key.fd] += size
                else:
                    self.lost += 1
                    self._selector.unregister(key.fileobj)
