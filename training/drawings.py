"""The plots beside a card: learning curve, calibration, confusion, residuals; PNG, the same bytes each time.

Knows matplotlib, tasks and tables; knows nothing of fitting. No single row shows in a drawing of classes:
a bin holds at least SMALLEST rows, and the wines' residuals are counted in hexagons.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure as Plot
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from service.manifest import Drawing
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Outputs, Regression
from training.bins import SMALLEST, Bin, Floats, bins_of, equal_parts, middle_level, probability_bins
from training.descent import Curve
from training.table import Table

# Matplotlib's axes, which ship no types.
Axes = Any
# Counts that differ by more than this factor are drawn on a logarithmic scale.
FAR_APART = 20
BLUE, ORANGE, GREY = "#1f5a99", "#c85a11", "#666666"


def draw(
    folder: Path, spec: ModelSpec, title: str, table: Table, outputs: Outputs, curve: Curve | None, unit: str
) -> list[Drawing]:
    """Write the plots that suit the task into `folder`, which exists; return them in the card's order.

    `outputs` are out-of-fold, in the table's row order; `unit` is that of the learning curve's loss. A
    table too small for two bins gets no calibration plot.
    """
    plots: list[tuple[Drawing, Callable[[Path, str], None]]] = []
    if len(table) >= 2 * SMALLEST:
        plots.append(
            (_calibration_of(spec), lambda path, head: calibration(path, head, spec, outputs, table))
        )
    if isinstance(spec.task, Regression):
        plots.append((_residuals_of(spec), lambda path, head: residuals(path, head, spec, outputs, table)))
    else:
        plots.append((_confusion_of(spec), lambda path, head: confusion(path, head, spec, outputs, table)))
    if curve is not None:
        plots.append((_curve_of(unit), lambda path, head: learning_curve(path, head, curve, unit)))
    for drawing, write in plots:
        write(folder / drawing.file, f"{title}: {drawing.title.lower()}")
    return [drawing for drawing, _ in plots]


def learning_curve(path: Path, title: str, curve: Curve, unit: str) -> None:
    """Draw the error per epoch, training and validation, with the epoch that was kept, as PNG."""
    drawing = Plot(figsize=(7, 4), layout="constrained")
    axes = drawing.subplots()
    epochs = range(1, len(curve.training) + 1)
    axes.plot(epochs, curve.training, color=BLUE, label="training rows")
    if curve.validation:
        axes.plot(epochs, curve.validation, color=ORANGE, label="validation rows")
    axes.axvline(curve.kept, color=GREY, linestyle=":", label=f"weights of epoch {curve.kept} kept")
    axes.set(title=title, xlabel="epoch", ylabel=f"loss ({unit})")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(drawing, path)


def calibration(path: Path, title: str, spec: ModelSpec, outputs: Outputs, table: Table) -> None:
    """Draw what was said against what happened, in bins of at least SMALLEST rows, with their counts.

    Classes: probability against observed share, with Wilson's 95 % interval; several ordered classes get
    the answered class's probability and that of reaching the level nearest to the middle. Numbers: mean
    prediction against mean truth, in the target's unit.
    """
    target, truth = spec.target, table.targets
    match spec.task:
        case Binary(event=event):
            named = f"{target.name} = {target.value(1)}"
            panels = [(f"probability of {named}", outputs[event].astype(np.float64), truth)]
        case Multiclass(classes=classes):
            shares = spec.task.shares(target, outputs)
            right = np.asarray(classes)[shares.argmax(axis=1)] == truth
            level = middle_level(truth, classes)
            reached = shares[:, np.asarray(classes) >= level].sum(axis=1)
            panels = [
                (f"probability of the answered {target.name}", shares.max(axis=1), right.astype(np.float64)),
                (f"probability of {target.name} {level} or more", reached, (truth >= level).astype(float)),
            ]
        case Regression():
            _means(path, title, spec, outputs, truth)
            return
    drawing = Plot(figsize=(6 * len(panels), 6.4), layout="constrained")
    drawing.suptitle(title)
    grid = drawing.subplots(2, len(panels), height_ratios=(4, 1), squeeze=False, sharex="col")
    for (name, said, happened), (above, below) in zip(panels, grid.T, strict=True):
        _reliability(above, below, name, probability_bins(said, happened))
    _save(drawing, path)


def confusion(path: Path, title: str, spec: ModelSpec, outputs: Outputs, table: Table) -> None:
    """Draw how many rows of each true class were answered as each class, and which share of its rows."""
    labels = spec.task.labels(spec.target)
    codes = [spec.target.code(label) for label in labels]
    answered = _answered(spec, outputs)
    counts = confusion_matrix(table.targets, np.asarray(codes)[answered], labels=codes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.6 + 0.95 * len(labels)
    drawing = Plot(figsize=(size + 1.6, size), layout="constrained")
    axes = drawing.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), rows in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        text = f"{rows:,}\n{_per_cent(shares[row, column])}" if rows else "0"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10)
    # Two lines at most: "death within one year" would not fit under its column.
    names = [str(label).replace("_", "\n", 1).replace("_", " ") for label in labels]
    axes.set_xticks(range(len(labels)), names)
    axes.set_yticks(range(len(labels)), names)
    name = spec.target.name.replace("_", " ")
    at = f" (threshold {spec.threshold.value:g})" if spec.threshold else ""
    axes.set(title=title, xlabel=f"answered {name}{at}", ylabel=f"true {name}")
    drawing.colorbar(image, ax=axes, label="share of the true class's rows", format="{x:.0%}", shrink=0.8)
    _save(drawing, path)


def residuals(path: Path, title: str, spec: ModelSpec, outputs: Outputs, table: Table) -> None:
    """Draw truth minus prediction against the prediction, with the standard deviation said and found.

    Rows of one whole truth lie on one diagonal.
    """
    predicted = outputs[spec.target.name].astype(np.float64)
    spread = outputs["standard_deviation"].astype(np.float64)
    residual = table.targets - predicted
    drawing = Plot(figsize=(8, 5), layout="constrained")
    axes = drawing.subplots()
    hexagons = axes.hexbin(predicted, residual, gridsize=(48, 26), mincnt=1, norm=LogNorm(0.3), cmap="Blues")
    rows = equal_parts(predicted, bins_of(len(predicted)))
    place = [predicted[part].mean() for part in rows]
    said = np.array([np.sqrt(np.mean(spread[part] ** 2)) for part in rows])
    found = np.array([residual[part].std() for part in rows])
    axes.axhline(0, color=GREY, linewidth=1)
    says, finds = "± standard deviation, as the model says", "± standard deviation, as found"
    axes.plot(place, said, color=ORANGE, linewidth=2, label=says)
    axes.plot(place, -said, color=ORANGE, linewidth=2)
    axes.plot(place, found, color="black", linestyle="--", label=finds)
    axes.plot(place, -found, color="black", linestyle="--")
    unit = f" ({spec.target.unit})" if spec.target.unit else ""
    name = spec.target.name.replace("_", " ")
    axes.set(title=title, xlabel=f"predicted {name}{unit}", ylabel=f"true minus predicted {name}{unit}")
    axes.legend(loc="upper right")
    drawing.colorbar(hexagons, ax=axes, label="rows in a hexagon", format="{x:g}")
    _save(drawing, path)


def _reliability(above: Axes, below: Axes, name: str, bins: list[Bin]) -> None:
    """Draw the bins' points with their intervals, and below them the counts, one scale for both."""
    said, happened, rows = ([getattr(one, name) for one in bins] for name in ("said", "happened", "rows"))
    reach = [[one.happened - one.low for one in bins], [one.high - one.happened for one in bins]]
    # The next tenth: rare events' probabilities would crowd in a corner.
    edge = min(1.0, float(np.ceil(max([one.high for one in bins] + said) * 10 + 0.2) / 10))
    above.plot([0, edge], [0, edge], color=GREY, linestyle=":", label="said = observed")
    above.errorbar(
        said, happened, yerr=np.maximum(reach, 0), fmt="o-", color=BLUE, capsize=3, linewidth=1,
        label="bins, with 95 % intervals",
    )  # fmt: skip
    above.set(xlim=(-0.02 * edge, 1.02 * edge), ylim=(-0.02 * edge, 1.05 * edge), ylabel="observed share")
    above.grid(alpha=0.3)
    above.legend(loc="upper left")
    apart = max(rows) > FAR_APART * min(rows)
    below.vlines(said, 0, rows, color=BLUE, linewidth=6)
    below.set(xlabel=name.replace("_", " "), ylabel="rows in bin", yscale="log" if apart else "linear")
    below.set_ylim(1 if apart else 0, max(rows) * (3 if apart else 1.2))
    below.yaxis.set_major_formatter("{x:,.0f}")
    below.grid(alpha=0.3, axis="y")


def _means(path: Path, title: str, spec: ModelSpec, outputs: Outputs, truth: Floats) -> None:
    predicted = outputs[spec.target.name].astype(np.float64)
    parts = equal_parts(predicted, bins_of(len(truth)))
    said, happened = ([values[part].mean() for part in parts] for values in (predicted, truth))
    # 1.96 standard errors to either side hold the mean in 95 of 100 samples.
    error = [1.96 * truth[part].std(ddof=1) / len(part) ** 0.5 for part in parts]
    drawing = Plot(figsize=(6, 6), layout="constrained")
    axes = drawing.subplots()
    ends = [min(said + happened), max(said + happened)]
    axes.plot(ends, ends, color=GREY, linestyle=":", label="said = observed")
    label = f"{len(parts)} bins of {min(map(len, parts)):,} rows or one more, with 95 % intervals"
    axes.errorbar(said, happened, yerr=error, fmt="o-", color=BLUE, capsize=3, linewidth=1, label=label)
    name, unit = spec.target.name.replace("_", " "), f" ({spec.target.unit})" if spec.target.unit else ""
    axes.set(title=title, xlabel=f"mean predicted {name}{unit}", ylabel=f"mean true {name}{unit}")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    _save(drawing, path)


def _answered(spec: ModelSpec, outputs: Outputs) -> NDArray[np.int64]:
    """Return the place of the answered class of each row: at the threshold, or the most probable one."""
    match spec.task:
        case Binary(event=event, threshold=threshold):
            return (outputs[event].astype(np.float64) >= threshold.value).astype(np.int64)
        case Multiclass():
            best: NDArray[np.int64] = spec.task.shares(spec.target, outputs).argmax(axis=1)
            return best
        case Regression():
            raise TypeError(f"{spec.name} answers a number: expected classes; draw its residuals")


def _calibration_of(spec: ModelSpec) -> Drawing:
    number = (
        "Rows in ten equal bins by their prediction: the mean prediction beside the mean truth, with its 95 %"
        " interval. On the dotted line the predictions are right on average."
    )
    classes = (
        f"Rows in bins of at least {SMALLEST} by the probability they were given: how often it was so, with"
        " Wilson's 95 % interval (rows taken as independent). On the dotted line a probability can be taken"
        " at its word. Below, the rows of each bin."
    )
    shows = number if isinstance(spec.task, Regression) else classes
    return Drawing(file="calibration.png", title="Calibration", shows=shows)


def _confusion_of(spec: ModelSpec) -> Drawing:
    answered = (
        f"{spec.target.value(1)} is answered from a probability of {spec.threshold.value:g} on"
        if spec.threshold
        else "the most probable class is answered"
    )
    shows = (
        "How many rows of each true class (one line each) were answered as each class, and which share of"
        f" that line; {answered}."
    )
    return Drawing(file="confusion.png", title="Confusion matrix", shows=shows)


def _residuals_of(spec: ModelSpec) -> Drawing:
    shows = (
        f"By how much the truth lies above or below the prediction ({spec.target.unit or 'in its unit'}): the"
        " darker, the more rows; rows of one whole truth lie on one diagonal. The lines are the standard"
        " deviation that the model says and the one found, in ten bins by prediction."
    )
    return Drawing(file="residuals.png", title="Residuals", shows=shows)


def _curve_of(unit: str) -> Drawing:
    shows = (
        f"The mean error after each epoch (a pass over the training rows): {unit}. Where the number"
        " of epochs was chosen, this chose it."
    )
    return Drawing(file="learning_curve.png", title="Learning curve", shows=shows)


def _per_cent(share: float) -> str:
    """Return a share rounded, but neither a rare one as 0 % nor a nearly whole one as 100 %."""
    return "< 1%" if 0 < share < 0.005 else "> 99%" if 0.995 <= share < 1 else f"{share:.0%}"


def _save(drawing: Plot, path: Path) -> None:
    # Without matplotlib's version the bytes depend on the drawing alone.
    drawing.savefig(path, dpi=100, metadata={"Software": None})
