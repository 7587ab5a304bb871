"""
The callbacks that facts about recordings owe, in the field names of the hosted service.

Fields that only delivery can know (the host, URLs, the signature) are added there; what stands here is the same at
each attempt. Event ids are made from what the event is about, so that a fact that is stored again owes nothing new.
"""

from __future__ import annotations

import math
import secrets

from rtmpd.store.outbox import Owed
from rtmpd.store.rows import Contents, FileRow, RecordingRow

NEW_FILE = 100
RECORDING_STATUS = 332


def new_file(recording: RecordingRow, file: FileRow, contents: Contents, now: float) -> Owed:
    """
    Tell of a file that is complete (event 100).

    Args:
        recording: it belongs to.
        file: with the time of its first frame.
        contents: what it holds.
        now: unix seconds.
    """
    start_at = contents.end_at - contents.duration_ms / 1000 if file.start_at is None else file.start_at
    body = {
        "event_type": NEW_FILE,
        "stream_id": recording.stream,
        "channel_id": recording.stream,
        "appname": recording.app,
        "file_id": file.file_id,
        "record_file_id": file.file_id,
        "file_format": file.file_format,
        "file_size": contents.size_bytes,
        "start_time": math.floor(start_at),
        "end_time": math.ceil(start_at + contents.duration_ms / 1000),
        "duration": round(contents.duration_ms / 1000),
        "media_start_time": contents.start_ms,
        "video_id": recording.recording_id,
        "path": contents.path,
        "stream_param": recording.stream_param,
    }
    # A playlist that goes on after a restart is complete once more, and larger; anything else is complete once.
    event_id = f"file-{file.file_id}-{contents.size_bytes}"
    return Owed(event_id, NEW_FILE, _path(recording), _with_task(recording, body), now)


def status(recording: RecordingRow, event: str, detail: str, now: float) -> Owed:
    """
    Tell of a turn in a recording's life (event 332).

    Args:
        recording: it is about.
        event: "record_error", "record_ended", ...; a recording ends once, the others are an event each time.
        detail: one line.
        now: unix seconds.
    """
    number = "" if event == "record_ended" else secrets.token_hex(8)
    body = {
        "event_type": RECORDING_STATUS,
        "stream_id": recording.stream,
        "channel_id": recording.stream,
        "appname": recording.app,
        "event_time": math.floor(now),
        "record_event": event,
        "record_detail": detail,
        "session_id": recording.recording_id,
    }
    event_id = f"status-{recording.recording_id}-{event}{number and '-'}{number}"
    return Owed(event_id, RECORDING_STATUS, _path(recording), _with_task(recording, body), now)


def _path(recording: RecordingRow) -> str:
    return f"{recording.app}/{recording.stream}"


def _with_task(recording: RecordingRow, body: dict[str, object]) -> dict[str, object]:
    return body if recording.task_id is None else {**body, "task_id": recording.task_id}
