"""What schemathesis is told of the service: places that exist, and refusals that no schema foresees.

    python -m benchmarks.conformance

which sets SCHEMATHESIS_HOOKS and the variables below. Knows schemathesis.
"""

import atexit
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.core.failures import Failure

MARKER = os.environ.get("MARKER", "")
# Where the statuses that were answered are written to at the end, and how many answers held the marker.
TALLY = Path(os.environ["TALLY"])
# Of each model, a value for each parameter of a path with which it leads somewhere.
EXAMPLES: dict[str, dict[str, str]] = json.loads(os.environ.get("EXAMPLES", "{}"))
# Where rows are posted in other servers' languages. What forms they have, and how shapes, bytes and columns
# have to agree, is said in docs/dialects.md; their schemas say little of it.
ROWS_OF_DIALECTS = re.compile(r"/v1/.*:(predict|classify|regress)|/v2/.*/infer|/invocations")
# What rows have to fulfil beside the schema of their fields: it is said in the fields' descriptions.
BETWEEN_FIELDS = {"exceeds_whole", "length_mismatch"}
# Pydantic takes what is as near as this to a whole number for whole.
NEARLY = 1e-9

ACCEPTED, REFUSED, OTHER_METHOD = "ST201", "ST202", "ST204"
tally: Counter[str] = Counter()


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Name places that exist, beside the random ones, which are not there."""
    for path, operations in raw_schema["paths"].items():
        of_model = next((EXAMPLES[part] for part in path.split("/") if part in EXAMPLES), {})
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and parameter["name"] in of_model:
                    parameter["example"] = of_model[parameter["name"]]


@schemathesis.hook
def after_call(
    context: schemathesis.HookContext, case: schemathesis.Case, response: schemathesis.Response
) -> None:
    """Count the status, and look for the marker."""
    tally[str(response.status_code)] += 1
    if MARKER and MARKER.encode() in str(response.headers).lower().encode() + response.content.lower():
        tally["leaks"] += 1


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext,
    failure: Failure,
    case: schemathesis.Case,
    response: schemathesis.Response,
) -> bool:
    """Drop what is no more than a rule that the schema cannot hold."""
    if failure.code == ACCEPTED:
        return not any(0 < abs(one - round(one)) <= NEARLY for one in _numbers(case.body))
    if failure.code == OTHER_METHOD and case.path.startswith("/v1/"):
        return response.status_code != 400  # as TensorFlow Serving answers
    return not (failure.code == REFUSED and _beyond_schema(case, response))


def _beyond_schema(case: schemathesis.Case, response: schemathesis.Response) -> bool:
    """Whether a request that meets its schema is rightly refused all the same."""
    if ROWS_OF_DIALECTS.fullmatch(case.path):
        return response.status_code in (400, 422)
    if case.media_type == "text/csv":
        return response.status_code in (400, 422)  # any text meets the schema of a table
    if case.query:
        return response.status_code == 400  # options stand beside tables alone
    errors = response.json().get("errors", [])
    return bool(errors) and {error["code"] for error in errors} <= BETWEEN_FIELDS


def _numbers(value: Any) -> Iterator[float]:
    """Every finite number of a document."""
    if isinstance(value, float) and abs(value) < 1e15:
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner)


atexit.register(lambda: TALLY.write_text(json.dumps(tally)))
