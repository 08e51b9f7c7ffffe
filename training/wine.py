"""Train the three models of the wine table: colour, grade as a number, grade as a class.

    python -m training.wine
    python -m training.wine --model wine_type --recipe lecture

A grade takes eight minutes of one core, the colour three. Out-of-fold, copies together, beside a linear
model, the best other (extremely randomised trees, an SVM) and the trivial baseline:

    wine_type      log-loss 0.0173 (21.7 errors of 6,497)   0.0338   0.0208 (SVM)   0.558
    wine_quality   RMSE     0.672                           0.734    0.675 (trees)  0.873
    wine_grade     log-loss 0.994                           1.074    1.022 (trees)  1.274
"""

from collections.abc import Sequence

from training.command import parser, run

MODELS = ["wine_type", "wine_quality", "wine_grade"]


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or measure the lecture's nets, as the arguments say."""
    run(parser(__file__, __doc__, MODELS).parse_args(argv))


if __name__ == "__main__":
    main()
