from dataclasses import replace

import numpy as np
import pytest

from service.features import count, flag, quantity
from service.metrics import evaluate
from service.models import MODELS
from training.groups import FEWEST, bands, cuts, group_figures

AGE = count("age", low=18, high=110, unit="years", source="A").named("age")
VOLUME = quantity("volume", unit="litre", low=0, high=9, source="V").named("volume")


def prevalence(spec, table):
    """The trivial baseline's outputs: whatever the groups, they have nothing to do with the fit."""
    classes = spec.task.classes if spec.task.name == "multiclass" else (0, 1)
    prior = [float(np.mean(table.targets == code)) for code in classes]
    return spec.task.trivial(spec.target, prior, len(table))


def found(spec, table, resamples=10):
    return {
        (group.of, group.name): group
        for group in group_figures(spec, table, [prevalence(spec, table)], resamples)
    }


def test_the_surgery_tables_ages_are_cut_at_60_and_70(tables):
    """The interquartile range of 12 years holds a step of 10; 60 and 70 part 175, 181 and 114 patients."""
    groups = found(MODELS["survival"], tables["survival"])
    ages = {name: group.rows for (of, name), group in groups.items() if of == "age"}

    assert ages == {"below 60": 175, "60 to 69": 181, "70 and over": 114}


def test_grades_are_banded_where_thirds_nearly_lie(tables):
    """Below 6, 6 and 7 and over: single grades would leave 5 rows in the last one."""
    groups = found(MODELS["wine_type"], tables["wine_type"])

    assert {name: group.rows for (_, name), group in groups.items()} == {
        "below 6": 2384, "6": 2836, "7 and over": 1277,
    }  # fmt: skip


def test_categories_are_grouped_by_level_under_their_public_names(tables):
    """Wines by colour, tumours by size; groups of one feature hold every row once."""
    colours = found(MODELS["wine_grade"], tables["wine_grade"], resamples=2)
    sizes = found(MODELS["survival"], tables["survival"])

    assert {key: group.rows for key, group in colours.items()} == {
        ("type", "white"): 4898, ("type", "red"): 1599,
    }  # fmt: skip
    assert {name: group.rows for (of, name), group in sizes.items() if of == "tumour_size"} == {
        "OC11": 177, "OC12": 257, "OC13": 19, "OC14": 17,
    }  # fmt: skip


def test_a_groups_figures_are_those_of_its_rows(tables):
    """The Brier score of the patients below 60 is that of evaluating them alone, with an interval."""
    spec, table = MODELS["survival"], tables["survival"]
    outputs = prevalence(spec, table)
    young = np.flatnonzero(table.matrix[:, -1] < 60)
    theirs = {name: values[young] for name, values in outputs.items()}
    alone = evaluate(spec.task, spec.target, theirs, table.targets[young])
    figure = found(spec, table, resamples=50)["age", "below 60"].metrics["brier"]

    assert figure.value == alone["brier"]
    assert figure.low < figure.value < figure.high


def test_outputs_stay_with_their_rows(tables):
    """Outputs that equal the truth are perfect in every group, in whatever order its rows stand."""
    spec, table = MODELS["wine_type"], tables["wine_type"]
    table = table.take(np.random.default_rng(0).permutation(len(table))[:600])
    sure = np.where(table.targets == 1, 0.9, 0.1).astype(np.float32)
    outputs = {"probability_of_red": sure, "probability_of_white": 1 - sure}

    groups = group_figures(spec, table, [outputs], 2)
    assert [group.metrics["accuracy"].value for group in groups] == [1, 1, 1]


def test_a_groups_figure_is_the_mean_over_repeats(tables):
    """Two repeats, right for all and wrong for all: half of the answers are right in every group."""
    spec, table = MODELS["wine_type"], tables["wine_type"]
    table = table.take(np.arange(0, len(table), 10))
    repeats = [{"probability_of_red": np.abs(table.targets - flip).astype(np.float32)} for flip in (0.1, 0.9)]

    assert {group.metrics["accuracy"].value for group in group_figures(spec, table, repeats, 2)} == {0.5}


def test_a_group_of_few_rows_has_its_count_and_no_metrics(tables):
    """19 and 17 patients of the two largest tumour sizes: fewer than 30 say nothing."""
    groups = found(MODELS["survival"], tables["survival"])

    assert FEWEST == 30
    for size in ("OC13", "OC14"):
        assert groups["tumour_size", size].rows < FEWEST
        assert groups["tumour_size", size].metrics == {}
    assert groups["tumour_size", "OC12"].metrics


def test_a_group_of_one_class_has_no_metrics(tables):
    """Only survivors among the patients of 70 and over: no AUC, and no log-loss that would flatter."""
    spec, table = MODELS["survival"], tables["survival"]
    part = table.take(np.flatnonzero((table.matrix[:, -1] < 70) | (table.targets == 0)))
    groups = found(spec, part)
    oldest = [group for (of, name), group in groups.items() if of == "age"][-1]

    assert oldest.rows >= FEWEST
    assert oldest.metrics == {}


def test_a_number_needs_no_two_classes(tables):
    """Wines of one grade alone still have a mean error."""
    spec, table = MODELS["wine_quality"], tables["wine_quality"]
    sixes = table.take(np.flatnonzero(table.targets == 6)[:400])
    ones = np.ones(len(sixes), np.float32)
    outputs = {"quality": 5.5 * ones, "median_quality": 5.5 * ones, "standard_deviation": ones}
    groups = group_figures(spec, sixes, [outputs], 2)

    assert [group.metrics["rmse"].value for group in groups if group.rows >= FEWEST] == [0.5]


def test_flags_are_grouped_by_yes_and_no():
    """A flag has no public names for its codes but true and false."""
    smoking = flag("smoking", source="S").named("smoking")

    assert [band.name for band in bands(smoking, np.array([0.0, 1.0, 1.0]))] == ["no", "yes"]


@pytest.mark.parametrize(
    ("feature", "values", "names"),
    [
        (AGE, np.arange(30, 90), ["below 40", "40 to 59", "60 and over"]),
        (AGE, np.repeat([1, 2, 3], 5), ["below 2", "2 and over"]),
        (AGE, np.repeat([1, 2, 3, 4], [5, 3, 5, 5]), ["below 2", "2 to 3", "4 and over"]),
        (VOLUME, np.linspace(0.2, 2.2, 50), ["below 1", "1 to below 1.5", "1.5 and over"]),
        (AGE, np.full(40, 7.0), ["all"]),
    ],
)
def test_bands_are_cut_at_round_values(feature, values, names):
    """Multiples of 20 years, of one year, of half a litre; a feature that never varies is not cut."""
    assert [band.name for band in bands(feature, values.astype(float))] == names


def test_every_value_is_in_exactly_one_band():
    """Bands meet without a gap, whatever the numbers."""
    values = np.random.default_rng(3).lognormal(size=500)
    found = bands(VOLUME, values)

    assert sum(int(np.sum((values >= band.low) & (values < band.high))) for band in found) == 500
    assert cuts(values) == [band.low for band in found[1:]]


def test_a_model_that_names_no_groups_has_none(tables):
    """The AND gate is measured as a whole."""
    spec, table = MODELS["and_gate"], tables["and_gate"]

    repeats = [prevalence(spec, table)]
    assert group_figures(spec, table, repeats) == []
    assert group_figures(replace(spec, grouped_by=("x1",)), table, repeats)[0].rows == 2
