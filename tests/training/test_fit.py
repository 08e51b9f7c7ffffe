from dataclasses import replace

import numpy as np
import pytest

from service.models import MODELS
from training import and_gate
from training.fit import LOSSES, fit, fit_predict, held_back, prior, trivial
from training.table import read


def test_the_same_seed_gives_the_same_predictions_and_another_does_not(small, quick):
    """Two fits of one seed agree to 1e-5 on every row; another seed's differ by more."""
    spec, table = MODELS["wine_quality"], small["wine_quality"]
    one, same, other = (fit_predict(spec, quick, seed)(table, table.matrix)["quality"] for seed in (1, 1, 2))

    assert np.abs(one - same).max() <= 1e-5
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("seed", range(1, 4))
def test_the_and_gate_is_learnt_whatever_the_seed(seed):
    """All four probabilities within 0.01; `python -m training.and_gate --seeds 50` counts 50 of 50."""
    assert and_gate.apart(fit_predict(MODELS["and_gate"], and_gate.RECIPE, seed)) < 0.01


@pytest.mark.parametrize("name", MODELS)
def test_a_network_answers_the_declared_outputs(fitted, small, name):
    """Names, widths and float32; probabilities are within 0 and 1 and sum to 1."""
    spec = MODELS[name]
    outputs = fitted[name].network.predict(small[name].matrix)

    assert list(outputs) == [output.name for output in spec.outputs]
    for output in spec.outputs:
        shape = (len(small[name]), output.width) if output.width else (len(small[name]),)
        assert outputs[output.name].shape == shape
        assert outputs[output.name].dtype == np.float32


def test_probabilities_sum_to_one_and_the_mean_is_theirs(fitted, small):
    """Seven shares for a grade, their mean as declared; death and survival are complements."""
    grade = fitted["wine_grade"].network.predict(small["wine_grade"].matrix)
    survival = fitted["survival"].network.predict(small["survival"].matrix)

    assert np.allclose(grade["probabilities"].sum(axis=1), 1, atol=1e-6)
    assert np.allclose(grade["probabilities"] @ np.arange(3, 10), grade["mean_grade"], atol=1e-5)
    assert np.allclose(sum(survival.values()), 1, atol=1e-6)


def test_a_fit_beats_the_trivial_answer_on_its_own_rows(fitted, small):
    """Even the quick recipe learns something of a wine's grade: a smaller squared error than the mean's."""
    spec, table = MODELS["wine_quality"], small["wine_quality"]
    learnt = fitted[spec.name].network.predict(table.matrix)["quality"]
    mean = trivial(spec)(table, table.matrix)["quality"]

    assert np.mean((learnt - table.targets) ** 2) < 0.9 * np.mean((mean - table.targets) ** 2)


def test_standardisation_lives_in_the_graph(fitted, small):
    """The network takes raw units: rows standardised by hand beforehand get other answers."""
    table, network = small["wine_quality"], fitted["wine_quality"].network
    by_hand = (table.matrix - table.matrix.mean(axis=0)) / table.matrix.std(axis=0).clip(1e-6)

    assert not np.allclose(table.matrix, by_hand)
    assert network.predict(table.matrix)["quality"].std() > 0.1
    assert np.abs(network.predict(table.matrix)["quality"] - network.predict(by_hand)["quality"]).max() > 0.1


def test_the_encoding_learns_from_the_training_rows_only(small, quick):
    """Fitting on half of the table gives the statistics of that half."""
    half = small["survival"].take(np.arange(80))
    network = fit(MODELS["survival"], replace(quick, epochs=1), half).network
    age = network.encoding.shift.numpy()[np.flatnonzero(network.encoding.source.numpy() == 15)]

    assert age == pytest.approx(half.matrix[:, 15].mean(), rel=1e-5)
    assert age != pytest.approx(small["survival"].matrix[:, 15].mean(), rel=1e-5)


def test_each_member_holds_back_another_grouped_part(tables):
    """Every wine is held back by exactly one of five members, and its copies with it."""
    table = tables["wine_grade"]
    mask = held_back(table, 5, 1)

    assert (mask.sum(axis=1) == 1).all()
    for group in np.unique(table.groups)[:200]:
        assert len(np.unique(mask[table.groups == group], axis=0)) == 1


def test_the_prior_is_the_share_of_each_class_or_the_mean():
    """70 of 470 died; the AND gate is true once in four."""
    assert prior(MODELS["survival"], read(MODELS["survival"])) == pytest.approx([400 / 470, 70 / 470])
    assert prior(MODELS["and_gate"], read(MODELS["and_gate"])) == [0.75, 0.25]
    assert prior(MODELS["wine_quality"], read(MODELS["wine_quality"])) == pytest.approx([5.8184], abs=1e-4)
    assert sum(prior(MODELS["wine_grade"], read(MODELS["wine_grade"]))) == pytest.approx(1)


@pytest.mark.parametrize(
    ("purpose", "target", "answer", "loss"),
    [
        ("regression", [1.0], [4.0], 9.0),
        # A logit of log 3 is a probability of 3/4, of what did not happen: -log(1/4).
        ("binary", [0.0], [np.log(3)], np.log(4)),
        ("multiclass", [1.0, 0.0, 0.0], [0.0, np.log(3), 0.0], np.log(5)),
    ],
)
def test_the_loss_is_the_purposes(purpose, target, answer, loss):
    """Squared error, binary and categorical cross-entropy, exactly, for each row and member."""
    found = LOSSES[purpose](np.float32([[target] * 2] * 3), np.float32([[answer] * 2] * 3)).numpy()

    assert found.shape == (3, 2)
    assert np.allclose(found, loss, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "and_gate"])
def test_the_ensemble_answers_the_mean_of_its_members(fitted, small, name):
    """Two members that disagree are averaged after their links, in probabilities or in the target's unit."""
    spec, network = MODELS[name], fitted[name].network
    matrix = small[name].matrix
    answers = network.core(network.encoding(matrix)).numpy().astype(np.float64)
    alone = {
        "binary": lambda: 1 / (1 + np.exp(-answers[..., 0])),
        "multiclass": lambda: np.exp(answers) / np.exp(answers).sum(axis=2, keepdims=True),
        "regression": lambda: float(network.centre) + float(network.spread) * answers[..., 0],
    }[spec.task.name]()
    answered = network.predict(matrix)[spec.outputs[0].name]

    assert answers.shape[1] == 2
    assert np.abs(alone[:, 0] - alone[:, 1]).max() > 1e-3
    assert np.allclose(answered, alone.mean(axis=1), atol=1e-5)
