"""
What a hook says: 200, 201 and 204 admit, 4xx refuses, everything else is a failure of the hook.

An answer that admits may carry a JSON object. Its keys are checked strictly, as a stream that is not recorded because of
a misspelled value is found out too late; keys that are not known are ignored, so that one hook can serve several servers.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rtmpd.control.model_types import Format, RtmpUrl
from rtmpd.errors import Refused, RtmpdError
from rtmpd.session.paths import StreamName, resolve

REASON_CHARACTERS = 256
"""A longer reason of a refusal is not passed on; more than this is not sent to clients in any case."""
FORMATS = 5
"""What one recording is written as."""
TARGETS = 16
"""Relay targets of one stream."""
_FAULTS_SHOWN = 3
_Mode: TypeAlias = Literal["auto", "manual"]
_ADMITTING = frozenset({200, 201, 204})


class HookFailed(RtmpdError):
    """A hook gave no answer that can be understood."""

    def __init__(self, told: str, detail: str) -> None:
        """
        Say it twice.

        Args:
            told: to the client, behind "the publish hook": without internals.
            detail: for the log.
        """
        super().__init__(detail)
        self.told = told


class HookRefused(RtmpdError):
    """A hook said no; the message is the reason for the client, empty if it gave none that can be shown."""


class Reply(NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes


class PlayAnswer(BaseModel):
    """What a hook may settle for a player."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, hide_input_in_errors=True)

    stream: str | None = None
    """The stream to play instead of the one that was asked for."""


class PublishAnswer(PlayAnswer):
    """What a hook may settle for a publisher; `stream` is the name that everybody sees."""

    push: _Mode | None = None
    record: _Mode | None = None
    record_formats: tuple[Format, ...] | None = Field(default=None, max_length=FORMATS)
    targets: tuple[RtmpUrl, ...] | None = Field(default=None, max_length=TARGETS)


class _Reason(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    reason: str = ""


AnswerModel = TypeVar("AnswerModel", bound=PlayAnswer)


def read_answer(reply: Reply, model: type[AnswerModel], key_bytes: int) -> AnswerModel:
    """
    Find out what a hook has decided.

    Args:
        reply: of the hook.
        model: what it may settle.
        key_bytes: the longest name of a stream, as UTF-8.

    Returns:
        What it settled; nothing, if its body is empty.

    Raises:
        HookRefused: it refuses.
        HookFailed: it cannot be understood.
    """
    if 400 <= reply.status < 500:
        raise HookRefused(_reason(reply.body))
    if reply.status not in _ADMITTING:
        raise _invalid(f"status {reply.status}")
    if not reply.body.strip():
        return model()
    try:
        answer = model.model_validate_json(reply.body)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors()[:_FAULTS_SHOWN]
        ]
        raise _invalid("; ".join(faults)) from None
    if answer.stream is not None:
        _check_name(answer.stream, key_bytes)
    return answer


def _invalid(detail: str) -> HookFailed:
    return HookFailed("failed", detail)


def _check_name(name: str, key_bytes: int) -> None:
    """Accept what a client could ask for by the same name: it has to come out of the resolver as it went in."""
    try:
        resolved = resolve("app", name, max_key_bytes=key_bytes)
    except Refused as refused:
        raise _invalid(f"stream: {refused.description}") from None
    if resolved != StreamName("app", name, ""):
        raise _invalid("stream: a name without a slash, a question mark and a prefix like mp4: is expected")


def _reason(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        try:
            text = _Reason.model_validate_json(body).reason.strip()
        except ValidationError:
            return ""
    return text if len(text) <= REASON_CHARACTERS and text.isprintable() and "�" not in text else ""
