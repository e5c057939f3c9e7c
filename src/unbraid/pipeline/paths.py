"""Top-down paths of one seed, for the pictures: who went where in the same layout."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from unbraid.core.runs import write_bytes
from unbraid.evaluation.evaluate import Evaluation
from unbraid.report.record import PATH_ARRAYS

__all__ = ["save_paths"]


def save_paths(
    run: Path,
    experts: Mapping[str, Evaluation],
    modes: Sequence[Evaluation],
    others: Mapping[str, Evaluation] | None = None,
) -> None:
    """Writes the first rollout of everybody into `run/paths.npz`, where the world told where things are.

    What another verb left there of others, the talk's modes, stays.

    Args:
        run: the run's folder.
        experts: by name.
        modes: in order.
        others: by panel, e.g. ``talk/midway/1``.
    """
    panels = {f"expert/{name}": evaluation for name, evaluation in experts.items()}
    panels |= {f"mode/{mode}": evaluation for mode, evaluation in enumerate(modes)}
    panels |= dict(others or {})
    arrays: dict[str, np.ndarray] = {}
    for panel, evaluation in panels.items():
        track = evaluation.rollouts.tracks[0]
        if all(name in track for name in PATH_ARRAYS):
            arrays |= {f"{panel}/{name}": track[name] for name in PATH_ARRAYS}
    if arrays:
        arrays = _of_others(run / "paths.npz") | arrays
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)  # pyright: ignore[reportArgumentType]
        write_bytes(run / "paths.npz", packed.getvalue())


def _of_others(source: Path) -> dict[str, np.ndarray]:
    """The arrays of panels that are no expert's and no mode's; none where the file is missing or damaged."""
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if not name.startswith(("expert/", "mode/"))}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return {}
