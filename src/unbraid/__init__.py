"""unbraid: one policy that a person steers, learnt from a mixed pile of demonstrations.

`import unbraid` is cheap: it needs neither torch nor mujoco, registers the worlds with Gymnasium, and fetches each
public name from its module when it is first asked for (PEP 562).
"""

import importlib
from typing import Any

from gymnasium.envs.registration import register, registry

# Public name -> the module that defines it, in the order of the flow.
_PUBLIC: dict[str, str] = {
    "UnbraidError": "unbraid.core.errors",
    "Episode": "unbraid.demos.episodes",
    "Demos": "unbraid.demos.episodes",
    "load_demos": "unbraid.demos.loading",
    "demos_from_table": "unbraid.demos.formats.tables",
    "ReadOptions": "unbraid.demos.options",
    "join_demos": "unbraid.demos.joining",
    "save_demos": "unbraid.demos.store",
    "check_demos": "unbraid.demos.check",
    "RecordDemos": "unbraid.demos.record",
    "PointGoalEnv": "unbraid.worlds.point_goal",
    "PointGoalVectorEnv": "unbraid.worlds.point_goal_vector",
    "make_expert": "unbraid.worlds.experts",
    "collect": "unbraid.worlds.collect",
    "rollout": "unbraid.worlds.rollout",
    "UnbraidConfig": "unbraid.training.config",
    "TalkConfig": "unbraid.training.config",
    "LoopOptions": "unbraid.training.loop",
    "fit": "unbraid.training.fit",
    "ModeModel": "unbraid.training.model",
    "steer": "unbraid.steering.steered",
    "SteeredPolicy": "unbraid.steering.steered",
    "in_turn": "unbraid.steering.schedules",
    "by_episode": "unbraid.steering.schedules",
    "export_onnx": "unbraid.steering.export",
    "export_program": "unbraid.steering.export",
    "evaluate": "unbraid.evaluation.evaluate",
    "Evaluation": "unbraid.evaluation.evaluate",
    "fresh_seeds": "unbraid.evaluation.evaluate",
    "evaluate_runs": "unbraid.evaluation.training_seeds",
    "across_seeds": "unbraid.evaluation.training_seeds",
    "compare": "unbraid.evaluation.paired",
    "obedience": "unbraid.evaluation.obedience",
    "steps_until_obeyed": "unbraid.evaluation.obedience",
    "certify": "unbraid.evaluation.certify",
    "verify": "unbraid.evaluation.verify",
    "Certificate": "unbraid.evaluation.certificates",
    "Terms": "unbraid.evaluation.certificates",
    "load_claims": "unbraid.evaluation.claims",
    "ProbabilityClaim": "unbraid.evaluation.claims",
    "MeanClaim": "unbraid.evaluation.claims",
    "EquivalenceClaim": "unbraid.evaluation.claims",
    "agreement": "unbraid.evaluation.scores",
    "stability": "unbraid.evaluation.scores",
    "write_report": "unbraid.report.page",
    "model_card": "unbraid.report.card",
}

__all__ = list(_PUBLIC)  # pyright: ignore[reportUnsupportedDunderAll]

_POINT_GOAL_LEVELS = (0, 1, 2)
_POINT_GOAL_STEPS = 1000


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


def _register_worlds() -> None:
    for level in _POINT_GOAL_LEVELS:
        world = f"unbraid/PointGoal{level}-v0"
        if world not in registry:
            register(
                id=world,
                entry_point="unbraid.worlds.point_goal:PointGoalEnv",
                vector_entry_point="unbraid.worlds.point_goal_vector:PointGoalVectorEnv",
                max_episode_steps=_POINT_GOAL_STEPS,
                kwargs={"level": level},
            )


_register_worlds()
