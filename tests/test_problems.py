"""Errors: one shape, the right status, and never a value of the request, in the answer or in the log."""

import asyncio
import inspect
import logging
import re

import pytest
from starlette.types import Message

from mean_servable import MeanServable
from servers import ROOT, client_of
from service import errors, security
from service.app import create_app
from service.errors import (
    ArtifactRejected,
    CallerGone,
    DeviceUnavailable,
    Misconfigured,
    ModelFailure,
    RefusedBody,
    ServiceError,
)
from service.features import Matrix
from service.models import MODELS
from service.problems import STATUS, TITLES
from service.registry import Registry
from service.routes import PROBLEMS
from service.settings import Settings
from service.tasks import Outputs

pytestmark = pytest.mark.anyio

GATE = {"instances": [{"x1": 1, "x2": 1}]}


class Failing(MeanServable):
    """A servable that raises what it is given."""

    def __init__(self, error: Exception) -> None:
        super().__init__(MODELS["and_gate"])
        self.error = error

    def predict(self, matrix: Matrix) -> Outputs:
        raise self.error


def failing(error: Exception) -> Registry:
    registry = Registry(MODELS)
    registry.add(Failing(error))
    return registry


def test_every_error_has_a_status_or_ends_the_start() -> None:
    """A new exception must be mapped; those that never reach a request are named here."""
    never_answered = {
        ServiceError,
        RefusedBody,
        CallerGone,
        ArtifactRejected,
        DeviceUnavailable,
        Misconfigured,
    }
    declared = {
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ServiceError)
    }

    assert declared - STATUS.keys() == never_answered


@pytest.mark.parametrize("error", [ValueError("MARKER"), ModelFailure("and_gate/1: MARKER")])
async def test_a_bug_answers_500_with_an_id_that_the_log_has(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The exception's message may hold a value: neither the answer nor the log repeats it."""
    async with client_of(create_app(Settings(), failing(error))) as client:
        response = await client.post("/models/and_gate/predict", json=GATE)

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    request_id = response.json()["instance"].removeprefix("urn:request:")
    assert response.headers["x-request-id"] == request_id
    assert f"request {request_id} failed: {type(error).__name__}" in caplog.text
    assert "test_problems.py" in caplog.text
    assert "MARKER" not in response.text + caplog.text


async def test_the_service_goes_on_after_a_bug() -> None:
    """One request's failure is its own."""
    async with client_of(create_app(Settings(), failing(KeyError("x")))) as client:
        assert (await client.post("/models/and_gate/predict", json=GATE)).status_code == 500
        assert (await client.post("/models/and_gate/explain", json=GATE)).status_code == 200


@pytest.mark.parametrize(
    ("end", "status"), [({"type": "http.disconnect"}, "499"), (asyncio.CancelledError(), "503")]
)
async def test_an_end_that_is_nobodys_bug_is_not_logged_as_one(
    end: Message | BaseException, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that goes away, or a shutdown that will not wait, sets off no alarm."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        if isinstance(end, BaseException):
            raise end
        return end

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/models/and_gate/predict",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    app = create_app(Settings(), failing(ValueError()))
    app.api.state.registry = failing(ValueError())
    caplog.set_level(logging.INFO)

    await app(scope, receive, send)
    app.api.state.telemetry.flush()

    assert f"POST /models/and_gate/predict {status}" in caplog.text
    assert "failed" not in caplog.text
    assert [message["status"] for message in sent if "status" in message] == (
        [503] if status == "503" else []
    )


def test_every_status_of_a_problem_is_documented_and_in_the_readme() -> None:
    """STATUS, the OpenAPI document and the README's table are the same list."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d{3}) \|", readme, flags=re.MULTILINE)}

    documented = {*PROBLEMS, *map(int, security.PROBLEMS)}
    assert {int(status) for status in STATUS.values()} == documented
    # Starlette's router answers 405 by itself.
    assert listed == {*documented, 405} == set(TITLES)
