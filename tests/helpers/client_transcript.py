"""
Dialogues of a `ClientSession`: with a server that is played line by line, or with a `ServerSession` in memory.

    with ClientTranscript("publish") as script:
        script.connects()
        script.received(result(CREATE_STREAM, 1))
        script.sent("1: publish 5 key?k=v live")
"""

from __future__ import annotations

from rtmpd.session import requests
from rtmpd.session.client import ClientSession
from rtmpd.session.events import Event
from rtmpd.session.limits import ClientLimits
from rtmpd.session.replies import on_status, result
from rtmpd.session.server import ServerSession
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.handshake import RANDOM_BYTES
from tests.helpers.transcript import START, Transcript

URL = RtmpUrl.parse("rtmp://bob:secret@example.net/live/key?k=v")
CONNECT_RESULT = result(requests.CONNECT, {"level": "status", "code": "NetConnection.Connect.Success"})
CREATED = result(requests.CREATE_STREAM, 1)
STARTS = {"publish": "NetStream.Publish.Start", "play": "NetStream.Play.Start"}


def new_client(role="publish", *, url=URL, limits=None, now=START, auth_query="") -> ClientSession:
    """Make a session with random bytes that are not random."""
    return ClientSession(url, role, limits or ClientLimits(), bytes(range(256)) * 5 + bytes(248), now, auth_query)


assert len(bytes(range(256)) * 5 + bytes(248)) == RANDOM_BYTES


class ClientTranscript(Transcript):
    """One script with a server that is played by hand."""

    def __init__(self, role="publish", *, url=URL, auth_query="", **options) -> None:
        """
        Begin a dialogue.

        Args:
            role: publish or play.
            url: where to go.
            auth_query: what connect carries besides.
            options: of the transcript.
        """
        self.role = role
        self._url = url
        self._auth_query = auth_query
        super().__init__(**options)
        # Its first words, which no line of a script asks for: version and block.
        self._listen()

    def _new_session(self, limits):
        return new_client(self.role, url=self._url, limits=limits, now=self.now, auth_query=self._auth_query)

    def connects(self, app="live") -> None:
        """Play everything up to an answer of connect, without looking at it."""
        self.shakes_hands()
        self.received(CONNECT_RESULT)
        self.forget()

    def asks(self, message_stream_id=1) -> None:
        """Play everything up to the request, without looking at it."""
        self.connects()
        self.received(result(requests.CREATE_STREAM, message_stream_id))
        self.forget()

    def starts(self) -> None:
        """Play everything up to the grant, without looking at it."""
        self.asks()
        self.received(on_status(1, STARTS[self.role]))
        self.forget()

    def finishes(self) -> None:
        """Let the owner leave."""
        self._history.append("-- finish")
        self._told += self.session.finish(self.now)
        self._listen()

    def forget(self) -> None:
        """Pass over what was said and told so far."""
        self._said.clear()
        self._told.clear()


def talk(
    client: ClientSession, server: ServerSession, decide, *, piece_bytes=1 << 20
) -> tuple[list[Event], list[Event]]:
    """
    Let two sessions talk until both are silent.

    Args:
        client: one of them.
        server: the other one.
        decide: is given each of the server's events; may call its methods.
        piece_bytes: how much is handed over at a time.

    Returns:
        The events of the client and of the server.
    """
    told: tuple[list[Event], list[Event]] = ([], [])
    ends = ((client, server, told[1]), (server, client, told[0]))
    spoken = True
    while spoken:
        spoken = False
        for speaker, listener, events in ends:
            data = speaker.data_to_send()
            spoken = spoken or bool(data)
            for start in range(0, len(data), piece_bytes):
                new = listener.receive_data(data[start : start + piece_bytes], START)
                events.extend(new)
                if listener is server:
                    for event in new:
                        decide(event)
    return told
