"""Whether modes are read as the search found them: what is counted, what is bad, and what is said of it."""

import numpy as np
import pytest
import torch

from unbraid.demos.episodes import Demos
from unbraid.training.fit import fit
from unbraid.training.reading import Reading, reading_of, sure_of
from unbraid.training.steps import Steps


@pytest.mark.parametrize(
    ("n_spans", "n_misread", "is_bad"), [(3, 1, False), (3, 2, True), (20, 2, False), (20, 3, True), (0, 0, False)]
)
def test_more_than_a_tenth_and_more_than_one_are_bad(n_spans, n_misread, is_bad):
    reading = Reading(n_spans, n_misread)
    assert reading.is_bad == is_bad
    assert bool(reading.warnings("demonstrations", order_may_help=True)) == is_bad


@pytest.mark.parametrize("order_may_help", [True, False])
def test_the_order_of_steps_is_proposed_where_it_was_not_tried(order_may_help):
    (said,) = Reading(20, 5).warnings("stretches", order_may_help=order_may_help)
    assert "5 of 20 stretches" in said
    assert ("window_mlp" in said) == order_may_help


def test_a_span_counts_as_misread_where_all_evidence_together_says_another_mode(demos, tiny):
    model = fit(demos, tiny("unbraid"))
    read = torch.from_numpy(model.predict(demos))
    assert reading_of(model, Steps.of(demos), read) == Reading(demos.n_episodes, 0)
    read[:3] = 1 - read[:3]
    assert reading_of(model, Steps.of(demos), read) == Reading(demos.n_episodes, 3)
    nothing = Steps.of(demos).of_episodes(torch.zeros(0, dtype=torch.long))
    assert reading_of(model, nothing, read[:0]) == Reading(0, 0)


def test_a_span_is_sure_from_nine_tenths_on():
    assert sure_of(torch.tensor([[0.95, 0.05], [0.2, 0.8], [0.05, 0.95]])).tolist() == [0, 2]


def test_episodes_without_steps_do_not_count(demos, tiny):
    model = fit(demos, tiny("unbraid"))
    episodes = [demos.episode(0), demos.episode(1)]
    empty = type(episodes[0])(observations=episodes[0].observations[:1], actions=episodes[0].actions[:0])
    some = Demos.from_episodes([episodes[0], empty, episodes[1]])
    modes = torch.from_numpy(np.insert(model.predict(demos)[:2], 1, 0))
    assert reading_of(model, Steps.of(some), modes) == Reading(2, 0)
