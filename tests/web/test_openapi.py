from __future__ import annotations

import json
import re

import pytest
import schemathesis

from rtmpd.control.model_base import Answer, Request
from rtmpd.web.api import Api, template_of
from rtmpd.web.openapi import document
from rtmpd.web.routes import OPEN_TO_ALL, PARAMETERS, ROUTES
from tests.helpers.operations import FakeOperations
from tests.helpers.site import TOKEN, RunningSite, config_of

DOCUMENT = document("1.0", wants_token=True)


def operations():
    return {
        (method.upper(), path): operation
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    }


def references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def test_it_is_valid():
    schema = schemathesis.openapi.from_dict(DOCUMENT)

    schema.validate()
    assert len(list(schema.get_all_operations())) == len(ROUTES)


async def test_the_application_and_the_document_have_the_same_routes(tmp_path):
    async def answer(request, asked):
        raise AssertionError

    specials = dict.fromkeys(("events", "openapi", "health", "metrics"), answer)
    defined = Api(FakeOperations(), config_of(tmp_path), specials).routes()

    assert {(each.method, each.path.replace("{app:.+}", "{app}")) for each in defined} == operations().keys()
    assert {(each.method, template_of(each)) for each in ROUTES} == {(each.method, each.path) for each in defined}


def test_every_operation_has_a_name_of_its_own_and_a_summary():
    assert len({each["operationId"] for each in operations().values()}) == len(ROUTES)
    assert all(each["summary"].endswith(".") for each in operations().values())


def test_every_reference_leads_somewhere_and_every_schema_is_referred_to():
    named = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}

    assert set(references(DOCUMENT)) == named


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_what_is_in_a_path_is_a_parameter_that_is_known(route):
    names = re.findall(r"{(\w+)}", route.path)
    told = [each["name"] for each in operations()[route.method, route.path]["parameters"] if each["in"] == "path"]

    assert names == told
    assert PARAMETERS.keys() >= set(names)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_models_are_requests_and_answers(route):
    assert route.answer is None or issubclass(route.answer, Answer)
    assert route.body is None or issubclass(route.body, Request)


@pytest.mark.parametrize("wants_token", [True, False])
def test_the_token_is_told_where_one_is_needed(wants_token):
    told = document("1.0", wants_token=wants_token)

    for path, methods in told["paths"].items():
        for operation in methods.values():
            assert ("security" in operation) == ("401" in operation["responses"])
            assert ("security" in operation) == (wants_token and path not in OPEN_TO_ALL)
    assert ("securitySchemes" in told["components"]) == wants_token


def test_errors_are_problem_documents():
    for (_, path), operation in operations().items():
        for status, response in operation["responses"].items():
            is_answer = status == "200" or (path, status) == ("/healthz", "503")
            assert is_answer or list(response["content"]) == ["application/problem+json"]


def test_the_server_hands_it_out(tmp_path):
    with RunningSite(tmp_path, http={"token": TOKEN}) as site:
        answer = site.ask("GET", "/api/v1/openapi.json", surface="unix")

    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json["paths"] == json.loads(json.dumps(DOCUMENT["paths"]))
