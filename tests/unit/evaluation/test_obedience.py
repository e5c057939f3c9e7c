"""Obedience, where it is known what was done."""

import inspect

import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation import obedience as module
from unbraid.evaluation.obedience import change_obeyed, obedience, obedience_entries, steps_until_obeyed, turn_of
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel
from unbraid.training.steps import Steps
from unbraid.worlds.rollout import Rollouts


class Reader:
    """A model of two modes that reads a window as what most of its actions are: below or above 0."""

    n_modes = 2

    def cut(self, demos, window_steps):
        from unbraid.modes.windows import cut_windows

        windows = cut_windows(demos.lengths, window_steps, stride_steps=5)
        if len(windows) == 0:
            raise DataError("none")
        return windows

    def steps_of(self, demos):
        return Steps.of(demos)

    def scores_of_windows(self, steps, windows, kinds):
        assert kinds == ("encoder",)
        means = [
            float(steps.actions(torch.arange(start, start + length)).mean())
            for start, length in zip(windows.starts.tolist(), windows.lengths.tolist(), strict=True)
        ]
        return {"encoder": np.column_stack([-np.array(means), np.array(means)])}


@pytest.fixture(autouse=True)
def _readers_are_models(monkeypatch):
    """The types of the arguments are checked in the tests; the check of these two is taken off."""
    for name in ("change_obeyed", "obedience", "obedience_entries", "steps_until_obeyed"):
        monkeypatch.setitem(globals(), name, inspect.unwrap(getattr(module, name)))


def episodes(*actions):
    return Demos.from_episodes(
        [
            Episode(observations=np.zeros((len(own) + 1, 1), dtype=np.float32), actions=np.array(own)[:, None])
            for own in (np.asarray(a, dtype=np.float32) for a in actions)
        ]
    )


def test_the_share_is_that_of_the_windows_that_obey():
    half = np.where(np.arange(100) < 50, 1.0, -1.0)
    found = obedience(Reader(), episodes(np.ones(100), half), 1, window_steps=10)
    n_windows = 19
    of_half = sum(1 for start in range(0, 91, 5) if half[start : start + 10].mean() > 0)
    assert found.share.value == pytest.approx((n_windows + of_half) / (2 * n_windows))
    assert found.share.n == 2
    assert found.performed.tolist() == pytest.approx([1 - found.share.value, found.share.value])
    early, late = found.over_time[0], found.over_time[9]
    assert (early.value, late.value) == (1.0, 0.5)


def test_without_windows_in_a_tenth_there_is_no_estimate():
    assert obedience(Reader(), episodes(np.ones(100)), 1, window_steps=50).over_time[8] is None


@pytest.mark.parametrize("lag", [0, 7])
def test_a_change_takes_effect_where_windows_are_read_as_the_new_mode(lag):
    late = np.where(np.arange(80) < 30 + lag, -1.0, 1.0)
    never = np.full(80, -1.0)
    found = steps_until_obeyed(Reader(), episodes(late, never), 1, changed_at=30, window_steps=5)
    assert found.tolist() == [max(lag - 2, 0), 50]  # a window of 5 steps, three of which are new, is read as new


def test_a_window_that_is_misread_once_does_not_count():
    blip = np.where(np.isin(np.arange(80), [33]), 30.0, -1.0)
    blip[60:] = 1.0
    found = steps_until_obeyed(Reader(), episodes(blip), 1, changed_at=30, window_steps=1)
    assert found.tolist() == [30]


def test_a_policy_does_not_read_rollouts():
    policy = steer(ModeModel(UnbraidConfig(n_modes=2), observation_size=1, action_size=1)).toward(0)
    seen = episodes(np.ones(100))
    for read in (lambda: obedience(policy, seen, 0), lambda: steps_until_obeyed(policy, seen, 0, changed_at=5)):
        with pytest.raises(ConfigError, match=r"must be a model; got a steered policy\. Give its model"):
            read()


def test_rollouts_that_end_too_early_are_refused():
    with pytest.raises(ConfigError, match="must go on for 12 steps after the change at step 95; the shortest has 100"):
        steps_until_obeyed(Reader(), episodes(np.ones(100)), 1, changed_at=95)


@pytest.mark.parametrize("step", [-5, 5.5, "3"])
@pytest.mark.usefixtures("unchecked")
def test_a_change_at_no_step_is_refused(step):
    with pytest.raises(ConfigError, match=f"`changed_at` must be a whole number of at least 0; got {step!r}"):
        steps_until_obeyed(Reader(), episodes(np.ones(100)), 1, changed_at=step)


def test_a_turn_is_its_steps_of_the_episodes_that_get_there():
    whole = episodes(np.arange(10.0), np.arange(5.0), np.arange(7.0))
    turn = turn_of(whole, 5, 8)
    assert [episode.actions[:, 0].tolist() for episode in turn] == [[5.0, 6.0, 7.0], [5.0, 6.0]]
    assert turn_of(whole, 5).lengths.tolist() == [5, 2]
    assert turn_of(whole, 0, 3).lengths.tolist() == [3, 3, 3]
    assert turn_of(whole, 10) is None


def test_how_soon_a_change_took_effect_is_a_mean_within_the_turn(monkeypatch):
    monkeypatch.setattr(module, "steps_until_obeyed", steps_until_obeyed)
    at_once, late, never, short = np.ones(60), np.where(np.arange(60) < 20, -1.0, 1.0), np.full(60, -1.0), np.ones(11)
    found = change_obeyed(Reader(), episodes(at_once, late, never, short), 1)
    soon = 16  # of ten steps, the window that begins there has six that obey
    assert (found.mode, found.window_steps, found.n_windows, found.n_never) == (1, 10, 3, 1)
    assert (found.steps.value, found.steps.n) == (pytest.approx((soon + 60) / 3), 3)
    assert (found.steps.low, found.steps.high) == (0.0, 60.0)  # Student's t would go beyond both
    assert found.to_json()["steps"]["n"] == 3
    assert change_obeyed(Reader(), episodes(short), 1) is None
    assert change_obeyed(Reader(), episodes(np.ones(12)), 1).steps.low is None


def rolled(*actions):
    return Rollouts(demos=episodes(*actions), tracks=tuple({} for _ in actions))


def test_every_mode_stands_beside_its_expert(monkeypatch):
    monkeypatch.setattr(module, "obedience", obedience)
    down, up = np.full(60, -1.0), np.full(60, 1.0)
    modes = [rolled(down, down, up, down), rolled(up, up)]
    found = obedience_entries(Reader(), modes, {"upward": rolled(up, up, down, up)}, [-1, 0])
    assert found["window_steps"] == 50
    first, second = found["modes"]
    assert (first["expert"], first["expert_share"]) == (None, None)
    assert first["share"]["value"] == pytest.approx(0.75)
    assert second["expert"] == "upward"
    assert (second["share"]["value"], second["expert_share"]["value"]) == pytest.approx((1.0, 0.75))


def test_rollouts_that_are_too_short_say_nothing():
    short = rolled(np.ones(20))
    assert obedience_entries(Reader(), [short, rolled(np.ones(60))], {}, [-1, -1]) is None
