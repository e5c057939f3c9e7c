"""What a person says of a run: names of modes, modes that are one, notes. Saved with the run, and can be undone."""

import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

from unbraid.core.errors import ConfigError, RunError
from unbraid.core.runs import read_json, write_json

__all__ = ["EDITS_FILE", "Edit", "EditLog", "Edits", "Kind", "Shown"]

EDITS_FILE = "studio.json"
_FORMAT, _VERSION = "unbraid-studio", 1
_MOST_EDITS, _LONGEST_NAME, _LONGEST_NOTE = 10_000, 60, 2000

Kind = Literal["rename", "merge", "split", "note_mode", "note_episode"]
_KINDS: tuple[Kind, ...] = ("rename", "merge", "split", "note_mode", "note_episode")


@final
@dataclass(frozen=True)
class Edit:
    """One thing that was said.

    Attributes:
        kind: ``rename`` and ``note_mode`` of a mode, ``note_episode`` of an episode; ``merge`` shows a mode as part of
            another, ``split`` takes that back.
        about: the mode, or the episode.
        into: the mode that it is merged into; None for the other kinds.
        text: the name or the note; an empty one takes it away.
    """

    kind: Kind
    about: int
    into: int | None = None
    text: str = ""


@final
@dataclass(frozen=True)
class Shown:
    """A mode as the page shows it: one of the model's, or several that a person merged.

    Attributes:
        mode: the one that leads, whose colour and pattern it has.
        modes: all that it stands for, the leading one first.
        name: what a person called it, or ``mode 2``.
        note: what was noted of it.
    """

    mode: int
    modes: tuple[int, ...]
    name: str
    note: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**asdict(self), "modes": list(self.modes)}


@final
@dataclass(frozen=True)
class Edits:
    """Everything that was said, in order. Never changes: each verb gives a new one.

    Attributes:
        n_modes: K of the model.
        done: what holds.
        undone: what was undone and can be done again, the next one last.
    """

    n_modes: int
    done: tuple[Edit, ...] = ()
    undone: tuple[Edit, ...] = ()

    def saying(self, edit: Edit) -> "Edits":
        """With one more; what was undone before cannot be done again. The same where it would change nothing.

        Raises:
            ConfigError: a mode that does not exist, modes that cannot be merged or split, too long a text, or a name
                that another mode has.
        """
        after = self.repeating(edit)
        if after._said == self._said:
            return self
        after._require_names_apart(edit)
        return after

    def repeating(self, edit: Edit) -> "Edits":
        """With one more, as a file of before has it, which may change nothing and give a name that another mode has.

        Raises:
            ConfigError: as `saying`, but for names.
        """
        if edit.kind not in _KINDS:
            raise ConfigError(f"An edit must be one of {', '.join(_KINDS)}; got {edit.kind!r:.40}. Choose one.")
        if len(self.done) >= _MOST_EDITS:
            raise ConfigError(f"A run must have at most {_MOST_EDITS:,} edits; it has them. Undo some.")
        if edit.kind == "note_episode":
            if not 0 <= edit.about < 2**53:
                raise ConfigError(f"An episode must be a number from 0; got {edit.about}. Give one that exists.")
        else:
            self._require_mode(edit.about)
        self._require_text(edit)
        self._require_merge(edit)
        return replace(self, done=(*self.done, edit), undone=())

    def undo(self) -> "Edits":
        """Without the last; the same where there is none."""
        return replace(self, done=self.done[:-1], undone=(*self.undone, *self.done[-1:]))

    def redo(self) -> "Edits":
        """With what was undone last; the same where nothing was."""
        return replace(self, done=(*self.done, *self.undone[-1:]), undone=self.undone[:-1])

    @property
    def shown(self) -> tuple[Shown, ...]:
        """The modes as the page shows them, in order of the leading ones."""
        leads, names, notes = self.leads, self._names, self._mode_notes
        found: list[Shown] = []
        for mode in range(self.n_modes):
            if leads[mode] == mode:
                others = [k for k in range(self.n_modes) if leads[k] == mode and k != mode]
                found.append(Shown(mode, (mode, *others), names[mode], notes[mode]))
        return tuple(found)

    @property
    def leads(self) -> tuple[int, ...]:
        """(mode,) the mode that each is shown as."""
        found = list(range(self.n_modes))
        for edit in self.done:
            if edit.kind == "merge" and edit.into is not None:
                found = [edit.into if lead == edit.about else lead for lead in found]
            if edit.kind == "split":
                found[edit.about] = edit.about
        return tuple(found)

    @property
    def episode_notes(self) -> dict[int, str]:
        """Episode -> what was noted of it."""
        notes = {e.about: e.text for e in self.done if e.kind == "note_episode"}
        return {episode: text for episode, text in notes.items() if text}

    @property
    def _names(self) -> tuple[str, ...]:
        """(mode,) what each is called, shown or not."""
        names = {e.about: e.text for e in self.done if e.kind == "rename"}
        return tuple(names.get(mode) or f"mode {mode}" for mode in range(self.n_modes))

    @property
    def _mode_notes(self) -> tuple[str, ...]:
        notes = {e.about: e.text for e in self.done if e.kind == "note_mode"}
        return tuple(notes.get(mode, "") for mode in range(self.n_modes))

    @property
    def _said(self) -> Any:
        """All that follows from the edits."""
        return self.leads, self._names, self._mode_notes, self.episode_notes

    def to_json(self) -> dict[str, Any]:
        """As the file has it."""
        content = {"format": _FORMAT, "version": _VERSION, "n_modes": self.n_modes}
        return {**content, "done": [asdict(e) for e in self.done], "undone": [asdict(e) for e in self.undone]}

    def _require_mode(self, mode: int) -> None:
        if not 0 <= mode < self.n_modes:
            raise ConfigError(f"A mode must lie in [0, {self.n_modes}); got {mode}. Name one that exists.")

    def _require_text(self, edit: Edit) -> None:
        longest = _LONGEST_NAME if edit.kind == "rename" else _LONGEST_NOTE
        if len(edit.text) > longest:
            raise ConfigError(
                f"A text here must have at most {longest} characters; it has {len(edit.text)}. Shorten it."
            )
        if edit.kind == "rename" and not edit.text.isprintable():
            raise ConfigError(f"A name must be printable characters on one line; got {edit.text!r:.80}. Correct it.")

    def _require_names_apart(self, edit: Edit) -> None:
        """After an edit: a name that it gives, or shows again, is that of one mode alone, whatever its case."""
        own = [mode for mode in self.shown if mode.mode == edit.about and edit.kind in ("rename", "split")]
        others = [mode for mode in self.shown if mode.mode != edit.about]
        for mode in own:
            if any(mode.name.casefold() == other.name.casefold() for other in others):
                remedy = "Choose another name" if edit.kind == "rename" else "Rename one of the two before"
                raise ConfigError(f"Modes must have names that differ; {mode.name!r} is another's already. {remedy}.")

    def _require_merge(self, edit: Edit) -> None:
        leads = self.leads
        if edit.kind == "merge":
            if edit.into is None:
                raise ConfigError("A merge must name the mode to merge into; it names none. Give `into`.")
            self._require_mode(edit.into)
            if edit.into == edit.about or leads[edit.about] != edit.about or leads[edit.into] != edit.into:
                raise ConfigError(
                    f"A merge must join two modes that are shown apart; got {edit.about} and {edit.into}. Name others."
                )
        elif edit.into is not None:
            raise ConfigError(f"Only a merge must name a second mode; got {edit.kind} into {edit.into}. Leave it out.")
        if edit.kind == "split" and leads[edit.about] == edit.about:
            raise ConfigError(f"A mode to split off must be merged into another; {edit.about} is not. Choose another.")


@final
class EditLog:
    """The edits of one run, and their file; safe to use from several threads."""

    def __init__(self, run: Path, n_modes: int) -> None:
        """Reads `RUN/studio.json`, where there is one.

        Raises:
            RunError: the file is damaged, of a newer version, or of a model with another number of modes.
        """
        self._path, self._lock = run / EDITS_FILE, threading.Lock()
        self._edits = _read(self._path, n_modes) if self._path.exists() else Edits(n_modes)

    @property
    def edits(self) -> Edits:
        """What holds now."""
        return self._edits

    def say(self, edit: Edit) -> Edits:
        """Adds one, and saves.

        Raises:
            ConfigError: as `Edits.saying`.
            StorageError: the disk refused; then nothing was changed.
        """
        with self._lock:
            return self._keep(self._edits.saying(edit))

    def undo(self) -> Edits:
        """Takes the last one back, and saves."""
        with self._lock:
            return self._keep(self._edits.undo())

    def redo(self) -> Edits:
        """Does the one again that was undone last, and saves."""
        with self._lock:
            return self._keep(self._edits.redo())

    def _keep(self, edits: Edits) -> Edits:
        if edits != self._edits:
            write_json(self._path, edits.to_json())
            self._edits = edits
        return edits


def _read(path: Path, n_modes: int) -> Edits:
    content = read_json(path, remedy="Restore it, or remove it to begin anew.")
    if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != _VERSION:
        raise RunError(f"{path} must be written by this version's studio; it is not. Remove it to begin anew.")
    if content.get("n_modes") != n_modes:
        raise RunError(f"{path} must be of a model with {n_modes} modes; it is of {content.get('n_modes')}. Remove it.")
    try:
        edits = Edits(n_modes)
        for entry in content["done"]:
            edits = edits.repeating(Edit(**entry))
        undone = tuple(Edit(**entry) for entry in content["undone"])
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise RunError(f"{path} must hold edits; {error!s:.200}. Restore it, or remove it to begin anew.") from None
    return replace(edits, undone=undone)
