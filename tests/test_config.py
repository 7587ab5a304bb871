from __future__ import annotations

import dataclasses

import pytest

from muxers.formats import FORMATS
from rtmpd.config import Config
from rtmpd.config_file import validate
from rtmpd.config_limits import LimitsConfig, SessionLimits
from rtmpd.config_types import Section
from rtmpd.config_words import tables_model, unit_of
from rtmpd.session.limits import Limits
from tests.helpers.configuration import FIELDS, FORMAT_LIST, faults


def test_every_format_that_there_is_can_be_configured_and_no_other():
    for name in FORMATS.keys() - {"ts"}:  # for `python -m muxers`: what cannot be watched or sought is no recording
        assert validate({"apps": {"live": {"record_formats": [name]}}}).apps["live"].record_formats == (name,)
    (fault,) = faults('[apps.live]\nrecord_formats = ["flv", "avi"]')

    assert fault == f'apps.live.record_formats[1]: "avi": {FORMAT_LIST} is expected'


def test_nothing_is_deleted_unless_it_is_asked_for():
    rules = Config().recordings

    assert (rules.max_age_s, rules.max_bytes, rules.min_free_bytes) == (0, 0, 0)


def test_a_configuration_does_not_show_its_keys_when_printed():
    config = validate({"apps": {"live": {"publish_key": ["hush"], "play_key": "hush"}}})

    assert ("hush",) == config.apps["live"].publish_key == config.apps["live"].play_key
    assert "hush" not in repr(config)


def test_a_loaded_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Config().open = True


@pytest.mark.parametrize("path", FIELDS)
def test_every_key_has_a_unit_and_a_description_and_a_default_that_is_valid(path):
    field = FIELDS[path]

    assert unit_of(field) is not None
    assert field.description
    assert field.description[0].isupper() or field.description.startswith("auto")
    assert field.description.endswith(".")
    assert field.get_default(call_default_factory=True) is not None or field.examples


@pytest.mark.parametrize("model", [Config, *(tables_model(field) for field in Config.model_fields.values())])
def test_every_table_refuses_unknown_keys(model):
    assert model is None or issubclass(model, Section)


def test_the_limits_of_a_session_are_those_that_the_session_has():
    assert {field.name: field.default for field in dataclasses.fields(Limits)} == SessionLimits().session()
    assert Limits() == Limits(**LimitsConfig(handshaking=1).session())
