"""Who gets in over TCP, and that the control socket asks nobody."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from rtmpd.web.guard import Guard
from rtmpd.web.guesses import WRONG_TOKENS, Guesses
from rtmpd.web.problems import Refusal
from rtmpd.web.sessions import COOKIE
from tests.helpers.site import TOKEN, RunningSite, config_of

STREAMS = "/api/v1/streams"
TWO_TOKENS = {"http": {"token": [TOKEN, "another"]}}


@pytest.fixture
def site(tmp_path):
    with RunningSite(tmp_path) as site:
        yield site


@pytest.fixture
def closed(tmp_path):
    """A site that wants a token."""
    with RunningSite(tmp_path, **TWO_TOKENS) as site:
        yield site


def status(site, method="GET", path=STREAMS, **headers):
    return site.ask(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}).status


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost", "localhost.", "127.0.0.1", "[::1]", "localhost:9", "127.0.0.1:80", "[::1]:8080"]
)
def test_without_a_token_the_names_of_this_machine_are_served(site, host):
    assert status(site, Host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "127.0.0.2",
        "",
        "[",
        "a b",
    ],
)
@pytest.mark.parametrize("path", [STREAMS, "/api/v1/events", "/healthz", "/zork"])
def test_without_a_token_a_foreign_host_is_refused(site, host, path):
    answer = site.ask("GET", path, headers={"Host": host})

    assert answer.status == 421
    assert "urls.http" in answer.json["detail"]
    assert site.operations.asked == []


def test_the_names_of_the_configuration_are_served_too(tmp_path):
    with RunningSite(tmp_path, urls={"http": "https://live.example:444/x"}, http={"listen": "127.0.0.3:0"}) as site:
        assert status(site, Host="live.example") == 200
        assert status(site, Host="127.0.0.3:80") == 200
        assert status(site, Host="evil.example") == 421
        assert status(site, Host="127.0.0.1", Origin="https://live.example:444") == 200


def test_the_name_that_https_is_accepted_on_is_served_too(tmp_path):
    (tmp_path / "both.pem").touch()
    pair = {"cert": str(tmp_path / "both.pem"), "key": str(tmp_path / "both.pem")}
    with RunningSite(tmp_path, https={"listen": "127.0.0.4:0", **pair}) as site:
        assert status(site, Host="127.0.0.4:8443") == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:8080", 200),
        ("http://localhost:8080", 200),
        ("http://localhost:3000", 403),
        ("http://127.0.0.1", 403),
        ("http://evil.example", 403),
        ("http://evil.example:8080", 403),
        ("http://localhost:8080.evil.example", 403),
        ("http://localhost:8080@evil.example", 403),
        ("null", 403),
        ("", 403),
        ("zork", 403),
        ("http://localhost:zork", 403),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", STREAMS), ("POST", "/api/v1/reload"), ("DELETE", "/api/v1/clients/7")]
)
def test_a_foreign_origin_is_refused_whatever_it_asks(site, origin, expected, method, path):
    assert status(site, method, path, Host="127.0.0.1:8080", Origin=origin) == expected
    assert len(site.operations.asked) == (expected == 200)


@pytest.mark.parametrize(
    ("value", "expected"), [("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403), ("zork", 403)]
)
def test_what_a_browser_says_to_come_from_elsewhere_is_refused(site, value, expected):
    assert status(site, Sec_Fetch_Site=value) == expected


@pytest.mark.parametrize("token", [TOKEN, "another"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Bearer "])
def test_with_a_token_every_host_is_served(closed, token, scheme):
    assert status(closed, Host="any.example", Authorization=f"{scheme} {token}") == 200
    assert status(closed, Host="any.example", Origin="http://any.example", Authorization=f"{scheme} {token}") == 200
    assert status(closed, Host="any.example", Origin="http://evil.example", Authorization=f"{scheme} {token}") == 403


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        (None, 'Bearer realm="rtmpd"'),
        ("", 'Bearer realm="rtmpd"'),
        (TOKEN, 'Bearer realm="rtmpd"'),
        (f"Basic {TOKEN}", 'Bearer realm="rtmpd"'),
        ("Bearer", 'Bearer realm="rtmpd", error="invalid_token"'),
        ("Bearer zork", 'Bearer realm="rtmpd", error="invalid_token"'),
        (f"Bearer {TOKEN}x", 'Bearer realm="rtmpd", error="invalid_token"'),
        (f"Bearer {TOKEN[:-1]}", 'Bearer realm="rtmpd", error="invalid_token"'),
        (b"Bearer \xff\xc3", 'Bearer realm="rtmpd", error="invalid_token"'),
    ],
)
@pytest.mark.parametrize("path", [STREAMS, "/api/v1/openapi.json", "/api/v1/events", "/zork"])
def test_without_the_right_token_nothing_is_told(closed, authorization, challenge, path):
    answer = closed.ask("GET", path, headers={} if authorization is None else {"Authorization": authorization})

    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, challenge)
    assert TOKEN.encode() not in answer.body
    assert closed.operations.asked == []


def test_health_needs_no_token(closed):
    assert status(closed, path="/healthz") == 200


def test_a_body_is_not_read_before_the_token(closed):
    answer = closed.ask("POST", "/api/v1/pushes", b"zork", headers={"Content-Type": "text/plain"})

    assert answer.status == 401


@pytest.mark.parametrize(
    "headers", [{}, {"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_the_control_socket_needs_nothing(closed, headers):
    assert closed.ask("GET", STREAMS, surface="unix", headers=headers).status == 200


def test_tokens_can_be_rolled_without_a_restart(closed, tmp_path):
    with RunningSite(tmp_path / "other", http={"token": "new"}) as other:
        config = other.config
    closed.loop.call_soon_threadsafe(closed.site.reload, config)

    assert status(closed, Authorization="Bearer new") == 200
    assert status(closed, Authorization=f"Bearer {TOKEN}") == 401


@pytest.fixture
def guard(tmp_path):
    """One that counts guesses and knows no time, so that each of them is of the last second."""
    guard = Guard(config_of(tmp_path, **TWO_TOKENS))
    guard.guesses = Guesses(lambda: 0.0)
    return guard


def check(guard, authorization, address, **headers):
    """Ask from an address; returns the status of the refusal, or 200."""
    request = make_mocked_request("GET", STREAMS, {"Authorization": authorization, **headers}).clone(remote=address)
    try:
        guard.check(request)
    except Refusal as refusal:
        return refusal.status
    return 200


def guess(guard, address):
    """Guess once more than is looked at; returns the statuses."""
    return [check(guard, f"Bearer guess{number}", address) for number in range(WRONG_TOKENS + 1)]


def test_with_too_many_wrong_tokens_no_further_one_is_looked_at(guard, monkeypatch):
    assert guess(guard, "192.0.2.1") == [401] * WRONG_TOKENS + [429]

    monkeypatch.setattr(guard, "is_token", lambda _: pytest.fail("it was looked at"))
    assert check(guard, f"Bearer {TOKEN}", "192.0.2.1") == 429


def test_the_right_token_is_let_in_from_everywhere_else(guard):
    guess(guard, "2001:db8::1")

    assert check(guard, f"Bearer {TOKEN}", "2001:db8::2") == 429
    for address in ("2001:db8:0:1::1", "192.0.2.1", "127.0.0.1"):
        assert check(guard, f"Bearer {TOKEN}", address) == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_who_guesses_through_a_proxy_of_this_machine_shuts_nobody_out(guard, address):
    assert guess(guard, address) == [401] * (WRONG_TOKENS + 1)
    assert check(guard, f"Bearer {TOKEN}", address) == 200
    assert not guard.guesses.are_too_many(address)


def test_what_shows_no_token_is_no_guess_and_a_session_is_not_held_up(guard):
    for _ in range(2 * WRONG_TOKENS):
        assert check(guard, "Basic zork", "192.0.2.1") == 401
    guess(guard, "192.0.2.1")

    cookie = f"{COOKIE}={guard.sessions.open()}"
    assert check(guard, f"Bearer {TOKEN}", "192.0.2.1", Cookie=cookie) == 200
    assert check(guard, "Basic zork", "192.0.2.1") == 401


def test_media_do_not_tell_who_guesses_more_than_the_api_does(guard):
    def has_token(token):
        headers = {"Authorization": f"Bearer {token}"}
        return guard.has_token(make_mocked_request("GET", "/live/s.flv", headers).clone(remote="192.0.2.1"))

    assert has_token(TOKEN)
    for number in range(WRONG_TOKENS):
        assert not has_token(f"guess{number}")
    assert not has_token(TOKEN)
    assert check(guard, f"Bearer {TOKEN}", "192.0.2.1") == 429


class OneFile:
    """Media that ask nobody."""

    def routes(self):
        return [web.get("/live/demo.flv", self.answer)]

    async def answer(self, _request):
        return web.Response(text="pictures")


@pytest.mark.parametrize(
    ("http", "host", "expected"),
    [
        ({"media_origins": ["https://a.example"]}, "evil.example:8080", 421),
        ({"media_origins": ["https://a.example"]}, "", 421),
        ({"media_origins": ["https://a.example"]}, "localhost:8080", 200),
        ({"media_origins": []}, "evil.example:8080", 421),
        ({"media_origins": ["*"]}, "evil.example:8080", 200),
        ({"media_origins": ["https://a.example"], "token": TOKEN}, "cdn.example", 200),
    ],
)
def test_media_that_not_all_pages_may_show_are_not_given_by_a_foreign_name(tmp_path, http, host, expected):
    with RunningSite(tmp_path, outputs=[OneFile()], http=http) as site:
        assert status(site, path="/live/demo.flv", Host=host) == expected
        assert site.ask("GET", "/live/demo.flv", surface="unix", headers={"Host": host}).status == 200


def test_which_pages_may_show_media_can_be_changed_without_a_restart(tmp_path):
    with RunningSite(tmp_path, outputs=[OneFile()]) as site:
        assert status(site, path="/live/demo.flv", Host="evil.example") == 200
        config = site.config.model_copy(
            update={"http": site.config.http.model_copy(update={"media_origins": ("https://a.example",)})}
        )
        site.loop.call_soon_threadsafe(site.site._guard.reload, config)

        assert status(site, path="/live/demo.flv", Host="evil.example") == 421
