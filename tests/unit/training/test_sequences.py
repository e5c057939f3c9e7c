"""Models whose encoder reads steps in their order, of both methods: what they read, learn, keep and take up again."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError
from unbraid.demos.episodes import Demos, Episode
from unbraid.modes.sequence_encoders import READERS
from unbraid.modes.windows import cut_windows
from unbraid.training.checkpoint import load_checkpoint, save_checkpoint
from unbraid.training.config import TalkConfig
from unbraid.training.fit import fit, learner_for
from unbraid.training.model import ModeModel
from unbraid.training.online import Observer
from unbraid.training.steps import Steps

KINDS = list(READERS)
ASKED = [("unbraid", kind) for kind in KINDS] + [("talk", kind) for kind in ("mean", *KINDS)]


def asked(tiny, method, kind, **more):
    small = {"window_steps": 6, "delta_steps": 2} if method == "talk" else {"window_lengths": (5, 30)}
    return tiny(method, **({"encoder": kind, "n_modes": 3} | small | more))


@pytest.fixture(scope="module")
def models(demos, tiny):
    return {(method, kind): fit(demos, asked(tiny, method, kind)) for method, kind in ASKED}


@pytest.fixture(params=ASKED, ids="-".join)
def model(request, models):
    return models[request.param]


@pytest.fixture(scope="module")
def uneven(reflexes):
    """Episodes of 17, 0, 1, 70 and 9 steps."""
    empty = Episode(observations=np.zeros((1, 3), dtype=np.float32), actions=np.zeros((0, 2), dtype=np.float32))
    parts = [next(iter(reflexes(n_per_label=1, n_steps=n, seed=n))) for n in (17, 1, 70, 9)]
    return Demos.from_episodes([parts[0], empty, *parts[1:]], label_names=())


def tensor(values):
    return torch.tensor(np.asarray(values, dtype=np.float32))


def own_steps(demos, windows):
    for start, length, number in zip(windows.starts, windows.lengths, windows.episodes, strict=True):
        first = int(start - demos.step_starts[number])
        yield demos.episode(int(number)), first, first + int(length)


def parts_of(first, end, longest):
    """How a window is read: in as few pieces of one length as do."""
    n_pieces = -(-(end - first) // longest)
    n = -(-(end - first) // n_pieces)
    room = end - first - n
    return [(first + i * room // max(n_pieces - 1, 1), n) for i in range(n_pieces)]


# Reading


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window_steps", [1, 9, 30, 65, None])
@torch.no_grad()
def test_a_window_is_read_from_its_own_steps_in_pieces_no_longer_than_in_training(models, uneven, kind, window_steps):
    model = models["unbraid", kind]
    assert model.longest_read == 30
    windows = cut_windows(uneven.lengths, window_steps, stride_steps=3)
    found = model.window_distances(Steps.of(uneven), windows)
    for row, (episode, first, end) in zip(found, own_steps(uneven, windows), strict=True):
        each = []
        for start, n in parts_of(first, end, 30):
            states = model.observation_normaliser(tensor(episode.observations[start : start + n]))
            actions = model.action_normaliser(tensor(episode.actions[start : start + n]))
            each.append(model.codebook(model.encoder(states[None], actions[None]))[0].numpy())
        np.testing.assert_allclose(row, np.mean(each, axis=0), atol=1e-5)


@pytest.mark.parametrize("kind", ["mean", *KINDS])
@pytest.mark.parametrize("window_steps", [1, 4, 6, 16, None])
@torch.no_grad()
def test_a_window_of_the_talks_is_read_from_its_own_transitions(models, uneven, kind, window_steps):
    model = models["talk", kind]
    windows = cut_windows(uneven.lengths, window_steps, stride_steps=3)
    found = model.window_distances(Steps.of(uneven), windows)
    for row, (episode, first, end) in zip(found, own_steps(uneven, windows), strict=True):
        each = []
        for start, n in parts_of(first, end, 6):
            known = [t for t in range(start, start + n) if t + 2 <= episode.n_steps]
            to = {t: t + 2 for t in known} or dict.fromkeys(range(start, start + n), episode.n_steps)
            moved = np.stack([episode.observations[to[t]] - episode.observations[t] for t in to])
            moved = model.transition_normaliser(tensor(moved))[None]
            each.append(model.codebook(model.encoder(moved, moved[..., :0]))[0].numpy())
        np.testing.assert_allclose(row, np.mean(each, axis=0), atol=1e-4, rtol=1e-4)


def test_windows_of_twenty_five_steps_are_always_read_whole(demos, tiny):
    """Those of `filter` and `observe`."""
    assert fit(demos, asked(tiny, "unbraid", "lstm", window_lengths=(5,), n_steps=1)).longest_read == 25


def test_all_verbs_take_it(model, uneven):
    assert model.predict(uneven).shape == (uneven.n_episodes,)
    assert model.predict_proba(uneven, window_steps=9).sum(1) == pytest.approx(1)
    assert model.transform(uneven, window_steps=9).shape[1] == 3
    assert len(model.timeline(uneven).modes) == uneven.n_steps
    if isinstance(model.config, TalkConfig):
        with pytest.raises(ConfigError, match="the talk's, which reads where a step leads"):
            model.filter(uneven)
    else:
        assert model.filter(uneven).shape == (uneven.n_steps, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_observed_step_by_step_is_what_is_filtered(models, uneven, kind):
    model, found = models["unbraid", kind], []
    observer = Observer(model, switch_rate=model.switch_rate)
    for episode in uneven:
        belief = None
        for observation, action in zip(episode.observations[:-1], episode.actions, strict=True):
            belief = observer.observe(belief, observation, action)
            assert len(belief.recent) <= 25
            found.append(belief.probabilities)
    np.testing.assert_allclose(np.array(found), model.filter(uneven), atol=1e-5)


def test_an_observer_keeps_the_weights_that_it_was_made_with(demos, tiny):
    model = fit(demos, asked(tiny, "unbraid", "lstm", n_steps=2))
    observer, episode = Observer(model, switch_rate=model.switch_rate), demos.episode(0)
    before = observer.observe(None, episode.observations[0], episode.actions[0]).probabilities
    with torch.no_grad():
        for value in model.encoder.parameters():
            value.add_(1.0)
    np.testing.assert_array_equal(
        observer.observe(None, episode.observations[0], episode.actions[0]).probabilities, before
    )


@pytest.mark.parametrize("kind", ["mean", *KINDS])
def test_the_talks_method_is_not_observed(models, kind):
    with pytest.raises(ConfigError, match="Fit with --method unbraid"):
        Observer(models["talk", kind], switch_rate=0.0)


# Learning


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_learns(demos, tiny, kind):
    learner = learner_for(demos, asked(tiny, "unbraid", kind, n_modes=2, n_steps=120)).first
    losses = [float(learner.step()["encoder"]) for _ in range(120)]
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.parametrize("kind", ["mean", *KINDS])
def test_the_talks_encoder_learns(demos, tiny, kind):
    learner = learner_for(demos, asked(tiny, "talk", kind, learning_rate=3e-3, objective="sum"))
    for part in ("encoder", "codebook"):
        assert part in dict(learner.model.named_children())
    losses = [float(learner.step()["loss"]) for _ in range(120)]
    assert np.mean(losses[-20:]) < np.mean(losses[:5])


def test_its_windows_lie_in_one_episode_and_a_batch_has_no_more_steps(tiny, reflexes, monkeypatch):
    parts = [reflexes(n_per_label=1, n_steps=n, seed=n) for n in (4, 7, 26, 100)]
    demos = Demos.from_episodes([e for part in parts for e in part])
    learner = learner_for(demos, asked(tiny, "unbraid", "convolution", window_lengths=(5, 30, 1000))).first
    seen, read = [], learner.model.latents
    monkeypatch.setattr(learner.model, "latents", lambda steps, windows: seen.append(windows) or read(steps, windows))
    for _ in range(60):
        learner.step()
    of_length = {}
    for windows in seen:
        of_step = learner.steps.episodes[windows.steps]
        assert (of_step == of_step[:, :1]).all()
        of_length.setdefault(windows.mask.shape[1], set()).add(len(windows.steps))
    assert {5, 30, 100} <= set(of_length)
    assert (of_length[5], of_length[30], of_length[100]) == ({16}, {13}, {4})


@torch.no_grad()
def test_a_step_of_the_talks_rebuilds_the_windows_transitions(demos, tiny):
    """The loss of the first step, worked out again from the episodes themselves."""
    learner = learner_for(demos, asked(tiny, "talk", "lstm", objective="sum", delta_steps=3))
    known = [(e, t) for e in range(demos.n_episodes) for t in range(int(demos.lengths[e]) - 2)]
    model, squared, codes, n_short = learner.model, [], [], 0
    for e, t in (known[i] for i in learner.batch.tolist()):
        rows = demos.episode(e).observations
        own = range(t, min(t + 6, len(rows) - 3))
        n_short += len(own) < 6
        moved = model.transition_normaliser(tensor(np.stack([rows[i + 3] - rows[i] for i in own])))
        z = model.encoder(moved[None], moved[None, :, :0])
        code = model.codebook.codes()[model.codebook(z).argmin(1)]
        squared.append((learner.decoder(code)[0].view(6, 3)[: len(own)] - moved).square())
        codes.append((z - code).square())
    assert n_short
    with torch.enable_grad():
        terms = learner.step()
    assert float(terms["reconstruction"]) == pytest.approx(float(torch.cat(squared).mean()), rel=1e-4)
    assert float(terms["codebook"]) == pytest.approx(float(torch.cat(codes).mean()), rel=1e-4)


def test_the_talks_usage_does_not_depend_on_how_many_windows_are_read_at_once(demos, tiny, monkeypatch):
    learner = learner_for(demos, asked(tiny, "talk", "window_mlp"))
    learner.step()
    at_once = learner.usage()
    monkeypatch.setattr("unbraid.training.talk._WINDOWS_AT_ONCE", 7)
    assert learner.usage().tolist() == at_once.tolist()


# Keeping


def test_a_folder_holds_it(model, uneven, tmp_path, same_weights):
    model.save_pretrained(tmp_path / "model")
    again = ModeModel.from_pretrained(tmp_path / "model")
    assert again.config == model.config
    assert same_weights(again, model)
    np.testing.assert_array_equal(again.transform(uneven, window_steps=9), model.transform(uneven, window_steps=9))


@pytest.mark.parametrize("method", ["unbraid", "talk"])
def test_models_of_before_are_read(demos, tiny, tmp_path, method):
    """Their config names no encoder."""
    model = fit(demos, tiny(method, n_modes=3, n_steps=2))
    model.save_pretrained(tmp_path / "model")
    content = json.loads((tmp_path / "model" / "config.json").read_text())
    for name in ("encoder", "window_steps"):
        content["config"].pop(name, None)
    (tmp_path / "model" / "config.json").write_text(json.dumps(content))
    again = ModeModel.from_pretrained(tmp_path / "model")
    assert dataclasses.replace(again.config, encoder=model.config.encoder) == model.config
    np.testing.assert_array_equal(again.transform(demos), model.transform(demos))


@pytest.mark.parametrize(("method", "kind"), ASKED, ids=map("-".join, ASKED))
def test_a_learner_comes_back_bit_for_bit(demos, tiny, same_weights, tmp_path, method, kind):
    first, second = (learner_for(demos, asked(tiny, method, kind)) for _ in range(2))
    for _ in range(5):
        first.step()
    path = save_checkpoint(first, tmp_path, {}, {})
    load_checkpoint(second, path, {})
    for _ in range(6):
        assert {n: float(v) for n, v in first.step().items()} == {n: float(v) for n, v in second.step().items()}
    assert same_weights(first.model, second.model)


@pytest.mark.parametrize(("method", "kind"), ASKED, ids=map("-".join, ASKED))
def test_the_seed_suffices_and_matters(demos, tiny, same_weights, method, kind):
    made = [learner_for(demos, asked(tiny, method, kind, seed=seed)) for seed in (3, 3, 4)]
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    for learner in made:
        for _ in range(3):
            learner.step()
    assert torch.equal(torch.rand(3), expected)  # nobody's global seed has a say, or is touched
    assert same_weights(made[0].model, made[1].model)
    assert not same_weights(made[0].model, made[2].model)
