"""
The sink of a push relay: a player's place in a log, in the words that an encoder would use.

Log bytes carry message stream 1. Nearly every server gives that number, and is then served like a player, from the bytes
that all share. For any other number each message is framed again (see `rtmpd.live.log`).
"""

from __future__ import annotations

from collections.abc import Callable

from rtmpd.live.forms import OUT_MESSAGE_STREAM_ID
from rtmpd.live.headers import METADATA_MS
from rtmpd.live.log import KeyFrame, Log
from rtmpd.live.subscription import NOWHERE
from rtmpd.net.sink import Sink, SinkOwner
from rtmpd.wire import amf0
from rtmpd.wire.chunk_writer import OUT_CHUNK_SIZE, encode_chunks
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO

REFRAMED_BYTES = 64 * 1024
"""Framed again at a time, or one message where that is longer."""

_CHUNK_STREAM_IDS = {AUDIO: 4, VIDEO: 6, DATA_AMF0: 5}
_TIMESTAMP_MASK = 0xFFFF_FFFF
_ON_METADATA = amf0.encode("onMetaData")
# Interop: servers keep metadata for late joiners only if told so, as encoders do.
_SET_DATA_FRAME = amf0.encode("@setDataFrame")


class RelaySink(Sink):
    """A cursor for a server that we publish to."""

    __slots__ = ("_message_stream_id",)

    def __init__(
        self,
        descriptor: int,
        send: Callable[[memoryview | bytearray], int],
        owner: SinkOwner,
        *,
        patience_s: float,
        settle: Callable[[], bool] | None,
    ) -> None:
        """
        Join a cursor and a socket; nothing is sent of a log before `follow`.

        Args:
            descriptor: as of `Sink`.
            send: as of `Sink`.
            owner: as of `Sink`.
            patience_s: as of `Sink`.
            settle: as of `Sink`.
        """
        super().__init__(descriptor, send, owner, patience_s=patience_s, settle=settle)
        self._message_stream_id = OUT_MESSAGE_STREAM_ID

    def follow(self, log: Log, message_stream_id: int) -> None:
        """
        Begin at the newest key frame, or with the first one that comes.

        Args:
            log: in the form of chunks.
            message_stream_id: what the server wants media to carry.
        """
        self._message_stream_id = message_stream_id
        if message_stream_id != OUT_MESSAGE_STREAM_ID and self.settle is None:
            # The fan-out's inner loop sends log bytes; it leaves out who has something to settle.
            self.settle = _nothing_to_settle
            self.aside = True
        self.attach(log)
        if (key_frame := log.newest_key_frame) is not None:
            self.start_at_key_frame(key_frame)
        else:
            self.await_key_frame()

    def start_at_key_frame(self, key_frame: KeyFrame) -> None:
        """Go on at a key frame, after the headers in force there."""
        for type_id, body in key_frame.headers:
            self.private += self._frame(type_id, key_frame.timestamp_ms, body)
        self.start_at(key_frame.position)

    def next_bytes(self) -> memoryview | bytearray | None:
        """Look at what is to be sent next, as `Cursor.next_bytes`."""
        if self._message_stream_id != OUT_MESSAGE_STREAM_ID and not self.private:
            self._reframe()
        return super().next_bytes()

    def _reframe(self) -> None:
        """Take whole messages out of the log."""
        log = self.log
        if log is None or self.position in (NOWHERE, log.end):
            return
        position = log.end
        for entry, body in log.messages(self.position):
            if len(self.private) >= REFRAMED_BYTES:
                position = entry.position
                break
            self.private += self._frame(entry.type_id, entry.timestamp_ms, body)
        self._owed_bytes = len(self.private)
        self.position = position

    def _frame(self, type_id: int, timestamp_ms: int, body: bytes) -> bytes:
        if type_id == DATA_AMF0 and body.startswith(_ON_METADATA):
            timestamp_ms = METADATA_MS
            body = _SET_DATA_FRAME + body
        return encode_chunks(
            type_id,
            timestamp_ms & _TIMESTAMP_MASK,
            self._message_stream_id,
            _CHUNK_STREAM_IDS[type_id],
            body,
            OUT_CHUNK_SIZE,
        )


def _nothing_to_settle() -> bool:
    return True
