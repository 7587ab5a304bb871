"""
The answers of the API for people: tables on a terminal, without the columns that matter least where it is narrow, and a
block for each entry where that does not help; plain text in pipes.

What clients sent is in the answers: nothing of it is taken for markup, and no control character gets through.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from rtmpd.logs import escaped

_Entry: TypeAlias = Mapping[str, Any]
_Columns: TypeAlias = Mapping[str, Callable[[_Entry], object]]
_PIPE_COLUMNS = 10_000
"""For a program that reads lines, none is folded."""
_NAME_COLUMNS = 32
"""Longer names of streams are folded where there is no room, so that one of them does not spoil the table."""
_URL_TYPES = {1: "HLS", 2: "FLV", 4: "RAW", 5: "RTMP", 6: "HLS and RTMP", 7: "fMP4"}
_CODECS: Mapping[str, str] = {
    "avc1": "H.264",
    "hvc1": "H.265",
    "av01": "AV1",
    "vp09": "VP9",
    "mp4a": "AAC",
    ".mp3": "MP3",
    "fLaC": "FLAC",
}
"""What people call them; others by their own names."""
_MEASURED = frozenset({"closed", "removing"})
"""Files whose length and size are known."""
_EVENT_OF_ITS_OWN = frozenset({"at", "event", "level"})


def show(table: str, answer: Any) -> None:
    """
    Print an answer.

    Args:
        table: a key of TABLES.
        answer: of the API.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=_PIPE_COLUMNS)
    TABLES[table](console, answer)


def size_of(size_bytes: float) -> str:
    """
    Write a number of bytes.

    Args:
        size_bytes: any.

    Returns:
        Three digits at most, and the unit: 1.5 MB.
    """
    return _scaled(size_bytes, ("B", "KB", "MB", "GB", "TB"))


def rate_of(bits_per_s: float) -> str:
    """
    Write a bit rate.

    Args:
        bits_per_s: any.

    Returns:
        Three digits at most, and the unit: 2 Mb/s.
    """
    return _scaled(bits_per_s, ("b/s", "kb/s", "Mb/s", "Gb/s"))


def duration_of(seconds: float) -> str:
    """
    Write a duration.

    Args:
        seconds: any.

    Returns:
        Hours, minutes and seconds: 1:02:05.
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def time_of(unix_s: float | None) -> str:
    """
    Write a moment in the local time.

    Args:
        unix_s: unix seconds.

    Returns:
        Date and time; a dash for none.
    """
    return "-" if unix_s is None else f"{dt.datetime.fromtimestamp(unix_s).astimezone():%Y-%m-%d %H:%M:%S}"


def _scaled(value: float, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} {units[-1]}" if value < 999.5 else f"{value:.0f} {units[-1]}"


def _text(value: object) -> Text:
    return Text("-" if value in {None, ""} else escaped(str(value)), overflow="fold")


def _print_entries(
    console: Console, columns: _Columns, entries: Sequence[_Entry], none: str, spare: Sequence[str] = ()
) -> None:
    """Print a table that fits, by leaving out what can be spared; if none does, each entry as a block of lines."""
    if not entries:
        console.print(_text(none))
        return
    cells = {title: [_text(value(entry)) for entry in entries] for title, value in columns.items()}
    longest_name = max(text.cell_len for text in cells.get("STREAM", [Text()]))
    for number in range(len(spare) + 1):
        table = _table({title: texts for title, texts in cells.items() if title not in spare[:number]})
        wanted = Measurement.get(console, console.options.update(max_width=_PIPE_COLUMNS), table).maximum
        can_be_folded = 0 if "STREAM" in spare[:number] else max(0, longest_name - _NAME_COLUMNS)
        if wanted - can_be_folded <= console.width:
            _print(console, table)
            if number:
                console.print(_text(f"Too narrow for {', '.join(spare[:number])}; --json has everything."), style="dim")
            return
    for number, row in enumerate(zip(*cells.values(), strict=True)):
        if number:
            console.print()
        _print_block(console, zip(cells, row, strict=True))


def _table(cells: Mapping[str, Sequence[Text]]) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in cells:
        table.add_column(title, no_wrap=title != "STREAM")
    for row in zip(*cells.values(), strict=True):
        table.add_row(*row)
    return table


def _print_block(console: Console, lines: Iterable[tuple[str, Text]]) -> None:
    block = Table(box=None, pad_edge=False, show_edge=False, show_header=False, padding=(0, 2, 0, 0))
    block.add_column(style="bold", no_wrap=True)
    block.add_column(overflow="fold")
    for title, value in lines:
        block.add_row(title, value)
    _print(console, block)


def _print(console: Console, table: Table) -> None:
    """Without the spaces that rich fills the last column with, where they would be read by a program."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        console.print(line.rstrip(), soft_wrap=True)


def _list(key: str, columns: _Columns, none: str, spare: Sequence[str] = ()) -> Callable[[Console, _Entry], None]:
    """A table; `spare` are the columns that a narrow terminal goes without, the first one first."""
    return lambda console, answer: _print_entries(console, columns, answer[key], none, spare)


def _block(columns: _Columns) -> Callable[[Console, _Entry], None]:
    return lambda console, answer: _print_block(
        console, [line for name, of in columns.items() for line in _lines(name, of(answer))]
    )


def _lines(name: str, value: object) -> Iterable[tuple[str, Text]]:
    """One line; of a list one for each item."""
    values = (value or [None]) if isinstance(value, list) else [value]
    return [("" if number else name, _text(each)) for number, each in enumerate(values)]


def _of(key: str) -> Callable[[_Entry], object]:
    return lambda entry: entry[key]


def _time(key: str) -> Callable[[_Entry], str]:
    return lambda entry: time_of(entry[key])


def _seconds(key_ms: str) -> Callable[[_Entry], str]:
    return lambda entry: f"{entry[key_ms] / 1000:g} s"


def _joined(key: str) -> Callable[[_Entry], str]:
    return lambda entry: ", ".join(map(str, entry[key]))


def _noted(text: str, answer: _Entry) -> str:
    """A state in words, with what the server remarks."""
    return "; ".join([text + (" (it was already)" if answer["already"] else ""), *answer.get("notes", [])])


def _publisher(entry: _Entry, key: str) -> Any:
    return entry["publisher"][key] if entry["publisher"] else None


def _track(track: _Entry) -> str:
    facts: list[str] = [_CODECS.get(track["codec"], track["codec"])]
    if track["width"]:
        facts.append(f"{track['width']}x{track['height']}")
    if track["sample_rate"]:
        facts.append(f"{track['sample_rate'] / 1000:g} kHz")
    return " ".join(facts)


def _players(entry: _Entry) -> object:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(entry["viewers"].items()))
    return kinds or entry["players"]


def _urls(entry: _Entry) -> list[str]:
    return [f"{_URL_TYPES.get(each['type'], each['type'])} {each['play_url']}" for each in entry["urls"]]


def _targets(entry: _Entry) -> str:
    return ", ".join(f"{each['target_id']} {each['url']} ({each['state']})" for each in entry["targets"])


def _show_event(console: Console, event: _Entry) -> None:
    values = " ".join(f"{key}={escaped(str(value))}" for key, value in event.items() if key not in _EVENT_OF_ITS_OWN)
    if "at" not in event:
        line = f"-- {values} events lost: they came faster than they were read"
    else:
        clock = f"{dt.datetime.fromtimestamp(event['at']).astimezone():%H:%M:%S}"
        level = "" if event["level"] == "info" else f"[{event['level']}] "
        line = f"{clock} {level}{escaped(event['event'])} {values}".rstrip()
    console.print(Text(line), soft_wrap=True)


_STREAM: _Columns = {
    "STREAM": _of("stream"),
    "STATE": lambda entry: entry["state"] + ("" if entry["public"] else " (private)"),
    "SINCE": lambda entry: time_of(_publisher(entry, "since")),
    "RATE": lambda entry: rate_of(entry["bits_per_s"]) if entry["publisher"] else None,
    "FPS": lambda entry: f"{entry['frames_per_s']:.3g}" if entry["publisher"] else None,
    "TRACKS": lambda entry: ", ".join(map(_track, entry["tracks"])),
    "PLAYERS": _players,
    "RECORDINGS": _of("recordings"),
    "PUSH": _of("channel_id"),
}
_FILE: _Columns = {
    "FILE": _of("file_id"),
    "STREAM": _of("stream"),
    "FORMAT": _of("format"),
    "STATE": lambda entry: entry["state"] + (f" ({entry['fault']})" if entry["fault"] else ""),
    "BEGAN": _time("start_time"),
    "LASTS": lambda entry: duration_of(entry["duration"]) if entry["state"] in _MEASURED else None,
    "SIZE": lambda entry: size_of(entry["size"]) if entry["state"] in _MEASURED else None,
    "PATH": _of("path"),
    "TASK": _of("task_id"),
}
# A path begins with its stream, as a rule, and ends with its format.
_SPARE_OF_FILE = ("TASK", "FORMAT", "STREAM", "BEGAN", "LASTS", "STATE", "SIZE")


def _show_stopped(console: Console, answer: _Entry) -> None:
    _block(
        {"RECORDING": lambda each: f"{each['task_id']} {each['state']}", "NOTE": lambda each: _noted("stopped", each)}
    )(console, answer)
    _print_entries(console, _FILE, answer["files"], "It wrote no files.", _SPARE_OF_FILE)


TABLES: Mapping[str, Callable[[Console, Any], None]] = MappingProxyType(
    {
        "streams": _list("streams", _STREAM, "No streams.", ("PUSH", "FPS", "SINCE", "RECORDINGS", "TRACKS")),
        "stream": _block(
            {
                **_STREAM,
                "PUBLISHER": lambda entry: (
                    _publisher(entry, "client_id") and f"client {_publisher(entry, 'client_id')}"
                ),
                "ADDRESS": lambda entry: _publisher(entry, "address"),
                "LAG": _seconds("lag_ms"),
                "SKIPPED": _seconds("skipped_ms"),
                "URLS": _urls,
            }
        ),
        "clients": _list(
            "clients",
            {
                "CLIENT": _of("client_id"),
                "KIND": _of("kind"),
                "ADDRESS": _of("address"),
                "ROLE": _of("role"),
                "STREAM": _of("stream"),
                "SINCE": _time("connected_at"),
                "IN": lambda entry: size_of(entry["bytes_in"]),
                "OUT": lambda entry: size_of(entry["bytes_out"]),
                "LAG": _seconds("lag_ms"),
                "SKIPPED": _seconds("skipped_ms"),
            },
            "No clients.",
            ("SKIPPED", "SINCE", "IN", "KIND"),
        ),
        "pushes": _list(
            "pushes",
            {
                "PUSH": _of("channel_id"),
                "STREAM": _of("stream"),
                "NAME": _of("channel_name"),
                "STATE": _of("state"),
                "MODE": _of("mode"),
                "SINCE": _time("started_at"),
                "RECORDING": _of("record_task_id"),
                "TARGETS": _targets,
            },
            "No pushes.",
            ("MODE", "SINCE", "RECORDING"),
        ),
        "push_started": _block(
            {
                "PUSH": _of("channel_id"),
                "STATE": lambda answer: _noted(answer["state"], answer),
                "RECORDING": _of("record_task_id"),
                "TARGETS": _targets,
                "URLS": _urls,
            }
        ),
        "pushes_stopped": _list(
            "results",
            {"PUSH": _of("channel_id"), "STATE": lambda each: _noted(each["state"], each)},
            "Nothing stopped.",
        ),
        "target_added": _block(
            {
                "TARGET": lambda answer: answer["target"]["target_id"],
                "URL": lambda answer: answer["target"]["url"],
                "STATE": lambda answer: _noted(answer["target"]["state"], answer),
            }
        ),
        "relays": _list(
            "relays",
            {
                "STREAM": _of("stream"),
                "KIND": _of("kind"),
                "URL": _of("url"),
                "STATE": lambda entry: entry["state"] + (f" ({entry['reason']})" if entry["reason"] else ""),
                "SINCE": _time("since"),
                "TRIES": _of("attempts"),
                "MEDIA": lambda entry: size_of(entry["bytes"]),
                "LAG": _seconds("lag_ms"),
                "SKIPPED": _seconds("skipped_ms"),
                "TARGET": _of("target_id"),
            },
            "No relays.",
        ),
        "records": _list(
            "records",
            {
                "TASK": lambda entry: entry["task_id"] or "(automatic)",
                "STREAM": _of("stream"),
                "STATE": _of("state"),
                "TYPE": _of("record_type"),
                "FORMATS": _joined("formats"),
                "SINCE": _time("started_at"),
                "ENDS": _time("ends_at"),
                "NAME": _of("file_name"),
                "TAGS": _joined("tags"),
            },
            "No recordings run.",
            ("TAGS", "TYPE", "ENDS", "NAME"),
        ),
        "record_started": _block(
            {
                "TASK": _of("task_id"),
                "STATE": lambda answer: _noted(answer["state"], answer),
                "FORMATS": _joined("formats"),
            }
        ),
        "record_stopped": _show_stopped,
        "recordings": _list("recordings", _FILE, "No files.", _SPARE_OF_FILE),
        "callbacks": _list(
            "callbacks",
            {
                "EVENT": _of("event_id"),
                "TYPE": _of("event_type"),
                "STREAM": _of("stream"),
                "STATE": _of("state"),
                "SINCE": _time("created_at"),
                "TRIES": _of("attempts"),
                "NEXT": _time("next_try_at"),
                "LAST ERROR": _of("last_error"),
                "URL": _of("url"),
            },
            "No callbacks wait.",
        ),
        "done": lambda console, answer: console.print(_text(_noted("done", answer))),
        "server": _block(
            {
                "VERSION": _of("version"),
                "SINCE": _time("started_at"),
                "DRAINING": lambda answer: "yes" if answer["is_draining"] else "no",
                "RTMP": _of("rtmp"),
                "RTMPS": _of("rtmps"),
                "HTTP": _of("http"),
                "HTTPS": _of("https"),
                "DATA": _of("data"),
                "ROOM FOR": lambda answer: f"{answer['connections']} connections",
                "A STREAM TAKES": lambda answer: f"at most {size_of(answer['bytes_per_stream'])}",
            }
        ),
        "draining": _block(
            {
                "DRAINING": lambda answer: _noted("yes", answer),
                "ASKED TO RECONNECT": _of("asked"),
                "WAITED FOR": _of("waited_for"),
                "PUBLISHERS": _of("publishers"),
                "PLAYERS": _of("players"),
                "AT THE LATEST": _time("deadline"),
            }
        ),
        "reloaded": _block({"RELOADED": lambda _: "yes", "NEED A RESTART": _joined("needs_restart")}),
        "event": _show_event,
    }
)
"""By what was asked: prints the answer."""
