"""Encoders of every kind, fitted to the same modes: the search and the policy, which no encoder has a say in, are made
once."""

import copy
from dataclasses import replace
from typing import get_args, get_type_hints

from unbraid.demos.episodes import Demos
from unbraid.training.config import UnbraidConfig
from unbraid.training.joint import UnbraidLearner
from unbraid.training.loop import computing
from unbraid.training.model import ModeModel
from unbraid.training.order import reader_alone
from unbraid.training.steps import Steps

KINDS = tuple(kind for kind in get_args(get_type_hints(UnbraidConfig)["encoder"]) if kind != "auto")


def fitted_policy(demos: Demos, config: UnbraidConfig) -> UnbraidLearner:
    """A learner that has searched for modes, and whose policy, not its encoder, has taken all its gradient steps."""
    with computing(1):
        learner = UnbraidLearner(Steps.of(demos), config)
        while learner.taken < learner.n_steps:
            learner.policy_part()
            learner.follow()
    return learner


def fitted_encoder(learner: UnbraidLearner, kind: str) -> ModeModel:
    """A model with that learner's modes and policy, and an encoder of a kind, trained alone for as many steps."""
    with computing(1):
        reader = reader_alone(learner, kind, n_steps=learner.n_steps)
    model = copy.deepcopy(learner.model)
    model.config = replace(model.config, encoder=kind)
    model.encoder, model.codebook = reader
    return model.eval()
