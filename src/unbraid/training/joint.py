"""unbraid's own method as a learner: modes first in closed form, then encoder, codebook and policy together."""

import math
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.randomness import named_generator, named_seed
from unbraid.modes.assignment import shared_responsibilities, spans_of, with_outlier_floor
from unbraid.modes.codebook import code_usage
from unbraid.modes.echoes import echoing_columns
from unbraid.modes.windows import cut_windows
from unbraid.policy.gaussian import GaussianPolicy, diagonal_log_prob
from unbraid.policy.normaliser import Normaliser
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import DISTANCE_TEMPERATURE, ModeModel, policy_log_likelihoods
from unbraid.training.proposal import first_responsibilities
from unbraid.training.steps import Steps

__all__ = ["UnbraidLearner"]

RESCORE_EVERY, RESCORE_UNTIL = 150, 0.85
WARM_UP, CLIP_NORM = 50, 5.0
STEPS_PER_WINDOW, COMMITMENT = 25, 0.25
SCORER_BATCH, SCORER_HIDDEN = 512, (64, 64)
_CHUNK = 16384


@final
class UnbraidLearner:
    """Encoder, codebook and policy under responsibilities that are found first and revised on the way.

    Source: METHOD, part 2.
    """

    def __init__(self, steps: Steps, config: UnbraidConfig, device: str = "cpu") -> None:
        """Draws the initial weights from the config's seed, and finds the first responsibilities."""
        self.steps, self.config, self.n_steps, self.taken = steps, config, config.n_steps, 0
        self.spans = spans_of(steps.episode_of_step, config.sharing)
        self.generator = torch.Generator().manual_seed(named_seed(config.seed, "unbraid", "batches"))
        size, act = steps.rows.shape[1], steps.actions.shape[1]
        n_targets = act if config.evidence == "policy" else size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(named_seed(config.seed, "unbraid", "weights"))
            self.model = ModeModel(config, observation_size=size, action_size=act)
            self.model.observation_normaliser = Normaliser.of(steps.rows.numpy(), floor=0.02, clip=6.0)
            self.model.action_normaliser = Normaliser.of(steps.actions.numpy(), floor=1e-3)
            self.scorers = nn.ModuleList(
                GaussianPolicy(
                    size, n_targets, n_modes=config.n_modes, hidden=SCORER_HIDDEN, activation="silu", spread="context"
                )
                for _ in range(2)
            )
        self.move_normaliser = Normaliser(size)
        if config.evidence == "transitions":
            moves = steps.transitions(torch.arange(steps.n_steps), 1)
            self.move_normaliser = Normaliser.of(moves.numpy(), floor=0.02, clip=6.0)
        for module in (self.model, self.scorers, self.move_normaliser):
            module.to(device)
        self.fold_of_episode, self.folds = self._folds()
        self.window_starts = self._window_starts()
        self.shown = self._shown()
        self.responsibilities = self._first_responsibilities()
        parameters = [*self.model.parameters(), *self.scorers.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)

    @property
    def samples_per_step(self) -> int:
        """Steps in a batch of the policy."""
        return self.config.policy_batch

    # What is prepared before the first step

    def _folds(self) -> tuple[Int[Tensor, "episode"], list[Int[Tensor, "step"]]]:
        """Halves of the episodes, and the steps that each scorer is fitted on."""
        n = self.steps.n_episodes
        fold = torch.zeros(n, dtype=torch.long)
        order = torch.randperm(n, generator=self.generator)
        order = order[torch.tensor(self.steps.lengths)[order] > 0]  # an empty episode fills no half
        fold[order[len(order) // 2 :]] = 1
        of_step = fold[self.steps.episode_of_step]
        if not self.config.cross_fit:
            return fold, [torch.arange(self.steps.n_steps)] * 2
        return fold, [torch.nonzero(of_step == half)[:, 0] for half in range(2)]

    def _window_starts(self) -> list[tuple[int, Int[Tensor, "start"]]]:
        """Each length of window with all the places where one fits; lengths beyond every episode become the longest."""
        lengths = sorted({min(length, int(self.steps.lengths.max())) for length in self.config.window_lengths})
        cut = [(length, cut_windows(self.steps.lengths, length, stride_steps=1).starts) for length in lengths]
        return [(length, torch.from_numpy(starts)) for length, starts in cut]

    def _states(self, chosen: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen obs"]:
        return self.model.observation_normaliser(self.steps.observations(chosen))

    def _actions(self, chosen: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen act"]:
        return self.model.action_normaliser(self.steps.actions[chosen])

    def _targets(self, chosen: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen target"]:
        """What a mode must predict: the action (change 2), or the transition where that is switched off."""
        if self.config.evidence == "policy":
            return self._actions(chosen)
        return self.move_normaliser(self.steps.transitions(chosen, 1))

    def _seen(self, chosen: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen obs"]:
        """The states as the search for modes sees them."""
        return self._states(chosen) * self.shown.to(self.model.device)

    def _shown(self) -> Float[Tensor, "obs"]:
        """1 for every input that the search for modes may see, 0 for the echoes of the previous action."""
        everything = torch.arange(self.steps.n_steps)
        if not self.config.hide_echoes:
            return torch.ones(self.steps.rows.shape[1])
        states, actions = self._states(everything).cpu(), self._actions(everything).cpu()
        return 1 - echoing_columns(states, actions, self.steps.episode_of_step).float()

    def _first_responsibilities(self) -> Float[Tensor, "span mode"]:
        generator = named_generator(self.config.seed, "unbraid", "first responsibilities")
        n_spans, n_modes = int(self.spans[-1]) + 1, self.config.n_modes
        if self.config.start == "random":
            return torch.as_tensor(generator.dirichlet([0.5] * n_modes, n_spans), dtype=torch.float32)
        everything = torch.arange(self.steps.n_steps)
        states, targets = self._seen(everything).cpu(), self._targets(everything).cpu()
        found = first_responsibilities(states, targets, self.spans, n_modes=n_modes, generator=generator)
        return found[:, self._calmest_first(found)]

    def _calmest_first(self, responsibilities: Float[Tensor, "span mode"]) -> Int[Tensor, "mode"]:
        """Modes by the mean square of their actions: a number that another seed gives to the same behaviour."""
        energy = self._actions(torch.arange(self.steps.n_steps)).square().sum(1).cpu()
        weights = responsibilities[self.spans]
        return ((weights * energy[:, None]).sum(0) / weights.sum(0).clamp_min(1e-9)).argsort()

    # One step

    def step(self) -> dict[str, Tensor]:
        """One gradient step; the loss and its named terms, each a 0-d tensor."""
        if self.taken % RESCORE_EVERY == 0 and 0 < self.taken < RESCORE_UNTIL * self.n_steps:
            self.responsibilities = self._rescored()
        policy, scorers = self._policy_loss(), self._scorer_loss()
        crossentropy, commitment = self._encoder_loss()
        loss = policy + scorers + crossentropy + COMMITMENT * commitment
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for module in (self.model, self.scorers):
            nn.utils.clip_grad_norm_(module.parameters(), CLIP_NORM)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._schedule()
        self.optimizer.step()
        self.taken += 1
        terms = {"loss": loss, "policy": policy, "scorers": scorers, "encoder": crossentropy, "commitment": commitment}
        return {name: value.detach() for name, value in terms.items()}

    def _schedule(self) -> float:
        """Warm-up, then a cosine to 0."""
        warm = min(1.0, (self.taken + 1) / WARM_UP)
        return warm * 0.5 * (1 + math.cos(math.pi * self.taken / self.n_steps))

    def _draw(self, among: Int[Tensor, "step"], n: int) -> Int[Tensor, "batch"]:
        return among[torch.randint(len(among), (n,), generator=self.generator)]

    def _contexts_of(self, chosen: Int[Tensor, "batch"]) -> Float[Tensor, "batch mode"]:
        """A mode for every step, drawn from its responsibilities, as the context that asks for it."""
        modes = torch.multinomial(self.responsibilities[self.spans[chosen]], 1, generator=self.generator)[:, 0]
        return self._contexts()[modes.to(self.model.device)]

    def _contexts(self) -> Float[Tensor, "mode mode"]:
        """Row k: the distances of code k to all codes; the not-hot vector itself, where codes stand on a simplex."""
        if self.config.codes == "simplex":
            return self.model.contexts
        return self.model.codebook(self.model.codebook.codes())

    def _policy_loss(self) -> Float[Tensor, ""]:
        """(a) Negative log-likelihood of random steps under a mode of theirs."""
        chosen = torch.randint(self.steps.n_steps, (self.config.policy_batch,), generator=self.generator)
        mean, log_std = self.model.policy(self._states(chosen), self._contexts_of(chosen))
        return -diagonal_log_prob(self._actions(chosen), mean, log_std).sum(-1).mean()

    def _scorer_loss(self) -> Float[Tensor, ""]:
        """(c) The same for two small policies, each on half of the episodes, without the echoes."""
        total = torch.zeros(())
        for scorer, among in zip(self.scorers, self.folds, strict=True):
            chosen = self._draw(among, SCORER_BATCH)
            mean, log_std = scorer(self._seen(chosen), self._contexts_of(chosen).detach())
            total = total - diagonal_log_prob(self._targets(chosen), mean, log_std).sum(-1).mean()
        return total

    def _encoder_loss(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """(b) Cross-entropy of softmax(-d / 0.1) with the window's responsibilities, and the distance to its code."""
        chosen = self._windows()
        latents = self.model.encoder(self._states(chosen), self._actions(chosen))
        distances = self.model.codebook(latents)
        wanted = self.responsibilities[self.spans[chosen]].mean(1).to(self.model.device)
        log_probs = torch.log_softmax(-distances / DISTANCE_TEMPERATURE, dim=1)
        best = distances.gather(1, wanted.argmax(1, keepdim=True))
        return -(wanted * log_probs).sum(1).mean(), best.mean()

    def _windows(self) -> Int[Tensor, "window step"]:
        """Windows of a random length at random places, at most 25 steps of each."""
        length, starts = self.window_starts[int(torch.randint(len(self.window_starts), (), generator=self.generator))]
        starts = self._draw(starts, self.config.window_batch)
        if length <= STEPS_PER_WINDOW:
            return starts[:, None] + torch.arange(length)
        within = torch.rand(len(starts), length, generator=self.generator).argsort(1)[:, :STEPS_PER_WINDOW]
        return starts[:, None] + within

    # What is done now and then

    @torch.no_grad()
    def _rescored(self) -> Float[Tensor, "span mode"]:
        """(d) Responsibilities again: each half of the episodes is scored by the policy of the other half."""
        scores = torch.empty(self.steps.n_steps, self.config.n_modes)
        fold_of_step = self.fold_of_episode[self.steps.episode_of_step]
        contexts = self._contexts()
        for fold, scorer in enumerate(self.scorers):
            assert isinstance(scorer, GaussianPolicy)
            for chosen in torch.nonzero(fold_of_step != fold)[:, 0].split(_CHUNK):
                targets = self._targets(chosen)
                states = self._seen(chosen)
                likelihoods = policy_log_likelihoods(scorer, states, targets, contexts)
                scores[chosen] = with_outlier_floor(likelihoods, targets).cpu()
        log_prior = self.responsibilities.mean(0).clamp_min(1e-4).log()
        return shared_responsibilities(scores, self.spans, log_prior)

    @torch.no_grad()
    def usage(self) -> Float[Tensor, "mode"]:
        """The share of the steps in each code, by responsibility."""
        return code_usage(self.responsibilities.argmax(1)[self.spans], self.config.n_modes)

    @torch.no_grad()
    def finished(self) -> ModeModel:
        """The model as it stands, with the contexts that a person steers it with."""
        self.model.contexts.copy_(self._contexts())
        return self.model

    # What an exact resume needs beside the model (see checkpoint.py)

    def modules(self) -> dict[str, nn.Module]:
        """Every module with weights."""
        return {"model": self.model, "scorers": self.scorers}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The one optimiser of everything."""
        return {"all": self.optimizer}

    def tensors(self) -> dict[str, Tensor]:
        """State that is no module's and no optimiser's."""
        return {
            "responsibilities": self.responsibilities,
            "shown": self.shown,
            "generator": self.generator.get_state(),
        }

    def restore(self, tensors: dict[str, Tensor], taken: int) -> None:
        """Takes back what `tensors` gave, and the number of steps taken."""
        self.responsibilities, self.shown, self.taken = tensors["responsibilities"], tensors["shown"], taken
        self.generator.set_state(tensors["generator"])
