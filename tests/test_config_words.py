from __future__ import annotations

import tomllib
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from rtmpd.config_words import Unit, dotted, expectation, reference, shown, tables_model, unit_of

Metres = Annotated[float, Unit("metres", "a number of metres")]


class Inner(BaseModel):
    """What is inside."""

    length: Metres = Field(default=2, gt=0, le=1000, description="How long.")
    colour: Annotated[Literal["red", "blue"], Unit("choice", "a colour")] = Field(default="red", description="Which.")
    colours: Annotated[tuple[Literal["red", "blue"], ...], Unit("list", "colours")] = Field(
        default=("red",), description="Which ones."
    )
    optional: Metres | None = Field(default=None, description="Perhaps.", examples=[7])


class Outer(BaseModel):
    on: Annotated[bool, Unit("true or false", "true or false")] = Field(default=True, description="Whether.")
    inner: Inner = Inner()
    named: dict[str, Inner] = Field(default_factory=dict, description="As many as you like.")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("length", "a number of metres > 0 and <= 1_000"),
        ("colour", '"red" or "blue"'),
        ("colours", 'a list of "red" or "blue"'),
        ("optional", "a number of metres"),
    ],
)
def test_an_expectation_names_unit_range_or_choices(name, expected):
    assert expected == expectation(Inner.model_fields[name])


def test_a_table_has_a_model_and_a_value_has_a_unit():
    fields = Outer.model_fields

    assert [None, Inner, Inner] == [tables_model(field) for field in fields.values()]
    assert [unit_of(field) and unit_of(field).name for field in fields.values()] == ["true or false", None, None]


@pytest.mark.parametrize(
    ("location", "text"),
    [
        (("apps", "live", "grace_s"), "apps.live.grace_s"),
        (("apps", "a/b", "keys", 0), 'apps."a/b".keys[0]'),
        (("apps", "", "[key]"), 'apps.""'),
        (("apps", 'a"\n', "x"), 'apps."a\\"\\n".x'),
    ],
)
def test_a_location_is_written_as_toml_would(location, text):
    assert text == dotted(location)


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", '"x"'), (True, "true"), ([1, "a"], '[1, "a"]'), ("\x1b\n", '"\\u001b\\n"'), ("y" * 500, f'"{"y" * 79}…')],
)
def test_a_value_is_shown_in_one_line(value, text):
    assert text == shown(value)


def test_the_reference_documents_every_key_and_parses():
    text = reference(Outer, "All of it.", "example")

    assert "# All of it.\n" in text
    assert "# How long. [metres > 0 and <= 1_000]\nlength = 2\n" in text
    assert "# Perhaps. [metres]\n# Not set by default.\n# optional = 7\n" in text
    inner = {"length": 2, "colour": "red", "colours": ["red"]}
    assert {"on": True, "inner": inner, "named": {"example": inner}} == tomllib.loads(text)


def test_a_table_of_tables_with_an_example_is_in_comments_as_there_is_none_by_default():
    class Needs(BaseModel):
        """What it needs."""

        places: Annotated[tuple[str, ...], Unit("list", "places")] = Field(description="Where.", examples=[["a", "b"]])
        length: Metres = Field(default=2, description="How long.")

    class Whole(BaseModel):
        named: dict[str, Needs] = Field(default_factory=dict, description="As many as you like.", examples=["x/y"])

    text = reference(Whole, "All of it.", "example")

    assert tomllib.loads(text) == {}
    assert '# None by default.\n# [named."x/y"]\n\n# Where. [list]\n# places = ["a", "b"]\n' in text
    assert "\n# length = 2\n" in text
