"""A picture of a PointGoal world by MuJoCo's own renderer, for who asks for it and has GL."""

# MuJoCo is a compiled module without types.
# pyright: reportAttributeAccessIssue=false

import math

import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from unbraid.core.errors import WorldError
from unbraid.worlds.draw import Scene
from unbraid.worlds.layout import Level

__all__ = ["Stage"]

_FIELD_OF_VIEW_DEG = 30.0


class Stage:
    """A model that is looked at and never stepped, lit and seen from above."""

    def __init__(self, rules: Level, *, width: int, height: int) -> None:
        """Makes the model and a GL context.

        Raises:
            WorldError: GL does not work here.
        """
        self._model = mujoco.MjModel.from_xml_string(_stage_xml(rules, width, height))
        self._model.geom_sameframe[:] = 0  # geoms turn although they were compiled unturned
        self._data = mujoco.MjData(self._model)
        try:
            self._renderer = mujoco.Renderer(self._model, height=height, width=width)
        except Exception as error:  # every GL backend fails in its own way
            raise WorldError(
                f"MuJoCo's renderer must have a working GL; it said: {error!s:.120}. "
                "Set MUJOCO_GL to egl or osmesa, or leave renderer='top_down', which needs none."
            ) from error

    def draw(self, scene: Scene, view_half_side_m: float) -> UInt8[np.ndarray, "height width 3"]:
        """The scene as MuJoCo renders it, (height, width, 3) of uint8."""
        model = self._model
        heading = scene.robot_heading_rad
        nose = scene.robot_xy + 0.1 * np.array([math.cos(heading), math.sin(heading)])
        places = [scene.robot_xy[None], nose[None], scene.goal_xy[None], scene.hazards_xy, scene.vases_xy]
        model.geom_pos[1:, :2] = np.concatenate(places)
        model.geom_quat[2] = _turned(np.array([heading]))[0]
        first_vase = model.ngeom - len(scene.vases_xy)
        model.geom_quat[first_vase:] = _turned(scene.vases_heading_rad)
        model.cam_pos[0, 2] = view_half_side_m / math.tan(math.radians(_FIELD_OF_VIEW_DEG / 2.0))
        mujoco.mj_forward(model, self._data)
        self._renderer.update_scene(self._data, camera="above")
        return self._renderer.render()

    def close(self) -> None:
        """Releases the GL context."""
        self._renderer.close()


def _turned(heading_rad: Float[np.ndarray, " thing"]) -> Float[np.ndarray, "thing 4"]:
    """Quaternions of turns about the vertical."""
    half = 0.5 * heading_rad
    zero = np.zeros_like(half)
    return np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)


def _stage_xml(rules: Level, width: int, height: int) -> str:
    hazard = '<geom type="cylinder" size="0.2 0.01" pos="0 0 0.02" rgba="0.84 0.27 0.25 0.7"/>' * rules.n_hazards
    vase = '<geom type="box" size="0.1 0.1 0.1" pos="0 0 0.1" rgba="0.15 0.65 0.6 1"/>' * rules.n_vases
    return f"""
<mujoco model="point_goal_stage">
  <visual><global offwidth="{width}" offheight="{height}" fovy="{_FIELD_OF_VIEW_DEG}"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0.2 0.2 0.2" specular="0 0 0"/></visual>
  <worldbody>
    <light pos="0 0 9" dir="0 0 -1" directional="true" castshadow="false" diffuse="0.35 0.35 0.35" specular="0 0 0"/>
    <camera name="above" pos="0 0 9" xyaxes="1 0 0 0 1 0" fovy="{_FIELD_OF_VIEW_DEG}"/>
    <geom type="plane" size="20 20 0.1" rgba="0.95 0.95 0.93 1"/>
    <geom type="sphere" size="0.1" pos="0 0 0.1" rgba="0.12 0.4 0.78 1"/>
    <geom type="box" size="0.05 0.05 0.05" pos="0 0 0.1" rgba="0.05 0.2 0.43 1"/>
    <geom type="cylinder" size="0.3 0.01" pos="0 0 0.01" rgba="0.26 0.63 0.28 0.7"/>
    {hazard}{vase}
  </worldbody>
</mujoco>"""
