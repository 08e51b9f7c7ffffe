"""How many rows may wait and for how long, and what becomes of those that nobody waits for; over HTTP."""

import asyncio
import json

import pytest
from servables import BESIDE, GATE, PREDICT, ROW, Held, Picky, rows, serving

from mean_servable import MeanServable
from rows import document, refused
from service.app import create_app
from service.features import Matrix
from service.inference import CALL_ROWS, MAX_EXPLAINED
from service.judge import SMALL_ROWS
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.tasks import Outputs

pytestmark = pytest.mark.anyio


async def test_the_places_of_every_request_are_given_back() -> None:
    """Answered, refused, failed, on the loop or beside it: afterwards as many rows may wait as before."""
    async with serving(Picky(GATE), max_waiting_rows=BESIDE) as client:
        for _ in range(5):
            for count in (1, SMALL_ROWS - 1, BESIDE):
                assert (await client.post(PREDICT, json=rows(count))).status_code == 200
            failing = {"instances": [{"x1": 0, "x2": 0}] * 100}
            assert (await client.post(PREDICT, json=failing)).status_code == 500
            assert (await client.post(PREDICT, json={"instances": [{"x1": 9}]})).status_code == 422


@pytest.mark.parametrize("count", [11, SMALL_ROWS - 1, BESIDE, 5000])
async def test_a_request_beyond_the_bound_is_answered_when_nobody_else_is_there(count: int) -> None:
    """It would be refused for ever otherwise, on the loop and beside it; and again, once it is answered."""
    async with serving(MeanServable(GATE), max_waiting_rows=10) as client:
        for _ in range(2):
            assert (await client.post(PREDICT, json=rows(count))).status_code == 200


async def test_more_rows_than_may_wait_get_429_and_the_others_are_answered() -> None:
    """The bound counts what waits and what is computed; when that is done there is room again."""
    servable = Held()
    async with serving(servable, max_waiting_rows=2 * CALL_ROWS) as client:
        first = asyncio.create_task(client.post(PREDICT, json=rows(BESIDE)))
        await asyncio.to_thread(servable.begun.wait, 30)

        beyond = await client.post(PREDICT, json=rows(BESIDE))
        servable.released.set()

        assert (await first).status_code == 200
        assert (await client.post(PREDICT, json=rows(BESIDE))).status_code == 200
    refused(beyond, 429)
    assert beyond.headers["retry-after"] == "1"


async def test_large_requests_keep_no_small_one_out() -> None:
    """Who shares the loop's calls is answered while others have taken all that they may."""

    class HeldBeside(Held):
        def predict(self, matrix: Matrix) -> Outputs:
            return MeanServable.predict(self, matrix) if len(matrix) == 1 else super().predict(matrix)

    servable = HeldBeside()
    async with serving(servable, max_waiting_rows=BESIDE) as client:
        first = asyncio.create_task(client.post(PREDICT, json=rows(BESIDE)))
        await asyncio.to_thread(servable.begun.wait, 30)

        small = await client.post(PREDICT, json=rows(1))
        large = await client.post(PREDICT, json=rows(BESIDE))
        servable.released.set()

        assert (await first).status_code == 200
    assert small.status_code == 200
    refused(large, 429)


async def test_a_request_that_takes_too_long_gets_504_and_frees_its_place() -> None:
    """The rest of its rows is never computed."""
    servable = Held()
    async with serving(servable, max_waiting_rows=1000, request_timeout_s=1) as client:
        slow = await client.post(PREDICT, json=rows(1000))
        servable.released.set()
        after = await client.post(PREDICT, json=rows(1000))

    refused(slow, 504)
    assert after.status_code == 200
    # One call of the first request, which was under way; then those of the second.
    assert servable.calls == [CALL_ROWS, CALL_ROWS, 1000 - CALL_ROWS]


async def test_a_client_may_have_less_patience_but_not_more() -> None:
    """Request-Timeout in seconds; the setting is the longest."""
    servable = Held()
    async with serving(servable, request_timeout_s=0.2) as client:
        for patience in ("0.05", "1000"):
            answer = await client.post(PREDICT, json=rows(BESIDE), headers={"request-timeout": patience})

            refused(answer, 504)
        servable.released.set()


@pytest.mark.parametrize("patience", ["soon", "0", "-1", "nan", "inf", "1s", ""])
async def test_a_patience_that_is_no_time_is_refused(patience: str) -> None:
    async with serving(MeanServable(GATE)) as client:
        answer = await client.post(PREDICT, json=rows(1), headers={"request-timeout": patience})

    assert "Request-Timeout" in refused(answer, 400)["detail"]


@pytest.mark.parametrize("action", ["predict", "evaluate", "explain"])
async def test_what_nobody_waits_for_any_more_ends_at_the_next_call(action: str) -> None:
    """A client that closes its connection leaves no thread at work for it."""

    class Explaining(Held):
        def explain(self, matrix: Matrix) -> Outputs:
            self.predict(matrix)
            return super().explain(matrix)

    servable, left, sent = Explaining(), asyncio.Event(), []
    count = MAX_EXPLAINED if action == "explain" else BESIDE
    body = json.dumps(document(GATE, *[ROW] * count, action=action)).encode()
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, object]:
        if message := next(messages, None):
            return message
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    registry = Registry(MODELS)
    registry.add(servable)
    app = create_app(Settings(), registry)
    scope = {
        "type": "http", "method": "POST", "path": f"/models/and_gate/{action}", "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip
    async with app.api.router.lifespan_context(app.api):
        request = asyncio.create_task(app(scope, receive, send))
        await asyncio.to_thread(servable.begun.wait, 30)
        left.set()
        await request
        servable.released.set()

    assert len(servable.calls) == 1
    assert sent == []
