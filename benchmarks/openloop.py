"""Posts at fixed times, whatever becomes of the answers; latency counts from when a request was due.

A client that waits for an answer before it asks again measures a slow server seldom (coordinated omission);
a crowd of people does not wait for one another. Knows asyncio and as much of HTTP/1.1 as a posted body
and its answer need; knows nothing of what is being measured.
"""

import asyncio
import resource
import time
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOST = 0
# Sends that fall due within so many seconds of each other go out together.
TICK_S = 0.0005
AT_ONCE = 50
# What still has no answer so long after the last send is lost.
PATIENCE_S = 15
# uvicorn closes what was idle for five seconds; a request that meets this is nobody's fault.
KEPT_S = 3


class Shots:
    """What was sent: when each request was due, went out and was answered (of time.perf_counter), and how."""

    def __init__(self) -> None:
        """Begin with none."""
        self.due, self.left, self.done = array("d"), array("d"), array("d")
        self.status = array("h")

    def add(self, due: float, left: float, done: float, status: int) -> None:
        """Note one."""
        self.due.append(due)
        self.left.append(left)
        self.done.append(done)
        self.status.append(status)

    @property
    def statuses(self) -> NDArray[np.int16]:
        """The status of each, LOST for those without."""
        return np.array(self.status)

    @property
    def latencies(self) -> NDArray[np.float64]:
        """Of each, the seconds from when it was due to the end of its answer."""
        return np.array(self.done, np.float64) - self.dues

    @property
    def dues(self) -> NDArray[np.float64]:
        """When each was due."""
        return np.array(self.due)

    @property
    def lags(self) -> NDArray[np.float64]:
        """Of each, the seconds that it went out late: it waited for a connection, or for this process."""
        return np.array(self.left, np.float64) - self.dues


class Connection(asyncio.Protocol):
    """A connection that is kept: one request at a time."""

    def __init__(self, ended: Callable[["Connection", int], None], closed: Callable[[], None]) -> None:
        """Tell `ended` the status of each answer, once it is whole; LOST if none will come."""
        self._ended = ended
        self._closed = closed
        self._answer = bytearray()
        self._size = -1
        self._status = LOST
        self.due = self.left = self.idle_since = 0.0
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        self._transport: Any = transport  # uvloop's is none of asyncio's classes
        self.open = True

    def send(self, data: bytes, due: float) -> None:
        """Send a whole request."""
        self.due, self.left = due, time.perf_counter()
        self._transport.write(data)

    def stale(self) -> bool:
        """Whether it is closed, or is closed now because the server might do so at any moment."""
        if self.open and time.perf_counter() - self.idle_since > KEPT_S:
            self.open = False
            self._transport.close()
        return not self.open

    def data_received(self, data: bytes) -> None:
        """Read one answer, which has to say its length."""
        self._answer += data
        if self._size < 0:
            end = self._answer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._answer[:end]).lower()
            self._status = int(head[9:12])
            length = head.index(b"content-length:") + 15
            self._size = end + 4 + int(head[length : head.find(b"\r", length) % (end + 1)])
            if b"\nconnection: close" in head:
                self.open = False
        if len(self._answer) >= self._size:
            self._answer.clear()
            self._size = -1
            self._end(self._status)

    def connection_lost(self, _: Exception | None) -> None:
        """Tell it, and that no answer will come if one was due."""
        self.open = False
        self._closed()
        self._end(LOST)

    def _end(self, status: int) -> None:
        if self.due:
            self._ended(self, status)


class Crowd:
    """Sends one request again and again, over a pool of connections that grows up to a bound."""

    def __init__(self, port: int, data: bytes, most: int) -> None:
        """Send `data` to this port of loopback, over at most `most` connections."""
        self._port, self._data, self._most = port, data, most
        self._idle: list[Connection] = []
        self._waiting: deque[float] = deque()
        self._connections = self._opening = 0
        self._shots = Shots()
        self._flying = self.most_connections = 0
        self._tasks = set[asyncio.Task[None]]()
        # How many seconds behind its schedule `at_rate` was, each time that it sent.
        self.late: list[float] = []
        self._next: Callable[[], None] = lambda: None
        files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, min(hard, 2 * most)), hard))

    async def closed(self, clients: int, seconds: float) -> Shots:
        """Send from so many clients, each as soon as it has its answer; the usual measure of capacity."""
        end = time.perf_counter() + seconds
        self._next = lambda: self._fire(now) if (now := time.perf_counter()) < end else None
        for _ in range(clients):
            self._fire(time.perf_counter())
        return await self._collected(seconds)

    async def at_rate(self, rate: float, seconds: float) -> Shots:
        """Send so many a second, evenly."""
        self._next = lambda: None
        began, count = time.perf_counter(), int(rate * seconds)
        self.late = []
        sent = 0
        while sent < count:
            due = began + sent / rate
            if (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(max(left, TICK_S))
                continue
            # Whatever is late goes out now, but the answers have to be read as well.
            behind = int((time.perf_counter() - began) * rate) + 1 - sent
            self.late.append(-left)
            for _ in range(min(behind, AT_ONCE, count - sent)):
                self._fire(began + sent / rate)
                sent += 1
            await asyncio.sleep(0)
        return await self._collected(0)

    async def _collected(self, seconds: float) -> Shots:
        """What was sent since the last time, once it is answered or given up."""
        end = time.perf_counter() + seconds + PATIENCE_S
        while (self._flying or time.perf_counter() < end - PATIENCE_S) and time.perf_counter() < end:
            await asyncio.sleep(0.01)
        for due in self._waiting:
            self._shots.add(due, due, due + PATIENCE_S, LOST)
        self._flying -= len(self._waiting)
        self._waiting.clear()
        shots, self._shots = self._shots, Shots()
        return shots

    def _fire(self, due: float) -> None:
        self._flying += 1
        while self._idle:
            connection = self._idle.pop()
            if not connection.stale():
                connection.send(self._data, due)
                return
        self._waiting.append(due)
        if self._connections + self._opening < self._most and self._opening < len(self._waiting):
            self._opening += 1
            self._tasks.add(task := asyncio.get_running_loop().create_task(self._open()))
            task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._ended, self._closed), "127.0.0.1", self._port
            )
        finally:
            self._opening -= 1
        self._connections += 1
        self.most_connections = max(self.most_connections, self._connections)
        self._serve(connection)

    def _ended(self, connection: Connection, status: int) -> None:
        self._shots.add(connection.due, connection.left, time.perf_counter(), status)
        connection.due = 0.0
        self._flying -= 1
        self._next()
        if connection.open:
            self._serve(connection)

    def _closed(self) -> None:
        self._connections -= 1

    def _serve(self, connection: Connection) -> None:
        if self._waiting:
            connection.send(self._data, self._waiting.popleft())
        else:
            connection.idle_since = time.perf_counter()
            self._idle.append(connection)
