"""The body of a request: bounded, and JSON as RFC 8259 has it, before any model sees it."""

from __future__ import annotations

import asyncio
import json
import math
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import TransferEncodingError
from aiohttp.web_protocol import RequestPayloadError

from rtmpd.web.problems import Refusal

ARRIVES_S = 10.0
"""For a whole body to come."""
_TYPE = "application/json"
_LARGEST_WHOLE = 2**53
"""Up to here each whole number has a float of its own."""


class NotJson(ValueError):
    """Text that is no JSON, or JSON that means different things to different readers."""


async def read_body(request: web.Request, limit_bytes: int) -> bytes:
    """
    Read a body.

    Args:
        request: whose.
        limit_bytes: more is refused, as far as possible before it is read.

    Returns:
        The body; empty for none.

    Raises:
        Refusal: it is too large, encoded, broken, late or not JSON by its type.
    """
    if (request.content_length or 0) > limit_bytes:
        raise _too_large(limit_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(ARRIVES_S):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > limit_bytes:
                    raise _too_large(limit_bytes)
    except TimeoutError:
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, f"a body comes within {ARRIVES_S:g} seconds") from None
    except (RequestPayloadError, TransferEncodingError):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is not sent as its headers say") from None
    if body:
        _check_type(request)
    return bytes(body)


def _too_large(limit_bytes: int) -> Refusal:
    """Made where it is raised: a frame that keeps what it raises is a circle, and keeps the body until it is collected."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {limit_bytes} bytes (http.body_bytes)")


def _check_type(request: web.Request) -> None:
    """Only what a form of a foreign page cannot send without asking first."""
    charset = request.charset or "utf-8"
    if request.content_type != _TYPE or charset.lower() != "utf-8" or "Content-Encoding" in request.headers:
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"a body is {_TYPE} in UTF-8, and not compressed",
            headers={"Accept": _TYPE},
        )


def parse_json(body: bytes) -> Any:
    """
    Parse JSON strictly.

    Args:
        body: as it came.

    Returns:
        What it says.

    Raises:
        NotJson: it is none; also for NaN, a number that is too large, a key that is there twice, half of a surrogate pair
            and nesting without end.
    """
    try:
        value = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_number)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise NotJson("not UTF-8") from None
    except UnicodeEncodeError:
        raise NotJson("half of a surrogate pair in a text") from None
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except NotJson:
        raise
    except ValueError:  # more digits than Python converts
        raise NotJson("a number is too large") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise NotJson("a key is there twice")
    return value


def _no_constant(name: str) -> Any:
    raise NotJson(f"{name} is no number of JSON")


def _number(text: str) -> float:
    """JSON has one kind of number: 5.0 is as whole as 5."""
    value = float(text)
    if not math.isfinite(value):
        raise NotJson("a number is too large")
    return int(value) if value.is_integer() and abs(value) <= _LARGEST_WHOLE else value
