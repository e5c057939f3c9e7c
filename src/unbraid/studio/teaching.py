"""Pairs of short clips from the same start, and what a person's answers say of when to be in which mode."""

import secrets
import shlex
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import ConfigError, RunError
from unbraid.core.randomness import N_SEEDS, named_generator
from unbraid.demos.episodes import Demos
from unbraid.studio.asking import shares_within
from unbraid.studio.edits import Shown
from unbraid.studio.live import LiveRollout, step_together
from unbraid.switching.answers import load_answers, save_answers
from unbraid.switching.preferences import ANSWERS, Answer, Pair, Preferences
from unbraid.switching.situations import SituationReader, situation_reader
from unbraid.training.columns import columns_in_order
from unbraid.training.model import ModeModel

__all__ = ["PREFERENCES_FILE", "Teacher"]

PREFERENCES_FILE = "preferences.json"
_POINT_GOALS = ("unbraid/PointGoal1-v0", "unbraid/PointGoal2-v0")
_SITUATIONS = 10  # to choose the most informative one from
_LONGEST_START = 120  # steps that the average of all modes takes before a clip, where episodes are long enough
_CLIP_STEPS = 120  # likewise
_MOST_OPEN = 8  # pairs that wait for an answer, as those of several tabs
_MOST_FILMS = 24  # made to find a pair whose clips differ


@final
@dataclass(frozen=True, eq=False)
class _Situation:
    """Where a clip can start: a seed, and steps taken from there."""

    seed: int
    steps: int
    observation: Float[np.ndarray, "obs"]


@final
@dataclass(frozen=True, eq=False)
class _Question:
    """A pair that waits for its answer, with what each clip is: weights over the model's modes."""

    situation: _Situation
    left: Float[np.ndarray, "mode"]
    right: Float[np.ndarray, "mode"]


@final
class Teacher:
    """Asks and learns; safe to use from several threads, one question at a time."""

    def __init__(self, model: ModeModel, env_id: str, *, run: Path, demos: Demos | None) -> None:
        """Reads the answers in `RUN/preferences.json`, where there are some.

        Args:
            model: whose modes.
            env_id: where the clips are made.
            run: the run's folder.
            demos: what situations are read against, in worlds that are not ours, and how long episodes are, where the
                world sets no limit; None where they are not at hand.

        Raises:
            ConfigError: a model of one mode, or a world of others, without demonstrations.
            RunError: answers of another model, or of another way to read situations.
            DataError: a damaged file, or demonstrations with other columns than the model's.
        """
        if model.n_modes < 2:
            raise ConfigError("Teaching needs at least two modes; this model has one. Fit one that has more.")
        self._model, self._env_id, self._run, self._lock = model, env_id, run, threading.Lock()
        self._shown: tuple[Shown, ...] = ()
        self._sliders = _sliders(0, blends=False)
        self._situations: list[_Situation] = []
        self._open: dict[str, _Question] = {}
        self._demonstrated_steps = None if demos is None else _usual_length(demos)
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
        """Two clips from the same start: of the pairs that can be told apart, the one whose answer should say most.

        Args:
            shown: the modes as the page shows them; what was merged is one clip, a blend by shares of the data.
            blends: offer what lies half-way between each two of them, too.

        Returns:
            The clips and their pictures, and ``pair``, which an answer must name. A few pairs may wait for their answer
            at once, as those of pages in several tabs; an older one is closed.

        Raises:
            ConfigError: fewer than two modes to tell apart, or modes that did the same wherever it was looked.
        """
        with self._lock:
            self._shown = tuple(shown)
            if len(self._shown) < 2:
                raise ConfigError(
                    "Teaching needs at least two modes that are shown apart; there is one. Split it again."
                )
            self._sliders = _sliders(len(self._shown), blends=blends)
            asked, film = self._chosen()
            name, clips = secrets.token_urlsafe(9), self._clips()
            while len(self._open) >= _MOST_OPEN:
                self._open.pop(next(iter(self._open)))
            self._open[name] = _Question(self._situations[asked.situation], clips[asked.left], clips[asked.right])
            return {
                "pair": name,
                "number": len(self._preferences.answers),
                "information_nats": asked.information_nats,
                "clips": [[float(value) for value in self._sliders[clip]] for clip in (asked.left, asked.right)],
                **film,
            }

    def answer(self, pair: str, answer: Answer) -> dict[str, Any]:
        """Learns from what a person said of a pair, and saves it.

        Args:
            pair: as `pair` called it; an answer that comes twice counts once.
            answer: one of `ANSWERS`.

        Raises:
            ConfigError: no such pair waits for an answer, or the answer is none.
            StorageError: the disk refused; then nothing was learned.
        """
        with self._lock:
            asked = self._open.get(pair)
            if asked is None:
                raise ConfigError(
                    "An answer must be to a pair that waits for one; this pair was answered already, or gave way to "
                    "later ones. Answer the next pair."
                )
            features = self._reader.read(asked.situation.observation[None])[0]
            self._keep(self._preferences.answered(features, asked.left.tolist(), asked.right.tolist(), answer))
            del self._open[pair]
            self._situations = [situation for situation in self._situations if situation is not asked.situation]
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
        self._preferences = preferences

    def _clips(self) -> Float[np.ndarray, "clip mode"]:
        """Each clip as weights over the model's modes."""
        found = np.zeros((len(self._shown), self._model.n_modes))
        for row, mode in enumerate(self._shown):
            for k, share in shares_within(self._model, mode.modes).items():
                found[row, k] = share
        return self._sliders @ found

    def _chosen(self) -> tuple[Pair, dict[str, Any]]:
        """The pair to ask about next, and its film.

        Nobody can say which of two clips that are the same is better: of such modes one is left out, and where no two
        differ, the situation.
        """
        everything = list(range(len(self._sliders)))
        offered = everything
        for _ in range(_MOST_FILMS):
            if not self._situations:
                self._situations = self._new_situations()
            features = self._reader.read(np.stack([s.observation for s in self._situations]))
            found = self._preferences.next_pair(features, clips=self._clips()[offered], seed=self._batch)
            left, right = offered[found.left], offered[found.right]
            film = self._filmed(self._situations[found.situation], (left, right))
            if _differ(film["frames"]):
                return replace(found, left=left, right=right), film
            if len(offered) > 2:
                offered = [clip for clip in offered if clip != right]
            else:
                offered = everything
                self._situations.pop(found.situation)
        raise ConfigError(
            f"Teaching needs two clips that differ; in {_MOST_FILMS} pairs both were the same. Merge modes that do the "
            "same, or steer them to see whether they do."
        )

    def _new_situations(self) -> list[_Situation]:
        """Places in episodes that go on; earlier ones, where no episode lasts that long."""
        generator = named_generator(0, "situations", self._batch)
        self._batch += 1
        seeds = generator.integers(N_SEEDS, size=_SITUATIONS).tolist()
        with ExitStack() as opened:
            rollouts = [opened.enter_context(closing(self._rollout(seed, 1))) for seed in seeds]
            steps = generator.integers(self._spans(rollouts[0])[0], size=_SITUATIONS)
            while True:
                for taken in range(int(steps.max())):
                    _step_all([rollout for rollout, due in zip(rollouts, steps, strict=True) if taken < due])
                going = [rollout for rollout in rollouts if not rollout.is_over]
                if going:
                    return [_Situation(r.seed, r.agents[0].n_steps, r.agents[0].observation) for r in going]
                steps = steps // 2
                for rollout in rollouts:
                    rollout.reset(rollout.seed)

    def _spans(self, rollout: LiveRollout) -> tuple[int, int]:
        """How many steps may come before a clip (fewer than this), and how many a clip has: both fit in an episode."""
        longest = rollout.most_steps or self._demonstrated_steps
        if longest is None:
            return _LONGEST_START, _CLIP_STEPS
        clip = max(1, min(_CLIP_STEPS, longest // 2))
        return max(1, min(_LONGEST_START, longest - clip)), clip

    def _rollout(self, seed: int, n_agents: int) -> LiveRollout:
        """Agents that act as the average of all modes; alike, as their noise is."""
        rollout = LiveRollout(self._model, self._env_id, run=self._run, shown=self._shown, n_agents=n_agents, seed=seed)
        for agent in range(n_agents):
            rollout.ask(agent, [0.0] * len(self._shown))
        return rollout

    def _filmed(self, situation: _Situation, clips: tuple[int, int]) -> dict[str, Any]:
        """Pictures of both clips, until both episodes are over at the latest."""
        with closing(self._rollout(situation.seed, 2)) as rollout:
            for _ in range(situation.steps):
                rollout.step()
            for agent, clip in enumerate(clips):
                rollout.ask(agent, self._sliders[clip].tolist())
            frames = [rollout.frame()]
            for _ in range(self._spans(rollout)[1]):
                if rollout.is_over:
                    break
                rollout.step()
                frames.append(rollout.frame())
            return {"layout": rollout.layout(), "frames": frames, "steps_per_s": rollout.steps_per_s}


def _sliders(n_shown: int, *, blends: bool) -> Float[np.ndarray, "clip shown"]:
    """What each clip asks of the modes shown: one of them, or two alike; rows sum to 1."""
    alone = np.eye(n_shown)
    between = [(alone[a] + alone[b]) / 2 for a, b in combinations(range(n_shown), 2)] if blends else []
    return np.stack([*alone, *between]) if n_shown else alone


def _usual_length(demos: Demos) -> int | None:
    """The median length of the episodes that have steps; None where there are none."""
    lengths = demos.lengths[demos.lengths > 0]
    return int(np.median(lengths)) if len(lengths) else None


def _differ(frames: Sequence[Sequence[dict[str, Any]]]) -> bool:
    """Whether the two agents of a film can be told apart in any of its pictures."""

    def seen(agent: dict[str, Any]) -> Any:
        return agent.get("scene") or (agent["observation"], agent["action"])

    return any(seen(left) != seen(right) for left, right in frames)


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
    observations, names = np.asarray(demos.observations), demos.observation_names
    columns = columns_in_order(model.observation_names, names)  # as the environment has them, in which the model acts
    if columns is not None:
        observations, names = observations[:, list(columns)], model.observation_names
    return situation_reader("observation", observations=observations, env_id=env_id, names=names)
