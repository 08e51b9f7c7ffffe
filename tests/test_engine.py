"""Where requests are computed, what bounds them, and what ends them early; over HTTP."""

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest

from mean_servable import MeanServable
from rows import document, refused
from servers import client_of
from service import inference
from service.actions import actions
from service.app import create_app
from service.engine import FEW, Engine, rows_of
from service.errors import ModelFailure
from service.features import Matrix
from service.inference import CALL_ROWS, MAX_EXPLAINED, Job
from service.judge import SMALL_ROWS, Instances, small
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec
from service.tasks import Outputs
from service.warmup import Patient

pytestmark = pytest.mark.anyio

GATE = MODELS["and_gate"]
ROW = {"x1": 1, "x2": 1}
PREDICT = "/models/and_gate/predict"
# So many rows are computed on a thread, in two calls.
BESIDE = CALL_ROWS + 1


class Held(MeanServable):
    """A servable that waits in each call until it is released; it notes the rows of each."""

    def __init__(self) -> None:
        super().__init__(GATE)
        self.begun, self.released = Event(), Event()
        self.calls: list[int] = []

    def predict(self, matrix: Matrix) -> Outputs:
        self.calls.append(len(matrix))
        self.begun.set()
        assert self.released.wait(timeout=30)
        return super().predict(matrix)


class Picky(MeanServable):
    """A servable that fails where a row is 0, 0."""

    def predict(self, matrix: Matrix) -> Outputs:
        if not matrix.any(axis=1).all():
            raise ModelFailure("and_gate/1: the graph answered a non-finite number")
        return super().predict(matrix)


@asynccontextmanager
async def serving(servable: MeanServable, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    registry = Registry(MODELS)
    registry.add(servable)
    async with client_of(create_app(Settings(**settings), registry)) as client:
        yield client


def rows(count: int) -> dict[str, object]:
    return {"instances": [ROW] * count}


class Counting(MeanServable):
    """A servable that notes the rows of each call."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.calls: list[int] = []

    def predict(self, matrix: Matrix) -> Outputs:
        self.calls.append(len(matrix))
        return super().predict(matrix)


async def test_concurrent_requests_share_calls_whatever_coverage_they_ask_for() -> None:
    """Thirty clients, three coverages: the first is alone, the others share; each gets its own sets."""
    survival = MODELS["survival"]
    servable = Counting(survival)
    path = "/models/survival/predict"
    bodies = [
        {"instances": [dict(survival.example)], "parameters": {"coverage": coverage}}
        for coverage in (0.8, 0.9, 0.95) for _ in range(10)
    ]  # fmt: skip
    async with serving(servable) as client:
        alone = [(await client.post(path, json=body)).json() for body in bodies]
        servable.calls.clear()
        together = [answer.json() for answer in await asyncio.gather(
            *(client.post(path, json=body) for body in bodies)
        )]  # fmt: skip

    assert together == alone
    assert len({json.dumps(answer) for answer in alone}) == 3
    assert sum(servable.calls) == 30
    assert len(servable.calls) <= 3


async def test_the_places_of_every_request_are_given_back() -> None:
    """Answered, refused, failed, on the loop or beside it: afterwards as many rows may wait as before."""
    async with serving(Picky(GATE), max_waiting_rows=BESIDE) as client:
        for _ in range(5):
            for count in (1, SMALL_ROWS - 1, BESIDE):
                assert (await client.post(PREDICT, json=rows(count))).status_code == 200
            failing = {"instances": [{"x1": 0, "x2": 0}] * 100}
            assert (await client.post(PREDICT, json=failing)).status_code == 500
            assert (await client.post(PREDICT, json={"instances": [{"x1": 9}]})).status_code == 422


@pytest.mark.parametrize("count", [11, SMALL_ROWS - 1, BESIDE])
async def test_a_request_beyond_the_bound_is_answered_when_nobody_else_is_there(count: int) -> None:
    """It would be refused for ever otherwise, on the loop and beside it."""
    async with serving(MeanServable(GATE), max_waiting_rows=10) as client:
        assert (await client.post(PREDICT, json=rows(count))).status_code == 200


async def test_a_what_if_of_many_points_is_sliced_and_reads_as_one() -> None:
    """300 instances of 200 points: each curve is what its instance gets alone."""
    survival = MODELS["survival"]
    ages = [dict(survival.example) | {"age": 20 + number % 60} for number in range(300)]
    parameters = {"feature": "forced_vital_capacity", "points": 200}
    path = "/models/survival/what-if"
    async with serving(MeanServable(survival)) as client:
        whole = (await client.post(path, json={"instances": ages, "parameters": parameters})).json()
        for number in (0, 11, 12, 299):
            body = {"instances": [ages[number]], "parameters": parameters}
            one = (await client.post(path, json=body)).json()
            assert whole["curves"][number] == one["curves"][0]
            assert whole | {"curves": []} == one | {"curves": []}
    assert len(whole["curves"]) == 300


@pytest.mark.parametrize("text", ["x1,x2\n" + "1,1\n" * 600, "x1,x2\r" + "1,1\r" * 600])
def test_a_small_body_of_many_rows_is_not_judged_on_the_loop(text: str) -> None:
    """However long its first row is."""
    assert not small(text.encode())
    assert not small(text.replace("1,1", "1,1" + " " * 100, 1).encode())
    assert small(b'{"instances": [{"x1": 1, "x2": 1}]}')


@pytest.mark.parametrize("count", [1, SMALL_ROWS - 1, CALL_ROWS, BESIDE, 3000, 5000])
async def test_every_size_is_answered_alike(count: int) -> None:
    """On the loop, on a thread, and in several slices: the same answers, in order."""
    instances = [{"x1": number % 2, "x2": (number % 3 == 0 and 1) or 0} for number in range(count)]
    async with serving(MeanServable(GATE)) as client:
        whole = await client.post(PREDICT, json={"instances": instances})
        four = [
            (await client.post(PREDICT, json={"instances": [{"x1": x1, "x2": x2}]})).json()
            for x1 in (0, 1) for x2 in (0, 1)
        ]  # fmt: skip

    single = {(x1, x2): four[2 * x1 + x2]["predictions"][0] for x1 in (0, 1) for x2 in (0, 1)}
    assert whole.json()["predictions"] == [single[row["x1"], row["x2"]] for row in instances]
    assert whole.json().keys() == four[0].keys()


async def test_a_failing_row_fails_its_own_request_and_not_its_neighbours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Twenty requests at once, one of which the graph cannot answer: 19 answers, and one id in the log."""
    bodies = [
        {"instances": [{"x1": 1, "x2": 1} if number != 7 else {"x1": 0, "x2": 0}]} for number in range(20)
    ]
    async with serving(Picky(GATE)) as client:
        answers = await asyncio.gather(*(client.post(PREDICT, json=body) for body in bodies))

    assert [answer.status_code for answer in answers] == [200] * 7 + [500] + [200] * 12
    assert answers[7].json()["instance"].removeprefix("urn:request:") in caplog.text


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


@pytest.mark.parametrize("patience", ["soon", "0", "-1", "nan", "1s", ""])
async def test_a_patience_that_is_no_time_is_refused(patience: str) -> None:
    async with serving(MeanServable(GATE)) as client:
        answer = await client.post(PREDICT, json=rows(1), headers={"request-timeout": patience})

    assert "Request-Timeout" in refused(answer, 400)["detail"]


@pytest.mark.parametrize("action", ["predict", "evaluate", "explain"])
async def test_what_nobody_waits_for_any_more_ends_at_the_next_call(action: str) -> None:
    """A client that closes its connection leaves no thread at work for it."""

    class Counting(Held):
        def explain(self, matrix: Matrix) -> Outputs:
            self.predict(matrix)
            return super().explain(matrix)

    servable, left, sent = Counting(), asyncio.Event(), []
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


async def test_small_requests_are_answered_while_large_ones_are_computed() -> None:
    """The thread of a large request holds up neither health nor one-row requests of the same model."""

    class LargeHeld(Held):
        def predict(self, matrix: Matrix) -> Outputs:
            return super().predict(matrix) if len(matrix) > 1 else MeanServable.predict(self, matrix)

    servable = LargeHeld()
    async with serving(servable) as client:
        large = asyncio.create_task(client.post(PREDICT, json=rows(10_000)))
        await asyncio.to_thread(servable.begun.wait, 30)

        assert (await client.post(PREDICT, json=rows(1))).status_code == 200
        assert (await client.get("/health/live")).status_code == 200
        assert not large.done()

        servable.released.set()
        assert len((await large).json()["predictions"]) == 10_000


@pytest.mark.parametrize("count", [1, 2, 50, 6000])
@pytest.mark.parametrize("before", ["", '"parameters": {"coverage": 0.9}, '])
def test_rows_are_estimated_before_they_are_read(count: int, before: str) -> None:
    """From the first of them, wherever the options stand; JSON and CSV, with or without a last newline."""
    listed = ", ".join(['{"x1": 1, "x2": 1}'] * count)
    lines = "x1,x2" + "\n1,1" * count

    for body in (f'{{{before}"instances": [{listed}]}}', lines, lines + "\n"):
        assert 0.5 * count <= rows_of(body.encode()) <= 1.5 * count + 10


@pytest.mark.parametrize("body", ["", "x", "{", '{"instances": []}', "{}", "\n", "\n\n", "\r\r"])
def test_what_holds_no_row_is_estimated_at_next_to_nothing(body: str) -> None:
    assert 1 <= rows_of(body.encode()) <= 2


async def test_a_request_that_is_beyond_the_bound_by_itself_is_answered_when_nobody_else_waits() -> None:
    """It would otherwise be told for ever to come a little later."""
    async with serving(MeanServable(GATE), max_waiting_rows=400) as client:
        assert (await client.post(PREDICT, json=rows(5000))).status_code == 200
        assert (await client.post(PREDICT, json=rows(5000))).status_code == 200


async def test_nothing_is_kept_for_a_version_that_was_retired_while_its_request_was_read() -> None:
    """It is answered, and then nobody holds the version any more."""
    engine = Engine(100)
    action = actions(GATE)[0]
    retired, current = MeanServable(GATE, 1), MeanServable(GATE, 2)
    engine.keep([current])
    answered = await engine.answer(
        action, retired, action.judge.json, json.dumps(rows(1)).encode(), Patient()
    )
    gone = weakref.ref(retired)
    del retired
    await asyncio.sleep(0)  # the coalescer looks about once more
    gc.collect()

    assert b'"version":1' in answered.body
    assert gone() is None


async def test_many_small_rows_wait_as_a_matrix() -> None:
    """As lists, 64 clients of a hundred rows each were answered a twentieth more slowly."""
    engine, asked = Engine(1000), []

    predict = actions(GATE)[0]

    def job(servable: MeanServable, instances: Instances, parameters: Any) -> Job:
        asked.append(type(instances.cells))
        return inference.predict(servable, instances, parameters)

    for count in (1, FEW, FEW + 1):
        body = json.dumps(rows(count)).encode()
        await engine.answer(
            replace(predict, job=job), MeanServable(GATE), predict.judge.json, body, Patient()
        )
    engine.close()

    assert asked == [list, list, np.ndarray]
