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

UNITS = {
    "binary": "cross-entropy, nats",
    "multiclass": "cross-entropy, nats",
}
TRIVIAL = "trivial baseline"
LINEAR = (
    "The linear model is logistic regression, or ridge regression for a number, on standardised columns,"
    " with scikit-learn's default penalty (next to none on a truth table, where nothing can be overfitted)."
)
# The files of training/data/, by the first of their names: what to credit and what is wrong in them.
DATA = {
    "thoracic_surgery_raw.csv": (
        "Thoracic Surgery Data, UCI id 277, doi:10.24432/C5Z60N, CC BY 4.0 (Lubicz, Pawelczyk, Rzechonek"
        " and Kolodziej 2014): 470 patients of one centre, 2007 to 2011.",
        "FEV1 was impossible in 22 rows (per cent instead of litres, or above FVC) and is replaced there by"
        " 0.77 x FVC. One age of 21 is far from the next. Diagnosis DGN7 never occurs, DGN1 once, DGN8"
        " twice; recent infarction and asthma occur twice each: nothing can be learnt from them.",
    ),
    "winequality-red.csv": (
        "Wine Quality, UCI id 186, doi:10.24432/C56S3T, CC BY 4.0 (Cortez, Cerdeira, Almeida, Matos and"
        " Reis 2009): 1,599 red and 4,898 white vinhos verdes.",
        "240 red and 937 white rows are exact copies of earlier ones: they stay together in every split and"
        " every resample. Grades 3 and 9 have 30 and 5 rows.",
    ),
}
TRUTH_TABLE = ("The truth table of AND: four rows.", "None.")


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
    files: Sequence[str],
    facts: Mapping[str, object],
    command: str,
) -> str:
    """Return the model card, Markdown: what it is for, what it was fitted to, how good it is, its limits."""
    source, errors = DATA[files[0]] if files else TRUTH_TABLE
    lines = [
        f"# {heading}", "", spec.description, "",
        "## Data", "", source, "", f"Known errors: {errors}", "",
        "## Quality", "", quality.protocol, "",
        *_markdown(_heading(quality), _rows(quality)), "",
        *([LINEAR, ""] if quality.classical else []),
        "The baseline answers every row with the training rows' share of each class, or their mean.", "",
        "## Limits", "", *(f"- {limit}" for limit in _limits(spec, files)), "",
        "## Made by", "", f"    {command}", "",
        *(f"- {name}: {value}" for name, value in facts.items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _limits(spec: ModelSpec, files: Sequence[str]) -> Iterator[str]:
    if "thoracic_surgery_raw.csv" in files:
        yield "**Not for clinical use.** For research and teaching only."
        yield "The inputs carry little signal: an AUC above 0.75 here is a leak until shown otherwise."
        yield "One centre, one period, 70 deaths; it has been tried on no other hospital's patients."
    elif files:
        yield "Portuguese vinho verde of 2004 to 2007 only; the grades are one panel's medians."
    if not files:
        yield "A demonstration: the table is its own truth, there is nothing to generalise to."
    else:
        yield "Beyond the range seen in training a value counts as its edge; the answer names the feature."


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
