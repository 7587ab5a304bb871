"""A listener on loopback, and clients that knock at it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from rtmpd.net.acceptor import Admission
from rtmpd.net.listener import listen


class Listening:
    """A listener and its clients, as a context manager."""

    def __init__(self, open_listener, **admission):
        """
        Begin to listen.

        Args:
            open_listener: makes the listener of a socket and its limits.
            admission: limits that are not those of a server with room for a hundred.
        """
        limits = {"connections": 100, "handshaking": 100, "handshaking_per_address": 100} | admission
        (self.socket,) = listen("127.0.0.1", 0)
        self.address = self.socket.getsockname()
        self.listener = open_listener(self.socket, Admission(**limits))
        self.clients = []

    def knock(self):
        """Connect, and say nothing."""
        client = socket.create_connection(self.address)
        client.setblocking(False)
        self.clients.append(client)
        return client

    @contextlib.contextmanager
    def without_descriptors(self):
        """Let accepting fail as it does where no descriptor is left."""
        self.listener._socket = _Exhausted(self.socket)
        try:
            yield
        finally:
            self.listener._socket = self.socket

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for client in self.clients:
            client.close()


class _Exhausted:
    """A listening socket of a process that may open no more files."""

    def __init__(self, listening):
        self.fileno = listening.fileno

    def accept(self):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def refused(client):
    """Whether the server has closed a client's connection without a word."""
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
