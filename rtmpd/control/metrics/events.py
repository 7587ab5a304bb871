"""What happens, counted as it is logged: a line of the log is said once for each event, wherever it happens."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from prometheus_client.core import Metric

from rtmpd import logs
from rtmpd.control.metrics.families import counter


class _Named(NamedTuple):
    """A metric of its own for some events."""

    about: str
    label: str
    events: Mapping[str, str]
    """By the event, the value of the label."""


NAMED: Mapping[str, _Named] = MappingProxyType(
    {
        "refusals": _Named(
            "Requests of clients that were refused.",
            "request",
            MappingProxyType(
                {
                    "publish refused": "publish",
                    "play refused": "play",
                    "connections refused: a limit on connections is reached": "connect",
                }
            ),
        ),
        "recording_files": _Named(
            "Files of recordings, by what became of them.",
            "result",
            MappingProxyType({"recording closed": "closed", "recording failed": "failed"}),
        ),
        "incidents": _Named(
            "What should not happen, and did.",
            "incident",
            MappingProxyType(
                {
                    "timestamps jump": "timestamps_jump",
                    "internal error": "internal_error",
                    "media worker died": "worker_died",
                    "packager died": "packager_died",
                    "packaging failed": "packaging_failed",
                    "hook failed": "hook_failed",
                    "callback given up": "callback_given_up",
                    "pull lost": "pull_lost",
                    "relay lost": "relay_lost",
                    "recording not repaired": "recording_not_repaired",
                    "index behind": "index_behind",
                    "push abnormal": "push_abnormal",
                }
            ),
        ),
    }
)


class EventCounts:
    """Counts the lines of the log, level info and above."""

    def __init__(self) -> None:
        """Start without any."""
        self._levels: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._lock = threading.Lock()

    def listen(self) -> Callable[[], None]:
        """
        Begin to count.

        Returns:
            Ends it.
        """
        return logs.listen(self._hear)

    def metrics(self) -> Iterator[Metric]:
        """
        Measure.

        Yields:
            Families: lines by level, and those of NAMED.
        """
        with self._lock:
            levels, events = dict(self._levels), Counter(self._events)
        rows = (([level], levels.get(level, 0)) for level in ("info", "warning", "error"))
        yield counter("log_lines", "Lines of the log, also those that its own level leaves out.", ["level"], rows)
        for name, named in NAMED.items():
            rows = (([value], events[event]) for event, value in named.events.items())
            yield counter(name, named.about, [named.label], rows)

    def _hear(self, line: Mapping[str, Any]) -> None:
        event = line["event"]
        with self._lock:  # lines come from any thread
            self._levels[line["level"]] += 1
            if event in _COUNTED:  # those of libraries are no fixed phrases
                self._events[event] += line.get("times", 1)  # of `rtmpd.net.report`


_COUNTED = frozenset(event for named in NAMED.values() for event in named.events)
