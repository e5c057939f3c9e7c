"""The model: what it says of a window is what its parts say of the window's steps, and a folder holds all of it."""

import json
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError, DataError, ModelError, RunError
from unbraid.demos.episodes import Demos, Episode
from unbraid.demos.loading import load_demos
from unbraid.demos.store import save_demos
from unbraid.modes.windows import Windows, cut_windows
from unbraid.training import networks
from unbraid.training.config import TalkConfig, config_to_json
from unbraid.training.fit import fit
from unbraid.training.model import ModeModel
from unbraid.training.steps import Steps

METHODS = ["unbraid", "talk"]


@pytest.fixture(scope="session")
def models(demos, tiny):
    return {
        "unbraid": fit(demos, tiny("unbraid", n_modes=3)),
        "talk": fit(demos, tiny("talk", learning_rate=3e-3, delta_steps=2)),
    }


@pytest.fixture(params=METHODS)
def model(request, models):
    return models[request.param]


@pytest.fixture(scope="session")
def uneven(reflexes):
    """Episodes of 17, 0, 1, 40 and 9 steps."""
    empty = Episode(observations=np.zeros((1, 3), dtype=np.float32), actions=np.zeros((0, 2), dtype=np.float32))
    parts = [next(iter(reflexes(n_per_label=1, n_steps=n, seed=n))) for n in (17, 1, 40, 9)]
    return Demos.from_episodes([parts[0], empty, *parts[1:]], label_names=())


def steps_of(demos, window):
    """(episode, first, end) of a window, in steps of its episode."""
    start, length, episode = window
    first = int(start - demos.step_starts[episode])
    return demos.episode(int(episode)), first, first + int(length)


def each(windows):
    return zip(windows.starts, windows.lengths, windows.episodes, strict=True)


def tensor(values):
    return torch.tensor(np.asarray(values, dtype=np.float32))


# What it says of demonstrations


def test_a_prediction_is_one_mode_for_every_window(model, uneven):
    modes, probabilities = model.predict(uneven), model.predict_proba(uneven)
    assert modes[1] == -1  # the empty episode has none
    np.testing.assert_array_equal(modes[[0, 2, 3, 4]], probabilities.argmax(1))
    sure = model.predict(uneven, min_probability=float(np.median(probabilities.max(1))))
    assert (sure.shape, sure[1], (sure >= 0).sum()) == ((5,), -1, 2)
    assert model.predict(uneven, window_steps=9, stride_steps=4).shape == (3 + 8 + 1,)
    assert model.predict(uneven, window_steps=1, stride_steps=1).shape == (uneven.n_steps,)
    assert set(model.predict(uneven, window_steps=9).tolist()) <= {0, 1, 2}
    assert model.transform(uneven, window_steps=9).shape == (len(cut_windows(uneven.lengths, 9)), 3)


@pytest.mark.parametrize("window_steps", [1, 9, None])
def test_a_window_of_the_own_method_is_read_from_its_own_steps(models, uneven, window_steps):
    model = models["unbraid"]
    windows = cut_windows(uneven.lengths, window_steps, stride_steps=3)
    distances = model.window_distances(Steps.of(uneven), windows)
    for row, window in zip(distances, each(windows), strict=True):
        episode, first, end = steps_of(uneven, window)
        states = model.observation_normaliser(tensor(episode.observations[first:end]))
        actions = model.action_normaliser(tensor(episode.actions[first:end]))
        with torch.no_grad():
            expected = model.codebook(model.encoder(states[None], actions[None]))[0]
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("window_steps", [2, 9, None])
def test_a_window_of_the_talks_is_the_mean_over_its_transitions(models, uneven, window_steps):
    model = models["talk"]
    windows = cut_windows(uneven.lengths, window_steps, stride_steps=3)
    distances = model.window_distances(Steps.of(uneven), windows)
    for row, window in zip(distances, each(windows), strict=True):
        episode, first, end = steps_of(uneven, window)
        known = [t for t in range(first, end) if t + 2 <= episode.n_steps]
        if not known:  # an episode of one step: the transition to its end is all that there is
            moved = episode.observations[1:] - episode.observations[:1]
        else:
            moved = np.stack([episode.observations[t + 2] - episode.observations[t] for t in known])
        with torch.no_grad():
            expected = model.codebook(model.encoder(model.transition_normaliser(tensor(moved)))).mean(0)
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-4, rtol=1e-4)


def test_the_last_steps_of_an_episode_are_read_too(models, demos):
    """They have no transition of the talk's length; without one they would all fall to mode 0."""
    distances = models["talk"].transform(demos, window_steps=1, stride_steps=1)
    assert (distances > 0).all()


def test_likelihoods_are_densities_of_actions_in_their_own_units(model, uneven):
    found = model.log_likelihoods(Steps.of(uneven))
    states = np.concatenate([episode.observations[:-1] for episode in uneven])
    for k in range(3):
        mean, deviation = model.action_distribution(tensor(states), model.contexts[k].expand(len(states), -1))
        expected = torch.distributions.Normal(mean, deviation).log_prob(tensor(uneven.actions)).sum(1)
        torch.testing.assert_close(found[:, k], expected, atol=1e-3, rtol=1e-4)


def test_scores_are_the_sums_of_what_each_evidence_says(model, uneven):
    windows = cut_windows(uneven.lengths, 9)
    steps = Steps.of(uneven)
    likelihoods = model.log_likelihoods(steps).double().numpy()
    policy = np.stack([likelihoods[s : s + n].sum(0) for s, n, _ in each(windows)])
    encoder = -model.window_distances(steps, windows) / 0.1
    np.testing.assert_allclose(model.window_scores(uneven, windows, "policy"), policy, atol=1e-6)
    np.testing.assert_allclose(model.window_scores(uneven, windows, "encoder"), encoder, atol=1e-6)
    combined = model.window_scores(uneven, windows, "combined")
    np.testing.assert_allclose(combined, encoder + 0.45 * policy, atol=1e-6)
    default = encoder if isinstance(model.config, TalkConfig) else combined
    np.testing.assert_array_equal(model.predict(uneven, window_steps=9), default.argmax(1))


@pytest.mark.parametrize("evidence", [None, "combined", "encoder", "policy"])
@pytest.mark.parametrize("window_steps", [9, None])
def test_probabilities_are_the_softmax_of_the_scores(model, uneven, window_steps, evidence):
    asked = {"window_steps": window_steps, "stride_steps": 4, "evidence": evidence}
    found = model.predict_proba(uneven, **asked)
    scores = model.window_scores(uneven, cut_windows(uneven.lengths, window_steps, stride_steps=4), evidence)
    by_hand = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(found, by_hand / by_hand.sum(1, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1)
    assert ((found >= 0) & (found <= 1)).all()
    modes = model.predict(uneven, **asked)
    np.testing.assert_array_equal(found.argmax(1), modes[modes >= 0])


def test_probabilities_of_scores_beyond_every_exponential_are_numbers(model, uneven, monkeypatch):
    scores = np.array([[-1e6, 0.0, 1e6], [-1e6, -1e6, -1e6]])
    monkeypatch.setattr(ModeModel, "window_scores", lambda *_: scores)
    np.testing.assert_array_equal(model.predict_proba(uneven), [[0, 0, 1], [1 / 3, 1 / 3, 1 / 3]])


def test_the_score_is_the_likelihood_of_an_action_under_the_mode_that_explains_its_episode(model, uneven):
    likelihoods = model.log_likelihoods(Steps.of(uneven)).double().numpy()
    starts = uneven.step_starts
    best = [likelihoods[starts[e] : starts[e + 1]].sum(0).max() for e in range(uneven.n_episodes)]
    assert model.score(uneven) == pytest.approx(sum(best) / uneven.n_steps, rel=1e-5)


def test_where_modes_change_the_score_is_near_what_it_is_when_told_who_acted(models, uneven, monkeypatch):
    """Of each step one mode says -1, the others -100; the modes take turns of eight steps."""
    model, turns = models["unbraid"], np.arange(uneven.n_steps) // 8 % 3
    said = torch.from_numpy(np.where(turns[:, None] == np.arange(3), -1.0, -100.0))

    def told(_, steps):
        return said[steps.places_of(torch.arange(steps.n_steps))]

    monkeypatch.setattr(ModeModel, "log_likelihoods", told)
    of_one_mode = model.score(uneven)
    assert of_one_mode < -20
    monkeypatch.setattr(model, "switch_rate", 1 / 8)
    of_episode = uneven.episode_of_step
    n_changes = int(((np.diff(turns) != 0) & (np.diff(of_episode) == 0)).sum())
    n_begun = int((uneven.lengths > 0).sum())
    stays = uneven.n_steps - n_begun - n_changes
    chain = n_begun * np.log(1 / 3) + n_changes * np.log(1 / 16) + stays * np.log(7 / 8)
    assert model.score(uneven) == pytest.approx(-1 + chain / uneven.n_steps, abs=1e-6)
    assert -1 > model.score(uneven) > -1.6  # told who acted, it is -1
    monkeypatch.setattr(networks, "_PART_STEPS", 20)
    assert model.score(uneven) == pytest.approx(-1 + chain / uneven.n_steps, abs=1e-6)


def test_a_window_is_the_same_whatever_lies_beside_it(model, demos, uneven):
    together = Demos.from_episodes([*demos, *uneven])
    both = model.transform(together, window_steps=9)
    alone = model.transform(uneven, window_steps=9)
    np.testing.assert_allclose(both[-len(cut_windows(uneven.lengths, 9)) :], alone, rtol=1e-6)  # sums in another order


def test_more_steps_than_a_chunk_are_read_as_one(model, demos, monkeypatch):
    whole = model.window_scores(demos, model.cut(demos, 10), "combined")
    monkeypatch.setattr("unbraid.training.networks._CHUNK", 37)
    np.testing.assert_allclose(model.window_scores(demos, model.cut(demos, 10), "combined"), whole, atol=1e-3)


@pytest.mark.parametrize("window_steps", [None, 7])
def test_parts_of_whole_episodes_are_read_as_the_whole_is(model, uneven, monkeypatch, window_steps):
    settings = {"window_steps": window_steps}
    whole = model.predict_proba(uneven, **settings), model.transform(uneven, **settings), model.score(uneven)
    monkeypatch.setattr(networks, "_PART_STEPS", 20)
    parts = model.predict_proba(uneven, **settings), model.transform(uneven, **settings), model.score(uneven)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_windows_in_any_order_are_read_in_parts(model, uneven, monkeypatch):
    windows = model.cut(uneven, 5, 3)
    order = np.random.default_rng(0).permutation(len(windows))
    mixed = Windows(windows.starts[order], windows.lengths[order], windows.episodes[order])
    whole = model.window_scores(uneven, windows)
    monkeypatch.setattr(networks, "_PART_STEPS", 20)
    np.testing.assert_allclose(model.window_scores(uneven, mixed), whole[order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("obs", "act"), [(2, 2), (3, 1)])
def test_other_widths_are_refused(model, obs, act):
    episode = Episode(observations=np.zeros((9, obs)), actions=np.zeros((8, act)))
    other = Demos.from_episodes([episode])
    message = rf"must have 3 observation and 2 action columns, as .*; got {obs} and {act}\. Load the matching data"
    for verb in (model.predict, model.predict_proba, model.transform, model.score):
        with pytest.raises(DataError, match=message):
            verb(other)
    with pytest.raises(DataError, match=message):
        model.window_scores(other, cut_windows(other.lengths))


def test_windows_longer_than_every_episode_are_refused(model, uneven):
    with pytest.raises(
        DataError, match=r"one episode must have 41 steps; the longest has 40\. Ask for a shorter window"
    ):
        model.predict(uneven, window_steps=41)
    for verb in (model.predict, model.predict_proba, model.transform):
        with pytest.raises(ConfigError, match=r"at least 1 step; got 0 and 5\. Ask for more\."):
            verb(uneven, window_steps=0)


def named(demos, order, names="xyz"):
    """The demonstrations with their columns in another order, named."""
    return replace(demos, observations=demos.observations[:, order], observation_names=tuple(names[i] for i in order))


def everything_of(model, demos):
    """What each verb says of demonstrations."""
    windows = model.cut(demos, 9)
    found = {verb: getattr(model, verb)(demos) for verb in ("predict_proba", "transform", "score")}
    found |= {"scores": model.window_scores(demos, windows, "encoder"), "modes": model.predict(demos, window_steps=9)}
    if not isinstance(model.config, TalkConfig):
        found |= {"timeline": model.timeline(demos).probabilities, "filter": model.filter(demos)}
    return found


@pytest.fixture
def model_of_xyz(model, monkeypatch):
    monkeypatch.setattr(model, "observation_names", ("x", "y", "z"))
    return model


def test_columns_are_read_by_their_names_in_any_order(model_of_xyz, uneven, tmp_path):
    wanted = everything_of(model_of_xyz, uneven)  # which have no names, and are read as they are
    save_demos(named(uneven, [2, 0, 1]), tmp_path / "store")
    for other in (named(uneven, [0, 1, 2]), named(uneven, [2, 0, 1]), load_demos(tmp_path / "store")):
        for verb, found in everything_of(model_of_xyz, other).items():
            np.testing.assert_array_equal(found, wanted[verb], err_msg=verb)
    unnamed = replace(named(uneven, [2, 0, 1]), observation_names=())
    assert not np.array_equal(model_of_xyz.transform(unnamed), wanted["transform"])


def test_columns_that_the_model_was_not_fitted_on_are_refused(model_of_xyz, uneven):
    other, wider = named(uneven, [2, 0, 1], "xyq"), replace(uneven, observations=uneven.observations[:, [0, 1, 2, 2]])
    for verb in ("predict", "predict_proba", "transform", "score", "timeline", "filter"):
        with pytest.raises(DataError, match=r"must have the .* columns that .*; these lack z and hold q, which .*\.$"):
            getattr(model_of_xyz, verb)(other)
    with pytest.raises(DataError, match=r"these hold more, which it does not know\. Read these columns in the data"):
        model_of_xyz.predict(replace(wider, observation_names=("x", "y", "z", "more")))


def test_a_model_keeps_the_names_of_what_it_was_fitted_on(demos, tiny, tmp_path):
    model = fit(named(demos, [0, 1, 2]), tiny("talk"))
    assert model.observation_names == ("x", "y", "z")
    model.save_pretrained(tmp_path / "model")
    assert ModeModel.from_pretrained(tmp_path / "model").observation_names == ("x", "y", "z")
    rewrite(tmp_path / "model", observation_names=None)  # as models of before
    assert ModeModel.from_pretrained(tmp_path / "model").observation_names == ()


def bounded(demos, low, high):
    return replace(demos, action_low=np.array(low), action_high=np.array(high))


@pytest.mark.parametrize("low", [[-2.0, -50.0], [-np.inf, -50.0]])
def test_a_model_keeps_the_bounds_of_what_it_was_fitted_on(demos, tiny, tmp_path, low):
    high = np.abs(np.asarray(demos.actions)).max(0).astype(float) + 40
    model = fit(bounded(demos, np.minimum(low, -high), high), tiny("talk"))
    model.save_pretrained(tmp_path / "model")
    for of in (model, ModeModel.from_pretrained(tmp_path / "model")):
        np.testing.assert_array_equal(of.action_bounds, [np.minimum(low, -high), high])
    rewrite(tmp_path / "model", action_bounds=None)  # as models of before
    assert ModeModel.from_pretrained(tmp_path / "model").action_bounds is None


def test_bounds_that_actions_do_not_keep_to_are_none(demos, tiny):
    for low, high in (([-1e-3] * 2, [1e-3] * 2), ([-np.inf] * 2, [np.inf] * 2), ([np.nan] * 2, [50.0] * 2)):
        assert fit(bounded(demos, low, high), tiny("talk")).action_bounds is None


@pytest.mark.parametrize("steps", [2.5, "9", np.float64(3)])
@pytest.mark.usefixtures("unchecked")
def test_a_window_of_no_whole_number_of_steps_is_refused(model, uneven, steps):
    for verb in (model.predict, model.predict_proba, model.transform):
        with pytest.raises(ConfigError, match=r"window_steps must be a whole number of steps; got .*\. Give one, such"):
            verb(uneven, window_steps=steps)
        with pytest.raises(ConfigError, match=r"stride_steps must be a whole number of steps; got"):
            verb(uneven, window_steps=9, stride_steps=steps)
    np.testing.assert_array_equal(
        model.predict(uneven, window_steps=np.int64(9)), model.predict(uneven, window_steps=9)
    )


@pytest.mark.parametrize("field", ["observations", "actions"])
def test_numbers_that_are_none_get_no_mode(model, demos, field):
    values = {"observations": demos.observations.copy(), "actions": demos.actions.copy()}
    values[field][5, 0] = np.inf
    broken = Demos(**values, lengths=demos.lengths, terminated=demos.terminated)
    with pytest.raises(DataError, match=rf"demonstrations' {field} must be finite; row 5 holds .* `unbraid check`"):
        model.predict(broken)


def test_a_wrong_shape_raises(model):
    with pytest.raises(jaxtyping.TypeCheckError):
        model.action_distribution(torch.zeros(4, 3), torch.zeros(5, 3))


# Files


def test_a_folder_gives_back_every_bit(model, demos, same_weights, tmp_path):
    model.save_pretrained(tmp_path / "model")
    own = [] if isinstance(model.config, TalkConfig) else ["search.json"]
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors", *own]
    again = ModeModel.from_pretrained(tmp_path / "model")
    assert again.config == model.config
    assert again.search == model.search
    assert (model.search is None) == (own == [])
    assert same_weights(again, model)
    assert not again.training
    assert torch.equal(again.observation_normaliser.mean, model.observation_normaliser.mean)
    assert float(again.observation_normaliser.mean.abs().sum()) > 0
    assert torch.equal(again.contexts, model.contexts)
    np.testing.assert_array_equal(again.transform(demos, window_steps=9), model.transform(demos, window_steps=9))
    np.testing.assert_array_equal(again.predict(demos), model.predict(demos))


@pytest.mark.parametrize("kind", ["unbraid", "talk"])
def test_loading_changes_nothing_of_what_a_program_draws(models, tmp_path, kind):
    models[kind].save_pretrained(tmp_path / "model")
    before = torch.random.get_rng_state()
    ModeModel.from_pretrained(tmp_path / "model")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_runs_folder_will_do(models, same_weights, tmp_path):
    models["unbraid"].save_pretrained(tmp_path / "model")
    assert same_weights(ModeModel.from_pretrained(tmp_path), models["unbraid"])
    assert same_weights(ModeModel.from_pretrained(str(tmp_path)), models["unbraid"])


def test_a_model_without_what_the_search_said_is_still_a_model(models, same_weights, tmp_path):
    models["unbraid"].save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "search.json").unlink()
    again = ModeModel.from_pretrained(tmp_path / "model")
    assert again.search is None
    assert same_weights(again, models["unbraid"])


def test_an_existing_folder_is_not_written_over(models, same_weights, tmp_path):
    models["unbraid"].save_pretrained(tmp_path / "model")
    with pytest.raises(RunError, match=r"must not exist yet; it does\. Name another one"):
        models["talk"].save_pretrained(tmp_path / "model")
    assert same_weights(ModeModel.from_pretrained(tmp_path / "model"), models["unbraid"])


def test_the_config_says_who_wrote_it_and_nothing_of_where(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    content = json.loads((tmp_path / "model" / "config.json").read_text())
    assert content == {
        "format": "unbraid-model",
        "version": 1,
        "observation_size": 3,
        "action_size": 2,
        "config": json.loads(json.dumps(config_to_json(model.config))),
        "switch_rate": 0.0,
        "shares": model.shares,
        "observation_names": [],
        "action_bounds": None,
    }
    assert sum(content["shares"]) == pytest.approx(1)


def rewrite(folder, **changes):
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def truncate(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"config.json must exist; there is no model here\. `unbraid fit"),
        (lambda f: truncate(f, "config.json"), r"config.json must be JSON; .*\. Copy the folder again, or fit again"),
        (lambda f: (f / "config.json").write_text("[]"), r"must say format 'unbraid-model'; it does not\. This is not"),
        (lambda f: rewrite(f, format="something"), r"must say format 'unbraid-model'; it does not"),
        (lambda f: rewrite(f, version=2), r"must have version 1; it has 2\. Use the unbraid that wrote it"),
        (lambda f: rewrite(f, config=None), r"must hold a whole model; config.json lacks 'config'\. Copy the folder"),
        (lambda f: rewrite(f, config="odd"), r"must hold a whole model; A config must be an object of .*[^.]\. Copy"),
        (lambda f: rewrite(f, observation_size="three"), r"must hold a whole model; .*\. Copy the folder again"),
        (lambda f: rewrite(f, observation_size=4), r"must hold a whole model; .*size mismatch.*Copy the folder again"),
        (
            lambda f: rewrite(f, observation_names=["x"]),
            r"must hold a whole model; observation_names must name all 3 col",
        ),
        (lambda f: rewrite(f, action_bounds=[[0.0], [1.0]]), r"must hold a whole model; action_bounds must be the"),
        (lambda f: rewrite(f, action_bounds=[[0, 0]]), r"must hold a whole model; .*Copy the folder again"),
        (lambda f: rewrite(f, config={"method": "magic"}), r"must hold a whole model; method must be one of"),
        (lambda f: (f / "model.safetensors").unlink(), r"must hold a whole model; .*Copy the folder again"),
        (lambda f: truncate(f, "model.safetensors"), r"must hold a whole model; .*Copy the folder again"),
        (lambda f: truncate(f, "search.json"), r"search\.json .*Copy the folder again"),
    ],
    ids=[
        "no config",
        "half a config",
        "no object",
        "another format",
        "a newer version",
        "no settings",
        "settings of another kind",
        "a width that is none",
        "another width",
        "a name for one of three columns",
        "bounds of one of two actuators",
        "bounds on one side",
        "another method",
        "no weights",
        "half of the weights",
        "half of what the search said",
    ],
)
def test_what_is_no_whole_model_is_refused(models, tmp_path, damage, message):
    models["unbraid"].save_pretrained(tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(ModelError, match=message):
        ModeModel.from_pretrained(tmp_path / "model")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"must exist; there is no model here\."):
        ModeModel.from_pretrained(tmp_path / "nothing")


# Over time


def test_what_a_step_says_is_shared_out_from_all_windows_that_hold_it(models, uneven):
    model = models["unbraid"]
    steps = Steps.of(uneven)
    policy = model.log_likelihoods(steps).double().numpy()
    wanted = np.zeros((uneven.n_steps, 3))
    for start, n in zip(uneven.step_starts[:-1], uneven.lengths, strict=True):
        if n == 0:
            continue
        windows = [(start + i, min(n, 25)) for i in range(max(n - 25, 0) + 1)]
        cut = Windows(*(np.array(column) for column in zip(*windows, strict=True)), np.zeros(len(windows), dtype=int))
        scores = -model.window_distances(steps, cut) / 0.1
        told = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        for t in range(start, start + n):
            wanted[t] = np.mean([s / w for s, (i, w) in zip(told, windows, strict=True) if i <= t < i + w], axis=0)
    wanted += 0.45 * policy
    wanted = 0.25 * np.maximum(wanted - wanted.max(1, keepdims=True), -4)
    np.testing.assert_allclose(model.step_scores(steps), wanted, atol=1e-6)


def test_where_nothing_switches_an_episode_has_one_mode(models, uneven):
    found = models["unbraid"].timeline(uneven)
    assert found.change_points == ()
    assert found.modes.shape == (uneven.n_steps,)
    for start, n in zip(uneven.step_starts[:-1], uneven.lengths, strict=True):
        assert len(set(found.modes[start : start + n])) == min(n, 1)


def test_a_timeline_needs_demonstrations_that_fit(models, identities):
    with pytest.raises(DataError, match="must have 3 observation and 2 action columns"):
        models["unbraid"].timeline(identities([4]))


def test_the_rate_of_switching_is_kept_and_may_be_absent(models, tmp_path):
    model = models["unbraid"]
    assert model.switch_rate == 0
    model.switch_rate = 0.0125
    try:
        model.save_pretrained(tmp_path / "model")
    finally:
        model.switch_rate = 0.0
    assert ModeModel.from_pretrained(tmp_path / "model").switch_rate == 0.0125
    path = tmp_path / "model" / "config.json"
    content = json.loads(path.read_text())
    del content["switch_rate"]
    path.write_text(json.dumps(content))
    assert ModeModel.from_pretrained(tmp_path / "model").switch_rate == 0
