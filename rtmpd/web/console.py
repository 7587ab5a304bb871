"""
The console: a page at / and what it loads, as files from memory.

The files hold nothing of the server, so that nobody needs a token for them and a link from another site may lead here; the
page asks the API, which is guarded. A policy keeps the page to scripts, styles, media and connections of this server.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web
from aiohttp.typedefs import Handler

from rtmpd.web.problems import HEADERS

FILES = importlib.resources.files("rtmpd.web") / "console"
PAGE = "index.html"
TYPES: Mapping[str, str] = MappingProxyType(
    {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
)
"""Content types by how names end; no other file is served."""
_RULES = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob:",
    "media-src 'self' blob:",
    "connect-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    # What a publisher calls its stream can then not become markup, whatever a later change of a script does.
    "require-trusted-types-for 'script'",
)
SECURITY_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": "; ".join(_RULES),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        "Referrer-Policy": "no-referrer",
    }
)


class Console:
    """Answers requests for the page and its files; `Outputs` of a site."""

    def __init__(self) -> None:
        """Read the files, once."""
        self._files = {each.name: each.read_bytes() for each in FILES.iterdir() if _ending(each.name) in TYPES}

    def routes(self) -> list[web.RouteDef]:
        """A route for each file, and no pattern: below /console/ there may be streams as well."""
        named = [("/" if name == PAGE else f"/console/{name}", name) for name in sorted(self._files)]
        return [web.get(path, _answering(self._files[name], TYPES[_ending(name)])) for path, name in named]


def _answering(body: bytes, content_type: str) -> Handler:
    tag = hashlib.sha256(body).hexdigest()[:32]
    headers = {**HEADERS, **SECURITY_HEADERS, "Cache-Control": "no-cache", "ETag": f'"{tag}"'}

    async def answer(request: web.Request) -> web.StreamResponse:
        if any(each.value in {tag, "*"} for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

    return answer


def _ending(name: str) -> str:
    return name.rpartition(".")[2]
