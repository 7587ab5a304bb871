"""The routes as handlers: a request is read and checked, its operation called, the answer written."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from aiohttp import web
from pydantic import BaseModel, ValidationError

from rtmpd.config import Config
from rtmpd.control.model_base import Request
from rtmpd.web.bodies import NotJson, parse_json, read_body
from rtmpd.web.faults import faults_of, faults_of_value
from rtmpd.web.operations import Operations
from rtmpd.web.problems import HEADERS, Refusal
from rtmpd.web.routes import PARAMETERS, ROUTES, Asked, Call, Route

_PATTERNS = {"app": "{app:.+}"}
"""An application's name may hold slashes; all else is one segment."""
Special: TypeAlias = Callable[[web.Request, Asked], Awaitable[web.StreamResponse]]
"""Answers a route that is no operation."""


class Api:
    """The table of routes, served."""

    def __init__(self, operations: Operations, config: Config, specials: Mapping[str, Special]) -> None:
        """
        Serve operations.

        Args:
            operations: the verbs.
            config: its http.
            specials: answer the routes without an operation, by their names.
        """
        self._operations = operations
        self._specials = specials
        self.config = config
        """Replaced when the configuration is read again."""

    def routes(self) -> list[web.RouteDef]:
        """
        Make a handler for each route.

        Returns:
            What `web.Application.add_routes` takes.
        """
        defined = []
        for route in ROUTES:
            # An answer without end has no head of its own, and the client would be counted as one that follows.
            options = {"allow_head": route.answer is not None} if route.method == "GET" else {}
            defined.append(web.route(route.method, template_of(route), self._handler(route), **options))
        return defined

    def _handler(self, route: Route) -> Any:
        call = route.call
        if call is None:
            special = self._specials[route.name]

            async def answer(request: web.Request) -> web.StreamResponse:
                return await special(request, await self._asked(route, request))

            return answer
        return self._calling(route, call)

    def _calling(self, route: Route, call: Call) -> Any:
        """Whoever asked may be gone by now: what was begun is ended all the same, as aiohttp does not cancel it."""

        async def answer(request: web.Request) -> web.StreamResponse:
            result = call(self._operations, await self._asked(route, request))
            return json_response(await result if inspect.isawaitable(result) else result)

        return answer

    async def _asked(self, route: Route, request: web.Request) -> Asked:
        body = await read_body(request, self.config.http.body_bytes)
        return Asked(_path(request.match_info), _query(route.query, request), _body(route, body))


def template_of(route: Route) -> str:
    """
    Write a route's path as aiohttp takes it.

    Args:
        route: of the table.

    Returns:
        The template.
    """
    template = route.path
    for name, pattern in _PATTERNS.items():
        template = template.replace(f"{{{name}}}", pattern)
    return template


def json_response(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """
    Write an answer.

    Args:
        answer: a model.
        status: of the response.

    Returns:
        The response with its JSON.
    """
    body = answer.model_dump_json().encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=HEADERS)


def _path(given: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for name, text in given.items():
        try:
            values[name] = PARAMETERS[name].validate_strings(text)
        except ValidationError as error:
            raise _unprocessable(faults_of_value(error, name)) from None
    return values


def _query(model: type[Request], request: web.Request) -> Request:
    given = dict(request.query)
    if len(given) != len(request.query):
        raise _unprocessable(["query: each parameter once is expected"])
    try:
        query = model.model_validate_strings(given, strict=False)
    except ValidationError as error:
        raise _unprocessable(faults_of(error, model)) from None
    infinite = [name for name, value in query if isinstance(value, float) and not math.isfinite(value)]
    if infinite:
        raise _unprocessable([f"{name}: a finite number is expected" for name in infinite])
    return query


def _body(route: Route, body: bytes) -> Request | None:
    """Make the model; a body where none is taken may be empty or `{}`, as many clients send that with any POST."""
    model = route.body or _Nothing
    if not body and (route.body is None or route.body_optional):
        return None if route.body is None else model()
    try:
        return model.model_validate(parse_json(body))
    except NotJson as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from None
    except ValidationError as error:
        raise _unprocessable(faults_of(error, model)) from None


class _Nothing(Request):
    """The body of an operation that takes none."""


def _unprocessable(faults: list[str]) -> Refusal:
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, faults[0] if len(faults) == 1 else "several faults", faults)
