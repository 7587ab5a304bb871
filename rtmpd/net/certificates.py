"""The certificates that listeners with TLS show."""

from __future__ import annotations

import ssl

from rtmpd.config import Certificate
from rtmpd.errors import StartError


def load_certificate(pair: Certificate) -> ssl.SSLContext:
    """
    Read a certificate.

    Args:
        pair: names it, and its key.

    Returns:
        What handshakes are made with.

    Raises:
        StartError: it cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(pair.cert, pair.key)
    except (ssl.SSLError, OSError) as error:
        raise StartError(f"cannot use the certificate {pair.cert} with the key {pair.key}: {error}") from error
    return context


def renewed(context: ssl.SSLContext | None, pair: Certificate | None) -> ssl.SSLContext | None:
    """
    Read a certificate again, where it is in use.

    Args:
        context: in use; None: there is no TLS.
        pair: as the configuration has it now; None: it has none any more, and the old one stays.

    Returns:
        A context with it, or the old one.

    Raises:
        StartError: it cannot be used.
    """
    return context if context is None or pair is None else load_certificate(pair)
