"""How long what comes now will wait: the rows before it, times what a row has taken lately.

A queue whose callers have a deadline must not grow beyond it: served in their order, all would be answered
just too late. Knows numbers alone.
"""

# The weight of the newest call among those before it.
NEWEST = 0.2


class Pace:
    """The seconds that a row takes, as the last calls have shown; 0 before the first."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.row_s = 0.0

    def note(self, seconds: float, rows: int) -> None:
        """Learn from so many rows."""
        found = seconds / rows
        self.row_s += NEWEST * (found - self.row_s) if self.row_s else found
