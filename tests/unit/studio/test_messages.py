"""Messages are taken as they are, or refused in words."""

import pytest

from unbraid.core.errors import ConfigError
from unbraid.studio.messages import Pause, Play, Reset, Sample, Start, Steer, Step, read_message


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ('{"do": "start", "env": "A-v0", "agents": 2, "seed": 3}', Start(do="start", env="A-v0", agents=2, seed=3)),
        ('{"do": "play", "steps_per_picture": 4}', Play(do="play", steps_per_picture=4)),
        ('{"do": "pause"}', Pause(do="pause")),
        ('{"do": "step"}', Step(do="step")),
        ('{"do": "reset", "seed": 0}', Reset(do="reset", seed=0)),
        ('{"do": "steer", "sliders": [1, -0.5]}', Steer(do="steer", sliders=[1.0, -0.5])),
        ('{"do": "sample", "sampled": false}', Sample(do="sample", sampled=False)),
    ],
)
def test_every_message_is_read(text, due):
    assert read_message(text) == due


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '{"do": "fly"}',
        '{"do": "step", "more": 1}',
        '{"do": "reset"}',
        '{"do": "reset", "seed": -1}',
        '{"do": "reset", "seed": 2147483648}',
        '{"do": "reset", "seed": "1"}',
        '{"do": "reset", "seed": 1.5}',
        '{"do": "steer", "sliders": [NaN]}',
        '{"do": "steer", "sliders": [1e999]}',
        '{"do": "steer", "sliders": []}',
        '{"do": "steer", "sliders": [3.01]}',
        '{"do": "steer", "sliders": [1], "style": 2}',
        '{"do": "play", "steps_per_picture": 9}',
        '{"do": "start", "env": "' + "x" * 201 + '"}',
        "[" * 5000,
    ],
)
def test_everything_else_is_refused(text):
    with pytest.raises(ConfigError, match="A message must be one that the studio knows"):
        read_message(text)


def test_what_was_given_is_not_said_back():
    with pytest.raises(ConfigError) as error:
        read_message('{"do": "reset", "seed": "<script>"}')
    assert "<script>" not in str(error.value)
