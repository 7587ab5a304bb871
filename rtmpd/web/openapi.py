"""The OpenAPI document, from the table of routes and the models."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from rtmpd.control.models import Problem
from rtmpd.web.problems import CONTENT_TYPE, STATUS_OF
from rtmpd.web.routes import OPEN_TO_ALL, PARAMETERS, ROUTES, Route

_REFERENCE = "#/components/schemas/{model}"
_MEDIA_TYPES = {"events": "text/event-stream", "openapi": "application/json", "metrics": "text/plain"}
"""Of the answers that have no model."""
_ANY_REQUEST = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.MISDIRECTED_REQUEST,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.INTERNAL_SERVER_ERROR,
)
"""Statuses that do not depend on the operation."""

Json = dict[str, Any]


def document(version: str, *, wants_token: bool) -> Json:
    """
    Write the document.

    Args:
        version: of the program.
        wants_token: whether a token is needed.

    Returns:
        OpenAPI 3.1.
    """
    schemas = _Schemas()
    paths: Json = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, wants_token=wants_token)
    components: Json = {"schemas": schemas.components}
    if wants_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rtmpd",
            "version": version,
            "description": "The control API. The same over the control socket, where nothing needs a token.",
        },
        "paths": paths,
        "components": components,
    }


class _Schemas:
    """The models' schemas, which refer to each other."""

    def __init__(self) -> None:
        asked: list[tuple[type[BaseModel], JsonSchemaMode]] = [(Problem, "serialization")]
        for route in ROUTES:
            asked += [(route.body, "validation")] if route.body is not None else []
            asked += [(route.answer, "serialization")] if route.answer is not None else []
        self._of, definitions = models_json_schema(list(dict.fromkeys(asked)), ref_template=_REFERENCE)
        self.components: Json = definitions["$defs"]

    def reference(self, model: type[BaseModel], mode: JsonSchemaMode) -> Json:
        """Refer to a model."""
        return self._of[model, mode]


def _operation(route: Route, schemas: _Schemas, *, wants_token: bool) -> Json:
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route, schemas, wants_token=wants_token),
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": {"schema": schemas.reference(route.body, "validation")}},
        }
    if wants_token and route.path not in OPEN_TO_ALL:
        operation["security"] = [{"token": []}]
    return operation


def _path_parameters(route: Route) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": PARAMETERS[name].json_schema()}
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _query_parameters(route: Route) -> list[Json]:
    """A parameter that may be left out cannot be null as well."""
    return [
        {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}
        for name, schema in route.query.model_json_schema().get("properties", {}).items()
    ]


def _without_null(schema: Json) -> Json:
    kept = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    forms = [form for form in schema.get("anyOf", []) if form != {"type": "null"}]
    return {**kept, **forms[0]} if len(forms) == 1 else {**kept, **({"anyOf": forms} if forms else {})}


def _responses(route: Route, schemas: _Schemas, *, wants_token: bool) -> Json:
    statuses = {*_ANY_REQUEST, *(STATUS_OF[kind] for kind in route.refusals)}
    if route.name == "events":
        statuses.add(HTTPStatus.SERVICE_UNAVAILABLE)
    if route.body is not None:
        statuses.add(HTTPStatus.REQUEST_TIMEOUT)
    if wants_token and route.path not in OPEN_TO_ALL:
        statuses |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
    problem = {CONTENT_TYPE: {"schema": schemas.reference(Problem, "serialization")}}
    responses: Json = {"200": {"description": "It is so.", "content": _answer(route, schemas)}}
    for status in sorted(statuses):
        responses[str(status.value)] = {"description": status.phrase, "content": problem}
    if route.name == "health":
        responses["503"] = {"description": "The server is draining.", "content": _answer(route, schemas)}
    return responses


def _answer(route: Route, schemas: _Schemas) -> Json:
    if route.answer is not None:
        return {"application/json": {"schema": schemas.reference(route.answer, "serialization")}}
    media_type = _MEDIA_TYPES[route.name]
    return {media_type: {"schema": {"type": "object" if media_type == "application/json" else "string"}}}
