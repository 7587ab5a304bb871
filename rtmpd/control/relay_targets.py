"""
What a stream is relayed to: the targets of its push, and those that its application has for all of its streams.

Rule: one relay for one URL, however many ask for it; two would throw each other out at the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from rtmpd.config import Config
from rtmpd.control.rooms import Named
from rtmpd.session.urls import RtmpUrl
from rtmpd.store.pushes import TargetRow

_PLACEHOLDERS = ("{app}", "{stream}")
_MEANS_SOMETHING = frozenset("%?#&=+{}")
"""Visible characters that would change what a URL says; a slash keeps its meaning in an application only."""


@dataclass(frozen=True, slots=True)
class RelayTarget:
    """One place that a stream is relayed to."""

    url: str = field(repr=False)
    target_id: str | None
    """Of the push's target; None where the configuration alone names it."""


def wanted_targets(stream: Named, rows: Iterable[TargetRow], templates: Sequence[str]) -> dict[str, RelayTarget]:
    """
    Find where a stream is to be relayed to.

    Args:
        stream: its name.
        rows: targets of its push, as far as they count now.
        templates: of its application, as far as they count now.

    Returns:
        Targets by their URLs.
    """
    configured = {url: RelayTarget(url, None) for url in (filled(template, stream) for template in templates)}
    return configured | {row.url: RelayTarget(row.url, row.target_id) for row in rows}


def filled(template: str, stream: Named) -> str:
    """
    Put a stream's name into a target's URL.

    RTMP servers take paths literally, so a name stays as it is but for what would change the URL, or end it: that is
    percent-encoded, as no publisher may choose where his stream goes.

    Args:
        template: a URL with {app} and {stream} in it, or neither.
        stream: the name.
    """
    # In one pass: what a name brings in is no placeholder.
    before, mark, rest = template.partition("{")
    text = before
    while mark:
        name, _, after = rest.partition("}")
        text += _encoded(stream.app, "/") if name == "app" else _encoded(stream.name, "")
        before, mark, rest = after.partition("{")
        text += before
    return text


def faults(config: Config) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """
    Find targets in a configuration that nothing can be relayed to.

    Args:
        config: as it could be read.

    Yields:
        Keys, and what to say of each; no URL is shown, as it holds a key.
    """
    for name, application in config.apps.items():
        for number, template in enumerate(application.push_targets):
            if reason := _fault(template):
                yield ("apps", name, "push_targets", number), f"(not shown): an RTMP URL is expected: it {reason}"


def changes(
    wanted: Mapping[str, RelayTarget], running: Iterable[str]
) -> tuple[tuple[RelayTarget, ...], tuple[str, ...]]:
    """
    Say what has to be done for a stream to be relayed where it is wanted, and nowhere else.

    Args:
        wanted: targets by their URLs.
        running: the URLs that it is relayed to.

    Returns:
        The targets to begin with, and the URLs to end.
    """
    now = frozenset(running)
    return (
        tuple(target for url, target in wanted.items() if url not in now),
        tuple(url for url in now if url not in wanted),
    )


def _fault(template: str) -> str:
    plain = template
    for each in _PLACEHOLDERS:
        plain = plain.replace(each, "x")
    if "{" in plain or "}" in plain:
        return "has braces around something else than app and stream"
    if "{" in template.partition("://")[2].partition("/")[0]:
        return "lets a stream's name choose the host"
    try:
        RtmpUrl.parse(plain)
    except ValueError as error:
        return str(error)
    return ""


def _encoded(name: str, safe: str) -> str:
    return "".join(
        each
        if each.isprintable() and each not in _MEANS_SOMETHING and (each not in " /" or each in safe)
        else quote(each.encode(errors="surrogatepass"), safe="")
        for each in name
    )
