import numpy as np
import pytest
import tensorflow as tf

from training.layers import Encoding, members

# volume, age, smoking, tumour: twelve patients, as in the fixture `features`.
PATIENTS = np.array(
    [[1 + place / 4, 50 + place, place % 2, 11 + (place > 10)] for place in range(12)], np.float32
)


def test_numbers_are_standardised_with_the_training_rows_statistics(features):
    """Encoded training rows have mean 0 and deviation 1 in the columns of quantities and counts."""
    z = Encoding(features, PATIENTS)(PATIENTS).numpy()

    assert np.allclose(z[:, :2].mean(axis=0), 0, atol=1e-5)
    assert np.allclose(z[:, :2].std(axis=0), 1, atol=1e-5)


def test_flags_and_levels_are_centred_and_divided_by_a_half(features):
    """Six of twelve smoke: 0 and 1 become -1 and 1."""
    z = Encoding(features, PATIENTS)(PATIENTS).numpy()

    assert z[:, 2].tolist() == [-1, 1] * 6


def test_a_rare_level_gets_no_column(features):
    """T2 occurs once in twelve rows and T3 never: only T1 has a column, and both look alike to the net."""
    encoding = Encoding(features, PATIENTS)
    rows = np.repeat(PATIENTS[:1], 2, axis=0)
    rows[:, 3] = 12, 13

    assert encoding.width == 4
    assert np.array_equal(*encoding(rows).numpy())


def test_an_ordered_category_is_a_number(features):
    """Named in `numbers`, T1, T2 and T3 stand on one line."""
    matrix = PATIENTS.copy()
    matrix[:, 3] = np.repeat([11, 12, 13], 4)

    z = Encoding(features, matrix, numbers=("tumour",))(matrix).numpy()

    assert np.allclose(np.diff(z[[0, 4, 8], 3]), z[8, 3], atol=1e-6)


def test_bins_rise_from_0_to_1_between_the_quantiles(features):
    """Two bins of the volumes 1 to 3.75, whose median is 2.375: a quarter of the way is half of bin one."""
    row = PATIENTS[:1].copy()
    row[0, 0] = 1 + (2.375 - 1) / 2

    z = Encoding(features, PATIENTS, bins=2)(row).numpy()

    assert z[0, 1:3].tolist() == [0.5, 0]


def test_beyond_the_training_range_a_value_counts_as_its_edge(features):
    """An age of 100 is encoded as 61, the oldest seen."""
    encoding = Encoding(features, PATIENTS, bins=2)
    oldest, older = PATIENTS[-1:].copy(), PATIENTS[-1:].copy()
    older[0, 1] = 100

    assert not np.array_equal(oldest, older)
    assert np.array_equal(encoding(oldest).numpy(), encoding(older).numpy())


def test_the_baseline_is_a_row_of_medians_and_most_frequent_codes(features):
    """Volume 2.375 between the two middle ones; the lower middle age, 55; no smoker; T1."""
    assert Encoding(features, PATIENTS).baseline.numpy().tolist() == [[2.375, 55, 0, 11]]


def test_columns_are_summed_back_to_their_feature(features):
    """Ones in every encoded column count the columns of each feature."""
    encoding = Encoding(features, PATIENTS, bins=2)

    assert encoding.per_feature(tf.ones([1, encoding.width])).numpy().tolist() == [[3, 1, 1, 1]]


def test_the_encoding_is_state_of_the_graph(features):
    """Mean, scale and edges are variables, so that they are saved with the graph."""
    names = {variable.name.split(":")[0] for variable in Encoding(features, PATIENTS).variables}

    assert {"shift", "scale", "low", "high", "level", "baseline"} <= names


@pytest.mark.parametrize("count", [1, 3])
def test_members_have_the_parameters_of_separate_nets(count):
    """5 inputs, 4 units, 2 outputs: (5 x 4 + 4) + (4 x 2 + 2) = 34 for each member."""
    core = members(5, 2, np.zeros(2), count=count, hidden=(4,))

    assert core.count_params() == 34 * count
    assert core(tf.zeros([7, 5])).shape == (7, count, 2)


def test_members_start_as_glorot_starts_one_net():
    """Weights of 400 x 100 are uniform within sqrt(6 / 500), whatever the number of members."""
    kernel = members(400, 1, np.zeros(1), count=6, hidden=(100,)).layers[1].kernel.numpy()

    assert np.abs(kernel).max() == pytest.approx((6 / 500) ** 0.5, rel=0.01)


def test_members_do_not_touch_each_other():
    """Changing the weights of member 0 leaves the answer of member 1 as it was."""
    core = members(3, 1, np.zeros(1), count=2, hidden=(4,))
    z = tf.ones([1, 3])
    before = core(z).numpy()
    core.set_weights([np.concatenate([one[:1] + 1, one[1:]]) for one in core.get_weights()])
    after = core(z).numpy()

    assert before[0, 0] != after[0, 0]
    assert before[0, 1] == after[0, 1]
