import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from service.models import MODELS
from service.quality import Quality
from training import and_gate, command, lecture
from training.table import Table, lecture_survival

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "width", "parameters"), [("and_gate", 2, 17), ("survival", 17, 571)])
def test_the_lectures_nets_have_its_parameters(name, width, parameters):
    """AND: 2 x 4 + 4 + 4 + 1 = 17. Survival: 17 x 30 + 30 + 30 + 1 = 571, the id included."""
    assert lecture.net(MODELS[name], width).count_params() == parameters


@pytest.mark.parametrize("name", MODELS)
def test_the_lectures_nets_have_its_links(name):
    """A hidden layer of relu, then what the purpose asks for: sigmoid, softmax over 7 grades, or nothing."""
    hidden, last = lecture.net(MODELS[name], 12).layers

    assert hidden.activation.__name__ == "relu"
    assert (last.activation.__name__, last.units) == {
        "wine_quality": ("linear", 1),
        "wine_grade": ("softmax", 7),
    }.get(name, ("sigmoid", 1))


@pytest.mark.parametrize(("name", "hidden"), [("and_gate", 4), ("survival", 30)])
def test_the_lecture_asks_for_500_epochs_in_batches_of_4(name, hidden):
    """AND has 4 hidden units and survival 30; both run 500 epochs, batch 4."""
    lesson = lecture.lesson(MODELS[name])

    assert (lesson.hidden, lesson.epochs, lesson.batch) == (hidden, 500, 4)


def test_every_epoch_of_the_lecture_runs(tables):
    """The AND gate's curve has 500 points, and no epoch is gone back to."""
    _, curve = lecture.fit(MODELS["and_gate"], tables["and_gate"])

    assert len(curve.training) == curve.kept == 500


@pytest.mark.parametrize(
    ("name", "kind", "momentum"),
    [
        ("sgd", keras.optimizers.SGD, 0.0),
        ("momentum", keras.optimizers.SGD, 0.9),
        ("adagrad", keras.optimizers.Adagrad, None),
        ("rmsprop", keras.optimizers.RMSprop, 0.0),
        ("adam", keras.optimizers.Adam, None),
    ],
)
def test_an_optimizers_name_gives_its_class(name, kind, momentum):
    """The five names are Keras' five classes; momentum is descent with momentum 0.9."""
    optimizer = lecture.OPTIMIZERS[name]()

    assert type(optimizer) is kind
    assert getattr(optimizer, "momentum", None) == momentum


@pytest.mark.parametrize(
    ("purpose", "target", "answer", "loss"),
    [
        ("regression", [1.0], [4.0], 9.0),
        ("binary", [0.0], [0.75], np.log(4)),
        ("multiclass", [1.0, 0.0, 0.0], [0.2, 0.6, 0.2], np.log(5)),
    ],
)
def test_the_lectures_loss_is_the_purposes(purpose, target, answer, loss):
    """mse and the two cross-entropies of one row, by hand; the nets answer after the link."""
    found = lecture.LOSSES[purpose](np.float32([[target]]), np.float32([[answer]])).numpy()

    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx(loss, rel=1e-5)


def test_survival_is_fed_with_the_id():
    """The lecture's table has 17 inputs where the served model has 16."""
    assert lecture.table_of(MODELS["survival"]).matrix.shape[1] == 17
    assert len(MODELS["survival"].features) == 16


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adagrad", "rmsprop", "adam"])
def test_every_optimizer_of_the_lecture_lowers_the_loss(name, optimizer, monkeypatch):
    """Each of the five names goes with the loss of each purpose, and descends on eight rows in 40 epochs."""
    spec = MODELS[name]
    monkeypatch.setattr(lecture, "LESSON", replace(lecture.lesson(spec), epochs=40))
    monkeypatch.setattr(lecture, "LESSONS", {})
    generator = np.random.default_rng(0)
    targets = np.resize([3, 7] if name in ("wine_quality", "wine_grade") else [0, 1], 8).astype(float)
    rows = (generator.normal(size=(8, 3)) + (targets > np.median(targets) - 1)[:, None]).astype(np.float32)
    core, curve = lecture.fit(spec, Table.of(rows, targets, {}), optimizer=optimizer)

    assert curve.training[-1] < curve.training[0]
    assert list(lecture.outputs(spec, core, rows)) == [one.name for one in spec.task.outputs(spec.target)]


def test_the_lectures_recipe_writes_its_report_and_exports_nothing(tmp_path, capsys):
    """Curve, metrics and facts below runs/, the summary on the screen, no artifact."""
    reader = command.parser(and_gate.__file__, "The AND gate.", ["and_gate"])
    runs, artifacts = tmp_path / "runs", tmp_path / "artifacts"
    arguments = ["--recipe", "lecture", "--runs", str(runs), "--artifacts", str(artifacts)]
    command.run(reader.parse_args(arguments))
    folder = runs / "lecture" / "and_gate"
    quality = Quality.model_validate_json((folder / "metrics.json").read_text())

    assert {path.name for path in folder.iterdir()} == {"learning_curve.png", "metrics.json", "facts.json"}
    assert json.loads((folder / "facts.json").read_text()) == {
        "made_by": "python -m training.and_gate --model and_gate --recipe lecture --seed 1",
        "parameters": 17, "optimizer": "adam",
    }  # fmt: skip
    assert quality.baseline["accuracy"].value == 0.75
    assert quality.metrics["loss"].value < quality.baseline["loss"].value
    assert "Total params: 17" in capsys.readouterr().out
    assert not artifacts.exists()


def test_a_fifth_is_held_back_for_the_curve_where_asked(small, monkeypatch):
    """The validation rows move nothing and have a curve of their own, as long as the training rows'."""
    monkeypatch.setitem(lecture.LESSONS, "survival", lecture.Lesson(hidden=3, epochs=4, batch=16))
    _, curve = lecture.fit(MODELS["survival"], small["survival"], validate=True)
    _, without = lecture.fit(MODELS["survival"], small["survival"])

    assert len(curve.training) == len(curve.validation) == curve.kept == 4
    assert without.validation == []
    assert curve.training != without.training


def test_the_lectures_survival_table_is_not_the_served_one(tables):
    """Dropping the id and repairing FEV1 is all that sets them apart."""
    raw, served = lecture_survival().matrix[:, 1:], tables["survival"].matrix
    differing = (raw != served).sum(axis=0)

    assert differing.tolist() == [0, 0, 22] + [0] * 13


def test_a_model_that_the_lecture_does_not_know_gets_a_lesson():
    """A new declaration can be compared with the lecture's layers without an entry here."""
    assert lecture.lesson(replace(MODELS["survival"], name="relapse")) == lecture.LESSON
