"""Golden rows: valid, varied, and no row of the table."""

import numpy as np
import pytest
from test_export import _row

from service.features import part_violations
from service.models import MODELS
from training.export import ExportError, _rolled, golden_inputs


@pytest.mark.parametrize("name", MODELS)
def test_golden_rows_are_valid_and_vary(tables, name):
    """Eleven rows that the declaration accepts, with columns that do not all vary alike."""
    spec = MODELS[name]
    rows = golden_inputs(spec, tables[name].matrix)

    assert rows.shape == (11, len(spec.features))
    assert [_row(spec, codes) for codes in rows]
    assert not list(part_violations(spec.row, rows))
    assert len(np.unique(rows, axis=0)) > 2


@pytest.mark.parametrize("name", [name for name in MODELS if name != "and_gate"])
def test_no_golden_row_is_a_row_of_the_table(tables, name):
    """Golden rows are published with the artifact, so none may be a patient; AND has no others."""
    rows = golden_inputs(MODELS[name], tables[name].matrix)

    assert not any((tables[name].matrix == row).all(axis=1).any() for row in rows)


def test_golden_rows_are_rolled_otherwise_until_none_is_a_row_of_the_table(tables):
    """A patient put where the first choice lies makes it choose again; the other columns stay quantiles."""
    matrix = tables["survival"].matrix
    first = golden_inputs(MODELS["survival"], matrix)
    # The quantiles of 470 patients hardly move by one more, so the same rows are the first choice again.
    met = np.concatenate([matrix, first[5:6]])
    assert (_rolled(MODELS["survival"], met, 3) == first[5]).all(axis=1).any()
    second = golden_inputs(MODELS["survival"], met)

    assert not (second == first[5]).all(axis=1).any()
    assert not any((met == row).all(axis=1).any() for row in second)


def test_golden_rows_that_must_be_rows_of_the_table_are_refused(tables):
    """Three of the four rows of AND: every roll meets one of them, though 1 AND 1 is not in the table."""
    with pytest.raises(ExportError, match="golden rows are rows of the table, expected none"):
        golden_inputs(MODELS["and_gate"], tables["and_gate"].matrix[:3])
