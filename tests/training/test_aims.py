import pytest

from service.models import MODELS
from service.quality import Figure, Group, Quality, Study
from training import aims
from training.aims import AIMS, Aim
from training.report import FIGURES, recorded

QUALITY = Quality(
    protocol="by hand", rows=4, metrics={"auc": Figure(value=0.7)}, baseline={},
    groups=[Group(of="type", name="red", rows=2, metrics={"auc": Figure(value=0.6)})],
    studies=[
        Study(
            name="a paper", protocol="its own", rows=4,
            figures={"kernel": {"auc": Figure(value=0.9)}, "linear": {"auc": Figure(value=0.5)}},
        )
    ],
)  # fmt: skip


@pytest.mark.parametrize(("of", "found"), [("", 0.7), ("red", 0.6), ("a paper", 0.9)])
def test_an_aim_finds_its_figure(of, found):
    """Of all rows, of a group, or of the first model of a study."""
    assert Aim("survival", of, "auc", 0.5).found(QUALITY) == found


@pytest.mark.parametrize(
    ("value", "more", "met"),
    [(0.7, True, True), (0.71, True, False), (0.7, False, True), (0.69, False, False)],
)
def test_an_aim_is_met_from_its_value_on(value, more, met):
    """0.7 is at least and at most 0.7."""
    assert Aim("survival", "", "auc", value, more).met(QUALITY) is met


def test_the_aims_on_record_are_those_of_the_figures_on_record():
    """The table is written by python -m training.report, and nobody edits it."""
    records = {name: quality for name in MODELS if (quality := recorded(name))}

    assert (FIGURES / "aims.md").read_text(encoding="utf-8") == aims.report(records)


def test_every_miss_says_what_was_tried():
    """A miss is a line with a reason, never only a number."""
    missed = [aim for aim in AIMS if not aim.met(recorded(aim.model))]

    assert all(aim.tried for aim in missed)
    assert aims.report({name: recorded(name) for name in MODELS}).count("**missed**") == len(missed)
