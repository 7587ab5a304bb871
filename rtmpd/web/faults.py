"""pydantic's faults in words: the field, and what is expected of it; what was sent instead is never repeated."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import AliasChoices, BaseModel, ValidationError

MOST_FAULTS = 20
"""A body of unknown fields has thousands."""
_LONGEST_NAME = 64
_WORDS = {
    "missing": "a value",
    "string_type": "text",
    "string_too_short": "text of {min_length} or more characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_unicode": "Unicode text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "an object",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of {min_length} or more",
    "greater_than": "a number > {gt}",
    "greater_than_equal": "a number >= {ge}",
    "less_than": "a number < {lt}",
    "less_than_equal": "a number <= {le}",
    "literal_error": "{expected}",
    "value_error": "{error}",
}
_Path = tuple[int | str, ...]


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """
    Put a failed validation into words.

    Args:
        error: of the model.
        model: that was expected.

    Returns:
        A line for each field at fault: `targets[0]: a URL like "rtmp://a.example/app/key" is expected`.
    """
    fields, described = _fields(model), _descriptions(model)
    expected: dict[_Path, dict[str, None]] = {}
    strangers: list[str] = []
    for fault in error.errors(include_url=False, include_input=False):
        path = tuple(part for part in fault["loc"] if isinstance(part, int) or part in fields)
        if fault["type"] == "extra_forbidden":
            strangers.append(_written((*path, fault["loc"][-1]), fields))
        else:
            expected.setdefault(path, {})[_words(fault, described)] = None
    lines = [
        f"{_written(path, fields)}: {' or '.join(words)} is expected"
        for path, words in expected.items()
        # One form of a value was taken for what is meant, and inside it something is wrong: the other forms do not matter.
        if not path or not any(len(other) > len(path) and other[: len(path)] == path for other in expected)
    ]
    known = f"one of {', '.join(model.model_fields)}" if model.model_fields else "none"
    lines += [f"{name}: no such field; {known} is expected" for name in strangers]
    return lines[:MOST_FAULTS] + ([f"and {len(lines) - MOST_FAULTS} more"] if len(lines) > MOST_FAULTS else [])


def faults_of_value(error: ValidationError, name: str) -> list[str]:
    """
    Put the failed validation of a single value into words.

    Args:
        error: of the value.
        name: what it is called.

    Returns:
        A line for each fault.
    """
    return [
        f"{name}: {_words(fault, {})} is expected" for fault in error.errors(include_url=False, include_input=False)
    ]


def _words(fault: Mapping[str, Any], described: Mapping[str, str]) -> str:
    context = fault.get("ctx", {})
    if fault["type"] == "string_pattern_mismatch":
        return described.get(context["pattern"], f"text that matches {context['pattern']}")
    context = {
        key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in context.items()
    }
    return _WORDS[fault["type"]].format(**context) if fault["type"] in _WORDS else fault["msg"]


def _written(path: _Path, fields: frozenset[str]) -> str:
    """Write where it is: names joined by dots, items in brackets; a name that we do not know is quoted and cut."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if part in fields else json.dumps(part[:_LONGEST_NAME])
            text += f".{name}" if text else name
    return text or "body"


@functools.cache
def _fields(model: type[BaseModel]) -> frozenset[str]:
    """Each name that a field may be given by, in the model and those inside it; all else in a location is pydantic's."""
    names = {name for schema in _schemas(model.model_json_schema(by_alias=False)) for name in schema["properties"]}
    for field in model.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            names |= {choice for choice in field.validation_alias.choices if isinstance(choice, str)}
    return frozenset(names)


def _schemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (each for each in (schema, *schema.get("$defs", {}).values()) if "properties" in each)


@functools.cache
def _descriptions(model: type[BaseModel]) -> dict[str, str]:
    """What is expected where a pattern is not met: the example beside it, or its description."""
    found: dict[str, str] = {}

    def look(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(pattern := value.get("pattern"), str):
                found[pattern] = _description(value)
            for each in value.values():
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(model.model_json_schema())
    return found


def _description(schema: Mapping[str, Any]) -> str:
    if "examples" in schema:
        return f"text like {json.dumps(schema['examples'][0])}"
    return f"text ({schema['description']})" if "description" in schema else f"text that matches {schema['pattern']}"
