"""Opening and closing sessions of the console over HTTP: `/session`."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from pydantic import Field, ValidationError

from rtmpd.control.model_base import Answer, Request
from rtmpd.web.api import json_response
from rtmpd.web.bodies import NotJson, parse_json, read_body
from rtmpd.web.faults import faults_of
from rtmpd.web.guard import Guard
from rtmpd.web.guesses import too_many
from rtmpd.web.problems import HEADERS, Refusal
from rtmpd.web.sessions import COOKIE

PATH = "/session"
BODY_BYTES = 4096
"""A token has 128 at most."""


class SessionOpening(Request):
    """Who opens a session says the token; nothing where none is needed."""

    token: str | None = Field(default=None, max_length=1024)


class SessionState(Answer):
    """What a page has to ask for."""

    needs_token: bool
    """A session is opened with a token only."""
    is_open: bool
    """The request has a session, or shows that it may use the API in another way."""


class SessionDesk:
    """Answers /session (an `Outputs`, as it asks the guard itself: nobody has a token before he says it)."""

    def __init__(self, guard: Guard) -> None:
        """
        Prepare.

        Args:
            guard: keeps the sessions, and counts the guesses.
        """
        self._guard = guard

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            web.get(PATH, self._state, allow_head=False),
            web.post(PATH, self._open),
            web.delete(PATH, self._close),
        ]

    async def _state(self, request: web.Request) -> web.StreamResponse:
        self._guard.check(request, open_to_all=True)
        is_open = self._guard.has_token(request)
        return json_response(SessionState(needs_token=self._guard.wants_token, is_open=is_open))

    async def _open(self, request: web.Request) -> web.StreamResponse:
        self._guard.check(request, open_to_all=True)
        body = await read_body(request, BODY_BYTES)
        try:
            asked = SessionOpening.model_validate(parse_json(body)) if body else SessionOpening()
        except NotJson as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from None
        except ValidationError as error:
            faults = faults_of(error, SessionOpening)
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, faults[0], faults) from None
        if self._guard.wants_token:
            self._check(asked.token, request.remote or "")
        response = web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)
        secure = request.secure or request.headers.get("Origin", "").startswith("https://")
        response.set_cookie(
            COOKIE,
            self._guard.sessions.open(),
            path="/",
            httponly=True,
            samesite="Strict",
            secure=secure,
        )
        return response

    def _check(self, token: str | None, address: str) -> None:
        if token is None:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "token: a token of http.token is expected")
        if self._guard.guesses.are_too_many(address):
            raise too_many()
        if not self._guard.is_token(token):
            self._guard.guesses.count(address)
            raise Refusal(HTTPStatus.UNAUTHORIZED, "the token is not one of http.token")

    async def _close(self, request: web.Request) -> web.StreamResponse:
        self._guard.check(request, open_to_all=True)
        self._guard.sessions.close(request.cookies.get(COOKIE, ""))
        response = web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return response
