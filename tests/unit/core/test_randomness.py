"""One seed -> named generators: the seed matters, it suffices, and names are independent."""

import itertools

import numpy as np
import pytest

from unbraid.core.randomness import named_generator, named_seed


def test_the_seed_suffices():
    assert named_generator(3, "layout", 17).random() == named_generator(3, "layout", 17).random()
    assert named_seed(3, "torch") == named_seed(3, "torch")


def test_the_seed_and_every_name_matter():
    names = [("layout",), ("layout", 0), ("layout", 1), ("noise",), ("noise", "layout"), ("layout", "noise")]
    draws = [named_generator(seed, *name).random() for seed in (0, 1) for name in names]
    seeds = [named_seed(seed, *name) for seed in (0, 1) for name in names]
    assert len(set(draws)) == len(draws)
    assert len(set(seeds)) == len(seeds)


def test_names_are_independent_of_each_other_and_of_what_was_drawn_before():
    draws = {name: named_generator(0, name).normal(size=4000) for name in ("a", "b", "c")}
    for one, other in itertools.combinations(draws.values(), 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.08  # five standard errors
    first = named_generator(0, "a")
    first.random(1000)
    assert named_generator(0, "b").normal(size=4000).tolist() == draws["b"].tolist()


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_a_named_seed_fits_where_signed_numbers_are_expected(seed):
    assert 0 <= named_seed(seed, "torch") < 2**63
