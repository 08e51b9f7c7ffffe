"""The publishing gate: what is not better than the baseline is published by force alone."""

import pytest
from test_export import QUALITY, published

from service.manifest import Manifest
from service.quality import Figure
from training.export import ExportError, objection

WORSE = Figure(value=0.01, low=-0.02, high=0.04)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("margin", "reason"),
    [
        (WORSE, r"the loss is 0\.0100 below .* from -0\.0200 to 0\.0400: expected above 0"),
        (Figure(value=0.5, low=0.0, high=1.0), "from 0.0000 to 1.0000"),
        (Figure(value=0.5), "was not compared"),
        (None, "was not compared"),
    ],
)
def test_a_model_that_does_not_beat_the_baseline_is_refused(fitted, small, tmp_path, margin, reason):
    """Its margin's whole interval has to be above 0; a margin without one, or none, proves nothing."""
    quality = QUALITY.model_copy(update={"margin": margin})

    with pytest.raises(ExportError, match=f"{reason}.*--force"):
        published(fitted["and_gate"], small["and_gate"], tmp_path, quality)

    assert not (tmp_path / "and_gate").exists()


def test_a_model_that_beats_the_baseline_has_no_objection():
    """Above 0 with its interval."""
    assert objection(QUALITY) is None


@pytest.mark.slow
def test_what_is_forced_says_so(fitted, small, tmp_path):
    """The gate's objection stands in the manifest and on the card, for everyone to read."""
    quality = QUALITY.model_copy(update={"margin": WORSE})
    folder = published(fitted["and_gate"], small["and_gate"], tmp_path, quality, force=True)

    assert Manifest.read(folder).provenance.forced == objection(quality)
    assert "**Published by force.**" in (folder / "card.md").read_text()
    assert "-0.0200 to 0.0400" in (folder / "card.md").read_text()


@pytest.mark.slow
def test_force_leaves_no_trace_where_nothing_was_forced(fitted, small, tmp_path):
    """A good model published with --force is a good model."""
    folder = published(fitted["and_gate"], small["and_gate"], tmp_path, force=True)

    assert Manifest.read(folder).provenance.forced is None
    assert "force" not in (folder / "card.md").read_text()
