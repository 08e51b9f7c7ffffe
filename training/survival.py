"""Train the survival model.

python -m training.survival
python -m training.survival --recipe lecture
"""

from collections.abc import Sequence

from training.command import parser, run
from training.fit import Recipe

# Small and strongly held down: 70 deaths are few. The tumour's size is ordered, so its code is a number.
RECIPE = Recipe(
    hidden=(16,), members=8, activation="tanh", epochs=120, rate=1e-2, patience=40,
    numbers=("tumour_size",), dropout=0.2, l2=0.03,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or measure the lecture's net, as the arguments say."""
    run({"survival": RECIPE}, parser(__doc__, ["survival"]).parse_args(argv))


if __name__ == "__main__":
    main()
