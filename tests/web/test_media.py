"""Who may have media over HTTP."""

import pytest
from aiohttp.test_utils import make_mocked_request

from rtmpd.control.rooms import Named, split
from rtmpd.errors import Refused
from rtmpd.net.policy import PlayGrant
from rtmpd.web.guard import Guard
from rtmpd.web.media import Media
from rtmpd.web.problems import Refusal
from tests.helpers.site import config_of

STREAM = Named("live", "cam")


class FakePolicy:
    def __init__(self, refused=None):
        self.refused = refused
        self.asked = []

    async def admit_player(self, request, address, client):
        self.asked.append((request.app, request.stream, request.query, client))
        if self.refused is not None:
            raise self.refused
        return PlayGrant(request.app, "renamed")


def media_of(tmp_path, policy, **http):
    config = config_of(tmp_path, http=http)
    return Media(Guard(config), policy, config)


async def test_who_comes_without_a_token_needs_what_playing_needs(tmp_path):
    policy = FakePolicy()

    grant = await media_of(tmp_path, policy).admit(make_mocked_request("GET", "/live/cam.flv?key=k%2B%26"), STREAM, 7)

    assert (grant, policy.asked) == (PlayGrant("live", "renamed"), [("live", "cam", "key=k%2B%26", 7)])


async def test_who_has_the_token_is_asked_nothing(tmp_path):
    policy = FakePolicy()
    request = make_mocked_request("GET", "/live/cam.flv", headers={"Authorization": "Bearer a-token"})

    grant = await media_of(tmp_path, policy, token="a-token").admit(request, STREAM, 7)

    assert (grant, policy.asked) == (PlayGrant("live", "cam"), [])


@pytest.mark.parametrize(
    ("code", "status"),
    [("NetStream.Play.StreamNotFound", 404), ("NetStream.Play.Failed", 403), ("NetStream.Play.Other", 403)],
)
async def test_a_refusal_says_why_and_can_be_read_by_the_page_that_asked(tmp_path, code, status):
    media = media_of(tmp_path, FakePolicy(Refused(code, "not for you")))

    with pytest.raises(Refusal, match="not for you") as caught:
        await media.admit(make_mocked_request("GET", "/live/cam.flv"), STREAM, 7)

    assert caught.value.status == status
    assert caught.value.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://a.example", True), ("https://b.example", False), (None, False)]
)
async def test_only_pages_of_the_sites_that_are_named_may_read_it(tmp_path, origin, allowed):
    media = media_of(tmp_path, FakePolicy(), media_origins=["https://a.example"])
    request = make_mocked_request("GET", "/live/cam.flv", headers={"Origin": origin} if origin else {})

    headers = media.headers(request)

    assert headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    assert headers["Vary"] == "Origin"


@pytest.mark.parametrize("path", ["live/\n", "live/..", "./cam", "live//cam", "live/\u202e", "live/\ufffd", "live/?"])
async def test_what_nobody_can_publish_is_not_looked_for(tmp_path, path):
    policy = FakePolicy()
    with pytest.raises(Refusal) as caught:
        await media_of(tmp_path, policy).admit(make_mocked_request("GET", "/x"), split(path), 7)

    assert (caught.value.status, policy.asked) == (404, [])
    assert caught.value.headers["Access-Control-Allow-Origin"] == "*"


async def test_the_query_is_passed_on_as_it_was_sent(tmp_path):
    policy = FakePolicy()
    await media_of(tmp_path, policy).admit(make_mocked_request("GET", "/live/cam.flv?key=a%26b%2525"), STREAM, 7)

    assert policy.asked[0][2] == "key=a%26b%2525"


@pytest.mark.parametrize(
    ("origins", "origin", "may"),
    [
        (["*"], "https://b.example", True),
        (["https://a.example"], "https://a.example", True),
        (["https://a.example"], "https://b.example", False),
        (["https://a.example"], "http://localhost:8080", True),
        (["https://a.example"], None, True),
    ],
)
async def test_a_websocket_is_for_pages_that_may_show_media(tmp_path, origins, origin, may):
    media = media_of(tmp_path, FakePolicy(), media_origins=origins)
    headers = {"Host": "localhost:8080"} | ({"Origin": origin} if origin else {})
    request = make_mocked_request("GET", "/live/cam.flv", headers=headers)
    if may:
        media.check_websocket(request)
        return
    with pytest.raises(Refusal) as caught:
        media.check_websocket(request)
    assert caught.value.status == 403


async def test_a_preflight_tells_what_may_be_asked(tmp_path):
    answer = media_of(tmp_path, FakePolicy()).preflight(make_mocked_request("OPTIONS", "/live/cam.flv"))

    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert "Authorization" not in answer.headers["Access-Control-Allow-Headers"]
