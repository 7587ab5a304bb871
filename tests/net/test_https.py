"""The address of HTTPS, and the renewal of its certificate."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from rtmpd.config_file import validate
from rtmpd.errors import StartError
from rtmpd.net.acceptor import Admission
from rtmpd.net.https import Https
from tests.helpers.rig import Rig
from tests.helpers.transports import close_transports

AUTHORITY = trustme.CA()
LIMITS = Admission(0, 10, 10)


def issue(directory):
    AUTHORITY.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(directory / "both.pem")
    return {"cert": str(directory / "both.pem"), "key": str(directory / "both.pem")}


async def shown(https):
    """The certificate that a client is shown."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    host, _, port = https.address.rpartition(":")
    async with asyncio.timeout(10):
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    number = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    await close_transports()
    return number


async def test_without_an_address_there_is_nothing():
    async with Rig() as rig:
        https = Https(validate({}))
        https.open(rig.services, LIMITS, asyncio.Protocol)
        https.check(validate({}))
        https.reload(validate({}))
        https.close()

    assert https.address is None


@pytest.mark.parametrize("table", ["https", "rtmps"])
async def test_it_shows_its_certificate_or_that_of_rtmps_and_a_reload_renews_it(tmp_path, table):
    async with Rig() as rig:
        tables = {"https": {"listen": "127.0.0.1:0"}}
        tables.setdefault(table, {}).update(issue(tmp_path))
        config = validate(tables)
        https = Https(config)
        https.open(rig.services, LIMITS, asyncio.Protocol)
        before = await shown(https)
        issue(tmp_path)
        https.check(config)
        assert await shown(https) == before
        https.reload(config)
        assert await shown(https) != before
        https.close()
        https.close()


async def test_a_certificate_that_cannot_be_used_is_found_before_it_is_taken_up(tmp_path):
    async with Rig() as rig:
        config = validate({"https": {"listen": "127.0.0.1:0", **issue(tmp_path)}})
        https = Https(config)
        https.open(rig.services, LIMITS, asyncio.Protocol)
        before = await shown(https)
        (tmp_path / "both.pem").write_text("zork")
        with pytest.raises(StartError, match="cannot use the certificate"):
            https.check(config)
        assert await shown(https) == before
        https.close()
