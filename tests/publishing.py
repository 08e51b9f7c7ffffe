"""python tests/publishing.py ROOT: publish a gate for each line read, by the code that training uses.

A process of its own, so that a test can kill it or take its disk away. It fits for a second only.
"""

import sys
from pathlib import Path

from service.models import MODELS
from service.quality import Figure, Quality
from training.export import export
from training.fit import fit
from training.recipe import Recipe
from training.table import read, source_of

SPEC = MODELS["and_gate"]
QUALITY = Quality(
    protocol="none: a fit of a second",
    rows=4,
    metrics={"loss": Figure(value=1.0)},
    baseline={"loss": Figure(value=1.2)},
    margin=Figure(value=0.2, low=0.1, high=0.3),
)
RECIPE = Recipe(
    hidden=(8,), members=1, activation="tanh", epochs=8, rate=2e-2, batch=32, average=0.9, bins=4,
    dropout=0.1, choices=0,
)  # fmt: skip


def main(root: Path) -> None:
    table = read(SPEC)
    fitted = fit(SPEC, RECIPE, table)
    print("ready", flush=True)
    for _ in sys.stdin:
        try:
            place = export(
                fitted, table, QUALITY, root, recipe="quick", seed=1, made_by="pytest", source=source_of(SPEC)
            )
            print(f"published {place.name}", flush=True)
        except Exception as error:
            print(f"failed: {type(error).__name__}: {error}".replace("\n", " "), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
