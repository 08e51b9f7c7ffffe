"""Train the three models of the wine table: colour, grade as a number, grade as a class.

    python -m training.wine
    python -m training.wine --model wine_type --recipe lecture

100 s for all three on two cores. On five folds, seed 1, copies together, beside the linear model, the
trivial baseline, and the lecture's 30 relu on raw inputs (110 s for all three):

    wine_type      log-loss 0.0222 (34 errors of 6,497)   0.0352   0.558   0.0658
    wine_quality   RMSE     0.683                         0.733    0.873   0.770
    wine_grade     log-loss 1.011                         1.075    1.274   1.132
"""

from collections.abc import Sequence

from training.command import parser, run
from training.fit import Recipe

# gelu bends like relu, but smoothly, so that integrated gradients converge; the bins let the net turn at
# the quantiles of what it measures.
GRADE = Recipe(
    hidden=(64, 64), members=5, activation="gelu", epochs=40, rate=2e-3, batch=256, patience=10, bins=8,
    dropout=0.25, weight_decay=2e-2,
)  # fmt: skip
COLOUR = Recipe(
    hidden=(32,), members=5, activation="gelu", epochs=40, rate=2e-3, batch=128, patience=10, bins=8,
    dropout=0.2, weight_decay=2e-2,
)  # fmt: skip
RECIPES = {"wine_type": COLOUR, "wine_quality": GRADE, "wine_grade": GRADE}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or measure the lecture's nets, as the arguments say."""
    run(RECIPES, parser(__file__, __doc__, list(RECIPES)).parse_args(argv))


if __name__ == "__main__":
    main()
