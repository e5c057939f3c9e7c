"""Pictures of a world, by the renderer that was asked for."""

from typing import Any

import numpy as np
from jaxtyping import UInt8

from unbraid.core.errors import WorldError
from unbraid.worlds.draw import Scene, check_size, draw_top_down, view_half_side_m
from unbraid.worlds.layout import Level

__all__ = ["Painter"]


class Painter:
    """Paints scenes of one level in one size, from above, by NumPy or by MuJoCo's renderer."""

    def __init__(self, rules: Level, *, renderer: str = "top_down", width: int = 512, height: int = 512) -> None:
        """Notes what is asked; GL is touched by the first picture.

        Args:
            rules: the level.
            renderer: "top_down", which needs no GL, or "mujoco", which does.
            width: in pixels, at least 16.
            height: in pixels, at least 16.

        Raises:
            WorldError: no such renderer, or too small a picture.
        """
        if renderer not in ("top_down", "mujoco"):
            raise WorldError(f"renderer must be 'top_down' or 'mujoco'; got {renderer!r}. Choose one.")
        check_size(width, height)
        self._rules, self._renderer, self._width, self._height = rules, renderer, width, height
        self._stage: Any = None

    def paint(self, scene: Scene) -> UInt8[np.ndarray, "height width 3"]:
        """The picture of a scene, (height, width, 3) of uint8.

        Raises:
            WorldError: MuJoCo's renderer was asked for, and GL does not work here.
        """
        if self._renderer == "top_down":
            return draw_top_down(scene, width=self._width, height=self._height)
        if self._stage is None:
            from unbraid.worlds.draw_mujoco import Stage

            self._stage = Stage(self._rules, width=self._width, height=self._height)
        return self._stage.draw(scene, view_half_side_m(scene))

    def close(self) -> None:
        """Releases the GL context, if there is one."""
        if self._stage is not None:
            self._stage.close()
            self._stage = None
