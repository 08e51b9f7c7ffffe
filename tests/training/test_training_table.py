from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from service.features import part_violations, to_matrix
from service.models import MODELS
from service.models.survival import SURVIVAL
from service.models.wine import WINE_QUALITY
from training import table as table_module
from training.table import SOURCES, TableError, checked, lecture_survival, repaired, targets, verified

# training/data/SOURCES.md lists them by the id in column 0.
IN_PER_CENT = {26, 90, 99, 113, 133, 256, 320, 326, 331, 350, 353, 354, 439, 445}
ABOVE_FVC = {12, 78, 155, 184, 204, 216, 255, 396}


def frame_of(spec) -> pd.DataFrame:
    return SOURCES[spec.source_columns].frame()


def raw_survival() -> pd.DataFrame:
    path = table_module.DATA / "thoracic_surgery_raw.csv"
    return pd.read_csv(path, header=None, names=list(SURVIVAL.source_columns))


@pytest.mark.parametrize(("name", "rows"), [("and_gate", 4), ("survival", 470), ("wine_type", 6497)])
def test_every_row_of_a_table_passes_its_declaration(tables, name, rows):
    """Read checks each row, so reading without an error is the proof; the shapes are the documented ones."""
    table = tables[name]

    assert (rows, len(MODELS[name].features)) == table.matrix.shape
    assert np.float32 == table.matrix.dtype
    assert np.float64 == table.targets.dtype
    assert not list(part_violations(MODELS[name].row, table.matrix))


def test_the_matrix_says_what_the_declared_example_says(tables):
    """The declaration's example is a row of the table, in the same order, units and codes."""
    # The wine that the lecture prints says 36 mg of total sulphur dioxide, UCI's file (line 962) 38.
    for spec in (MODELS["and_gate"], SURVIVAL):
        example = to_matrix(spec.row, [spec.row.model_validate(spec.example)])
        found = np.flatnonzero((tables[spec.name].matrix == example).all(axis=1))

        assert found.size
        assert spec.target.code(spec.example_target) in tables[spec.name].targets[found]


def test_70_of_470_patients_died():
    """The label 1 is death, UCI's Risk1Yr T, as SOURCES.md counts it."""
    table = table_module.read(SURVIVAL)

    assert table.targets.sum() == 70


def test_repairs_change_fev1_of_exactly_the_documented_patients():
    """The 14 values in per cent and the 8 above FVC change; every other cell stays."""
    raw = raw_survival()
    mended = repaired(raw)
    changed = raw["PRE5"] != mended["PRE5"]

    assert set(raw.loc[changed, "id"]) == IN_PER_CENT | ABOVE_FVC
    assert mended.drop(columns="PRE5").equals(raw.drop(columns="PRE5"))
    assert np.allclose(mended.loc[changed, "PRE5"], 0.77 * raw.loc[changed, "PRE4"])


def test_the_repairs_share_is_the_median_of_the_sound_rows():
    """0.77 is what PRE5 / PRE4 is in the middle of the rows that need no repair."""
    raw = raw_survival()
    sound = raw[~raw["id"].isin(IN_PER_CENT | ABOVE_FVC)]

    assert len(sound) == 448
    assert round((sound["PRE5"] / sound["PRE4"]).median(), 2) == table_module.FEV1_SHARE


def test_without_the_repairs_the_table_is_refused():
    """The declaration does not accept the documented errors, so nobody can forget to repair them."""
    with pytest.raises(TableError, match="forced_expiratory_volume_1s"):
        checked(SURVIVAL, raw_survival())


@pytest.mark.parametrize(
    ("column", "feature", "cell"),
    [
        ("AGE", "age", 6262.0),
        ("AGE", "age", 62.5),
        ("AGE", "age", float("nan")),
        ("PRE7", "pain", 2.0),
        ("PRE14", "tumour_size", 19.0),
        ("PRE4", "forced_vital_capacity", 31.75),
    ],
)
def test_a_broken_cell_is_refused_with_row_and_feature_and_without_its_value(column, feature, cell):
    """The message names row 17, the feature and its column; a patient's value is not repeated."""
    frame = frame_of(SURVIVAL).astype(float)
    assert frame.loc[16, column] != cell
    frame.loc[16, column] = cell

    with pytest.raises(TableError) as caught:
        checked(SURVIVAL, frame)

    assert str(caught.value).startswith(f"row 17: {feature} (column {column}) is not ")
    assert f"{cell:g}" not in str(caught.value).removeprefix("row 17")


def test_a_part_above_its_whole_is_refused_with_row_and_feature():
    """Free sulphur dioxide above the total names the row."""
    frame = frame_of(WINE_QUALITY)
    frame.loc[4, "free sulfur dioxide"] = frame.loc[4, "total sulfur dioxide"] + 1

    with pytest.raises(TableError, match="row 5: free_sulfur_dioxide"):
        checked(WINE_QUALITY, frame)


def test_a_broken_target_is_refused():
    """A grade that is no grade names the row and the target."""
    frame = frame_of(WINE_QUALITY)
    frame.loc[2, "quality"] = 17

    with pytest.raises(TableError, match="row 3: quality"):
        targets(WINE_QUALITY, frame)


def test_an_altered_file_is_refused(tmp_path):
    """A file with another digest than SOURCES.md's is not read."""
    (tmp_path / "winequality-red.csv").write_text("quality\n")

    with pytest.raises(TableError, match=r"winequality-red\.csv has sha256"):
        verified(tmp_path / "winequality-red.csv")


def test_the_digests_are_those_of_sources_md():
    """What the code insists on is what the page documents."""
    page = (table_module.DATA / "SOURCES.md").read_text()

    assert all(f"`{digest}`" in page for digest in table_module.SHA256.values())


def test_equal_rows_share_a_group_and_others_do_not(tables):
    """240 red and 937 white rows are copies of an earlier one, as SOURCES.md counts them."""
    table = tables["wine_quality"]
    copies = {
        colour: int(rows.sum() - np.unique(table.groups[rows]).size)
        for colour, rows in (("red", table.matrix[:, -1] == 1), ("white", table.matrix[:, -1] == 0))
    }

    assert copies == {"red": 240, "white": 937}
    for group in np.unique(table.groups)[:500]:
        assert (np.ptp(table.matrix[table.groups == group], axis=0) == 0).all()


def test_take_keeps_rows_targets_and_groups_together(tables):
    """Taking indices takes the same rows of everything."""
    table = tables["wine_grade"]
    taken = table.take(np.array([5, 0]))

    assert (table.matrix[[5, 0]] == taken.matrix).all()
    assert table.targets[[5, 0]].tolist() == taken.targets.tolist()
    assert table.groups[[5, 0]].tolist() == taken.groups.tolist()


def test_distinct_rows_are_the_first_of_their_copies(tables):
    """6,497 wines are 5,320 different ones; equal inputs with another target stay another row."""
    table = tables["wine_quality"]
    rows = table_module.Table.of(np.float32([[1], [2], [1], [1]]), np.float64([0, 0, 1, 0]), {}).distinct()

    assert len(table.distinct()) == 5320
    assert rows.matrix[:, 0].tolist() == [1, 2, 1]
    assert rows.targets.tolist() == [0, 0, 1]
    assert rows.groups[0] == rows.groups[2] != rows.groups[1]


def test_the_lectures_table_has_the_id_first_and_keeps_the_errors():
    """17 raw inputs: the row number 1..470 once each, and FEV1 still in per cent in places."""
    table = lecture_survival()

    assert table.matrix.shape == (470, 17)
    assert list(range(1, 471)) == sorted(table.matrix[:, 0])
    assert table.matrix[:, 3].max() > 50


def test_a_model_of_an_unknown_table_is_told_where_to_declare_it():
    """A declaration whose columns no table has names them and the place to add them."""
    stranger = replace(SURVIVAL, source_columns=("height", "weight"))

    with pytest.raises(TableError, match=r"columns height, weight; add it to SOURCES in training/table\.py"):
        table_module.read(stranger)
