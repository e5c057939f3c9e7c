"""The MuJoCo model of the Point robot and its vases: one with free vases, one with parked ones."""

# MuJoCo is a compiled module without types.
# pyright: reportAttributeAccessIssue=false

import functools
from dataclasses import dataclass

import mujoco

from unbraid.core.errors import WorldError

__all__ = ["ACTUATOR_GEAR", "N_ROBOT_DOFS", "N_SENSOR_READINGS", "PointGoalModels", "point_goal_models"]

ACTUATOR_GEAR = 0.3
N_ROBOT_DOFS = 3
N_SENSOR_READINGS = 12
_STATE = int(mujoco.mjtState.mjSTATE_FULLPHYSICS.value)


@dataclass(frozen=True)
class PointGoalModels:
    """Two models of one world with one layout of the state: time, qpos, qvel.

    Attributes:
        free: everything in play.
        parked: the vases weigh nothing and nothing touches, which costs a third of the time. Robot and sensors are
            the same to the bit as long as the robot touches no vase and the vases rest.
        n_vases: how many vases.
        n_positions: width of qpos: 3 of the robot, 7 per vase.
        n_velocities: width of qvel: 3 of the robot, 6 per vase.
        n_sensors: 12, and the number of the robot's contacts where there are vases.
    """

    free: mujoco.MjModel
    parked: mujoco.MjModel
    n_vases: int
    n_positions: int
    n_velocities: int
    n_sensors: int

    @property
    def n_state(self) -> int:
        """Width of a state: time, qpos, qvel."""
        return 1 + self.n_positions + self.n_velocities


@functools.cache
def point_goal_models(n_vases: int) -> PointGoalModels:
    """The models of a world with so many vases; built once, and never changed.

    Raises:
        WorldError: this MuJoCo's state holds more than time, positions and velocities.
    """
    free = mujoco.MjModel.from_xml_string(_model_xml(n_vases, parked=False))
    parked = mujoco.MjModel.from_xml_string(_model_xml(n_vases, parked=True))
    models = PointGoalModels(
        free=free,
        parked=parked,
        n_vases=n_vases,
        n_positions=N_ROBOT_DOFS + 7 * n_vases,
        n_velocities=N_ROBOT_DOFS + 6 * n_vases,
        n_sensors=N_SENSOR_READINGS + (1 if n_vases else 0),
    )
    for model in (free, parked):
        sizes = (model.nq, model.nv, model.nsensordata, mujoco.mj_stateSize(model, _STATE))
        if sizes != (models.n_positions, models.n_velocities, models.n_sensors, models.n_state):
            raise WorldError(
                f"The state must be time, {models.n_positions} positions and {models.n_velocities} velocities; "
                f"MuJoCo {mujoco.__version__} has sizes {sizes}. Install mujoco 4.0."
            )
    return models


def _model_xml(n_vases: int, *, parked: bool) -> str:
    """The world in MuJoCo's XML.

    Robot and vases touch (contype 2 against conaffinity 3), vases touch the floor and each other; the robot's sphere
    stands exactly on the floor, where no force acts, so that leaving out this contact changes nothing. Where the vases
    are parked no contact is left, and MuJoCo need not look for any.

    Source: openai/safety-gym xmls/point.xml; PKU-Alignment/safety-gymnasium point.xml and goal_level0 to 2, for sizes,
    masses, friction, damping, gears and limits.
    """
    vases = "".join(
        f'<body name="vase{i}" pos="{i} 9 0.1" gravcomp="{int(parked)}"><freejoint/>'
        f'<geom type="box" size="0.1 0.1 0.1" density="0.001" contype="1" conaffinity="3"/></body>'
        for i in range(n_vases)
    )
    contact_sensor = '<contact body1="robot" data="found"/>' if n_vases else ""
    flags = '<flag contact="disable" constraint="disable"/>' if parked else ""
    limits = 'ctrllimited="true" ctrlrange="-1 1" forcelimited="true" forcerange="-0.05 0.05"'
    return f"""
<mujoco model="point_goal">
  <option timestep="0.002">{flags}</option>
  <default><geom condim="6" density="1"/></default>
  <worldbody>
    <geom type="plane" size="5 5 0.1" contype="1" conaffinity="1"/>
    <body name="robot" pos="0 0 0.1">
      <joint type="slide" axis="1 0 0" damping="0.01"/>
      <joint type="slide" axis="0 1 0" damping="0.01"/>
      <joint type="hinge" axis="0 0 1" damping="0.005" name="heading"/>
      <geom type="sphere" size="0.1" friction="1 0.01 0.01" contype="2" conaffinity="0"/>
      <geom type="box" size="0.05 0.05 0.05" pos="0.1 0 0" contype="2" conaffinity="0"/>
      <site name="robot"/>
    </body>
    {vases}
  </worldbody>
  <actuator>
    <motor site="robot" gear="{ACTUATOR_GEAR} 0 0 0 0 0" {limits}/>
    <velocity jointinparent="heading" gear="{ACTUATOR_GEAR}" {limits}/>
  </actuator>
  <sensor>
    <accelerometer site="robot"/><velocimeter site="robot"/><gyro site="robot"/><magnetometer site="robot"/>
    {contact_sensor}
  </sensor>
</mujoco>"""
