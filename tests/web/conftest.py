"""Fixtures of the web tests."""

import pytest


class Clock:
    """Seconds, as a test sets them."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()
