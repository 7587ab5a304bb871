"""The folder table of ARCHITECTURE.md, owned here: who may import whom, and what the core may not know at all."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "rtmpd.wire": {"errors"},
    "rtmpd.media": {"errors", "wire"},
    "rtmpd.session": {"errors", "wire", "media"},
    "rtmpd.live": {"errors", "wire", "media"},
    "rtmpd.net": {"errors", "address", "config", "logs", "session", "live", "wire", "media"},
    "rtmpd.store": {"errors"},
    "rtmpd.workers": {
        "errors",
        "config",
        "logs",
        "store",
        "live",
        "net.fanout",
        "net.poller",
        "net.sink",
        "net.tasks",
        "wire",
        "muxers",
        "net.services",
    },
    "rtmpd.control": {
        "errors",
        "address",
        "config",
        "logs",
        "live",
        "media",
        "net",
        "session.events",
        "session.limits",
        "session.paths",
        "session.urls",
        "store",
        "workers",
        "muxers",
    },
    "rtmpd.web": {
        "errors",
        "address",
        "config",
        "logs",
        "live",
        "media",
        "net.fanout",
        "net.http_player",
        "net.policy",
        "net.report",
        "net.services",
        "net.sink",
        "session.events",
        "control",
        "workers.packaging",
        "workers.thumbnails",
        "muxers.live_playlist",
    },
    "muxers": {"errors", "wire", "media"},
}
"""By folder, what it may import besides itself; names are below rtmpd, but for muxers."""

LEAVES = {
    "rtmpd.errors": set(),
    "rtmpd.address": set(),
    "rtmpd.logs": set(),
    "rtmpd.config_words": set(),
    "rtmpd.config_types": {"address", "config_words"},
    "rtmpd.config_limits": {"config_types", "config_words"},
    "rtmpd.config_listening": {"address", "config_types"},
    "rtmpd.config": {"address", "config_limits", "config_listening", "config_types", "config_words"},
    "rtmpd.config_file": {"errors", "config", "config_types", "config_words"},
    "rtmpd.ctl": {"ctl_client", "ctl_command"},
    "rtmpd.ctl_client": set(),
    "rtmpd.ctl_command": {"config_file", "ctl_client", "ctl_tables", "errors", "logs", "web.control_socket"},
    "rtmpd.ctl_tables": {"logs"},
    "rtmpd.demo": {"logs"},
    "rtmpd.repairs": {"logs", "muxers"},
    "rtmpd.start": {"errors", "config"},
    "rtmpd.showing": {"logs", "config", "control"},
    "rtmpd.callback_receiver": {"errors", "logs"},
}
"""Modules beside the folders that may import little; `server`, `cli` and `__main__` put all together."""

PURE = ("rtmpd.wire", "rtmpd.media", "rtmpd.session", "rtmpd.live")
UNKNOWN_TO_THE_PURE = {
    "asyncio",
    "logging",
    "multiprocessing",
    "os",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
}

THIRD_PARTIES = {
    "rtmpd.media": {"bitstring"},
    "rtmpd.cli": {"typer"},
    "rtmpd.config": {"pydantic"},
    "rtmpd.control": {"aiohttp", "pydantic"},
    "rtmpd.control.metrics": {"prometheus_client"},
    "rtmpd.net.http_flv": {"aiohttp"},
    "rtmpd.net.http_reasons": {"aiohttp"},
    "rtmpd.web": {"aiohttp", "pydantic"},
    "rtmpd.config_file": {"pydantic"},
    "rtmpd.config_limits": {"pydantic"},
    "rtmpd.config_listening": {"pydantic"},
    "rtmpd.config_types": {"pydantic"},
    "rtmpd.config_words": {"pydantic"},
    "rtmpd.ctl": {"typer"},
    "rtmpd.ctl_command": {"typer"},
    "rtmpd.ctl_tables": {"rich"},
    "rtmpd.logs": {"structlog"},
    "rtmpd.demo": {"av"},
    "rtmpd.repairs": {"rich", "typer"},
    "rtmpd.control.callback_client": {"aiohttp"},
    "rtmpd.callback_receiver": {"aiohttp"},
    "muxers.__main__": {"rich", "typer"},
    "muxers._pyav": {"av"},
    "muxers.picture": {"av"},
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for folder in ("rtmpd", "muxers") for path in sorted((ROOT / folder).rglob("*.py"))}


def is_within(name, folder):
    return name == folder or name.startswith(f"{folder}.")


def imports_of(module):
    """Every import, wherever it stands, as absolute names; `from a import b` is a.b where that is a module, else a."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -node.level + 1 or None] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names)


def own_imports(module):
    return {name for name in imports_of(module) if name.split(".")[0] in {"rtmpd", "muxers"}}


def allowed_prefixes(names):
    return {name if is_within(name, "muxers") else f"rtmpd.{name}" for name in names}


def folder_of(module):
    return next((folder for folder in MAY_IMPORT if is_within(module, folder)), None)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_folder_may(module):
    folder = folder_of(module)
    allowed = MAY_IMPORT[folder] if folder else LEAVES.get(module)
    if allowed is None:
        assert module in {"rtmpd", "rtmpd.server", "rtmpd.cli", "rtmpd.__main__"}, "a new module beside the folders"
        return

    prefixes = allowed_prefixes(allowed) | {folder or module}
    outside = {name for name in own_imports(module) if not any(is_within(name, prefix) for prefix in prefixes)}

    assert not outside


@pytest.mark.parametrize("module", [module for module in MODULES if folder_of(module) in PURE])
def test_the_core_knows_no_socket_no_clock_no_randomness_and_no_logger(module):
    assert not {name.split(".")[0] for name in imports_of(module)} & UNKNOWN_TO_THE_PURE


@pytest.mark.parametrize("module", MODULES)
def test_a_library_is_imported_only_where_it_has_its_place(module):
    allowed = {name for place, names in THIRD_PARTIES.items() if is_within(module, place) for name in names}
    foreign = {name.split(".")[0] for name in imports_of(module)} - sys.stdlib_module_names - {"rtmpd", "muxers"}

    assert foreign <= allowed


@pytest.mark.parametrize("name", [*MAY_IMPORT, *LEAVES, *THIRD_PARTIES])
def test_what_the_tables_name_exists(name):
    assert name in MODULES


def test_architecture_shows_the_same_table():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| `([\w/]+)/` \|[^|]*\| ([^|]*) \|$", text, re.MULTILINE)

    assert {folder.replace("/", "."): set(names.split(", ")) for folder, names in rows} == MAY_IMPORT


def test_imports_are_found_in_every_form(tmp_path, monkeypatch):
    source = (
        "import os.path\nfrom rtmpd import wire\ndef f():\n    from .flv import X\n    from ..media import tags, Y\n"
    )
    (tmp_path / "m.py").write_text(source)
    monkeypatch.setitem(MODULES, "rtmpd.wire.m", tmp_path / "m.py")
    monkeypatch.setitem(MODULES, "rtmpd.media.tags", tmp_path / "tags.py")

    assert list(imports_of("rtmpd.wire.m")) == [
        "os.path",
        "rtmpd.wire",
        "rtmpd.wire.flv",
        "rtmpd.media.tags",
        "rtmpd.media",
    ]
