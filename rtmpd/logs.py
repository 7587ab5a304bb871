"""
Log lines: for a person on a terminal, JSON otherwise, always on standard error.

Everything logs through `get_logger`; the standard library's loggers (asyncio's among them) are led the same way. What a
client sent can neither break a line nor reach the terminal as a control sequence. Logging never raises: nobody's stream
ends because the reader of the log has gone. Who wants to know what happens, as it happens, listens (`listen`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, TextIO, TypeAlias


@contextlib.contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Make the import of a module that is not loaded yet fail inside the block, as if it were not installed."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # the documented way to block an import
    try:
        yield
    finally:
        del sys.modules[module]


# structlog.dev imports rich for its tracebacks, which a server does not want: 50 ms at each start and 4 MB in each process.
with _hidden("rich"):
    import structlog

Logger = structlog.typing.FilteringBoundLogger

LEVELS = ("debug", "info", "warning", "error")
LEVEL_VARIABLE = "RTMPD_LOG_LEVEL"
"""Environment variable in which a process hands its level to those that it starts."""

Listening: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Is given the values of a line, `event` and `level` among them, in the thread that logged it; may not raise or block."""
_HEARD_LEVEL = logging.INFO
_NUMBERS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
_listeners: tuple[Listening, ...] = ()


def get_logger(**context: Any) -> Logger:  # the values of a log line are anything that has a str()
    """
    Make a logger.

    Args:
        context: values that each of its lines carries.

    Returns:
        A logger whose methods take an event (a fixed phrase) and keyword values.
    """
    logger: Logger = structlog.get_logger(**context)
    return logger


def configure(level: str | None = None, stream: TextIO | None = None) -> None:
    """
    Set logging up for this process, and for those that it will start.

    Args:
        level: the least that is written, one of LEVELS; none: as the parent process has it, else info.
        stream: where lines go; standard error if not given.
    """
    inherited = os.environ.get(LEVEL_VARIABLE, "")
    level = level or (inherited if inherited in LEVELS else "info")
    os.environ[LEVEL_VARIABLE] = level
    stream = stream or sys.stderr or _nowhere()
    written = _NUMBERS[level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _told,
            _only_from(written),
            *(_for_a_person() if stream.isatty() else _for_a_program()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(min(written, _HEARD_LEVEL)),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Bridge()], force=True)
    logging.captureWarnings(capture=True)


def listen(listener: Listening) -> Callable[[], None]:
    """
    Have every line of level info and above told as it is logged, also when the log's own level leaves it out.

    Args:
        listener: from any thread it is called in that thread, so it hands on and returns.

    Returns:
        Ends it; harmless when called again.
    """
    global _listeners  # noqa: PLW0603 - one log a process; replaced as a whole, so that any thread can read it
    _listeners = (*_listeners, listener)

    def stop() -> None:
        global _listeners  # noqa: PLW0603 - see above
        _listeners = tuple(each for each in _listeners if each is not listener)

    return stop


def _told(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Tell those who listen; each gets a copy, as the event goes on to be rendered."""
    if _listeners and _NUMBERS[event["level"]] >= _HEARD_LEVEL:
        for listener in _listeners:
            listener(dict(event))
    return event


def _only_from(level: int) -> structlog.typing.Processor:
    """Leave out what is below the level and was only processed to be told."""

    def check(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if _NUMBERS[event["level"]] < level:
            raise structlog.DropEvent
        return event

    return check


def _nowhere() -> TextIO:
    """Where lines go when standard error was closed before we started (`2>&-`)."""
    return Path(os.devnull).open("w", encoding="utf-8")


def escaped(text: str) -> str:
    r"""
    Make a string from outside safe to print: control characters, line ends and direction marks become `\x1b` and the like.

    Args:
        text: what a client sent.

    Returns:
        The text in one line, otherwise as it was.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _for_a_person() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        _escape_values,
        structlog.dev.ConsoleRenderer(
            colors="NO_COLOR" not in os.environ, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        ),
    ]


def _for_a_program() -> list[structlog.typing.Processor]:
    # JSON escapes what is not ASCII, and with it all that a terminal could act on.
    return [structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.JSONRenderer(default=str)]


def _escape_values(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key == "exception":
            event[key] = "\n".join(f"    {escaped(line)}" for line in str(value).split("\n"))
        elif key != "event" and not isinstance(value, int | float | None):
            event[key] = escaped(str(value))
        else:
            event[key] = escaped(value) if isinstance(value, str) else value
    return event


class _Lines:
    """A logger in structlog's sense: writes finished lines, each in one call, so that processes can share a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        # The reader of a pipe can go (OSError), a test's stream be closed (ValueError).
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = critical = log = msg


class _Bridge(logging.Handler):
    """Leads records of the standard library's logging to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = get_logger(source=record.name)
        logger.log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)
