"""The service, but for a leak: no version that was ever loaded is let go. `reloads` must notice.

python -m benchmarks.leaking --port 9140
"""

from pathlib import Path

from service import servable
from service.__main__ import main
from service.spec import ModelSpec

KEPT: list[servable.SavedModelServable] = []


class Kept(servable.SavedModelServable):
    """A servable that is never freed."""

    def __init__(self, folder: Path, spec: ModelSpec) -> None:
        """Load it, and keep it."""
        super().__init__(folder, spec)
        KEPT.append(self)


if __name__ == "__main__":
    servable.SavedModelServable = Kept  # type: ignore[misc]
    main()
