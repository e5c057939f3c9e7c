"""Pictures: everything is where it stands, in its colour, without GL."""

import subprocess
import sys

import numpy as np
import pytest

from unbraid.core.errors import WorldError
from unbraid.worlds.draw import Scene, draw_top_down, view_half_side_m
from unbraid.worlds.layout import LEVELS
from unbraid.worlds.painter import Painter


def a_scene(robot_xy=(0.0, 0.0), heading=0.0):
    return Scene(
        rules=LEVELS[1],
        robot_xy=np.array(robot_xy, dtype=np.float64),
        robot_heading_rad=heading,
        goal_xy=np.array([1.0, 1.0]),
        hazards_xy=np.array([[-1.0, -1.0], [-1.0, 1.0]]),
        vases_xy=np.array([[1.0, -1.0]]),
        vases_heading_rad=np.array([0.4]),
    )


def colour_at(picture, scene, xy):
    height, width, _ = picture.shape
    pixels_per_m = min(height, width) / (2.0 * view_half_side_m(scene))
    column, row = int(width / 2 + xy[0] * pixels_per_m), int(height / 2 - xy[1] * pixels_per_m)
    return picture[row, column].astype(int)


@pytest.mark.parametrize(("width", "height"), [(300, 300), (400, 240), (64, 64)])
def test_things_are_where_they_stand(width, height):
    scene = a_scene()
    picture = draw_top_down(scene, width=width, height=height)
    assert picture.shape == (height, width, 3)
    red, green, blue = colour_at(picture, scene, (-1.0, -1.0))
    assert red > green + 60
    assert red > blue + 60
    red, green, blue = colour_at(picture, scene, (1.0, 1.0))
    assert green > red + 40
    assert green > blue + 40
    red, green, blue = colour_at(picture, scene, (0.0, 0.0))
    assert blue > red + 60
    red, green, blue = colour_at(picture, scene, (1.0, -1.0))
    assert min(green, blue) > red + 60


def test_the_nose_shows_the_heading():
    ahead = a_scene(heading=np.pi / 2)
    nose = colour_at(draw_top_down(ahead), ahead, (0.0, 0.12))
    assert nose.sum() < 220
    assert colour_at(draw_top_down(ahead), ahead, (0.12, 0.0)).sum() > 700


def test_the_view_widens_when_the_robot_leaves():
    scene = a_scene(robot_xy=(5.0, 0.0))
    red, _, blue = colour_at(draw_top_down(scene), scene, (5.0, 0.0))
    assert blue > red + 60


def test_a_painter_refuses_what_it_cannot_paint():
    with pytest.raises(WorldError, match=r"renderer must be .*; got 'crayons'\. Choose"):
        Painter(LEVELS[1], renderer="crayons")
    with pytest.raises(WorldError, match=r"at least 16 x 16 pixels; got 8 x 99\. Ask"):
        Painter(LEVELS[1], width=8, height=99)


def test_mujocos_renderer_paints_or_says_that_gl_does_not_work():
    painter = Painter(LEVELS[1], renderer="mujoco", width=64, height=48)
    scene = a_scene()
    scene = Scene(**{**vars(scene), "hazards_xy": np.tile([[-1.0, 0.5]], (8, 1))})
    if gl_works():
        picture = painter.paint(scene)
        assert picture.shape == (48, 64, 3)
        assert picture.std() > 1.0
    else:
        with pytest.raises(WorldError, match=r"must have a working GL; .*leave renderer='top_down'"):
            painter.paint(scene)
    painter.close()


def gl_works():
    """In a process of its own, since a failing GL may warn, raise or abort."""
    script = "import mujoco; mujoco.Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 8, 8).close()"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False).returncode == 0
