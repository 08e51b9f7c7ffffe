"""A crowd of new clients is let in within a few turns of the event loop."""

import asyncio
import os
import resource
import socket
import ssl
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("there is no uvloop", allow_module_level=True)

import trustme

from service.listening import AT_ONCE, Loop, _waiting, new_loop
from service.telemetry import SHARED

CROWD = 100


class Counting(asyncio.Protocol):
    """Counts turns of the loop from the first connection to the last, and answers with what it was sent."""

    def __init__(self, turns: list[int]) -> None:
        self.turns = turns

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.turns.append(self.turns[0])
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def listen(turns: list[int], **options: object) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    return await loop.create_server(lambda: Counting(turns), "127.0.0.1", 0, backlog=2 * CROWD, **options)


async def turns_of_a_crowd() -> int:
    """The turns of the loop in which all of it are accepted."""
    turns = [0]
    server = await listen(turns)
    address = server.sockets[0].getsockname()
    clients = [socket.create_connection(address) for _ in range(CROWD)]
    while len(turns) <= CROWD:
        turns[0] += 1
        await asyncio.sleep(0)
    server.close()
    for client in clients:
        client.close()
    return turns[-1] - turns[1]


def test_a_crowd_that_waits_is_accepted_in_a_few_turns() -> None:
    """libuv alone takes one a turn: a hundred turns."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        # A connection is made some turns after it was accepted.
        assert runner.run(turns_of_a_crowd()) <= 4 * CROWD // AT_ONCE + 4


def test_one_of_several_workers_leaves_most_of_a_crowd_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each turn it takes a few, and the others have their turns meanwhile."""
    monkeypatch.setenv(SHARED, str(tmp_path))

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(turns_of_a_crowd()) >= CROWD // 3


def test_each_of_a_crowd_is_served_over_tls() -> None:
    """Those accepted in company are encrypted like the first one, and answered."""
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(theirs)
    authority.issue_cert("127.0.0.1").configure_cert(ours)

    async def answers() -> list[bytes]:
        server = await listen([0], ssl=ours)
        address = server.sockets[0].getsockname()[:2]

        # They wait together: one after another, none would be in company.
        sockets = [socket.create_connection(address) for _ in range(40)]

        async def ask(number: int) -> bytes:
            reader, writer = await asyncio.open_connection(
                sock=sockets[number], ssl=theirs, server_hostname="127.0.0.1"
            )
            writer.write(b"%4d" % number)
            answer = await reader.readexactly(4)
            writer.close()
            return answer

        found = await asyncio.gather(*map(ask, range(40)))
        server.close()
        return found

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(answers()) == [b"%4d" % number for number in range(40)]


def test_who_waits_when_the_listening_ends_is_refused_and_nothing_breaks() -> None:
    """A turn that comes after the end finds the listener closed."""

    async def ended() -> list[int]:
        turns = [0]
        server = await listen(turns)
        address = server.sockets[0].getsockname()
        with socket.create_connection(address):
            while len(turns) == 1:
                await asyncio.sleep(0)
            server.close()
            await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        return turns

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert len(runner.run(ended())) == 2


def test_nobody_is_accepted_where_no_more_files_may_be_open() -> None:
    """They wait until one is closed; the loop goes on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()):
            limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.dup(listener.fileno())
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, most))
            try:
                assert _waiting(listener.fileno(), AT_ONCE) == []
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
            found = _waiting(listener.fileno(), AT_ONCE)
        assert len(found) == 1
        found[0].close()
