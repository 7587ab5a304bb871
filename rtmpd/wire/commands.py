"""
Commands, the data messages beside them, and the status codes that answer them.

Clients read answers by fixed position and fixed form: a status is a plain Object with level, code and a description
that is never empty (ffmpeg hangs and OBS crashes without one). `status_info` makes no other.

RTMP 1.0 section 7.2; RTMP Errata and Addenda section 7.2 for the AMF3 forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from rtmpd.errors import MessageError, UsageError
from rtmpd.wire import amf0
from rtmpd.wire.amf import MAX_DEPTH, MAX_ELEMENTS, AmfValue, Encodable
from rtmpd.wire.messages import COMMAND_AMF3, DATA_AMF3, Message

MAX_COMMAND_VALUES = 32
"""Name, transaction id, command object and arguments together; no command that we know has more than seven."""

_AMF3_FORMS = frozenset({COMMAND_AMF3, DATA_AMF3})


class Command(NamedTuple):
    """A call of a peer, or an answer to ours."""

    name: str
    transaction_id: float
    """What the answer repeats; 0 asks for none. Any double that the peer liked, NaN included."""
    command_object: AmfValue
    arguments: list[AmfValue]


def decode_command(message: Message, *, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS) -> Command:
    """
    Decode a message of type 20 or 17.

    Args:
        message: its message stream id says what the command is for; its body is all that is read here.
        max_depth: levels of objects and arrays.
        max_elements: values in all.

    Raises:
        MessageError: the body does not start with a string and a number, has more than MAX_COMMAND_VALUES values, or is
            of type 17 without its format byte 0.
        AmfError: a value cannot be decoded. `decode_command_head` may still tell what to answer.
    """
    body = _amf0_body(message)
    values, end = amf0.decode_prefix(body, MAX_COMMAND_VALUES, max_depth=max_depth, max_elements=max_elements)
    if end < len(body):
        raise MessageError(f"a command of more than {MAX_COMMAND_VALUES} values")
    name, transaction_id = _head(values)
    return Command(name, transaction_id, values[2] if len(values) > 2 else None, values[3:])


def decode_command_head(message: Message) -> tuple[str, float]:
    """
    Decode name and transaction id only, to answer a command whose rest is broken.

    Raises:
        MessageError: the body does not start with a string and a number.
        AmfError: one of the two cannot be decoded.
    """
    values, _ = amf0.decode_prefix(_amf0_body(message), 2)
    return _head(values)


def decode_data(message: Message, *, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS) -> list[AmfValue]:
    """
    Decode a message of type 18 or 15, such as onMetaData.

    Args:
        message: the data message.
        max_depth: levels of objects and arrays.
        max_elements: values in all.

    Raises:
        MessageError: it is of type 15 without its format byte 0.
        AmfError: a value cannot be decoded. Real encoders send type 18 that is not AMF: no reason to end a session.
    """
    return amf0.decode(_amf0_body(message), max_depth=max_depth, max_elements=max_elements)


def encode_command(name: str, transaction_id: float, *values: Encodable) -> bytes:
    """
    Make the body of a type 20 message.

    Args:
        name: of the command, or "_result", "_error", "onStatus".
        transaction_id: of the call or of what is answered; 0 for onStatus.
        values: the command object (None where there is none), then the arguments.
    """
    return amf0.encode(name, transaction_id, *values)


class Status(NamedTuple):
    """How a status code is told to a client."""

    level: str
    """"status", "warning" or "error": what ffmpeg acts upon, whatever the code says."""
    description: str
    """What is said unless there is something better to say; never empty."""


_STATUS = {
    "NetConnection.Call.BadVersion": Status("error", "The call is in an encoding that is not spoken here."),
    "NetConnection.Call.Failed": Status("error", "The call failed."),
    "NetConnection.Connect.AppShutdown": Status("error", "The application is shutting down."),
    "NetConnection.Connect.Closed": Status("status", "The connection is closed."),
    "NetConnection.Connect.Failed": Status("error", "The connection failed."),
    "NetConnection.Connect.InvalidApp": Status("error", "There is no such application."),
    "NetConnection.Connect.ReconnectRequest": Status("status", "Please reconnect."),
    "NetConnection.Connect.Rejected": Status("error", "The connection was rejected."),
    "NetConnection.Connect.Success": Status("status", "Connection succeeded."),
    "NetStream.Data.Start": Status("status", "Data starts."),
    "NetStream.Failed": Status("error", "The stream failed."),
    "NetStream.Pause.Notify": Status("status", "Playback is paused."),
    "NetStream.Play.Complete": Status("status", "Playback is complete."),
    "NetStream.Play.Failed": Status("error", "The stream cannot be played."),
    "NetStream.Play.InsufficientBW": Status("warning", "The connection is too slow for the stream."),
    "NetStream.Play.PublishNotify": Status("status", "The stream is being published."),
    "NetStream.Play.Reset": Status("status", "The playlist is reset."),
    "NetStream.Play.Start": Status("status", "Playback starts."),
    "NetStream.Play.Stop": Status("status", "Playback has stopped."),
    "NetStream.Play.StreamNotFound": Status("error", "There is no such stream."),
    "NetStream.Play.UnpublishNotify": Status("status", "The stream is no longer published."),
    "NetStream.Publish.BadName": Status("error", "The stream name is taken or not allowed."),
    "NetStream.Publish.Denied": Status("error", "Publishing is not allowed."),
    "NetStream.Publish.Rejected": Status("error", "The stream was rejected."),
    "NetStream.Publish.Start": Status("status", "Publishing starts."),
    "NetStream.Seek.Failed": Status("error", "The stream cannot be sought."),
    "NetStream.Seek.InvalidTime": Status("error", "The stream does not reach that time."),
    "NetStream.Seek.Notify": Status("status", "Seeking."),
    "NetStream.Unpause.Notify": Status("status", "Playback continues."),
    "NetStream.Unpublish.Success": Status("status", "Publishing has ended."),
}

STATUS: Mapping[str, Status] = MappingProxyType(_STATUS)
"""Every status code that rtmpd sends or understands."""


def status_info(code: str, description: str | None = None, **extra: Encodable) -> dict[str, Encodable]:
    """
    Make the info object of an onStatus, a `_result` or an `_error`.

    Args:
        code: a key of STATUS.
        description: text for the user; without it, or empty, the one of the table.
        extra: further properties, such as objectEncoding.

    Raises:
        UsageError: the code is not in the table, so that no client would understand it.
    """
    status = STATUS.get(code)
    if status is None:
        raise UsageError(f"no status code: {code}")
    return {"level": status.level, "code": code, "description": description or status.description, **extra}


def _amf0_body(message: Message) -> bytes:
    """Take off the format byte of the AMF3 types, whose values are AMF0 with switches all the same."""
    if message.type_id not in _AMF3_FORMS:
        return message.body
    if message.body[:1] != b"\0":
        raise MessageError(f"a message of type {message.type_id} with the format {message.body[:1].hex() or 'missing'}")
    return message.body[1:]


def _head(values: list[AmfValue]) -> tuple[str, float]:
    match values:
        case [str(name), float(transaction_id), *_]:
            return name, transaction_id
    kinds = ", ".join(type(value).__name__ for value in values[:2])
    raise MessageError(f"a command that starts with ({kinds}) instead of a name and a number")
