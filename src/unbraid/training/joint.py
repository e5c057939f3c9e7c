"""unbraid's own method as a learner: first the search for modes, then encoder, codebook and policy together."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.errors import ConfigError
from unbraid.core.randomness import named_generator, named_seed
from unbraid.core.side_by_side import SideBySide
from unbraid.modes.assignment import spans_of
from unbraid.modes.chain import estimated_rate
from unbraid.modes.changes import Changes, changes_within, stretches_of_one_mode
from unbraid.modes.codebook import code_usage, perplexity
from unbraid.modes.encoders import masked_mean
from unbraid.modes.pieces import PaddedPlaces
from unbraid.modes.search import Found, ModeSearch
from unbraid.modes.spans import SpanSource, WindowPlaces
from unbraid.modes.windows import cut_windows
from unbraid.policy.normaliser import Normaliser
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel
from unbraid.training.networks import DISTANCE_TEMPERATURE
from unbraid.training.policy_losses import policy_loss
from unbraid.training.refining import Batch
from unbraid.training.steps import Steps
from unbraid.training.style import SpanStyles

__all__ = ["Given", "UnbraidLearner"]

WARM_UP, CLIP_NORM = 50, 5.0
STEPS_PER_WINDOW, COMMITMENT = 25, 0.25
_COLLAPSED = 0.1
_BLOCK = 65536


@final
@dataclass(frozen=True, eq=False)
class Given:
    """What is known of who acted.

    Attributes:
        spans: (step,) the stretch that each step shares its mode with: 0, 0, ..., 1, 1, ..., without gaps.
        responsibilities: (span, mode); rows sum to 1.
    """

    spans: Int[Tensor, "step"]
    responsibilities: Float[Tensor, "span mode"]


@final
class UnbraidLearner:
    """Encoder, codebook and policy, under the responsibilities that a search has found.

    Source: METHOD, part 2. Departs: the responsibilities are not revised while the policy learns. A policy that has
    learned little is already certain of whole episodes, and what it revises, it spoils (docs/experiments.md).
    """

    def __init__(
        self,
        steps: Steps,
        config: UnbraidConfig,
        device: str = "cpu",
        *,
        given: Given | None = None,
        one_thread: bool = False,
    ) -> None:
        """Searches for modes, and draws the initial weights, all from the config's seed.

        Args:
            steps: the demonstrations.
            config: what is asked; `n_modes` is left alone where responsibilities are given.
            device: where the networks are.
            given: spans and their responsibilities, which then are not searched for.
            one_thread: whether encoder and policy take turns, and have not a thread each.

        Raises:
            ConfigError: more modes than spans.
        """
        config = config.sized_for(steps.n_steps)
        assert config.n_steps != "auto"
        assert config.policy_batch != "auto"
        assert config.weight_decay != "auto"
        self.steps, self.n_steps, self.samples_per_step, self.taken = steps, config.n_steps, config.policy_batch, 0
        self.spans = spans_of(steps.episode_of_step, "window" if config.sharing == "window" else "episode")
        self.generator = torch.Generator().manual_seed(named_seed(config.seed, "unbraid", "batches"))
        self.windows_generator = torch.Generator().manual_seed(named_seed(config.seed, "unbraid", "windows"))
        seen = _scaling(steps.rows.numpy(), floor=0.02, clip=6.0)
        done = _scaling(steps.actions.numpy(), floor=1e-3)
        self.found: Found | None = None
        self.changes: Changes | None = None
        if given is None:
            self.found = self._search(config, seen, done)
            self.responsibilities = self.found.responsibilities
        else:
            self.spans, self.responsibilities = given.spans, given.responsibilities
        self.config = replace(config, n_modes=self.responsibilities.shape[1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(named_seed(config.seed, "unbraid", "weights"))
            self.model = ModeModel(
                self.config, observation_size=steps.rows.shape[1], action_size=steps.actions.shape[1]
            )
        self.model.observation_normaliser, self.model.action_normaliser = seen, done
        self.model.to(device)
        lengths = sorted({min(length, int(steps.lengths.max())) for length in config.window_lengths})
        self.places = [WindowPlaces(steps.lengths, length) for length in lengths]
        self.padded_places = [PaddedPlaces(steps.lengths, length) for length in lengths]
        # The contexts of codes on a simplex never change, so that encoder and policy share no weights
        apart = config.codes == "simplex" and self.model.device.type == "cpu" and not one_thread
        self._side_by_side = SideBySide() if apart else None
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.styles: SpanStyles | None = None
        if config.style == "on":
            draws = torch.Generator().manual_seed(named_seed(config.seed, "unbraid", "styles"))
            self.styles = SpanStyles(self.responsibilities, torch.bincount(self.spans), draws)

    # What is prepared before the first step

    def _search(self, config: UnbraidConfig, seen: Normaliser, done: Normaliser) -> Found:
        """Who is in which mode, the calmest mode first: a number that another seed gives to the same behaviour.

        Where experts change within an episode, spans become the stretches between the changes, and modes are searched
        for among those.
        """
        steps = self.steps
        source = SpanSource(steps.rows, steps.row_of_step, steps.actions, self.spans, seen, done)
        generator = named_generator(config.seed, "unbraid", "search")
        if config.n_modes != "auto" and config.n_modes > len(source.lengths):
            what = "stretches of demonstrations" if config.sharing == "window" else "demonstrations"
            raise ConfigError(
                f"There must be at least as many {what} as modes; got {len(source.lengths)} for {config.n_modes} "
                "modes. Ask for fewer modes, or bring more demonstrations."
            )
        search_among = partial(ModeSearch, kinds=config.evidence, starts=config.starts, n_steps=config.search_steps)
        search = search_among(source, generator)
        found = search.found(config.n_modes)
        if config.sharing in ("auto", "changing") and config.n_modes != 1 and len(source.lengths) > 1:
            n_modes, assumed = max(found.responsibilities.shape[1], 2), config.sharing == "changing"
            self.changes = changes_within(search, n_modes, assumed=assumed)
            turn_steps = self.changes.turn_steps
            if turn_steps is not None:
                draws = named_generator(config.seed, "unbraid", "stretches")
                self.spans = stretches_of_one_mode(source, search_among, config.n_modes, turn_steps, draws)
                source = replace(source, spans=self.spans)
                found = search_among(source, draws).found(config.n_modes)
        energy = torch.zeros(len(source.lengths))
        for block in torch.arange(steps.n_steps).split(_BLOCK):
            energy.index_add_(0, self.spans[block], done(steps.actions[block]).square().sum(1))
        of_mode, n_steps = found.responsibilities.T @ energy, found.responsibilities.T @ source.lengths.float()
        return found.ordered((of_mode / n_steps.clamp_min(1e-9)).argsort())

    def _states(self, chosen: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen obs"]:
        return self.model.observation_normaliser(self.steps.observations(chosen))

    def _actions(self, chosen: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen act"]:
        return self.model.action_normaliser(self.steps.actions[chosen])

    # One step

    def step(self, trailing: Callable[[], object] | None = None) -> dict[str, Tensor]:
        """One gradient step; the loss and its named terms, each a 0-d tensor.

        Args:
            trailing: work that has nothing to do with it, for the thread that has less to do; see `settle`.
        """
        if self._side_by_side is None:
            policy, (crossentropy, commitment) = self.policy_part(), self.encoder_part()
            if trailing is not None:
                trailing()
        else:
            policy, (crossentropy, commitment) = self._side_by_side(self.policy_part, self.encoder_part, trailing)
        self.follow()
        loss = policy + crossentropy + COMMITMENT * commitment
        terms = {"loss": loss, "policy": policy, "encoder": crossentropy, "commitment": commitment}
        return terms if self.styles is None else terms | {"style": self.styles.divergences().detach().mean()}

    def settle(self) -> None:
        """Waits for what trails behind the last step."""
        if self._side_by_side is not None:
            self._side_by_side.settle()

    def policy_part(self) -> Float[Tensor, ""]:
        """The policy's loss, whose gradient is added to what is there."""
        loss = self._policy_loss()
        loss.backward()
        return loss.detach()

    def encoder_part(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The encoder's two losses, whose gradient is added to what is there."""
        crossentropy, commitment = self._encoder_loss()
        (crossentropy + COMMITMENT * commitment).backward()
        return crossentropy.detach(), commitment.detach()

    def follow(self) -> None:
        """Takes one step down the gradients that are there, at the learning rate that is due."""
        if self.styles is not None:
            self.styles.follow(self._schedule())
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._schedule()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.taken += 1

    def _schedule(self) -> float:
        """Warm-up, then a cosine to 0."""
        warm = min(1.0, (self.taken + 1) / WARM_UP)
        return warm * 0.5 * (1 + math.cos(math.pi * self.taken / self.n_steps))

    def _contexts(self) -> Float[Tensor, "mode mode"]:
        """Row k: the distances of code k to all codes; the not-hot vector itself, where codes stand on a simplex."""
        if self.config.codes == "simplex":
            return self.model.contexts
        return self.model.codebook(self.model.codebook.codes())

    def drawn(self, n_steps: int, generator: torch.Generator) -> Batch:
        """What the policy sees of random steps, under a mode and a style of theirs; what was done; and the contexts."""
        chosen = torch.randint(self.steps.n_steps, (n_steps,), generator=generator)
        modes = torch.multinomial(self.responsibilities[self.spans[chosen]], 1, generator=generator)[:, 0]
        states = self._states(chosen)
        if self.styles is not None:
            states = self.styles.told(states, self.spans[chosen], modes, generator)
        return states, self._actions(chosen), self._contexts()[modes.to(self.model.device)]

    def _policy_loss(self) -> Float[Tensor, ""]:
        """(a) The policy's loss on random steps, and what the styles cost."""
        states, actions, contexts = self.drawn(self.samples_per_step, self.generator)
        kind = "beta" if self.config.policy_loss == "auto" else self.config.policy_loss
        loss = policy_loss(kind, actions, *self.model.policy(states, contexts))
        return loss if self.styles is None else loss + self.styles.cost().to(loss.device)

    def _encoder_loss(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """(b) Cross-entropy of softmax(-d / 0.1) with the window's responsibilities, and the distance to its code."""
        latents, wanted = self._latents() if self.config.encoder == "mean" else self._latents_in_order()
        distances = self.model.codebook(latents)
        log_probs = torch.log_softmax(-distances / DISTANCE_TEMPERATURE, dim=1)
        best = distances.gather(1, wanted.argmax(1, keepdim=True))
        return -(wanted * log_probs).sum(1).mean(), best.mean()

    def _latents(self) -> tuple[Float[Tensor, "window latent"], Float[Tensor, "window mode"]]:
        """Of `_windows`, and their responsibilities."""
        chosen = self._windows()
        latents = self.model.encoder(self._states(chosen), self._actions(chosen))
        return latents, self.responsibilities[self.spans[chosen]].mean(1).to(self.model.device)

    def _latents_in_order(self) -> tuple[Float[Tensor, "window latent"], Float[Tensor, "window mode"]]:
        """The same of windows of a random length at random places, all their steps; of a shorter episode the whole.

        Of windows above 25 steps there are fewer, so that a batch has no more steps.
        """
        draws = self.windows_generator
        places = self.padded_places[int(torch.randint(len(self.padded_places), (), generator=draws))]
        n_windows = self.config.window_batch * STEPS_PER_WINDOW // max(places.window_steps, STEPS_PER_WINDOW)
        windows = places.drawn(max(n_windows, 1), draws)
        wanted = masked_mean(self.responsibilities[self.spans[windows.steps]], windows.mask)
        return self.model.latents(self.steps, windows), wanted.to(self.model.device)

    def _windows(self) -> Int[Tensor, "window step"]:
        """Windows of a random length at random places, at most 25 steps of each."""
        draws = self.windows_generator
        places = self.places[int(torch.randint(len(self.places), (), generator=draws))]
        starts, length = places.drawn(self.config.window_batch, draws), places.window_steps
        if length <= STEPS_PER_WINDOW:
            return starts[:, None] + torch.arange(length)
        within = torch.rand(len(starts), length, generator=draws).argsort(1)[:, :STEPS_PER_WINDOW]
        return starts[:, None] + within

    # What is done now and then

    @torch.no_grad()
    def usage(self) -> Float[Tensor, "mode"]:
        """The share of the steps in each code, by responsibility."""
        return code_usage(self.responsibilities.argmax(1)[self.spans], self.model.n_modes)

    @torch.no_grad()
    def finished(self) -> ModeModel:
        """The model as it stands, with the contexts that a person steers it with."""
        self.model.contexts.copy_(self._contexts())
        self.model.shares = self.usage().tolist()
        if self.styles is not None:
            self.styles.settle(self.model, self.steps)
        if self._n_changes and self.config.sharing != "window":
            self.model.switch_rate = estimated_rate(self.model.step_scores(self.steps), self.steps.lengths)
        self.model.search = None if self.found is None else self._with_health(self._facts(self.found))
        return self.model

    def _facts(self, found: Found) -> dict[str, Any]:
        """What the search said of the modes, and of changes within episodes."""
        if self.changes is None:
            return found.facts() | {"changes": None}
        return found.facts() | {"changes": self.changes.facts() | {"n_changes": self._n_changes}}

    @property
    def _n_changes(self) -> int:
        """How many more spans there are than episodes with steps."""
        return int(self.spans[-1]) + 1 - int((self.steps.lengths > 0).sum())

    def _with_health(self, facts: dict[str, Any]) -> dict[str, Any]:
        """What the search said, with how much each code is used where the trained encoder reads all demonstrations.

        A code that is read in less than a tenth of the windows that it should be has collapsed: a warning.
        """
        length = min(STEPS_PER_WINDOW, int(self.steps.lengths.max()))
        starts = torch.from_numpy(cut_windows(self.steps.lengths, length, stride_steps=length).starts)
        modes = [
            self.model.codebook(self.model.encoder(self._states(chosen), self._actions(chosen))).argmin(1).cpu()
            for some in starts.split(_BLOCK // length)
            for chosen in [some[:, None] + torch.arange(length)]
        ]
        read = code_usage(torch.cat(modes), self.model.n_modes)
        due = code_usage(self.responsibilities.argmax(1)[self.spans[starts]], self.model.n_modes)
        warnings = [
            f"The encoder reads mode {k} in {100 * read[k]:.1f} % of windows; it holds {100 * due[k]:.1f} %. Its "
            "code collapsed: fit with more gradient steps, or ask for fewer modes."
            for k in torch.nonzero(read < _COLLAPSED * due)[:, 0].tolist()
        ]
        codes = {"encoder_shares": read.tolist(), "encoder_perplexity": perplexity(read)}
        return facts | codes | {"warnings": facts["warnings"] + warnings}

    # What an exact resume needs beside the model (see checkpoint.py)

    def modules(self) -> dict[str, nn.Module]:
        """Every module with weights."""
        return {"model": self.model} if self.styles is None else {"model": self.model, "styles": self.styles}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimiser of all networks, and that of the styles."""
        own: dict[str, torch.optim.Optimizer] = {"all": self.optimizer}
        return own if self.styles is None else own | {"styles": self.styles.optimizer}

    def tensors(self) -> dict[str, Tensor]:
        """State that is no module's and no optimiser's."""
        generators = {"generator": self.generator, "windows_generator": self.windows_generator}
        states = {name: generator.get_state() for name, generator in generators.items()}
        return {"responsibilities": self.responsibilities, **states}

    def restore(self, tensors: dict[str, Tensor], taken: int) -> None:
        """Takes back what `tensors` gave, and the number of steps taken."""
        self.responsibilities, self.taken = tensors["responsibilities"], taken
        self.generator.set_state(tensors["generator"])
        self.windows_generator.set_state(tensors["windows_generator"])


def _scaling(values: Float[np.ndarray, "row column"], *, floor: float, clip: float = math.inf) -> Normaliser:
    """A normaliser whose floor is a share of a column's range where that is below 1, for units may be large."""
    made = Normaliser.of(values, floor=0.0, clip=clip)
    ranges = torch.as_tensor(values.max(0) - values.min(0))
    made.scale += floor * torch.where(ranges > 0, ranges.clamp_max(1.0), 1.0)
    return made
