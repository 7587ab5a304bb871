"""
What a caller asks to have recorded, and what is made of it: nothing is transcoded, so not every wish can be granted.

What cannot be granted is refused before anything is written; what can nearly be granted (sound as M4A where MP3 was
asked for) is, with a note for the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from muxers.formats import FormatOptions, refusal
from rtmpd.config import AppConfig
from rtmpd.errors import RtmpdError
from rtmpd.live.codecs import Codecs
from rtmpd.store.rows import RecordType
from rtmpd.workers.naming import check_file_name

_SOUND = "m4a"
_MP3 = ".mp3"


class RequestRefused(RtmpdError):
    """A recording that was asked for and cannot be made: one line that says why."""


@dataclass(frozen=True, slots=True)
class RecordingRequest:
    """What to record of a stream."""

    task_id: str
    """The caller's, never used twice."""
    file_name: str = ""
    """What the files are called; empty: as the application names its recordings."""
    record_type: RecordType = "video"
    """"video" has sound as well."""
    formats: tuple[str, ...] = ()
    """Keys of `muxers.formats.FORMATS`; empty: those of the application, or M4A for sound alone."""
    tags: tuple[str, ...] = ()
    """The caller's words."""
    max_duration_s: float = 0.0
    """It ends so long after its start; 0: never by itself."""
    push: bool = False
    """It belongs to a push: whoever ends the push ends it."""
    record_id: int | None = None
    """The number that comes back in its callbacks."""


def settle(request: RecordingRequest, app: AppConfig, codecs: Codecs) -> tuple[RecordingRequest, tuple[str, ...]]:
    """
    Decide what a request comes to.

    Args:
        request: as it was made.
        app: of the stream.
        codecs: that the stream carries, as far as they are known.

    Returns:
        The request with the formats that are written, each once; and a line for each that is another one than asked for.

    Raises:
        RequestRefused: a name that is not safe, an unknown format, or a codec that a format cannot carry.
    """
    if request.file_name:
        try:
            check_file_name(request.file_name)
        except ValueError as error:
            raise RequestRefused(str(error)) from None
    wanted = request.formats or ((_SOUND,) if request.record_type == "audio" else app.record_formats)
    formats, notes = _possible(wanted, request.record_type, codecs)
    options = FormatOptions(hls_segment_type=app.hls_segment_type)
    carried = codecs.audio if request.record_type == "audio" else codecs.audio | codecs.video
    for file_format in formats:
        if (reason := refusal(file_format, carried, options)) is not None:
            raise RequestRefused(reason)
    return replace(request, formats=formats), notes


def _possible(
    wanted: Sequence[str], record_type: RecordType, codecs: Codecs
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Put M4A in the place of what would need transcoding, or pictures."""
    formats, notes = [], []
    for file_format in wanted:
        reason = ""
        if file_format == "mp3" and codecs.audio != {_MP3}:
            sends = f"the publisher sends {' and '.join(sorted(codecs.audio)) or 'no MP3 so far'}"
            reason = f"{sends}: MP3 is recorded as M4A, as nothing is transcoded"
        elif file_format == "mp4" and record_type == "audio":
            reason = "an MP4 of sound alone is recorded as M4A"
        formats.append(_SOUND if reason else file_format)
        if reason:
            notes.append(reason)
    return tuple(dict.fromkeys(formats)), tuple(notes)
