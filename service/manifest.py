"""What stands beside a SavedModel: read, write, compare with a declaration and with the files.

Knows files and JSON; knows nothing of HTTP or TensorFlow.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from service.errors import ArtifactRejected
from service.features import Feature
from service.spec import ModelSpec
from service.tasks import Output

MANIFEST = "manifest.json"
REQUIRED_FILES = ("saved_model.pb", "card.md")
# Another CPU or a GPU rounds differently, by less than this.
TOLERANCE = 1e-4


class Part(BaseModel):
    """A part of the manifest; an unknown field means that a newer program wrote it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Column(Part):
    """A declared feature as the artifact was trained on it."""

    name: str
    kind: str
    dtype: str = "float32"
    unit: str
    low: float | None
    high: float | None
    levels: dict[str, int]
    at_most: str | None

    @classmethod
    def of(cls, feature: Feature) -> Self:
        """What the declaration says of this feature."""
        return cls(
            name=feature.name,
            kind=feature.kind,
            unit=feature.unit,
            low=feature.low,
            high=feature.high,
            levels=dict(feature.levels),
            at_most=feature.at_most,
        )


class GraphOutput(Part):
    """A named float32 output: shape [None], or [None, width] where width is not 0."""

    name: str
    width: int

    @classmethod
    def of(cls, output: Output) -> Self:
        """What the declaration says of this output."""
        return cls(name=output.name, width=output.width)


class Seen(Part):
    """What training saw of one feature: range and quantiles of the codes, and which codes if levels.

    `quantiles` are those at 0, 0.1, ... 1. Never a row: columns are summarised one by one.
    """

    low: float
    high: float
    quantiles: list[float]
    levels: list[int] | None


class Figure(Part):
    """A metric with its 95 % interval; the interval is absent where none was computed."""

    value: float
    low: float | None = None
    high: float | None = None


class Quality(Part):
    """Metrics of the recipe on rows that it was not fitted on, beside others' on the same rows.

    `baseline` is the trivial one's, `classical` a linear model's (logistic regression, ridge).
    """

    protocol: str
    rows: int
    metrics: dict[str, Figure]
    baseline: dict[str, Figure]
    classical: dict[str, Figure] = {}


class Training(Part):
    """Where the artifact comes from."""

    recipe: str
    seed: int
    rows: int
    parameters: int
    data_sha256: dict[str, str]
    code_revision: str
    libraries: dict[str, str]


class Golden(Part):
    """Inputs with the outputs that training saw, to be reproduced within `tolerance` on any device.

    The inputs are the features' training quantiles, column by column: no row of the table.
    """

    inputs: list[list[float]]
    outputs: dict[str, list[float] | list[list[float]]]
    tolerance: float = TOLERANCE


class Manifest(Part):
    """The whole of manifest.json. `prior` is what the trivial baseline answers: class shares, or the mean."""

    model: str
    version: int
    task: str
    features: list[Column]
    target: Column
    outputs: list[GraphOutput]
    explained: str
    threshold: float | None
    prior: list[float]
    seen: dict[str, Seen]
    training: Training
    quality: Quality
    golden: Golden
    files: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `folder`/manifest.json. Raises ArtifactRejected if it is missing or not a manifest."""
        try:
            return cls.model_validate_json((folder / MANIFEST).read_bytes())
        except OSError as error:
            raise ArtifactRejected(
                f"{MANIFEST} cannot be read: {error.strerror}; export the model again"
            ) from error
        except ValidationError as error:
            raise ArtifactRejected(
                f"{MANIFEST} is not a manifest of this service ({error.error_count()} faults);"
                " export the model again with this revision"
            ) from error

    def write(self, folder: Path) -> None:
        """Write `folder`/manifest.json, indented, to be read and compared by people too."""
        (folder / MANIFEST).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def threshold_of(spec: ModelSpec) -> float | None:
    """The declared threshold of a binary model, None for the other tasks."""
    return spec.threshold.value if spec.threshold else None


def differences(manifest: Manifest, spec: ModelSpec) -> list[str]:
    """Return one sentence for each disagreement between an artifact and the declaration, [] if none."""
    return [
        *_unequal("model", manifest.model, spec.name),
        *_unequal("task", manifest.task, spec.task.name),
        *_unequal("threshold", manifest.threshold, threshold_of(spec)),
        *_unequal("explained output", manifest.explained, spec.explained),
        *_columns("column", manifest.features, [Column.of(feature) for feature in spec.features]),
        *_columns("target", [manifest.target], [Column.of(spec.target)]),
        *_columns("output", manifest.outputs, [GraphOutput.of(output) for output in spec.outputs]),
        *_summary(manifest, spec),
        *_golden(manifest.golden, spec),
    ]


def _summary(manifest: Manifest, spec: ModelSpec) -> Iterator[str]:
    """What the service computes with, besides the graph: each must be there for every column and class."""
    yield from _unequal("seen", list(manifest.seen), [feature.name for feature in spec.features])
    for feature in spec.features:
        levels = manifest.seen[feature.name].levels if feature.name in manifest.seen else None
        if (levels is None) == bool(feature.levels) or not {*(levels or [])} <= {*feature.levels.values()}:
            yield f"seen: the levels of `{feature.name}` are not those of the declaration"
    yield from _unequal("length of the prior", len(manifest.prior), spec.task.prior_length)
    for name in REQUIRED_FILES:
        if name not in manifest.files:
            yield f"{name} is not among the files"


def _golden(golden: Golden, spec: ModelSpec) -> Iterator[str]:
    """Golden rows that prove something: at least one, of the declared width, with every output."""
    rows = len(golden.inputs)
    if not rows or any(len(row) != len(spec.features) for row in golden.inputs):
        yield f"golden rows: expected at least one, each of {len(spec.features)} numbers"
    yield from _unequal("golden outputs", sorted(golden.outputs), sorted(out.name for out in spec.outputs))
    for output in spec.outputs:
        answers = golden.outputs.get(output.name, [])
        widths = {len(answer) if isinstance(answer, list) else 0 for answer in answers}
        if len(answers) != rows or not widths <= {output.width}:
            yield f"golden outputs: `{output.name}` has not one answer of its width for each row"
    if not golden.tolerance <= TOLERANCE:
        yield f"golden rows: the tolerance is {golden.tolerance:g}, at most {TOLERANCE:g} is allowed"


def _unequal(what: str, found: object, declared: object) -> Iterator[str]:
    if found != declared:
        yield f"{what} is {found}, the declaration has {declared}"


def _columns(
    what: str, found: Sequence[Column | GraphOutput], declared: Sequence[Column | GraphOutput]
) -> Iterator[str]:
    for position, (mine, theirs) in enumerate(zip_longest(found, declared), start=1):
        place = f"{what} {position}"
        if mine is None or theirs is None or mine.name != theirs.name:
            names = [f"`{part.name}`" if part else "absent" for part in (mine, theirs)]
            yield f"{place} is {names[0]}, the declaration has {names[1]}"
            continue
        for field in type(mine).model_fields:
            yield from _unequal(
                f"{place} `{mine.name}`: {field}", getattr(mine, field), getattr(theirs, field)
            )


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below `folder` by its relative path, the manifest excepted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def changed_files(folder: Path, listed: Mapping[str, str]) -> list[str]:
    """Return one sentence for each file that is missing, unlisted or altered, [] if none."""
    found = digests(folder)
    return [
        *(f"{name} is missing" for name in listed if name not in found),
        *(f"{name} is not in the manifest" for name in found if name not in listed),
        *(
            f"{name} was changed after export"
            for name in found
            if listed.get(name, found[name]) != found[name]
        ),
    ]
