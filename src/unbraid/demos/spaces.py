"""What to do about spaces of actions that are no vectors of continuous numbers."""

from typing import Any

from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space

__all__ = ["remedy_for_actions"]

_WRAP = (
    "wrap the environment first, in gymnasium.wrappers.TransformAction(env, function, action_space), whose function "
    "makes the environment's action of a vector of numbers"
)


def remedy_for_actions(space: Space[Any]) -> str:
    """What is not covered of a space that is no Box with one axis of floating-point numbers, and what helps: the last
    sentences of a message that has told the space."""
    if isinstance(space, Discrete | MultiDiscrete | MultiBinary):
        return (
            f"A choice among few, as {type(space).__name__} is, is not covered: choose an environment with continuous "
            f"actions; or, where a number can say what to choose, {_WRAP}."
        )
    if isinstance(space, Box) and space.dtype.kind != "f":
        return f"Whole numbers are not covered: where they stand for continuous ones, {_WRAP}."
    return f"Actions of another form must become one: {_WRAP}."
