import numpy as np
import pytest

from service.models import MODELS
from training import linear
from training.fit import trivial
from training.folds import folds
from training.table import Table

AND, GRADE, QUALITY = MODELS["and_gate"], MODELS["wine_grade"], MODELS["wine_quality"]


@pytest.mark.parametrize("name", MODELS)
def test_the_linear_model_answers_the_declared_outputs(small, name):
    """Names, widths and float32 are those of the nets; probabilities sum to 1."""
    spec, table = MODELS[name], small[name]
    outputs = linear.fit_predict(spec)(table, table.matrix[:3])

    assert list(outputs) == [output.name for output in spec.outputs]
    for output in spec.outputs:
        assert outputs[output.name].shape == ((3, output.width) if output.width else (3,))
        assert outputs[output.name].dtype == np.float32
    if name == "wine_grade":
        assert np.allclose(outputs["probabilities"].sum(axis=1), 1, atol=1e-6)
        assert np.allclose(outputs["probabilities"] @ np.arange(3, 10), outputs["mean_grade"], atol=1e-5)


def test_a_line_is_enough_for_and(tables):
    """Logistic regression answers all four rows where hardly anything holds it down."""
    probability = linear.fit_predict(AND, linear.WHOLE_TRUTH)(tables["and_gate"], tables["and_gate"].matrix)

    assert (probability["probability"] > 0.5).tolist() == [False, False, False, True]


def test_a_line_is_not_enough_for_xor(tables):
    """The same function on XOR answers every row 0.5: the hidden layer is what XOR needs."""
    rows = tables["and_gate"].matrix
    xor = Table.of(rows, np.array([0.0, 1.0, 1.0, 0.0]), {})
    probability = linear.fit_predict(AND, linear.WHOLE_TRUTH)(xor, rows)["probability"]

    assert np.allclose(probability, 0.5, atol=1e-3)


def test_a_grade_that_the_training_rows_lack_keeps_its_column(tables):
    """Without the five nines their column is 0 for every row, and the other six stand at their places."""
    table = tables["wine_grade"].take(np.arange(0, 6497, 5))
    without = table.take(np.flatnonzero(~np.isin(table.targets, (4, 9))))
    shares = linear.fit_predict(GRADE)(without, without.matrix)["probabilities"]
    present = np.isin(GRADE.task.classes, without.targets)

    assert present.tolist() == [True, False, True, True, True, True, False]
    assert not shares[:, ~present].any()
    # With an unpenalised intercept the mean of the probabilities is the share of the class.
    expected = [np.mean(without.targets == grade) for grade in range(3, 10)]
    assert np.allclose(shares.mean(axis=0), expected, atol=2e-3)


def test_ridge_recovers_a_line(tables):
    """A target that is a linear function of two measurements is answered within a hundredth."""
    matrix = tables["wine_quality"].matrix[::6]
    line = 3 + 0.2 * matrix[:, 10].astype(np.float64) - 0.5 * matrix[:, 1]
    answered = linear.fit_predict(QUALITY)(Table.of(matrix, line, {}), matrix)["quality"]

    assert np.std(line) > 0.1
    assert np.abs(answered - line).max() < 0.01


def test_it_learns_from_the_training_rows_only(tables):
    """On a fold of the wines it beats the mean, and a row's answer does not depend on those asked with it."""
    table = tables["wine_quality"]
    training, test = next(folds(table))
    seen, truth, asked = table.take(training), table.targets[test], table.matrix[test]
    answered = linear.fit_predict(QUALITY)(seen, asked)["quality"]
    mean = trivial(QUALITY)(seen, asked)["quality"]

    assert np.mean((answered - truth) ** 2) < 0.8 * np.mean((mean - truth) ** 2)
    assert np.allclose(linear.fit_predict(QUALITY)(seen, asked[:5])["quality"], answered[:5], atol=1e-5)
