"""The talk's method: states keep their own actions, gradients go where the talk's go, every repair is a switch."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbraid.policy.gaussian import diagonal_log_prob
from unbraid.training.fit import learner_for
from unbraid.training.objectives import joined
from unbraid.training.steps import Steps
from unbraid.training.talk import Pairs, TalkLearner, training_context

LENGTHS = st.lists(st.integers(0, 20), min_size=1, max_size=6)


def triples_of(steps, config):
    """(episode, step) of the state, of the action and of the transition's step, for every pair."""
    pairs = Pairs(steps, config)
    every = torch.arange(len(pairs))
    return pairs.observations(every), steps.actions(pairs.acts(every)), steps.actions(pairs.moves(every))


def _moves(learner):
    return learner.pairs.moves(torch.arange(len(learner.pairs)))


@given(lengths=LENGTHS, delta_steps=st.integers(1, 6))
def test_a_state_is_never_paired_with_another_steps_action(identities, tiny, lengths, delta_steps):
    if max(lengths) < delta_steps:
        return
    steps, config = Steps.of(identities(lengths)), tiny("talk", delta_steps=delta_steps)
    states, actions, moved = triples_of(steps, config)
    assert torch.equal(states, actions)
    assert torch.equal(states, moved)
    pairs = Pairs(steps, config)
    transitions = steps.transitions(pairs.moves(torch.arange(len(pairs))), delta_steps)
    assert (transitions == torch.tensor([0.0, delta_steps])).all()
    expected = [(e, t) for e, length in enumerate(lengths) for t in range(length - delta_steps + 1)]
    assert [tuple(row) for row in states.int().tolist()] == expected  # each once, none missing


def test_the_published_pairing_has_the_talks_faults(identities, tiny):
    steps = Steps.of(identities([7, 5, 9]))
    states, actions, moved = triples_of(steps, tiny("talk", pairing="published", delta_steps=2))
    first = actions[:, 0] == 0
    assert torch.equal(states[first], actions[first])
    assert not (states[~first] == actions[~first]).all(1).any()  # from the second episode on: another step's action
    assert (moved[:, 0] == 0).all()  # transitions of the first episode only


def test_a_step_learns_from_what_was_recorded(demos, tiny):
    """The loss of the first step, worked out again from the episodes themselves."""
    learner = learner_for(demos, tiny("talk", delta_steps=3, objective="sum", context="distances"))
    known = [(e, t) for e in range(demos.n_episodes) for t in range(int(demos.lengths[e]) - 2)]
    batch = [known[i] for i in learner.batch.tolist()]
    episodes = [demos.episode(e) for e in range(demos.n_episodes)]
    states = torch.tensor(np.array([episodes[e].observations[t] for e, t in batch]))
    later = torch.tensor(np.array([episodes[e].observations[t + 3] for e, t in batch]))
    actions = torch.tensor(np.array([episodes[e].actions[t] for e, t in batch]))
    model = learner.model
    with torch.no_grad():
        moved = model.transition_normaliser(later - states)
        z = model.encoder(moved)
        distances = torch.cdist(z, model.codebook.codes())
        e = model.codebook.codes()[distances.argmin(1)]
        mean, log_std = model.policy(model.observation_normaliser(states), distances)
        policy = -diagonal_log_prob(actions, mean, log_std).sum(1).mean()
        reconstruction = (moved - learner.decoder(e)).square().mean()
        codes = (z - e).square().mean()
    terms = learner.step()
    for name, expected in (("policy", policy), ("reconstruction", reconstruction), ("codebook", codes)):
        assert float(terms[name]) == pytest.approx(float(expected), rel=1e-4)
    assert float(terms["commitment"]) == float(terms["codebook"])
    assert float(terms["loss"]) == pytest.approx(float(reconstruction + 2 * codes + policy), rel=1e-4)


CHOICES = itertools.product(
    ["ratio", "product", "log_ratio", "sum"], ["squared_distances", "distances", "not_hot"], ["repaired", "published"]
)


@pytest.mark.parametrize(("objective", "context", "repairs"), list(CHOICES))
def test_every_choice_trains(demos, tiny, objective, context, repairs):
    switches = {"pairing": repairs, "scaling": repairs, "steering": repairs}
    learner = learner_for(demos, tiny("talk", objective=objective, context=context, delta_steps=2, **switches))
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    for _ in range(5):
        assert all(torch.isfinite(value) for value in learner.step().values())
    model = learner.finished()
    after = model.state_dict()
    assert all(torch.isfinite(value).all() for name, value in after.items() if not name.endswith("clip"))
    for part in ("encoder", "codebook", "policy"):
        assert any(not torch.equal(before[n], after[n]) for n in after if n.startswith(part))
    assert learner.usage().sum() == pytest.approx(1)


@pytest.mark.parametrize("context", ["squared_distances", "distances", "not_hot"])
def test_the_policys_gradient_reaches_encoder_and_codebook(demos, tiny, context):
    """The talk's joint training: the policy's likelihood alone moves the encoder and the codes."""
    learner = learner_for(demos, tiny("talk", context=context))
    learner.objective = lambda vq, log_probs, mean: -mean(log_probs.sum(-1))
    learner.step()
    for part in (learner.model.encoder, learner.model.codebook, learner.model.policy):
        assert any(float(p.grad.abs().sum()) > 0 for p in part.parameters())
    assert all(p.grad is None for p in learner.decoder.parameters())


def test_reconstruction_reaches_the_encoder_past_the_choice_of_a_code_and_not_the_codes(demos, tiny):
    learner = learner_for(demos, tiny("talk", commitment=0.0))
    learner.objective = lambda vq, log_probs, mean: vq
    moves = learner.pairs.moves(learner.batch)
    z = learner.model.encoder(learner.model.scaled_transitions(learner.steps, moves)).detach()
    codes = learner.model.codebook.codes().detach().clone()
    learner.step()
    assert any(float(p.grad.abs().sum()) > 0 for p in learner.model.encoder.parameters())
    chosen = torch.cdist(z, codes).argmin(1)
    expected = torch.zeros_like(codes).index_add_(0, chosen, 2 * (codes[chosen] - z) / z.numel())
    torch.testing.assert_close(learner.model.codebook.embedding.grad, expected, atol=1e-6, rtol=1e-4)


def test_a_not_hot_context_has_the_values_of_the_choice_and_the_gradient_of_the_distances(tiny):
    distances = torch.tensor([[3.0, 1.0, 2.0], [0.5, 4.0, 9.0]], requires_grad=True)
    seen = training_context(distances, tiny("talk", context="not_hot"))
    assert seen.tolist() == [[1, 0, 1], [0, 1, 1]]
    weights = torch.randn(2, 3)
    (seen * weights).sum().backward()
    torch.testing.assert_close(distances.grad, weights)


def test_the_other_contexts_are_the_distances(tiny):
    distances = torch.tensor([[4.0, 0.0]], requires_grad=True)
    assert torch.equal(training_context(distances, tiny("talk")), distances)
    roots = training_context(distances, tiny("talk", context="distances"))
    roots.sum().backward()  # finite at 0 too
    torch.testing.assert_close(roots.detach(), torch.tensor([[2.0, 1e-6]]))
    assert torch.isfinite(distances.grad).all()


@pytest.mark.parametrize("context", ["squared_distances", "distances"])
def test_repaired_contexts_are_on_the_scale_that_training_saw(demos, tiny, context):
    learner = learner_for(demos, tiny("talk", context=context, learning_rate=3e-3))
    for _ in range(20):
        learner.step()
    contexts = learner.finished().contexts
    assert contexts.diagonal().tolist() == [0, 0, 0]
    with torch.no_grad():
        z = learner.model.encoder(learner.model.scaled_transitions(learner.steps, _moves(learner)))
        distances = learner.model.codebook(z)
        codes, seen = distances.argmin(1), training_context(distances, learner.config)
    for k in range(3):
        among = seen[codes == k] if (codes == k).any() else seen
        others = [j for j in range(3) if j != k]
        torch.testing.assert_close(contexts[k][others], among.mean(0)[others], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("settings", [{"steering": "published"}, {"context": "not_hot"}], ids=str)
def test_published_contexts_are_zero_and_one_and_so_are_those_of_a_not_hot_training(demos, tiny, settings):
    """Of codes that no data has, too."""
    learner = learner_for(demos, tiny("talk", n_modes=3, **settings))
    learner.step()
    assert torch.equal(learner.finished().contexts, 1 - torch.eye(3))


def test_published_inputs_are_left_as_they_come_and_repaired_ones_scaled(demos, tiny):
    published = learner_for(demos, tiny("talk", scaling="published")).model
    repaired = learner_for(demos, tiny("talk")).model
    assert published.observation_normaliser.mean.tolist() == published.transition_normaliser.mean.tolist() == [0, 0, 0]
    assert published.observation_normaliser.scale.tolist() == [1, 1, 1]
    np.testing.assert_allclose(repaired.observation_normaliser.mean, demos.observations.mean(0), atol=1e-5)
    np.testing.assert_allclose(repaired.observation_normaliser.scale, demos.observations.std(0) + 0.02, rtol=1e-4)
    moved = np.concatenate([np.diff(e.observations, axis=0) for e in demos])
    np.testing.assert_allclose(repaired.transition_normaliser.scale, moved.std(0) + 0.02, rtol=1e-4)


def test_a_batch_is_kept_for_an_epoch(demos, tiny):
    learner = learner_for(demos, tiny("talk", steps_per_batch=3))
    seen = []
    for _ in range(7):
        learner.step()
        seen.append(learner.batch.tolist())
    assert seen[0] == seen[1] == seen[2] != seen[3] == seen[4] == seen[5] != seen[6]
    assert learner.samples_per_step == 32


def test_the_seed_suffices_and_matters(demos, tiny, same_weights):
    made = [learner_for(demos, tiny("talk", seed=seed)) for seed in (3, 3, 4)]
    torch.manual_seed(99)  # nobody's global seed has a say
    for learner in made:
        for _ in range(3):
            learner.step()
    assert same_weights(made[0].model, made[1].model)
    assert not same_weights(made[0].model, made[2].model)


def test_making_a_learner_leaves_the_global_generator_alone(demos, tiny):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    learner_for(demos, tiny("talk")).step()
    assert torch.equal(torch.rand(3), expected)


def test_a_learner_takes_its_objective_by_name(demos, tiny):
    learner = TalkLearner(Steps.of(demos), tiny("talk", objective="product"))
    assert learner.objective is joined("product")


def test_codes_start_at_latents_of_the_data_and_dead_ones_start_again(demos, tiny):
    learner = learner_for(demos, tiny("talk", n_modes=3, steps_per_batch=2))
    latents = learner.model.encoder(learner.model.scaled_transitions(learner.steps, _moves(learner)))
    assert (torch.cdist(learner.model.codebook.codes(), latents).min(1).values < 1e-3).all()
    with torch.no_grad():
        learner.model.codebook.embedding[2] = 1e3  # nothing will ever be near
    learner.step()
    learner.step()
    assert int(learner.used.sum()) == 2 * len(learner.batch)
    assert int(learner.used[2]) == 0
    learner.step()  # a new batch is drawn first
    assert float(learner.model.codebook.embedding[2].detach().abs().max()) < 100
    assert int(learner.used.sum()) == len(learner.batch)


def test_as_published_codes_are_left_alone(demos, tiny):
    learner = learner_for(demos, tiny("talk", n_modes=3, steps_per_batch=2, codebook="published"))
    assert float(learner.model.codebook.embedding.detach().abs().max()) <= 1 / 3
    with torch.no_grad():
        learner.model.codebook.embedding[2] = 1e3
    for _ in range(5):
        learner.step()
    assert float(learner.model.codebook.embedding[2].detach().abs().max()) > 900
