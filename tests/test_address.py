from __future__ import annotations

import pytest

from rtmpd.address import Address, counted_as


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:1935", "127.0.0.1", 1935),
        ("localhost:0", "localhost", 0),
        (":65535", "", 65535),
        ("[::1]:1935", "::1", 1935),
        ("[0:0::1]:1", "::1", 1),
        ("live.example.org:443", "live.example.org", 443),
    ],
)
def test_host_and_port_are_told_apart(text, host, port):
    assert Address(host, port) == Address.parse(text)


@pytest.mark.parametrize("text", ["127.0.0.1:1935", ":1935", "[::1]:1935", "localhost:1"])
def test_an_address_is_written_as_it_was_read(text):
    assert text == str(Address.parse(text))


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "1935",
        "host",
        "host:",
        "host:-1",
        "host:65536",
        "host:1 ",
        "::1:1935",
        "[::1]",
        "[x]:1",
        "host:²",
        1935,
        None,
    ],
)
def test_anything_else_is_refused(wrong):
    with pytest.raises(ValueError):
        Address.parse(wrong)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_recognised(host):
    assert Address(host, 1).loopback


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.0.2.1", "example.org", "localhost.example.org"])
def test_what_may_be_reachable_is_not_called_loopback(host):
    assert not Address(host, 1).loopback


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:201%eth0", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::2%2", "fe80::/64"),
        ("::1", "::1"),
        ("::1%lo", "::1"),
        ("::2", "::/64"),
        ("", ""),
        ("-", "-"),
        ("a:b", "a:b"),
        ("%", "%"),
    ],
)
def test_a_host_is_counted_once_however_many_addresses_it_has(address, expected):
    assert counted_as(address) == expected


def test_what_is_counted_is_counted_as_itself():
    assert counted_as(counted_as("2001:db8::1")) == "2001:db8::/64"


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("127.0.0.1:1935", "127.0.0.1:1935", True),
        ("127.0.0.1:1935", "127.0.0.1:1936", False),
        ("127.0.0.1:1935", "127.0.0.2:1935", False),
        ("0.0.0.0:1935", "127.0.0.1:1935", True),
        (":1935", "[::1]:1935", True),
        (":1935", "127.0.0.1:1935", True),
        ("[::]:1935", "[::1]:1935", True),
        ("[::]:1935", "0.0.0.0:1935", False),
        ("[::]:1935", "127.0.0.1:1935", False),
    ],
)
def test_addresses_overlap_where_two_servers_could_not_listen(one, other, overlap):
    assert Address.parse(one).overlaps(Address.parse(other)) is overlap
    assert Address.parse(other).overlaps(Address.parse(one)) is overlap
