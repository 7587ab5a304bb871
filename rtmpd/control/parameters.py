"""The parameters that came with a publish or play URL."""

from __future__ import annotations

from urllib.parse import parse_qsl


def parameters(query: str) -> dict[str, str]:
    """
    Take a query apart.

    Args:
        query: without its question mark, as the client sent it.

    Returns:
        Values by name, percent signs decoded; of a name that comes more than once the last, so that nobody can read
        another value than was checked. What is no UTF-8 becomes U+FFFD.
    """
    return dict(parse_qsl(query, keep_blank_values=True))
