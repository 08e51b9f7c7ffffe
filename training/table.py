"""The tables that the models are trained on, read, repaired and checked against the declarations.

Knows the files in training/data/ (sources, licences and known errors: SOURCES.md there), pandas and the
declarations. Knows no TensorFlow and nothing of how a row is predicted.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from service.features import Feature, Matrix, Row, part_violations, to_matrix
from service.models import MODELS
from service.spec import ModelSpec

DATA = Path(__file__).parent / "data"
# As SOURCES.md lists them. A file that differs is not the table that the published numbers speak of.
SHA256 = {
    "thoracic_surgery_raw.csv": "b51f69e60765c0b724c356fc3b9c5777b213c920b75ebb75b37b1f4b3702c379",
    "winequality-red.csv": "4a402cf041b025d4566d954c3b9ba8635a3a8a01e039005d97d6a710278cf05e",
    "winequality-white.csv": "76c3f809815c17c07212622f776311faeb31e87610d52c26d87d6e361b169836",
}
# Litres. The largest sound FEV1 of the table is 5.48; 14 are above 50, and one typing error is 8.56.
LARGEST_FEV1 = 8.0
# The share of the vital capacity that replaces an impossible FEV1: the median of PRE5 / PRE4 over the
# 448 sound rows (0.7696), a plausible volume that says as little as possible about the patient.
FEV1_SHARE = 0.77


class TableError(ValueError):
    """A table that is not the documented one, or that breaks the declaration."""


@dataclass(frozen=True)
class Table:
    """Rows to learn from, in declared order and units.

    `matrix` is float32 (n, d) with categories as codes; `targets` float64 (n,), the codes of the true
    values; `groups` int64 (n,): rows with equal inputs share a number, so that folds can keep them
    together. `sha256` holds the digest of each file that was read, by name.
    """

    matrix: Matrix
    targets: NDArray[np.float64]
    groups: NDArray[np.int64]
    sha256: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, matrix: Matrix, targets: NDArray[np.float64], sha256: Mapping[str, str]) -> "Table":
        """Make the table of these rows, with the groups of equal inputs numbered from 0."""
        groups = np.unique(matrix, axis=0, return_inverse=True)[1].reshape(-1)
        return cls(matrix, targets, groups.astype(np.int64), sha256)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.targets)

    def take(self, indices: NDArray[np.int64]) -> "Table":
        """Return the rows at `indices`, in that order; group numbers stay what they were."""
        return replace(
            self, matrix=self.matrix[indices], targets=self.targets[indices], groups=self.groups[indices]
        )

    def distinct(self) -> "Table":
        """Return each row once, where first it stands: a wine that was entered twice is one wine.

        Equal inputs with another target are another row.
        """
        rows = np.column_stack([self.matrix, self.targets])
        return self.take(np.sort(np.unique(rows, axis=0, return_index=True)[1]))


@dataclass(frozen=True)
class Source:
    """A published table: its files, and how they become one frame with the source's column names.

    `credit` names authors and licence, `errors` what is known to be wrong in it, `limits` what a model of it
    cannot be used for: model cards repeat the three.
    """

    files: tuple[str, ...]
    frame: Callable[[], pd.DataFrame]
    credit: str
    errors: str
    limits: tuple[str, ...]


def read(spec: ModelSpec) -> Table:
    """Read the model's table, repair its documented errors and check every row.

    Raises TableError if a file is not the documented one, or names the row and the feature that break
    the declaration.
    """
    sha256 = sha256_of(spec)
    frame = source_of(spec).frame()
    return Table.of(checked(spec, frame), targets(spec, frame), sha256)


def sha256_of(spec: ModelSpec) -> dict[str, str]:
    """Return the digest of each file of the model's table. Raises TableError if one is not documented."""
    return {name: verified(DATA / name) for name in source_of(spec).files}


def source_of(spec: ModelSpec) -> Source:
    """Return where the model's table comes from. Raises TableError if training/table.py has no such table."""
    if spec.source_columns not in SOURCES:
        raise TableError(
            f"no table has columns {', '.join(spec.source_columns)}; add it to SOURCES in training/table.py"
        )
    return SOURCES[spec.source_columns]


def lecture_survival() -> Table:
    """Read the survival table as the lecture feeds it to its net: 17 raw inputs, the id first, unrepaired.

    Only for the lecture's baseline: column 0 is the row number and 22 values of PRE5 are wrong.
    """
    spec = MODELS["survival"]
    sha256 = {"thoracic_surgery_raw.csv": verified(DATA / "thoracic_surgery_raw.csv")}
    frame = _raw_thoracic_surgery()
    return Table.of(frame.iloc[:, :-1].to_numpy(np.float32), targets(spec, frame), sha256)


def checked(spec: ModelSpec, frame: pd.DataFrame) -> Matrix:
    """Return the frame's inputs as a matrix, float32 (n, d), after checking every row against `spec`.

    Rows are counted from 1. Raises TableError naming the first row and feature at fault, never a value.
    """
    cells = frame[[feature.source for feature in spec.features]].itertuples(index=False, name=None)
    matrix = to_matrix(spec.row, [_row(spec, number, codes) for number, codes in enumerate(cells, 1)])
    for violation in part_violations(spec.row, matrix):
        _, _, index, name = violation.pointer.split("/")
        raise TableError(f"row {int(index) + 1}: {name}: {violation.detail}")
    return matrix


def targets(spec: ModelSpec, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the codes of the frame's true values, (n,). Raises TableError naming the first row at fault."""
    target = spec.target
    judge: TypeAdapter[Any] = TypeAdapter(Annotated[Any, target])
    codes = np.empty(len(frame))
    for index, code in enumerate(frame[target.source]):
        try:
            codes[index] = target.code(judge.validate_python(target.parse(f"{code:.17g}")))
        except ValidationError:
            raise _broken(index + 1, target) from None
    return codes


def verified(path: Path) -> str:
    """Return the file's sha256. Raises TableError if it is not the one that SOURCES.md documents."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256[path.name]:
        raise TableError(
            f"{path.name} has sha256 {found}, SOURCES.md documents {SHA256[path.name]}; restore the file, or"
            " document the new one in SOURCES.md and in training/table.py"
        )
    return found


def repaired(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the surgery table with its documented errors mended: the only place where a value changes.

    FEV1 (PRE5) is a volume in litres and a part of the vital capacity (PRE4). In 14 rows it is above 50,
    a per cent of the predicted volume; in 8 more it exceeds PRE4. Neither can be converted back (the
    predicted volume is not in the table), so both become FEV1_SHARE x PRE4.
    """
    impossible = (frame["PRE5"] > LARGEST_FEV1) | (frame["PRE5"] > frame["PRE4"])
    return frame.assign(PRE5=frame["PRE5"].mask(impossible, FEV1_SHARE * frame["PRE4"]))


def _row(spec: ModelSpec, number: int, codes: tuple[float, ...]) -> Row:
    # Through Feature.parse, as the service reads CSV.
    values = {
        feature.name: feature.parse(f"{code:.17g}")
        for feature, code in zip(spec.features, codes, strict=True)
    }
    try:
        return spec.row.model_validate(values)
    except ValidationError as error:
        name = error.errors(include_input=False)[0]["loc"][0]
        feature = next(feature for feature in spec.features if feature.name == name)
        raise _broken(number, feature) from None


def _broken(number: int, feature: Feature) -> TableError:
    return TableError(
        f"row {number}: {feature.name} (column {feature.source}) is not {feature.allowed};"
        " correct the table, or the declaration if it is too narrow"
    )


def _truth_table() -> pd.DataFrame:
    return pd.DataFrame([(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 1)], columns=["x1", "x2", "y"])


def _raw_thoracic_surgery() -> pd.DataFrame:
    columns = list(MODELS["survival"].source_columns)
    return pd.read_csv(DATA / "thoracic_surgery_raw.csv", header=None, names=columns)


def _thoracic_surgery() -> pd.DataFrame:
    return repaired(_raw_thoracic_surgery())


def _wine() -> pd.DataFrame:
    red, white = (pd.read_csv(DATA / f"winequality-{colour}.csv", sep=";") for colour in ("red", "white"))
    return pd.concat([red.assign(red=1), white.assign(red=0)], ignore_index=True)


EDGES = "Beyond the range seen in training a value counts as its edge; the answer names the feature."
# A table is known by its columns, so a further model of the same table needs no entry.
SOURCES = {
    MODELS["and_gate"].source_columns: Source(
        (),
        _truth_table,
        credit="The truth table of AND: four rows.",
        errors="None.",
        limits=("A demonstration: the table is its own truth, there is nothing to generalise to.",),
    ),
    MODELS["survival"].source_columns: Source(
        ("thoracic_surgery_raw.csv",),
        _thoracic_surgery,
        credit="Thoracic Surgery Data, UCI id 277, doi:10.24432/C5Z60N, CC BY 4.0 (Lubicz, Pawelczyk,"
        " Rzechonek and Kolodziej 2014): 470 patients of one centre, 2007 to 2011.",
        errors="FEV1 was impossible in 22 rows (per cent instead of litres, or above FVC) and is replaced"
        " there by 0.77 x FVC. One age of 21 is far from the next. Diagnosis DGN7 never occurs, DGN1 once,"
        " DGN8 twice; recent infarction and asthma occur twice each: nothing can be learnt from them.",
        limits=(
            "**Not for clinical use.** For research and teaching only.",
            "The inputs carry little signal: an AUC above 0.75 here is a leak until shown otherwise.",
            "One centre, one period, 70 deaths; it has been tried on no other hospital's patients.",
            EDGES,
        ),
    ),
    MODELS["wine_type"].source_columns: Source(
        ("winequality-red.csv", "winequality-white.csv"),
        _wine,
        credit="Wine Quality, UCI id 186, doi:10.24432/C56S3T, CC BY 4.0 (Cortez, Cerdeira, Almeida, Matos"
        " and Reis 2009): 1,599 red and 4,898 white vinhos verdes.",
        errors="240 red and 937 white rows are exact copies of earlier ones: they stay together in every"
        " split and every resample. Grades 3 and 9 have 30 and 5 rows.",
        limits=(
            "Portuguese vinho verde of 2004 to 2007 only; the grades are one panel's medians.",
            "Sets of grades and intervals keep their promise over all wines, not for each grade: the rare"
            " ones, 3, 4, 8 and 9, lie mostly outside. Sets of colours keep it for each colour. A set may be"
            " empty: the wine is unlike those of every label.",
            EDGES,
        ),
    ),
}
