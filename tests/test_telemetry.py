"""What the service says of itself, and never of a request."""

import asyncio
import logging

import httpx
import pytest

from servers import client_of
from service.app import create_app
from service.registry import Registry
from service.settings import Settings
from service.telemetry import Ended, log_lines

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
    await asyncio.sleep(0)  # the log is written in the next turn
    records = [record.getMessage() for record in caplog.records if record.name.startswith("service")]
    ours = [line for record in records for line in record.splitlines()]

    assert len(ours) == 10
    assert "MARKER" not in "".join(texts + ours)


def test_a_line_says_how_long_a_request_took_in_milliseconds(caplog: pytest.LogCaptureFixture) -> None:
    """One record for all that ended in a turn, of level INFO for whatever handles it."""
    caplog.set_level(logging.INFO, logger="service.access")
    log_lines([Ended("POST", "/models", 200, 0.0123, "id1"), Ended("GET", "/models", 404, 1.5, "id2")])
    first, second = caplog.records[-1].getMessage().splitlines()

    assert first.endswith("INFO service.access POST /models 200 12.3 ms id1")
    assert second.endswith("INFO service.access GET /models 404 1500.0 ms id2")
    assert (caplog.records[-1].levelname, caplog.records[-1].levelno) == ("INFO", logging.INFO)


async def test_no_line_is_written_where_only_warnings_are_wanted(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """--log-level warning."""
    caplog.set_level(logging.WARNING, logger="service.access")
    await client.get("/health/live")
    await asyncio.sleep(0)

    assert not [record for record in caplog.records if record.name == "service.access"]
