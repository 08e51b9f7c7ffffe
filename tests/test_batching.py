"""The coalescer: calls that are shared, rows that are not."""

import asyncio
import gc
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf

import pytest

from service.batching import Coalescer
from service.errors import CallerGone, DeadlineExceeded

pytestmark = pytest.mark.anyio

Numbers = Sequence[float]


@dataclass
class Waiter:
    """A caller that has all the time in the world, and goes when it is told to."""

    deadline: float = inf
    left: bool = False

    def gave_up(self) -> bool:
        return self.left

    async def gone(self) -> None:
        raise AssertionError("the coalescer asks; it does not wait")


@dataclass
class Doubling:
    """Doubles numbers, notes each call, and fails where one is `broken`."""

    broken: float = -1.0
    calls: list[list[float]] = field(default_factory=list)

    def __call__(self, asked: Sequence[Numbers]) -> Sequence[Numbers]:
        self.calls.append([row for rows in asked for row in rows])
        if self.broken in self.calls[-1]:
            raise ZeroDivisionError
        return [[2 * row for row in rows] for rows in asked]


async def ask(coalescer: Coalescer, *rows: float, caller: Waiter | None = None) -> Numbers:
    answered: Numbers = await coalescer(rows, len(rows), caller or Waiter())
    return answered


async def in_company(call: Doubling, rows: int) -> Coalescer:
    """A coalescer whose last call was shared, and that therefore waits for others."""
    coalescer = Coalescer(call, rows)
    await asyncio.gather(*(ask(coalescer, 0) for _ in range(3)))
    call.calls.clear()
    return coalescer


async def test_what_arrives_together_shares_a_call_and_each_gets_its_own_rows_in_order() -> None:
    """Three callers, six rows, one call."""
    call = Doubling()
    coalescer = await in_company(call, rows=10)

    answers = await asyncio.gather(ask(coalescer, 1, 2), ask(coalescer, 3), ask(coalescer, 6, 5, 4))

    assert answers == [[2, 4], [6], [12, 10, 8]]
    assert call.calls == [[1, 2, 3, 6, 5, 4]]


async def test_a_lone_request_waits_for_nobody() -> None:
    """It is computed before the loop turns, and so is the next one that finds nobody else about."""
    coalescer = Coalescer(Doubling(), rows=10)
    for _ in range(2):
        answer = asyncio.create_task(ask(coalescer, 1))
        await asyncio.sleep(0)

        assert answer.done()
        await asyncio.sleep(0)


async def test_a_crowd_that_finds_nobody_shares_calls_but_for_the_first_of_it() -> None:
    """The first to ask cannot know of the others; they come in the same turn, and wait for one another."""
    call = Doubling()
    coalescer = Coalescer(call, rows=10)

    await asyncio.gather(*(ask(coalescer, row) for row in range(4)))

    assert call.calls == [[0], [1, 2, 3]]


async def test_after_company_a_lone_request_is_waited_with_once() -> None:
    """Within a few turns, without a clock; the one after it waits for nobody."""
    coalescer = await in_company(Doubling(), rows=10)
    first = asyncio.create_task(ask(coalescer, 1))
    for _ in range(5):
        await asyncio.sleep(0)
    second = asyncio.create_task(ask(coalescer, 2))
    await asyncio.sleep(0)

    assert (first.done(), second.done()) == (True, True)


async def test_a_call_takes_no_more_rows_than_it_may() -> None:
    """What does not fit goes next, whole: rows of one caller are never parted."""
    call = Doubling()
    coalescer = await in_company(call, rows=4)

    answers = await asyncio.gather(ask(coalescer, 1, 2, 3), ask(coalescer, 4, 5), ask(coalescer, 6))

    assert answers == [[2, 4, 6], [8, 10], [12]]
    assert call.calls == [[1, 2, 3], [4, 5, 6]]


async def test_a_failing_row_fails_its_own_caller_alone() -> None:
    """Its neighbours in the call are computed again, each alone, and answered."""
    coalescer = await in_company(Doubling(broken=2), rows=10)

    answers = await asyncio.gather(
        ask(coalescer, 1), ask(coalescer, 2), ask(coalescer, 3), return_exceptions=True
    )

    assert (answers[0], answers[2]) == ([2], [6])
    assert isinstance(answers[1], ZeroDivisionError)


async def test_a_failing_row_among_many_costs_a_few_calls_more_and_not_one_for_each() -> None:
    """Halves of halves: sixteen callers, one at fault, nine calls; fifteen are answered."""
    call = Doubling(broken=11)
    coalescer = await in_company(call, rows=16)

    answers = await asyncio.gather(*(ask(coalescer, row) for row in range(16)), return_exceptions=True)

    assert [row for row, answer in enumerate(answers) if answer != [2 * row]] == [11]
    assert len(call.calls) == 9


async def test_a_call_that_leaves_somebody_out_fails_and_leaves_nobody_waiting() -> None:
    """Nobody is given what was another's."""
    call = Doubling()
    coalescer = await in_company(call, 100)
    coalescer._call = lambda asked: call(asked)[1:]

    async with asyncio.timeout(30):
        answers = await asyncio.gather(*(ask(coalescer, row) for row in (1, 2, 3)), return_exceptions=True)

    assert all(isinstance(answer, ValueError) for answer in answers)


async def test_what_failed_is_not_kept() -> None:
    """Once its caller has the error and drops it, the rows are gone too, without the collector's help."""

    class Rows(list[float]):
        """A list that can be watched."""

    coalescer = await in_company(Doubling(broken=2), rows=10)
    rows = Rows([2])
    watched = weakref.ref(rows)
    gc.disable()
    try:
        with suppress(ZeroDivisionError):
            await coalescer(rows, 1, Waiter())
        del rows
        await asyncio.sleep(0)  # this turn of the loop holds what it has told

        assert watched() is None
    finally:
        gc.enable()


async def test_a_lone_request_that_fails_leaves_nothing_behind() -> None:
    """Its caller gets the error; those of the same turn, and the next one, are answered."""
    coalescer = Coalescer(Doubling(broken=2), rows=10)

    answers = await asyncio.gather(ask(coalescer, 2), ask(coalescer, 1), return_exceptions=True)

    assert isinstance(answers[0], ZeroDivisionError)
    assert answers[1] == [2]
    assert await ask(coalescer, 4) == [8]


async def test_nobody_is_computed_before_those_who_came_first() -> None:
    """Who comes while others wait for company joins them."""
    call = Doubling()
    coalescer = Coalescer(call, rows=10)
    first = [asyncio.create_task(ask(coalescer, row)) for row in (1, 2)]
    await asyncio.sleep(0)  # 1 is computed, 2 waits
    await asyncio.sleep(0)
    last = asyncio.create_task(ask(coalescer, 3))
    await asyncio.gather(*first, last)

    assert [row for rows in call.calls for row in rows] == [1, 2, 3]


async def test_a_caller_that_cannot_be_asked_stops_no_other() -> None:
    """Even if the server fails while it is asked whether a caller is still there, the queue goes on."""

    class Broken(Waiter):
        def gave_up(self) -> bool:
            raise OSError

    call = Doubling()
    coalescer = await in_company(call, rows=1)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    answers = await asyncio.wait_for(
        asyncio.gather(ask(coalescer, 1), ask(coalescer, 2, caller=Broken()), ask(coalescer, 3)), 5
    )

    assert answers == [[2], [4], [6]]


async def test_a_caller_that_gave_up_is_dropped_before_the_call() -> None:
    """Rows that waited for another call are computed only if somebody still waits for them."""
    call = Doubling()
    coalescer = await in_company(call, rows=2)

    answers = await asyncio.gather(
        ask(coalescer, 1, 2), ask(coalescer, 3, caller=Waiter(left=True)), ask(coalescer, 4),
        return_exceptions=True,
    )  # fmt: skip

    assert isinstance(answers[1], CallerGone)
    assert answers[2] == [8]
    assert call.calls == [[1, 2], [4]]


async def test_a_cancelled_request_is_dropped_before_the_call() -> None:
    """A server that ends a request cancels its task."""
    call = Doubling()
    coalescer = await in_company(call, rows=10)
    cancelled = asyncio.create_task(ask(coalescer, 1))
    kept = asyncio.create_task(ask(coalescer, 2))
    await asyncio.sleep(0)
    cancelled.cancel()

    assert await kept == [4]
    assert call.calls == [[2]]


async def test_a_deadline_that_has_passed_is_said_and_costs_no_call() -> None:
    """Both at the head of the queue and behind what was computed first."""
    call = Doubling()
    coalescer = await in_company(call, rows=2)
    late = asyncio.get_running_loop().time() - 1

    answers = await asyncio.gather(
        ask(coalescer, 1, caller=Waiter(late)), ask(coalescer, 2, 3), ask(coalescer, 4, caller=Waiter(late)),
        return_exceptions=True,
    )  # fmt: skip

    assert [type(answer) for answer in answers] == [DeadlineExceeded, list, DeadlineExceeded]
    assert call.calls == [[2, 3]]


async def test_a_lone_request_whose_deadline_has_passed_costs_no_call() -> None:
    """Its body may have taken the whole time."""
    call = Doubling()
    late = Waiter(asyncio.get_running_loop().time() - 1)

    with pytest.raises(DeadlineExceeded):
        await ask(Coalescer(call, rows=2), 1, caller=late)

    assert call.calls == []


async def test_the_loop_turns_between_two_calls() -> None:
    """A long queue does not keep health checks from being answered."""
    turns: list[int] = []

    def call(asked: Sequence[Numbers]) -> Sequence[Numbers]:
        turns.append(turn)
        return asked

    coalescer = Coalescer(call, rows=1)
    asked = asyncio.gather(*(ask(coalescer, row) for row in range(20)))
    turn = 0
    while not asked.done():
        turn += 1
        await asyncio.sleep(0)

    assert len(set(turns)) == 20


async def test_how_long_the_next_would_wait_is_read_off_the_calls_before() -> None:
    """At least a hundredth of a second for each row that waits; nothing where nobody does."""
    waits = list[float]()

    def call(asked: Sequence[Numbers]) -> Sequence[Numbers]:
        waits.append(coalescer.wait_s)
        time.sleep(0.01 * sum(map(len, asked)))  # so long a call takes: nothing is waited for
        return asked

    coalescer = Coalescer(call, rows=2)
    await asyncio.gather(*(ask(coalescer, row) for row in range(9)))

    # The first finds nobody; before the first of those that are shared no call was.
    assert [wait > 0 for wait in waits] == [False, False, True, True, False]
    assert waits[2] >= 0.04
    assert waits[3] >= 0.02
    assert coalescer.wait_s == 0


async def test_after_callers_that_left_the_next_one_is_not_thought_to_wait() -> None:
    """What passed while nobody asked is no call's time."""
    crowd, waits = [Waiter() for _ in range(9)], list[float]()

    def call(asked: Sequence[Numbers]) -> Sequence[Numbers]:
        waits.append(coalescer.wait_s)
        for one in crowd[3:]:
            one.left = True
        return asked

    coalescer = Coalescer(call, rows=2)
    gone = await asyncio.gather(
        *(ask(coalescer, row, caller=one) for row, one in enumerate(crowd)), return_exceptions=True
    )
    await asyncio.sleep(1)  # the idle time itself
    await asyncio.gather(*(ask(coalescer, row) for row in range(9)))

    assert any(isinstance(one, CallerGone) for one in gone)
    assert max(waits) < 1
