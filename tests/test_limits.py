"""Limits that hold before a body is parsed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.types import Message

from rows import PROBLEM, refused
from servers import client_of
from service.app import create_app
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings

pytestmark = pytest.mark.anyio

URL = "/models/survival/predict"
JSON = {"content-type": "application/json"}
ROW = dict(MODELS["survival"].example)
BODY = json.dumps({"instances": [ROW]}).encode()


async def test_a_body_over_the_limit_is_refused_whether_announced_or_streamed(registry: Registry) -> None:
    """413 comes for a Content-Length that is too large, and for a chunked body as soon as it is too large."""

    async def chunks(size: int) -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * size

    async with client_of(create_app(Settings(max_body_bytes=1000), registry)) as client:
        announced = await client.post(URL, content=b" " * 1001, headers=JSON)
        streamed = await client.post(URL, content=chunks(100), headers=JSON)
        at_once = await client.post(URL, content=chunks(2000), headers=JSON)
        allowed = await client.post(URL, content=BODY, headers=JSON)

    for response in (announced, streamed, at_once):
        assert "1,000 bytes" in refused(response, 413)["detail"]
        assert response.headers["connection"] == "close"
    assert allowed.status_code == 200


async def sent(app: Any, *parts: bytes, gone: bool = False) -> list[Message]:
    """What the app sends to a client whose body stops after these parts, or who then goes away."""
    messages: list[Message] = []
    rest: Iterator[bytes] = iter(parts)

    async def receive() -> Message:
        for part in rest:
            return {"type": "http.request", "body": part, "more_body": True}
        if gone:
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "POST", "path": URL, "query_string": b""}
    await app(scope | {"headers": [(b"content-type", b"application/json")]}, receive, send)
    return messages


@pytest.mark.parametrize("parts", [(), (BODY[:10],), (BODY[:10], BODY[10:])])
async def test_a_body_that_does_not_end_in_time_gets_408(
    registry: Registry, parts: tuple[bytes, ...]
) -> None:
    """Whether nothing of it came, or nearly all; and the connection is closed, as more of it may come."""
    start, body = await sent(create_app(Settings(body_timeout_s=0.01), registry), *parts)

    headers = dict(start["headers"])
    assert start["status"] == 408
    assert headers[b"content-type"] == PROBLEM.encode()
    assert headers[b"connection"] == b"close"
    assert json.loads(body["body"])["type"] == "urn:problem:slow-request"


@pytest.mark.parametrize("parts", [(), (BODY[:10],)])
async def test_who_leaves_before_the_end_is_not_answered(
    registry: Registry, parts: tuple[bytes, ...]
) -> None:
    """There is nobody to be told."""
    assert await sent(create_app(Settings(), registry), *parts, gone=True) == []
