"""
The callbacks that facts about recordings owe, in the field names of the hosted service.

Fields that only delivery can know (the host, URLs, the signature) are added there, and a turn's number where it is
stored; what stands here is the same at each attempt. Event ids are made from what the event is about, so that a fact
that is stored again owes nothing new.
"""

from __future__ import annotations

import math
import secrets

from rtmpd.store.outbox import Owed
from rtmpd.store.rows import Contents, FileRow, RecordingRow
from rtmpd.store.turns import RECORDING_STATUS
from rtmpd.workers.abnormal import Circumstances, find, level_of

NEW_FILE = 100
RECORDING_ABNORMAL = 341

_ONCE = frozenset({"record_start_succeeded", "record_ended"})
_FORMAT_NUMBERS = {"flv": 1, "hls": 2, "mp4": 3, "m4a": 4, "mp3": 5}
"""The hosted service's."""
_OF_CONFIGURATION, _OF_REQUEST = 1, 5
_ORIGINAL = _LIVE = 1


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
        **_common(recording, NEW_FILE),
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
    return Owed(event_id, NEW_FILE, _path(recording), body, now)


def status(recording: RecordingRow, event: str, reason: str, now: float, file_format: str = "") -> Owed:
    """
    Tell of a turn in a recording's life (event 332).

    Args:
        recording: it is about.
        event: "record_error", "record_ended", ...; a recording starts and ends once, the others are an event each time.
        reason: one line; empty where there is none.
        now: unix seconds.
        file_format: of the one file that it is about; else the recording's first.
    """
    number = "" if event in _ONCE else secrets.token_hex(8)
    detail = {
        "file_format": _FORMAT_NUMBERS.get(file_format or recording.formats[0], 0),
        "file_formats": list(recording.formats),
        "start_model": _OF_CONFIGURATION if recording.origin == "auto" else _OF_REQUEST,
        "record_content": _ORIGINAL,
        "source_type": _LIVE,
        "reason": reason,
    }
    body = {
        **_common(recording, RECORDING_STATUS),
        "event_time": math.floor(now),
        "record_event": event,
        "record_detail": detail,
        "session_id": recording.recording_id,
    }
    event_id = f"status-{recording.recording_id}-{event}{number and '-'}{number}"
    return Owed(event_id, RECORDING_STATUS, _path(recording), body, now)


def abnormal(
    recording: RecordingRow, file: FileRow, contents: Contents, around: Circumstances, now: float
) -> tuple[Owed, ...]:
    """
    Tell of what is wrong with a file (event 341).

    Args:
        recording: it belongs to.
        file: that is complete, or has failed.
        contents: what it holds.
        around: what else is known of it.
        now: unix seconds.

    Returns:
        One callback; none where nothing is wrong.
    """
    findings = find(recording, file, contents, around)
    if not findings:
        return ()
    body = {
        **_common(recording, RECORDING_ABNORMAL),
        "session_id": recording.recording_id,
        "file_id": file.file_id,
        "file_format": file.file_format,
        "timestamp": math.floor(now),
        "exception_level": level_of(findings),
        "exception": [{"type": each.kind.number, "occurs": each.occurs, "desc": each.text} for each in findings],
    }
    event_id = f"abnormal-{file.file_id}-{contents.size_bytes}"  # as with event 100
    return (Owed(event_id, RECORDING_ABNORMAL, _path(recording), body, now),)


def _path(recording: RecordingRow) -> str:
    return f"{recording.app}/{recording.stream}"


def _common(recording: RecordingRow, event_type: int) -> dict[str, object]:
    body: dict[str, object] = {
        "event_type": event_type,
        "stream_id": recording.stream,
        "channel_id": recording.stream,
        "appname": recording.app,
    }
    callers = {"task_id": recording.task_id, "record_id": recording.record_id}
    return body | {name: value for name, value in callers.items() if value is not None}
