from dataclasses import replace

import numpy as np
import pytest

from service.models import MODELS
from training import and_gate, command, lecture
from training.table import Table, lecture_survival


@pytest.mark.parametrize(("name", "width", "parameters"), [("and_gate", 2, 17), ("survival", 17, 571)])
def test_the_lectures_nets_have_its_parameters(name, width, parameters):
    """AND: 2 x 4 + 4 + 4 + 1 = 17. Survival: 17 x 30 + 30 + 30 + 1 = 571, the id included."""
    assert lecture.net(MODELS[name], width).count_params() == parameters


def test_survival_is_fed_with_the_id():
    """The lecture's table has 17 inputs where the served model has 16."""
    assert lecture.table_of(MODELS["survival"]).matrix.shape[1] == 17
    assert len(MODELS["survival"].features) == 16


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adagrad", "rmsprop", "adam"])
def test_every_optimizer_of_the_lecture_lowers_the_loss(name, optimizer):
    """Each of the five names compiles with the loss of each purpose, and descends on eight rows."""
    spec = MODELS[name]
    generator = np.random.default_rng(0)
    targets = np.resize([3, 7] if name in ("wine_quality", "wine_grade") else [0, 1], 8).astype(float)
    rows = (generator.normal(size=(8, 3)) + (targets > np.median(targets) - 1)[:, None]).astype(np.float32)
    core, curve = lecture.fit(spec, Table.of(rows, targets, {}), optimizer=optimizer)

    assert curve.training[-1] < curve.training[0]
    assert set(lecture.outputs(spec, core, rows)) == {output.name for output in spec.outputs}


def test_the_lectures_recipe_writes_its_report_and_exports_nothing(tmp_path, capsys):
    """Card, curve and metrics below runs/, the summary on the screen, no artifact."""
    reader = command.parser(and_gate.__file__, "The AND gate.", ["and_gate"])
    runs, artifacts = tmp_path / "runs", tmp_path / "artifacts"
    arguments = ["--recipe", "lecture", "--runs", str(runs), "--artifacts", str(artifacts)]
    command.run({}, reader.parse_args(arguments))

    written = {path.name for path in (runs / "lecture" / "and_gate").iterdir()}
    assert written == {"card.md", "learning_curve.png", "metrics.json"}
    assert "Total params: 17" in capsys.readouterr().out
    assert not artifacts.exists()


def test_the_lectures_survival_table_is_not_the_served_one(tables):
    """Dropping the id and repairing FEV1 is all that sets them apart."""
    raw, served = lecture_survival().matrix[:, 1:], tables["survival"].matrix
    differing = (raw != served).sum(axis=0)

    assert differing.tolist() == [0, 0, 22] + [0] * 13


def test_a_model_that_the_lecture_does_not_know_gets_a_lesson():
    """A new declaration can be compared with the lecture's layers without an entry here."""
    assert lecture.lesson(replace(MODELS["survival"], name="relapse")) == lecture.LESSON
