"""Whatever goes wrong is answered with a problem document (RFC 9457); only our own bugs reach the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rtmpd.control.models import Problem
from rtmpd.errors import NotPossible, RtmpdError
from rtmpd.logs import Logger

CONTENT_TYPE = "application/problem+json"
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "rtmpd"}
"""Of every answer: the state of a server is nothing to keep, what is in it is never a page, and versions tell attackers."""
STATUS_OF: Mapping[str, HTTPStatus] = MappingProxyType(
    {
        "unknown": HTTPStatus.NOT_FOUND,
        "conflict": HTTPStatus.CONFLICT,
        "invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
        "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    }
)
"""By the kind of NotPossible."""
_NO_SUCH_PATH = (
    "there is no such path; streams are at /APP/STREAM.m3u8, .mp4, .flv and .jpg, and /api/v1/openapi.json has the rest"
)


class Refusal(RtmpdError):
    """A request that gets a problem document for an answer."""

    def __init__(
        self, status: HTTPStatus, detail: str, errors: Sequence[str] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        """
        Say what is wrong with it.

        Args:
            status: 4xx or 503.
            detail: one line for the caller.
            errors: each fault in a line, where there are several.
            headers: that the status demands.
        """
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    def response(self) -> web.Response:
        """The answer; after a body that was not read the connection ends."""
        problem = Problem(title=self.status.phrase, status=self.status, detail=self.detail, errors=list(self.errors))
        body = problem.model_dump_json().encode()
        response = web.Response(
            body=body, status=self.status, content_type=CONTENT_TYPE, headers={**HEADERS, **self.headers}
        )
        if self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            response.force_close()
        return response


def answering(log: Logger) -> Middleware:
    """
    Make the outermost middleware.

    Args:
        log: gets our own bugs.

    Returns:
        The middleware, which turns every exception into a problem document.
    """

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as refusal:
            return refusal.response()
        except NotPossible as error:
            return Refusal(STATUS_OF[error.kind], error.detail, error.faults).response()
        except web.HTTPException as error:
            # It hangs on the request, and its frames do, too: a circle that would wait for the collector.
            return _of_the_router(request, error.with_traceback(None)).response()
        except ConnectionError:  # the client has gone; aiohttp knows what to do
            raise
        except Exception:
            log.exception("internal error", method=request.method, path=request.path)
            return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the server; its log says more").response()

    return answer


def _of_the_router(request: web.Request, error: web.HTTPException) -> Refusal:
    """What aiohttp itself refuses: a path that is not there, a method that it does not have."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Refusal(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"{request.method} is not possible here; possible: {allowed}",
            headers={"Allow": allowed},
        )
    if isinstance(error, web.HTTPNotFound):
        return Refusal(HTTPStatus.NOT_FOUND, _NO_SUCH_PATH)
    return Refusal(HTTPStatus(error.status), error.reason)
