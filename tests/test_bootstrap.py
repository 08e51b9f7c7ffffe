"""Bootstrap intervals of a mean loss, against formulas, and the verdict that compares two of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.bootstrap import groups_of_equal, interval, verdict
from service.quality import Figure

RANDOM = np.random.default_rng(7)


def test_the_interval_of_many_different_rows_is_the_normal_one() -> None:
    """2,000 losses: mean plus and minus 1.96 standard errors, to a tenth of the width."""
    losses = RANDOM.exponential(size=2000)
    found = interval(losses, np.arange(2000))
    assert found is not None

    error = losses.std() / 2000**0.5
    assert found == pytest.approx(
        (losses.mean() - 1.96 * error, losses.mean() + 1.96 * error), abs=0.4 * error
    )


def test_rows_that_are_copies_do_not_make_the_interval_narrower() -> None:
    """Ten copies of each of 200 rows are as sure as the 200; drawn one by one they would seem surer."""
    losses = RANDOM.exponential(size=200)
    copied, groups = np.repeat(losses, 10), np.repeat(np.arange(200), 10)

    assert interval(copied, groups) == pytest.approx(interval(losses, np.arange(200)))
    alone, together = interval(copied, np.arange(2000)), interval(copied, groups)
    assert alone is not None
    assert together is not None
    assert together[1] - together[0] > 2.5 * (alone[1] - alone[0])


def test_groups_of_different_sizes_weigh_as_their_rows() -> None:
    """A mean over rows, not groups: 99 rows of loss 1 in one group, a row of loss 0 in each other."""
    losses = np.concatenate([np.ones(99), np.zeros(3)])
    groups = np.concatenate([np.zeros(99, int), [1, 2, 3]])
    found = interval(losses, groups)

    assert found is not None
    # Without the large group the mean is 0, with it between 99/102 and 1.
    assert found[0] == 0
    assert found[1] >= 99 / 102


def test_one_loss_for_all_is_certain() -> None:
    """However large the groups that are drawn: a mean is over the rows that were drawn."""
    groups = np.concatenate([np.zeros(99, int), [1, 2, 3]])

    assert interval(np.full(102, 0.25), groups) == (0.25, 0.25)


def test_rows_that_do_not_vary_have_no_interval() -> None:
    """One row, or many copies of one."""
    assert interval(np.ones(1), np.zeros(1, int)) is None
    assert interval(np.ones(5), np.zeros(5, int)) is None


def test_the_interval_is_the_same_whenever_it_is_asked_for() -> None:
    """Seeded: the same rows, the same answer, and enough of them to be drawn in several parts."""
    losses = RANDOM.exponential(size=30_000)

    assert interval(losses, np.arange(30_000)) == interval(losses, np.arange(30_000))


def test_rows_of_equal_values_share_a_group() -> None:
    """Wherever they stand; 0 and -0 are equal, neighbours in float32 are not."""
    matrix = np.asarray([[0, 1], [2, 3], [-0.0, 1], [0, np.nextafter(np.float32(1), 2)], [2, 3]], np.float32)
    first, second, third, fourth, fifth = groups_of_equal(matrix).tolist()

    assert first == third
    assert second == fifth
    assert len({first, second, fourth}) == 3
    assert sorted({first, second, fourth}) == [0, 1, 2]


CARD = Figure(value=1.0, low=0.9, high=1.1)
SAME = 500  # As many rows as the card's.


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Figure(value=1.0, low=0.8, high=1.2), "as_the_card_says"),
        # The intervals overlap, 1.05 to 1.25 and 0.9 to 1.1, but the difference's, 0.15 +- 0.141, has no 0.
        (Figure(value=1.15, low=1.05, high=1.25), "worse"),
        (Figure(value=0.85, low=0.75, high=0.95), "better"),
        (Figure(value=1.14, low=1.04, high=1.24), "as_the_card_says"),
        # Lopsided: what counts is the side that faces the card.
        (Figure(value=1.2, low=1.1, high=9.0), "worse"),
        (Figure(value=1.2, low=0.2, high=1.21), "as_the_card_says"),
        (Figure(value=0.8, low=0.0, high=0.9), "better"),
    ],
)
def test_the_verdict_is_whether_the_difference_may_be_none(found: Figure, said: str) -> None:
    """Lower is better."""
    assert verdict(found, SAME, CARD, SAME) == said


def test_few_rows_are_never_surer_than_the_cards_would_be() -> None:
    """A quarter of the rows: the card's reach of 0.1 becomes 0.2, the difference's 0.224."""
    certain = Figure(value=0.8, low=0.8, high=0.8)

    assert verdict(certain, SAME, CARD, SAME) == "better"
    assert verdict(certain, 4 * SAME, CARD, SAME) == "better"
    assert verdict(certain, SAME // 4, CARD, SAME) == "as_the_card_says"
    assert verdict(Figure(value=0.77, low=0.77, high=0.77), SAME // 4, CARD, SAME) == "better"


@pytest.mark.parametrize("rows", [4, 20, 100, 300, 1000])
def test_equally_good_models_seldom_get_another_verdict(rows: int) -> None:
    """Rare large losses, as of a model that errs in 4 of 1,000 rows: at most one wrong verdict in ten."""
    random = np.random.default_rng(rows)

    def losses(count: int) -> NDArray[np.float64]:
        return np.where(random.random(count) < 0.004, random.exponential(4, count), 0.001)

    def measured(count: int) -> Figure:
        found = losses(count)
        bounds = interval(found, np.arange(count))
        assert bounds is not None
        return Figure(value=found.mean(), low=bounds[0], high=bounds[1])

    card = measured(6500)
    verdicts = [verdict(measured(rows), rows, card, 6500) for _ in range(100)]

    assert verdicts.count("as_the_card_says") >= 90


@pytest.mark.parametrize(
    ("found", "card"),
    [(CARD, None), (CARD, Figure(value=1.0)), (Figure(value=1.0), CARD)],
)
def test_without_both_intervals_there_is_no_verdict(found: Figure, card: Figure | None) -> None:
    """One row says nothing of how sure it is."""
    assert verdict(found, SAME, card, SAME) is None
