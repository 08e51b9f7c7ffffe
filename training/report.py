"""What a person sees of a training: progress while it runs, the learning curve, the card, the figures.

Knows rich, matplotlib and Markdown; knows nothing of TensorFlow or of how anything was fitted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isnan
from pathlib import Path

from matplotlib.figure import Figure as Plot
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from service.manifest import Figure, Quality
from service.spec import ModelSpec
from training.descent import Curve, Watch
from training.table import Source

UNITS = {
    "binary": "cross-entropy, nats",
    "multiclass": "cross-entropy, nats",
}
TRIVIAL = "trivial baseline"
LINEAR = (
    "The linear model is logistic regression, or ridge regression for a number, on standardised columns,"
    " with scikit-learn's default penalty (next to none on a truth table, where nothing can be overfitted)."
)


@contextmanager
def progress(title: str, fits: int) -> Iterator[Watch]:
    """Show how many of `fits` fits are done, the epoch, and the validation error; yield what to call.

    A new fit is recognised by its first epoch.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=fits, state="")
        begun = 0

        def watch(epoch: int, error: float) -> None:
            nonlocal begun
            begun += epoch == 1
            loss = "" if isnan(error) else f", validation loss {error:.4f}"
            bar.update(task, completed=begun - 1, state=f"fit {begun} of {fits}, epoch {epoch}{loss}")

        yield watch
        bar.update(task, completed=fits, state=f"{fits} fits done")


def show(spec: ModelSpec, quality: Quality) -> None:
    """Print the metrics with their intervals, beside the linear model's and the trivial baseline's."""
    grid = Grid(*_heading(quality), title=f"{spec.name}: {quality.protocol}")
    for row in _rows(quality):
        grid.add_row(*row)
    Console(width=100).print(grid)


def plot(path: Path, title: str, curve: Curve, unit: str) -> None:
    """Draw the error per epoch, training and validation, with the epoch that was kept, as PNG."""
    drawing = Plot(figsize=(7, 4), layout="constrained")
    axes = drawing.subplots()
    epochs = range(1, len(curve.training) + 1)
    axes.plot(epochs, curve.training, label="training rows")
    if curve.validation:
        axes.plot(epochs, curve.validation, label="validation rows")
    axes.axvline(curve.kept, color="grey", linestyle=":", label=f"weights of epoch {curve.kept} kept")
    axes.set(title=title, xlabel="epoch", ylabel=f"loss ({unit})")
    axes.legend()
    drawing.savefig(path, dpi=100, metadata={"Software": None})


def loss_unit(spec: ModelSpec, *, standardised: bool) -> str:
    """Name what the learning curve counts in; the default recipe fits a regression's target standardised."""
    square = "variances of the target" if standardised else f"{spec.target.unit} squared"
    return UNITS.get(spec.task.name, f"squared error, {square}")


def card(
    spec: ModelSpec,
    heading: str,
    quality: Quality,
    source: Source,
    facts: Mapping[str, object],
    command: str,
) -> str:
    """Return the model card, Markdown: what it is for, what it was fitted to, how good it is, its limits."""
    lines = [
        f"# {heading}", "", spec.description, "",
        "## Data", "", source.credit, "", f"Known errors: {source.errors}", "",
        "## Quality", "", quality.protocol, "",
        *_markdown(_heading(quality), _rows(quality)), "",
        *([LINEAR, ""] if quality.classical else []),
        "The baseline answers every row with the training rows' share of each class, or their mean.", "",
        "## Limits", "", *(f"- {limit}" for limit in source.limits), "",
        "## Made by", "", f"    {command}", "",
        *(f"- {name}: {value}" for name, value in facts.items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heading) + " |"
    yield "|" + "---|" * len(heading)
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def _heading(quality: Quality) -> tuple[str, ...]:
    return ("metric", "model", "95 % interval", *(["linear model"] if quality.classical else []), TRIVIAL)


def _rows(quality: Quality) -> Iterator[tuple[str, ...]]:
    others = [found for found in (quality.classical, quality.baseline) if found]
    for name, figure in quality.metrics.items():
        beside = (f"{other[name].value:.4f}" if name in other else "" for other in others)
        yield name, f"{figure.value:.4f}", _interval(figure), *beside


def _interval(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f"{figure.low:.4f} to {figure.high:.4f}"
