"""
What a client's command leads to: who obeys it, and what is said about one that is broken, unknown or not legal.

RTMP 1.0 section 7.2.
"""

from __future__ import annotations

from rtmpd.errors import AmfError, MessageError, OutOfOrder, Refused
from rtmpd.session import connection_commands, replies, stream_commands
from rtmpd.session.dialogue import Dialogue
from rtmpd.session.paths import printable
from rtmpd.wire.commands import Command, decode_command, decode_command_head
from rtmpd.wire.messages import Message

_ANSWERS = frozenset({"_result", "_error", "onStatus", "onBWDone", "close"})
"""Sent to us by some clients in reply to what other servers say, or as they leave."""


def obey(dialogue: Dialogue, message: Message, now: float) -> None:
    """
    Take one command in.

    Args:
        dialogue: what it changes, answers and reports.
        message: of type 20 or 17.
        now: the time in seconds.

    Raises:
        PeerError: the connection must end.
    """
    dialogue.count_command(now)
    limits = dialogue.limits
    try:
        command = decode_command(message, max_depth=limits.amf_depth, max_elements=limits.command_elements)
    except (AmfError, MessageError) as error:
        name, transaction_id = decode_command_head(message)
        _fail(dialogue, transaction_id, f"{printable(name, 32)}: {error}")
        return
    try:
        _dispatch(dialogue, message.message_stream_id, command, now)
    except OutOfOrder as error:
        answered = command.name in ("publish", "play")
        _fail(dialogue, 0 if answered else command.transaction_id, str(error))


def _dispatch(dialogue: Dialogue, message_stream_id: int, command: Command, now: float) -> None:
    if command.name in stream_commands.HANDLERS:
        stream_commands.handle(dialogue, message_stream_id, command, now)
    elif command.name in connection_commands.HANDLERS:
        _dispatch_to_connection(dialogue, command, now)
    elif command.name not in _ANSWERS and command.transaction_id != 0:
        description = f"There is no command {printable(command.name, 32)}"
        dialogue.send(replies.error(command.transaction_id, "NetConnection.Call.Failed", description))


def _dispatch_to_connection(dialogue: Dialogue, command: Command, now: float) -> None:
    try:
        connection_commands.handle(dialogue, command, now)
    except Refused as refused:
        dialogue.send(replies.error(command.transaction_id, refused.code, refused.description))
        if command.name == "connect":
            dialogue.leave(f"refused: {refused}", now)
        else:
            dialogue.count_fault(str(refused))


def _fail(dialogue: Dialogue, transaction_id: float, description: str) -> None:
    if transaction_id != 0:
        dialogue.send(replies.error(transaction_id, "NetConnection.Call.Failed", description))
    dialogue.count_fault(description)
