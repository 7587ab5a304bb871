"""AMF values for tests: strategies that draw them, and what makes two of them the same."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from rtmpd.wire.amf import UNDEFINED, AmfValue, Date, EcmaArray, TypedObject, Xml

doubles = st.floats(width=64)
texts = st.text(st.characters(codec="utf-8"), max_size=40)
names = st.text(st.characters(codec="utf-8"), max_size=12)
dates = st.builds(Date, doubles, st.integers(-(2**15), 2**15 - 1))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    doubles,
    texts,
    st.binary(max_size=40),
    st.just(UNDEFINED),
    dates,
    st.builds(Xml, texts),
)


def _containers(values: st.SearchStrategy[AmfValue]) -> st.SearchStrategy[AmfValue]:
    properties = st.dictionaries(names, values, max_size=5)
    return st.one_of(
        st.lists(values, max_size=5),
        properties,
        st.builds(EcmaArray, properties),
        st.builds(TypedObject, names, properties),
    )


amf_values = st.recursive(scalars, _containers, max_leaves=20)


def shape(value: AmfValue) -> object:
    """
    Spell a value out so that == compares what encoding must keep.

    Doubles become their bits (NaN is the same as itself, 0.0 is not -0.0), True is not 1.0, the kinds of dict differ,
    and so does the order of their keys.
    """
    match value:
        case float():
            return ("float", struct.pack(">d", value))
        case Date():
            return ("Date", struct.pack(">d", value.unix_ms), value.zone_minutes)
        case list():
            return ("list", [shape(element) for element in value])
        case dict():
            properties = [(key, shape(element)) for key, element in value.items()]
            return (type(value).__name__, getattr(value, "class_name", None), properties)
    return (type(value).__name__, value)
