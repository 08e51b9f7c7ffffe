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
from training.fit import fit
from training.recipes import GATE
from training.table import read


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
        run(arguments)


def count(seeds: int, of_lecture: bool) -> None:
    """Print how many of the seeds 1 to `seeds` learn the gate; `of_lecture` takes the lecture's net."""
    worst = [apart(seed, of_lecture) for seed in range(1, seeds + 1)]
    right, close = sum(error < 0.5 for error in worst), sum(error < 0.01 for error in worst)
    print(f"{right} of {seeds} seeds answer all four rows, {close} of them within 0.01 everywhere")


def apart(seed: int, of_lecture: bool = False) -> float:
    """Return how far the worst of the four probabilities is from the truth, after fitting to all four."""
    table = read(AND_GATE)
    if of_lecture:
        probability = lecture.fit_predict(AND_GATE, seed)(table, table.matrix)["probability"]
    else:
        probability = fit(AND_GATE, GATE, table, seed).network.shares(table.matrix)[:, 1]
    return float(np.abs(probability - table.targets).max())


if __name__ == "__main__":
    main()
