"""What threads may rely on that wait for a turn."""

from functools import partial
from threading import Barrier, Lock, Thread

from servers import eventually
from service.turns import Turns

PATIENCE_S = 30


def test_turns_are_handed_on_in_the_order_of_coming() -> None:
    """Whoever has just left and comes again is behind all who waited."""
    turns = Turns(1)
    came: list[str] = []

    def come(name: str) -> None:
        with turns:
            came.append(name)

    def waiting(number: int) -> bool:
        return len(turns._waiting) == number

    threads = [Thread(target=come, args=(name,)) for name in ("second", "third", "fourth")]
    with turns:
        for number, thread in enumerate(threads, 1):
            thread.start()
            eventually(partial(waiting, number))
    come("again")
    for thread in threads:
        thread.join(PATIENCE_S)

    assert came == ["second", "third", "fourth", "again"]


def test_no_more_are_in_than_may_be_and_nobody_is_left_outside() -> None:
    """Eight threads, two turns: two at a time, and all of them come."""
    turns, together, count = Turns(2), Barrier(2), Lock()
    inside: list[int] = []
    most: list[int] = []

    def come(number: int) -> None:
        for _ in range(100):
            with turns:
                with count:
                    inside.append(number)
                    most.append(len(inside))
                with count:
                    inside.remove(number)
        with turns:
            together.wait(PATIENCE_S)

    threads = [Thread(target=come, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert max(most) <= 2
    assert not any(thread.is_alive() for thread in threads)
