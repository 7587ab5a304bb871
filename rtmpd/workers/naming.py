"""
Names of recorded files: a template, and values that cannot leave the data directory.

Rule: whatever a stream is called, each value is percent-encoded down to letters, digits, `_`, `.` and `-`, so a value
never adds or ends a path segment. `~` is in no encoded value: it marks what this module adds itself (a shortened name,
an empty one, the number of a name that was taken). Different streams get different names; that two recordings of one
stream never write one file is the business of the index, and of O_EXCL in the worker.
"""

from __future__ import annotations

import hashlib
import re
import string
import unicodedata
from datetime import datetime
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import quote

DEFAULT_TEMPLATE = "{app}/{stream}/{date}-{time}-{id}-{sequence}.{format}"

SEGMENT_BYTES = 255
"""What ext4, XFS, APFS and NTFS allow for one name."""

_ADDED_BYTES = 16
"""Room of a segment for escapes of its first and last character and for `~999`."""

_HASH_CHARACTERS = 32
_SMALLEST_BUDGET = 48
_WIDTHS = {"date": 10, "time": 6, "sequence": 10, "format": 8}
_NAMES = frozenset({"app", "stream", "id", "name"})
_FIELDS = (_NAMES | _WIDTHS.keys()) - {"name"}
_REQUIRED = ("app", "stream", "format")
_LITERAL = re.compile(r"[A-Za-z0-9 _.@+=,()\[\]-]*")
_OUTSIDE_VALUES = re.compile(r"[^A-Za-z0-9_.%-]")
_OUTSIDE_WORDS = re.compile(r"[^A-Za-z0-9]")
_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL"} | {f"{port}{digit}" for port in ("COM", "LPT") for digit in range(10)},
)

FILE_NAME_CHARACTERS = 200
"""The longest name that a request may give its files."""
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Characters that make text read in another direction: a name would look like another one."""


class FileName(NamedTuple):
    """What a template's fields are filled with."""

    app: str
    stream: str
    recording_id: str
    started_at: datetime
    """Date and time are written in its own time zone."""
    sequence: int
    """Number of the file within the recording, from 1."""
    file_format: str
    """"flv", "mp4", ...: letters and digits."""
    name: str = ""
    """What a request calls its files."""


class _Token(NamedTuple):
    literal: str
    field: str | None


class PathTemplate:
    """A checked template such as "{app}/{stream}/{date}-{time}-{id}-{sequence}.{format}"."""

    def __init__(self, text: str, fields: frozenset[str] = _FIELDS) -> None:
        """
        Check the template.

        Args:
            text: segments separated by "/", with the fields app, stream, date, time, id, sequence and format.
            fields: those that it may have.

        Raises:
            ValueError: the template is unusable, or would let two streams share a name; one line says why.
        """
        self.text = text
        self._segments = [_parse_segment(segment, fields) for segment in text.split("/")]
        _check_fields(self._segments)
        self._budgets = [_value_budget(tokens) for tokens in self._segments]

    def render(self, name: FileName) -> PurePosixPath:
        """
        Fill the template.

        Args:
            name: the values, in any characters.

        Returns:
            A relative path without ".", ".." or empty segments, each at most 255 bytes of ASCII.
        """
        fixed = {
            "date": name.started_at.strftime("%Y-%m-%d"),
            "time": name.started_at.strftime("%H%M%S"),
            "sequence": f"{name.sequence:03d}",
            "format": name.file_format,
        }
        texts = {"app": name.app, "stream": name.stream, "id": name.recording_id, "name": name.name}
        segments = []
        for tokens, budget in zip(self._segments, self._budgets, strict=True):
            values = fixed | {field: encode_value(field, text, budget) for field, text in texts.items()}
            segments.append(_defuse("".join(token.literal + values.get(token.field or "", "") for token in tokens)))
        return PurePosixPath(*segments)


def check_file_name(text: str) -> None:
    """
    Make sure that a name is one that people and file systems can live with.

    Args:
        text: what a request calls its files; without a folder, and without the format's suffix.

    Raises:
        ValueError: it is none; one line says why.
    """
    if not 1 <= len(text) <= FILE_NAME_CHARACTERS:
        raise ValueError(f"a file name has 1 to {FILE_NAME_CHARACTERS} characters; this one has {len(text)}")
    for character in text:
        if character in "/\\":
            raise ValueError(f"a file name has no {character!r}, as that leads to another folder: {text!r}")
        if unicodedata.category(character) in _CONTROLS or unicodedata.bidirectional(character) in _TURNS:
            raise ValueError(f"a file name has no control characters such as {character!r}: {text!r}")
    if text[0] in ". " or text[-1] in ". ":
        raise ValueError(f"a file name neither begins nor ends with a dot or a space: {text!r}")
    if text.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        raise ValueError(f"{text!r} is the name of a device on Windows, and no file can be called so there")


def encode_value(field: str, text: str, budget: int) -> str:
    """
    Encode one value so that it is part of one path segment, and no other value encodes to the same.

    Args:
        field: the field's name; an id also loses its "-" and ".", so that it can be told from the name before it.
        text: any characters, unpaired surrogates included.
        budget: the most bytes of the result.

    Returns:
        ASCII; a text too long for the budget keeps its beginning, followed by "~" and a hash of the whole.
    """
    if not text:
        return "~"
    encoded = quote(text, safe="", errors="surrogatepass").replace("~", "%7E")
    if field == "id":
        encoded = encoded.replace("-", "%2D").replace(".", "%2E")
    if len(encoded) <= budget:
        return encoded
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_HASH_CHARACTERS]
    head = encoded[: budget - 1 - _HASH_CHARACTERS]
    return re.sub(r"%.?$", "", head) + "~" + digest


def numbered(path: PurePosixPath, number: int) -> PurePosixPath:
    """Name the file to try when a name is taken: number 2 is name~2.flv; number 1 is the name itself."""
    return path if number == 1 else path.with_name(f"{path.stem}~{number}{path.suffix}")


def _parse_segment(segment: str, fields: frozenset[str]) -> list[_Token]:
    try:
        parsed = list(string.Formatter().parse(segment))
    except ValueError as error:
        raise ValueError(f"{segment!r}: {error}") from None
    tokens = []
    for literal, field, spec, conversion in parsed:
        if not _LITERAL.fullmatch(literal):
            raise ValueError(f"{literal!r} has a character that a file name may not have")
        if field is not None and (field not in fields or spec or conversion):
            raise ValueError(f"{{{field}}} is not a field; the fields are {', '.join(sorted(fields))}")
        tokens.append(_Token(literal, field))
    if not tokens:
        raise ValueError("a path has no empty segments and does not begin or end with '/'")
    if tokens[0].literal[:1] in {".", " "} or (tokens[-1].field is None and tokens[-1].literal[-1:] in {".", " "}):
        raise ValueError(f"{segment!r} begins with '.' or a space, or ends with one")
    return tokens


def _check_fields(segments: list[list[_Token]]) -> None:
    flat = [token for tokens in segments for token in [_Token("/", None), *tokens]]
    seen = [token.field for token in flat if token.field]
    missing = [field for field in _REQUIRED if field not in seen]
    if missing:
        raise ValueError(f"{{{missing[0]}}} is missing: without it two recordings would share a name")
    repeated = [field for field in seen if seen.count(field) > 1]
    if repeated:
        raise ValueError(f"{{{repeated[0]}}} stands twice")
    _check_separators(flat)


def _check_separators(flat: list[_Token]) -> None:
    """Refuse what could be read in two ways: app "a-b" with stream "c", and app "a" with stream "b-c"."""
    between, since_name, name = "/", "/", ""
    for token in flat:
        between += token.literal
        since_name += token.literal
        if token.field is None:
            continue
        if not _OUTSIDE_WORDS.search(between):
            raise ValueError(f"a separator such as '-' is missing before {{{token.field}}}")
        if token.field in {"app", "stream"}:
            if name and not _OUTSIDE_VALUES.search(since_name):
                raise ValueError(f"{{{name}}} and {{{token.field}}} need '/' or one of '@+=,' between them")
            since_name, name = "", token.field
        between = ""


def _value_budget(tokens: list[_Token]) -> int:
    names = sum(token.field in _NAMES for token in tokens)
    fixed = sum(len(token.literal) + _WIDTHS.get(token.field or "", 0) for token in tokens)
    budget = (SEGMENT_BYTES - _ADDED_BYTES - fixed) // max(1, names)
    if budget < _SMALLEST_BUDGET:
        raise ValueError("a segment's text leaves too little room for the stream's name")
    return budget


def _defuse(segment: str) -> str:
    """
    Escape what is special to a file system: hidden names, "..", a trailing dot, and Windows devices.

    Encoded values never contain these escapes by themselves, so different names stay different.
    """
    if segment.partition(".")[0].upper() in _DEVICES or segment[0] == ".":
        segment = f"%{ord(segment[0]):02X}{segment[1:]}"
    if segment[-1] == ".":
        segment = segment[:-1] + "%2E"
    return segment


NAMED = PathTemplate("{app}/{stream}/{name}-{id}-{sequence}.{format}", _FIELDS | {"name"})
"""Of recordings whose request names their files."""
