"""What nets learn from a teacher: its answers, not the table's, and nothing of rows held back."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from service.models import MODELS
from training.labels import labels, places
from training.learners import encoding_of, learners, seeded

pytestmark = pytest.mark.slow
COLOUR, GRADE = MODELS["wine_type"], MODELS["wine_grade"]


def answers(spec, recipe, table, seed=1):
    """The shares that the recipe's nets, fitted to the table, give its rows."""
    seeded(seed)
    encoding = encoding_of(spec, recipe, table)
    found, _ = learners(spec, recipe, encoding, table, recipe.epochs, seed)
    return found[0](encoding(tf.constant(table.matrix))).numpy()


def wrong(spec, shares, table):
    return np.mean(shares.argmax(axis=1) != places(spec, table))


def test_a_taught_net_answers_as_a_teacher_that_knows(small, quick):
    table = small["wine_type"]
    shares = answers(COLOUR, quick["wine_type"], table)

    assert wrong(COLOUR, shares, table) < 0.05


def test_a_taught_net_does_not_see_the_tables_own_labels(small, quick):
    """Of a teacher that never moved it learns nothing: it errs as often as who always answers white."""
    table, recipe = small["wine_type"], quick["wine_type"]
    ignorant = replace(recipe, teacher=replace(recipe.teacher, kernel=None, rate=1e-9))

    assert wrong(COLOUR, answers(COLOUR, ignorant, table), table) > 0.15


def test_each_of_the_teachers_learners_counts(small, quick):
    """With a kernel machine, without it, with trees beside it: three different pupils."""
    table, recipe = small["wine_grade"], quick["wine_grade"]
    recipes = [
        recipe, replace(recipe, trees=0), replace(recipe, teacher=replace(recipe.teacher, kernel=None)),
    ]  # fmt: skip
    found = [answers(GRADE, one, table) for one in recipes]

    assert all(shares.shape == (len(table), 7) for shares in found)
    assert all(np.abs(one - found[0]).max() > 1e-3 for one in found[1:])


def test_a_grade_that_the_table_lacks_is_taught_as_next_to_impossible(small, quick):
    table = small["wine_grade"]
    table = table.take(np.flatnonzero(table.targets != 5))
    shares = answers(GRADE, quick["wine_grade"], table)
    five = labels(GRADE).tolist().index(5)

    assert shares[:, five].max() < 0.1
    assert shares[:, five + 1].max() > 0.3


def test_the_same_seed_teaches_the_same(small, quick):
    one, same, other = (answers(GRADE, quick["wine_grade"], small["wine_grade"], seed) for seed in (1, 1, 2))

    assert np.abs(one - same).max() <= 1e-5
    assert np.abs(one - other).max() > 1e-3
