"""An answer is what uvicorn would write, byte for byte, but at once; what it would refuse is left to it."""

import logging
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import anyio
import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.cycle import LARGEST_JOINED, Cycle, head_of

pytestmark = pytest.mark.anyio

DATE = (b"date", b"Fri, 27 Nov 2026 20:41:20 GMT")
TYPE = (b"content-type", b"application/json")
WHOLE: list[dict[str, Any]] = [{"body": b"{}"}]
PARTS: list[dict[str, Any]] = [{"body": b"{", "more_body": True}, {"body": b"}", "more_body": True}, {}]
USUAL = [TYPE, (b"content-length", b"2"), (b"x-request-id", b"00ff")]


class Noting:
    """A transport that notes what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.written.append(b"closed")

    def is_closing(self) -> bool:
        return False


def cycle_of(
    kind: type[RequestResponseCycle],
    transport: Any,
    method: str = "POST",
    keep_alive: bool = True,
    ended: Callable[[], None] = lambda: None,
) -> RequestResponseCycle:
    return kind(
        scope={"type": "http", "method": method, "path": "/"},  # type: ignore[typeddict-item]
        transport=transport,
        flow=FlowControl(transport),
        logger=logging.getLogger(__name__),
        access_logger=logging.getLogger(__name__),
        access_log=False,
        default_headers=[DATE],
        message_event=anyio.Event(),  # type: ignore[arg-type]
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=ended,
    )


async def written(
    kind: type[RequestResponseCycle],
    start: dict[str, Any],
    method: str = "POST",
    keep_alive: bool = True,
    body: Sequence[dict[str, Any]] = WHOLE,
) -> tuple[list[bytes], bool]:
    """What is written of an answer with this head and the body {}, and whether it ended."""
    transport, ended = Noting(), list[bool]()
    cycle = cycle_of(kind, transport, method, keep_alive, lambda: ended.append(True))
    messages: list[Any] = [{"type": "http.response.start", **start}]
    messages += [{"type": "http.response.body", **part} for part in body]
    for message in messages:
        await cycle.send(message)
    return transport.written, bool(ended)


@pytest.mark.parametrize("status", [200, 307, 404, 422, 503])
@pytest.mark.parametrize(
    "headers",
    [
        USUAL,
        [TYPE],
        [*USUAL, (b"connection", b"close")],
        [TYPE, (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"2"), (b"retry-after", b"1"), (b"vary", b"Origin"), (b"vary", b"Accept")],
    ],
)
async def test_an_answer_is_written_as_uvicorn_writes_it(
    status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    """With a length and without, whole and in parts, on a connection that stays or ends, to HEAD as well."""
    start = {"status": status, "headers": headers}
    for keep_alive, method, body in product((True, False), ("POST", "HEAD"), (WHOLE, PARTS)):
        found, ended = await written(Cycle, start, method, keep_alive, body)
        expected, _ = await written(RequestResponseCycle, start, method, keep_alive, body)
        assert b"".join(found) == b"".join(expected)
        assert ended


async def test_a_head_and_its_body_are_one_write() -> None:
    """Two would be two packets."""
    writes, _ = await written(Cycle, {"status": 200, "headers": USUAL})

    assert len(writes) == 1


async def test_a_large_body_is_not_copied_to_be_joined() -> None:
    body = bytes(LARGEST_JOINED + 1)
    length = (b"content-length", str(len(body)).encode())

    writes, _ = await written(Cycle, {"status": 200, "headers": [length]}, body=[{"body": body}])

    assert writes[1] is body


async def test_nothing_is_written_after_the_end() -> None:
    """Nor is a second head: uvicorn says that it is an error."""
    start: dict[str, Any] = {"status": 204, "headers": [(b"content-length", b"0")]}
    with pytest.raises(RuntimeError, match="already completed"):
        await written(Cycle, start, body=[{}, {}])
    with pytest.raises(RuntimeError, match="Expected ASGI message"):
        await written(Cycle, start, body=[{"type": "http.response.start", "status": 200, "headers": []}])


def test_the_quick_way_is_taken() -> None:
    head = head_of(200, [DATE, *USUAL])

    assert head is not None
    assert head.length == 2


@pytest.mark.parametrize("wrong", ["a\r\nb", "a\nb", "a\rb", "a\0b"])
async def test_a_header_that_would_be_two_is_refused(wrong: str) -> None:
    """Whatever made it: no answer is split."""
    start: dict[str, Any] = {"status": 200, "headers": [*USUAL, (b"x-horse", wrong.encode())]}

    assert head_of(200, [DATE, *start["headers"]]) is None
    with pytest.raises(RuntimeError, match="header"):
        await written(Cycle, start)


@pytest.mark.parametrize("length", [b"", b"-1", b"+2", b"2 ", b"two"])
def test_a_length_that_is_no_number_is_left_to_uvicorn(length: bytes) -> None:
    assert head_of(200, [DATE, TYPE, (b"content-length", length)]) is None


async def test_a_body_of_another_length_than_announced_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="longer than Content-Length"):
        await written(Cycle, {"status": 200, "headers": [(b"content-length", b"1")]})


async def test_where_the_application_fails_before_a_body_500_is_all_that_is_sent() -> None:
    """The head that it began with has not left."""
    transport: Any = Noting()
    cycle = cycle_of(Cycle, transport)

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": USUAL})
        raise ValueError

    await cycle.run_asgi(failing)

    answer = b"".join(transport.written)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"200 OK" not in answer
