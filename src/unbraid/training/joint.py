"""unbraid's own method as a learner: first the search for modes, then encoder, codebook and policy together."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.errors import ConfigError
from unbraid.core.randomness import named_generator, named_seed
from unbraid.core.replay import Replay, sent
from unbraid.core.schedule import scheduled
from unbraid.core.side_by_side import SideBySide
from unbraid.modes.assignment import spans_of
from unbraid.modes.chain import estimated_rate
from unbraid.modes.changes import changes_within, stretches_of_one_mode
from unbraid.modes.codebook import code_usage, perplexity
from unbraid.modes.encoders import masked_mean
from unbraid.modes.search import ModeSearch
from unbraid.modes.spans import SpanSource
from unbraid.modes.stretches import Stretches, some_within
from unbraid.modes.windows import cut_windows
from unbraid.policy.normaliser import Normaliser
from unbraid.training.config import UnbraidConfig
from unbraid.training.descent import Descent
from unbraid.training.given import Given, told_by_the_first
from unbraid.training.model import ModeModel
from unbraid.training.networks import DISTANCE_TEMPERATURE, Reader
from unbraid.training.pictures import MOST_SHOWN_STEPS, picture_modes
from unbraid.training.policy_losses import Batch, PolicyLoss, policy_loss
from unbraid.training.ranks import ONE_RANK, Ranks
from unbraid.training.reading import MOST_HELD_STEPS, reading_of, sure_of
from unbraid.training.scaling import scaling_of_actions, scaling_of_observations
from unbraid.training.steps import Steps
from unbraid.training.style import SpanStyles
from unbraid.training.window_draws import STEPS_PER_WINDOW, WindowDraws

__all__ = ["COMMITMENT", "MOST_READ_STEPS", "UnbraidLearner"]

COMMITMENT = 0.25
MOST_READ_STEPS = 500_000
"""What is read of the demonstrations once the fit is done (how much each code is used, the switch rate, the tables of
styles) is read of a uniform subset with at most so many steps; docs/scale.md says what that changes."""
_COLLAPSED = 0.1
_BLOCK = 65536


@final
class UnbraidLearner:
    """Encoder, codebook and policy, under the responsibilities that a search has found.

    The responsibilities are not revised while the policy learns. A policy that has learned little is already certain
    of whole episodes, and what it revises, it spoils (docs/experiments.md, 1).
    """

    def __init__(
        self,
        steps: Steps,
        config: UnbraidConfig,
        device: str = "cpu",
        *,
        given: Given | None = None,
        one_thread: bool = False,
        ranks: Ranks = ONE_RANK,
    ) -> None:
        """Searches for modes, and draws the initial weights, all from the config's seed.

        Args:
            steps: the demonstrations.
            config: what is asked; `n_modes` is left alone where responsibilities are given.
            device: where the networks are.
            given: spans and their responsibilities, which then are not searched for.
            one_thread: whether encoder and policy take turns, and have not a thread each.
            ranks: the processes that fit together; the first alone searches for modes.

        Raises:
            ConfigError: more modes than spans.
        """
        self.loss_kind: PolicyLoss = config.joint_loss_for(steps.n_steps)
        config = config.sized_for(steps.n_steps)
        assert config.n_steps != "auto"
        assert config.policy_batch != "auto"
        assert config.weight_decay != "auto"
        self.steps, self.n_steps, self.samples_per_step, self.taken = steps, config.n_steps, config.policy_batch, 0
        self.ranks = ranks
        self.spans = spans_of(steps.episodes.lengths, "window" if config.sharing == "window" else "episode")
        self.generator = torch.Generator().manual_seed(named_seed(config.seed, "unbraid", "batches"))
        seen = None if given is None else given.seen
        if seen is None:
            seen = scaling_of_observations(steps, config.components_for(steps.observation_size), ranks)
        if seen.components is not None:
            config = replace(config, observation_components=seen.components.shape[1])
        scaling = scaling_of_actions(steps)
        done, self.extremes, self._warnings = scaling.normaliser, scaling.extremes, scaling.warnings
        if given is not None and given.extremes is not None:
            self.extremes = given.extremes
        if given is None:
            given = told_by_the_first(ranks, self._searched(config, seen, done) if ranks.is_first else None)
            assert given is not None
        self.spans, self.responsibilities, self.search_facts = given.spans, given.responsibilities, given.facts
        head = "gaussian" if config.policy_head == "auto" else config.policy_head
        encoder = "mean" if config.encoder == "auto" else config.encoder
        n_modes = self.responsibilities.shape[1]
        self.config = replace(config, n_modes=n_modes, policy_head=head, encoder=encoder)
        self.model, self._descent = self._networks(seen, done, device)
        self._of_policy, self._of_encoder = Replay(), Replay()
        self.order_is_no_help = False  # to read modes, as far as somebody has tried
        self.windows = WindowDraws(
            steps.lengths,
            window_lengths=config.window_lengths,
            n_windows=config.window_batch,
            generator=torch.Generator().manual_seed(named_seed(config.seed, "unbraid", "windows")),
        )
        # The contexts of codes on a simplex never change, so that encoder and policy share no weights. What processes
        # tell one another must have one order.
        apart = config.codes == "simplex" and self.model.device.type == "cpu" and not one_thread and not ranks.in_group
        self._side_by_side = SideBySide() if apart else None
        self.styles: SpanStyles | None = None
        if config.style == "on":
            draws = torch.Generator().manual_seed(named_seed(config.seed, "unbraid", "styles"))
            self.styles = SpanStyles(self.responsibilities, self.spans.lengths, draws)

    def sure_part(self, spans: Int[Tensor, "chosen"]) -> tuple[Steps, Int[Tensor, "sure"]]:
        """Of some spans those that the search was sure of, as demonstrations, an episode each, and their modes."""
        sure = spans[sure_of(self.responsibilities[spans])]
        return self.steps.of_stretches(self.spans, sure), self.responsibilities[sure].argmax(1)

    def part(self, spans: Int[Tensor, "chosen"]) -> tuple[Steps, Given]:
        """Some spans as demonstrations, an episode each, and the modes that were found there: for another learner."""
        steps = self.steps.of_stretches(self.spans, spans)
        seen = copy.deepcopy(self.model.observation_normaliser)
        return steps, Given(steps.episodes, self.responsibilities[spans], seen, self.extremes)

    # What is prepared before the first step

    def _networks(self, seen: Normaliser, done: Normaliser, device: str) -> tuple[ModeModel, Descent]:
        """An untrained model, and how it learns."""
        config, sizes = self.config, (self.steps.observation_size, self.steps.action_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(named_seed(config.seed, "unbraid", "weights"))
            model = ModeModel(config, observation_size=sizes[0], action_size=sizes[1])
        model.observation_normaliser, model.action_normaliser = seen, done
        origin = self.steps.origin
        model.observation_origin = None if origin is None else origin.clone()  # files hold no tensor twice
        bounds = self.extremes.extent() if config.policy_head == "tanh" else self.extremes.bounds()
        if bounds is not None:
            model.policy.hold_within(*(done(torch.from_numpy(bound)) for bound in bounds))
        model.to(device)
        assert config.weight_decay != "auto"
        rate, decay = config.learning_rate, config.weight_decay
        return model, Descent(model.parameters(), learning_rate=rate, weight_decay=decay)

    def take_head(self, head: Literal["gaussian", "mixture"]) -> None:
        """Begins with this head of the policy; before the first step."""
        self.config, old = replace(self.config, policy_head=head), self.model
        self.loss_kind = self.config.joint_loss_for(self.steps.n_steps)
        self.model, self._descent = self._networks(old.observation_normaliser, old.action_normaliser, str(old.device))

    def take_reader(self, kind: Literal["mean", "window_mlp"], reader: Reader) -> None:
        """Goes on with an encoder of this kind and its codebook, which have learned to read the same modes."""
        self.config = self.model.config = replace(self.config, encoder=kind)
        self.model.encoder, self.model.codebook = reader

    def _searched(self, config: UnbraidConfig, seen: Normaliser, done: Normaliser) -> Given:
        """Who is in which mode, the calmest mode first: a number that another seed gives to the same behaviour.

        Where experts change within an episode, spans become the stretches between the changes, and modes are searched
        for among those.
        """
        steps, changes = self.steps, None
        source = self._source(seen, done)
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
            changes = changes_within(search, n_modes, assumed=assumed)
            turn_steps = changes.turn_steps
            if turn_steps is not None:
                draws = named_generator(config.seed, "unbraid", "stretches")
                self.spans = Stretches(stretches_of_one_mode(source, search_among, config.n_modes, turn_steps, draws))
                source = self._source(seen, done)
                found = search_among(source, draws).found(config.n_modes)
        energy = torch.zeros(len(source.lengths))
        for start in range(0, steps.n_steps, _BLOCK):
            block = torch.arange(start, min(start + _BLOCK, steps.n_steps))
            energy.index_add_(0, self.spans[block], done(steps.actions(block)).square().sum(1))
        of_mode, n_steps = found.responsibilities.T @ energy, found.responsibilities.T @ source.lengths.float()
        found = found.ordered((of_mode / n_steps.clamp_min(1e-9)).argsort())
        facts = found.facts() | {"changes": None if changes is None else changes.facts()}
        if seen.components is not None:
            facts["components"] = dict(zip(("n_columns", "n_components"), seen.components.shape, strict=True))
        return Given(self.spans, found.responsibilities, facts=facts)

    def _source(self, seen: Normaliser, done: Normaliser) -> SpanSource:
        """The spans, for a search to read some of."""
        steps, starts = self.steps, self.spans.starts
        return SpanSource(
            rows=steps.row_table,
            actions=steps.action_table,
            first_row=steps.rows_of(starts),
            first_place=steps.places_of(starts),
            lengths=self.spans.lengths,
            scale_rows=lambda rows: seen(steps.moved(rows)),
            scale_actions=done,
        )

    def _states(self, chosen: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen obs"]:
        return self.model.observation_normaliser(self.steps.observations(chosen))

    def _actions(self, chosen: Int[Tensor, "*chosen"]) -> Float[Tensor, "*chosen act"]:
        return self.model.action_normaliser(self.steps.actions(chosen))

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
        policy, crossentropy, commitment = self.ranks.total(self.modules().values(), policy, crossentropy, commitment)
        self.follow()
        loss = policy + crossentropy + COMMITMENT * commitment
        terms = {"loss": loss, "policy": policy, "encoder": crossentropy, "commitment": commitment}
        return terms if self.styles is None else terms | {"style": self.styles.divergences().detach().mean()}

    def settle(self) -> None:
        """Waits for what trails behind the last step."""
        if self._side_by_side is not None:
            self._side_by_side.settle()

    def policy_part(self) -> Float[Tensor, ""]:
        """The policy's loss, or this process's share of it, whose gradient is added to what is there."""
        return self._of_policy(self._policy_learned, *self.drawn(self.samples_per_step, self.generator))[0]

    def encoder_part(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The encoder's two losses, or this process's share of them, whose gradient is added to what is there."""
        if self.config.encoder == "mean":
            crossentropy, commitment = self._of_encoder(self._encoder_learned, *self._drawn_windows())
        else:
            crossentropy, commitment = self._latents_learned(*self._latents_in_order())
        return crossentropy, commitment

    def follow(self) -> None:
        """Takes one step down the gradients that are there, at the learning rate that is due."""
        share = scheduled(self.taken, self.n_steps)
        if self.styles is not None:
            self.styles.follow(share)
        self._descent.step(share)
        self.taken += 1

    def _contexts(self) -> Float[Tensor, "mode mode"]:
        """Row k: the distances of code k to all codes; the not-hot vector itself, where codes stand on a simplex."""
        if self.config.codes == "simplex":
            return self.model.contexts
        return self.model.codebook(self.model.codebook.codes())

    def drawn(self, n_steps: int, generator: torch.Generator) -> Batch:
        """What the policy sees of random steps, under a mode and a style of theirs; what was done; and the contexts.

        Of several processes each gets its part of them.
        """
        chosen = torch.randint(self.steps.n_steps, (n_steps,), generator=generator)
        modes = torch.multinomial(self.responsibilities[self.spans[chosen]], 1, generator=generator)[:, 0]
        own = self.ranks.part(n_steps)
        if self.styles is None:
            states = self._states(chosen[own])
        else:
            states = self.styles.told(self._states(chosen), self.spans[chosen], modes, generator)[own]
        return states, self._actions(chosen[own]), self._contexts()[sent(modes[own], self.model.device)]

    def _policy_learned(self, *batch: Tensor) -> tuple[Float[Tensor, ""]]:
        """(a) The policy's loss on random steps, and what the styles cost."""
        states, actions, contexts = batch
        loss = policy_loss(self.model.policy, self.loss_kind, (states, actions, contexts), self.config.precision)
        if self.styles is not None:
            loss = loss + self.styles.cost().to(loss.device)
        loss = loss * self.ranks.share(self.samples_per_step)
        loss.backward()
        return (loss.detach(),)

    def _encoder_learned(self, *batch: Tensor) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """(b) The encoder's losses on windows of states and actions, and their responsibilities."""
        states, actions, wanted = batch
        return self._latents_learned(
            self.model.encoder(states, actions), wanted, self.ranks.share(self.config.window_batch)
        )

    def _latents_learned(
        self, latents: Float[Tensor, "window latent"], wanted: Float[Tensor, "window mode"], share: float
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Cross-entropy of softmax(-d / 0.1) with the window's responsibilities, and the distance to its code."""
        distances = self.model.codebook(latents)
        log_probs = torch.log_softmax(-distances / DISTANCE_TEMPERATURE, dim=1)
        best = distances.gather(1, wanted.argmax(1, keepdim=True))
        crossentropy, commitment = -share * (wanted * log_probs).sum(1).mean(), share * best.mean()
        (crossentropy + COMMITMENT * commitment).backward()
        return crossentropy.detach(), commitment.detach()

    def _drawn_windows(
        self,
    ) -> tuple[Float[Tensor, "window step obs"], Float[Tensor, "window step act"], Float[Tensor, "window mode"]]:
        """Of this process's part of some windows the states, the actions and the responsibilities."""
        windows = self.windows.drawn()
        chosen = windows[self.ranks.part(len(windows))]
        wanted = self.responsibilities[self.spans[chosen]].mean(1)
        return self._states(chosen), self._actions(chosen), sent(wanted, self.model.device)

    def _latents_in_order(self) -> tuple[Float[Tensor, "window latent"], Float[Tensor, "window mode"], float]:
        """Of this process's part of some windows, by an encoder that reads steps in their order; their
        responsibilities; and how much of all they are."""
        windows = self.windows.drawn_in_order()
        n_windows = len(windows.steps)
        own = windows.part(self.ranks.part(n_windows))
        wanted = sent(masked_mean(self.responsibilities[self.spans[own.steps]], own.mask), self.model.device)
        return self.model.latents(self.steps, own), wanted, self.ranks.share(n_windows)

    # What is done now and then

    @torch.no_grad()
    def usage(self) -> Float[Tensor, "mode"]:
        """The share of the steps in each code, by responsibility."""
        modes, lengths = self.responsibilities.argmax(1), self.spans.lengths
        n_steps = torch.zeros(self.model.n_modes, dtype=torch.long).index_add_(0, modes, lengths)
        return n_steps.to(torch.float32) / self.spans.n_steps

    def pictures(self) -> list[dict[str, Any]]:
        """Of each mode the surest span, or its middle, and what the policy would do there: see `picture_modes`."""
        starts, lengths = self.spans.starts, self.spans.lengths
        modes, stretches = self.responsibilities.argmax(1), []
        for mode in range(self.model.n_modes):
            own = (modes == mode) & (lengths > 0)
            # of spans that are as sure, one that is long enough to be looked at
            sure = self.responsibilities[:, mode] + 1e-3 * lengths.clamp_max(MOST_SHOWN_STEPS) / MOST_SHOWN_STEPS
            span = int(sure.masked_fill(~own, -1.0).argmax())
            n_steps = min(int(lengths[span]), MOST_SHOWN_STEPS)
            first = int(starts[span]) + (int(lengths[span]) - n_steps) // 2
            stretches.append(torch.arange(first, first + n_steps) if bool(own.any()) else None)
        contexts, shares = self._contexts().detach(), self.usage()
        return picture_modes(self.model, self.steps, stretches, contexts=contexts, shares=shares)

    @torch.no_grad()
    def finished(self) -> ModeModel:
        """The model as it stands, with the contexts that a person steers it with."""
        self.model.contexts.copy_(self._contexts())
        self.model.shares = self.usage().tolist()
        if self.styles is not None:
            chosen = self._some(self.spans.lengths, "styles read", MOST_READ_STEPS)
            self.styles.settle(self.model, self.steps.of_stretches(self.spans, chosen), chosen)
        if self._n_changes and self.config.sharing != "window":
            some = self.steps.of_episodes(self._some(self.steps.episodes.lengths, "switch rate", MOST_READ_STEPS))
            self.model.switch_rate = estimated_rate(self.model.step_scores(some), some.lengths)
        self.model.search = None if self.search_facts is None else self._with_health(self.search_facts)
        return self.model

    def _some(self, lengths: Int[Tensor, "stretch"], purpose: str, most_steps: int) -> Int[Tensor, "chosen"]:
        """A uniform subset of whole episodes or spans, for what is read at the end; all, if they have no more steps."""
        generator = named_generator(self.config.seed, "unbraid", purpose)
        return torch.from_numpy(some_within(lengths.numpy(), most_steps, generator))

    @property
    def _n_changes(self) -> int:
        """How many more spans there are than episodes with steps."""
        return len(self.spans) - int((self.steps.lengths > 0).sum())

    def _with_health(self, facts: dict[str, Any]) -> dict[str, Any]:
        """What the search said, with how much each code is used where the trained encoder reads all demonstrations.

        Of more than `MOST_READ_STEPS` steps a uniform part is read.

        A code that is read in less than a tenth of the windows that it should be has collapsed: a warning.
        """
        length = min(STEPS_PER_WINDOW, int(self.steps.lengths.max()))
        starts = torch.from_numpy(cut_windows(self.steps.lengths, length, stride_steps=length).starts)
        if len(starts) * length > MOST_READ_STEPS:
            generator = named_generator(self.config.seed, "unbraid", "codes read")
            starts = starts[np.sort(generator.permutation(len(starts))[: MOST_READ_STEPS // length])]
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
        codes = {"encoder_shares": read.tolist(), "encoder_perplexity": perplexity(read), "window_shares": due.tolist()}
        changes = facts["changes"] and facts["changes"] | {"n_changes": self._n_changes}
        warnings = [*self._warnings, *facts["warnings"], *(warnings or self._misread())]
        return facts | codes | {"changes": changes, "warnings": warnings}

    def _misread(self) -> list[str]:
        """A warning where encoder and policy together read spans in other modes than the search put them in: what the
        search says of its modes is then not true of those that were learned."""
        if self.config.sharing == "window" or self.model.n_modes == 1:
            return []  # ten steps are no span to be sure of
        reading = reading_of(self.model, *self.sure_part(self._some(self.spans.lengths, "spans read", MOST_HELD_STEPS)))
        may_help = self.config.encoder == "mean" and not self.order_is_no_help
        return reading.warnings("stretches" if self._n_changes else "demonstrations", order_may_help=may_help)

    # What an exact resume needs beside the model (see checkpoint.py)

    def modules(self) -> dict[str, nn.Module]:
        """Every module with weights."""
        return {"model": self.model} if self.styles is None else {"model": self.model, "styles": self.styles}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimiser of all networks, and that of the styles."""
        own: dict[str, torch.optim.Optimizer] = {"all": self._descent.optimizer}
        return own if self.styles is None else own | {"styles": self.styles.optimizer}

    def tensors(self) -> dict[str, Tensor]:
        """State that is no module's and no optimiser's."""
        generators = {"generator": self.generator, "windows_generator": self.windows.generator}
        states = {name: generator.get_state() for name, generator in generators.items()}
        return Given(self.spans, self.responsibilities, facts=self.search_facts).tensors() | states

    def restore(self, tensors: dict[str, Tensor], taken: int) -> None:
        """Takes back what `tensors` gave, and the number of steps taken."""
        self.responsibilities, self.taken = tensors["responsibilities"], taken
        self.generator.set_state(tensors["generator"])
        self.windows.generator.set_state(tensors["windows_generator"])
