"""The console's files: who gets them, what they may do, and that they hold nothing of others."""

from __future__ import annotations

import re

import pytest

from rtmpd.web.console import FILES, PAGE, TYPES
from tests.helpers.site import TOKEN, RunningSite

NAMES = sorted(each.name for each in FILES.iterdir())
PATHS = {name: "/" if name == PAGE else f"/console/{name}" for name in NAMES}
SCRIPTS = [name for name in NAMES if name.endswith(".js")]
MOST_LINES = 450
LONGEST_LINE = 120
"""As the house has it for Python, too: ruff does not read scripts."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with RunningSite(tmp_path_factory.mktemp("site"), http={"token": [TOKEN]}) as site:
        yield site


def text_of(name):
    return (FILES / name).read_text()


@pytest.mark.parametrize("kind", [0, 1, 100, 321, 332, 341, 1001])
def test_every_kind_of_callback_has_a_name(kind):
    assert re.search(rf'^  {kind}: "', text_of("lists.js"), re.MULTILINE)


def test_every_file_is_served_and_nothing_else_is_there():
    assert {name.rpartition(".")[2] for name in NAMES} == set(TYPES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_needs_no_token_though_the_api_does(site, name):
    answer = site.ask("GET", PATHS[name])

    assert (answer.status, answer.body) == (200, (FILES / name).read_bytes())
    assert answer.headers["Content-Type"] == f"{TYPES[name.rpartition('.')[2]]}; charset=utf-8"
    assert site.ask("GET", "/api/v1/streams").status == 401


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_keeps_the_page_to_this_server(site, name):
    headers = site.ask("GET", PATHS[name]).headers

    policy = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "media-src": "'self' blob:",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_a_link_from_another_site_leads_to_the_page(site):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Host": "console.example"}

    assert site.ask("GET", "/", headers=headers).status == 200


@pytest.mark.parametrize("given", ["{tag}", "W/{tag}", '"another", {tag}', "*"])
def test_a_file_that_a_browser_has_is_not_sent_again(site, given):
    first = site.ask("GET", "/console/console.js")

    again = site.ask("GET", "/console/console.js", headers={"If-None-Match": given.format(tag=first.headers["ETag"])})

    assert first.headers["Cache-Control"] == "no-cache"
    assert (again.status, again.body) == (304, b"")
    assert again.headers["Content-Security-Policy"] == first.headers["Content-Security-Policy"]


def test_a_file_that_is_another_by_now_is_sent(site):
    assert site.ask("GET", "/", headers={"If-None-Match": '"of-an-older-version"'}).status == 200


def test_head_tells_the_length_alone(site):
    answer = site.ask("HEAD", "/")

    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len((FILES / PAGE).read_bytes())


@pytest.mark.parametrize(
    "path",
    [
        "/console/",
        "/console/other.js",
        "/console/index.html",
        "/console/../console.py",
        "/console/%2e%2e/console.py",
        "/console/..%2fconsole.py",
        "/console//etc/passwd",
    ],
)
def test_what_is_no_file_of_the_console_is_not_there(site, path):
    assert site.ask("GET", path, headers={"Authorization": f"Bearer {TOKEN}"}).status == 404


def test_a_file_cannot_be_posted_to(site):
    assert site.ask("POST", "/", {}, headers={"Authorization": f"Bearer {TOKEN}"}).status == 405


@pytest.mark.parametrize("name", NAMES)
def test_no_file_names_another_server(name):
    found = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`)]*", text_of(name)))

    assert found <= {"http://www.w3.org/2000/svg"}


def test_the_page_has_no_script_style_or_handler_of_its_own():
    page = text_of(PAGE)

    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_markup_or_code_of_data(name):
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser"

    assert not re.search(forbidden, text_of(name))


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_imports_is_there_and_exports_it(name):
    for names, source in re.findall(r"import (?:\{([^}]*)\}|\* as \w+) from \"\./([^\"]+)\"", text_of(name)):
        for each in filter(None, (part.split(" as ")[0].strip() for part in names.split(","))):
            assert re.search(rf"export (async )?(function|const|class) {each}\b", text_of(source)), (
                f"{each} of {source}"
            )


@pytest.mark.parametrize("name", NAMES)
def test_no_file_is_long(name):
    assert len(text_of(name).splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith((".js", ".css"))])
def test_no_line_is_long(name):
    assert max(map(len, text_of(name).splitlines())) <= LONGEST_LINE


def test_every_icon_that_a_script_names_is_drawn():
    drawn = set(re.findall(r'<symbol id="i-([\w-]+)"', text_of(PAGE)))
    scripts = "\n".join(map(text_of, SCRIPTS))
    named = set(re.findall(r'icon\("([\w-]+)"\)|(?:button|relabel)\([^,()]+, "([a-z]+)"', scripts))

    assert {first or second for first, second in named} <= drawn
