"""The page that Prometheus reads: who may have it, and how it is sent."""

from __future__ import annotations

import gzip

import pytest

from rtmpd.control.metrics.exposition import Exposition
from rtmpd.web.metrics import takes_gzip
from rtmpd.web.routes import ROUTES
from tests.helpers.site import TOKEN, RunningSite

TEXT = b"# HELP rtmpd_streams Streams.\nrtmpd_streams 1.0\n" * 100


class Scraped:
    """Measures, and remembers what it was asked."""

    def __init__(self):
        self.accepted = []

    async def __call__(self, accept):
        self.accepted.append(accept)
        return Exposition(TEXT, "text/plain; version=0.0.4; charset=utf-8")


@pytest.fixture
def scraped():
    return Scraped()


def test_it_is_sent_as_it_was_written_and_never_kept(tmp_path, scraped):
    with RunningSite(tmp_path, scrape=scraped) as site:
        answer = site.ask("GET", "/metrics", headers={"Accept": "text/plain;version=0.0.4"})

    assert (answer.status, answer.body) == (200, TEXT)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Content-Encoding" not in answer.headers
    assert scraped.accepted == ["text/plain;version=0.0.4"]


def test_it_is_compressed_for_who_takes_that(tmp_path, scraped):
    with RunningSite(tmp_path, scrape=scraped) as site:
        answer = site.ask("GET", "/metrics", headers={"Accept-Encoding": "gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.body) < len(TEXT)
    assert gzip.decompress(answer.body) == TEXT


def test_it_needs_the_token_as_the_api_does(tmp_path, scraped):
    with RunningSite(tmp_path, scrape=scraped, http={"token": TOKEN}) as site:
        refused = site.ask("GET", "/metrics")
        wrong = site.ask("GET", "/metrics", headers={"Authorization": "Bearer other"})
        granted = site.ask("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        over_the_socket = site.ask("GET", "/metrics", surface="unix")

    assert [each.status for each in (refused, wrong, granted, over_the_socket)] == [401, 401, 200, 200]
    assert len(scraped.accepted) == 2


def test_a_query_is_a_mistake(tmp_path, scraped):
    with RunningSite(tmp_path, scrape=scraped) as site:
        assert site.ask("GET", "/metrics?name=x").status == 422


def test_where_nothing_is_measured_there_is_no_page(tmp_path):
    with RunningSite(tmp_path, scrape=None) as site:
        assert site.ask("GET", "/metrics").status == 404


def test_it_is_at_the_path_that_prometheus_asks_for():
    assert [route.path for route in ROUTES if route.name == "metrics"] == ["/metrics"]


@pytest.mark.parametrize(
    ("accept_encoding", "takes"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip; q=1.000", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br, identity", False),
        ("x-gzip", False),
        ("", False),
    ],
)
def test_gzip_is_taken_where_it_is_named_with_a_weight(accept_encoding, takes):
    assert takes_gzip(accept_encoding) is takes
