"""The coalescer: concurrent requests for one version of a model share one call of its graph.

A call costs some twenty microseconds before it has computed a row. There is no timer: while the last call
had a single caller, the next one is computed at once; where there is company, a call starts as soon as the
event loop has read what had already arrived, and what arrives while it runs goes together into the next
one. Calls run on the loop and not on a thread: handing rows over and back costs more than a small call, and
under load the loop's own work delays the way back (benchmarks/NOTES.md). Rows are validated before they
come here.

Knows asyncio; knows nothing of HTTP or TensorFlow, nor what a row is.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Protocol

from msgspec import Struct

from service.errors import CallerGone, DeadlineExceeded
from service.pace import Pace

# Turns of the event loop without a further arrival after which nobody is waited for. With one, 64 clients
# share a call of 64 rows; with none, what happened to be read first went ahead: 20 to 30 rows.
TURNS = 1
# Seconds in which those who wait are asked at most once whether they still do: asking 250 of them every 50 ms
# took 3 % of the core.
SWEEP_S = 0.25


class Caller(Protocol):
    """Whoever waits for an answer; `deadline` is a time of the loop's clock."""

    deadline: float

    def gave_up(self) -> bool:
        """Whether nobody waits for the answer any more."""
        ...

    async def gone(self) -> None:
        """Return when nobody waits for the answer any more."""
        ...


# What one caller asks, and what it is answered.
Asked = Any
Answered = Any
# Answers what several callers ask, each with its own, in their order.
Call = Callable[[Sequence[Asked]], Sequence[Answered]]


class Waiting(Struct, frozen=True):
    """So many rows in the queue."""

    asked: Asked
    rows: int
    caller: Caller
    answered: asyncio.Future[Answered]


class Coalescer:
    """Answers each caller what it asked, from calls that are shared."""

    def __init__(self, call: Call, rows: int) -> None:
        """Share calls of `call`, each of at most `rows` rows."""
        self._call = call
        self._rows = rows
        self._queue: deque[Waiting] = deque()
        self._queued = 0  # rows
        self._swept = -inf
        self._pace = Pace()
        # The start and the rows of the last call, while others wait behind it.
        self._before: tuple[float, int] | None = None
        # Whether others are about: some shared the last call, or one has asked in this turn of the loop.
        self._company = False

    @property
    def wait_s(self) -> float:
        """The seconds that rows which came now would wait for those before them; 0 where nobody waits."""
        return self._queued * self._pace.each_s

    async def __call__(self, asked: Asked, rows: int, caller: Caller) -> Answered:
        """Return the answer to what takes so many rows, not more than one call may have.

        Raises DeadlineExceeded, and whatever the call raises for what this caller alone asks. One that gave
        up while others were computed gets CallerGone, and its rows are not computed, but for those who left
        within the last SWEEP_S.
        """
        loop = asyncio.get_running_loop()
        if not self._company:
            return self._alone(asked, caller, loop)
        answered: asyncio.Future[Answered] = loop.create_future()
        if not self._queue:
            loop.call_soon(self._gather, 0, TURNS)
        self._queue.append(Waiting(asked, rows, caller, answered))
        self._queued += rows
        try:
            return await answered
        finally:
            # It holds what is raised here, and that, by its traceback, this frame and all that called it.
            del answered

    def _alone(self, asked: Asked, caller: Caller, loop: asyncio.AbstractEventLoop) -> Answered:
        """Compute at once, and see whether anybody else comes in this turn: a crowd arrives in one."""
        if caller.deadline < loop.time():
            raise DeadlineExceeded
        self._company = True
        loop.call_soon(self._turned)
        return self._call([asked])[0]

    def _turned(self) -> None:
        self._company = bool(self._queue)

    def _gather(self, before: int, turns: int) -> None:
        """Compute what has arrived, once a call is full or the last turns brought nothing more."""
        loop = asyncio.get_running_loop()
        if self._queued > before:
            turns = TURNS
        if turns and self._queued < self._rows:
            loop.call_soon(self._gather, self._queued, turns - 1)
            return
        began = time.perf_counter()
        if self._before is not None:
            # With all that was done between the two calls: bodies parsed, answers worded, others refused.
            self._pace.note(began - self._before[0], self._before[1])
        taken = self._taken(loop.time())
        rows, shared = sum(one.rows for one in taken), len(taken) > 1
        try:
            if taken:
                self._answer(taken)
            if self._queue and loop.time() >= self._swept + SWEEP_S:
                self._drop_vain(loop.time())
        finally:
            # Whatever happens, nobody is left in a queue that nobody looks at.
            self._company = shared or bool(self._queue)
            self._before = (began, rows) if rows and self._queue else None
            if rows and not self._queue:
                self._pace.note(time.perf_counter() - began, rows)
            if self._queue:
                loop.call_soon(self._gather, self._queued, TURNS)

    def _taken(self, now: float) -> list[Waiting]:
        """The head of the queue, as far as it fits one call, but for those whose time is over."""
        taken: list[Waiting] = []
        free = self._rows
        while self._queue and (not taken or self._queue[0].rows <= free):
            first = self._queue.popleft()
            self._queued -= first.rows
            if first.caller.deadline < now:
                _fail(first, DeadlineExceeded())
            elif not first.answered.done():
                taken.append(first)
                free -= first.rows
        return taken

    def _drop_vain(self, now: float) -> None:
        """Drop those whose time is over, or whose caller gave up, while others were computed."""
        self._swept = now
        for one in self._queue:
            if one.caller.deadline < now:
                _fail(one, DeadlineExceeded())
            elif one.caller.gave_up():
                _fail(one, CallerGone())
        self._queue = deque(one for one in self._queue if not one.answered.done())
        self._queued = sum(one.rows for one in self._queue)

    def _answer(self, taken: list[Waiting]) -> None:
        try:
            found = self._call([one.asked for one in taken])
            if len(found) != len(taken):
                raise ValueError(f"a call for {len(taken)} callers has {len(found)} answers")
        except Exception as error:
            self._isolate(taken, error)
            # An error holds this frame by its traceback, and each of these its error.
            taken.clear()
            return
        for one, answer in zip(taken, found, strict=True):
            one.answered.set_result(answer)

    def _isolate(self, taken: list[Waiting], error: Exception) -> None:
        """Let only those fail whose own rows are at fault: who shared a call is computed again, by halves."""
        if len(taken) == 1:
            _fail(taken[0], error)
            return
        middle = len(taken) // 2
        self._answer(taken[:middle])
        self._answer(taken[middle:])


def _fail(waiting: Waiting, error: Exception) -> None:
    if not waiting.answered.done():
        waiting.answered.set_exception(error)
