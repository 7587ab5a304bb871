"""Faults of configurations, and every key that there is."""

from __future__ import annotations

import tomllib

import pytest

from rtmpd.config import Config
from rtmpd.config_file import validate
from rtmpd.config_words import tables_model
from rtmpd.errors import ConfigError

FORMAT_LIST = 'a list of "flv" or "mp4" or "hls" or "m4a" or "mp3"'
"""How a fault of record_formats says what is expected."""


def faults(text):
    """The lines that say what is wrong with a configuration, given as TOML."""
    with pytest.raises(ConfigError) as caught:
        validate(tomllib.loads(text))
    return caught.value.faults


def _every_field(model, path=""):
    for name, field in model.model_fields.items():
        table = tables_model(field)
        if table is None:
            yield f"{path}{name}", field
        else:
            yield from _every_field(table, f"{path}{name}.")


FIELDS = dict(_every_field(Config))
"""By their keys."""
