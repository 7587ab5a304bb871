"""
`rtmpd callbacks listen`: a receiver for trying out what a server sends, and a pattern for those who write their own.

It checks what a receiver should check, with code of its own: the sender's would agree with itself. Whatever it finds, it
answers 200 and says what it found; a receiver that refuses a callback has it sent again and again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from aiohttp import web

from rtmpd.errors import StartError
from rtmpd.logs import escaped

KNOWN_EVENTS = 10_000
"""Event ids that are remembered, to name those that come again."""
BODY_BYTES = 1024 * 1024

_FIELDS = {
    1: ("push started", ("user_ip", "width", "height", "sequence")),
    0: ("push ended", ("push_duration", "errcode", "errmsg", "sequence")),
    100: ("new file", ("file_format", "duration", "file_size", "path", "video_url", "task_id")),
    332: ("recording", ("record_event", "record_detail", "task_id")),
    321: ("push abnormal", ("abnormal_event",)),
    1001: ("relay", ("relay_event", "target_id", "url", "reason")),
    341: ("recording abnormal", ("file_format", "exception_level", "exception")),
}
"""By event type: what it is called, and which fields are worth a place in its line."""
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not listened on


class Answer(NamedTuple):
    """What a request is answered."""

    status: int
    body: dict[str, Any]


class CallbackReceiver:
    """Takes callbacks, and says what they are and what is wrong with them."""

    def __init__(
        self,
        say: Callable[[str], None],
        remark: Callable[[str], None],
        *,
        key: str = "",
        fail: int = 0,
        as_json: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Start with no callbacks.

        Args:
            say: is given a line for each callback.
            remark: is given what is wrong with it, where lines are for programs.
            key: shared with the sender; empty: signatures are not checked.
            fail: how many requests to answer with 500 first.
            as_json: lines are the bodies, as JSON.
            clock: unix seconds.
        """
        self._say = say
        self._remark = remark
        self._key = key
        self._fail = fail
        self._as_json = as_json
        self._clock = clock
        self._known: OrderedDict[str, bool] = OrderedDict()
        """By event id, whether it was answered 200 before."""

    def take(self, headers: Mapping[str, str], data: bytes) -> Answer:
        """
        Take a request.

        Args:
            headers: of the request; names in any case.
            data: its body.

        Returns:
            What to answer.
        """
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            self._remark("not a callback: the body is not a JSON object")
            return Answer(400, {"code": 1, "message": "a JSON object is expected"})
        failing = self._fail > 0
        self._fail -= failing
        remarks = [*self._faults(headers, data, body), *self._repetition(str(body.get("event_id")), taken=not failing)]
        if failing:
            remarks.append("answered 500, as asked by --fail")
        self._tell(body, remarks)
        return Answer(500, {"code": 1, "message": "as asked by --fail"}) if failing else Answer(200, {"code": 0})

    def _tell(self, body: dict[str, Any], remarks: list[str]) -> None:
        if self._as_json:
            self._say(json.dumps(body))
            for each in remarks:
                self._remark(f"{escaped(str(body.get('event_id')))}: {each}")
        else:
            stamp = time.strftime("%H:%M:%S", time.localtime(self._clock()))
            self._say("  ".join([stamp, line_of(body), *(f"[{each}]" for each in remarks)]))

    def _repetition(self, event_id: str, *, taken: bool) -> Iterator[str]:
        known = self._known.pop(event_id, None)
        self._known[event_id] = taken or known is True
        if len(self._known) > KNOWN_EVENTS:
            self._known.popitem(last=False)
        if known is not None:
            yield "a duplicate: this event_id was taken before" if known else "sent again"

    def _faults(self, headers: Mapping[str, str], data: bytes, body: dict[str, Any]) -> Iterator[str]:
        if not self._key:
            return
        expires = body.get("t")
        sign = hashlib.md5(f"{self._key}{expires}".encode(), usedforsecurity=False).hexdigest()
        yield from _difference("sign", body.get("sign"), sign)
        whole = hmac.new(self._key.encode(), data, hashlib.sha256).hexdigest()
        given = {name.lower(): value for name, value in headers.items()}
        yield from _difference("X-Rtmpd-Signature", given.get("x-rtmpd-signature"), f"sha256={whole}")
        if not isinstance(expires, int) or expires < self._clock():
            yield f"t is {escaped(str(expires))}: expired"


def _difference(name: str, given: object, expected: str) -> Iterator[str]:
    if given is None:
        yield f"{name} is missing"
    elif not hmac.compare_digest(str(given).encode("utf-8", "surrogatepass"), expected.encode()):
        yield f"{name} is wrong: another key, or changed on the way"


def line_of(body: dict[str, Any]) -> str:
    """
    Make a line for people.

    Args:
        body: of a callback.

    Returns:
        What it is, of which stream, and its important fields; safe to print.
    """
    kind = body.get("event_type")
    name, fields = _FIELDS.get(kind, (f"event {kind}", ())) if isinstance(kind, int) else (f"event {kind}", ())
    stream = f"{body.get('appname', '?')}/{body.get('stream_id', '?')}"
    values = (f"{each}={_shown(body[each])}" for each in fields if _is_something(body.get(each)))
    return "  ".join([escaped(name), escaped(stream), *values])


def _is_something(value: object) -> bool:
    return value is not None and value != ""


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return escaped(text if text and " " not in text else json.dumps(text, ensure_ascii=False))


def listen(host: str, port: int, *, key: str = "", fail: int = 0, as_json: bool = False) -> None:
    """
    Receive callbacks and print them until SIGINT or SIGTERM, or until nobody reads the output any more.

    Args:
        host: to listen on; empty for every interface.
        port: 0 lets the system choose.
        key: shared with the sender; empty: signatures are not checked.
        fail: how many requests to answer with 500 first.
        as_json: print bodies as JSON, and what is wrong on standard error.

    Raises:
        StartError: the address cannot be listened on.
    """
    asyncio.run(_listen(host, port, key=key, fail=fail, as_json=as_json))


async def _listen(host: str, port: int, *, key: str, fail: int, as_json: bool) -> None:
    ended = asyncio.Event()

    def say(line: str) -> None:
        try:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        except OSError:
            ended.set()

    receiver = CallbackReceiver(say, _remark if as_json else say, key=key, fail=fail, as_json=as_json)
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(_application(receiver), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, host or None, port).start()
        except OSError as error:
            raise StartError(f"cannot listen on {host or '*'}:{port}: {error.strerror}") from error
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        _introduce(_url(host, runner.addresses[0][1]), key)
        await ended.wait()


def _application(receiver: CallbackReceiver) -> web.Application:
    async def take(request: web.Request) -> web.Response:
        status, body = receiver.take(request.headers, await request.read())
        return web.json_response(body, status=status)

    application = web.Application(client_max_size=BODY_BYTES)
    application.router.add_post("/{path:.*}", take)
    return application


def _url(host: str, port: int) -> str:
    reachable = _EVERYWHERE.get(host, host)
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}/"


def _introduce(url: str, key: str) -> None:
    lines = ["[callbacks]", f'urls = ["{url}"]', *([f"key = {json.dumps(key)}"] if key else [])]
    _remark("Waiting for callbacks. The server's configuration needs:\n")
    _remark("\n".join(f"    {line}" for line in lines))
    _remark("")


def _remark(line: str) -> None:
    sys.stderr.write(f"{line}\n")
