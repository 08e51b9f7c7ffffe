"""Bodies that are read on threads: one large one at a time, and none is kept that was refused."""

import asyncio
import gc
import weakref
from contextlib import suppress
from threading import Barrier, Event, Thread

import pytest

from mean_servable import MeanServable
from service.actions import actions
from service.engine import ALONE, Engine, asked_of
from service.errors import CallerGone, MalformedBody, ModelFailure
from service.judge import Asked
from service.models import MODELS
from service.warmup import Patient

pytestmark = pytest.mark.anyio

GATE = MODELS["and_gate"]


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
