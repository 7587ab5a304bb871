"""The undisturbed one: a stream whose every frame is counted, whatever others do to the server."""

from __future__ import annotations

import contextlib
import struct
import threading

from rtmpd.wire.messages import VIDEO
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.rtmp_client import Closed, Connection
from tests.helpers.server import Server

WITNESS = "witness"
UNDISTURBED_S = 1.0
"""The most that the server may do for others before it passes on a frame of the witness: seconds of its processor time,
as on the clock a server that works for attackers looks like one whose machine stands still. Some 50 ms are usual."""
_FRAME_S = 0.02
_COUNTED_S = 0.1
"""The most of a turn's processor time that counts: a longer turn is one in which we stood still ourselves."""
_GROUP = 25
_HEADER = bytes.fromhex("170000000001640014ffe10000010000")


class Witness:
    """A publisher of a numbered frame every 20 ms, and a player who sees that all come, in order and before other work."""

    def __init__(self, server: Server) -> None:
        """
        Begin.

        Args:
            server: runs.
        """
        self.worst_s = 0.0
        """The most that the server worked while a frame was on its way, up to the last check."""
        self._worst_s = 0.0
        self._server = server
        self._used_s = server.cpu_s()
        self._worked_s = 0.0
        self._sent_s: list[float] = []
        """Of each frame, what the server had worked."""
        self._next = -1
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._publisher = Connection(server.address).connect().publish(WITNESS)
        self._publisher.send_media(VIDEO, 0, _HEADER)
        self._player = Connection(server.address).connect().request_play(WITNESS)
        self._player.wait_for_status("NetStream.Play.Start")
        self._threads = [threading.Thread(target=self._run, args=(each,)) for each in (self._play, self._publish)]
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self._next > 0 or self._failure, "the first frame of the witness")

    def close(self) -> None:
        """End, after the last frame."""
        self._stop.set()
        self._threads[1].join(PATIENCE_S)
        with contextlib.suppress(AssertionError):  # told by check()
            wait_until(lambda: self._next == len(self._sent_s) or self._failure, "the last frame", UNDISTURBED_S)
        self._player.shut_down()
        self._threads[0].join(PATIENCE_S)
        self._player.close()
        self._publisher.close()

    def check(self) -> None:
        """See that nothing was missing, broken or late since the last time, and that what was sent comes."""
        sent = len(self._sent_s)
        wait_until(lambda: self._next >= sent or self._failure, f"frame {sent - 1} of the witness")
        assert self._failure is None, f"the witness: {self._failure!r} at frame {self._next}"
        late_s, self._worst_s = self._worst_s, 0.0
        self.worst_s = max(self.worst_s, late_s)
        assert late_s < UNDISTURBED_S, f"the server worked {late_s:.2f} s before it passed a frame of the witness on"

    def _run(self, work) -> None:
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - told by check()
            if not self._stop.is_set():
                self._failure = failure

    def _publish(self) -> None:
        while not self._stop.wait(_FRAME_S):
            number = len(self._sent_s)
            body = bytes((0x27 if number % _GROUP else 0x17, 1, 0, 0, 0)) + struct.pack(">I", number) + bytes(500)
            self._look_at_the_clock()
            self._sent_s.append(self._worked_s)
            self._publisher.send_media(VIDEO, number * 20, body)

    def _look_at_the_clock(self) -> None:
        used_s = self._server.cpu_s()
        self._worked_s += min(used_s - self._used_s, _COUNTED_S)
        self._used_s = used_s

    def _play(self) -> None:
        with contextlib.suppress(Closed):
            while True:
                message = self._player.receive()
                if message.type_id == VIDEO and message.body != _HEADER:
                    self._take(*struct.unpack_from(">I", message.body, 5))
        assert self._stop.is_set(), "the connection was closed"

    def _take(self, number: int) -> None:
        assert number == self._next or self._next < 0, f"frame {number} where {self._next} is due"
        self._next = number + 1
        self._worst_s = max(self._worst_s, self._worked_s - self._sent_s[number])
