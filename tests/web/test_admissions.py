"""Who was admitted lately is not asked about again, and nobody else profits from it."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from rtmpd.control.rooms import Named
from rtmpd.net.policy import PlayGrant
from rtmpd.web import admissions
from rtmpd.web.admissions import KEPT_S, Admissions
from rtmpd.web.problems import Refusal

STREAM = Named("live", "cam")


class FakeMedia:
    def __init__(self):
        self.asked = []
        self.refuses = self.opens = False

    def has_token(self, request):
        return "Authorization" in request.headers

    async def admit(self, request, stream, client):
        self.asked.append((request.rel_url.raw_query_string, stream, client))
        if self.refuses:
            raise Refusal(403, "not for you")
        return PlayGrant(stream.app, "shown")


class Door:
    def __init__(self):
        self.media = FakeMedia()
        self.now = 1000.0
        self.admissions = Admissions(self.media, lambda: self.now)

    async def ask(self, query="key=k", subject="f", **headers):
        request = make_mocked_request("GET", f"/recordings/x?{query}", headers=headers)
        return await self.admissions.admit(request, STREAM, subject)


@pytest.fixture
def door():
    return Door()


async def test_a_viewer_is_asked_about_once_as_long_as_he_goes_on(door):
    for _ in range(5):
        assert await door.ask() == Named("live", "shown")
        door.now += KEPT_S - 1
    assert len(door.media.asked) == 1

    door.now += 2
    await door.ask()
    assert len(door.media.asked) == 2
    assert len({client for *_, client in door.media.asked}) == 2


async def test_another_query_or_another_subject_is_another_question(door):
    await door.ask()
    await door.ask(query="key=other")
    await door.ask(query="")
    await door.ask(subject="g")
    assert len(door.media.asked) == 4


async def test_a_refusal_is_not_remembered(door):
    door.media.refuses = True
    with pytest.raises(Refusal):
        await door.ask()
    door.media.refuses = False
    await door.ask()
    assert len(door.media.asked) == 2


async def test_who_had_the_token_opens_nothing_for_who_has_not(door):
    assert await door.ask(Authorization="Bearer t") == STREAM
    assert door.media.asked == []
    door.media.refuses = True
    with pytest.raises(Refusal):
        await door.ask()


async def test_another_configuration_asks_again(door):
    await door.ask()
    door.admissions.clear()
    await door.ask()
    assert len(door.media.asked) == 2


async def test_a_bounded_number_is_remembered_the_newest_ones(door, monkeypatch):
    monkeypatch.setattr(admissions, "MOST", 3)
    for subject in "abcad":
        await door.ask(subject=subject)
    assert [viewer.subject for viewer in door.admissions._known] == ["c", "a", "d"]
