"""Addresses in lists of networks."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from rtmpd.control.addresses import is_admitted, is_this_machine


def networks(*texts):
    return tuple(map(ip_network, texts))


@pytest.mark.parametrize(
    ("address", "allow", "deny", "expected"),
    [
        ("192.0.2.1", (), (), True),
        ("192.0.2.1", ("192.0.2.0/24",), (), True),
        ("192.0.3.1", ("192.0.2.0/24",), (), False),
        ("192.0.3.1", ("192.0.2.0/24", "192.0.3.1/32"), (), True),
        ("192.0.2.1", (), ("192.0.2.0/24",), False),
        ("192.0.3.1", (), ("192.0.2.0/24",), True),
        ("192.0.2.1", ("192.0.2.0/24",), ("192.0.2.1/32",), False),
        ("192.0.2.1", ("192.0.2.1/32",), ("192.0.2.0/24",), False),
        ("192.0.2.2", ("192.0.2.0/24",), ("192.0.2.1/32",), True),
        ("::ffff:192.0.2.1", ("192.0.2.0/24",), (), True),
        ("::ffff:192.0.2.1", (), ("192.0.2.0/24",), False),
        ("::ffff:c000:201%eth0", (), ("192.0.2.0/24",), False),
        ("192.0.2.1", (), ("::ffff:192.0.2.0/120",), False),
        ("::ffff:192.0.2.1", (), ("::ffff:192.0.2.0/120",), False),
        ("192.0.3.1", (), ("::ffff:192.0.2.0/120",), True),
        ("192.0.2.1", (), ("::/0",), True),
        ("192.0.2.1", ("::/0",), (), False),
        ("2001:db8::1", ("2001:db8::/32",), (), True),
        ("2001:db9::1", ("2001:db8::/32",), (), False),
        ("2001:db8::1", ("0.0.0.0/0",), (), False),
        ("fe80::1%eth0", ("fe80::/10",), (), True),
        ("fe80::1%eth0", (), ("fe80::/10",), False),
        ("-", (), (), True),
        ("-", ("0.0.0.0/0",), (), False),
        ("", (), ("192.0.2.0/24",), False),
    ],
)
def test_denied_goes_before_allowed_and_a_list_of_allowed_excludes_the_rest(address, allow, deny, expected):
    assert is_admitted(address, networks(*allow), networks(*deny)) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", True),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("2001:db8::/64", False),
        ("zork", False),
    ],
)
def test_this_machine_is_known_by_its_addresses(address, expected):
    assert is_this_machine(address) is expected
