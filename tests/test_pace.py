"""What the calls before say of the wait of the next one."""

import pytest

from service.pace import Pace


def test_before_the_first_call_nobody_is_thought_to_wait() -> None:
    """Nothing is known: all may come in."""
    assert Pace().each_s == 0


def test_each_takes_what_each_has_taken() -> None:
    """One call says it."""
    pace = Pace()
    pace.note(6, 3)

    assert pace.each_s == pytest.approx(2)


def test_calls_of_few_say_little_of_each_in_a_call_of_many() -> None:
    """A call costs something whatever its rows: 640 at a time are quicker than 640 times one."""
    pace = Pace()
    for _ in range(50):
        pace.note(0.001, 1)
    pace.note(0.0064, 640)

    assert pace.each_s < 2e-5


def test_one_call_that_took_long_is_soon_forgotten() -> None:
    """As after a machine that was stopped for ten minutes, even by calls of few."""
    pace = Pace()
    pace.note(600, 640)
    for _ in range(80):
        pace.note(0.001, 2)

    assert pace.each_s < 0.001
