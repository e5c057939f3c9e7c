"""What the studio has on its desk: a run, its model, its demonstrations, and what was worked out of them so far."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, final
from zlib import crc32

import numpy as np

from unbraid.core.errors import ConfigError, RunError
from unbraid.core.runs import open_run
from unbraid.demos.altered import ALTERED
from unbraid.demos.episodes import Demos
from unbraid.evaluation.portraits import typical_of
from unbraid.evaluation.telling import column_names, telling_columns
from unbraid.report.record import read_results
from unbraid.report.style import mode_color
from unbraid.studio.asking import STRONGEST
from unbraid.studio.cards import Confusion, cards_of, confusion
from unbraid.studio.catalogue import Catalogue, Order, catalogue_of
from unbraid.studio.certified import certified
from unbraid.studio.deciding import deciding_inputs
from unbraid.studio.edits import Edit, EditLog, Edits
from unbraid.studio.fitting import Paths
from unbraid.studio.live import LiveRollout, live_observer
from unbraid.studio.playing import columns_of, profile_of, scenes_of
from unbraid.studio.teaching import Teacher
from unbraid.training.model import ModeModel
from unbraid.training.online import Observer

__all__ = ["Desk"]

_Worlds = tuple[tuple[str, ...], tuple[str, ...]]
"""Which worlds agents may act in, and remarks."""
_PALETTE = 16  # colours for modes of a fit that goes on
_MOST_KEPT = 8  # episodes whose pictures are kept


@final
class Desk:
    """One run, as the page asks about it; safe to use from several threads.

    What takes long is worked out when it is first asked for, once. A run whose fit still goes on has no model yet: what
    needs one says so, and works as soon as the model is there.
    """

    def __init__(
        self,
        run: Path,
        *,
        demos: Demos | None = None,
        held_out: Demos | None = None,
        env_ids: tuple[str, ...] = (),
        remarks: tuple[str, ...] = (),
        find_worlds: Callable[[], _Worlds] | None = None,
    ) -> None:
        """Notes what is there; reads no more than `run.json`.

        Args:
            run: the run's folder.
            demos: the episodes to show; None where they are not at hand.
            held_out: those that no training saw; None where that is not known.
            env_ids: worlds that agents may act in; no other one is ever made.
            remarks: what a person should know of the demonstrations.
            find_worlds: says `env_ids` and `remarks` anew, once there is a model that worlds must fit; None where they
                stay as they are.

        Raises:
            RunError: this is no run's folder.
        """
        self.run, self.env_ids, self.remarks = run, env_ids, remarks
        self.asked = open_run(run)
        self._demos, self._held_out, self._find_worlds = demos, held_out, find_worlds
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._known: dict[str, Any] = {}
        self._scenes: dict[int, Any] = {}
        self.paths = Paths(run, env_ids[0] if env_ids else None)

    @property
    def method(self) -> str:
        """What the run fits: the method of its config, which `run.json` has before there is a model."""
        config = self.asked.get("config")
        method = config.get("method") if isinstance(config, dict) else None
        return method if isinstance(method, str) else "unbraid"  # as a demo does, whose config names none

    @property
    def model(self) -> ModeModel:
        """The run's model.

        Raises:
            RunError: the fit goes on, or was stopped before it saved one.
        """
        return self._once("model", self._load_model)

    @property
    def demos(self) -> Demos:
        """The episodes.

        Raises:
            RunError: they are not at hand.
        """
        if self._demos is None:
            raise RunError("The demonstrations must be at hand for this; they are not. Start again with --demos PATH.")
        return self._demos

    @property
    def edits(self) -> EditLog:
        """What a person said of the run."""
        return self._once("edits", lambda: EditLog(self.run, self.model.n_modes))

    @property
    def catalogue(self) -> Catalogue:
        """What is known of every episode."""
        return self._once("catalogue", lambda: catalogue_of(self.model, self.demos))

    @property
    def observer(self) -> Observer | None:
        """What re-encodes live agents."""
        return self._once("observer", lambda: live_observer(self.model))

    @property
    def teacher(self) -> Teacher:
        """Who asks for preferences.

        Raises:
            RunError: no world to make clips in.
        """
        return self._once("teacher", self._make_teacher)

    def about(self) -> dict[str, Any]:
        """What the page shows first."""
        has_model = (self.run / "model" / "config.json").exists()
        if has_model:
            self._once("worlds", self._look_for_worlds)
        told: dict[str, Any] = {"run": self.run.resolve().name, "command": self.asked.get("command")}
        told |= {"has_model": has_model, "has_demos": self._demos is not None, "env_ids": list(self.env_ids)}
        told |= {"remarks": list(self.remarks), "has_report": (self.run / "report" / "index.html").exists()}
        told |= {"strongest": STRONGEST, "can_film": _can_film(), "palette": [mode_color(k) for k in range(_PALETTE)]}
        if has_model:
            told |= {"method": self.model.config.method, "has_style": self.model.style_reader is not None}
            told |= {"switch_rate": self.model.switch_rate, "can_observe": self.observer is not None, **self.shown()}
            told["widths"] = self.model.observation_size, self.model.action_size
        if self._demos is not None:
            told |= {"n_episodes": self._demos.n_episodes, "n_steps": self._demos.n_steps}
            told["columns"] = column_names(self._demos)
        return told

    def telling(self) -> list[int]:
        """The columns of observations and actions, those first that say most about the mode, as modes are shown."""
        leads = self.edits.edits.leads
        return self._once(f"telling {leads}", lambda: telling_columns(self.demos, self.catalogue.modes_of_steps(leads)))

    def profiles(self, columns: list[int]) -> list[dict[str, Any]]:
        """How some columns run in the most typical episodes of each mode shown."""
        leads, catalogue = self.edits.edits.leads, self.catalogue
        modes = catalogue.shown(leads).argmax(1)
        chosen = {shown.mode: typical_of(catalogue.oddness, modes == shown.mode) for shown in self.edits.edits.shown}
        return [
            {"mode": mode, "n_episodes": len(episodes), **profile_of(self.demos, episodes, columns)}
            for mode, episodes in chosen.items()
        ]

    def shown(self) -> dict[str, Any]:
        """The modes as the page shows them, whether there is something to undo or do again, and a mark of all edits."""
        edits = self.edits.edits
        modes = [{**mode.to_json(), "color": mode_color(mode.mode)} for mode in edits.shown]
        return {
            "modes": modes,
            "leads": list(edits.leads),
            "can_undo": bool(edits.done),
            "can_redo": bool(edits.undone),
            "mark": f"{crc32(repr((edits.done, edits.undone)).encode()):08x}",  # by which a page sees others' edits
        }

    def say(self, edit: Edit) -> Edits:
        """Takes what a person said of the run, and saves it.

        Raises:
            ConfigError: as `Edits.saying`, or a note on an episode that the demonstrations do not have.
            StorageError: the disk refused; then nothing was changed.
        """
        if edit.kind == "note_episode" and edit.text and self._demos is not None:
            n = self._demos.n_episodes
            if not 0 <= edit.about < n:
                raise ConfigError(f"An episode must lie in [0, {n}); got {edit.about}. Note one that is there.")
        return self.edits.say(edit)

    def results(self) -> dict[str, Any]:
        """`results.json`.

        Raises:
            RunError: there is none yet, or it is damaged.
        """
        return read_results(self.run)

    def episodes(self, by: Order, *, descending: bool, offset: int, limit: int, mode: int | None) -> dict[str, Any]:
        """One page of episodes, in an order; of one mode shown, where one is named."""
        catalogue, edits = self.catalogue, self.edits.edits
        order = catalogue.order(by, edits.leads, descending=descending)
        if mode is not None:
            order = order[catalogue.shown(edits.leads).argmax(1)[order] == mode]
        rows = catalogue.page(order[offset : offset + limit], edits.leads, edits.episode_notes)
        longest = int(catalogue.lengths.max(initial=0))
        orders = {"return": catalogue.returns is not None, "cost": catalogue.costs is not None}
        return {"n": len(order), "offset": offset, "longest": longest, "recorded": orders, "rows": rows}

    def episode(self, episode: int) -> dict[str, Any]:
        """One episode: its row, and what it looks like from above where its world is one of ours."""
        (row,) = self.catalogue.page(self._checked(episode), self.edits.edits.leads, self.edits.edits.episode_notes)
        with self._lock_of("scenes"):
            if episode not in self._scenes:
                while len(self._scenes) >= _MOST_KEPT:
                    self._scenes.pop(next(iter(self._scenes)))
                self._scenes[episode] = scenes_of(self.demos, episode, _world_of(self.demos))
            return {**row, "from_above": self._scenes[episode]}

    def columns(self, episode: int, columns: list[int]) -> list[list[float]]:
        """Some columns of an episode, to be plotted."""
        return columns_of(self.demos, episode, columns)

    def cards(self) -> dict[str, Any]:
        """One card for each mode, with its certificate, and what its rollouts did as `results.json` has it."""
        edits = self.edits.edits
        cards = cards_of(self.catalogue, self.demos, edits.shown, self._confused, leads=edits.leads)
        claims, left_out = certified(self.run, self._once("fingerprint", self.model.fingerprint))
        steered = self._steered()
        for card in cards:
            card["certificate"] = [claim for mode in card["modes"] for claim in claims.get(mode, [])]
            card["steered"] = steered.get(card["mode"], {}) if len(card["modes"]) == 1 else {}
        return {"cards": cards, "held_out": self._held_out is not None, "left_out": left_out}

    def deciding(self) -> list[dict[str, Any]]:
        """Which inputs decide, of the modes as they are shown."""
        held_out = self._held_out if self._held_out is not None else self.demos
        leads = self.edits.edits.leads
        found = self._once(f"deciding {leads}", lambda: deciding_inputs(self.model, held_out, leads=leads))
        return [entry.to_json() for entry in found]

    def live(self, env_id: str, *, n_agents: int, seed: int) -> LiveRollout:
        """A new live rollout.

        Raises:
            RunError: a world that is not among `env_ids`.
        """
        if env_id not in self.env_ids:
            offered = ", ".join(self.env_ids) or "none"
            raise RunError(
                f"The environment must be one that the studio offers ({offered}); got {env_id!r:.80}. Choose one."
            )
        shown = self.edits.edits.shown
        return LiveRollout(
            self.model, env_id, run=self.run, shown=shown, n_agents=n_agents, seed=seed, observer=self.observer
        )

    @property
    def _confused(self) -> Confusion:
        held_out = self._held_out if self._held_out is not None else self.demos
        return self._once("confused", lambda: confusion(self.model, held_out))

    def _steered(self) -> dict[int, Any]:
        """Mode -> its metrics in rollouts, by `results.json`; empty where nothing was rolled out."""
        try:
            behaviour = self.results().get("behaviour") or {}
        except RunError:
            return {}
        units = behaviour.get("units") or {}
        return {
            entry["mode"]: {"metrics": entry.get("metrics"), "units": units, "expert": entry.get("expert")}
            for entry in behaviour.get("modes") or []
        }

    def _look_for_worlds(self) -> None:
        if self._find_worlds is not None:
            self.env_ids, self.remarks = self._find_worlds()

    def _load_model(self) -> ModeModel:
        if not (self.run / "model" / "config.json").exists():
            raise RunError(f"{self.run} must hold a model for this; it does not yet. Let the fit finish.")
        return ModeModel.from_pretrained(self.run)

    def _make_teacher(self) -> Teacher:
        if not self.env_ids:
            raise RunError("Teaching needs an environment to make clips in; none is known. Start again with --env ID.")
        return Teacher(self.model, self.env_ids[0], run=self.run, demos=self._demos)

    def _checked(self, episode: int) -> np.ndarray:
        if not 0 <= episode < self.catalogue.n_episodes:
            raise RunError(f"An episode must lie in [0, {self.catalogue.n_episodes}); got {episode}. Choose another.")
        return np.array([episode])

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        with self._lock_of(name):  # one for each, so that what takes long keeps nothing else waiting
            if name not in self._known:
                self._known[name] = make()
            return self._known[name]

    def _lock_of(self, name: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(name, threading.Lock())


def _can_film() -> bool:
    from importlib.util import find_spec

    return find_spec("imageio_ffmpeg") is not None


def _world_of(demos: Demos) -> str:
    """The id of the environment in which demonstrations can be acted again; empty where none is known to be it."""
    return "" if demos.facts.get(ALTERED) else str(demos.facts.get("env_id") or "")
