"""Reads a text/csv body into the rows, targets and ids that a JSON body would hold.

Columns are named by the declaration's public names or by the published table's own headings. A body
without a header must hold the published table's columns in their order. Knows pandas; knows nothing
of HTTP; judges no value: that is `judge.Judge`'s, for JSON and CSV alike.
"""

import codecs
import csv
import re
from collections.abc import Iterator, Mapping
from io import StringIO
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from service.bulk import fitting, let_others_run, matrix
from service.decoder import Doubt
from service.errors import MalformedBody, RefusedBody, TooLarge, Violation
from service.features import Feature
from service.instances import Asked, Instances
from service.judge import MAX_VIOLATIONS, Judge, refuse, small
from service.protocol import MAX_ROWS
from service.spec import ModelSpec

# Of a published table's columns: a body that is wider than this is not one.
WIDEST = 4
# Bytes of a body that are looked at for its first line, which is to have half of them at most.
LONGEST_HEADER = 16 * 1024
# Lines that are read at a time.
PIECE = 4096
# Where all cells of a column are among these pandas makes 1 and 0 of them, though numbers are asked for.
TRUTHS = ("True", "TRUE", "true", "False", "FALSE", "false")
ROW_NUMBER = re.compile(r"\s*[0-9]{1,15}\s*")


def read_csv(judge: Judge, body: bytes, options: Mapping[str, Any]) -> Asked:
    """Validate a CSV body and the options that came beside it, as a JSON body with both is validated.

    Raises MalformedBody, InvalidRows, InvalidParameters or TooLarge.
    """
    if not small(body):
        try:
            return _many(judge, body, options)
        except (Doubt, RefusedBody):
            pass  # row by row, to be sure, or to say what is wrong and where
    spec, cells = judge.spec, _cells(judge.spec, body)
    header = _header(judge, list(cells.iloc[0]))
    if header is None:
        header = _published_header(judge, cells.shape[1])
    else:
        cells = cells.iloc[1:]
    if len(cells) > MAX_ROWS:
        raise TooLarge(f"A request may hold at most {MAX_ROWS:,} rows; send several requests.")
    columns = dict(zip(header, (cells[number].tolist() for number in cells), strict=True))
    ids = _ids(columns.pop(spec.identifier)) if spec.identifier in columns else None
    targets = columns.pop(spec.target.name) if judge.labelled else None
    document: dict[str, Any] = {"instances": _rows(spec, columns, len(cells)), "parameters": options}
    if targets is not None:
        document["targets"] = [spec.target.parse(cell) for cell in targets]
    return judge.document(document, ids)


def _many(judge: Judge, body: bytes, options: Mapping[str, Any]) -> Asked:
    """Validate a CSV body of many lines column by column. Raises Doubt or RefusedBody."""
    spec = judge.spec
    first, width = _first_cells(spec, body)
    header = _header(judge, first)
    headed = header is not None
    header = header or _published_header(judge, len(first))
    frames = islice(_frames(judge, header, width, body, headed), MAX_ROWS // PIECE + 2)
    try:
        parts = [_part(judge, header, frame) for frame in frames]
    except (ValueError, pd.errors.ParserError):
        raise Doubt from None
    instances = Instances(
        np.concatenate([part.matrix for part in parts]),
        np.concatenate([part.targets for part in parts]) if judge.labelled else None,
        [number for part in parts for number in part.ids or ()] if spec.identifier in header else None,
    )
    if instances.rows > MAX_ROWS:
        raise Doubt
    example: dict[str, Any] = {"instances": [spec.example], "parameters": options}
    _, parameters = judge.document(example | ({"targets": [spec.example_target]} if judge.labelled else {}))
    return instances, parameters


def _first_cells(spec: ModelSpec, body: bytes) -> tuple[list[str], int]:
    """The cells of the first line without the empty ones at its end, and how many it has. Raises Doubt."""
    line = body[:LONGEST_HEADER].removeprefix(codecs.BOM_UTF8).partition(b"\n")[0].removesuffix(b"\r")
    if len(line) > LONGEST_HEADER // 2 or line.count(b",") >= WIDEST * len(spec.source_columns):
        raise Doubt  # forty megabytes of one line would be a gigabyte of cells
    if line.count(b'"') % 2 or b"\r" in line or not line.isascii():
        raise Doubt  # it may end elsewhere, and no heading is of other letters
    cells = next(csv.reader([line.decode()], skipinitialspace=True), [])
    width = len(cells)
    # A spreadsheet ends its lines with commas for columns that were once used.
    while cells and not cells[-1].strip():
        cells.pop()
    # An empty heading, or a quoted comma: which column is whose?
    if width != line.count(b",") + 1 or not cells or not all(map(str.strip, cells)):
        raise Doubt
    return cells, width


def _frames(judge: Judge, header: list[str], width: int, body: bytes, headed: bool) -> Iterator[pd.DataFrame]:
    """The body in frames of PIECE lines with named columns, numbers parsed, all else text. Raises Doubt.

    Its lines have `width` cells, of which those without a name are empty.
    """
    spec = judge.spec
    columns = {column.name: column for column in (*spec.features, *([spec.target] if judge.labelled else ()))}
    if set(header) - {spec.identifier} != columns.keys():
        raise Doubt
    text = body.decode("utf-8-sig")
    numbers = [
        place for place, name in enumerate(header) if name in columns and columns[name].low is not None
    ]
    kinds: dict[int, Any] = {place: object for place in range(width) if place not in numbers}
    # Where it may find other than numbers it is not asked for them, and says what it has found.
    if not any(word in text for word in TRUTHS):
        kinds |= dict.fromkeys(numbers, np.float64)
    frames = pd.read_csv(
        StringIO(text),
        header=None,
        dtype=kinds,
        na_filter=False,
        skipinitialspace=True,
        skiprows=1 if headed else 0,
        chunksize=PIECE,
    )
    for frame in frames:
        if frame.shape[1] != width or any(frame[place].dtype.kind not in "iuf" for place in numbers):
            raise Doubt
        if width > len(header) and (frame.loc[:, len(header) :] != "").any(axis=None):
            raise Doubt
        yield frame.loc[:, : len(header) - 1].set_axis(header, axis=1)
        let_others_run()


def _part(judge: Judge, header: list[str], frame: pd.DataFrame) -> Instances:
    """The instances of one frame. Raises Doubt or RefusedBody."""
    spec = judge.spec
    return Instances(
        matrix(spec, {feature.name: _codes(feature, frame[feature.name]) for feature in spec.features}),
        fitting(spec.target, _codes(spec.target, frame[spec.target.name])) if judge.labelled else None,
        _ids(frame[spec.identifier].tolist()) if spec.identifier in header else None,
    )


def _codes(feature: Feature, cells: "pd.Series[Any]") -> NDArray[np.float64]:
    """The codes of one column's cells, (n,). Raises Doubt."""
    if feature.low is not None:
        return cells.to_numpy(np.float64)
    places, different = pd.factorize(cells)
    if len(different) > WIDEST * max(len(feature.levels), 2):
        raise Doubt
    values = [feature.parse(cell) for cell in different]
    if not all(value in feature.levels if feature.levels else isinstance(value, bool) for value in values):
        raise Doubt
    return np.asarray([feature.code(value) for value in values])[places]


def _cells(spec: ModelSpec, body: bytes) -> pd.DataFrame:
    """Every cell as the text that it is, in a frame of numbered columns; "" where a line is short."""
    if body.partition(b"\n")[0].count(b",") >= WIDEST * len(spec.source_columns):
        raise MalformedBody(
            f"The CSV body has too many columns; this model's rows have {len(spec.features)}."
        )
    try:
        text = StringIO(body.decode("utf-8-sig"))
        cells = pd.read_csv(
            text,
            header=None,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            nrows=MAX_ROWS + 2,  # a header, and one row too many
        )
    except UnicodeDecodeError:
        raise MalformedBody("The CSV body is not UTF-8; send it in UTF-8.") from None
    except pd.errors.EmptyDataError:
        raise MalformedBody("The CSV body is empty; send a header and at least one row.") from None
    except pd.errors.ParserError:
        raise MalformedBody(
            "The CSV body is not a table: a line has more cells than the first, or a quote is not closed."
            " Send comma-separated lines of equal length."
        ) from None
    # A spreadsheet ends its lines with commas for columns that were once used.
    return cells.loc[:, (cells != "").any()]


def _header(judge: Judge, first: list[str]) -> list[str] | None:
    """The public name of each column, or None if the first line holds values and not headings."""
    spec, names = judge.spec, dict(judge.spec.headings)
    # A value can be the word of a heading, such as `red`: a header has mostly headings.
    if 2 * sum(cell.strip() in names for cell in first) < len(first):
        return None
    if not judge.labelled:
        # Where no target is wanted, its column keeps its heading and is refused by it.
        names = {heading: name for heading, name in names.items() if name != spec.target.name}
    header = [names.get(cell.strip(), cell.strip()) for cell in first]
    if len(set(header)) < len(header):
        raise MalformedBody("Two columns of the CSV header bear the same name; keep one of them.")
    if judge.labelled and spec.target.name not in header:
        known = " or ".join(heading for heading, name in spec.headings.items() if name == spec.target.name)
        raise MalformedBody(f"The CSV header has no column for the target; head it {known}.")
    return header


def _published_header(judge: Judge, width: int) -> list[str]:
    """The columns of a body without a header: the published table's, with or without its target."""
    spec = judge.spec
    columns = [name for name in spec.source_columns if judge.labelled or name != spec.target.source]
    if width != len(columns):
        raise MalformedBody(
            f"The first line of the CSV body is no header: too few of its {width} cells name a column of this"
            f" model. Send a header, or the {len(columns)} columns of the published table, separated by"
            f" commas: {', '.join(columns)}."
        )
    return [spec.headings[column] for column in columns]


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
