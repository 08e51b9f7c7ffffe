"""Train the AND gate, the lecture's first exercise.

    python -m training.and_gate
    python -m training.and_gate --recipe lecture
    python -m training.and_gate --seeds 50

Each of the first two takes 12 s, most of it TensorFlow's import. `--seeds 50` publishes nothing and counts
the seeds that learn the gate, in one to three minutes: all 50 answer all four rows, each within 0.01 of the
truth. With `--recipe lecture` after it: 36 of 50 answer them, none within 0.01.
"""

from collections.abc import Sequence

import numpy as np

from service.models.and_gate import AND_GATE
from training import lecture
from training.command import parser, run
from training.fit import Recipe, fit_predict
from training.folds import FitPredict
from training.table import read

# tanh, because a relu unit that is silent on all four rows stays so; the rate is for so few steps. Without
# the penalty the gate becomes a cliff, along which attributions no longer add up (1.6e-2 with 32 nodes).
RECIPE = Recipe(hidden=(4,), members=1, activation="tanh", epochs=500, rate=0.1, l2=1e-4, folds=0)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure the lecture's net, or count seeds, as the arguments say."""
    reader = parser(__file__, __doc__, ["and_gate"])
    reader.add_argument(
        "--seeds", type=int, help="publish nothing: count which of the seeds 1 to N learn the gate"
    )
    arguments = reader.parse_args(argv)
    if arguments.seeds:
        count(arguments.seeds, arguments.recipe == "lecture")
    else:
        run({"and_gate": RECIPE}, arguments)


def count(seeds: int, of_lecture: bool) -> None:
    """Print how many of the seeds 1 to `seeds` learn the gate; `of_lecture` takes the lecture's net."""
    worst = [
        apart(lecture.fit_predict(AND_GATE, seed) if of_lecture else fit_predict(AND_GATE, RECIPE, seed))
        for seed in range(1, seeds + 1)
    ]
    right, close = sum(error < 0.5 for error in worst), sum(error < 0.01 for error in worst)
    print(f"{right} of {seeds} seeds answer all four rows, {close} of them within 0.01 everywhere")


def apart(function: FitPredict) -> float:
    """Return how far the worst of the four probabilities is from the truth, after fitting to all four."""
    table = read(AND_GATE)
    return float(np.abs(function(table, table.matrix)["probability"] - table.targets).max())


if __name__ == "__main__":
    main()
