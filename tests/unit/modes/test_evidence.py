"""Evidence: what is done and where it leads, never across a span's end, and worth no more than the steps are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unbraid.modes.evidence import EvidenceKind, Recorded, correlation_time_steps, kinds_of_evidence

LENGTHS = [10, 7, 12, 10, 1]


@pytest.fixture
def recorded(recorded_of):
    """Five spans of 10, 7, 12, 10 and 1 steps; each begins somewhere else, so that a transition across an end jumps."""
    generator = np.random.default_rng(0)
    scales = np.array([1.0, 0.3, 2.0])
    walks = [1000 * k + (scales * generator.normal(size=(n + 1, 3))).cumsum(0) for k, n in enumerate(LENGTHS)]
    return recorded_of(walks, [generator.normal(size=(n, 2)) for n in LENGTHS])


def by_hand(recorded, horizon_steps):
    """(transition, weight) of every step; None to the end."""
    moves, weights, row = [], [], 0
    for length in LENGTHS:
        rows = recorded.rows[row : row + length + 1].numpy()
        for t in range(length):
            h = length - t if horizon_steps is None else horizon_steps
            moves.append(rows[min(t + h, length)] - rows[t])
            weights.append(1 / length if horizon_steps is None else (1 / h if t + h <= length else 0.0))
        row += length + 1
    return np.array(moves, dtype=np.float64), np.array(weights)


# Which kinds


def names_of(kinds):
    return [kind.name for kind in kinds]


def test_horizons_are_a_tenth_and_three_tenths_of_the_median_span(recorded):
    transitions = ["transitions over 1 steps", "transitions over 3 steps", "transitions to the end"]
    assert names_of(kinds_of_evidence(recorded, "both")) == ["actions", *transitions]
    assert names_of(kinds_of_evidence(recorded, "actions")) == ["actions"]
    assert names_of(kinds_of_evidence(recorded, "transitions")) == transitions
    assert [kind.horizon_steps for kind in kinds_of_evidence(recorded, "transitions")] == [1, 3, None]


def test_horizons_that_fall_together_are_one(recorded_of):
    short = recorded_of([np.arange(4.0)[:, None] ** 2] * 5, [np.zeros((3, 1))] * 5)
    assert names_of(kinds_of_evidence(short, "transitions"))[:1] == ["transitions over 1 steps"]
    assert len(kinds_of_evidence(short, "transitions")) <= 2


def test_observations_that_do_not_move_give_no_transitions(recorded_of):
    generator = np.random.default_rng(0)
    still = recorded_of([np.full((11, 2), k) for k in range(4)], [generator.normal(size=(10, 2)) for _ in range(4)])
    assert names_of(kinds_of_evidence(still)) == ["actions"]
    assert kinds_of_evidence(still, "transitions") == ()


def test_actions_are_read_as_they_are(recorded):
    read = kinds_of_evidence(recorded, "actions")[0].read(recorded)
    assert torch.equal(read.targets, recorded.actions)
    assert torch.equal(read.weights, torch.ones(sum(LENGTHS)))


# Transitions


@pytest.mark.parametrize(("index", "horizon_steps"), [(0, 1), (1, 3), (2, None)])
def test_transitions_are_whitened_and_never_cross_an_end(recorded, index, horizon_steps):
    kind = kinds_of_evidence(recorded, "transitions")[index]
    read = kind.read(recorded)
    moves, weights = by_hand(recorded, horizon_steps)
    np.testing.assert_allclose(read.weights.numpy(), weights, rtol=1e-6)
    centre = np.average(moves, axis=0, weights=weights)
    expected = (moves - centre) @ kind.directions.double().numpy()
    np.testing.assert_allclose(read.targets.numpy(), expected, atol=2e-3)
    covariance = np.cov(read.targets.double().numpy().T, aweights=weights, bias=True)
    np.testing.assert_allclose(covariance, np.eye(kind.n_targets), atol=2e-3)


def test_a_step_too_near_the_end_has_no_weight_and_all_weights_of_a_span_to_its_end_are_one_observation(recorded):
    one, three, to_the_end = kinds_of_evidence(recorded, "transitions")
    ends = np.cumsum(LENGTHS)
    three_weights = three.read(recorded).weights
    for end, length in zip(ends, LENGTHS, strict=True):
        assert three_weights[end - min(length, 2) : end].tolist() == [0.0] * min(length, 2)
    assert float(three_weights.max()) == pytest.approx(1 / 3)
    assert torch.equal(one.read(recorded).weights, torch.ones(sum(LENGTHS)))
    totals = torch.zeros(5).index_add_(0, recorded.spans, to_the_end.read(recorded).weights)
    torch.testing.assert_close(totals, torch.ones(5))


def test_directions_that_hardly_move_are_left_out_and_eight_are_the_most(recorded_of):
    generator = np.random.default_rng(0)
    scales = np.concatenate([np.ones(10), [1e-3]])
    wide = recorded_of([(generator.normal(size=(31, 11)) * scales) for _ in range(6)], [np.zeros((30, 1))] * 6)
    assert {kind.n_targets for kind in kinds_of_evidence(wide, "transitions")[:2]} == {8}
    narrow = Recorded(wide.rows[:, [0, 10]], wide.row_of_step, wide.actions, wide.spans)
    assert {kind.n_targets for kind in kinds_of_evidence(narrow, "transitions")} == {1}


# What steps are worth


def autoregressive(rho, *, n_spans=20, n_steps=400, seed=0):
    generator = np.random.default_rng(seed)
    values = np.empty((n_spans, n_steps, 2))
    values[:, 0] = generator.normal(size=(n_spans, 2))
    for t in range(1, n_steps):
        values[:, t] = rho * values[:, t - 1] + np.sqrt(1 - rho**2) * generator.normal(size=(n_spans, 2))
    spans = torch.arange(n_spans).repeat_interleave(n_steps)
    return torch.from_numpy(values.reshape(-1, 2).astype(np.float32)), torch.ones(len(spans), dtype=torch.bool), spans


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8, 0.9])
def test_the_correlation_time_of_an_autoregression(rho):
    expected = (1 + rho) / (1 - rho)
    assert correlation_time_steps(*autoregressive(rho)) == pytest.approx(expected, rel=0.2)


def test_the_unit_of_residuals_does_not_matter_and_targets_count_alike():
    smooth, there, spans = autoregressive(0.8)
    white = autoregressive(0.0, seed=1)[0]
    time = correlation_time_steps(smooth, there, spans)
    assert correlation_time_steps(smooth * 30, there, spans) == pytest.approx(time, rel=1e-3)
    assert correlation_time_steps(smooth / 30, there, spans) == pytest.approx(time, rel=1e-3)
    both = torch.cat([30 * white[:, :1], smooth[:, :1]], dim=1)
    parts = [correlation_time_steps(x[:, :1], there, spans) for x in (white, smooth)]
    assert correlation_time_steps(both, there, spans) == pytest.approx(np.mean(parts), rel=1e-3)


def test_the_correlation_time_is_at_least_one_and_a_constant_zero_is_no_error():
    residuals, there, spans = autoregressive(-0.7)
    assert correlation_time_steps(residuals, there, spans) == 1
    assert correlation_time_steps(residuals * 0, there, spans) == 1


def test_pairs_across_spans_or_where_nothing_is_there_do_not_count():
    residuals, there, _ = autoregressive(0.9, n_spans=1, n_steps=4000)
    one, each = torch.zeros(4000, dtype=torch.long), torch.arange(4000)
    assert correlation_time_steps(residuals, there, one) > 10
    assert correlation_time_steps(residuals, there, each) == 1
    assert correlation_time_steps(residuals, torch.arange(4000) % 2 == 0, one) == 1


@pytest.fixture
def long(recorded_of):
    generator = np.random.default_rng(1)
    return recorded_of(
        [generator.normal(size=(401, 2)).cumsum(0) for _ in range(20)], [generator.normal(size=(400, 2))] * 20
    )


def test_only_correlated_kinds_are_thinned(long):
    white, smooth = (autoregressive(rho)[0] for rho in (0.0, 0.9))
    kind = EvidenceKind("actions", 1e-3, 2)
    assert kind.thinned(long, white).share == pytest.approx(1, rel=0.1)
    thinned = kind.thinned(long, smooth)
    assert thinned.share == pytest.approx(0.1 / 1.9, rel=0.2)
    assert torch.equal(thinned.read(long).weights, torch.full((8000,), thinned.share))
    assert thinned.thinned(long, smooth).share == pytest.approx(thinned.share)  # once is enough


def test_a_transition_that_counts_for_little_already_is_thinned_no_further(long):
    kind = kinds_of_evidence(long, "transitions")[1]  # over 120 steps, for which a step counts 1 / 120
    assert kind.horizon_steps == 120
    assert kind.thinned(long, autoregressive(0.9)[0][:, : kind.n_targets]).share == 1


def test_transitions_to_the_end_are_one_observation_already(long):
    kind = kinds_of_evidence(long, "transitions")[-1]
    assert kind.thinned(long, autoregressive(0.9)[0]) is kind


def test_an_idle_action_column_is_no_evidence(recorded_of):
    generator = np.random.default_rng(0)
    observations = [generator.normal(size=(41, 2)).cumsum(0) for _ in range(6)]
    actions = [np.insert(generator.normal(size=(40, 2)), 1, 0.25, axis=1) for _ in range(6)]
    recorded = recorded_of(observations, actions)
    kind = kinds_of_evidence(recorded, "actions")[0]
    assert kind.n_targets == 2
    assert torch.equal(kind.read(recorded).targets, recorded.actions[:, [0, 2]])
    all_idle = recorded_of(observations, [np.full((40, 2), 0.25)] * 6)
    assert kinds_of_evidence(all_idle, "actions")[0].n_targets == 2  # one behaviour, and no error


# Spans


def test_chosen_spans_keep_their_rows(recorded):
    part = recorded.of_spans(torch.tensor([1, 3, 4]))
    assert part.spans.tolist() == [0] * 7 + [1] * 10 + [2]
    kept = np.isin(recorded.spans.numpy(), [1, 3, 4])
    assert torch.equal(part.actions, recorded.actions[kept])
    assert torch.equal(part.states, recorded.states[kept])
    whole = kinds_of_evidence(recorded)
    for kind in whole:
        assert torch.equal(kind.read(part).weights, kind.read(recorded).weights[kept])
        torch.testing.assert_close(kind.read(part).targets, kind.read(recorded).targets[kept])


def test_the_beginning_of_every_span(recorded):
    found = recorded.first_steps(8)
    assert found.lengths.tolist() == [8, 7, 8, 8, 1]
    first = np.cumsum([0, *LENGTHS[:-1]])
    kept = [start + t for start, n in zip(first, LENGTHS, strict=True) for t in range(min(n, 8))]
    assert torch.equal(found.actions, recorded.actions[kept])
    assert torch.equal(found.states, recorded.states[kept])
    assert recorded.first_steps(12).lengths.tolist() == LENGTHS


def test_what_is_left_of_a_span_says_nothing_of_a_step(recorded):
    told = [(kind.name, kind.says_something_of_a_step) for kind in kinds_of_evidence(recorded)]
    assert told == [
        ("actions", True),
        ("transitions over 1 steps", True),
        ("transitions over 3 steps", True),
        ("transitions to the end", False),
    ]


def test_a_thinned_transition_counts_for_its_share(recorded):
    for kind in kinds_of_evidence(recorded):
        thinned = replace(kind, share=0.25)
        assert torch.equal(thinned.read(recorded).targets, kind.read(recorded).targets)
        torch.testing.assert_close(thinned.read(recorded).weights, 0.25 * kind.read(recorded).weights)
