"""The numbered examples, in small, on made-up recordings; the numbers mean nothing."""

import importlib.util
import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def _example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def two_cheetahs(tmp_path):
    """Two linear reflexes on noise, in HalfCheetah's widths; the actions of the first are clipped, and nothing else."""
    draws, lengths, experts = np.random.default_rng(0), np.full(10, 40), np.arange(10) % 2
    obs = draws.normal(size=(400, 17)).astype(np.float32)
    gains = draws.normal(size=(2, 17, 6)) / 4
    act = np.concatenate([obs[40 * i : 40 * i + 40] @ gains[e] for i, e in enumerate(experts)])
    act = np.where(np.repeat(experts, 40)[:, None] == 0, act.clip(-1, 1), np.tanh(act))
    arrays = {"obs": obs, "act": act, "ep_len": lengths, "ep_expert": experts}
    path = tmp_path / "recorded.npz"
    np.savez(path, **arrays, expert_names=np.array(["slow", "fast"]))
    return path


def test_half_cheetah(two_cheetahs, tmp_path, capsys):
    example, out = _example("1_half_cheetah"), tmp_path / "out"
    small = ["--n-modes", "2", "--n-steps", "40", "--refine-steps", "10", "--episodes", "2", "--max-steps", "20"]
    results = example.main([str(two_cheetahs), str(out), *small, "--policy-hidden", "24", "16"])
    said = capsys.readouterr().out
    assert json.loads((out / "results.json").read_text()) == results
    assert (
        "As asked, the policy was refined for 10 more gradient steps"
        in (out / "run" / "report" / "index.html").read_text()
    )
    assert json.loads((out / "run" / "model" / "config.json").read_text())["config"]["policy_hidden"] == [24, 16]
    assert set(results["experts"]) == {"slow", "fast"}
    for name, of in results["experts"].items():
        assert (of["mode"]["n"], of["told"]["n"]) == (2, 2)
        expert = of["expert"] if of["here"] is None else of["here"]["value"]
        assert of["of_expert"] == pytest.approx(of["mode"]["value"] / expert)
        assert f"\n{name:8s}" in said
    assert results["experts"]["slow"]["here"]["n"] == 2
    assert results["experts"]["fast"]["here"] is None


def test_an_expert_is_written_down_where_every_action_comes_out(two_cheetahs):
    example = _example("1_half_cheetah")
    demos = example.recorded(two_cheetahs)
    slow, fast = (demos.select(np.flatnonzero(demos.labels == label)) for label in (0, 1))
    assert np.abs(slow.actions).max() == 1, "else nothing is clipped"
    assert example.written_down(fast) is None
    itself, rows = example.written_down(slow), np.random.default_rng(1).normal(size=(3, 17))
    found, _ = itself.act(rows, None, np.zeros(3, bool), np.zeros((3, 6)))
    gains = np.random.default_rng(0)
    gains.normal(size=(400, 17))
    assert np.allclose(found, (rows @ (gains.normal(size=(2, 17, 6)) / 4)[0]).clip(-1, 1), atol=1e-4)


def test_labels_are_numbered_as_the_modes_are(two_cheetahs):
    example = _example("1_half_cheetah")
    demos = example.recorded(two_cheetahs)
    swapped = example.in_order_of([1, 0], demos)
    assert swapped.label_names == ("fast", "slow")
    assert [swapped.label_names[i] for i in swapped.labels] == [demos.label_names[i] for i in demos.labels]
    assert example.in_order_of([1, 1], demos) is demos, "two in one mode have no order"


class Table(gymnasium.Env):
    """In gym-pusht's place: the block follows the pusher, and the reward is the pusher's nearness to a target."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (6,), np.float32)
    action_space = gymnasium.spaces.Box(0, 512, (2,), np.float32)

    def __init__(self, target):
        self.target = {"center": 256.0, "corner": 356.0}[target]

    def _seen(self):
        return np.array([*self.at, *self.at, 0, 1], dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.uniform(50, 450, 2)
        return self._seen(), {}

    def step(self, action):
        self.at = self.at + 0.3 * (action - self.at)
        return self._seen(), float(np.exp(-np.abs(self.at - self.target).max() / 20)), False, False, {}


@pytest.fixture
def two_targets(tmp_path):
    """People who go straight to one of two targets."""
    draws, paths = np.random.default_rng(0), []
    for name, target in {"center": 256.0, "corner": 356.0}.items():
        states, actions = [], []
        for _ in range(8):
            at = draws.uniform(50, 450, 2)
            for _ in range(25):
                action = at + 0.5 * (target - at) + draws.normal(0, 5, 2)
                states.append([*at, *at, 0.0])
                actions.append(action)
                at = at + 0.3 * (action - at)
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], state=np.array(states), action=np.array(actions), episode_ends=25 * np.arange(1, 9))
    return paths


@pytest.mark.slow
def test_push_t(two_targets, tmp_path, capsys):
    example, out = _example("2_push_t"), tmp_path / "out"
    small = ["--n-modes", "2", "--n-steps", "200", "--episodes", "4", "--max-steps", "25"]
    results = example.main([*map(str, two_targets), str(out), *small], world=Table)
    covered = results["covered"]
    assert len(covered) == 4
    for name, other in (("center", "corner"), ("corner", "center")):
        own, elsewhere = (covered[f"{name}, target {target}"]["mode"]["value"] for target in (name, other))
        assert own > elsewhere
    assert json.loads((out / "results.json").read_text()) == results
    assert "people with" in capsys.readouterr().out


def test_turns_of_the_t_are_seen_as_sine_and_cosine():
    seen = _example("2_push_t").seen
    once, again = seen(np.array([1, 2, 3, 4, 0.5])), seen(np.array([1, 2, 3, 4, 0.5 + 2 * np.pi]))
    assert np.allclose(once, again, atol=1e-6)
    assert np.allclose(once, [1, 2, 3, 4, np.sin(0.5), np.cos(0.5)])
