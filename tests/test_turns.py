"""What threads may rely on that wait for a turn."""

from threading import Barrier, Event, Lock, Thread

from service.turns import Turns

PATIENCE_S = 30


def test_who_has_left_comes_after_those_who_wait() -> None:
    """One thread that goes in again and again, and one that waits: it is in after the first has left once."""
    turns = Turns(1)
    inside, waits = Event(), Event()
    came: list[str] = []

    def again() -> None:
        for _ in range(3):
            with turns:
                inside.set()
                assert waits.wait(PATIENCE_S)
                # It stands in the queue, or is about to: only there is it seen.
                while not turns._waiting and "other" not in came:
                    pass
                came.append("again")

    def other() -> None:
        assert inside.wait(PATIENCE_S)
        waits.set()
        with turns:
            came.append("other")

    threads = [Thread(target=again), Thread(target=other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert came == ["again", "other", "again", "again"]


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
