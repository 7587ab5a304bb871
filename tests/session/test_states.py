"""The tables of what is legal."""

from __future__ import annotations

import runpy

import pytest

from rtmpd.errors import OutOfOrder
from rtmpd.session import connection_commands, stream_commands
from rtmpd.session.states import (
    ACTIVE_STATES,
    CONNECTION_TRANSITIONS,
    STREAM_TRANSITIONS,
    ConnectionState,
    StreamState,
    following_connection,
    following_stream,
    mermaid,
)

OURS = {"accept_publish", "refuse_publish", "end_publish", "accept_play", "refuse_play", "finish_play"}


def test_a_row_of_the_table_leads_to_its_state():
    assert following_stream(StreamState.CREATED, "publish") is StreamState.PUBLISH_REQUESTED
    assert following_stream(StreamState.PLAYING, "seek") is StreamState.PLAYING
    assert following_connection(ConnectionState.UNCONNECTED, "connect") is ConnectionState.CONNECTED


def test_what_has_no_row_is_out_of_order():
    with pytest.raises(OutOfOrder, match="play is not legal in state publishing"):
        following_stream(StreamState.PUBLISHING, "play")
    with pytest.raises(OutOfOrder, match="connect is not legal in state connected"):
        following_connection(ConnectionState.CONNECTED, "connect")


def test_every_state_can_be_reached_and_only_the_last_cannot_be_left():
    assert set(CONNECTION_TRANSITIONS.values()) | {ConnectionState.HANDSHAKE} == set(ConnectionState)
    assert {state for state, _ in CONNECTION_TRANSITIONS} == set(ConnectionState) - {ConnectionState.TERMINATED}
    assert set(STREAM_TRANSITIONS.values()) == set(StreamState)
    assert {state for state, _ in STREAM_TRANSITIONS} == set(StreamState)


def test_every_command_has_a_row_and_every_row_a_command_or_a_decision():
    on_connections = {command for _, command in CONNECTION_TRANSITIONS}
    on_streams = {command for _, command in STREAM_TRANSITIONS}
    assert on_connections == set(connection_commands.HANDLERS) | {"handshake", "linger", "terminate"}
    assert on_streams == set(stream_commands.HANDLERS) | OURS | {"create", "delete", "unpause"}


def test_nothing_that_a_peer_can_send_is_legal_for_a_missing_stream():
    assert [command for state, command in STREAM_TRANSITIONS if state is StreamState.MISSING] == ["create"]


def test_every_active_state_ends_with_closestream_and_delete():
    for state in ACTIVE_STATES:
        assert following_stream(state, "closeStream") is StreamState.CREATED
        assert following_stream(state, "delete") is StreamState.MISSING


def test_the_tables_can_be_drawn(capsys):
    # A fresh module: runpy warns about one that is imported already.
    runpy.run_path(following_stream.__code__.co_filename, run_name="__main__")
    assert capsys.readouterr().out == mermaid()
    assert "    created --> publish_requested: publish\n" in mermaid()
    assert mermaid().count("stateDiagram-v2") == 2
