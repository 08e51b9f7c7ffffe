import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import norm

from training.layers import FURTHEST, KNOTS, ROWS_FOR_A_LEVEL, Encoding, Scores, columns_of, gelu, members

# volume, age, smoking, tumour: twelve patients, as in the fixture `features`.
PATIENTS = np.array(
    [[1 + place / 4, 50 + place, place % 2, 11 + (place > 10)] for place in range(12)], np.float32
)

# Forty, of whom every second smokes and every fourth has T2.
WARD = np.array(
    [[1 + place / 4, 50 + place, place % 2, 12 if place % 4 == 3 else 11] for place in range(40)], np.float32
)


def test_numbers_are_standardised_with_the_training_rows_statistics(features):
    """Encoded training rows have mean 0 and deviation 1 in the columns of quantities and counts."""
    z = Encoding(features, PATIENTS)(PATIENTS).numpy()

    assert np.allclose(z[:, :2].mean(axis=0), 0, atol=1e-5)
    assert np.allclose(z[:, :2].std(axis=0), 1, atol=1e-5)


def test_flags_and_levels_are_standardised(features):
    """Half smoke: 0 and 1 become -1 and 1. A quarter has T2: it becomes root 3, its absence -1 / root 3."""
    z = Encoding(features, WARD)(WARD).numpy()

    assert z[:, 2].tolist() == [-1, 1] * 20
    assert np.allclose(np.unique(z[:, 4]), [-(3**-0.5), 3**0.5])
    assert np.allclose(z.mean(axis=0), 0, atol=1e-5)


def test_a_rare_level_gets_no_column(features):
    """T2 occurs once in twelve rows and T3 never: only T1 has a column, and both look alike to the net."""
    encoding = Encoding(features, np.tile(PATIENTS, (2, 1)))
    rows = np.repeat(PATIENTS[:1], 2, axis=0)
    rows[:, 3] = 12, 13

    assert encoding.width == 4
    assert np.array_equal(*encoding(rows).numpy())


@pytest.mark.parametrize("raised", [ROWS_FOR_A_LEVEL - 1, 40 - ROWS_FOR_A_LEVEL + 1])
def test_a_flag_that_hardly_any_row_raises_or_lacks_gets_no_column(features, raised):
    """Nothing can be learnt from nine patients; from ten something can."""
    matrix = WARD.copy()
    matrix[:, 2] = np.arange(40) < raised
    usual = WARD.copy()
    usual[:, 2] = np.arange(40) < ROWS_FOR_A_LEVEL

    assert 2 not in Encoding(features, matrix).sources
    assert 2 in Encoding(features, usual).sources


def test_an_ordered_category_is_a_number(features):
    """Named in `numbers`, T1, T2 and T3 stand on one line."""
    matrix = WARD[:30].copy()
    matrix[:, 3] = np.repeat([11, 12, 13], 10)

    z = Encoding(features, matrix, numbers=("tumour",))(matrix).numpy()

    assert z.shape == (30, 4)
    assert np.allclose(np.diff(z[[0, 10, 20], 3]), z[20, 3], atol=1e-6)


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


def test_the_distance_sees_beyond_the_training_range(features):
    """`unbounded` is the plain columns alone, and grows where the encoding stops."""
    encoding = Encoding(features, WARD, bins=2, scores=True)
    rows = np.concatenate([WARD[-1:]] * 2)
    rows[1, 1] += 100
    plain = encoding.unbounded(rows).numpy()

    assert plain.shape == (2, len(encoding.places("plain")))
    assert plain[1, 1] > plain[0, 1] + 5
    inside = encoding(WARD).numpy()[:, encoding.places("plain")]
    assert np.allclose(inside, encoding.unbounded(WARD), atol=1e-6)


def test_columns_are_found_by_their_kind(features):
    """Volume, age, smoking, T1 and T2; two bins of the volume; scores of volume and age, which come last."""
    encoding = Encoding(features, WARD, bins=2, scores=True)
    parts = [encoding.places(kind) for kind in ("plain", "bin", "score")]

    assert [len(part) for part in parts] == [5, 2, 2]
    assert sorted(parts[0] + parts[1] + parts[2]) == list(range(encoding.width))
    assert [encoding.sources[place] for place in parts[1]] == [0, 0]
    assert [encoding.sources[place] for place in parts[2]] == [0, 1]


def test_a_normal_score_is_the_quantile_of_a_normal_variable(features):
    """Whatever a column's distribution, its scores are normal; the median has 0, what lies outside has 3."""
    matrix = np.tile(WARD, (50, 1))
    matrix[:, 0] = np.exp(np.random.default_rng(0).normal(size=2000))
    scores = Scores(features, matrix)
    found = scores(tf.constant(matrix)).numpy()[:, 0]
    beyond = matrix[:3].copy()
    beyond[:, 0] = -9, np.median(matrix[:, 0]), 1e6

    assert scores.knots.shape == (2, KNOTS)
    assert found.std() == pytest.approx(1, abs=0.02)
    assert np.abs(found - np.log(matrix[:, 0]))[np.abs(found) < 2].max() < 0.15
    assert np.allclose(scores(tf.constant(beyond)).numpy()[:, 0], [-FURTHEST, 0, FURTHEST], atol=0.01)


def test_equal_values_share_the_mean_of_their_places(features):
    """A half at 1, a half at 2: the normal quantiles of a quarter and of three quarters."""
    matrix = WARD.copy()
    matrix[:, 0] = np.repeat([1, 2], 20)
    found = Scores(features, matrix)(tf.constant(matrix)).numpy()[:, 0]

    assert np.allclose(found, np.repeat([-0.6745, 0.6745], 20), atol=0.05)


def test_the_baseline_is_a_row_of_medians_and_most_frequent_codes(features):
    """Volume 2.375 between the two middle ones; the lower middle age, 55; no smoker; T1."""
    assert Encoding(features, PATIENTS).baseline.numpy().tolist() == [[2.375, 55, 0, 11]]


def test_columns_are_summed_back_to_their_feature(features):
    """Ones in every encoded column count the columns of each feature."""
    encoding = Encoding(features, WARD, bins=2, scores=True)

    assert encoding.per_feature(tf.ones([1, encoding.width])).numpy().tolist() == [[4, 2, 1, 2]]


def test_the_encoding_is_state_of_the_graph(features):
    """Mean, scale and edges are variables, so that they are saved with the graph."""
    names = {variable.name.split(":")[0] for variable in Encoding(features, PATIENTS).variables}

    assert {"shift", "scale", "low", "high", "baseline"} <= names


@pytest.mark.parametrize("count", [1, 3])
def test_members_have_the_parameters_of_separate_nets(count):
    """5 inputs, 4 units, 2 outputs: (5 x 4 + 4) + (4 x 2 + 2) = 34 for each member."""
    core = members(5, 2, np.zeros(2), count=count, hidden=(4,))

    assert core.count_params() == 34 * count
    assert core(tf.zeros([7, 5])).shape == (count, 7, 2)


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
    assert before[1, 0] == after[1, 0]


def test_members_start_at_the_given_bias():
    """Before the first step every member answers the prior's logits, up to its weights' chance."""
    core = members(3, 2, np.array([1.0, -2.0]), count=4)

    assert np.allclose(core(tf.zeros([1, 3])).numpy(), [[[1, -2]]] * 4)


def test_the_penalty_weighs_kernels_and_no_biases():
    """L2 of 0.1 on kernels of ones, two members of 3 x 4 + 4 x 1: 0.1 x 32, whatever the biases."""
    core = members(3, 1, np.full(1, 50.0), count=2, hidden=(4,), l2=0.1)
    core.set_weights([np.ones_like(one) if one.shape[1] > 1 else one + 9 for one in core.get_weights()])

    assert float(sum(core.losses)) == pytest.approx(3.2)


@pytest.mark.parametrize("places", [[0], [3], [0, 1, 2, 3], [1, 2], [3, 1], [0, 2, 3, 0], [2, 2, 1]])
def test_columns_are_those_of_their_places(places):
    """In their order, twice where they are named twice."""
    z = np.arange(12, dtype=np.float32).reshape(3, 4)

    assert np.array_equal(columns_of(tf.constant(z), places).numpy(), z[:, places])


def test_gelu_is_x_times_the_normal_distribution():
    """Of Hendrycks and Gimpel's formula, not of its approximation, which is 5e-4 away."""
    x = np.linspace(-9, 9, 1001).astype(np.float32)

    assert np.allclose(gelu(tf.constant(x)).numpy(), x * norm.cdf(x.astype(np.float64)), atol=1e-6)


def test_the_encoding_copies_values_to_the_last_bit(features):
    """It takes them by a product with ones and zeros."""
    encoding = Encoding(features, WARD, bins=2)
    values = encoding.with_levels(tf.constant(WARD)) @ encoding.copying(range(len(encoding.columns)))
    t1, t2 = (WARD[:, 3] == code for code in (11, 12))
    by_hand = [WARD[:, 0]] * 3 + [WARD[:, 1], WARD[:, 2], t1, t2]

    assert np.array_equal(values.numpy(), np.float32(by_hand).T)


def test_each_column_has_its_own_statistics(features):
    """Whatever stands between the plain columns: a bin has its own edges, a level its own share."""
    encoding = Encoding(features, WARD, bins=2)
    value = np.float32([WARD[:, column.source] for column in encoding.columns]).T
    level, shift, scale = (
        np.array([getattr(column, name) for column in encoding.columns])
        for name in ("level", "shift", "scale")
    )
    by_hand = (np.where(np.isnan(level), value, value == level) - shift) / scale
    plain = encoding.places("plain")

    assert plain != list(range(len(plain))), "there are bins between them"
    assert np.allclose(encoding.unbounded(tf.constant(WARD)), by_hand[:, plain], atol=1e-5)
    held = np.clip(by_hand, encoding.low, encoding.high)
    assert np.allclose(encoding(tf.constant(WARD)), held, atol=1e-5)
