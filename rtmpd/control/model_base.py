"""What all requests have in common, and all answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

_MEANINGLESS = frozenset(
    [
        "classId",
        "class_id",
        "isTransCode",
        "isScreenShot",
        "isWaterMark",
        "sdkType",
        "avSdkType",
        "pushSvrType",
        "channelPassword",
        "waterMark",
        "waterMarkId",
    ]
)
"""Options of the hosted service that have no counterpart: existing callers send their defaults."""


class Request(BaseModel):
    """A request: no unknown field, no guessed type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_by_name=True, validate_by_alias=True)

    @model_validator(mode="before")
    @classmethod
    def _without_the_meaningless(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: each for name, each in value.items() if name not in _MEANINGLESS}


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)
