"""
Who may use the API over TCP: who has the token or a session, or, on loopback without a token, programs of this machine.

A browser is a program of this machine that runs what foreign pages send. Such a page can post without being asked, and
by a name of its own that it lets point to 127.0.0.1 (DNS rebinding) it could read the answers, too. So names that are not
ours are refused, and requests that a browser says come from elsewhere. The control socket needs none of this.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Container, Sequence
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rtmpd.config import Config
from rtmpd.control.addresses import is_this_machine
from rtmpd.web.guesses import Guesses, too_many
from rtmpd.web.problems import Refusal
from rtmpd.web.sessions import COOKIE, Sessions

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_OWN_SITES = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site: a page of ours, and a person that typed the address."""


class _Authority(NamedTuple):
    """What stands before a URL's path."""

    host: str
    port: int | None


class Guard:
    """Lets requests through, or not; `reload` takes up another configuration."""

    def __init__(self, config: Config) -> None:
        """
        Guard by a configuration.

        Args:
            config: its http and urls.
        """
        self.sessions = Sessions()
        self.guesses = Guesses()
        """Wrong tokens in headers; who opens sessions adds theirs."""
        self._tokens: Sequence[bytes] = ()
        self.reload(config)

    def reload(self, config: Config) -> None:
        """
        Go by another configuration from now on.

        Args:
            config: its http and urls.
        """
        tokens = [token.encode() for token in config.http.token]
        if tokens != self._tokens:  # who had one that is not in force any more has no session either
            self.sessions.close_all()
        self._tokens = tokens
        self._is_media_for_all = "*" in config.http.media_origins
        public = urlsplit(config.urls.http or "").hostname
        self._public_hosts = frozenset({public} if public else ())
        self._hosts = (
            _LOCAL_HOSTS
            | self._public_hosts
            | {listen.host.lower() for listen in (config.http.listen, config.https.listen) if listen is not None}
        )

    @property
    def wants_token(self) -> bool:
        """Whether a token is needed."""
        return bool(self._tokens)

    def check(self, request: web.Request, *, open_to_all: bool = False) -> None:
        """
        Refuse what may not be.

        Args:
            request: of either surface.
            open_to_all: needs no token.

        Raises:
            Refusal: 401, 403, 421 or 429.
        """
        if _over_control_socket(request):
            return
        self._check_host(request)
        self._check_origin(request, _host_of(request))
        if self._tokens and not open_to_all and not self.has_session(request):
            self._check_token(request)

    def check_media(self, request: web.Request) -> None:
        """
        Refuse a request for media whose reader may be a page that `http.media_origins` does not name.

        A page whose own name leads here is of one origin with the media to its browser, so that CORS does not hold it up.
        Where every site may show media there is nothing to keep from it. With a token names are unimportant, as for the
        API: such a server is there for others, and keys or signatures say who may play.

        Args:
            request: of either surface.

        Raises:
            Refusal: 421.
        """
        if not self._is_media_for_all and not _over_control_socket(request):
            self._check_host(request)

    def has_token(self, request: web.Request) -> bool:
        """
        Say whether a request shows that it may use the API: by a token, by a session, or by coming over the control socket.

        Where no token is configured nobody can show one. A session counts for pages of this server alone: a browser sends
        its cookie from other ports of the same host as well, whose pages may be anyone's.

        Args:
            request: of either surface.
        """
        if _over_control_socket(request) or (self.has_session(request) and self.is_own_page(request)):
            return True
        try:
            self._check_token(request)
        except Refusal:
            return False
        return True

    def has_session(self, request: web.Request) -> bool:
        """
        Say whether a request has the cookie of a session, and prolong that.

        Args:
            request: of either surface.
        """
        return self.sessions.use(request.cookies.get(COOKIE, ""))

    def is_own_page(self, request: web.Request) -> bool:
        """
        Say whether a request comes from a page of this server, from a person, or from a program that is no browser.

        Args:
            request: of either surface.
        """
        try:
            self._check_origin(request, _host_of(request))
        except Refusal:
            return False
        return True

    def is_token(self, token: str) -> bool:
        """
        Say whether this is a token of the configuration.

        Args:
            token: given by a caller.
        """
        sent = token.encode(errors="surrogateescape")
        # All are compared, so that the time says nothing about which of them was nearly right.
        return any([hmac.compare_digest(sent, each) for each in self._tokens])  # noqa: C419 - a generator would stop

    def _check_host(self, request: web.Request) -> None:
        host = _host_of(request)
        if not self._tokens and (host is None or host.host not in self._hosts):
            raise Refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                "Host is not a name of this server; urls.http names it, or http.token makes names unimportant",
            )

    def _check_origin(self, request: web.Request, host: _Authority | None) -> None:
        if request.headers.get("Sec-Fetch-Site", "none").lower() not in _OWN_SITES:
            raise Refusal(HTTPStatus.FORBIDDEN, "pages of other sites may not use this server")
        if "Origin" not in request.headers:
            return
        origin = _authority(request.headers["Origin"])
        if origin is None or not (origin.host in self._public_hosts or self._is_ours(origin, host)):
            raise Refusal(HTTPStatus.FORBIDDEN, "Origin is not this server; pages of other sites may not use it")

    def _is_ours(self, origin: _Authority, host: _Authority | None) -> bool:
        """Another port of the same host is another program, and may show pages of anyone."""
        if host is None or origin.port != host.port:
            return False
        return origin.host == host.host or {origin.host, host.host} <= self._hosts

    def _check_token(self, request: web.Request) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refusal(
                HTTPStatus.UNAUTHORIZED,
                "Authorization: Bearer TOKEN is expected, with a token of http.token",
                headers={"WWW-Authenticate": 'Bearer realm="rtmpd"'},
            )
        address = request.remote or ""
        # A program of this machine may be a proxy: whoever guesses through it would keep the token of all others from its use.
        if self.guesses.are_too_many(address) and not is_this_machine(address):
            raise too_many()
        if not self.is_token(given.strip()):
            if not is_this_machine(address):
                self.guesses.count(address)
            raise Refusal(
                HTTPStatus.UNAUTHORIZED,
                "the token is not one of http.token",
                headers={"WWW-Authenticate": 'Bearer realm="rtmpd", error="invalid_token"'},
            )


def guarding(guard: Guard, open_to_all: frozenset[str], media: Container[object] = ()) -> Middleware:
    """
    Make the middleware.

    Args:
        guard: asked about every request, also those for paths that are not there.
        open_to_all: paths that need no token.
        media: handlers that ask for themselves who may have what (`rtmpd.web.media`).

    Returns:
        The middleware.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.handler in media:
            guard.check_media(request)
        else:
            guard.check(request, open_to_all=request.path in open_to_all)
        return await handler(request)

    return check


def _over_control_socket(request: web.Request) -> bool:
    transport = request.transport
    connection = None if transport is None else transport.get_extra_info("socket")
    return connection is not None and connection.family == socket.AF_UNIX


def _host_of(request: web.Request) -> _Authority | None:
    """By what name the client knows this server."""
    return _authority(f"//{request.headers.get('Host', '')}")


def _authority(url: str) -> _Authority | None:
    """Take host and port of a URL; None where there is no host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return _Authority(host.rstrip("."), port)
