"""The search: it finds who is who, and how many, by what is done and by where it leads."""

import itertools
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.modes import mixture, search
from unbraid.modes.candidates import Candidate, agreement_of_rivals
from unbraid.modes.search import ModeSearch

STEPS = 120


@pytest.fixture(autouse=True)
def _small_network(monkeypatch):
    """A third of the width: EM, which solves for every feature, takes a moment."""
    monkeypatch.setattr("unbraid.modes.latents.WIDTH", 16)


def search_of(recorded, seed=0, **settings):
    return ModeSearch(recorded, np.random.default_rng(seed), **({"n_steps": STEPS} | settings))


@pytest.mark.parametrize("n_experts", [2, 3, 4])
def test_experts_with_policies_of_their_own_are_found(reflexes, tells_apart, n_experts):
    recorded, labels = reflexes(n_experts)
    found = search_of(recorded).found(n_experts)
    assert tells_apart(found.responsibilities.argmax(1), labels)
    torch.testing.assert_close(found.responsibilities.sum(1), torch.ones(len(labels)))
    assert found.count.n_supported == n_experts
    assert found.gain_of_kind["actions"] > 5
    assert found.stability_of[n_experts] > 0.5
    assert found.merge_into == tuple(range(n_experts))
    assert found.facts()["warnings"] == []
    assert found.silhouette > 0.3


def test_an_action_column_that_never_changes_changes_nothing(reflexes):
    recorded, _ = reflexes(3)
    idle = replace(recorded, actions=torch.cat([recorded.actions, torch.full((len(recorded.actions), 1), 0.3)], dim=1))
    found, without = search_of(idle).found(3), search_of(recorded).found(3)
    assert torch.equal(found.responsibilities, without.responsibilities)
    assert found.gain_of_kind == without.gain_of_kind


def test_modes_found_at_once_give_way_to_clearly_better_ones_that_grew_from_one(reflexes, tells_apart):
    """As among many modes: two groups for one expert, and one for two others, which EM does not leave."""
    recorded, labels = reflexes(4)
    searched = search_of(recorded)
    searched._candidate(3)
    good = searched._candidate(4)
    searched._grow(4)
    assert searched._candidate(4) is good  # what is as good stays
    groups = np.where(labels == 3, 2, labels)
    groups[np.flatnonzero(labels == 0)[::2]] = 3
    start = 0.98 * torch.nn.functional.one_hot(torch.from_numpy(groups), 4).float() + 0.005
    stuck = searched._steady.modes.refined(start[None], torch.ones(1))
    assert not tells_apart(stuck[0].argmax(1), labels)
    held_out = searched._held_out(stuck, searched._steady.modes)[0]
    searched._steady.candidates[4] = Candidate(stuck[0], held_out, "EM", stuck[0])
    searched._grow(4)
    assert searched._candidate(4).origin == "one mode, split"
    assert tells_apart(searched._candidate(4).responsibilities.argmax(1), labels)


def test_modes_that_two_starts_lead_to_are_not_sought_again(reflexes, monkeypatch):
    grown = []
    monkeypatch.setattr(ModeSearch, "_grow", lambda self, n_modes: grown.append(n_modes))
    search_of(reflexes(3)[0]).found(3)
    assert grown == []
    number = itertools.count()
    monkeypatch.setattr(search, "groups_of", lambda responsibilities: b"%d" % next(number))  # never twice
    search_of(reflexes(3)[0]).found(3)
    assert grown == [3]


@pytest.mark.parametrize("n_experts", [1, 2, 3])
def test_auto_finds_how_many(reflexes, tells_apart, n_experts):
    recorded, labels = reflexes(n_experts, n_per_expert=24 // n_experts)
    found = search_of(recorded).found("auto")
    assert found.responsibilities.shape == (24, n_experts)
    assert tells_apart(found.responsibilities.argmax(1), labels)
    assert found.count.n_supported == n_experts


def test_noise_is_one_behaviour(drifters):
    """Of many directions one always looks like two groups, and held-out scores of those groups look like a gain."""
    claimed = []
    for seed in (0, 2, 4):
        recorded, _ = drifters(seed=seed, n_per_expert=30)
        count = search_of(recorded, seed, kinds="actions", n_steps=300).found(2).count
        assert count.n_supported == 1
        claimed += [c.again_nats for c in count.counts if c.step_nats and c.step_nats > 3 * c.step_error]
    assert claimed  # which of the seeds look like a gain depends on the machine's rounding
    assert all(again < 0.5 for again in claimed)


@pytest.mark.parametrize(("n_experts", "allowed"), [(2, 4), (3, 6)])
def test_modes_too_many_say_which_of_them_are_one(reflexes, n_experts, allowed):
    recorded, labels = reflexes(n_experts, n_per_expert=24 // n_experts)
    found = search_of(recorded).found(allowed)
    assert found.count.n_supported == n_experts
    assert sorted(set(found.merge_into)) == list(range(n_experts))
    groups = np.array(found.merge_into)[found.responsibilities.argmax(1)]
    assert all(len(set(groups[labels == label])) == 1 for label in range(n_experts))


def test_transitions_alone_need_something_that_moves(recorded_of):
    still = [np.zeros((6, 2)) for _ in range(4)]
    with pytest.raises(ConfigError, match="no observation changes"):
        search_of(recorded_of(still, [np.ones((5, 1))] * 4), kinds="transitions")


def test_a_mode_that_nobody_is_in_is_said_with_a_remedy(recorded_of):
    """Four spans that are all the same make one group, whatever is asked."""
    same = [np.zeros((6, 2)) for _ in range(4)]
    facts = search_of(recorded_of(same, [np.ones((5, 1))] * 4)).found(2).facts()
    assert any("holds no demonstration" in said for said in facts["warnings"])
    assert facts["verdict"].startswith("4 spans are too few to count modes: that there are 2 may be chance.")
    assert "or say how many modes there are" in facts["verdict"]
    assert not facts["is_decided"]
    assert facts["sureness_standard_errors"] is None
    assert json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize("kinds", ["both", "transitions"])
def test_experts_that_differ_in_their_ends_alone_are_found(drifters, tells_apart, kinds):
    recorded, labels = drifters()
    found = search_of(recorded, kinds=kinds).found(2)
    assert tells_apart(found.responsibilities.argmax(1), labels)
    assert found.count.n_supported == 2
    assert ("actions" in found.gain_of_kind) == (kinds == "both")
    assert found.gain_of_kind["transitions to the end"] > 0.1


def test_actions_alone_do_not_tell_them(drifters, tells_apart):
    recorded, labels = drifters()
    found = search_of(recorded, kinds="actions").found(2)
    assert not tells_apart(found.responsibilities.argmax(1), labels)
    assert list(found.gain_of_kind) == ["actions"]


def test_random_starts_alone_find_what_is_easy(reflexes, tells_apart, monkeypatch):
    monkeypatch.setattr(search, "splits", None)  # would be called for nothing
    recorded, labels = reflexes(2)
    found = search_of(recorded, starts="random").found(2)
    assert found.origin == "EM"
    assert tells_apart(found.responsibilities.argmax(1), labels)


def test_too_many_asked_for_are_given_and_said_to_be_too_many(reflexes):
    found = search_of(reflexes(2)[0]).found(4)
    assert found.responsibilities.shape == (16, 4)
    assert found.count.n_supported == 2
    assert "4 are too many, by 2" in found.facts()["verdict"]


def test_as_many_modes_as_spans_are_no_error(reflexes):
    found = search_of(reflexes(2, n_per_expert=2)[0], n_steps=10).found(4)
    assert found.responsibilities.shape == (4, 4)
    assert torch.isfinite(found.responsibilities).all()


def test_a_start_that_is_better_than_what_em_makes_of_it_is_not_lost(reflexes, tells_apart, monkeypatch):
    def spoils(statistics, responsibilities, *, first_beta):
        drawn = np.random.default_rng(0).dirichlet(np.ones(responsibilities.shape[2]), responsibilities.shape[:2])
        return torch.from_numpy(drawn.astype(np.float32))

    monkeypatch.setattr(mixture, "expectation_maximisation", spoils)
    recorded, labels = reflexes(2)
    found = search_of(recorded).found(2)
    assert tells_apart(found.responsibilities.argmax(1), labels)
    assert found.origin in {"k-means of latents", "Gaussian mixture of latents", "Ward's tree of latents"} | {
        "a mode split",
        "more groups, merged",
    }


def test_spans_beyond_the_sample_get_their_modes_too(reflexes, tells_apart, monkeypatch):
    monkeypatch.setattr(search, "MOST_SPANS", 12)
    recorded, labels = reflexes(2, n_per_expert=14)
    sought = search_of(recorded)
    assert sought.n_spans == 12
    found = sought.found(2)
    assert found.responsibilities.shape == (28, 2)
    torch.testing.assert_close(found.responsibilities.sum(1), torch.ones(28))
    assert tells_apart(found.responsibilities.argmax(1), labels)
    assert found.count.n_spans == 12


def test_a_sample_has_no_more_steps_than_it_may(reflexes, monkeypatch):
    recorded, _ = reflexes(2)
    monkeypatch.setattr(search, "MOST_STEPS", 6 * 40 + 39)
    assert search_of(recorded, n_steps=2).n_spans == 6


def test_spans_too_long_for_the_sample_are_read_in_part(reflexes, tells_apart, monkeypatch):
    """All of them, not the few whose whole would fit."""
    recorded, labels = reflexes(2, n_steps=60)
    monkeypatch.setattr(search, "MOST_STEPS", 16 * 30)
    monkeypatch.setattr(search, "PIECE_STEPS", 10)
    sought = search_of(recorded)
    assert sought.n_spans == 16
    assert sought.statistics[0].counts.max() <= 30
    found = sought.found(2)
    assert tells_apart(found.responsibilities.argmax(1), labels)
    assert found.responsibilities.shape == (16, 2)


def test_one_span_is_one_behaviour_and_json(reflexes):
    facts = search_of(reflexes(1, n_per_expert=1)[0], n_steps=5).found("auto").facts()
    assert facts["n_supported"] == 1
    assert json.dumps(facts, allow_nan=False)


def test_fewer_modes_come_first_so_that_one_of_them_split_is_a_start(reflexes, monkeypatch):
    seen = []

    def seen_splits(responsibilities, latents, generator):
        seen.append(responsibilities.shape[1])
        return []

    monkeypatch.setattr(search, "splits", seen_splits)
    search_of(reflexes(3)[0], n_steps=20).found(3)
    assert 2 in seen


def test_stability_leaves_the_chosen_itself_out(reflexes):
    sought = search_of(reflexes(2)[0])
    found = sought.found(2)
    chosen = sought._steady.candidates[2]
    others = [r for r in sought._steady.refined[2] if r is not chosen.refined]
    assert len(others) == len(sought._steady.refined[2]) - (chosen.origin == "EM")
    assert (2 in found.stability_of) == bool(others)


def test_a_rival_explains_left_out_spans_as_well():
    best, as_good = torch.eye(2).repeat(20, 1), torch.eye(2).repeat_interleave(20, 0)
    noise = torch.randn(40, generator=torch.Generator().manual_seed(0))
    chosen = Candidate(best, torch.zeros(40), "EM", best)
    held_out = torch.stack([noise - noise.mean(), -5 + 0.1 * noise])
    assert agreement_of_rivals(chosen, [as_good, best], held_out) == pytest.approx(-0.026, abs=0.03)
    assert agreement_of_rivals(chosen, [as_good], held_out[1:]) is None
    assert agreement_of_rivals(chosen, [], torch.zeros(0, 40)) is None


def test_of_one_behaviour_another_start_is_as_good_and_of_two_none_is(reflexes):
    one, two = (search_of(reflexes(n)[0]).found(2) for n in (1, 2))
    assert one.of_rivals is not None
    assert one.of_rivals < 0.5
    assert "Another start of the search leads elsewhere" in one.facts()["warnings"][0]
    assert two.of_rivals is None or two.of_rivals > 0.9
    assert two.facts()["warnings"] == []


def test_the_seed_suffices_and_matters(reflexes):
    recorded, _ = reflexes(2, n_per_expert=4, n_steps=20, noise=3.0)
    first, again, other = (search_of(recorded, seed, n_steps=10).found(2) for seed in (5, 5, 6))
    assert torch.equal(first.responsibilities, again.responsibilities)
    assert first.facts() == again.facts()
    assert not torch.equal(first.responsibilities, other.responsibilities)


def test_the_global_generators_are_left_alone(reflexes):
    recorded, _ = reflexes(2)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    search_of(recorded, n_steps=5).found(2)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])  # noqa: NPY002


@pytest.mark.parametrize("n_per_expert", [4, 25])
def test_what_is_found_again_does_not_hang_on_which_part_is_first(drifters, monkeypatch, n_per_expert):
    """Two searches draw at once, and neither may take from the other's luck."""

    def one_by_one(self, here, there):
        second = there()
        return here(), second

    recorded, _ = drifters(n_per_expert=n_per_expert)
    at_once = search_of(recorded, n_steps=40)._found_again(2)
    monkeypatch.setattr("unbraid.core.side_by_side.SideBySide.__call__", one_by_one)
    in_turn = search_of(recorded, n_steps=40)._found_again(2)
    np.testing.assert_array_equal(at_once.log_likelihoods, in_turn.log_likelihoods)


def test_what_is_found_again_has_not_seen_what_it_is_scored_on(drifters):
    recorded, _ = drifters(n_per_expert=25)
    whole = search_of(recorded, n_steps=40)
    whole._found_again(1)
    left_out = torch.cat([apart.left_out for apart in whole._searches_apart])
    assert left_out.sort().values.tolist() == list(range(50))
    for apart in whole._searches_apart:
        assert apart.search.n_spans == 25
        seen = [i for i in range(50) if i not in apart.left_out.tolist()]
        expected = recorded.of_spans(torch.tensor(seen))
        assert torch.equal(apart.search.sample.actions, expected.actions)


def test_warnings_and_threads_are_as_before(drifters):
    from threadpoolctl import threadpool_info

    recorded, _ = drifters(n_per_expert=25)
    found = search_of(recorded, n_steps=20)
    found._found_again(2)  # first imports add filters and threads of their own
    before = list(warnings.filters), [pool["num_threads"] for pool in threadpool_info()]
    found._found_again(2)
    assert (list(warnings.filters), [pool["num_threads"] for pool in threadpool_info()]) == before


@pytest.mark.parametrize("n_modes", [1, 2, "auto"])
def test_facts_are_json(reflexes, n_modes):
    found = search_of(reflexes(2)[0], n_steps=60).found(n_modes)
    facts = found.facts()
    assert json.loads(json.dumps(facts, allow_nan=False)) == json.loads(json.dumps(facts))
    assert facts["n_modes"] == found.responsibilities.shape[1]
    assert facts["n_supported"] == found.count.n_supported
    assert facts["n_spans"] == 16
    assert sum(facts["shares"]) == pytest.approx(1)
    assert 1 <= facts["perplexity"] <= facts["n_modes"] + 1e-6
    assert "responsibilities" not in facts
    if n_modes == 1:
        assert facts["stability"] is None
        assert facts["silhouette"] is None


def test_what_varies_within_experts_makes_no_modes(at_own_strengths, tells_apart):
    """Their episodes differ more than they do: modes without variation are strengths, with it they are experts."""
    recorded, labels = at_own_strengths()
    sought = search_of(recorded)
    found = sought.found(2)
    assert tells_apart(found.responsibilities.argmax(1), labels)
    assert not tells_apart(sought._steady.candidates[2].responsibilities.argmax(1), labels)
    assert found.count.n_supported == 2
    assert found.facts()["within"]["gain_nats"] > 5
    assert found.facts()["within"]["is_modelled"]
    assert json.dumps(found.facts(), allow_nan=False)
    assert search_of(recorded).found(2).facts() == found.facts()


def test_spans_beyond_the_sample_get_modes_that_vary(at_own_strengths, tells_apart, monkeypatch):
    recorded, labels = at_own_strengths(n_per_expert=36)
    monkeypatch.setattr(search, "MOST_SPANS", 60)
    found = search_of(recorded).found(2)
    assert found.within.is_modelled
    assert tells_apart(found.responsibilities.argmax(1), labels)


def test_auto_does_not_count_strengths(at_own_strengths):
    """Of one expert alone: without a number for each span, two modes."""
    recorded, labels = at_own_strengths(n_per_expert=30)
    one = recorded.of_spans(torch.from_numpy(np.flatnonzero(labels == 0)))
    sought = search_of(one)
    found = sought.found("auto")
    assert max(k for k in sought._steady.candidates) > 3  # two more than are supported are looked at
    assert found.count.n_supported == found.responsibilities.shape[1] == 1
    assert found.within.is_modelled
    assert found.within.gain_nats > 5
    assert found.facts()["verdict"] == "The evidence supports one behaviour: these demonstrations look like one."


def test_experts_that_lie_along_a_line_are_counted(recorded_of, tells_apart):
    """Three experts who do more or less of the same: one mode and a number would explain them, but lies in heaps."""
    generator = np.random.default_rng(0)
    labels = np.arange(36) % 3
    observations = [generator.normal(size=(41, 3)) for _ in labels]
    actions = [
        (0.5, 1.0, 1.5)[label] * seen[:-1, :2] + 0.3 * generator.normal(size=(40, 2))
        for label, seen in zip(labels, observations, strict=True)
    ]
    found = search_of(recorded_of(observations, actions)).found("auto")
    assert found.count.n_supported == 3
    assert tells_apart(found.responsibilities.argmax(1), labels)
    assert not found.within.is_modelled


def test_experts_that_do_not_vary_are_found_as_if_none_could(reflexes):
    sought = search_of(reflexes(3)[0])
    found = sought.found(3)
    assert sought._tried is sought._steady
    assert not found.within.is_modelled
    assert search_of(reflexes(1)[0]).found(1).within is None
