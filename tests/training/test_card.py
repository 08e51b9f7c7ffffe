from dataclasses import replace

import numpy as np
import pytest

from service.manifest import Column, Drawing, Golden, GraphOutput, Manifest, Training, threshold_of
from service.metrics import evaluate
from service.models import MODELS
from service.quality import Covered, Figure, Group, Quality, Study
from training.card import MAIN, MEANINGS, card, provenance, show
from training.table import source_of

SURVIVAL, QUALITY = MODELS["survival"], MODELS["wine_quality"]
BRIER = {"brier": Figure(value=0.1222, low=0.1041, high=0.1473)}
COMMAND = "python -m training.survival --seed 17"
HELD = "The graph holds rows of the table."
DRAWN = Drawing(file="calibration.png", title="Calibration", shows="What was said beside what happened.")
MEASURED = Quality(
    protocol="Out-of-fold on 5 folds.",
    rows=470,
    metrics=BRIER | {"auc": Figure(value=0.6831, low=0.6172, high=0.7456)},
    baseline={"brier": Figure(value=0.1268), "auc": Figure(value=0.5)},
    margin=Figure(value=0.0183, low=0.0053, high=0.0327),
    others={
        "linear": {"brier": Figure(value=0.1273), "auc": Figure(value=0.6703)},
        "svm_rbf": {"brier": Figure(value=0.1299)},
    },
    groups=[
        Group(of="age", name="below 60", rows=175, metrics=BRIER),
        Group(of="tumour_size", name="OC14", rows=17, metrics={}),
    ],
    covered=[
        Covered(
            coverage=0.9, of="death_within_one_year", rows=70, size=1.71,
            share=Figure(value=0.914, low=0.843, high=0.971),
        )
    ],
    studies=[
        Study(
            name="As the paper measures", protocol="20 x 5 random folds.", rows=1599,
            source="Cortez et al. 2009.", figures={
                "this model": {"mae": Figure(value=0.365, low=0.36, high=0.37)},
                "SVM, as reported": {"mae": Figure(value=0.46), "kappa": Figure(value=0.387)},
            },
        )
    ],
)  # fmt: skip


def manifest_of(spec, quality=MEASURED, forced=None):
    """A manifest as export writes it, without features: the card does not list them."""
    return Manifest(
        model=spec.name, version=3, task=spec.task.name, features=[], target=Column.of(spec.target),
        outputs=[GraphOutput.of(output) for output in spec.outputs], explained=spec.explained,
        threshold=threshold_of(spec), prior=[0.851, 0.149], critical={}, seen={}, quality=quality,
        training=Training(
            recipe="default", seed=17, rows=5320, parameters=241_000, data_sha256={"raw.csv": "b51f69"},
            code_revision="c0ffee1", libraries={"tensorflow": "2.21.0", "numpy": "2.4.6"},
        ),
        provenance=provenance(spec, source_of(spec), [HELD], COMMAND, [DRAWN], forced),
        golden=Golden(inputs=[], outputs={}), files={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def lines():
    return card(SURVIVAL, manifest_of(SURVIVAL)).splitlines()


def test_the_card_opens_with_title_version_notice_and_purpose(lines):
    """Nobody reads far: what it is and what it must not be used for come first."""
    assert lines[:5] == [
        "# Death within one year of lung-cancer surgery (survival, version 3)",
        "",
        "> **Not for clinical use. For research and teaching only.**",
        "",
        SURVIVAL.description,
    ]


def test_a_model_without_a_notice_has_none():
    """A wine's card warns of nothing."""
    assert "> **" not in card(QUALITY, manifest_of(QUALITY))


def test_the_answers_threshold_is_explained(lines):
    """At which probability death is answered, why, and how frequent it is."""
    line = next(line for line in lines if line.startswith("It answers death_within_one_year"))

    assert "probability of 0.149" in line
    assert SURVIVAL.task.threshold.reason in line
    assert "14.9% of the table's rows" in line


def test_the_margin_over_the_trivial_baseline_is_said(lines):
    """What the publishing gate asks for, with its interval; the two models' own intervals overlap."""
    (line,) = (line for line in lines if line.startswith("Row by row"))

    assert "0.0183 below the trivial baseline's (95 % interval 0.0053 to 0.0327)" in line


def test_each_metric_stands_with_its_interval_beside_every_other_model(lines):
    """The trivial baseline first, then the others by name; what was not measured stays empty."""
    start = lines.index("| metric | model | 95 % interval | trivial | linear | svm_rbf |")

    assert lines[start + 2 : start + 4] == [
        "| brier | 0.1222 | 0.1041 to 0.1473 | 0.1268 | 0.1273 | 0.1299 |",
        "| auc | 0.6831 | 0.6172 to 0.7456 | 0.5000 | 0.6703 |  |",
    ]


def test_metrics_and_models_are_explained(lines):
    """One line for each metric that is there, with which way is better, and for each model beside."""
    assert sum(line.startswith("- brier: ") and line.endswith("Lower is better.") for line in lines) == 1
    assert sum(line.startswith("- auc: ") and line.endswith("Higher is better.") for line in lines) == 1
    assert not any(line.startswith("- rmse: ") for line in lines)
    for model in ("trivial", "linear", "svm_rbf"):
        assert sum(line.startswith(f"- {model}: ") for line in lines) == 1
    assert not any(line.startswith("- extra_trees: ") for line in lines)


def test_no_metric_is_left_without_a_meaning(small):
    """Whatever evaluate measures, the card says what it means and which way is better."""
    for name, spec in MODELS.items():
        table = small[name]
        prior = np.full(spec.task.prior_length, 1 / spec.task.prior_length)
        found = evaluate(
            spec.task, spec.target, spec.task.trivial(spec.target, prior, len(table)), table.targets
        )
        scalars = {metric for metric, value in found.items() if isinstance(value, float)} - {"threshold"}
        assert scalars <= set(MEANINGS)
        assert set(MAIN[spec.task.name]) <= scalars
    assert all("er is better" in meaning for meaning in MEANINGS.values())


def test_coverage_is_measured_per_class(lines):
    """Asked, whose rows, how many, measured with its interval, and how large the sets are."""
    assert "| 90% | death_within_one_year | 70 | 91.4% | 84.3% to 97.1% | 1.71 |" in lines


def test_intervals_are_as_wide_as_their_unit_says():
    """A number's intervals are measured in grades, not in labels."""
    covered = [Covered(coverage=0.8, of="all", rows=6497, size=1.63, share=Figure(value=0.803))]
    text = card(QUALITY, manifest_of(QUALITY, MEASURED.model_copy(update={"covered": covered})))

    assert "mean width (grade) |" in text
    assert "| 80% | all | 6,497 | 80.3% |  | 1.63 |" in text


def test_groups_have_their_figures_or_a_dash(lines):
    """17 patients are counted, not measured."""
    start = lines.index("| by | group | rows | brier | auc |")

    assert lines[start + 2 : start + 4] == [
        "| age | below 60 | 175 | 0.122 (0.104 to 0.147) | - |",
        "| tumour_size | OC14 | 17 | - | - |",
    ]
    assert "- age: age at surgery, years" in lines


def test_what_rounds_to_zero_is_not_negative():
    """The mean's R2 out of fold is -0.000004: printed as 0."""
    quality = MEASURED.model_copy(update={"baseline": {"brier": Figure(value=-4e-6)}})

    assert "| 0.0000 |" in card(SURVIVAL, manifest_of(SURVIVAL, quality))
    assert "-0.0000" not in card(SURVIVAL, manifest_of(SURVIVAL, quality))


def test_reported_figures_stand_beside_measured_ones(lines):
    """The paper's table: one line a model, an absent figure is a dash, the source is named."""
    start = lines.index("### As the paper measures")

    assert lines[start + 2] == "20 x 5 random folds. 1,599 different rows were tested."
    assert lines[start + 4 : start + 8] == [
        "| model | mae | kappa |",
        "|---|---|---|",
        "| this model | 0.365 (0.360 to 0.370) | - |",
        "| SVM, as reported | 0.460 | 0.387 |",
    ]
    assert "Source of the reported figures: Cortez et al. 2009." in lines


def test_a_drawing_is_shown_with_words(lines):
    """The image by its file name beside the card, and what it shows for those who do not see it."""
    place = lines.index("![Calibration](calibration.png)")

    assert lines[place + 2] == DRAWN.shows


def test_data_errors_limits_and_the_making_are_said(lines):
    """All of the source's words, and what is needed to train it again."""
    source = source_of(SURVIVAL)

    assert source.credit in lines
    assert f"Known errors: {source.errors}" in lines
    limits = [*source.limits, HELD]
    assert [f"- {limit}" for limit in limits] == [line for line in lines if line[2:] in limits]
    assert f"    {COMMAND}" in lines
    for fact in (
        "recipe: default", "distinct rows: 5,320", "parameters: 241,000", "seed: 17",
        "code revision: c0ffee1", "libraries: tensorflow 2.21.0, numpy 2.4.6", "raw.csv: sha256 `b51f69`",
    ):  # fmt: skip
        assert f"- {fact}" in lines


def test_a_forced_version_says_so_before_anything_else():
    """The reason of the gate stands right below the title, and only there where it was forced."""
    reason = "its log-loss does not beat the trivial baseline's"
    lines = card(SURVIVAL, manifest_of(SURVIVAL, forced=reason)).splitlines()

    assert lines[2].startswith("> **Published by force.**")
    assert reason in lines[2]
    assert "by force" not in card(SURVIVAL, manifest_of(SURVIVAL))


def test_a_section_without_content_is_left_out():
    """The AND gate has no groups, no coverage and no studies: no empty headings."""
    bare = Quality(protocol="On itself.", rows=4, metrics=BRIER, baseline=BRIER)
    text = card(MODELS["and_gate"], manifest_of(MODELS["and_gate"], bare))

    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Data", "## Quality", "## Drawings", "## Limits", "## Made by",
    ]  # fmt: skip


def test_a_name_with_a_bar_does_not_break_the_table():
    """Markdown would take it for the end of a cell."""
    groups = [Group(of="age", name="a|b", rows=40, metrics={})]
    text = card(SURVIVAL, manifest_of(SURVIVAL, MEASURED.model_copy(update={"groups": groups})))

    assert "| age | a\\|b | 40 | - | - |" in text


def test_provenance_repeats_the_declaration_and_the_source():
    """Notice, credit, errors and limits are said in one place each."""
    said = provenance(replace(SURVIVAL, notice="Beware."), source_of(SURVIVAL), [HELD], "make", [DRAWN])

    assert (said.notice, said.made_by, said.forced, said.drawings) == ("Beware.", "make", None, [DRAWN])
    assert said.limits == [*source_of(SURVIVAL).limits, HELD]


def test_the_console_shows_the_same_table(capsys):
    """Metric, value, interval and every other model, in one line."""
    show(SURVIVAL, MEASURED)
    row = next(line for line in capsys.readouterr().out.splitlines() if "brier" in line)

    assert [cell.strip() for cell in row.strip("│┃ ").split("│")] == [
        "brier", "0.1222", "0.1041 to 0.1473", "0.1268", "0.1273", "0.1299",
    ]  # fmt: skip
