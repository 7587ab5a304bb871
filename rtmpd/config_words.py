"""
The configuration's models put into words: what a field expects, how a value is shown, the commented reference.

Knows pydantic's fields and none of rtmpd's, so that whatever is configurable describes itself in one way.
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_SHOWN_VALUE_CHARACTERS = 80
_COMMENT_COLUMNS = 100
_BOUND_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Unit(NamedTuple):
    """What the value of a field counts; every field carries one as an annotation."""

    name: str
    """The unit as the reference prints it."""
    expectation: str
    """The noun phrase before "is expected"; the bounds of the field are put behind it."""
    secret: bool = False
    """Whether a wrong value stays out of the fault: faults end up in logs."""


def unit_of(field: FieldInfo) -> Unit | None:
    """
    Find a field's unit.

    Args:
        field: of any model.

    Returns:
        The unit; None for a field that is a table or has none.
    """
    return next((each for each in _metadata(field) if isinstance(each, Unit)), None)


def tables_model(field: FieldInfo) -> type[BaseModel] | None:
    """
    Find the model of a field that is a table, or a table of tables.

    Args:
        field: of any model.

    Returns:
        The model of the (inner) table; None for a plain value.
    """
    candidates = [field.annotation, *get_args(field.annotation)]
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)


def expectation(field: FieldInfo) -> str:
    """
    Say what a field accepts.

    Args:
        field: one with a unit.

    Returns:
        A noun phrase: `a number of seconds >= 0`, `"auto" or "manual"`.
    """
    choices = " or ".join(_choices(field.annotation))
    if choices:
        return f"a list of {choices}" if get_origin(field.annotation) is tuple else choices
    unit = unit_of(field)
    return " ".join(filter(None, (unit.expectation if unit else "", _bounds(field))))


def shown(value: object) -> str:
    """
    Write a value for a person: JSON, cut when long, control characters escaped.

    Args:
        value: anything that TOML can hold.

    Returns:
        One line.
    """
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN_VALUE_CHARACTERS else f"{text[:_SHOWN_VALUE_CHARACTERS]}…"


def dotted(location: tuple[int | str, ...]) -> str:
    """
    Write a location as TOML would: names joined by dots, quoted where they must be, items of lists in brackets.

    Args:
        location: as pydantic reports it.

    Returns:
        The key: `apps."a/b".publish_key[0]`.
    """
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "[key]":
            text += "." * bool(text) + (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part))
    return text


def reference(model: type[BaseModel], heading: str, example_name: str) -> str:
    """
    Write a model's defaults as TOML, each key with its description and unit.

    Args:
        model: the whole configuration; its tables are one level deep, or a table of tables.
        heading: the first comment.
        example_name: the table that stands for all in a table of tables that has none of its own as an example.

    Returns:
        A file that loads back to the defaults; a key without a default stands in a comment, with an example.
    """
    lines = _commented(heading)
    tables = {name: tables_model(field) for name, field in model.model_fields.items()}
    for name, field in model.model_fields.items():
        if tables[name] is None:
            lines += ["", *_documented(name, field)]
    for name, table in tables.items():
        if table is not None:
            field = model.model_fields[name]
            about = textwrap.dedent(table.__doc__ or "").strip()
            lines += ["", "", *_commented(about), *_commented(field.description or "")]
            lines += _table(name, field, table, example_name)
    return "\n".join(lines) + "\n"


def _table(name: str, field: FieldInfo, table: type[BaseModel], example_name: str) -> list[str]:
    """Write a table, or one of a table of tables; with an example of its own that is in comments, as by default there is none."""
    example = None if field.annotation is table else (field.examples or [example_name])[0]
    lines = [f"[{dotted((name,) if example is None else (name, example))}]"]
    for key, inner in table.model_fields.items():
        lines += ["", *_documented(key, inner)]
    if field.examples:
        lines = ["# None by default.", *(line if line.startswith("#") or not line else f"# {line}" for line in lines)]
    return lines


def _metadata(field: FieldInfo) -> list[Any]:
    """Collect a field's annotations, those of an optional one's inner type included."""
    inner = [
        part for each in get_args(field.annotation) if get_origin(each) is Annotated for part in get_args(each)[1:]
    ]
    return [*inner, *field.metadata]


def _bounds(field: FieldInfo) -> str:
    found = {
        sign: f"{sign} {getattr(each, name):_}"
        for each in _metadata(field)
        for name, sign in _BOUND_SIGNS.items()
        if getattr(each, name, None) is not None
    }
    return " and ".join(found.values())


def _choices(annotation: object) -> list[str]:
    if get_origin(annotation) is Literal:
        return [shown(each) for each in get_args(annotation)]
    return [choice for each in get_args(annotation) for choice in _choices(each)]


def _documented(name: str, field: FieldInfo) -> list[str]:
    unit = unit_of(field)
    measure = " or ".join(_choices(field.annotation)) or " ".join(filter(None, (unit and unit.name, _bounds(field))))
    default = field.get_default(call_default_factory=True)
    unset = default is None or field.is_required()
    setting = f"{name} = {_toml(field.examples[0] if unset and field.examples else default)}"
    lines = _commented(f"{field.description} [{measure}]")
    if field.is_required():
        return [*lines, setting]
    return [*lines, "# Not set by default.", f"# {setting}"] if unset else [*lines, setting]


def _commented(text: str) -> list[str]:
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph]
    return [f"# {line}" for paragraph in paragraphs for line in textwrap.wrap(paragraph, _COMMENT_COLUMNS)]


def _toml(value: object) -> str:
    """Write a value as TOML; JSON's strings, lists and booleans are TOML's too."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:_}"
    plain = isinstance(value, bool) or type(value) in {list, tuple}
    return json.dumps(value if plain else str(value))
