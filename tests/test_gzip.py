"""A gzip body is inflated within its bounds, and for those alone who wait for it."""

import gc
import gzip
import os
import tracemalloc
from collections.abc import AsyncIterator
from threading import Event

import httpx
import pytest

from rows import refused
from servers import TIMEOUT_S, client_of
from service.app import create_app
from service.registry import Registry
from service.requests import INFLATING
from service.settings import Settings
from test_limits import BODY, GZIP, JSON, MIB, ROW, URL, sent

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
async def test_a_gzip_body_is_read(client: httpx.AsyncClient, coding: str) -> None:
    """It gets what the plain one gets."""
    encoded = {**JSON, "content-encoding": coding}
    plain = await client.post(URL, content=BODY, headers=JSON)
    response = await client.post(URL, content=gzip.compress(BODY), headers=encoded)

    assert response.status_code == 200
    assert response.content == plain.content


async def test_a_gzip_body_may_be_csv_and_of_many_rows(client: httpx.AsyncClient) -> None:
    """And come in parts."""
    lines = [",".join(ROW), *[",".join(map(str, ROW.values()))] * 3000]
    packed = gzip.compress("\n".join(lines).encode())

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(packed), 500):
            yield packed[start : start + 500]

    response = await client.post(URL, content=parts(), headers={"content-type": "text/csv", **GZIP})

    assert len(response.json()["predictions"]) == 3000


async def test_a_gzip_body_is_bounded_as_it_comes_and_as_it_becomes(registry: Registry) -> None:
    """By its bytes, by its bytes when inflated, and by what it grows."""
    small = Settings(max_body_bytes=2 * 2**20, max_inflation=10)
    async with client_of(create_app(small, registry)) as client:
        for content, said in (
            (gzip.compress(bytes(3 * 2**20)), "10 times"),
            (gzip.compress(bytes(3 * 2**20), 0), "2,097,152 bytes"),
            (gzip.compress(os.urandom(2**20).hex().encode() + b"0"), "2,097,152 bytes"),
        ):
            response = await client.post(URL, content=content, headers=JSON | GZIP)
            assert said in refused(response, 413)["detail"]


async def test_a_gzip_body_is_inflated_for_nobody_who_does_not_wait(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """504 at the deadline, and no answer to who left, while others keep both threads busy."""
    inflated: list[bytes] = []
    monkeypatch.setattr("service.requests.inflate", lambda body, *_: inflated.append(body) or body)
    app, packed, ended = create_app(Settings(), registry), gzip.compress(BODY), Event()
    others = [INFLATING.submit(ended.wait, TIMEOUT_S) for _ in range(2)]
    try:
        start, _ = await sent(app, packed, whole=True, patience=b"0.01", coding=b"gzip")
        left = await sent(app, packed, whole=True, gone=True, coding=b"gzip")
    finally:
        ended.set()
        for other in others:
            other.result()
    # What came before it has been looked at.
    INFLATING.submit(int).result()

    assert start["status"] == 504
    assert left == []
    assert app.api.state.bodies.held == 0
    assert inflated == []


async def test_a_damaged_gzip_body_is_refused(client: httpx.AsyncClient) -> None:
    """As malformed, in the shape of every other refusal."""
    response = await client.post(URL, content=gzip.compress(BODY)[:-1], headers=JSON | GZIP)

    assert refused(response, 400)["type"] == "urn:problem:malformed-body"


async def test_nothing_is_held_of_a_damaged_gzip_body(registry: Registry) -> None:
    """Its refusal is no circle that stays until the collector looks for it."""
    app, damaged = create_app(Settings(), registry), gzip.compress(os.urandom(MIB), 1)[:-1]
    await sent(app, damaged, whole=True, coding=b"gzip")
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(4):
            # Its own bytes each time.
            await sent(app, bytes(bytearray(damaged)), whole=True, coding=b"gzip")
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()

    assert held < MIB
