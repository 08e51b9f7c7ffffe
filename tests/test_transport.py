"""Who is still sending when a connection is closed is given time to read its answer."""

import asyncio

import pytest

from service.transport import LingeringTransport

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


def transport_of(noting: Noting, sending: bool = False) -> LingeringTransport:
    return LingeringTransport(noting, asyncio.get_running_loop(), lambda: sending)  # type: ignore[arg-type]


async def test_a_client_that_has_sent_all_is_left_at_once() -> None:
    """What it was answered before is written first, by the transport itself."""
    noting = Noting()
    transport = transport_of(noting)

    transport.write(b"last")
    transport.close()
    transport.write(b"too late")

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
