"""What each verb may be asked: frozen, without torch. The command line's help is read off these docstrings."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unbraid.demos.options import ReadOptions
from unbraid.pipeline.places import Data, Json, More, MoreData, Reading, Run, RunOrNone, Target

__all__ = [
    "CertifyRequest",
    "CheckRequest",
    "CollectRequest",
    "ConvertRequest",
    "EvaluateRequest",
    "ExportRequest",
    "FitRequest",
    "Json",
    "ModesRequest",
    "ReportRequest",
    "SteerRequest",
    "StudioRequest",
    "SweepRequest",
    "SwitchRequest",
]


@dataclass(frozen=True)
class CollectRequest:
    """Record demonstrations of several experts, shuffled together, into a new folder.

    Example: unbraid collect runs/pile --experts goal_seeking forward --episodes 25
    """

    out: Target
    """The folder to make; must not exist yet."""
    experts: tuple[str, ...] = ("goal_seeking", "forward")
    """Who acts: names of ours (goal_seeking, forward, circling, hazard_seeking, careful_goal_seeking,
    slow_goal_seeking, hazard_avoiding, forward_turning), or module:name of your own policy (a function of
    observations, or anything with Stable-Baselines3's `predict`)."""
    env: str = "unbraid/PointGoal1-v0"
    """Any Gymnasium environment with vectors of numbers as observations and actions."""
    episodes: int = 50
    """Episodes of each expert."""
    max_steps: int | None = None
    """The most steps in an episode; the environment's own limit holds beside it."""
    action_noise: float | None = None
    """Standard deviation of the noise on our experts' actions; their default is 0.15."""
    seed: int = 0
    """Decides layouts, noise and order."""
    json: Json = False


@dataclass(frozen=True)
class CheckRequest:
    """Say what is wrong with a data set: NaN, alignment, constant or exploding columns, bounds, duplicates.

    Exits with 3 where it found an error. Example: unbraid check runs/pile
    """

    data: Data
    """A file or folder in any format that docs/formats.md lists, or an id such as minari:NAME."""
    more: More = field(default_factory=MoreData)
    json: Json = False


@dataclass(frozen=True)
class ConvertRequest:
    """Write a data set in another format; say what was recognised, and what the format has no place for.

    Example: unbraid convert demos.hdf5 runs/pile
    """

    source: Data
    """A file or folder in any format that docs/formats.md lists, or an id such as minari:NAME."""
    target: Target
    """The file or folder to make; must not exist yet."""
    to: str | None = None
    """The format to write; by default what the target's ending says, or a folder of unbraid's own."""
    reading: Reading = field(default_factory=ReadOptions)
    json: Json = False


@dataclass(frozen=True)
class FitRequest:
    """Find the modes in demonstrations, and learn one policy that can be steered between them.

    Example: unbraid fit runs/pile --out runs/first --n-modes 2
    """

    data: Data
    """A file or folder in any format that docs/formats.md lists. Labels and rewards are not read."""
    out: Path
    """The run's folder; must not exist yet, unless --resume."""
    method: Literal["unbraid", "talk"] = "unbraid"
    """unbraid's own method, or the talk's (Eloundou 2021)."""
    n_modes: int | Literal["auto"] = 2
    """K, how many modes to find, at least 2; or auto: as many as the evidence on left-out episodes supports."""
    sharing: Literal["auto", "episode", "changing"] = "auto"
    """Whether an episode has one expert, or experts take over from one another within it; auto: as the evidence says.
    Only --method unbraid reads it."""
    encoder: Literal["auto", "mean", "window_mlp", "convolution", "lstm", "attention"] | None = None
    """How a window is read: without the order of its steps (mean), or in order (the others). auto, the default: the
    mean, or window_mlp where demonstrations left out are read by that alone. With --method talk, by default, a single
    transition."""
    style: Literal["off", "on"] = "off"
    """Beside the mode, a number for what varies between demonstrations of one mode, such as their speed; then
    `steer --style` sets it. Only --method unbraid reads it."""
    delta_steps: int = 1
    """The talk's time step: a transition is s[t + delta_steps] - s[t]. Only --method talk reads it."""
    n_steps: int | None = None
    """Gradient steps; by default the method's own number."""
    refine_steps: int | Literal["auto"] = "auto"
    """Gradient steps that the policy takes alone after the fit; auto: four times as many where errors on
    demonstrations left out say that it pays, else none, and none for up to 20,000 recorded steps. More of them imitate
    demanding experts better. Only --method unbraid reads it."""
    policy_hidden: tuple[int, ...] | None = None
    """Widths of the policy's layers, such as 256 256 256; by default the method's own. Wider ones imitate demanding
    experts better, and take longer."""
    policy_head: Literal["auto", "gaussian", "mixture", "tanh"] = "auto"
    """An action's density: a Gaussian; a mixture of five, for heaps and heavy tails, as people's; tanh-Gaussian; auto:
    of the first two, by demonstrations left out (below 500 steps a Gaussian). Only --method unbraid reads it."""
    policy_loss: Literal["auto", "likelihood", "beta", "huber"] = "auto"
    """What a Gaussian learns by: the likelihood, which reads unseen episodes better; beta or huber, which imitate
    better; auto: the likelihood for up to 20,000 recorded steps, else beta. Only --method unbraid reads it."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the policy's matrix products while it learns. bfloat16 is faster for layers of 256 and more, on processors
    with AVX-512 BF16 or AMX and on GPUs, and much slower on others. Only --method unbraid reads it."""
    observation_components: int | Literal["auto"] = "auto"
    """How many principal components are seen in place of an observation's columns; auto: 48 of more than 128 columns,
    such as an embedding of a picture; else the columns. Only --method unbraid reads it."""
    held_out: float = 0.2
    """The share of episodes that training does not see, for the scores on the page; 0 keeps none."""
    seed: int = 0
    """The one seed of the fit."""
    device: str = "auto"
    """Where to fit: auto (CUDA where there is one), cpu, cuda, cuda:1, ..."""
    checkpoint_every: int = 500
    """Gradient steps between two checkpoints."""
    resume: bool = False
    """Go on from the newest checkpoint of the run; repeat the first call's settings."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs the extra `tensorboard`)."""
    more: More = field(default_factory=MoreData)
    json: Json = False


@dataclass(frozen=True)
class SweepRequest:
    """Fit every combination of some settings, several at once, and compare them over seeds.

    Each fit is a run in OUT/trials. One that fails stops no other (exit code 3); one whose worker is lost is done
    again. results.csv, .json and .png say how well each combination reads and imitates held-out episodes.

    Example: unbraid sweep runs/pile --out runs/sweep --grid n_modes=2,3 seed=0,1,2
    """

    data: Data
    """The demonstrations, as `unbraid fit` takes them."""
    out: Path
    """The sweep's folder; must not exist yet, unless --resume."""
    grid: tuple[str, ...] = ()
    """Settings with their values: n_modes=2,3,auto learning_rate=4e-3,1e-3 policy_hidden=64x64,128x128 seed=0,1,2.
    Any setting of UnbraidConfig, or of TalkConfig with --method talk; the others stay at their defaults."""
    method: Literal["unbraid", "talk"] = "unbraid"
    """unbraid's own method, or the talk's (Eloundou 2021)."""
    held_out: float = 0.2
    """The share of episodes that training does not see, for the scores; 0 keeps none."""
    workers: int | None = None
    """How many fits run at once; by default one for each core, or each CPU of the cluster."""
    retries: int = 2
    """How often a fit whose worker was lost is begun again, from its newest checkpoint."""
    resume: bool = False
    """Go on with a sweep that was stopped, or add values to its grid, which is named as a whole; fits that are done
    are not run again."""
    ray: bool = False
    """Run on Ray, on this machine (needs the extra `ray`)."""
    ray_address: str | None = None
    """Run on this Ray cluster, whose machines share the folders; "auto" is the one that this machine is in."""
    gpus_per_trial: float = 0.0
    """With Ray: the GPUs that each fit holds; .25 has four share one."""
    device: str = "auto"
    """Where to fit: auto (CUDA where there is one, GPUs in turn), cpu, cuda, ..."""
    checkpoint_every: int = 500
    """Gradient steps between two checkpoints."""
    more: More = field(default_factory=MoreData)
    json: Json = False


@dataclass(frozen=True)
class ModesRequest:
    """Say which mode every episode (or window) of a data set is in, and how probable each mode is.

    Example: unbraid modes runs/first runs/pile
    """

    run: Run
    """A run's folder."""
    data: Data
    """The data set to read."""
    window_steps: int | None = None
    """Steps in a window; by default whole episodes."""
    min_probability: float = 0.0
    """Below it a window gets no mode, but -1: not sure."""
    beside: tuple[Path, ...] = ()
    """Runs of other seeds, to see whether they read the same modes (mean adjusted Rand index over pairs)."""
    more: More = field(default_factory=MoreData)
    json: Json = False


@dataclass(frozen=True)
class SteerRequest:
    """Run the policy towards a mode, away from others or between some, and measure what it does.

    Example: unbraid steer runs/first --toward 1 --away 0 --episodes 20 --picture mode1.png
    """

    run: Run
    """A run's folder."""
    toward: int | None = None
    """The mode that is wanted: its not-hot context, 0 there and 1 elsewhere."""
    strength: float | None = None
    """How far towards it: 0 is the blend (or the average of all modes), 1 (the default) the mode, more exaggerates."""
    away: tuple[str, ...] = ()
    """Modes that are avoided, each alone or with a strength: 0, or 0=2. What they are taken away from is what else is
    asked for, or the average of all modes."""
    blend: str | None = None
    """Between modes, in proportions that sum to 1: 1=.7,3=.3."""
    context: tuple[str, ...] | None = None
    """A context of your own instead, one number per mode: 0.2 0.8, or 0.2,0.8."""
    style: float | None = None
    """How the mode is done, from 0 to 1, for a model that was fitted with --style on: 0.5 is its typical demonstration,
    0.8 exceeds four fifths of them."""
    in_turn: tuple[str, ...] = ()
    """Instead, what changes within an episode, STEP: WORDS for each turn: '0: toward 0' '200: toward 1 away 2=1.5'.
    WORDS are flags without dashes: toward K, strength S, away K or K=W, blend K=W,K=W, context X,Y and style S."""
    by_episode: tuple[str, ...] = ()
    """Instead, one of several for each whole episode, SHARE: WORDS, which sum to 1: '.7: toward 0' '.3: away 1'."""
    env: str | None = None
    """The environment; by default the one that the demonstrations came from."""
    episodes: int = 20
    """Rollouts, each on a seed of its own."""
    max_steps: int | None = None
    """The most steps in a rollout."""
    save: Path | None = None
    """Keep the rollouts as a data set in this new folder."""
    picture: Path | None = None
    """Draw the first rollout from above into this new PNG."""
    video: Path | None = None
    """Film the first rollout into this new MP4 (needs pip install 'unbraid[video]')."""
    seed: int = 0
    """Decides the rollouts' seeds."""
    json: Json = False


@dataclass(frozen=True)
class EvaluateRequest:
    """Measure every mode, beside experts on the same seeds, and add the table to the run's page.

    Every episode goes into the run's evaluation.csv and evaluation.json, with its seed and all metrics; the seeds are
    never those of the demonstrations. What an earlier call measured is replaced, there and on the page: copy the two
    files first, to keep it.

    Example: unbraid evaluate runs/first --experts goal_seeking forward --episodes 100
    """

    run: Run
    """A run's folder."""
    env: str | None = None
    """The environment; by default the one that the demonstrations came from."""
    experts: tuple[str, ...] = ()
    """Who to compare with: names of ours, or module:name."""
    beside: tuple[Path, ...] = ()
    """Runs of other training seeds, to say how every expert's mode does whatever the seed: their number is n."""
    episodes: int = 100
    """Rollouts of each, on the same seeds."""
    max_steps: int | None = None
    """The most steps in a rollout."""
    seed: int = 0
    """Decides the rollouts' seeds."""
    json: Json = False


@dataclass(frozen=True)
class CertifyRequest:
    """Decide claims about the modes by rollouts, and write a certificate; or verify one.

    Claims are a JSON list, as [{"kind": "probability", "mode": 1, "metric": "cost", "above": 25, "at_most": 0.1}].
    Every answer is "holds", "refuted" or "not decided after n episodes"; some answer is wrong with a probability of at
    most alpha. Exits with 3 where a claim does not hold or is not decided, or a certificate is not true.
    docs/guarantees.md says more.

    Example: unbraid certify runs/first --claims claims.json --max-episodes 500
    """

    run: RunOrNone = None
    """A run's folder. With --verify it may be left out; if it is given, it must be the run that was certified."""
    claims: Path | None = None
    """The claims, settled before any episode: a JSON list."""
    verify: Path | None = None
    """Instead: a certificate, whose answers are computed again from its outcomes."""
    replay: bool = False
    """With --verify and a run: roll out every episode again, and compare the outcomes bit for bit."""
    env: str | None = None
    """The environment that the claims are about; by default the one that the demonstrations came from."""
    alpha: float = 0.05
    """The probability, at most, that any answer is wrong."""
    max_episodes: int = 1000
    """The most episodes of each mode; claims that are decided earlier take no more."""
    max_steps: int | None = None
    """The most steps in an episode; the environment's own limit holds beside it."""
    out: Path | None = None
    """The certificate to write; by default certificate.json in the run's folder. Must not exist yet."""
    seed: int = 0
    """Decides the episodes' seeds, which no other verb uses."""
    json: Json = False


@dataclass(frozen=True)
class SwitchRequest:
    """Learn when to be in which mode, on top of the frozen policy; or measure a switcher that was learned.

    It is measured beside every mode alone, on the same seeds: return - cost weight x cost. docs/switching.md says more.

    Example: unbraid switch runs/first --method ppo --cost-weight 0.2 --out runs/first-switcher
    """

    run: Run
    """A run's folder."""
    out: Path | None = None
    """The folder to make for the switcher, with results.json; must not exist yet."""
    use: Path | None = None
    """Instead of learning: a switcher's folder, which is rolled out and measured."""
    env: str | None = None
    """The environment; by default the one that the demonstrations came from, or, with --use, that it was learned in."""
    method: Literal["ppo", "bandit", "actor_critic", "preferences"] = "ppo"
    """PPO of Stable-Baselines3 (extra `switch`), a linear bandit, a natural actor-critic whose scores are linear, or
    a person's answers."""
    horizon_steps: int = 10
    """H, how long a mode is held."""
    cost_weight: float | None = None
    """lambda, what a unit of cost takes off the return; by default 0, or, with --use, what it was learned with."""
    steps: int = 100_000
    """Steps of the environment to learn from. With --method preferences none are taken."""
    explore: Literal["linucb", "thompson"] = "linucb"
    """How the bandit explores."""
    answers: Path | None = None
    """A person's answers: a JSON file that `Preferences.save` or the studio wrote (a run's preferences.json). For
    --method preferences; bandit adds them to what the environment says."""
    answers_weight: float = 1.0
    """How much return a unit of the person's utility is worth, where both count."""
    situation: Literal["auto", "point_goal", "point_goal_few", "observation"] = "auto"
    """What is seen of a situation: features of PointGoal1 and 2, two of them alone, or every column of the
    observation. auto takes what the file of answers says, else the first in those worlds and the last in others."""
    guard: Path | None = None
    """A certificate: where too much cost may come, only modes whose claims on cost hold may be chosen."""
    max_cost: float | None = None
    """With --guard: the most cost of one held mode, by an upper confidence bound, where the choice is free."""
    step_cost: float = 1.0
    """With --guard: the most that one step can cost; in PointGoal1 it is 1."""
    guard_episodes: int = 100
    """With --guard: rollouts that choose freely, for that bound."""
    alpha: float = 0.05
    """With --guard: the probability, at most, that some bound is too low."""
    episodes: int = 20
    """Rollouts to measure it on, each on a seed of its own."""
    max_steps: int | None = None
    """The most steps in a rollout; the environment's own limit holds beside it."""
    seed: int = 0
    """Decides what is learned, and the rollouts' seeds."""
    json: Json = False


@dataclass(frozen=True)
class ReportRequest:
    """Draw a run's page again from its folder. Example: unbraid report runs/first"""

    run: Run
    """A run's folder."""
    json: Json = False


@dataclass(frozen=True)
class ExportRequest:
    """Take the policy out of the lab: ONNX or a torch.export program, checked against PyTorch, or the Hugging Face Hub.

    Example: unbraid export runs/first --onnx policy.onnx
    """

    run: Run
    """A run's folder."""
    onnx: Path | None = None
    """Write this new ONNX file, which onnxruntime runs alone (needs the extra `onnx`)."""
    program: Path | None = None
    """Write this new .pt2, a program of torch.export."""
    env: str | None = None
    """The environment whose action bounds are told beside the policy; by default that of the demonstrations."""
    hub_folder: Path | None = None
    """Write what the Hub would get into this new folder: the model, and a card of the run's results (extra `hub`)."""
    push: str | None = None
    """Send that to the Hugging Face Hub, as owner/name. Nothing else here uses the network."""
    private: bool = False
    """Make the repository a private one, where --push makes it."""
    json: Json = False


@dataclass(frozen=True)
class StudioRequest:
    """Open a page on this machine on which a person sees every episode, steers live, and teaches with a click.

    It ends with Ctrl-C. What is named, noted or taught there is saved in the run's folder. Needs the extra `studio`.

    Example: unbraid studio runs/first --demos runs/pile
    """

    run: Run
    """A run's folder; its fit may still go on."""
    demos: tuple[str, ...] = ()
    """The demonstrations: a path, or an id such as minari:NAME; several, in the order in which the fit read them, are
    read together. By default a demo's own."""
    weights: tuple[float, ...] = ()
    """The share of steps of each data set, as the fit was told. By default all episodes are kept."""
    env: str | None = None
    """The environment that agents act in; by default the one that the run names, and ours where they fit."""
    host: str = "127.0.0.1"
    """The address to listen on. Others than this machine can reach another one; the page then has a token."""
    port: int = 8377
    """The port; 0 takes a free one."""
    token: str | None = None
    """What who opens the page must bring, 8 characters or more; made up where --host opens it to others."""
    no_browser: bool = False
    """Do not open a browser."""
    json: Json = False
    reading: Reading = field(default_factory=ReadOptions)
