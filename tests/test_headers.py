"""The headers that every answer has, whoever gives it, and those that none has."""

from typing import NoReturn

import httpx
import pytest
from keyrings import Keyring
from starlette.types import Receive, Scope, Send

from mean_servable import MeanServable
from servers import Server, client_of
from service.app import create_app
from service.models import MODELS
from service.registry import Registry
from service.security import HEADERS
from service.settings import Settings
from service.telemetry import RequestLog, Telemetry

pytestmark = pytest.mark.anyio

GATE = {"instances": [{"x1": 1, "x2": 1}]}
SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


def test_every_answer_of_a_process_has_the_headers_and_names_no_server(ring: Keyring) -> None:
    """200, 307, 401, 403, 404, 405, 413 and what FastAPI serves by itself; HSTS has no place without TLS."""
    gate = "/models/and_gate/predict"
    options = "--api-keys-file", str(ring.file), "--max-body-bytes", "2000000"
    with (
        Server("--models", "and_gate", *options) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        answers = [
            client.get("/health/live"),
            client.get("/models"),
            client.get("/"),
            client.get("/docs"),
            client.get("/static-offline-docs/swagger-ui.css"),
            client.get("/nowhere", headers=ring.bearer("reader")),
            client.get(gate, headers=ring.bearer("reader")),
            client.post(gate, json=GATE, headers=ring.bearer("reader")),
            client.post(gate, json=GATE, headers=ring.bearer("predict")),
            client.post(gate, json="0" * 2_000_000, headers=ring.bearer("predict")),
        ]

    assert [answer.status_code for answer in answers] == [200, 401, 307, 200, 200, 404, 405, 403, 200, 413]
    for answer in answers:
        for name, value in SAFE.items():
            assert answer.headers.get_list(name) == [value], (answer.url, name)
        assert not {"server", "strict-transport-security"} & answer.headers.keys()
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_failure_has_the_headers_too() -> None:
    """500, by a route and by an action."""

    class Broken(MeanServable):
        def predict(self, matrix: object) -> NoReturn:
            raise RuntimeError

    registry = Registry(MODELS)
    registry.add(Broken(MODELS["and_gate"]))
    async with client_of(create_app(Settings(), registry)) as client:
        for path in ("/models/and_gate/predict", "/models/and_gate/versions/1/predict"):
            answer = await client.post(path, json=GATE)

            assert answer.status_code == 500
            assert SAFE.items() <= dict(answer.headers).items()


async def test_what_says_how_long_it_lasts_is_left_to_say_so() -> None:
    """`no-store` is for answers that say nothing of it."""

    async def lasting(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"cache-control", b"max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(RequestLog(lasting, Telemetry(), HEADERS))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        answer = await client.get("/")

    assert answer.headers.get_list("cache-control") == ["max-age=60"]
    assert answer.headers["x-frame-options"] == "DENY"
