"""
An RTMP client on rtmpd's own wire layer: for what real clients cannot do, such as any timestamps, or not reading.

`Connection` is the dialogue, blocking, with a time limit on every read. `Player` and `LivePublisher` are threads over it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import ssl
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.commands import Command, decode_command, encode_command
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.handshake import RANDOM_BYTES, ClientHandshake
from rtmpd.wire.messages import (
    AUDIO,
    COMMAND_AMF0,
    DATA_AMF0,
    USER_CONTROL,
    VIDEO,
    Message,
    UserControl,
    decode_user_control,
    encode_set_chunk_size,
)
from tests.helpers.processes import PATIENCE_S, wait_until

_CHUNK_SIZE = 65536
_CHUNK_STREAM_IDS = {AUDIO: 4, VIDEO: 6, DATA_AMF0: 5}
NOTHING: Mapping[str, object] = MappingProxyType({})
RECONNECTS: Mapping[str, object] = MappingProxyType({"capsEx": 1.0})
"""In connect: of a client that understands a reconnect request."""
_MEDIA = (AUDIO, VIDEO, DATA_AMF0)
_ESTABLISHED = 1
"""TCP_INFO begins with the state of the connection."""
_SET_DATA_FRAME = b"\x02\x00\x0d@setDataFrame"
_ON_METADATA = b"\x02\x00\x0aonMetaData"


class Closed(Exception):
    """The server closed the connection."""


class Connection:
    """One connection, from the handshake on."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        source: str = "127.0.0.1",
        receive_buffer_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """
        Connect and shake hands.

        Args:
            address: of the server.
            source: our own address, any of 127.0.0.0/8.
            receive_buffer_bytes: what the kernel may keep for us; its own choice if not given.
            tls: speak RTMPS.
        """
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE_S)
        self._socket.bind((source, 0))
        if receive_buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._reader = ChunkReader(body_limits=[0xFFFFFF] * 256)
        self._messages: list[Message] = []
        self._transaction = 0
        with self._closed_on_failure():
            self._socket.connect(address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                self._socket = tls.wrap_socket(self._socket, server_hostname=address[0])
            self._shake_hands()

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        self.close()

    @property
    def port(self) -> int:
        """Our own, by which the kernel's tables know the connection."""
        return int(self._socket.getsockname()[1])

    @property
    def socket(self) -> socket.socket:
        """For who reads it in another way, from now on."""
        return self._socket

    @property
    def unsent_bytes(self) -> int:
        """What the kernel holds for the server: bytes that its side has not acknowledged; none when that has closed."""
        (state,) = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        if state != _ESTABLISHED:
            return 0
        return int.from_bytes(fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def connect(self, app: str = "live", properties: Mapping[str, object] = NOTHING) -> Connection:
        """Name the application, with more properties if there are any, and make a stream; returns itself."""
        with self._closed_on_failure():
            self.send(encode_set_chunk_size(_CHUNK_SIZE))
            named = {"app": app, "type": "nonprivate", "flashVer": "test", "tcUrl": f"rtmp://127.0.0.1/{app}"}
            self.call("connect", {**named, **properties})
            self.wait_for_command("_result")
            self.call("createStream", None)
            self.wait_for_command("_result")
        return self

    def publish(self, stream: str) -> Connection:
        """Publish, and wait for the server's consent; returns itself."""
        with self._closed_on_failure():
            self.call("publish", None, stream, "live", message_stream_id=1)
            self.wait_for_status("NetStream.Publish.Start")
        return self

    def request_play(self, stream: str) -> Connection:
        """Ask to play, without waiting for an answer: there may be none before a publisher comes. Returns itself."""
        self.call("play", None, stream, -2, message_stream_id=1)
        return self

    def refused(self, verb: str, stream: str) -> dict:
        """Publish or play what the server will not allow: its answer, after which it has to close the connection."""
        self.call(verb, None, stream, "live" if verb == "publish" else -2, message_stream_id=1)
        info = self.wait_for_command("onStatus").arguments[0]
        self.wait_for_end()
        return info

    def unpublish(self) -> None:
        """End a publish as ffmpeg does, and leave."""
        self.call("FCUnpublish", None, "-")
        self.call("deleteStream", None, 1)
        self.close()

    def call(self, name: str, *values, message_stream_id: int = 0) -> None:
        """Send a command."""
        self._transaction += 1
        body = encode_command(name, self._transaction, *values)
        self.send(Message(COMMAND_AMF0, 0, message_stream_id, body, 3))

    def send(self, message: Message) -> None:
        """Send any message."""
        # connect() announces the chunk size before anything is longer than 128 bytes.
        self._socket.sendall(encode_message(message, _CHUNK_SIZE))

    def send_media(self, type_id: int, timestamp_ms: int, body: bytes) -> None:
        """Send audio, video or data on the published stream."""
        self.send(Message(type_id, timestamp_ms & 0xFFFFFFFF, 1, body, _CHUNK_STREAM_IDS[type_id]))

    def send_tag(self, tag: FlvTag, offset_ms: int = 0) -> None:
        """Send an FLV tag as an encoder would."""
        body = _SET_DATA_FRAME + tag.body if tag.body.startswith(_ON_METADATA) else tag.body
        self.send_media(tag.type_id, tag.timestamp_ms + offset_ms, body)

    def receive(self) -> Message:
        """
        Read one message.

        Raises:
            Closed: the server closed the connection.
            TimeoutError: nothing came.
        """
        while not self._messages:
            self._feed(self._receive_bytes())
        return self._messages.pop(0)

    def wait_for_command(self, name: str) -> Command:
        """Read on to a command of the server, whatever comes before it."""
        while True:
            message = self.receive()
            if message.type_id == COMMAND_AMF0 and (command := decode_command(message)).name == name:
                return command

    def wait_for_status(self, code: str) -> dict:
        """Read on to an onStatus with a code; one of level error that comes first fails the test."""
        while True:
            info = self.wait_for_command("onStatus").arguments[0]
            if info["code"] == code:
                return info
            assert info["level"] != "error", info

    def wait_for_end(self) -> None:
        """Read on until the server closes the connection."""
        with contextlib.suppress(Closed):
            while True:
                self.receive()

    def abort(self) -> None:
        """Leave as a killed process with unread data does: by a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Leave without a word; a thread that reads here stops."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def shut_down(self) -> None:
        """Make a thread that reads or writes here stop, for `close` to follow."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._socket.close()
            raise

    def _shake_hands(self) -> None:
        handshake = ClientHandshake(os.urandom(RANDOM_BYTES), 0)
        self._socket.sendall(handshake.first_bytes())
        while not handshake.done:
            self._socket.sendall(handshake.feed(self._receive_bytes()))
        self._feed(handshake.remainder)

    def _receive_bytes(self) -> bytes:
        try:
            data = self._socket.recv(256 * 1024)
        except (ConnectionResetError, ssl.SSLEOFError):
            data = b""
        if not data:
            raise Closed
        return data

    def _feed(self, data: bytes) -> None:
        self._reader.feed(data, self._messages)


class Player:
    """
    Someone who plays, in a thread; to be used as a context manager.

    What comes is kept in `media`: the audio, video and data messages from the first on.
    """

    def __init__(
        self,
        address: tuple[str, int],
        stream: str,
        *,
        app: str = "live",
        receive_buffer_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
        properties: Mapping[str, object] = NOTHING,
    ) -> None:
        """
        Ask to play; the stream may come later.

        Args:
            address: of the server.
            stream: its name.
            app: its application.
            receive_buffer_bytes: what the kernel may keep for us.
            tls: speak RTMPS.
            properties: more of connect.
        """
        connection = Connection(address, receive_buffer_bytes=receive_buffer_bytes, tls=tls)
        self.connection = connection.connect(app, properties)
        self.media: list[Message] = []
        self.commands: list[Command] = []
        self.user_controls: list[UserControl] = []
        self.ended = False
        self.failure: Exception | None = None
        self._changed = threading.Condition()
        self._may_read = threading.Event()
        self._may_read.set()
        self.asked_s = time.monotonic()
        self.first_frame_s = 0.0
        """When the first audio or video message came, on the clock of `asked_s`."""
        self.connection.request_play(stream)
        self._thread = threading.Thread(target=self._run, name=f"player of {stream}", daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        self._may_read.set()
        self.connection.shut_down()
        self._thread.join(PATIENCE_S)
        self.connection.close()

    @property
    def video(self) -> list[Message]:
        """The video messages so far, headers included."""
        return [message for message in list(self.media) if message.type_id == VIDEO]

    @property
    def codes(self) -> list[str]:
        """The codes of each onStatus so far."""
        return [command.arguments[0]["code"] for command in list(self.commands) if command.name == "onStatus"]

    def stall(self) -> None:
        """Stop reading, from the next message on."""
        self._may_read.clear()

    def go_on(self) -> None:
        """Read again."""
        self._may_read.set()

    def wait_until(self, reached: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
        """
        Wait for what this player has received.

        Args:
            reached: asked after each message.
            what: is waited for; the failure's message.
            timeout_s: after which the test fails.
        """
        with self._changed:
            self._changed.wait_for(lambda: reached() or self.ended, timeout_s)
        assert reached(), f"{what}: {len(self.media)} messages, {self.codes}, ended {self.ended} ({self.failure!r})"

    def wait_for_media(self, count: int) -> None:
        """Wait until at least so many messages have come."""
        self.wait_until(lambda: len(self.media) >= count, f"{count} messages")

    def wait_until_played(self, media_ms: int) -> None:
        """Wait until the stream has come to a time here: what was sent before is with the server, whoever slept."""
        self.wait_until(lambda: self.media and self.media[-1].timestamp_ms >= media_ms, f"{media_ms} ms")

    def wait_for_status(self, code: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait for an onStatus."""
        self.wait_until(lambda: code in self.codes, code, timeout_s)

    def wait_for_end(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the server has closed the connection."""
        self.wait_until(lambda: self.ended, "the end", timeout_s)

    def _run(self) -> None:
        try:
            while True:
                self._may_read.wait()
                self._take(self.connection.receive())
        except Closed:
            pass
        except Exception as failure:  # noqa: BLE001 - told by the thread that waits
            self.failure = failure
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _take(self, message: Message) -> None:
        with self._changed:
            if message.type_id in _MEDIA:
                if message.type_id != DATA_AMF0 and not self.first_frame_s:
                    self.first_frame_s = time.monotonic()
                self.media.append(message)
            elif message.type_id == COMMAND_AMF0:
                self.commands.append(decode_command(message))
            elif message.type_id == USER_CONTROL:
                self.user_controls.append(decode_user_control(message.body))
            self._changed.notify_all()


class LivePublisher:
    """
    An encoder: sends media in real time from a thread, until told to stop; to be used as a context manager.

    What was sent is kept in `sent`, as it went out.
    """

    def __init__(
        self,
        address: tuple[str, int],
        stream: str,
        tags: Sequence[FlvTag],
        *,
        app: str = "live",
        speed: float = 1.0,
        repeat: bool = True,
        properties: Mapping[str, object] = NOTHING,
    ) -> None:
        """
        Publish and begin.

        Args:
            address: of the server.
            stream: its name.
            tags: of an FLV file, sent over and over; the headers only once.
            app: its application.
            speed: 1 is real time.
            repeat: false to send the tags once.
            properties: more of connect.
        """
        self._speed = speed
        self._repeat = repeat
        self.connection = Connection(address).connect(app, properties).publish(stream)
        self.sent: list[FlvTag] = []
        """With the tag that is under way: whatever anybody has received is in it."""
        self.sent_ms = -1
        """The time of the newest tag that has been sent."""
        self.failure: OSError | None = None
        self._tags = tags
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"publisher of {stream}", daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        self._halt()
        self.connection.close()

    def wait_until_sent(self, media_ms: int) -> None:
        """Wait until the stream has come to a time."""
        with self._changed:
            reached = self._changed.wait_for(lambda: self.sent_ms >= media_ms or self.failure, PATIENCE_S)
        assert reached, f"at {self.sent_ms} ms, not {media_ms} ms"
        assert not self.failure, self.failure

    def finish(self) -> None:
        """End the stream as an encoder does that was told to."""
        self._halt()
        self.connection.unpublish()

    def wait_until_all_sent(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until tags that are not repeated have all been sent."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), f"at {self.sent_ms} ms"
        assert not self.failure, self.failure

    def drop(self) -> None:
        """End it as a killed encoder does, when all that was sent is on the server's side."""
        self._halt()
        # A reset takes with it what the kernel has not sent yet: a burst of messages waits for acknowledgements.
        wait_until(lambda: not self.connection.unsent_bytes, "delivery of what was sent")
        self.connection.abort()

    def _halt(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        try:
            self._send(self._paced())
        except OSError as failure:
            with self._changed:
                self.failure = failure
                self._changed.notify_all()

    def _send(self, tags: Iterable[FlvTag]) -> None:
        for tag in tags:
            self.sent.append(tag)  # first: a player may have it before this thread runs again
            try:
                self.connection.send_tag(tag)
            except OSError:
                self.sent.pop()
                raise
            with self._changed:
                self.sent_ms = tag.timestamp_ms
                self._changed.notify_all()

    def _paced(self) -> Iterable[FlvTag]:
        started_s = time.monotonic()
        offset_ms = 0
        while True:
            for tag in self._tags:
                timed = tag._replace(timestamp_ms=tag.timestamp_ms + offset_ms)
                due_s = started_s + timed.timestamp_ms / 1000 / self._speed
                if self._stop.wait(max(0.0, due_s - time.monotonic())):
                    return
                yield timed
            if not self._repeat:
                return
            offset_ms += self._tags[-1].timestamp_ms + 40
