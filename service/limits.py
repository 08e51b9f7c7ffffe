"""How much work is let in: so many requests and bytes of bodies at a time, and none once the service leaves.

Pure ASGI. What one request may hold is bounded where it is read (`requests`, `connection`), and the rows that
wait where they wait (`engine`).
"""

from enum import IntEnum
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.errors import Overloaded, ShuttingDown

# Who starts, stops and watches the process asks these, in any dialect, and has no key.
HEALTH = frozenset(
    {"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/health", "/ping"}
)
METRICS = "/metrics"
TOO_MANY = "Too many requests are being answered; send this one again a little later."
# A body of so many bytes is not counted.
SMALL_BYTES = 2**20
TOO_MUCH = "As many bytes of bodies as may be are held; send this request again a little later."
CLOSE = (b"connection", b"close")


def is_probe(scope: Scope, health_route: str | None) -> bool:
    """Whether a request asks for health: at any path of HEALTH, or at the one that a setting names.

    There by GET and HEAD alone: it may be a path that takes rows too.
    """
    path = scope["path"]
    return path in HEALTH or (path == health_route and scope["method"] in ("GET", "HEAD"))


class Stage(IntEnum):
    """How far the service has gone on its way out."""

    OPEN = 0
    # Not ready any more, so that whoever sends work here looks elsewhere; still answering.
    DRAINING = 1
    # What has begun is finished; what comes now is refused.
    CLOSED = 2


class Door:
    """Counts those inside, and knows whether others may come in."""

    def __init__(self) -> None:
        """Open it."""
        self.stage = Stage.OPEN
        self.inside = 0


class Bodies:
    """Counts the bytes of large bodies that are held, each from its arrival to its answer, and bounds them.

    Small ones always get in: they are as many at most as there may be requests inside.
    """

    def __init__(self, most: int) -> None:
        """Let at most `most` bytes be held at a time."""
        self.most = most
        self.held = 0

    def resize(self, before: int, after: int) -> None:
        """Hold a body of `before` bytes as one of `after`; 0 is none. Raises Overloaded, then as before."""
        if before <= SMALL_BYTES and after <= SMALL_BYTES:
            return
        more = _counted(after) - _counted(before)
        if more > 0 and self.held + more > self.most:
            raise Overloaded(TOO_MUCH)
        self.held += more


def _counted(size: int) -> int:
    return size if size > SMALL_BYTES else 0


class Limits:
    """Refuses what comes when as many requests as may be are being answered, or when the door is closed."""

    def __init__(self, app: ASGIApp, door: Door, most: int, health_route: str | None = None) -> None:
        """Let at most `most` requests be inside `app` at a time, and whoever asks for health or metrics."""
        self.app = app
        self.door = door
        self.most = most
        self._health_route = health_route
        self._full = problems.Prepared(Overloaded(TOO_MANY))
        self._closed = problems.Prepared(ShuttingDown())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it before anything of it is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        door = self.door
        if door.stage:
            send = partial(_closing, send)
        if (door.inside >= self.most or door.stage == Stage.CLOSED) and not self._is_always_answered(scope):
            refusal = self._closed if door.stage == Stage.CLOSED else self._full
            await refusal(scope, receive, send)
            return
        door.inside += 1
        try:
            await self.app(scope, receive, send)
        finally:
            door.inside -= 1

    def _is_always_answered(self, scope: Scope) -> bool:
        """What must be answered most of all when nobody else is."""
        return scope["path"] == METRICS or is_probe(scope, self._health_route)


async def _closing(send: Send, message: Message) -> None:
    """Let the connection end with this answer: its next request belongs to another process."""
    if message["type"] == "http.response.start" and CLOSE not in message["headers"]:
        message["headers"] = [*message["headers"], CLOSE]
    await send(message)
