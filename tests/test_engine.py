"""Where requests are computed, and with whom; over HTTP."""

import asyncio
import gc
import json
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from servables import BESIDE, GATE, PREDICT, Counting, Held, Picky, rows, serving

from mean_servable import MeanServable
from service import engine as engine_module
from service import inference
from service.actions import actions
from service.engine import FEW, SLICE, Engine
from service.features import Matrix
from service.inference import CALL_ROWS, Job
from service.instances import Instances
from service.judge import SMALL_ROWS
from service.models import MODELS
from service.tasks import Outputs
from service.turns import Turns
from service.warmup import Patient

pytestmark = pytest.mark.anyio


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


@pytest.mark.parametrize(("seconds", "turns"), [(30.0, 1), (0.0, 2)])
async def test_short_calls_of_a_request_share_a_turn(
    seconds: float, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calls of a slice in one turn while it lasts, or each in its own; all are answered either way."""

    class Entered(Turns):
        times = 0

        def __enter__(self) -> None:
            super().__enter__()
            self.times += 1

    calls = Entered(1)
    monkeypatch.setattr(engine_module, "CALLS", calls)
    monkeypatch.setattr(engine_module, "TURN_S", seconds)
    servable = Counting(GATE)
    async with serving(servable) as client:
        servable.calls.clear()
        answer = await client.post(PREDICT, json=rows(SLICE))

    assert len(answer.json()["predictions"]) == SLICE
    assert servable.calls == [CALL_ROWS] * 2
    assert calls.times == turns
