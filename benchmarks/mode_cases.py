"""The cases of the benchmark of modes: whose demonstrations, which rows, at which lengths; and what is to be reached.

A case with data that were recorded elsewhere needs the folder of those data; without it the case is left out.
"""

import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import changing
import piles
import varying
from piles import FOUR, PILES, Pile, point_goal
from unbraid.demos.episodes import Demos

IN_ORDER_LEVELS = ("1", "5", "25", "100", "episode")
LEVELS: dict[str, int | None] = {level: int(level) for level in ("1", "5", "10", "25", "50", "100")} | {"episode": None}
METRICS = ("goals", "return", "cost", "distance", "displacement")
POINT_GOAL = "unbraid/PointGoal1-v0"
DATA = Path(os.environ.get("UNBRAID_DATA", piles.SHARED))


@dataclass(frozen=True)
class Sizes:
    """How much of everything; None is as much as there is, or each method's own default. `QUICK` shows that it runs."""

    most_training: int | None = None
    most_held_out: int | None = None
    n_steps: int = 1000
    n_fit_steps: int | None = None
    n_search_steps: int | None = None
    n_rollouts: int = 200


QUICK = Sizes(most_training=6, most_held_out=4, n_steps=200, n_fit_steps=40, n_search_steps=40, n_rollouts=4)

# The rows of the tables

SWITCHED_OFF: dict[str, dict[str, Any]] = {
    "evidence_actions": {"evidence": "actions"},
    "evidence_transitions": {"evidence": "transitions"},
    "starts_random": {"starts": "random"},
    "codes_free": {"codes": "free"},
    "context_input": {"policy_context": "input", "policy_layer_norm": "off", "policy_l1": 0.0},
    "policy_plain": {"policy_layer_norm": "off", "policy_l1": 0.0},
    "sharing_window": {"sharing": "window"},
    "components_off": {"observation_components": 512},
}
AS_PUBLISHED: dict[str, Any] = {
    "pairing": "published",
    "scaling": "published",
    "steering": "published",
    "codebook": "published",
}
TALK: dict[str, dict[str, Any]] = {
    "talk_1_published": {"delta_steps": 1, **AS_PUBLISHED},
    "talk_1": {"delta_steps": 1},
    "talk_5": {"delta_steps": 5},
}
IN_ORDER = {"window_mlp": "a perceptron", "convolution": "a convolution", "lstm": "an LSTM", "attention": "attention"}
"""The kinds of encoders that read a window's steps in their order, in words."""
ENCODERS: dict[str, dict[str, Any]] = {f"encoder_{kind}": {"encoder": kind} for kind in IN_ORDER}
TALK_ENCODERS: dict[str, dict[str, Any]] = {
    f"talk_1_{kind}": {"delta_steps": 1, "encoder": kind, "batch_size": 100} for kind in ("mean", *IN_ORDER)
}
"""The talk's method, repaired, that encodes windows of 25 transitions in place of one; a batch of 100 has five times as
many transitions as the talk's own."""
BASELINES = ("kmeans", "kmeans_transitions", "linear_policies", "categorical_vae", *TALK, *TALK_ENCODERS)
COMMON = ("kmeans", "kmeans_transitions", "linear_policies")
"""The baselines of every case; the others, which are slow or fare no better, are those of some."""
SCORED = ("unbraid", "supervised", *BASELINES, *SWITCHED_OFF, *ENCODERS)
CHECKS = ("too_few", "too_many", "rarest", "auto")
ROWS = ("unbraid", "closed_loop", "online", *CHECKS, "over_time", "style", "encoders", *SCORED[1:])
LINES = (  # of the tables: row, evidence, title
    ("unbraid", "combined", "unbraid"),
    ("unbraid", "encoder", "unbraid, encoder alone"),
    ("unbraid", "policy", "unbraid, by the policy's likelihood alone"),
    ("supervised", "combined", "the same, told the labels (upper bound)"),
    ("supervised", "encoder", "the same, told the labels, encoder alone"),
    ("kmeans", "statistics", "k-means on window statistics"),
    ("kmeans_transitions", "transitions", "k-means on transitions"),
    ("linear_policies", "actions", "a mixture of linear policies"),
    ("categorical_vae", "encoder", "a VAE with a categorical latent"),
    ("talk_1_published", "encoder", "the talk's method as published, time step 1"),
    ("talk_1", "encoder", "the talk's method, repaired, time step 1"),
    ("talk_5", "encoder", "the talk's method, repaired, time step 5"),
    ("talk_1_mean", "encoder", "the talk's, repaired, on windows of 25 transitions, their mean"),
    *((f"talk_1_{kind}", "encoder", f"the same, read in order by {what}") for kind, what in IN_ORDER.items()),
    ("evidence_actions", "combined", "unbraid on the evidence of actions alone"),
    ("evidence_transitions", "combined", "unbraid on the evidence of transitions alone"),
    ("starts_random", "combined", "unbraid from random starts alone"),
    ("codes_free", "combined", "unbraid with codes anywhere"),
    ("context_input", "combined", "unbraid with the context as an input"),
    ("policy_plain", "combined", "unbraid with plain layers of the policy"),
    ("sharing_window", "combined", "unbraid with an expert for every ten steps"),
    ("components_off", "combined", "unbraid on all columns"),
    *(
        (f"encoder_{kind}", evidence, f"unbraid, windows read in order by {what}{alone}")
        for kind, what in IN_ORDER.items()
        for evidence, alone in (("combined", ""), ("encoder", ", encoder alone"))
    ),
)

# The cases


@dataclass(frozen=True)
class Case:
    """One pile of demonstrations, and what is done with it.

    Attributes:
        name, title: for files, and for people.
        n_modes: K, the number of experts.
        levels: the lengths of windows that are read, keys of `LEVELS`.
        headline: the level that stands for the case in a short table.
        rows: of `ROWS`, what is computed.
        make: (seed, sizes) -> training and held-out demonstrations.
        env_id, noise: where modes and experts act, and the experts' noise; for the row `closed_loop`.
        data: the folder that the case needs, of those in `DATA`; None where it needs none.
        world: the module beside this one that makes the demonstrations; None for PointGoal's, and for recordings.
        n_more_seeds: training seeds beside those of the other cases.
    """

    name: str
    title: str
    n_modes: int
    levels: tuple[str, ...]
    headline: str
    rows: tuple[str, ...]
    make: Callable[[int, Sizes], Pile]
    env_id: str = POINT_GOAL
    noise: float = 0.15
    data: str | None = None
    world: str | None = None
    n_more_seeds: int = 0

    @property
    def is_there(self) -> bool:
        """Whether the data that it needs are."""
        return self.data is None or (DATA / self.data).is_dir()

    @property
    def has_table(self) -> bool:
        """Whether it is compared with other methods, and not only a point of a curve or a check."""
        return set(COMMON) <= set(self.rows)


@functools.lru_cache(maxsize=1)
def pile_of(case: Case, sizes: Sizes, seed: int) -> Pile:
    """Training demonstrations and held-out ones; kept, since all rows of a case and seed share them."""
    return case.make(seed, sizes)


def simulated(pile: Callable[[int], Pile], seed: int, sizes: Sizes, **how: Any) -> Pile:
    """A pile of PointGoal's, which is made as small as is asked; `how` changes what `point_goal` is asked."""
    assert isinstance(pile, functools.partial)
    assert pile.func is point_goal
    experts, n_training = pile.args
    how = {"n_held_out": 24, **pile.keywords, **how}
    how["n_held_out"] = min(how["n_held_out"], sizes.most_held_out or how["n_held_out"])
    if isinstance(n_training, int):
        n_training = min(n_training, sizes.most_training or n_training)
    else:
        n_training = tuple(min(n, sizes.most_training or n) for n in n_training)
    return point_goal(experts, n_training, seed, n_steps=sizes.n_steps, **how)


def recorded(pile: Callable[..., Pile], seed: int, sizes: Sizes, *, outside: bool = False, **how: Any) -> Pile:
    """A pile of which a few episodes of each expert are taken, where few are asked."""
    training, held_out = pile(seed, **({"folder": DATA} if outside else {}), **how)
    return few(training, sizes.most_training), few(held_out, sizes.most_held_out)


def few(demos: Demos, most: int | None) -> Demos:
    """The first episodes of each expert, at most so many, in their order."""
    if most is None:
        return demos
    assert demos.labels is not None
    of_label = [np.flatnonzero(demos.labels == label)[:most] for label in range(len(demos.label_names))]
    return demos.select(np.sort(np.concatenate(of_label)))


def _cases() -> Iterable[Case]:
    compared, vae = ("unbraid", "supervised", *COMMON), "categorical_vae"
    fine, coarse = ("10", "25", "50", "100", "episode"), ("10", "25", "episode")

    def made(name: str, title: str, n_modes: int, headline: str, *rows: str, **more: Any) -> Case:
        make = functools.partial(simulated, PILES[name])
        return Case(name, title, n_modes, fine, headline, rows, make, **more)

    def read(name: str, title: str, n_modes: int, headline: str, *rows: str, **more: Any) -> Case:
        levels, pile = more.pop("levels", coarse), more.pop("pile", PILES.get(name))
        make = functools.partial(recorded, pile, outside="data" in more)
        return Case(name, title, n_modes, levels, headline, rows, make, **more)

    loop = (*compared, vae, *TALK, "closed_loop")
    yield made("two", "two experts of PointGoal1", 2, "25", *loop, "auto", "online", *TALK_ENCODERS, "encoders")
    yield made(
        "four",
        "four experts of PointGoal1",
        4,
        "25",
        *loop,
        "starts_random",
        "context_input",
        "policy_plain",
        "too_many",
        "encoders",
    )
    six = (*compared, "auto", "too_few", "online", "closed_loop")
    yield made("six", "six experts of PointGoal1, with more noise", 6, "100", *six, noise=0.2)
    yield read(
        "half_cheetah",
        "six trained policies of HalfCheetah",
        6,
        "5",
        *compared,
        "talk_1",
        "online",
        "encoders",
        levels=("1", "5", "25", "episode"),
        data="halfcheetah_experts",
    )
    pusht: dict[str, Any] = {"pile": piles.push_t, "data": "pusht"}
    yield read("push_t", "people who push a T to one of two poses, first half", 2, "episode", *compared, **pusht)
    pusht["pile"] = functools.partial(piles.push_t, part=0.25)
    yield read("push_t_quarter", "the same people, first quarter", 2, "episode", *compared, **pusht)
    yield read("reacher", "an arm with six hidden targets", 6, "episode", *compared, world="reaching")
    arm = "the same arm, the elbow on either side: six experts with two habits each"
    yield read("reacher_elbows", arm, 6, "episode", *compared, "auto", world="reaching")
    ablations = tuple(row for row in SWITCHED_OFF if row != "components_off")
    world: dict[str, Any] = {"levels": ("1", *coarse), "world": "errands"}
    rows = (*compared, vae, "talk_1", *ablations, "encoders")
    yield read("order", "four orders of the same errands", 4, "episode", *rows, **world)
    yield from _in_order()
    agents = "five agents of LunarLander, at stages of training"
    yield read("lunar_lander", agents, 5, "50", *compared, levels=("10", "50", "episode"))
    unequal = functools.partial(simulated, PILES["unbalanced"])
    title = "four experts of PointGoal1, 20, 5, 2 and 1 episodes"
    yield Case("unbalanced", title, 4, ("25", "episode"), "episode", (*compared, "rarest"), unequal)
    yield Case(
        "transfer",
        "four experts, fitted in PointGoal1 and read in PointGoal2",
        4,
        ("25", "50", "episode"),
        "episode",
        (*compared, "closed_loop"),
        functools.partial(simulated, PILES["four_short"], held_out_level=2),
        env_id="unbraid/PointGoal2-v0",
    )
    untuned = (*compared, "auto")
    yield made(
        "others", "four other experts of PointGoal1, one of them with a memory (not tuned on)", 4, "25", *untuned
    )
    world["world"] = "pushing"
    yield read(
        "pushing", "two discs pushed to two places, in four ways (not tuned on)", 4, "episode", *untuned, **world
    )
    agents = "five agents of Hopper, at stages of training (not tuned on)"
    yield read("hopper", agents, 5, "50", *untuned, levels=("10", "50", "episode"))
    title = "four experts of PointGoal1 seen through 512 columns, as an embedding of pictures"
    yield read("embedded", title, 4, "50", *compared, "components_off", levels=("10", "50", "episode"))
    yield from _changing()
    title = "three experts of PointGoal1, each episode at a speed of its own"
    yield Case("own_speeds", title, 3, (), "", ("style",), at_own_speeds, world="varying")
    short = functools.partial(simulated, PILES["four_short"])
    yield Case("four_short", "four experts, 100,000 steps", 4, ("25", "episode"), "episode", ("unbraid", "auto"), short)
    yield Case("one", "one expert of PointGoal1", 1, (), "", ("auto",), functools.partial(simulated, PILES["one"]))
    for n in (2, 5, 10, 24):
        pile = functools.partial(point_goal, FOUR, n)
        rows = ("unbraid", "supervised")
        make = functools.partial(simulated, pile)
        yield Case(CURVE[n], f"four experts, {n} episodes of each", 4, ("25", "episode"), "episode", rows, make)


def _in_order() -> Iterable[Case]:
    """Those whose experts differ in the order of what they do."""
    rows: tuple[str, ...] = ("unbraid", "supervised", *COMMON, "talk_1", *TALK_ENCODERS, "encoders")
    title = "forward against three steps forward and three of turning"
    make: Callable[[int, Sizes], Pile] = functools.partial(simulated, PILES["forward_turning"])
    yield Case("forward_turning", title, 2, IN_ORDER_LEVELS, "25", (*rows, "auto"), make)
    title = "ten places on a circle, each next one or each third"
    make = functools.partial(recorded, PILES["rounds"])
    yield Case("rounds", title, 2, IN_ORDER_LEVELS, "25", (*rows, *ENCODERS), make, world="rounds")


def _changing() -> Iterable[Case]:
    """Those whose experts change within an episode; a step has an expert, and an episode none."""
    told: dict[str, Any] = {"levels": (), "headline": "", "rows": ("over_time",), "world": "changing"}
    make = functools.partial(taking_over, only_second="forward")
    title = "one of four experts takes over from another, forward only second"
    yield Case("forward_second", title, 4, make=make, n_more_seeds=2, **told)
    title = "one of four experts takes over from another, in any order"
    yield Case("any_order", title, 4, make=taking_over, n_more_seeds=2, **told)
    title = "two of six policies of HalfCheetah, one spliced to the other"
    yield Case("half_cheetah_spliced", title, 6, make=spliced_cheetahs, data="halfcheetah_experts", **told)


def taking_over(seed: int, sizes: Sizes, *, only_second: str | None = None) -> Pile:
    """Experts of PointGoal that take over from one another; half as many episodes held out."""
    n_training, n_steps = 8 if only_second is None else 10, min(sizes.n_steps, 500)
    how: dict[str, Any] = {"only_second": only_second, "n_steps": n_steps}
    few_of_each = 1 if sizes.most_training is not None else None
    training = changing.changing(FOUR, few_of_each or n_training, 41_000 + seed, **how)
    return training, changing.changing(FOUR, few_of_each or n_training // 2, 42_000 + seed, **how)


def at_own_speeds(seed: int, sizes: Sizes) -> Pile:
    """Three experts of PointGoal whose speed is drawn for every episode."""
    n_training, n_held_out = min(25, sizes.most_training or 25), min(24, sizes.most_held_out or 24)
    training = varying.varying(DRIVERS, n_training, 51_000 + seed, n_steps=sizes.n_steps)
    return training, varying.varying(DRIVERS, n_held_out, 52_000 + seed, n_steps=sizes.n_steps)


def spliced_cheetahs(seed: int, sizes: Sizes) -> Pile:
    """HalfCheetah's recorded policies, the beginning of one episode before the end of another."""
    training, held_out = piles.half_cheetah(seed, DATA)
    few_of_each = few(training, sizes.most_training), few(held_out, sizes.most_held_out)
    return changing.spliced(few_of_each[0], seed), changing.spliced(few_of_each[1], seed + 100)


DRIVERS = ("goal_seeking", "forward", "circling")
CURVE = {2: "curve_2", 5: "curve_5", 10: "curve_10", 24: "curve_24", 50: "four"}
"""Training episodes of each expert -> the case with so many."""
CASES = {case.name: case for case in _cases()}

# What is to be reached


@dataclass(frozen=True)
class Target:
    """The mean over seeds of unbraid's NMI reaches it, the worst seed at most a little less.

    Attributes:
        case, level, evidence: which NMI.
        least: what it must be.
        of: a row, where the share of that row's NMI is meant, seed by seed.
    """

    case: str
    level: str
    least: float
    evidence: str = "combined"
    of: str | None = None

    @property
    def what(self) -> str:
        """In words."""
        read = "whole episodes" if self.level == "episode" else f"{self.level}-step windows"
        by = {"encoder": ", encoder alone", "policy": ", by likelihood", "combined": ""}[self.evidence]
        beside = "NMI" if self.of is None else f"NMI over that of {BESIDE[self.of]}"
        return f"{beside}, {read}{by}, >= {self.least}"


BESIDE = {"supervised": "the supervised bound", "kmeans": "k-means"}
TARGETS = (
    Target("two", "10", 0.98),
    Target("two", "25", 0.93, "encoder"),
    Target("two", "episode", 1.0),
    Target("four", "25", 0.97),
    Target("four", "50", 0.97, "encoder"),
    Target("four", "episode", 1.0),
    Target("six", "100", 0.94),
    Target("six", "100", 0.97, "encoder", of="supervised"),
    Target("six", "episode", 0.98, "policy"),
    Target("half_cheetah", "5", 0.9),
    Target("half_cheetah", "25", 0.98),
    *(Target("half_cheetah", level, 1.0, of="kmeans") for level in ("1", "5", "25")),
    Target("push_t", "episode", 0.45),
    Target("reacher", "episode", 0.95),
    Target("order", "episode", 0.9),
    Target("forward_turning", "25", 0.95),
    Target("lunar_lander", "50", 0.9, of="supervised"),
    Target("transfer", "episode", 0.95),
)
RISING = {"forward_turning": ("1", "5", "25")}
"""Case -> lengths of windows, from each to the next of which unbraid's NMI must not fall, with every seed."""
OVER_TIME = {"forward_second": (0.95, None), "any_order": (0.87, None), "half_cheetah_spliced": (0.95, "supervised")}
"""Case -> the least NMI of single steps, of the worst seed; or as a share of the supervised bound's, of the mean."""
MOST_ERROR_STEPS, MOST_SPURIOUS = 2.0, 0.1
MOST_MICROSECONDS, MOST_DIFFERENCE = 100.0, 1e-5
SWITCH_RATE, FEWEST_OBSERVED = 0.002, 3000
"""The rate of switching of a robot that is observed, and over how many steps."""
CALIBRATED_STEPS, MOST_CALIBRATION_ERROR = (10, 50), 0.03
SLACK = 0.02
"""By how much the worst seed may miss what the mean must reach."""
LEAST_EXPLAINED, MOST_NMI_APART = 0.8, 0.01
"""Of the speed's variance, what the style must explain in every mode; how far apart NMI may lie, styles on and off."""
SWEPT = tuple(round(0.1 * i, 1) for i in range(1, 10))
"""The styles at which modes act."""
TOO_FEW, TOO_MANY = 3, 8
LEAST_WHOLE, LEAST_PURITY, MOST_OTHERS = 0.95, 0.98, 0.05
FIT_SECONDS, AUTO_SECONDS = 20.0, 60.0
N_SEEDS = 3
COUNTED = ("two", "four_short", "six")  # where "auto" must find the number of experts, with every seed
