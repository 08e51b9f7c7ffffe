"""Train the AND gate, the lecture's first exercise.

python -m training.and_gate
python -m training.and_gate --recipe lecture
"""

from collections.abc import Sequence

from training.command import run
from training.fit import Recipe

# tanh, because relu units that start on the wrong side of all four rows never learn.
RECIPE = Recipe(hidden=(4,), members=1, activation="tanh", epochs=500, rate=0.1, folds=0)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or measure the lecture's net, as the arguments say."""
    run(__doc__, {"and_gate": RECIPE}, argv)


if __name__ == "__main__":
    main()
