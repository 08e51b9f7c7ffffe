"""How a connection of the service's own protocol is set up, and what comes of its timers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from service.app import create_app
from service.connection import BoundedProtocol
from service.cycle import Cycle
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings

pytestmark = pytest.mark.anyio

ASKED = b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n"


class Noting(asyncio.Transport):
    """A transport that notes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Queue[bytes]()
        self.reading = True
        # Whether more was read, when each answer was written.
        self.readings: list[bool] = []

    def write(self, data: Any) -> None:
        self.readings.append(self.reading)
        self.written.put_nowait(bytes(data))

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.written.put_nowait(b"closed")


@pytest.fixture
async def connection() -> AsyncIterator[BoundedProtocol]:
    app = create_app(Settings(), Registry({"and_gate": MODELS["and_gate"]}))
    config = Config(app, log_config=None, proxy_headers=False, ws="none")
    config.load()
    protocol = BoundedProtocol(config=config, server_state=ServerState(), app_state={})
    protocol.connection_made(Noting())
    yield protocol
    protocol.connection_lost(None)


async def answered(connection: BoundedProtocol) -> bytes:
    """What is written next."""
    written: asyncio.Queue[bytes] = connection.transport.written
    return await asyncio.wait_for(written.get(), 30)


async def test_an_answer_goes_the_quick_way(connection: BoundedProtocol) -> None:
    connection.data_received(ASKED)

    assert (await answered(connection)).startswith(b"HTTP/1.1 200")
    assert type(connection.cycle) is Cycle


async def test_nothing_more_is_read_while_requests_wait(connection: BoundedProtocol) -> None:
    """Whoever never stops sending would be held in memory: two gigabytes in sixteen seconds."""
    transport: Any = connection.transport
    connection.data_received(ASKED * 5)
    for _ in range(5):
        await answered(connection)

    assert transport.readings[:3] == [False] * 3
    assert transport.reading


async def test_it_is_idle_from_an_answer_until_something_comes(connection: BoundedProtocol) -> None:
    """Half a head is something: it has a time of its own, and is not hung up on without a word."""
    connection.data_received(ASKED)
    await answered(connection)
    assert connection._idleness._since is not None

    connection.data_received(ASKED[:20])
    assert connection._idleness._since is None
    assert connection._timer is not None

    connection.data_received(ASKED[20:])
    assert (await answered(connection)).startswith(b"HTTP/1.1 200")
    assert connection._idleness._since is not None
    assert connection._timer is None


async def test_it_is_not_idle_where_the_next_head_has_begun(connection: BoundedProtocol) -> None:
    """Before the answer to the one before it was written."""
    connection.data_received(ASKED + ASKED[:20])

    assert (await answered(connection)).startswith(b"HTTP/1.1 200")
    assert connection._idleness._since is None
    assert connection._timer is not None


async def test_one_that_is_gone_has_no_timer(connection: BoundedProtocol) -> None:
    connection.data_received(ASKED)
    await answered(connection)
    connection.connection_lost(None)

    assert connection._idleness._timer is None
