"""What a machine thinks of that reads the OpenAPI document: nothing that it asks is answered otherwise than described."""

from __future__ import annotations

import pytest

from tests.helpers.fuzz import find_faults
from tests.helpers.site import TOKEN, RunningSite


@pytest.mark.parametrize("token", [None, TOKEN])
def test_nothing_is_found(tmp_path, token):
    with RunningSite(tmp_path, http={"token": token} if token else {}) as site:
        faults = find_faults(site.url, token)

        assert not faults, "\n\n".join(faults)
        assert len(site.operations.asked) > 100
