"""Bodies before they are read, and as they are: how many rows they seem to hold, one large one at a time."""

import asyncio
import gc
import weakref
from contextlib import suppress
from threading import Barrier, Event, Thread

import pytest
from servables import GATE

from mean_servable import MeanServable
from service.actions import actions
from service.engine import ALONE, Engine, asked_of, rows_of
from service.errors import CallerGone, MalformedBody, ModelFailure
from service.instances import Asked
from service.judge import small
from service.warmup import Patient

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("body", [b'{"instances": [%b]}' % (b"1," * 10**6), b"{"], ids=["large", "small"])
async def test_a_body_that_is_refused_is_not_kept(body: bytes) -> None:
    """The collector is off: no circle of an error and what waits for it holds on to its caller."""
    engine, servable = Engine(1000), MeanServable(GATE)
    _, _, evaluate, _ = actions(GATE)
    caller = Patient()
    watched = weakref.ref(caller)
    gc.disable()
    try:
        with suppress(MalformedBody):
            await engine.answer(evaluate, servable, evaluate.judge.json, body, caller)
        del caller
        # The turn of the loop and the thread that told of the error hold it a moment longer.
        async with asyncio.timeout(10):
            while watched() is not None:
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
        engine.close()


async def test_large_bodies_are_read_one_at_a_time() -> None:
    """Four on four threads; whoever left meanwhile is not read at all."""
    reading, others, end = Event(), Barrier(4), Event()
    read = list[bytes]()

    def slow(body: bytes) -> Asked:
        read.append(body[:1])
        reading.set()
        assert end.wait(timeout=30)
        raise ModelFailure

    def ask(number: bytes, stop: Event) -> None:
        if number != b"1":
            others.wait(timeout=30)
        with suppress(ModelFailure, CallerGone):
            asked_of(slow, number * (ALONE + 1), stop)

    left = Event()
    threads = [Thread(target=ask, args=[number, left]) for number in (b"1", b"2", b"3", b"4")]
    threads[0].start()
    assert reading.wait(timeout=30)
    for thread in threads[1:]:
        thread.start()
    others.wait(timeout=30)  # all are about to wait for their turn
    left.set()
    end.set()
    for thread in threads:
        thread.join(timeout=30)

    assert read == [b"1"]


@pytest.mark.parametrize("text", ["x1,x2\n" + "1,1\n" * 600, "x1,x2\r" + "1,1\r" * 600])
def test_a_small_body_of_many_rows_is_not_judged_on_the_loop(text: str) -> None:
    """However long its first row is."""
    assert not small(text.encode())
    assert not small(text.replace("1,1", "1,1" + " " * 100, 1).encode())
    assert small(b'{"instances": [{"x1": 1, "x2": 1}]}')


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
