"""Limits that hold before a body is parsed."""

import asyncio
import gzip
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from servables import Held
from starlette.types import Message

from rows import PROBLEM, refused
from servers import TIMEOUT_S, client_of
from service.app import create_app
from service.limits import Bodies, Stage
from service.models import MODELS
from service.registry import Registry
from service.requests import body_of
from service.settings import Settings

pytestmark = pytest.mark.anyio

PREDICT = "/models/and_gate/predict"
GATE = {"instances": [{"x1": 1, "x2": 1}]}

URL = "/models/survival/predict"
JSON = {"content-type": "application/json"}
GZIP = {"content-encoding": "gzip"}
MIB = 2**20
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
        in_one = await client.post(URL, content=chunks(2000), headers=JSON)
        allowed = await client.post(URL, content=BODY, headers=JSON)

    for response in (announced, streamed, in_one):
        assert "1,000 bytes" in refused(response, 413)["detail"]
        assert response.headers["connection"] == "close"
    assert allowed.status_code == 200


async def sent(
    app: Any,
    *parts: bytes,
    gone: bool = False,
    whole: bool = False,
    patience: bytes = b"60",
    coding: bytes = b"identity",
) -> list[Message]:
    """What the app sends to a client whose body stops after these parts, is whole then, or who goes away."""
    messages: list[Message] = []
    rest: Iterator[bytes] = iter(parts)

    async def receive() -> Message:
        for part in rest:
            return {"type": "http.request", "body": part, "more_body": not whole}
        if gone:
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "POST", "path": URL, "query_string": b""}
    headers = [
        (b"content-type", b"application/json"),
        (b"content-encoding", coding),
        (b"request-timeout", patience),
    ]
    async with asyncio.timeout(TIMEOUT_S / 6):
        await app(scope | {"headers": headers}, receive, send)
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


@pytest.mark.parametrize("parts", [(), (BODY[:10],), (BODY[:10], BODY[10:])])
async def test_a_body_that_is_not_there_when_its_request_must_be_answered_gets_504(
    registry: Registry, parts: tuple[bytes, ...]
) -> None:
    """At once, and not when it has come; nothing of it is held any more."""
    app = create_app(Settings(), registry)
    start, body = await sent(app, *parts, patience=b"0.01")

    assert start["status"] == 504
    assert json.loads(body["body"])["type"] == "urn:problem:deadline-exceeded"
    assert app.api.state.bodies.held == 0


async def test_a_body_over_the_limit_that_comes_with_its_head_is_refused(registry: Registry) -> None:
    """Without an announcement, as the chunks of a small enough body may come."""
    app = create_app(Settings(max_body_bytes=1000), registry)

    assert (await sent(app, b" " * 1001, whole=True))[0]["status"] == 413
    assert (await sent(app, BODY, whole=True))[0]["status"] == 200


async def test_a_body_in_pieces_is_whole() -> None:
    """Byte for byte, of whatever sizes they are; empty ones too."""
    whole = os.urandom(1_400_000)
    cuts = [0, 1, 3, 3, 70_003, 135_539, 135_540, 300_000, 1_400_000]
    messages = [
        {"type": "http.request", "body": whole[start:end], "more_body": end < len(whole)}
        for start, end in pairwise(cuts)
    ]
    rest = iter(messages)

    async def receive() -> Message:
        return next(rest)

    bodies = Bodies(len(whole))

    assert await body_of({}, receive, Settings(), bodies) == whole
    assert bodies.held == len(whole)


async def test_bodies_that_do_not_end_are_bounded_together(registry: Registry) -> None:
    """429 for what would be too much, and not for small ones; what a client held is free when it leaves."""
    app = create_app(Settings(max_body_bytes=3 * MIB, max_held_bytes=3 * MIB), registry)
    stalled = asyncio.create_task(sent(app, b" " * 2 * MIB))
    while not app.api.state.bodies.held:
        await asyncio.sleep(0)

    for parts, whole in (([b" " * MIB, b" " * MIB], False), ([b" " * (MIB + 1)], True)):
        start, body = await sent(app, *parts, whole=whole)
        assert start["status"] == 429
        assert b"retry-after" in dict(start["headers"])
        assert "bytes of bodies" in json.loads(body["body"])["detail"]
    assert (await sent(app, BODY, whole=True))[0]["status"] == 200
    assert (await sent(app, BODY[:100], BODY[100:], gone=True)) == []
    assert app.api.state.bodies.held == 2 * MIB

    stalled.cancel()
    await asyncio.gather(stalled, return_exceptions=True)

    assert app.api.state.bodies.held == 0


async def test_a_large_body_alone_is_let_in_packed_or_not(registry: Registry) -> None:
    """Whatever may be held together: what it becomes is held in the place of what it was."""
    app = create_app(Settings(max_body_bytes=8 * MIB, max_held_bytes=1), registry)
    space = bytes(random.Random(1).choices(b" \n\t\r", k=7 * MIB))
    packed = gzip.compress(BODY + space, 1)
    assert len(packed) > MIB
    async with client_of(app) as client:
        for body, headers in ((BODY + space, JSON), (packed, JSON | GZIP)):
            assert (await client.post(URL, content=body, headers=headers)).status_code == 200

    assert app.api.state.bodies.held == 0


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (BODY + b" " * MIB, JSON, 200),
        (b" " * 2 * MIB, JSON, 400),
        (gzip.compress(BODY), JSON | GZIP, 200),
        (b"no gzip", JSON | GZIP, 400),
        (gzip.compress(b" " * 4 * MIB), JSON | GZIP, 413),
        (BODY, JSON | {"content-encoding": "br"}, 415),
        (b" " * 4 * MIB, JSON, 413),
    ],
)
async def test_nothing_is_held_of_what_was_answered(
    registry: Registry, body: bytes, headers: dict[str, str], status: int
) -> None:
    """Whatever the answer."""
    app = create_app(Settings(max_body_bytes=3 * MIB), registry)
    async with client_of(app) as client:
        assert (await client.post(URL, content=body, headers=headers)).status_code == status

    assert app.api.state.bodies.held == 0


@pytest.mark.parametrize("body", [b"{}", b" " * 1001])
async def test_an_answer_on_the_way_out_closes_the_connection_once(registry: Registry, body: bytes) -> None:
    """Also where it would have done so anyway."""
    app = create_app(Settings(max_body_bytes=1000), registry)
    app.api.state.door.stage = Stage.DRAINING

    start, _ = await sent(app, body, whole=True)

    assert [value for name, value in start["headers"] if name == b"connection"] == [b"close"]


@pytest.mark.parametrize("parts", [(), (BODY[:10],)])
async def test_who_leaves_before_the_end_is_not_answered(
    registry: Registry, parts: tuple[bytes, ...]
) -> None:
    """There is nobody to be told."""
    assert await sent(create_app(Settings(), registry), *parts, gone=True) == []


def nested(nest: str, rows: int) -> Iterator[str]:
    """Bodies of so many rows and one more, with a nest in every place that can hold a value."""
    row = json.dumps(ROW)
    before = f"{row}," * rows
    envelope = f'{{"instances": [{before}{row}]'
    for last in (nest, row.replace(": 60", f": {nest}"), row[:-1] + f', "more": {nest}}}'):
        yield f'{{"instances": [{before}{last}]}}'
    yield f'{envelope}, "parameters": {nest}}}'
    yield f'{envelope}, "parameters": {{"coverage": {nest}}}}}'
    yield f'{envelope}, "more": {nest}}}'
    yield f'{{"more": {nest}, {envelope[1:]}}}'


@pytest.mark.parametrize("rows", [0, 300], ids=["judged at once", "judged by columns"])
@pytest.mark.parametrize("depth", [101, 500, 20_000])
@pytest.mark.parametrize(
    "options",
    [
        '"parameters": %s, "parameters": {}',
        '"p\\u0061rameters": %s, "parameters": {}',
        '"parameters": {"coverage": %s, "coverage": 0.8}',
    ],
)
async def test_a_nest_is_refused_where_another_value_counts(
    client: httpx.AsyncClient, rows: int, depth: int, options: str
) -> None:
    """Of equal keys the last counts, and nobody need read the others."""
    instances = ", ".join([json.dumps(ROW)] * (rows + 1))
    body = f'{{"instances": [{instances}], {options % ("[" * depth + "]" * depth)}}}'
    response = await client.post(URL, content=body, headers=JSON)

    assert response.status_code == 400
    assert "more than 100 levels" in response.json()["detail"]


@pytest.mark.parametrize("rows", [0, 300], ids=["judged at once", "judged by columns"])
@pytest.mark.parametrize("depth", [1, 90, 101, 250_000])
@pytest.mark.parametrize(("opening", "closing"), ["[]", ('{"a":', "}")], ids=["brackets", "braces"])
async def test_a_nest_is_refused_wherever_it_lies(
    client: httpx.AsyncClient, rows: int, depth: int, opening: str, closing: str
) -> None:
    """No valid body has one; beyond the setting's depth nobody even looks at what it is."""
    for body in nested(opening * depth + "1" + closing * depth, rows):
        response = await client.post(URL, content=body, headers=JSON)

        assert response.status_code in ((400,) if depth > 100 else (400, 422))
        assert ("more than 100 levels" in response.json()["detail"]) == (depth > 100)


async def test_brackets_in_a_string_are_no_nest(client: httpx.AsyncClient) -> None:
    """They are a wrong value, which is said with its place."""
    row = ROW | {"diagnosis": "[" * 250_000}
    response = await client.post(URL, json={"instances": [row]})

    refused(response, 422, "#/instances/0/diagnosis")


async def test_more_requests_than_may_be_get_429_and_health_checks_do_not() -> None:
    """They are refused before anything of them is read, and come in again when there is room."""
    servable = Held()
    registry = Registry(MODELS)
    registry.add(servable)
    large = {"instances": GATE["instances"] * 1000}  # computed on a thread, so that the loop can answer
    async with client_of(create_app(Settings(max_concurrent_requests=2), registry)) as client:
        posts = [asyncio.create_task(client.post(PREDICT, json=large)) for _ in range(2)]
        await asyncio.to_thread(servable.begun.wait, 30)
        while client._transport.app.api.state.door.inside < 2:
            await asyncio.sleep(0)

        third, fourth = [await client.post(PREDICT, content=b"[" * 1000) for _ in range(2)]

        assert refused(third, 429)["type"] == "urn:problem:overloaded"
        assert third.headers["retry-after"]
        for refusal in (third, fourth):  # each is an occurrence of its own, in the log too
            assert refusal.json()["instance"] == f"urn:request:{refusal.headers['x-request-id']}"
        assert third.json()["instance"] != fourth.json()["instance"]
        for path in ("/health/live", "/metrics"):
            assert (await client.get(path)).status_code == 200
        servable.released.set()
        assert [post.status_code for post in await asyncio.gather(*posts)] == [200, 200]
        assert (await client.post(PREDICT, json=GATE)).status_code == 200


@pytest.mark.parametrize("path", [PREDICT, "/models/and_gate/explain", "/v1/models/and_gate:predict"])
@pytest.mark.parametrize("rows", [2, 3, 2000])
async def test_fewer_rows_may_be_allowed(registry: Registry, path: str, rows: int) -> None:
    """In every dialect; on the loop and on a thread."""
    app = create_app(Settings(max_rows=2), registry)
    async with client_of(app) as client:
        answer = await client.post(path, json={"instances": GATE["instances"] * rows})

    assert answer.status_code == (200 if rows == 2 else 413)
    assert rows == 2 or "at most 2 rows" in answer.text
