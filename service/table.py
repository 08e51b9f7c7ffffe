"""Reads a text/csv body into the rows, targets and ids that a JSON body would hold.

Columns are named by the declaration's public names or by the published table's own headings. A body
without a header must hold the published table's columns in their order. Knows pandas; knows nothing
of HTTP; judges no value: that is `judge.Judge`'s, for JSON and CSV alike.
"""

import re
from collections.abc import Mapping
from io import StringIO
from typing import Any

import pandas as pd

from service.errors import MalformedBody, Violation
from service.features import Feature
from service.judge import MAX_VIOLATIONS, Instances, Judge, refuse
from service.spec import ModelSpec

# The lecture heads the column to be predicted so.
TARGET_HEADING = "label"
ROW_NUMBER = re.compile(r"\s*[0-9]{1,15}\s*")


def read_csv(judge: Judge, body: bytes) -> Instances:
    """Validate a CSV body. Raises MalformedBody, InvalidRows or TooLarge."""
    spec, cells = judge.spec, _cells(body)
    header = _header(spec, list(cells.iloc[0]), judge.labelled)
    if header is None:
        header = _published_header(spec, cells.shape[1], judge.labelled)
    else:
        cells = cells.iloc[1:]
    columns = dict(zip(header, (cells[number].tolist() for number in cells), strict=True))
    ids = _ids(columns.pop(spec.identifier)) if spec.identifier in columns else None
    targets = columns.pop(spec.target.name) if judge.labelled else None
    document: dict[str, Any] = {"instances": _rows(spec, columns, len(cells))}
    if targets is not None:
        document["targets"] = [spec.target.parse(cell) for cell in targets]
    return judge.document(document, ids)


def _cells(body: bytes) -> pd.DataFrame:
    """Every cell as the text that it is, in a frame of numbered columns."""
    try:
        text = StringIO(body.decode("utf-8-sig"))
        cells = pd.read_csv(text, header=None, dtype=str, keep_default_na=False, skipinitialspace=True)
    except UnicodeDecodeError:
        raise MalformedBody("The CSV body is not UTF-8; send it in UTF-8.") from None
    except pd.errors.EmptyDataError:
        raise MalformedBody("The CSV body is empty; send a header and at least one row.") from None
    except pd.errors.ParserError:
        raise _not_a_table() from None
    if cells.isna().any(axis=None):  # pandas fills short lines up
        raise _not_a_table()
    return cells


def _not_a_table() -> MalformedBody:
    return MalformedBody(
        "The CSV body is not a table: its lines differ in their number of cells, or a quote is not closed."
        " Send comma-separated lines of equal length."
    )


def _header(spec: ModelSpec, first: list[str], labelled: bool) -> list[str] | None:
    """The public name of each column, or None if the first line holds values and not headings."""
    if all(_is_number(cell) for cell in first):
        return None
    names = _headings(spec, labelled)
    header = [names.get(cell.strip(), cell.strip()) for cell in first]
    if len(set(header)) < len(header):
        raise MalformedBody("Two columns of the CSV header name the same feature; keep one of them.")
    if labelled and spec.target.name not in header:
        raise MalformedBody(
            "The CSV header has no column for the target;"
            f" head it {spec.target.name} or {spec.target.source}."
        )
    return header


def _headings(spec: ModelSpec, labelled: bool) -> dict[str, str]:
    """Each heading that is understood, with the public name that it stands for."""
    names = {heading: feature.name for feature in spec.features for heading in (feature.source, feature.name)}
    if spec.identifier:
        names[spec.identifier] = spec.identifier
    if labelled:
        target = spec.target
        names |= dict.fromkeys((target.name, target.source, TARGET_HEADING), target.name)
    return names


def _published_header(spec: ModelSpec, width: int, labelled: bool) -> list[str]:
    """The columns of a body without a header: the published table's, with or without its target."""
    columns = [name for name in spec.source_columns if labelled or name != spec.target.source]
    if width != len(columns):
        listed = ",".join(columns)
        raise MalformedBody(
            f"The CSV body has no header and {width} columns; send a header, or these {len(columns)} columns:"
            f" {listed}"
        )
    names = _headings(spec, labelled)
    return [names[column] for column in columns]


def _rows(spec: ModelSpec, columns: Mapping[str, list[str]], count: int) -> list[dict[str, Any]]:
    """One object a line. An empty cell is a missing value; an undeclared column stays, to be refused."""
    features = {feature.name: feature for feature in spec.features}
    parsed = {name: _parse(features.get(name), cells) for name, cells in columns.items()}
    return [
        {name: cells[line] for name, cells in parsed.items() if columns[name][line].strip()}
        for line in range(count)
    ]


def _parse(feature: Feature | None, cells: list[str]) -> list[Any]:
    return [feature.parse(cell) for cell in cells] if feature else cells


def _ids(cells: list[str]) -> list[int]:
    """Row numbers. Anything else is refused: an id is echoed, so it must not be able to carry text."""
    wrong = [line for line, cell in enumerate(cells) if not ROW_NUMBER.fullmatch(cell)]
    detail = "id is not a row number; give up to 15 digits."
    refuse([Violation(f"#/instances/{line}/id", detail, "wrong_type") for line in wrong[:MAX_VIOLATIONS]])
    return [int(cell) for cell in cells]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
