"""What the service says of itself, and never of a request."""

import asyncio
import logging
import time
from datetime import datetime

import httpx
import pytest

from servers import client_of
from service.app import create_app
from service.registry import Registry
from service.settings import Settings
from service.telemetry import TOGETHER_S, Ended, Telemetry, log_lines

pytestmark = pytest.mark.anyio


async def test_metrics_count_requests_by_route_and_rows_by_model(registry: Registry) -> None:
    """Prometheus sees the route's template, never the path that was typed."""
    async with client_of(create_app(Settings(), registry)) as client:
        rows = [{"x1": 1, "x2": 1}] * 3
        await client.post("/models/and_gate/versions/1/predict", json={"instances": rows})
        await client.get("/typed/by/somebody")
        page = (await client.get("/metrics")).text

    route = 'route="/models/and_gate/versions/{version}/predict"'
    assert f'http_requests_total{{method="POST",{route},status="200"}} 1.0' in page
    assert 'model_rows_total{action="predict",model="and_gate",version="1"} 3.0' in page
    assert 'http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in page
    assert "somebody" not in page


async def test_log_lines_hold_the_route_and_never_what_was_typed(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Paths, methods, queries, headers and bodies can all carry a value."""
    caplog.set_level(logging.DEBUG)
    caplog.handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    texts = []
    for response in (
        await client.get("/MARKER"),
        await client.request("MARKER", "/models"),
        await client.get("/models/MARKER?MARKER=MARKER", headers={"MARKER": "MARKER"}),
        await client.post("/models/survival/versions/MARKER/predict"),
        await client.post("/models/survival/predict", content=b"MARKER", headers={"content-type": "MARKER"}),
        await client.post(
            "/models/survival/predict",
            content=b'{"MARKER": "MARKER", "instances": [{"MARKER": "MARKER", "age": "MARKER"}]}',
            headers={"content-type": "application/json"},
        ),
        await client.post(
            "/models/survival/predict",
            content=b"MARKER,age\nMARKER,MARKER",
            headers={"content-type": "text/csv"},
        ),
        await client.post(
            "/models/survival/what-if?MARKER=MARKER&feature=MARKER",
            content=b"MARKER,age\nMARKER,MARKER",
            headers={"content-type": "text/csv"},
        ),
        await client.post(
            "/models/survival/what-if",
            json={"instances": [{"age": 60}], "parameters": {"feature": "MARKER", "points": "MARKER"}},
        ),
        await client.get("/models/survival/card/MARKER.png"),
    ):
        assert 400 <= response.status_code < 500
        texts += [response.text, str(response.headers)]
    await client.get("/metrics")  # which writes what the log holds back
    records = [record.getMessage() for record in caplog.records if record.name.startswith("service")]
    ours = [line for record in records for line in record.splitlines()]

    assert len(ours) == 10
    assert "MARKER" not in "".join(texts + ours)


def test_a_line_says_how_long_a_request_took_in_milliseconds(caplog: pytest.LogCaptureFixture) -> None:
    """One record for all that are written together, of level INFO; each line has its request's own moment."""
    caplog.set_level(logging.INFO, logger="service.access")
    noon = datetime(2026, 11, 27, 12, 0, 0, 250_000).timestamp()
    log_lines(
        [
            Ended("POST", "/models", 200, 0.0123, "id1", noon),
            Ended("GET", "/models", 404, 1.5, "id2", noon + 1),
        ]
    )
    first, second = caplog.records[-1].getMessage().splitlines()

    assert first == "2026-11-27 12:00:00,250 INFO service.access POST /models 200 12.3 ms id1"
    assert second == "2026-11-27 12:00:01,250 INFO service.access GET /models 404 1500.0 ms id2"
    assert (caplog.records[-1].levelname, caplog.records[-1].levelno) == ("INFO", logging.INFO)


async def test_what_was_answered_last_is_logged_before_the_service_ends(
    registry: Registry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line waits for others, but not beyond the end."""
    monkeypatch.setattr("service.telemetry.TOGETHER_S", 600)
    caplog.set_level(logging.INFO, logger="service.access")
    async with client_of(create_app(Settings(), registry)) as client:
        request_id = (await client.get("/health/live")).headers["x-request-id"]

        assert request_id not in caplog.text

    assert request_id in caplog.text


async def test_lines_are_written_though_nobody_asks_any_more(caplog: pytest.LogCaptureFixture) -> None:
    """Those of requests that end within some 20 ms in one record."""
    caplog.set_level(logging.INFO, logger="service.access")
    telemetry = Telemetry()
    for number in range(3):
        telemetry.note(Ended("GET", "/health/live", 200, 0.001, f"id{number}", time.time()))
    assert not caplog.records

    async with asyncio.timeout(10):
        while not caplog.records:
            await asyncio.sleep(TOGETHER_S)

    assert [line[-3:] for line in caplog.records[0].getMessage().splitlines()] == ["id0", "id1", "id2"]


async def test_a_loop_that_ended_with_lines_held_back_does_not_keep_the_next_from_writing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its timer is gone with it."""
    caplog.set_level(logging.INFO, logger="service.access")
    telemetry = Telemetry()

    async def note(request_id: str, at: float) -> None:
        telemetry.note(Ended("GET", "/health/live", 200, 0.001, request_id, at))

    await asyncio.to_thread(asyncio.run, note("first", time.time() - 1))
    await note("second", time.time())
    async with asyncio.timeout(10):
        while not caplog.records:
            await asyncio.sleep(TOGETHER_S)

    assert "first" in caplog.text
    assert "second" in caplog.text


async def test_no_line_is_written_where_only_warnings_are_wanted(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """--log-level warning."""
    caplog.set_level(logging.WARNING, logger="service.access")
    await client.get("/health/live")
    await client.get("/metrics")

    assert not [record for record in caplog.records if record.name == "service.access"]
