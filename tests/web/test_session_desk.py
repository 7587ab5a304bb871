"""Sessions over HTTP: how they are opened, what they open, and what no foreign page can do with them."""

from __future__ import annotations

import http.cookies
import ssl

import aiohttp
import pytest

from rtmpd.web.guesses import WRONG_TOKENS, Guesses
from rtmpd.web.sessions import COOKIE
from tests.helpers.elsewhere import HEADER, let_requests_say_where_they_come_from
from tests.helpers.live_site import LiveSite
from tests.helpers.site import config_of

TOKEN = "a-token"
STREAMS = "/api/v1/streams"
HTTP = {"token": [TOKEN]}


async def ask(site, method, path, json=None, cookie=None, *, secure=False, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if cookie is not None:
        headers["Cookie"] = f"{COOKIE}={cookie}"
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.request(method, site.url(path, secure=secure), json=json, headers=headers, ssl=site.trust) as response,
    ):
        response.body = await response.read()
        return response


def here(number):
    """One of the addresses of a host."""
    return {HEADER: f"2001:db8::{number:x}"}


async def open_session(site, json=None, **options):
    """Open one; returns the cookie as it was set."""
    answer = await ask(site, "POST", "/session", {"token": TOKEN} if json is None else json, **options)
    assert answer.status == 204
    return http.cookies.SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]


@pytest.mark.parametrize("secure", [False, True])
async def test_a_cookie_takes_the_place_of_the_token(tmp_path, secure):
    async with LiveSite(tmp_path, http=HTTP) as site:
        assert (await ask(site, "GET", STREAMS)).status == 401
        cookie = await open_session(site, secure=secure)

        assert (await ask(site, "GET", STREAMS, cookie=cookie.value)).status == 200
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
        assert bool(cookie["secure"]) == secure
        assert (cookie["max-age"], cookie["expires"], cookie["domain"]) == ("", "", "")


async def test_a_cookie_is_for_https_alone_where_a_proxy_speaks_that(tmp_path):
    async with LiveSite(tmp_path, http=HTTP) as site:
        site.site._guard.reload(config_of(tmp_path, http=HTTP, urls={"http": "https://live.example"}))
        cookie = await open_session(site, Host="live.example", Origin="https://live.example")

    assert cookie["secure"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"token": "wrong"}, 401),
        ({"token": ""}, 401),
        ({}, 401),
        ({"token": None}, 401),
        ({"token": 5}, 422),
        ({"tokens": TOKEN}, 422),
        ([], 422),
        ({"token": "x" * 5000}, 413),
    ],
)
async def test_without_the_right_token_no_session_is_opened(tmp_path, body, status):
    async with LiveSite(tmp_path, http=HTTP) as site:
        answer = await ask(site, "POST", "/session", body)

        assert answer.status == status
        assert "Set-Cookie" not in answer.headers
        assert TOKEN.encode() not in answer.body
        assert len(site.site._guard.sessions) == 0


async def test_what_a_form_of_a_foreign_page_can_post_opens_nothing(tmp_path):
    async with LiveSite(tmp_path) as site, site.session.post(site.url("/session"), data=b"{}") as answer:
        assert answer.status == 415


async def test_wrong_tokens_are_counted_and_further_ones_not_looked_at(tmp_path):
    async with LiveSite(tmp_path, http=HTTP) as site:
        site.site._guard.guesses = Guesses(lambda: 0.0)
        cookie = await open_session(site)
        statuses = [(await ask(site, "POST", "/session", {"token": "wrong"})).status for _ in range(WRONG_TOKENS + 1)]
        answer = await ask(site, "POST", "/session", {"token": TOKEN})

        assert statuses == [401] * WRONG_TOKENS + [429]
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        # Who has the token in a header, or a session, is not held up by those who guess behind the same proxy.
        assert (await ask(site, "GET", STREAMS, Authorization=f"Bearer {TOKEN}")).status == 200
        assert (await ask(site, "GET", STREAMS, cookie=cookie.value)).status == 200


async def test_guesses_by_header_and_by_session_are_counted_together_for_each_host(tmp_path, monkeypatch):
    let_requests_say_where_they_come_from(monkeypatch)
    async with LiveSite(tmp_path, http=HTTP) as site:
        site.site._guard.guesses = Guesses(lambda: 0.0)
        for each in range(WRONG_TOKENS):
            wrong = {"json": {"token": "wrong"}} if each % 2 else {"Authorization": "Bearer wrong"}
            answer = await ask(site, *(("POST", "/session") if each % 2 else ("GET", STREAMS)), **wrong, **here(each))
            assert answer.status == 401

        right = {"Authorization": f"Bearer {TOKEN}"}
        for path in (STREAMS, "/api/v1/events", "/metrics"):
            answer = await ask(site, "GET", path, **right, **here(99))
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert (await ask(site, "POST", "/session", {"token": TOKEN}, **here(99))).status == 429
        assert b'"is_open":false' in (await ask(site, "GET", "/session", **right, **here(99))).body
        elsewhere = {HEADER: "2001:db8:0:1::1"}
        assert (await ask(site, "GET", STREAMS, **right, **elsewhere)).status == 200
        assert (await ask(site, "POST", "/session", {"token": TOKEN}, **elsewhere)).status == 204


async def test_where_no_token_is_needed_anybody_of_this_machine_opens_one(tmp_path):
    async with LiveSite(tmp_path) as site:
        cookie = await open_session(site, {})

        assert (await ask(site, "GET", "/session", cookie=cookie.value)).body == b'{"needs_token":false,"is_open":true}'
        assert (await ask(site, "GET", "/session")).body == b'{"needs_token":false,"is_open":false}'


async def test_a_page_sees_whether_it_has_to_ask_for_the_token(tmp_path):
    async with LiveSite(tmp_path, http=HTTP) as site:
        cookie = await open_session(site)
        answers = [await ask(site, "GET", "/session", cookie=each) for each in (None, "zork", cookie.value)]

    assert [each.body for each in answers] == [
        b'{"needs_token":true,"is_open":false}',
        b'{"needs_token":true,"is_open":false}',
        b'{"needs_token":true,"is_open":true}',
    ]


async def test_a_session_that_was_closed_opens_nothing(tmp_path):
    async with LiveSite(tmp_path, http=HTTP) as site:
        cookie = await open_session(site)
        answer = await ask(site, "DELETE", "/session", cookie=cookie.value)
        gone = http.cookies.SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]

        assert (answer.status, gone.value, gone["max-age"]) == (204, "", "0")
        assert (await ask(site, "GET", STREAMS, cookie=cookie.value)).status == 401
        assert (await ask(site, "DELETE", "/session")).status == 204


async def test_a_session_ends_when_the_tokens_change_and_not_by_another_reload(tmp_path):
    async with LiveSite(tmp_path, http=HTTP) as site:
        cookie = await open_session(site)
        site.site.reload(config_of(tmp_path, http={**HTTP, "event_streams": 3}))
        assert (await ask(site, "GET", STREAMS, cookie=cookie.value)).status == 200
        site.site.reload(config_of(tmp_path, http={"token": "another"}))
        assert (await ask(site, "GET", STREAMS, cookie=cookie.value)).status == 401


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "same-site"}])
async def test_pages_of_other_sites_and_ports_neither_open_nor_close_nor_use_a_session(tmp_path, method, headers):
    async with LiveSite(tmp_path, http=HTTP) as site:
        cookie = await open_session(site)
        body = {"token": TOKEN} if method == "POST" else None
        answers = [
            await ask(site, method, "/session", body, cookie.value, **headers),
            await ask(site, "GET", STREAMS, None, cookie.value, **headers),
            await ask(site, "POST", "/api/v1/reload", None, cookie.value, **headers),
        ]

        assert [each.status for each in answers] == [403] * 3
        assert len(site.site._guard.sessions) == 1


async def test_a_name_that_was_made_to_point_here_opens_nothing(tmp_path):
    async with LiveSite(tmp_path) as site:
        answer = await ask(site, "POST", "/session", {}, Host="evil.example")

    assert answer.status == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"Sec_Fetch_Site": "same-origin"}, 404),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
    ],
)
async def test_a_session_shows_protected_streams_to_pages_of_this_server_alone(tmp_path, headers, status):
    async with LiveSite(tmp_path, http=HTTP, wait_s=0) as site:
        site.rig.policy.refuse = ("NetStream.Play.Failed", "wrong play key")
        cookie = await open_session(site)
        answer = await ask(site, "GET", "/live/s.flv", None, cookie.value, **headers)

        assert answer.status == status  # 404: it was let through to a stream that nobody publishes
        assert (await ask(site, "GET", "/live/s.flv")).status == 403


async def test_the_certificate_of_the_test_is_checked(tmp_path):
    async with LiveSite(tmp_path) as site, aiohttp.ClientSession() as stranger:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await stranger.get(site.url("/session", secure=True))
