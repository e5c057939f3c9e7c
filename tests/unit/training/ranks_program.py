"""What `test_ranks.py` has torchrun run in two processes, `ranks_program.py FOLDER`: what each found is left there."""

import json
import sys
import weakref
from pathlib import Path

import torch
from conftest import make_reflexes, make_tiny

import unbraid.modes.latents
from unbraid.core.errors import UnbraidError
from unbraid.training.calibrated import CalibratedLearner
from unbraid.training.fit import fit, learner_for
from unbraid.training.loop import LoopOptions, run_loop
from unbraid.training.ranks import ONE_RANK, ranks_of_torchrun

CASES = {
    "unbraid": make_tiny("unbraid", policy_batch=65, window_batch=17),
    "calibrated": make_tiny("unbraid", calibration="left_out"),
    "style": make_tiny("unbraid", style="on", policy_batch=65),
    "free codes": make_tiny("unbraid", codes="free"),
    "lstm": make_tiny("unbraid", encoder="lstm", window_lengths=(5, 30)),
    "components": make_tiny("unbraid", observation_components=2, policy_batch=65),
    "talk": make_tiny("talk", batch_size=33),
    "ratio": make_tiny("talk", objective="ratio", batch_size=33),
    "product": make_tiny("talk", objective="product", codebook="published"),
    "windows": make_tiny("talk", objective="sum", encoder="window_mlp", window_steps=7, batch_size=33),
}


def off(one, two):
    """The largest difference between numbers, relative where they are above 1."""
    return float(((one - two).abs() / one.abs().clamp_min(1)).max())


def taught(config, ranks):
    """Losses and weights after twelve steps."""
    learner = learner_for(make_reflexes(), config, "cpu", ranks=ranks)
    losses = torch.stack([torch.stack(list(learner.step().values())) for _ in range(12)])
    if isinstance(learner, CalibratedLearner):
        learner.first.settle()
    weights = [p.detach().flatten() for module in learner.modules().values() for p in module.parameters()]
    return losses, torch.cat(weights), getattr(learner, "used", torch.zeros(1))


def mean_of_uneven_parts(ranks):
    """The mean of five numbers' squares, and its gradient, where the processes have two and three of them."""
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(module.weight, 0.5)
    rows = torch.arange(1.0, 6)[:, None]
    loss = ranks.mean(module(rows[ranks.part(5)]).square())
    loss.backward()
    (counts,) = ranks.total([module], torch.tensor([1, ranks.place.rank]))
    return [float(loss), float(module.weight.grad), counts.tolist(), str(counts.dtype)]


def refusal(ranks, what):
    """What a process says whose content differs from the first's."""
    try:
        ranks.require_same("data", what)
    except UnbraidError as error:
        return str(error)
    return None


def after_another_start(ranks):
    """How far weights are from the first's after a loop before which the second's were others."""
    learner = learner_for(make_reflexes(), make_tiny("talk"), "cpu", ranks=ranks)
    if not ranks.is_first:
        for parameter in learner.model.parameters():
            parameter.data.add_(1)
    run_loop(learner, LoopOptions(ranks=ranks))
    own = torch.cat([p.detach().flatten() for p in learner.model.parameters()])
    (total,) = ranks.total([learner.model], own)
    return off(total / 2, own)


def main():
    torch.set_num_threads(1)
    unbraid.modes.latents.WIDTH = 16
    with ranks_of_torchrun("cpu") as ranks:
        group = weakref.ref(torch.distributed.group.WORLD)
        found = {"place": [ranks.place.rank, ranks.place.size], "mean": mean_of_uneven_parts(ranks)}
        found["shared"] = [ranks.shared(b"first" if ranks.is_first else b"").decode(), ranks.shared(b"").decode()]
        found["refusal"] = refusal(ranks, "one" if ranks.is_first else "another")
        found["cases"] = {}
        for name, config in CASES.items():
            together = taught(config, ranks)
            if ranks.is_first:
                alone = taught(config, ONE_RANK)
                found["cases"][name] = [off(one.float(), two.float()) for one, two in zip(alone, together, strict=True)]
        found["after another start"] = after_another_start(ranks)
        folder = Path(sys.argv[1])
        lines = []
        model = fit(
            make_reflexes(), make_tiny("unbraid"), LoopOptions(folder / "run", ranks=ranks, on_log=lines.append)
        )
        found |= {"logged": len(lines), "search": model.search is not None}
    found["group stays"] = group() is not None
    (folder / f"{ranks.place.rank}.json").write_text(json.dumps(found))


main()
