"""The command line that the training scripts share, and the order of a training.

Knows the other modules of training/ and puts them in order; computes nothing itself.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from service.manifest import Figure, Quality
from service.metrics import evaluate
from service.models import MODELS
from service.spec import ModelSpec
from training import lecture, linear, report
from training.export import ExportError, export, unpublished
from training.fit import Fitted, Recipe, fit, fit_predict, trivial
from training.folds import FitPredict, figures, out_of_fold
from training.table import Table, TableError, read, source_of

ITSELF = (
    "Measured on the four rows that it was fitted on: they are the whole truth table, so there are no"
    " others, no folds and no intervals."
)


@dataclass(frozen=True)
class Protocol:
    """How functions are measured: on how many folds, 0 for the table itself, and with which seed."""

    folds: int
    seed: int = 1
    resamples: int = 500

    def __str__(self) -> str:
        """Say it as the card does."""
        if not self.folds:
            return ITSELF
        return (
            f"Out-of-fold on {self.folds} folds (stratified, shuffled with seed {self.seed}, rows with equal"
            f" inputs in one fold); 95 % intervals from {self.resamples} bootstrap resamples of groups."
        )


@dataclass(frozen=True)
class Made:
    """What made a card: the command, such as `python -m training.wine`, and its decisive arguments."""

    command: str
    recipe: str
    seed: int

    @classmethod
    def by(cls, arguments: argparse.Namespace) -> "Made":
        """Take from the command line what the card repeats."""
        return cls(arguments.command, arguments.recipe, arguments.seed)

    def line(self, spec: ModelSpec) -> str:
        """Return the line that makes this model again."""
        return f"{self.command} --model {spec.name} --recipe {self.recipe} --seed {self.seed}"


def run(recipes: Mapping[str, Recipe], arguments: argparse.Namespace) -> None:
    """Train the models that the arguments ask for; exits with 1 and a sentence if that cannot be done."""
    for name in arguments.model:
        try:
            if arguments.recipe == "lecture":
                study(MODELS[name], arguments)
            else:
                train(MODELS[name], recipes[name], arguments)
        except (ExportError, TableError) as error:
            sys.exit(f"{name}: {error}")


def parser(script: str, document: str | None, models: Sequence[str]) -> argparse.ArgumentParser:
    """Return the reader of the arguments that the scripts share.

    `script` is the script's __file__, from which cards name the command; `--help` shows `document`, its
    docstring with the example.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m training.{Path(script).stem}",
        description=document,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=parser.prog)
    parser.add_argument("--model", nargs="+", choices=models, default=models, help="which; all by default")
    parser.add_argument(
        "--recipe",
        choices=("default", "lecture"),
        default="default",
        help="lecture: the lecture's net, measured and never exported",
    )
    parser.add_argument(
        "--optimizer", choices=lecture.OPTIMIZERS, default="adam", help="of the lecture recipe"
    )
    parser.add_argument("--seed", type=int, default=1, help="of folds, weights, shuffling and resamples")
    parser.add_argument(
        "--artifacts", type=Path, default=Path("artifacts"), help="where versions are published"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="where the lecture's runs are written"
    )
    parser.add_argument("--version", type=int, help="the version to publish; the next free one by default")
    parser.add_argument("--resamples", type=int, default=500, help="bootstrap resamples for the intervals")
    return parser  # fmt: skip


def train(spec: ModelSpec, recipe: Recipe, arguments: argparse.Namespace) -> Path:
    """Measure the recipe on folds, fit it to the whole table, and publish the artifact with its card."""
    home = arguments.artifacts / spec.name
    unpublished(home, arguments.version)
    table = read(spec)
    with report.progress(spec.name, recipe.folds + 1) as watch:
        fold_fit = fit_predict(spec, recipe, arguments.seed, watch)
        fitted = fit(spec, recipe, table, arguments.seed, watch)
        protocol = Protocol(recipe.folds, arguments.seed, arguments.resamples)
        classical = linear.fit_predict(spec, linear.C if recipe.folds else linear.WHOLE_TRUTH)
        quality = measure(spec, table, fold_fit, protocol, classical)
    fitted.network.core.summary()
    report.show(spec, quality)
    published = export(
        fitted.network, table, quality, arguments.artifacts, recipe="default", seed=arguments.seed,
        version=arguments.version, beside=partial(_beside, spec, quality, fitted, Made.by(arguments)),
    )  # fmt: skip
    print(f"published {published}")
    return published


def study(spec: ModelSpec, arguments: argparse.Namespace) -> Path:
    """Measure the lecture's net and write its card, curve and metrics below runs/; nothing is exported."""
    table, lesson = lecture.table_of(spec), lecture.lesson(spec)
    with report.progress(f"{spec.name}, lecture", lesson.folds + 1) as watch:
        core, curve = lecture.fit(spec, table, arguments.seed, arguments.optimizer, watch, lesson.folds > 0)
        fold_fit = lecture.fit_predict(spec, arguments.seed, arguments.optimizer, watch)
        # The linear model needs the declared columns, which are not what the lecture feeds its net.
        protocol = Protocol(lesson.folds, arguments.seed, arguments.resamples)
        quality = measure(spec, table, fold_fit, protocol)
    core.summary()
    report.show(spec, quality)
    folder: Path = arguments.runs / "lecture" / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    unit = report.loss_unit(spec, standardised=False)
    report.plot(folder / "learning_curve.png", f"{spec.name}, the lecture's net", curve, unit)
    (folder / "metrics.json").write_text(quality.model_dump_json(indent=1) + "\n", encoding="utf-8")
    facts = {"parameters": core.count_params(), "optimizer": arguments.optimizer}
    _write_card(folder, spec, f"{spec.title}: the lecture's net", quality, facts, Made.by(arguments))
    print(f"written {folder}")
    return folder


def measure(
    spec: ModelSpec, table: Table, model: FitPredict, protocol: Protocol, classical: FitPredict | None = None
) -> Quality:
    """Return the metrics of the model, of the trivial baseline and of `classical`, on the same folds."""
    return Quality(
        protocol=str(protocol), rows=len(table),
        metrics=_figures(spec, table, model, protocol),
        baseline=_figures(spec, table, trivial(spec), protocol),
        classical=_figures(spec, table, classical, protocol) if classical else {},
    )  # fmt: skip


def _figures(spec: ModelSpec, table: Table, function: FitPredict, protocol: Protocol) -> dict[str, Figure]:
    judge = partial(evaluate, spec.task, spec.target)
    if protocol.folds:
        outputs = out_of_fold(table, function, protocol.folds, protocol.seed)
        return figures(table, outputs, judge, protocol.resamples, protocol.seed)
    exact = figures(table, function(table, table.matrix), judge, 0)
    return {name: Figure(value=figure.value) for name, figure in exact.items()}


def _beside(
    spec: ModelSpec, quality: Quality, fitted: Fitted, made: Made, folder: Path, version: int
) -> None:
    title = f"{spec.name}, version {version}"
    report.plot(folder / "learning_curve.png", title, fitted.curve, report.loss_unit(spec, standardised=True))
    facts = {"parameters": fitted.network.parameters, "rows": quality.rows, "seed": made.seed}
    _write_card(folder, spec, f"{spec.title} ({title})", quality, facts, made)


def _write_card(
    folder: Path, spec: ModelSpec, heading: str, quality: Quality, facts: Mapping[str, object], made: Made
) -> None:
    text = report.card(spec, heading, quality, source_of(spec), facts, made.line(spec))
    (folder / "card.md").write_text(text, encoding="utf-8")
