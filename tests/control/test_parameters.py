"""Queries of publish and play URLs, taken apart."""

from __future__ import annotations

import pytest

from rtmpd.control.parameters import parameters


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("key=k&a=1", {"key": "k", "a": "1"}),
        ("key=old&key=new", {"key": "new"}),
        ("key=old&key=", {"key": ""}),
        ("key", {"key": ""}),
        ("key=a%20b+c", {"key": "a b c"}),
        ("key=%ff", {"key": "�"}),
        ("a=1;b=2", {"a": "1;b=2"}),
        ("&&=&a==", {"": "", "a": "="}),
    ],
)
def test_the_last_value_of_a_name_counts(query, expected):
    assert parameters(query) == expected
