import keras
import numpy as np
import pytest
import tensorflow as tf

from service.models import MODELS
from training import network as network_module
from training.kernel import Kernel, KernelMachine, fit
from training.labels import labels
from training.layers import members
from training.network import WIDE, Members, Neighbourhood, read_out, shares_of

QUALITY = MODELS["wine_quality"]


@pytest.mark.parametrize("name", MODELS)
def test_a_network_answers_the_declared_outputs(fitted, small, name):
    """Names, widths and float32, the task's and the distance; percentiles are from 0 to 100."""
    spec = MODELS[name]
    outputs = fitted[name].network.predict(small[name].matrix)

    assert list(outputs) == [output.name for output in spec.outputs]
    assert "distance_percentile" in outputs
    assert (outputs["distance_percentile"] >= 0).all()
    assert (outputs["distance_percentile"] <= 100).all()
    for output in spec.outputs:
        shape = (len(small[name]), output.width) if output.width else (len(small[name]),)
        assert outputs[output.name].shape == shape
        assert outputs[output.name].dtype == np.float32


def test_probabilities_sum_to_one_and_the_mean_is_theirs(fitted, small):
    """Seven shares for a grade, their mean as declared; death and survival are complements."""
    grade = fitted["wine_grade"].network.predict(small["wine_grade"].matrix)
    survival = fitted["survival"].network.predict(small["survival"].matrix)
    event, complement = (output.name for output in MODELS["survival"].task.outputs(MODELS["survival"].target))

    assert np.allclose(grade["probabilities"].sum(axis=1), 1, atol=1e-6)
    assert np.allclose(grade["probabilities"] @ np.arange(3, 10), grade["mean_grade"], atol=1e-5)
    assert np.allclose(survival[event] + survival[complement], 1, atol=1e-6)


def test_a_distribution_is_read_as_the_declaration_reads_it():
    """Mean, interpolated median and deviation in the graph are those of tasks.Regression."""
    shares = np.random.default_rng(0).dirichlet(np.full(7, 0.5), 300)
    shares = np.concatenate([shares, np.eye(7), [[0.5, 0, 0, 0, 0, 0, 0.5]]]).astype(np.float32)
    expected = QUALITY.task.read_out(QUALITY.target, shares.astype(np.float64))
    found = read_out(tf.constant(shares), QUALITY.task.values)

    for name, values in zip(expected, found, strict=True):
        apart = np.abs(values.numpy() - expected[name])[shares.max(axis=1) < 0.999]
        # A deviation of 0 is rounded before its root is taken.
        alone = np.abs(values.numpy() - expected[name])[shares.max(axis=1) >= 0.999]
        assert apart.max() < 2e-4
        assert alone.max() < 2e-3


def test_a_distribution_by_hand():
    """A quarter at 5, half at 6, a quarter at 7: mean and median 6, deviation root of a half."""
    shares = np.float32([[0, 0, 0.25, 0.5, 0.25, 0, 0]])
    mean, median, deviation = (float(one[0]) for one in read_out(tf.constant(shares), range(3, 10)))

    assert (mean, median) == (6, 6)
    assert deviation == pytest.approx(0.5**0.5)


def test_the_served_number_is_read_off_the_served_distribution(fitted, small):
    """What the graph answers as quality is the read-out of the network's own shares."""
    one, matrix = fitted["wine_quality"].network, small["wine_quality"].matrix
    expected = QUALITY.task.read_out(QUALITY.target, one.shares(matrix).astype(np.float64))
    found = one.predict(matrix)

    assert all(np.abs(found[name] - values).max() < 1e-4 for name, values in expected.items())


@pytest.mark.parametrize("name", MODELS)
def test_attributions_add_up_to_the_prediction(fitted, tables, name):
    """Prediction minus the baseline's is their sum, within 1e-3 of the range; each row moves something."""
    spec, matrix = MODELS[name], tables[name].matrix[:: max(1, len(tables[name]) // 100)]
    answers = fitted[name].network.explain(tf.constant(matrix))
    answers = {output: values.numpy() for output, values in answers.items()}
    change = answers["prediction"] - answers["baseline_prediction"]
    span = np.ptp(labels(spec))

    assert np.abs(change).max() > 1e-3
    assert np.abs(answers["attributions"].sum(axis=1) - change).max() < 1e-3 * span
    assert np.allclose(answers["prediction"], fitted[name].network.predict(matrix)[spec.explained], atol=1e-5)


def test_a_feature_at_its_baseline_gets_no_attribution(fitted):
    """Moving only the age from the baseline row attributes everything to the age."""
    one = fitted["survival"].network
    row = one.encoding.baseline.numpy()
    row[0, 15] += 10
    attributions = one.explain(tf.constant(row))["attributions"].numpy()[0]

    assert attributions[15] != 0
    assert not attributions[:15].any()


def test_a_single_logit_is_the_second_of_two_classes():
    """log 3 is three quarters; two logits are shared by softmax."""
    assert np.allclose(shares_of(tf.constant([[np.log(3)]])).numpy(), [[0.25, 0.75]])
    assert np.allclose(shares_of(tf.constant([[0.0, np.log(3)]])).numpy(), [[0.25, 0.75]])


def test_members_are_averaged_after_their_link_and_see_their_columns():
    """Logits log 3 and log 9 of column 1: 3/4 and 9/10 have mean 0.825; the mean logit would say 0.839."""
    core = members(1, 1, np.zeros(1), count=2)
    ensemble = Members(core, [1])
    core.set_weights([np.float32([[[1]], [[2]]]), np.zeros((2, 1, 1))])
    z = tf.constant([[50, np.log(3), 50]], tf.float32)

    assert ensemble(z).numpy()[0, 1] == pytest.approx((0.75 + 0.9) / 2)
    assert ensemble.parameters == 4


def test_wide_members_answer_one_by_one_what_they_answer_together():
    """Three nets of 128 units, the width from which on each is a product of its own."""
    keras.utils.set_random_seed(1)
    core = members(4, 7, np.zeros(7), count=3, hidden=(WIDE, 16), activation="relu")
    z = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
    places = [5, 0, 3, 1]

    alone = Members(core, places)(tf.constant(z)).numpy()
    together = shares_of(core(z[:, places])).numpy().mean(axis=0)

    assert np.allclose(alone, together, atol=1e-6)
    assert np.ptp(together, axis=0).max() > 0.05, "they hang on the row"


def test_a_neighbourhood_sees_its_columns():
    """It answers as its machine does on columns 2 and 0, whatever stands in column 1."""
    generator = np.random.default_rng(0)
    z = generator.normal(size=(30, 3))
    machine = KernelMachine(fit(Kernel(), z[:, [2, 0]], np.eye(2)[generator.integers(2, size=30)]))
    other = z + np.array([0, 7, 0])

    assert np.array_equal(
        Neighbourhood(machine, [2, 0])(tf.constant(other, tf.float32)).numpy(),
        machine(tf.constant(z[:, [2, 0]], tf.float32)).numpy(),
    )


@pytest.mark.parametrize("name", MODELS)
def test_learners_are_blended_and_then_calibrated(fitted, small, name):
    """The answer is the calibration of the weighed shares of each learner on the encoded row."""
    one = fitted[name].network
    z = one.encoding(tf.constant(small[name].matrix))
    answered = [learner(z).numpy() for learner in one.learners]
    blended = np.tensordot(fitted[name].choices.weights, answered, axes=1)
    expected = one.calibration(tf.constant(blended, tf.float32)).numpy()

    assert len(one.learners) == (2 if name in ("wine_quality", "wine_grade") else 1)
    assert np.allclose(one.shares(small[name].matrix), expected, atol=1e-5)
    assert np.allclose(expected.sum(axis=1), 1, atol=1e-5)


def test_the_parameters_are_the_learners(fitted, small):
    """Two members' weights, by hand from the encoded columns, and the kernel machine's numbers."""
    one = fitted["wine_quality"].network
    nets, machine = one.learners
    width, rows = len(nets.places), len(small["wine_quality"].distinct())
    columns = len(machine.places)

    assert nets.parameters == 2 * ((width + 1) * 8 + 9 * 7)
    assert machine.parameters == rows * 7 + columns**2 + 7
    assert one.parameters == nets.parameters + machine.parameters


def test_many_rows_are_answered_in_parts(fitted, tables, monkeypatch):
    """Parts of 100 rows, in order, answer what one call answers."""
    one, matrix = fitted["survival"].network, tables["survival"].matrix
    whole, shares = one.predict(matrix), one.shares(matrix)
    monkeypatch.setattr(network_module, "ROWS", 100)

    assert all(np.allclose(values, whole[name], atol=1e-6) for name, values in one.predict(matrix).items())
    assert np.allclose(one.shares(matrix), shares, atol=1e-6)


def test_rows_are_taken_in_their_own_units(fitted, small):
    """Rows standardised by hand beforehand get other answers: scaling is in the graph."""
    matrix, one = small["wine_quality"].matrix, fitted["wine_quality"].network
    by_hand = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0).clip(1e-6)

    assert np.abs(one.predict(matrix)["quality"] - one.predict(by_hand)["quality"]).max() > 0.1
