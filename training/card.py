"""The model card: what a model is for, how good it is and how that is known, its limits; Markdown.

Knows the manifest, which has every figure, and the declaration; computes nothing and draws nothing.
"""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table as Grid

from service.manifest import Drawing, Manifest, Provenance
from service.quality import Figure, Group, Quality, Study
from service.spec import ModelSpec
from service.tasks import Regression
from training.classical import MEANINGS as CLASSICAL
from training.table import Source

TRIVIAL = "trivial"
MODELS = CLASSICAL | {
    "lecture": "the lecture's own net: one hidden layer of relu on the raw inputs, for survival with the"
    " patient's row number among them.",
    "kernel": "a kernel machine as in the recipe, alone and with less ridge (REMEMBERING in"
    " training/recipes.py), which answers a copy of a row with what its twin got.",
}
INTERVAL = "95 % interval"
# What each metric means, and which way is better.
MEANINGS = {
    "loss": "the number that training makes small: the same as log_loss for classes, the mean squared error"
    " for a number. Lower is better.",
    "accuracy": "share of rows answered rightly; for a number, within half a unit. Higher is better, but"
    " compare it with the trivial baseline: where one class is rare, always answering the other looks good.",
    "auc": "how often a row with the event is given a higher probability than one without it: 0.5 is"
    " guessing, 1 is perfect. Higher is better.",
    "average_precision": "mean precision over all thresholds; guessing gets the event's share of the rows."
    " Higher is better.",
    "brier": "mean squared distance between the probability and what happened, 0 or 1. Lower is better.",
    "log_loss": "how surprised the probabilities are by what happened, in nats; a wrong answer given with"
    " certainty costs most. Lower is better.",
    "sensitivity": "share of the rows with the event that are answered so, at the threshold. Higher is"
    " better, at the cost of specificity.",
    "specificity": "share of the rows without the event that are answered so, at the threshold. Higher is"
    " better, at the cost of sensitivity.",
    "mae": "mean distance between the prediction and the truth, in the target's unit. Lower is better.",
    "mae_of_median": "the same for the interpolated median, which errs least by this measure. Lower is"
    " better.",
    "rmse": "root of the mean squared error, in the target's unit: large misses count more. Lower is better.",
    "r2": "share of the target's variance that is explained: 0 is the mean for every row, 1 is perfect."
    " Higher is better.",
    "within_0.25": "share of rows predicted within 0.25 units of the truth. Higher is better.",
    "within_0.5": "share of rows predicted within half a unit of the truth. Higher is better.",
    "within_1": "share of rows predicted within one unit of the truth. Higher is better.",
    "macro_f1": "mean over the classes of precision and sensitivity combined (F1): rare classes count like"
    " common ones. Higher is better.",
    "kappa": "agreement of whole answers with the truth beyond chance: 0 is chance, 1 is perfect. Higher is"
    " better.",
    "quadratic_kappa": "agreement beyond chance, near misses forgiven: 0 is chance, 1 is perfect. Higher is"
    " better.",
    "calibration_error": "how far probabilities lie from the share of right answers, on average over ten"
    " bins. Lower is better. Resampling adds noise of its own, so that the interval lies too high.",
}
# A group's table would not be read with all of them.
MAIN = {
    "binary": ("log_loss", "brier", "auc", "sensitivity", "specificity"),
    "regression": ("rmse", "mae_of_median", "within_0.5", "quadratic_kappa"),
    "multiclass": ("log_loss", "accuracy", "quadratic_kappa", "calibration_error"),
}


def provenance(
    spec: ModelSpec, source: Source, limits: Sequence[str], made_by: str, drawings: Sequence[Drawing],
    forced: str | None = None,
) -> Provenance:  # fmt: skip
    """Return what the card says besides figures.

    `limits` are the graph's, beside the table's; `made_by` is the command, `forced` the gate's objection.
    """
    return Provenance(
        notice=spec.notice, credit=source.credit, errors=source.errors, limits=[*source.limits, *limits],
        made_by=made_by, drawings=list(drawings), forced=forced,
    )  # fmt: skip


def card(spec: ModelSpec, manifest: Manifest) -> str:
    """Return the model card, Markdown, ready to stand beside the drawings that it shows."""
    parts = (
        _head(spec, manifest),
        _data(manifest.provenance),
        _metrics(spec, manifest),
        _coverage(spec, manifest.quality),
        _groups(spec, manifest.quality),
        _studies(manifest.quality.studies),
        _drawings(manifest.provenance.drawings),
        ["## Limits", "", *(f"- {limit}" for limit in manifest.provenance.limits)],
        _training(manifest),
    )
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def figures(spec: ModelSpec, quality: Quality) -> str:
    """Return the figures of the card alone, Markdown, under the model's name."""
    heading, rows = _compared(quality)
    found = (_coverage(spec, quality), _groups(spec, quality), _studies(quality.studies))
    return "\n".join([
        f"# {spec.name}", "", f"{quality.protocol} {quality.rows:,} rows.", "", *_markdown(heading, rows),
        *(line for section in found if section for line in ("", *section)),
    ]) + "\n"  # fmt: skip


def show(spec: ModelSpec, quality: Quality) -> None:
    """Print the metrics with their intervals, beside the trivial baseline's and the other models'."""
    heading, rows = _compared(quality)
    grid = Grid(*heading, title=f"{spec.name}: {quality.protocol}")
    for row in rows:
        grid.add_row(*row)
    Console(width=140).print(grid)


def _head(spec: ModelSpec, manifest: Manifest) -> list[str]:
    said = manifest.provenance
    lines = [f"# {spec.title} ({spec.name}, version {manifest.version})"]
    if said.forced:
        lines += [
            "",
            f"> **Published by force.** The publishing gate refused this version: {said.forced.rstrip('.')}."
            " Do not rely on it.",
        ]
    if said.notice:
        lines += ["", f"> **{said.notice}**"]
    return [*lines, "", spec.description, *_read_out(spec, manifest)]


def _read_out(spec: ModelSpec, manifest: Manifest) -> Iterator[str]:
    """Yield how a probability becomes an answer, and the event's share of the rows."""
    if spec.threshold:
        event, threshold = spec.target.value(1), spec.threshold
        yield ""
        yield (
            f"It answers {event} from a probability of {threshold.value:g} on ({threshold.name}:"
            f" {threshold.reason}). Base rate: {manifest.prior[1]:.1%} of the table's rows."
        )


def _data(said: Provenance) -> list[str]:
    return ["## Data", "", said.credit, "", f"Known errors: {said.errors}"]


def _metrics(spec: ModelSpec, manifest: Manifest) -> list[str]:
    quality = manifest.quality
    heading, rows = _compared(quality)
    others = {TRIVIAL: MODELS[TRIVIAL]} | {name: MODELS[name] for name in quality.others if name in MODELS}
    return [
        "## Quality", "", f"{quality.protocol} {quality.rows:,} rows.", "",
        *_markdown(heading, rows), "", *_margin(quality),
        "How to read the metrics:", "",
        *(f"- {name}: {MEANINGS[name]}" for name in quality.metrics if name in MEANINGS), "",
        "The models beside it, on the same folds:", "",
        *(f"- {name}: {meaning}" for name, meaning in others.items()),
    ]  # fmt: skip


def _margin(quality: Quality) -> Iterator[str]:
    """Yield what the publishing gate asks: by how much the trivial baseline is beaten on the same rows."""
    if quality.margin:
        between = _interval(quality.margin)
        yield (
            f"Row by row, the loss is {quality.margin.value:.4f} below the trivial baseline's (95 % interval"
            f" {between}): the two intervals may overlap, as both are long where some rows are hard for all."
        )
        yield ""


def _coverage(spec: ModelSpec, quality: Quality) -> list[str]:
    if not quality.covered:
        return []
    number = isinstance(spec.task, Regression)
    what, size = ("intervals", f"mean width ({spec.target.unit})") if number else ("sets", "mean labels")
    rows = [
        (f"{one.coverage:.0%}", one.of, f"{one.rows:,}", f"{one.share.value:.1%}", _interval(one.share, "%"),
         f"{one.size:.2f}")
        for one in quality.covered
    ]  # fmt: skip
    said = (
        f"How often the {what} held the truth, on rows that had no part in setting them. At a coverage of"
        " 90 %, nine true values in ten should be inside; fewer is a false promise, more a needless width."
    )
    heading = ("coverage asked", f"true {spec.target.name}", "rows", "share inside", INTERVAL, size)
    return ["## Coverage", "", said, "", *_markdown(heading, rows)]


def _groups(spec: ModelSpec, quality: Quality) -> list[str]:
    if not quality.groups:
        return []
    names = [name for name in MAIN[spec.task.name] if name in quality.metrics]
    rows = [(one.of, one.name, f"{one.rows:,}", *_group(one, names)) for one in quality.groups]
    said = (
        "The same outputs, measured on parts of the rows, with 95 % intervals. A dash: too few rows, or"
        " of one class only, for a number that says something."
    )
    meanings = [
        f"- {feature.name}: {feature.meaning}" + (f", {feature.unit}" if feature.unit else "")
        for feature in spec.features
        if feature.name in {one.of for one in quality.groups}
    ]
    table = _markdown(("by", "group", "rows", *names), rows)
    return ["## By group", "", said, "", *table, "", *meanings]


def _group(group: Group, names: Iterable[str]) -> Iterator[str]:
    yield from (_with_interval(group.metrics.get(name)) for name in names)


def _studies(studies: Iterable[Study]) -> list[str]:
    lines: list[str] = []
    for study in studies:
        metrics = list(dict.fromkeys(name for found in study.figures.values() for name in found))
        rows = [
            (model, *(_with_interval(found.get(name)) for name in metrics))
            for model, found in study.figures.items()
        ]
        rule = f"{study.protocol} {study.rows:,} different rows were tested."
        lines += ["", f"### {study.name}", "", rule, "", *_markdown(("model", *metrics), rows)]
        lines += ["", f"kernel: {MODELS['kernel']}"] if "kernel" in study.figures else []
        lines += ["", f"Source of the reported figures: {study.source}"] if study.source else []
    return ["## Further studies", *lines] if lines else []


def _drawings(drawings: Iterable[Drawing]) -> list[str]:
    lines = [
        line
        for drawing in drawings
        for line in ("", f"### {drawing.title}", "", f"![{drawing.title}]({drawing.file})", "", drawing.shows)
    ]
    said = (
        "Drawn from answers to the distinct rows of the table, each by learners that had not seen it (the"
        " inner folds of the final fit). On these answers epochs, blend and calibration were chosen, which"
        " flatters them a little; the figures above are of rows that chose nothing. The answers to a truth"
        " table are the model's own."
    )
    return ["## Drawings", "", said, *lines] if lines else []


def _training(manifest: Manifest) -> list[str]:
    made = manifest.training
    facts = {
        "recipe": made.recipe,
        "distinct rows": f"{made.rows:,}",
        "parameters": f"{made.parameters:,}",
        "seed": made.seed,
        "libraries": ", ".join(f"{name} {version}" for name, version in made.libraries.items()),
        "code revision": made.code_revision,
    }
    files = [f"- {name}: sha256 `{digest}`" for name, digest in made.data_sha256.items()]
    lines = ["## Made by", "", f"    {manifest.provenance.made_by}", ""]
    return [*lines, *(f"- {name}: {fact}" for name, fact in facts.items()), *files]


def _compared(quality: Quality) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the heading and the rows of the table: the model, the trivial baseline, the others."""
    beside = {TRIVIAL: quality.baseline} | quality.others
    rows = [
        (name, _value(figure), _interval(figure), *(_value(found.get(name)) for found in beside.values()))
        for name, figure in quality.metrics.items()
    ]
    return ("metric", "model", INTERVAL, *beside), rows


def _markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heading) + " |"
    yield "|" + "---|" * len(heading)
    yield from ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _value(figure: Figure | None) -> str:
    # z: what rounds to zero is not negative.
    return "" if figure is None else f"{figure.value:z.4f}"


def _interval(figure: Figure, unit: str = "") -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{figure.low:.1%} to {figure.high:.1%}" if unit else f"{figure.low:z.4f} to {figure.high:z.4f}"


def _with_interval(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    between = "" if figure.low is None else f" ({figure.low:z.3f} to {figure.high:z.3f})"
    return f"{figure.value:z.3f}{between}"
