import numpy as np
import pytest
from matplotlib.image import imread

from service.models import MODELS
from training.descent import Curve
from training.drawings import _per_cent, confusion, draw, learning_curve

CURVE = Curve([0.7, 0.5, 0.4], [0.7, 0.6, 0.65], 2)


def outputs_of(spec, rows, seed=0):
    """Plausible outputs of every task, from a seed."""
    generator = np.random.default_rng(seed)
    match spec.task.name:
        case "binary":
            event = generator.beta(1, 4, rows).astype(np.float32)
            return {spec.task.event: event}
        case "regression":
            return spec.task.read_out(spec.target, generator.dirichlet(np.ones(7), rows))
    shares = generator.dirichlet(np.ones(7), rows).astype(np.float32)
    return {"probabilities": shares, "mean_grade": shares @ np.arange(3, 10, dtype=np.float32)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("and_gate", ["confusion.png", "learning_curve.png"]),
        ("survival", ["calibration.png", "confusion.png", "learning_curve.png"]),
        ("wine_type", ["calibration.png", "confusion.png", "learning_curve.png"]),
        ("wine_quality", ["calibration.png", "residuals.png", "learning_curve.png"]),
        ("wine_grade", ["calibration.png", "confusion.png", "learning_curve.png"]),
    ],
)
def test_every_task_gets_the_plots_that_suit_it(small, tmp_path, name, files):
    """Four rows are too few to calibrate; numbers have residuals, classes a confusion matrix."""
    spec, table = MODELS[name], small[name]
    drawings = draw(tmp_path, spec, name, table, outputs_of(spec, len(table)), CURVE, "nats")

    assert [drawing.file for drawing in drawings] == files
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    for drawing in drawings:
        height, width, _ = imread(tmp_path / drawing.file).shape
        assert 300 < height <= 1000
        assert 500 < width <= 1300
        assert drawing.title
        assert drawing.shows.endswith(".")


def test_a_model_without_a_curve_has_no_learning_curve(small, tmp_path):
    """A kernel is solved, not descended to."""
    spec, table = MODELS["wine_quality"], small["wine_quality"]
    drawings = draw(tmp_path, spec, "kernel", table, outputs_of(spec, len(table)), None, "")

    assert [drawing.file for drawing in drawings] == ["calibration.png", "residuals.png"]


@pytest.mark.slow
def test_the_same_plots_have_the_same_bytes(small, tmp_path):
    """A card is digested: drawing twice writes the same files, with no date and no program's name."""
    for name in ("survival", "wine_quality"):
        spec, table = MODELS[name], small[name]
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
            drawings = draw(tmp_path / folder, spec, name, table, outputs_of(spec, len(table)), CURVE, "nats")
        for drawing in drawings:
            one, two = ((tmp_path / folder / drawing.file).read_bytes() for folder in ("one", "two"))
            assert one == two
            assert b"Software" not in one


def test_other_outputs_make_other_plots(small, tmp_path):
    """Each plot of outputs shows them: another seed of outputs changes it, and the curve's does not."""
    spec, table = MODELS["survival"], small["survival"]
    seen = []
    for seed in (1, 2):
        drawings = draw(tmp_path, spec, "x", table, outputs_of(spec, len(table), seed), CURVE, "nats")
        seen.append({drawing.file: (tmp_path / drawing.file).read_bytes() for drawing in drawings})

    assert {file for file in seen[0] if seen[0][file] != seen[1][file]} == {
        "calibration.png",
        "confusion.png",
    }


def test_the_curve_shows_its_validation(tmp_path):
    """Without validation rows there is a line less."""
    drawn = []
    for curve in (CURVE, Curve(CURVE.training, [], 2)):
        learning_curve(tmp_path / "curve.png", "x", curve, "nats")
        drawn.append((tmp_path / "curve.png").read_bytes())

    assert drawn[0] != drawn[1]


def test_the_kept_epoch_is_marked_where_it_is(tmp_path):
    """The dotted line stands the further to the right, the later the epoch: the greyest column of pixels."""
    places = []
    for kept in (1, 2, 3):
        learning_curve(tmp_path / "curve.png", "x", Curve(CURVE.training, [], kept), "nats")
        pixels = imread(tmp_path / "curve.png")[..., :3]
        grey = (np.ptp(pixels, axis=2) < 0.02) & (pixels[..., 0] > 0.35) & (pixels[..., 0] < 0.65)
        places.append(int(grey.sum(axis=0).argmax()))

    assert places[0] + 100 < places[1] < places[2] - 100


@pytest.mark.parametrize(
    ("share", "words"), [(15 / 4898, "< 1%"), (4883 / 4898, "> 99%"), (1.0, "100%"), (0.564, "56%")]
)
def test_a_share_is_not_rounded_to_never_or_always(share, words):
    """15 mistaken wines of 4,898 are not 0 per cent, and the others are not all."""
    assert _per_cent(share) == words


def test_a_number_has_no_confusion_matrix(small, tmp_path):
    """Whoever asks for one is told what to draw."""
    spec, table = MODELS["wine_quality"], small["wine_quality"]

    with pytest.raises(
        TypeError, match="wine_quality answers a number: expected classes; draw its residuals"
    ):
        confusion(tmp_path / "x.png", "x", spec, outputs_of(spec, len(table)), table)
