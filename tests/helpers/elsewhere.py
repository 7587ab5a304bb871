"""Peers that are not on this machine, though all of a test is."""

from __future__ import annotations

from aiohttp.web_request import BaseRequest

HEADER = "X-Test-Address"


def let_requests_say_where_they_come_from(monkeypatch):
    """Believe requests that name an address in `HEADER`; all others come from where they do."""
    true = vars(BaseRequest)["remote"]

    def remote(request):
        return request.headers.get(HEADER) or true.__get__(request, BaseRequest)

    monkeypatch.setattr(BaseRequest, "remote", property(remote))


class Elsewhere:
    """A listening socket whose connections come from the addresses that are given, in turn."""

    def __init__(self, listening, *addresses):
        self._listening = listening
        self._addresses = iter(addresses)

    def accept(self):
        connection, _ = self._listening.accept()
        return connection, (next(self._addresses), 0, 0, 0)

    def fileno(self):
        return self._listening.fileno()

    def close(self):
        self._listening.close()
