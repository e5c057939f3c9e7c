"""A film of an episode, by the environment's own camera."""

import importlib
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import ConfigError, WorldError
from unbraid.demos.episodes import Episode
from unbraid.worlds.making import make_world, spec_of

__all__ = ["video"]

_FPS = 30


def video(env_id: str, episode: Episode) -> bytes:
    """An MP4 of an episode that one of our rollouts made: its world is reset with its seed, and its actions repeated.

    Raises:
        ConfigError: imageio and ffmpeg are missing.
        WorldError: an environment that gives no pictures, here.
    """
    try:
        imageio = importlib.import_module("imageio.v2")
        importlib.import_module("imageio_ffmpeg")  # which imageio calls
    except ImportError as error:
        raise ConfigError(
            f"A film needs {error.name}, which is not installed. Run `pip install 'unbraid[video]'`."
        ) from None
    with tempfile.TemporaryDirectory() as folder, _world(env_id) as world:
        path = Path(folder) / "episode.mp4"
        fps = int(world.metadata.get("render_fps", _FPS))
        with imageio.get_writer(path, format="FFMPEG", fps=fps, codec="libx264", macro_block_size=2) as film:
            for frame in _frames(world, episode):
                film.append_data(frame)
        return path.read_bytes()


@contextmanager
def _world(env_id: str) -> Generator[Any, None, None]:
    """The world with its camera; what goes wrong with either is said as a `WorldError`."""
    try:
        world: Any = make_world(spec_of(env_id), render_mode="rgb_array")
        try:
            yield world
        finally:
            world.close()
    except Exception as error:  # whatever a renderer raises, from GL to a mode that does not exist
        said = " ".join(str(error).split())
        raise WorldError(
            f"{env_id} must give pictures (render_mode='rgb_array'); it said: {said:.200}. For a world of MuJoCo set "
            "MUJOCO_GL to egl or osmesa; or leave the film out."
        ) from error


def _frames(world: Any, episode: Episode) -> Generator[np.ndarray, None, None]:
    """Pictures from the first to the last state."""
    world.reset(seed=episode.seed)
    yield np.asarray(world.render())
    for action in episode.actions:
        world.step(action)
        yield np.asarray(world.render())
