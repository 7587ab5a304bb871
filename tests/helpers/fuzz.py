"""schemathesis over a running API: requests that its OpenAPI document allows, and many that it does not."""

from __future__ import annotations

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.helpers.processes import PATIENCE_S

ENDLESS = r"/api/v1/events"
"""Left out: its answer has no end, and each request would last until the client gives up. tests/web/test_events.py asks it."""
LONGEST_URL = 8000
"""Characters. A request line that is longer is refused before there is a request, and so not as the document has it."""


def find_faults(base_url, token=None, *, examples=20, seed=None, leave_out=()):
    """
    Ask an API everything that schemathesis thinks of, with all of its checks.

    Args:
        base_url: http://host:port; the document is at /api/v1/openapi.json.
        token: of the API, if it needs one.
        examples: for each operation, in the phase that makes them up.
        seed: of what is made up; None: always the same.
        leave_out: paths, as the document has them, that are not asked, besides the endless one.

    Returns:
        A description of each fault; none is expected. Errors of schemathesis itself are among them.
    """
    config = SchemathesisConfig.from_dict(
        {
            **({} if seed is None else {"seed": seed}),
            "generation": {
                "max-examples": examples,
                "deterministic": seed is None,
                "database": "none",
                "no-shrink": True,
            },
            "request-timeout": PATIENCE_S,
            "workers": 1,
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
        }
    )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    schema = schemathesis.openapi.from_url(f"{base_url}/api/v1/openapi.json", config=config, headers=headers)
    schema = schema.exclude(path=[ENDLESS, *leave_out])
    found = {}
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            for case_id, checks in event.recorder.checks.items():
                if len(event.recorder.interactions[case_id].request.uri) > LONGEST_URL:
                    continue
                for check in checks:
                    if check.failure_info is not None:
                        failure = check.failure_info.failure
                        text = (
                            f"{failure.operation}: {failure.title}: {failure.message}\n{check.failure_info.code_sample}"
                        )
                        found.setdefault((failure.operation, failure.title), text)
        elif isinstance(event, events.NonFatalError):
            found.setdefault(event.label, f"{event.label}: schemathesis: {event.value}")
        elif isinstance(event, events.FatalError):
            found.setdefault("", f"schemathesis: {event.exception}")
    return list(found.values())
