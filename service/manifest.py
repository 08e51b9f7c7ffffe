"""What stands beside a SavedModel: read, write, compare with a declaration and with the files.

Knows files and JSON; knows nothing of HTTP or TensorFlow.
"""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError

from service.applicability import Applicability, Seen
from service.conformal import COVERAGES, Critical
from service.errors import ArtifactRejected
from service.features import Feature
from service.files import names, plain
from service.quality import Part, Quality
from service.spec import DISTANCE, ModelSpec
from service.tasks import Output

MANIFEST = "manifest.json"
REQUIRED_FILES = ("saved_model.pb", "card.md")
DRAWING = re.compile(r"[A-Za-z0-9_-]+\.(png|svg)")
# All that a version is made of: no assets, no text forms, no second shard that TensorFlow might open instead.
TENSORFLOWS = r"saved_model\.pb|fingerprint\.pb|variables/variables\.(index|data-00000-of-00001)"
FILE = rf"{TENSORFLOWS}|card\.md|{DRAWING.pattern}"
MOST_MANIFEST_BYTES = 2**20
# Another CPU or a GPU rounds differently, by less than this.
TOLERANCE = 1e-4


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


class Drawing(Part):
    """A plot beside the card: its file, its title, and in words what it shows."""

    file: str
    title: str
    shows: str


class Provenance(Part):
    """What the card says besides figures: the data and its errors, the model's limits, how it was made."""

    notice: str | None
    credit: str
    errors: str
    limits: list[str]
    made_by: str
    drawings: list[Drawing]
    # The reason why the publishing gate would have refused this version, had it not been forced.
    forced: str | None = None


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
    """The whole of manifest.json.

    `prior` is the share of each class, or value, in the training table: what the trivial baseline answers
    from. `critical` has the critical values (`conformal.Critical`) by coverage, such as "0.9"; it is empty
    where the task has neither intervals nor sets.
    """

    model: str
    version: int
    task: str
    features: list[Column]
    target: Column
    outputs: list[GraphOutput]
    explained: str
    threshold: float | None
    prior: list[float]
    critical: dict[str, list[float]]
    seen: dict[str, Seen]
    training: Training
    quality: Quality
    provenance: Provenance
    golden: Golden
    files: dict[Annotated[str, Field(pattern=f"^({FILE})$")], str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `folder`/manifest.json. Raises ArtifactRejected if it is missing or not a manifest."""
        return cls.parse(document(folder))

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read what manifest.json holds. Raises ArtifactRejected, naming the first place that is wrong."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))[:100] or "its JSON"
            raise ArtifactRejected(
                f"{MANIFEST} is not a manifest of this service ({error.error_count()} faults, the first in"
                f" {first}); export the model again with this revision"
            ) from None

    def critical_at(self, coverage: float) -> Critical | None:
        """The critical values of one of COVERAGES; None where the task has neither intervals nor sets."""
        return self._criticals.get(coverage)

    @cached_property
    def _criticals(self) -> dict[float, Critical]:
        return {
            float(coverage): Critical(float(coverage), values) for coverage, values in self.critical.items()
        }

    @cached_property
    def applicability(self) -> Applicability:
        """What tells which values of a row training never came near."""
        names = [feature.name for feature in self.features]
        levels = [list(feature.levels.values()) for feature in self.features]
        return Applicability(names, [self.seen[name] for name in names], levels)

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
    if min(manifest.prior, default=0) < 0 or abs(sum(manifest.prior) - 1) > TOLERANCE:
        yield "the prior is not shares that sum to 1"
    yield from _critical(manifest, spec)
    drawings = [drawing.file for drawing in manifest.provenance.drawings]
    for name in (*REQUIRED_FILES, *drawings):
        if name not in manifest.files:
            yield f"{name} is not among the files"
    for name in drawings:
        if not DRAWING.fullmatch(name):
            yield f"drawing {name} is no .png or .svg beside the card"


def _critical(manifest: Manifest, spec: ModelSpec) -> Iterator[str]:
    """Critical values for each coverage, possible ones, and no smaller sets for a larger coverage."""
    length = spec.task.critical_length
    expected = {str(coverage): length for coverage in COVERAGES} if length else {}
    found = {coverage: len(values) for coverage, values in manifest.critical.items()}
    if found != expected:
        yield from _unequal("number of critical values by coverage", found, expected)
        return
    # A class is in the set from a probability on: a larger one makes it smaller. Intervals reach so far.
    sign, most = (-1, 1.0) if spec.task.labels(spec.target) else (1, math.inf)
    for coverage, values in manifest.critical.items():
        if not all(0 <= value <= most for value in values):
            yield f"critical values for {coverage} are not from 0 to {most:g}"
    ascending = [manifest.critical[str(coverage)] for coverage in COVERAGES if length]
    for narrow, wide in pairwise(ascending):
        if any(sign * one > sign * other for one, other in zip(narrow, wide, strict=True)):
            yield "critical values: a larger coverage has smaller sets or intervals"


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
    percentiles = golden.outputs.get(DISTANCE.name, [])
    if not all(isinstance(one, float) and 0 <= one <= 100 for one in percentiles):
        yield f"golden outputs: `{DISTANCE.name}` is not from 0 to 100"
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


def document(folder: Path) -> bytes:
    """The bytes of `folder`/manifest.json. Raises ArtifactRejected if missing, OSError if unreadable."""
    try:
        return plain(folder / MANIFEST, MOST_MANIFEST_BYTES)
    except FileNotFoundError as error:
        raise ArtifactRejected(
            f"{MANIFEST} cannot be read: {error.strerror}; export the model again"
        ) from error


def digest(content: bytes) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below `folder` by its relative path, the manifest excepted."""
    return {name: digest(plain(folder / name)) for name in _listed(folder)}


def verified(folder: Path, listed: Mapping[str, str]) -> dict[str, bytes]:
    """The content of every listed file of a version, read once: what is used is what was compared.

    Raises ArtifactRejected with one sentence for each file that is missing, unlisted or altered.
    """
    found = {*_listed(folder)}
    contents = {name: plain(folder / name) for name in listed if name in found}
    reasons = [
        *(f"{name} is missing" for name in listed if name not in found),
        *(f"{name} is not in the manifest" for name in sorted(found - listed.keys())),
        *(f"{name} was changed after export" for name in contents if digest(contents[name]) != listed[name]),
    ]
    if reasons:
        raise ArtifactRejected("; ".join(reasons))
    return contents


def _listed(folder: Path) -> list[str]:
    """The files that a manifest lists: all but itself."""
    return sorted(name for name in names(folder) if name != MANIFEST)
