"""The engine: where what is asked of a model is computed, and when it is refused.

A small request is judged and worded on the event loop and shares its call with others (`batching`). What
takes long, be it many rows, an evaluation or an explanation, has a thread, so that the loop goes on
answering; it goes in slices, and ends at the next one when nobody waits any more. One bound holds for all
rows that wait or are being computed, whoever sent them. Who would be answered too late is refused at once.

Knows asyncio and threads; knows nothing of HTTP or TensorFlow.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from threading import Event
from typing import Any

import numpy as np
from msgspec import Struct

from service.actions import Action
from service.batching import Caller, Coalescer
from service.errors import CallerGone, DeadlineExceeded, Overloaded
from service.inference import CALL_ROWS, Job, together
from service.instances import Asked
from service.judge import SMALL_BODY, small
from service.pace import Pace
from service.protocol import MAX_ROWS
from service.registry import Servable
from service.tasks import Columns, Outputs
from service.turns import Turns

# They share Python's lock with the loop: with more of them neither they nor the loop would be faster.
THREADS = 4
# Calls on threads at a time, as many as there are cores: four that share one core push one another's
# distances out of its cache, and each row of a kernel machine then takes half as long again.
CALLS = Turns(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
# How long a turn lasts, in whole calls: to hand it over takes a good part of a small net's call, and pushes
# numbers out of the cache (benchmarks/NOTES.md).
TURN_S = 0.002
# Bodies beyond ALONE bytes are read one at a time. Reading holds Python's lock nearly all the time: several
# would be done no sooner, and each may hold some hundred megabytes of objects.
ALONE = 2**20
READINGS = Turns(1)
# Instances that are worded together, in whole calls: a large answer is held as its bytes and this many texts.
SLICE = 2 * CALL_ROWS
# More rows than these wait as a matrix: as lists they would be what the collector looks through, again and
# again, and what pushes all else out of the processor's cache.
FEW = 8

# Of the rows that may wait, what large requests leave to small ones: five with as many rows as there may be
# kept all others out.
RESERVED = 0.1

# What those before it may take of a caller's time; the rest is for itself, and for what is not foreseen. With
# three quarters, of three times the capacity a fifth fewer were answered in time (benchmarks/overload.py).
PATIENCE = 0.5

Read = Callable[[bytes], Asked]


class Answer(Struct, frozen=True):
    """An answer's bytes, how many instances it answers, and the headers that say what it is, if not JSON."""

    body: bytes
    instances: int
    headers: Sequence[tuple[bytes, bytes]] = ()


class Engine:
    """Answers requests: small ones together, large ones beside them."""

    def __init__(self, waiting_rows: int) -> None:
        """Let at most `waiting_rows` rows wait or be computed at a time."""
        self._free = self._most = waiting_rows
        self._reserved = int(RESERVED * waiting_rows)
        self._coalescers: dict[Servable, Coalescer] = {}
        self._kept: Collection[Servable] | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="engine")
        # Those that wait for a thread, the seconds between two that got one, and when the last did, if others
        # waited behind it.
        self._waiting = set[Event]()
        self._pace = Pace()
        self._begun: float | None = None

    async def answer(
        self, action: Action, servable: Servable, read: Read, body: bytes, caller: Caller
    ) -> Answer:
        """Read the body and answer it.

        Raises what `read` and the action raise, Overloaded, DeadlineExceeded and CallerGone.
        """
        if not action.shared or not small(body):
            self.refuse_late(action, servable, len(body), caller)
            return await self._beside(
                lambda stop: _large(action, servable, asked_of(read, body, stop), stop),
                (action.rows_of or rows_of)(body),
                caller,
            )
        coalescer = self._coalescer(servable)
        _refuse_late(coalescer.wait_s, caller)
        instances, parameters = read(body)
        if instances.rows > FEW:
            instances = instances.packed()
        rows = instances.rows * parameters.rows_each
        job = action.job(servable, instances, parameters) if rows <= CALL_ROWS else None
        # A feature may have more levels than points were asked for.
        if job is None or len(job.cells) > CALL_ROWS:
            return await self._beside(
                lambda stop: _large(action, servable, (instances, parameters), stop), rows, caller
            )
        taken = self._take(len(job.cells))
        try:
            columns = await coalescer(job, len(job.cells), caller)
        finally:
            self._free += taken
        return Answer(job.answer(columns), instances.rows)

    def refuse_late(self, action: Action, servable: Servable, size: int, caller: Caller) -> None:
        """Raise Overloaded if those before a body of `size` bytes take longer than its caller can wait.

        Asked at the head of a request, and again when its body has come. A body that may be small stands in
        line with the small ones, though it hold so many short rows that it would have a thread: the loop that
        is late shares its core with the threads.
        """
        if not action.shared or size > SMALL_BODY:
            _refuse_late(len(self._waiting) * self._pace.each_s, caller)
        elif servable in self._coalescers:
            _refuse_late(self._coalescers[servable].wait_s, caller)

    def keep(self, servables: Collection[Servable]) -> None:
        """Keep nothing for other versions than these from now on; what they are computing is finished."""
        self._kept = servables
        self._coalescers = {one: self._coalescers[one] for one in self._coalescers if one in servables}

    def close(self) -> None:
        """End the threads; what has not begun is dropped."""
        self._threads.shutdown(cancel_futures=True)

    async def _beside(self, work: Callable[[Event], Answer], rows: int, caller: Caller) -> Answer:
        """Do the work on a thread, until it is done or nobody waits for it."""
        _refuse_late(len(self._waiting) * self._pace.each_s, caller)
        taken = self._take(rows, self._reserved)
        loop = asyncio.get_running_loop()
        stop = Event()
        self._waiting.add(stop)

        # The queue holds `begin` until a thread comes to it: the body of a caller who has left must not stay.
        left = [work]

        def begin() -> Answer:
            self._begin(stop)
            return left.pop()(stop)

        done = loop.run_in_executor(self._threads, begin)
        gone = asyncio.ensure_future(caller.gone())
        try:
            patience = caller.deadline - loop.time()
            await asyncio.wait((done, gone), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                return done.result()
            raise CallerGone if gone.done() else DeadlineExceeded
        finally:
            stop.set()
            done.cancel()
            left.clear()
            gone.cancel()
            self._free += taken
            self._waiting.discard(stop)
            if not self._waiting:
                self._begun = None
            # It holds what is raised here, and that, by its traceback, this frame and the body: such a circle
            # would stay until the collector looks for it, after some hundred more.
            del done

    def _begin(self, stop: Event) -> None:
        """Note that one has got a thread, and after which time, if it had to wait for the one before it."""
        now, begun = time.perf_counter(), self._begun
        if begun is not None:
            self._pace.note(now - begun, 1)
        self._waiting.discard(stop)
        self._begun = now if self._waiting else None

    def _take(self, rows: int, reserved: int = 0) -> int:
        """Take the places of so many rows, and return how many are to be given back. Raises Overloaded.

        Places that are `reserved` for others stay free.
        """
        # Who alone is beyond the bound may come when nobody else is there.
        rows = min(rows, self._most - reserved)
        if rows > self._free - reserved:
            raise Overloaded("Too many rows are waiting for an answer; send these again a little later.")
        self._free -= rows
        return rows

    def _coalescer(self, servable: Servable) -> Coalescer:
        if servable in self._coalescers:
            return self._coalescers[servable]
        coalescer = Coalescer(partial(together, servable), CALL_ROWS)
        # A request may come with a version that was retired while it was read.
        if self._kept is None or servable in self._kept:
            self._coalescers[servable] = coalescer
        return coalescer


def _refuse_late(seconds: float, caller: Caller) -> None:
    """Raise Overloaded if those before this caller take so many seconds, and it has not got them."""
    if seconds and seconds > PATIENCE * (caller.deadline - asyncio.get_running_loop().time()):
        raise Overloaded("Those who came before take longer than this request may; send it a little later.")


def rows_of(body: bytes) -> int:
    """About how many rows a body holds, before it is read: as if each were as long as its first one."""
    start = body.find(b"{", body.find(b'"instances"') + 1)
    if start >= 0:
        end = body.find(b"}", start)
    else:
        start = body.find(b"\n")
        end = body.find(b"\n", start + 1)
    return min(len(body) // (end - start + 1) + 1, MAX_ROWS) if 0 <= start < end else 1


def asked_of(read: Read, body: bytes, stop: Event) -> Asked:
    """Read a body on a thread, a large one when it is its turn. Raises CallerGone when it is to stop."""
    if len(body) <= ALONE:
        return read(body)
    with READINGS:
        if stop.is_set():
            raise CallerGone
        return read(body)


def _large(action: Action, servable: Servable, asked: Asked, stop: Event) -> Answer:
    """Answer on a thread: slice by slice where each instance is answered on its own, else as a whole."""
    instances, parameters = asked
    parts = instances.parts(SLICE) if action.listed else [instances]
    jobs = (action.job(servable, part, parameters) for part in parts)
    pieces = [job.answer(_columns(job, stop)) for job in jobs]
    return Answer(_joined(pieces, action.listed) if action.listed else pieces[0], instances.rows)


def _columns(job: Job, stop: Event) -> Columns | Outputs:
    """The columns of a job, call by call and put together. Raises CallerGone when it is to stop."""
    parts: list[Columns | Outputs] = []
    starts = deque(range(0, len(job.cells), job.rows))
    while starts:
        with CALLS:
            ends = time.perf_counter() + TURN_S
            while starts:
                if stop.is_set():
                    raise CallerGone
                start = starts.popleft()
                parts.append(job.compute(np.asarray(job.cells[start : start + job.rows], np.float32)))
                if time.perf_counter() > ends:
                    break
    return {name: _column([part[name] for part in parts]) for name in parts[0]}


def _column(parts: Sequence[Any]) -> Any:
    """One column of its parts: arrays stay an array."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return list(chain.from_iterable(parts))


def _joined(pieces: list[bytes], listed: str) -> bytes:
    """One answer of several that differ in their last field alone, the list `listed`."""
    start = pieces[0].index(f'"{listed}":['.encode()) + len(listed) + 4
    return b"".join([pieces[0][:-2], *(b"," + piece[start:-2] for piece in pieces[1:]), b"]}"])
