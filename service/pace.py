"""How long what comes now will wait: those before it, times what each has taken lately.

A queue whose callers have a deadline must not grow beyond it: served in their order, all would be answered
just too late. Knows numbers alone.
"""

# What a call leaves of the weight of those before it.
KEPT = 0.8


class Pace:
    """The seconds that each one takes, as the last calls have shown, those of many more than those of few."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._seconds = self._count = 0.0
        # The seconds for each; 0 before the first call.
        self.each_s = 0.0

    def note(self, seconds: float, count: int) -> None:
        """Learn from a call of so many."""
        self._seconds = KEPT * self._seconds + seconds
        self._count = KEPT * self._count + count
        self.each_s = self._seconds / self._count
