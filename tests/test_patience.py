"""Who would be answered too late, and is refused before anything of the body is parsed, or even read."""

import asyncio
import gc
import json
import weakref
from collections.abc import Callable
from functools import partial
from threading import Event

import pytest
from servables import BESIDE, GATE, Held, rows
from starlette.types import Message

from mean_servable import MeanServable
from service.actions import actions
from service.app import create_app
from service.batching import Caller
from service.engine import THREADS, Answer, Engine, Read
from service.errors import Overloaded
from service.instances import Asked
from service.pace import Pace
from service.registry import Registry
from service.settings import Settings
from service.warmup import Patient

pytestmark = pytest.mark.anyio


class Hasty(Patient):
    """A caller that has a second."""

    def __init__(self) -> None:
        self.deadline = asyncio.get_running_loop().time() + 1


async def test_who_would_wait_too_long_for_a_thread_is_refused_before_its_body_is_parsed() -> None:
    """Those that wait for one, times what each has waited lately, are more than half of its time."""
    engine, servable = Engine(10**6), Held()
    action, body = actions(GATE)[0], json.dumps(rows(BESIDE)).encode()

    def ask(read: Read, caller: Caller) -> asyncio.Future[Answer]:
        return asyncio.ensure_future(engine.answer(action, servable, read, body, caller))

    engine._pace.note(0.3, 1)
    started = [ask(action.judge.json, Patient()) for _ in range(THREADS)]
    await until(lambda: not engine._waiting)
    waiting = [ask(action.judge.json, Patient())]
    await until(lambda: len(engine._waiting) == 1)
    fits = ask(action.judge.json, Hasty())  # 0.3 of its second
    await until(lambda: len(engine._waiting) == 2)

    with pytest.raises(Overloaded, match="Those who came before"):
        await ask(unread, Hasty())  # 0.6
    fits.cancel()
    servable.released.set()

    assert {(await one).instances for one in started + waiting} == {BESIDE}
    assert engine._waiting == set()
    assert engine._begun is None
    engine.close()


async def test_who_would_wait_too_long_for_a_shared_call_is_refused_before_its_body_is_parsed() -> None:
    """Rows that wait, times what each has taken lately, are more than half of its time."""
    engine, servable = Engine(10**6), MeanServable(GATE)
    action, body = actions(GATE)[0], json.dumps(rows(1)).encode()

    def ask(read: Read, caller: Caller) -> asyncio.Future[Answer]:
        return asyncio.ensure_future(engine.answer(action, servable, read, body, caller))

    await asyncio.gather(*(ask(action.judge.json, Patient()) for _ in range(4)))
    engine._coalescers[servable]._pace = Pace()
    engine._coalescers[servable]._pace.note(0.1, 1)
    # The first finds company from before; none is computed within this turn of the loop.
    asked = [ask(action.judge.json, Hasty()) for _ in range(5)] + [ask(unread, Hasty()) for _ in range(2)]
    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert [type(one) for one in answers] == [Answer] * 5 + [Overloaded] * 2
    engine.close()


@pytest.mark.parametrize(
    ("action", "headers", "status"),
    [
        ("predict", [(b"content-length", b"100000")], 429),
        ("predict", [(b"content-length", b"0" * 5000 + b"100000")], 429),
        ("explain", [(b"content-length", b"1000")], 429),
        # Whoever sends this again is refused again.
        ("predict", [(b"content-length", b"1000000000")], 413),
        ("predict", [(b"content-length", b"1000")], None),
        ("predict", [(b"content-length", b"0" * 5000 + b"1000")], None),
        ("predict", [(b"transfer-encoding", b"chunked")], None),
        ("predict", [(b"content-length", b"100000"), (b"content-encoding", b"gzip")], None),
    ],
)
async def test_whose_body_is_announced_is_refused_before_it_comes(
    registry: Registry, action: str, headers: list[tuple[bytes, bytes]], status: int | None
) -> None:
    """By the queue that a body of this size would stand in; what is not known beforehand is read."""
    app = create_app(Settings(request_timeout_s=1), registry)
    engine = app.api.state.engine
    engine._waiting.add(Event())
    engine._pace.note(0.6, 1)
    sent: list[Message] = []

    async def receive() -> Message:
        assert status is None, "the body was read"
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    path = f"/models/and_gate/{action}"
    kind = (b"content-type", b"application/json")
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [kind, *headers]}
    await app(scope, receive, send)

    assert [one["status"] for one in sent if "status" in one] == [status] * (status is not None)


async def test_the_body_of_a_caller_who_left_is_not_held_until_a_thread_is_free() -> None:
    """It is gone with its place: else whoever comes and leaves fills the memory, and no bound counts it."""
    engine, servable = Engine(10**6), Held()
    action, body = actions(GATE)[0], json.dumps(rows(BESIDE)).encode()
    started = [
        asyncio.ensure_future(engine.answer(action, servable, action.judge.json, body, Patient()))
        for _ in range(THREADS)
    ]
    await until(lambda: not engine._waiting)
    reader = partial(unread)  # what can be referred to weakly
    known = weakref.ref(reader)
    left = asyncio.ensure_future(engine.answer(action, servable, reader, body, Patient()))
    del reader
    await until(lambda: len(engine._waiting) == 1)
    left.cancel()
    await until(left.done)
    del left
    gc.collect()
    held = known()
    servable.released.set()
    await asyncio.gather(*started)
    engine.close()

    assert held is None


async def until(fact: Callable[[], bool]) -> None:
    """Let the loop turn until it is so."""
    async with asyncio.timeout(30):
        while not fact():
            await asyncio.sleep(0.001)


def unread(body: bytes) -> Asked:
    raise AssertionError("it was read")
