"""A connection that brings nothing is closed in time, and never while a request is answered."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from servers import Server
from service.idleness import Idleness

SECONDS = 5.0


class Clock:
    """A loop whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: dict[int, tuple[float, Callable[[], None]]] = {}
        self.set = 0

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> "Timer":
        self.set += 1
        self.timers[self.set] = self.now + seconds, call
        return Timer(self, self.set)

    def pass_by(self, seconds: float) -> None:
        """Let time go by, and call what is due in it."""
        end = self.now + seconds
        while due := [(at, key) for key, (at, _) in self.timers.items() if at <= end]:
            self.now, key = min(due)
            self.timers.pop(key)[1]()
        self.now = end


class Timer:
    def __init__(self, clock: Clock, key: int) -> None:
        self.clock, self.key = clock, key

    def cancel(self) -> None:
        self.clock.timers.pop(self.key, None)


class Connection:
    """A connection's idleness, and when it was closed."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.closed: list[float] = []
        loop: Any = self.clock
        self.idleness = Idleness(loop, SECONDS, lambda: self.closed.append(self.clock.now))


def test_nothing_for_so_long_after_an_answer_closes() -> None:
    connection = Connection()

    connection.idleness.begin()
    connection.clock.pass_by(60)

    assert connection.closed == [SECONDS]


def test_the_last_answer_counts_and_there_is_one_timer() -> None:
    """A timer that was set at an earlier answer waits on for the rest."""
    connection = Connection()
    for _ in range(100):
        connection.idleness.begin()
        connection.clock.pass_by(0.03)
        connection.idleness.end()
    connection.idleness.begin()
    assert connection.clock.set == 1

    connection.clock.pass_by(60)

    assert connection.closed == [pytest.approx(3 + SECONDS)]
    assert connection.clock.set == 2


def test_a_request_that_is_answered_longer_is_not_closed_and_the_next_wait_is() -> None:
    connection = Connection()
    connection.idleness.begin()
    connection.idleness.end()

    connection.clock.pass_by(60)
    assert connection.closed == []

    connection.idleness.begin()
    connection.clock.pass_by(60)
    assert connection.closed == [60 + SECONDS]


def test_a_connection_that_is_gone_has_no_timer() -> None:
    connection = Connection()
    connection.idleness.begin()
    connection.idleness.forget()

    assert not connection.clock.timers


@pytest.mark.slow
def test_a_client_that_asks_no_more_is_hung_up_on() -> None:
    """After the five seconds of uvicorn's default, counted from the last of several answers."""
    with Server("--models", "and_gate") as server:
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            for _ in range(3):
                client.sendall(b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
            assert client.recv(1) == b""
