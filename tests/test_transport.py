"""How bytes leave: what is written in one turn of the loop goes out as one."""

import asyncio

import pytest

from service.transport import JoiningTransport

pytestmark = pytest.mark.anyio


class Noting:
    """A transport that notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.done

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.done.append("end")

    def resume_reading(self) -> None:
        self.done.append("reads on")


def transport_of(noting: Noting, sending: bool = False) -> JoiningTransport:
    return JoiningTransport(noting, asyncio.get_running_loop(), lambda: sending)  # type: ignore[arg-type]


async def test_a_head_and_its_body_are_one_write() -> None:
    """In the order in which they were handed over; the next turn's are another."""
    noting = Noting()
    transport = transport_of(noting)

    transport.write(b"head ")
    transport.write(b"body")
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)

    assert noting.done == [b"head body", b"next"]


async def test_nothing_is_lost_when_the_connection_is_closed_in_the_same_turn() -> None:
    """An answer with `connection: close` is written before the close, and once."""
    noting = Noting()
    transport = transport_of(noting)

    transport.write(b"last")
    transport.close()
    await asyncio.sleep(0)

    assert noting.done == [b"last", "closed"]
    assert transport.is_closing()


async def test_a_client_that_is_still_sending_is_given_time_to_read_its_answer() -> None:
    """It hears that nothing more comes, and is read on; a second close does not wait."""
    noting = Noting()
    transport = transport_of(noting, sending=True)

    transport.write(b"last")
    transport.close()
    transport.write(b"too late")
    await asyncio.sleep(0)
    assert noting.done == [b"last", "end", "reads on"]
    assert transport.is_closing()

    transport.close()
    assert noting.done[-1] == "closed"
