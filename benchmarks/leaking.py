"""The service, but for a leak: no version that was ever loaded is let go. `reloads` must notice.

python -m benchmarks.leaking --port 9140
"""

from typing import Any

from service import servable
from service.__main__ import main

KEPT: list[servable.SavedModelServable] = []


class Kept(servable.SavedModelServable):
    """A servable that is never freed."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Load it, and keep it."""
        super().__init__(*arguments, **named)
        KEPT.append(self)


if __name__ == "__main__":
    servable.SavedModelServable = Kept  # type: ignore[misc]
    main()
