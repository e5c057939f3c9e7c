"""Pairs of short clips from the same start, and what a person's answers say of when to be in which mode."""

import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import ConfigError, RunError
from unbraid.core.randomness import named_generator
from unbraid.demos.episodes import Demos
from unbraid.studio.edits import Shown
from unbraid.studio.live import LiveRollout, step_together
from unbraid.switching.answers import load_answers, save_answers
from unbraid.switching.preferences import ANSWERS, Answer, Pair, Preferences
from unbraid.switching.situations import SituationReader, situation_reader
from unbraid.training.model import ModeModel

__all__ = ["PREFERENCES_FILE", "Teacher"]

PREFERENCES_FILE = "preferences.json"
_POINT_GOALS = ("unbraid/PointGoal1-v0", "unbraid/PointGoal2-v0")
_SITUATIONS = 10  # to choose the most informative one from
_LONGEST_START = 120  # steps that the average of all modes takes before a clip
_CLIP_STEPS = 120


@final
@dataclass(frozen=True, eq=False)
class _Situation:
    """Where a clip can start: a seed, and steps taken from there."""

    seed: int
    steps: int
    observation: Float[np.ndarray, "obs"]


@final
class Teacher:
    """Asks and learns; safe to use from several threads, one question at a time."""

    def __init__(self, model: ModeModel, env_id: str, *, run: Path, demos: Demos | None) -> None:
        """Reads the answers in `RUN/preferences.json`, where there are some.

        Args:
            model: whose modes.
            env_id: where the clips are made.
            run: the run's folder.
            demos: what situations are read against, in worlds that are not ours; None where they are not at hand.

        Raises:
            ConfigError: a world of others, without demonstrations.
            RunError: answers of another model, or of another way to read situations.
            DataError: a damaged file.
        """
        self._model, self._env_id, self._run, self._lock = model, env_id, run, threading.Lock()
        self._shown: tuple[Shown, ...] = ()
        self._sliders = _sliders(0, blends=False)
        self._situations: list[_Situation] = []
        self._asked: Pair | None = None
        self._reader = _reader(model, env_id, demos)
        self._preferences = Preferences(model.n_modes, len(self._reader.names))
        path = run / PREFERENCES_FILE
        if path.exists():
            self._preferences, reader = load_answers(path)
            self._reader = reader or self._reader
            widths = len(self._reader.names), len(self._reader.center)
            due = self._preferences.n_features, model.observation_size
            if self._preferences.n_modes != model.n_modes or widths != due:
                raise RunError(
                    f"{path} must be of this model's modes and situations; it is not. Move it away to begin anew."
                )
        self._batch = len(self._preferences.answers)

    def pair(self, shown: Sequence[Shown], *, blends: bool = False) -> dict[str, Any]:
        """Two clips from the same start: the pair whose answer is expected to say most.

        Args:
            shown: the modes as the page shows them; what was merged is one clip, a blend by shares of the data.
            blends: offer what lies half-way between each two of them, too.

        Raises:
            ConfigError: fewer than two modes to tell apart.
        """
        with self._lock:
            self._shown = tuple(shown)
            if len(self._shown) < 2:
                raise ConfigError(
                    "Teaching needs at least two modes that are shown apart; there is one. Split it again."
                )
            if not self._situations:
                self._situations = self._new_situations()
            self._sliders = _sliders(len(self._shown), blends=blends)
            features = self._reader.read(np.stack([s.observation for s in self._situations]))
            asked = self._preferences.next_pair(features, clips=self._clips(), seed=self._batch)
            self._asked = asked
            return {
                "number": len(self._preferences.answers),
                "information_nats": asked.information_nats,
                "clips": [[float(value) for value in self._sliders[clip]] for clip in (asked.left, asked.right)],
                **self._filmed(self._situations[asked.situation], (asked.left, asked.right)),
            }

    def answer(self, number: int, answer: Answer) -> dict[str, Any]:
        """Learns from what a person said of the last pair, and saves it.

        Args:
            number: the pair's, so that an answer that comes twice counts once.
            answer: one of `ANSWERS`.

        Raises:
            ConfigError: no pair was asked, it is another one, or the answer is none.
            StorageError: the disk refused; then nothing was learned.
        """
        with self._lock:
            asked = self._asked
            if asked is None or number != len(self._preferences.answers):
                raise ConfigError(
                    f"An answer must be to the last pair that was asked; got one to pair {number}. Ask again."
                )
            situation = self._situations[asked.situation]
            features = self._reader.read(situation.observation[None])[0]
            clips = self._clips()
            learned = self._preferences.answered(
                features, clips[asked.left].tolist(), clips[asked.right].tolist(), answer
            )
            self._keep(learned)
            self._situations.pop(asked.situation)
            return self._learned()

    def undo(self) -> dict[str, Any]:
        """Forgets the last answer, and saves."""
        with self._lock:
            self._keep(self._preferences.without_last())
            return self._learned()

    def learned(self, shown: Sequence[Shown]) -> dict[str, Any]:
        """What follows from the answers so far."""
        with self._lock:
            self._shown = tuple(shown)
            return self._learned()

    @property
    def command(self) -> str:
        """What makes a switcher of the answers."""
        answers, out = self._run / PREFERENCES_FILE, self._run.with_name(f"{self._run.name}-switcher")
        words = ["unbraid", "switch", str(self._run), "--method", "preferences", "--answers", str(answers)]
        words += ["--situation", self._reader.kind, "--env", self._env_id, "--out", str(out)]
        return shlex.join(words)

    def _learned(self) -> dict[str, Any]:
        """Of every mode shown: how probable it is that it is the best, and its utility, over the situations at hand."""
        told: dict[str, Any] = {"n_answers": len(self._preferences.answers), "answers": list(ANSWERS)}
        told |= {"features": list(self._reader.names), "command": self.command}
        if self._situations:
            features = self._reader.read(np.stack([s.observation for s in self._situations]))
            best = self._preferences.probability_best(features).mean(0)
            mean, deviation = (values.mean(0) for values in self._preferences.utilities(features))
            told["modes"] = [
                {
                    "mode": mode.mode,
                    "probability_best": float(best[list(mode.modes)].sum()),
                    "utility": float(mean[mode.mode]),
                    "deviation": float(deviation[mode.mode]),
                }
                for mode in self._shown
            ]
        return told

    def _keep(self, preferences: Preferences) -> None:
        save_answers(self._run / PREFERENCES_FILE, preferences, self._reader)
        self._preferences, self._asked = preferences, None

    def _clips(self) -> Float[np.ndarray, "clip mode"]:
        """Each clip as weights over the model's modes."""
        found = np.zeros((len(self._shown), self._model.n_modes))
        for row, mode in enumerate(self._shown):
            weights = np.array([max(float(self._model.shares[k]), 1e-6) for k in mode.modes])
            found[row, list(mode.modes)] = weights / weights.sum()
        return self._sliders @ found

    def _new_situations(self) -> list[_Situation]:
        generator = named_generator(0, "situations", self._batch)
        self._batch += 1
        seeds = generator.integers(2**31, size=_SITUATIONS).tolist()
        steps = generator.integers(_LONGEST_START, size=_SITUATIONS).tolist()
        rollouts = [self._rollout(seed, 1, 0) for seed in seeds]
        try:
            for taken in range(max(steps)):
                _step_all([rollout for rollout, due in zip(rollouts, steps, strict=True) if taken < due])
            agents = [rollout.agents[0] for rollout in rollouts]
            return [
                _Situation(seed, agent.n_steps, agent.observation) for seed, agent in zip(seeds, agents, strict=True)
            ]
        finally:
            for rollout in rollouts:
                rollout.close()

    def _rollout(self, seed: int, n_agents: int, steps: int) -> LiveRollout:
        """Agents that took some steps as the average of all modes; alike, as their noise is."""
        rollout = LiveRollout(self._model, self._env_id, run=self._run, shown=self._shown, n_agents=n_agents, seed=seed)
        for agent in range(n_agents):
            rollout.ask(agent, [0.0] * len(self._shown))
        for _ in range(steps):
            rollout.step()
        return rollout

    def _filmed(self, situation: _Situation, clips: tuple[int, int]) -> dict[str, Any]:
        rollout = self._rollout(situation.seed, 2, situation.steps)
        try:
            for agent, clip in enumerate(clips):
                rollout.ask(agent, self._sliders[clip].tolist())
            frames = [rollout.frame()]
            for _ in range(_CLIP_STEPS):
                rollout.step()
                frames.append(rollout.frame())
            return {"layout": rollout.layout(), "frames": frames, "steps_per_s": rollout.steps_per_s}
        finally:
            rollout.close()


def _sliders(n_shown: int, *, blends: bool) -> Float[np.ndarray, "clip shown"]:
    """What each clip asks of the modes shown: one of them, or two alike; rows sum to 1."""
    alone = np.eye(n_shown)
    between = [(alone[a] + alone[b]) / 2 for a, b in combinations(range(n_shown), 2)] if blends else []
    return np.stack([*alone, *between]) if n_shown else alone


def _step_all(rollouts: Sequence[LiveRollout]) -> None:
    for failed in step_together(rollouts):
        if failed is not None:
            raise failed


def _reader(model: ModeModel, env_id: str, demos: Demos | None) -> SituationReader:
    """In our worlds two features, as twenty answers say little about more; in others all that is seen."""
    size = model.observation_size
    if env_id in _POINT_GOALS:
        return situation_reader("point_goal_few", observations=np.zeros((2, size)), env_id=env_id)
    if demos is None:
        raise ConfigError(
            "Teaching needs the demonstrations, to read situations against; there are none. Give --demos PATH."
        )
    names = demos.observation_names
    return situation_reader("observation", observations=np.asarray(demos.observations), env_id=env_id, names=names)
