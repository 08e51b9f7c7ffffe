"""The command line that the training scripts share, and the order of a training.

Knows the other modules of training/ and puts them in order; computes nothing itself.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from service.manifest import digest, document
from service.metrics import evaluate
from service.models import MODELS
from service.quality import Quality
from service.spec import ModelSpec
from training import card, lecture, report
from training.drawings import learning_curve
from training.export import ExportError, export, unpublished
from training.fit import fit
from training.folds import figures, out_of_fold
from training.labels import prior
from training.progress import progress
from training.recipes import RECIPES
from training.table import TableError, read, source_of


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


def run(arguments: argparse.Namespace) -> None:
    """Train the models that the arguments ask for; exits with 1 and a sentence if that cannot be done."""
    for name in arguments.model:
        try:
            (study if arguments.recipe == "lecture" else train)(MODELS[name], arguments)
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
    parser.add_argument("--seed", type=int, default=1, help="of weights, shuffling and inner folds")
    parser.add_argument(
        "--artifacts", type=Path, default=Path("artifacts"), help="where versions are published"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="where fits and lecture runs are kept"
    )
    parser.add_argument(
        "--figures", type=Path, default=report.FIGURES, help="where the measured figures are on record"
    )
    parser.add_argument("--version", type=int, help="the version to publish; the next free one by default")
    parser.add_argument(
        "--force", action="store_true", help="publish although the gate objects; the card will say so"
    )
    return parser


def train(spec: ModelSpec, arguments: argparse.Namespace) -> Path:
    """Fit the recipe to the whole table, and publish the artifact with its card.

    The figures are those on record. Without any of this recipe and table they are measured first, on one
    draw of folds and without the other models: `python -m training.report` compares them all.
    """
    unpublished(arguments.artifacts / spec.name, arguments.version)
    recipe, table = RECIPES[spec.name], read(spec)
    quality = report.recorded(spec.name, arguments.figures) or report.measure(
        spec.name, report.protocol_of(spec.name, repeats=1), arguments.runs / "report", others=()
    )
    with progress(spec.name, recipe.choices + 1) as watch:
        fitted = fit(spec, recipe, table, arguments.seed, watch)
    for learner in fitted.network.learners:
        print(f"{type(learner).__name__}: {learner.parameters} parameters")
    card.show(spec, quality)
    published = export(
        fitted, table, quality, arguments.artifacts, recipe="default", seed=arguments.seed,
        made_by=Made.by(arguments).line(spec), source=source_of(spec), version=arguments.version,
        force=arguments.force,
    )  # fmt: skip
    print(f"published {published}, its digest is {digest(document(published))}")
    return published


def study(spec: ModelSpec, arguments: argparse.Namespace) -> Path:
    """Measure the lecture's net, show it, write its curve and metrics below runs/; export nothing."""
    table, lesson = lecture.table_of(spec), lecture.lesson(spec)
    with progress(f"{spec.name}, lecture", lesson.folds + 1) as watch:
        core, curve = lecture.fit(spec, table, arguments.seed, arguments.optimizer, watch, lesson.folds > 0)
        fold_fit = lecture.fit_predict(spec, arguments.seed, arguments.optimizer, watch)
        outputs = (
            out_of_fold(table, fold_fit, lesson.folds, arguments.seed)
            if lesson.folds
            else fold_fit(table, table.matrix)
        )
    core.summary()
    constant = spec.task.trivial(spec.target, prior(spec, table), len(table))
    judge = partial(evaluate, spec.task, spec.target)
    protocol = report.protocol_of(spec.name, repeats=1, seed=arguments.seed)
    quality = Quality(
        protocol=report.sentence(protocol), rows=len(table),
        metrics=figures(table, [outputs], judge, report.RESAMPLES if lesson.folds else 0),
        baseline=figures(table, [constant], judge, 0),
    )  # fmt: skip
    card.show(spec, quality)
    folder: Path = arguments.runs / "lecture" / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    learning_curve(folder / "learning_curve.png", f"{spec.name}, lecture", curve, lecture.unit(spec))
    facts: Mapping[str, object] = {
        "made_by": Made.by(arguments).line(spec), "parameters": core.count_params(),
        "optimizer": arguments.optimizer,
    }  # fmt: skip
    (folder / "metrics.json").write_text(quality.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"written {folder}")
    return folder
