"""An RTMP URL is taken apart as encoders take it, and says what is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.session.urls import MAX_URL_CHARACTERS, RtmpUrl

FORMS = {
    "rtmp://h/a/b": (False, "h", 1935, "a", "b"),
    "RTMPS://h/a/b": (True, "h", 443, "a", "b"),
    "rtmp://h:80/a/b": (False, "h", 80, "a", "b"),
    "rtmp://192.0.2.1/a/b": (False, "192.0.2.1", 1935, "a", "b"),
    "rtmp://[2001:DB8::1]:1936/a/b": (False, "2001:db8::1", 1936, "a", "b"),
    "rtmps://[::1]/a/b": (True, "::1", 443, "a", "b"),
    "rtmp://h/a/b/c": (False, "h", 1935, "a/b", "c"),
    "rtmp://h//a/b/": (False, "h", 1935, "a", "b"),
    "rtmp://h/a/b?k=v&x=y/z": (False, "h", 1935, "a", "b?k=v&x=y/z"),
    "rtmp://h/a/b/?k=v/": (False, "h", 1935, "a", "b?k=v/"),
    "rtmp://h/a?k=v/b": (False, "h", 1935, "a?k=v", "b"),
    "rtmp://h/a/b%2Fc": (False, "h", 1935, "a", "b%2Fc"),
}


@pytest.mark.parametrize("text", FORMS)
def test_every_form_of_a_url_has_its_parts(text):
    assert RtmpUrl.parse(text) == RtmpUrl(*FORMS[text])


@pytest.mark.parametrize(
    ("credentials", "user", "password"),
    [
        ("u:p", "u", "p"),
        ("u", "u", ""),
        ("u:p:q", "u", "p:q"),
        ("u@x.net:p@q", "u@x.net", "p@q"),
        ("u:%40", "u", "%40"),
    ],
)
def test_user_and_password_are_taken_literally(credentials, user, password):
    url = RtmpUrl.parse(f"rtmp://{credentials}@h/a/b")

    assert (url.host, url.user, url.password) == ("h", user, password)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("http://h/a/b", "no rtmp:// or rtmps:// URL"),
        ("rtmp:/h/a/b", "no rtmp:// or rtmps:// URL"),
        ("", "no rtmp:// or rtmps:// URL"),
        ("rtmp:///a/b", "no host name"),
        ("rtmp://h h/a/b", "a space"),
        ("rtmp://h/a/b\n", "not printable"),
        ("rtmp://h:x/a/b", "a port that is not 1 to 65535"),
        ("rtmp://h:0/a/b", "a port that is not 1 to 65535"),
        ("rtmp://h:65536/a/b", "a port that is not 1 to 65535"),
        ("rtmp://h:1:2/a/b", "a port that is not 1 to 65535"),
        ("rtmp://[::1/a/b", "IPV6"),
        ("rtmp://[::1]x/a/b", "IPV6"),
        ("rtmp://[h]/a/b", "IPV6"),
        ("rtmp://h<script>/a/b", "no host name"),
        ("rtmp://h", "names no stream"),
        ("rtmp://h/a", "names no stream"),
        ("rtmp://h/a/", "names no stream"),
        ("rtmp://h/a?k=v", "names no stream"),
        ("rtmp://h/a/?k=v", "names no stream"),
        ("rtmp://h/a/" + "b" * MAX_URL_CHARACTERS, f"longer than {MAX_URL_CHARACTERS}"),
    ],
)
def test_what_is_no_url_says_why(text, fault):
    with pytest.raises(ValueError, match=fault):
        RtmpUrl.parse(text)


@given(st.text(alphabet="rtmps:/[]@?&.a1-é \n", max_size=40))
def test_any_text_is_a_url_or_a_valueerror(text):
    for prefix in ("", "rtmp://", "rtmps://h/"):
        try:
            url = RtmpUrl.parse(prefix + text)
        except ValueError:
            continue
        assert url.host
        assert url.app
        assert url.key


def test_the_url_of_the_application_leaves_stream_and_password_out():
    assert RtmpUrl.parse("rtmp://u:p@h:1936/a/b/c?k").tc_url == "rtmp://h:1936/a/b"
    assert RtmpUrl.parse("rtmps://[::1]:443/a?k=v/b").tc_url == "rtmps://[::1]/a?k=v"


def test_what_a_log_shows_of_a_url_is_no_secret():
    url = RtmpUrl.parse("rtmps://user:word@h/a?token=1/key?sign=2")

    for text in (url.label, repr(url)):
        assert not any(secret in text for secret in ("user", "word", "key", "sign"))
    assert url.label == "rtmps://h/a"


HOME = RtmpUrl.parse("rtmps://u:p@h/a/b/key?k=v")


@pytest.mark.parametrize(
    ("reference", "tc_url"),
    [
        ("", "rtmps://h/a/b"),
        ("rtmps://other:444/x", "rtmps://other:444/x"),
        ("rtmps://other/x?t=a://b", "rtmps://other/x?t=a://b"),
        ("//other/x", "rtmps://other/x"),
        ("/x/y", "rtmps://h/x/y"),
        ("c", "rtmps://h/a/c"),
        ("c?url=rtmp://h", "rtmps://h/a/c?url=rtmp://h"),
    ],
)
def test_a_redirection_is_resolved_against_where_we_are_and_keeps_the_stream(reference, tc_url):
    moved = HOME.redirected(reference)

    assert moved.tc_url == tc_url
    assert (moved.key, moved.user, moved.password) == ("key?k=v", "u", "p")


def test_a_redirection_may_bring_another_user():
    moved = HOME.redirected("rtmps://x:y@other/a")

    assert (moved.user, moved.password) == ("x", "y")


@pytest.mark.parametrize("reference", ["rtmp://h/a", "http://h/a", "rtmps://h", "//", "rtmps://h:0/a", "\n"])
def test_a_redirection_to_nowhere_or_out_of_tls_is_refused(reference):
    with pytest.raises(ValueError, match=r"^(leads|names|is|has) "):
        HOME.redirected(reference)


@pytest.mark.parametrize(
    ("url", "text", "shown"),
    [
        ("rtmp://h/app/SECRET", "app/SECRET is already being published", "app/*** is already being published"),
        ("rtmp://h/app/name?k=SECRET", "no stream name?k=SECRET, name or (SECRET)", "no stream ***, *** or (***)"),
        ("rtmp://h/app?token=SECRET/b", "bad token SECRET", "bad token ***"),
        ("rtmp://me:SECRET@h/app/b", "user me with SECRET", "user me with ***"),
        ("rtmp://h/app/a", "a bad name: a, not any", "*** bad name: ***, not any"),
        ("rtmp://h/app/k.*", "kxx is not k.*", "kxx is not ***"),
    ],
)
def test_what_a_server_says_is_shown_without_what_may_be_secret(url, text, shown):
    assert RtmpUrl.parse(url).without_secrets(text) == shown
