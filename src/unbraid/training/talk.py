"""The talk's method as a learner: each step is one gradient step of VQ-VAE and policy together."""

from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.core.randomness import named_seed
from unbraid.modes.codebook import FreeCodebook, code_usage
from unbraid.modes.encoders import TransitionEncoder
from unbraid.modes.spans import WindowPlaces
from unbraid.policy.gaussian import diagonal_log_prob, perceptron
from unbraid.policy.normaliser import Normaliser
from unbraid.training.adabelief import AdaBelief
from unbraid.training.config import TalkConfig
from unbraid.training.model import ModeModel
from unbraid.training.objectives import joined, vq_terms
from unbraid.training.pictures import MOST_SHOWN_STEPS, picture_modes
from unbraid.training.ranks import ONE_RANK, Ranks
from unbraid.training.steps import Steps

__all__ = ["Pairs", "TalkLearner", "training_context"]

_WINDOWS_AT_ONCE, _MOST_SCALED, _BLOCK = 1000, 200_000, 65536
_MANY, _FEW = 20_000, 2_000  # transitions that tell the usage of codes; that tell it in a picture
_STRETCHES = 24  # that pictures are chosen from


@final
class Pairs:
    """What is learned together, pair by pair: an observation, an action and a transition.

    ``pairing="repaired"``: a state, the action taken on it, the transition that followed. ``"published"`` repeats
    two faults of the talk's code: the extra observation at each episode's end is forgotten, so that from the second
    episode on a state is paired with a later step's action; and transitions come from the first episode only.
    (The code has one first episode per expert; in a pile that nobody sorted there is one.)
    """

    def __init__(self, steps: Steps, config: TalkConfig) -> None:
        """As many pairs as there are transitions of full length."""
        self._steps, self._repaired = steps, config.pairing == "repaired"
        self._places = WindowPlaces(steps.lengths, config.delta_steps)
        n_of_episodes = np.maximum(steps.lengths - config.delta_steps + 1, 0)
        self._n_of_first = int(n_of_episodes[n_of_episodes > 0][0])

    def __len__(self) -> int:
        return len(self._places)

    def acts(self, pairs: Int[Tensor, "pair"]) -> Int[Tensor, "pair"]:
        """The steps whose actions are learned."""
        return self._places.at(pairs)[0]

    def moves(self, pairs: Int[Tensor, "pair"]) -> Int[Tensor, "pair"]:
        """The steps whose transitions are learned."""
        return self.acts(pairs if self._repaired else pairs % self._n_of_first)

    def observations(self, pairs: Int[Tensor, "pair"]) -> Float[Tensor, "pair obs"]:
        """The states that the actions are said to be taken on."""
        steps = self.acts(pairs)
        return self._steps.observations(steps) if self._repaired else self._steps.nth_observations(steps)


@final
class TalkLearner:
    """Encoder, codebook, decoder and policy of the talk, trained together by AdaBelief.

    Source: Eloundou 2021. Departs: the repairs, each of which the config can switch off; and, where
    it is asked, a latent of a window: the state and action are those of its first step, and the decoder rebuilds all of
    its transitions, side by side.
    """

    def __init__(self, steps: Steps, config: TalkConfig, device: str = "cpu", *, ranks: Ranks = ONE_RANK) -> None:
        """Draws the initial weights from the config's seed."""
        self.ranks = ranks
        self.steps, self.config, self.n_steps = steps, config, config.n_steps
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(named_seed(config.seed, "talk", "weights"))
            size = steps.observation_size
            self.model = ModeModel(config, observation_size=size, action_size=steps.action_size)
            self.model.observation_origin = steps.origin
            self.decoder = nn.Sequential(
                nn.Linear(size, size), perceptron([size, *config.decoder_hidden, size * self._n_rebuilt], nn.Tanh)
            )
        self.pairs = Pairs(steps, config)
        if config.scaling == "repaired":
            self.model.observation_normaliser = Normaliser.of_blocks(steps.observation_blocks(), floor=0.02)
            some = self.pairs.moves(torch.arange(min(len(self.pairs), _MOST_SCALED))).split(_BLOCK)
            moved = (steps.transitions(block, config.delta_steps).numpy() for block in some)
            self.model.transition_normaliser = Normaliser.of_blocks(moved, floor=0.02)
        self.generator = torch.Generator().manual_seed(named_seed(config.seed, "talk", "batches"))
        self.model.to(device)
        self.decoder.to(device)
        parameters = [*self.model.parameters(), *self.decoder.parameters()]
        self.optimizer = AdaBelief(parameters, lr=config.learning_rate)
        self.objective = joined(config.objective)
        self.taken = 0
        self.batch = self._draw()
        self.used = torch.zeros(config.n_modes, dtype=torch.long)  # how often each code was chosen since the last draw
        if config.codebook == "repaired":
            self._revive()

    @property
    def samples_per_step(self) -> int:
        """Transitions in a batch."""
        return self.config.batch_size

    def _draw(self) -> Int[Tensor, "batch"]:
        return torch.randint(len(self.pairs), (self.config.batch_size,), generator=self.generator)

    @torch.no_grad()
    def _revive(self) -> None:
        """Lets codes that were not used since the last draw, at the start all, begin at latents of the new batch."""
        assert isinstance(self.model.codebook, FreeCodebook)
        dead = self.used == 0
        if dead.any():
            latents = self._latents(self.pairs.moves(self.batch))
            self.model.codebook.start_again(dead.to(latents.device), latents, self.generator)
        self.used.zero_()

    @property
    def _n_rebuilt(self) -> int:
        """Transitions that one latent stands for, at the most."""
        return 1 if self.config.encoder == "transition" else self.config.window_steps

    def _latents(self, moves: Int[Tensor, "batch"]) -> Float[Tensor, "batch latent"]:
        """Of the transitions, or of the windows that begin with them."""
        model = self.model
        if isinstance(model.encoder, TransitionEncoder):
            return model.encoder(model.scaled_transitions(self.steps, moves))
        return model.latents(self.steps, model.talk_windows(self.steps, moves))

    def _rebuilt(
        self, moves: Int[Tensor, "batch"], codes: Float[Tensor, "batch latent"]
    ) -> tuple[Float[Tensor, "transition obs"], Float[Tensor, "transition obs"]]:
        """The transitions that the latents stand for, and what the decoder makes of the codes in their place."""
        decoded = self.decoder(codes)
        if isinstance(self.model.encoder, TransitionEncoder):
            return self.model.scaled_transitions(self.steps, moves), decoded
        windows = self.model.talk_windows(self.steps, moves)
        mask = windows.mask.to(decoded.device)
        rebuilt = decoded.unflatten(1, (self._n_rebuilt, -1))[:, : mask.shape[1]]
        return self.model.scaled_transitions(self.steps, windows.steps)[mask], rebuilt[mask]

    def step(self) -> dict[str, Tensor]:
        """One gradient step; the loss and its named terms, each a 0-d tensor."""
        if self.taken and self.taken % self.config.steps_per_batch == 0:
            self.batch = self._draw()
            if self.config.codebook == "repaired":
                self._revive()
        model, mean = self.model, self.ranks.mean
        batch = self.batch[self.ranks.part(len(self.batch))]
        moves = self.pairs.moves(batch)
        states = model.observation_normaliser(self.pairs.observations(batch))
        actions = self.steps.actions(self.pairs.acts(batch)).to(model.device)
        latents = self._latents(moves)
        distances = model.codebook(latents)
        modes = distances.argmin(1)
        quantised = model.codebook.codes()[modes]
        passed = latents + (quantised - latents).detach()  # straight-through: the decoder's gradient skips the choice
        terms = vq_terms(*self._rebuilt(moves, passed), latents, quantised, mean)
        means, log_std = model.policy(states, training_context(distances, self.config))
        log_probs = diagonal_log_prob(actions, means, log_std)
        loss = self.objective(terms.total(self.config.commitment), log_probs, mean)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        (used,) = self.ranks.total(self.modules().values(), torch.bincount(modes, minlength=len(self.used)))
        self.used += used.cpu()
        self.optimizer.step()
        self.taken += 1
        return {
            "loss": loss.detach(),
            "reconstruction": terms.reconstruction.detach(),
            "codebook": terms.codebook.detach(),
            "commitment": terms.commitment.detach(),
            "policy": -mean(log_probs.detach().sum(-1)),
        }

    @torch.no_grad()
    def usage(self) -> Float[Tensor, "mode"]:
        """The share of transitions in each code, counted over up to 20,000 spread evenly through the data."""
        return code_usage(self._spread_distances().argmin(1), self.config.n_modes)

    @torch.no_grad()
    def pictures(self) -> list[dict[str, Any]]:
        """Of each code the stretch that holds most of it now, of some that are spread evenly: see `picture_modes`."""
        whole = torch.nonzero(self.steps.episodes.lengths >= self.config.delta_steps)[:, 0]
        some = whole[torch.linspace(0, len(whole) - 1, min(len(whole), _STRETCHES), dtype=torch.float64).long()]
        stretches = [self._first_steps(episode) for episode in some.tolist()]
        codes = [self.model.codebook(self._latents(stretch)).argmin(1) for stretch in stretches]
        held = torch.stack([code_usage(own, self.config.n_modes) for own in codes])  # (stretch, mode)
        chosen = [stretches[int(own.argmax())] if bool(own.any()) else None for own in held.T]
        distances = self._spread_distances(_FEW)
        shares, contexts = code_usage(distances.argmin(1), self.config.n_modes), self._steering_contexts(distances)
        return picture_modes(self.model, self.steps, chosen, contexts=contexts, shares=shares)

    def _first_steps(self, episode: int) -> Int[Tensor, "step"]:
        """The first steps of an episode from which a whole transition leads on."""
        n_whole = int(self.steps.episodes.lengths[episode]) - self.config.delta_steps + 1
        return self.steps.episodes.starts[episode] + torch.arange(min(n_whole, MOST_SHOWN_STEPS))

    def _spread_distances(self, most: int = _MANY) -> Float[Tensor, "transition mode"]:
        """Distances to the codes of transitions that are spread evenly through the data."""
        n = len(self.pairs)
        spread = self.pairs.moves(torch.linspace(0, n - 1, min(n, most), dtype=torch.float64).long())
        if isinstance(self.model.encoder, TransitionEncoder):
            return self.model.codebook(self._latents(spread))
        return torch.cat([self.model.codebook(self._latents(some)) for some in spread.split(_WINDOWS_AT_ONCE)])

    @torch.no_grad()
    def finished(self) -> ModeModel:
        """The model as it stands, with the contexts that a person would steer it with."""
        self.model.contexts.copy_(self._steering_contexts(self._spread_distances()))
        self.model.shares = self.usage().tolist()
        return self.model

    def _steering_contexts(self, distances: Float[Tensor, "transition mode"]) -> Float[Tensor, "mode mode"]:
        """What a person would steer with. Row k: 0 at k, elsewhere the mean of what training saw when the code was k
        (of all, if it never was)."""
        if self.config.steering == "published" or self.config.context == "not_hot":
            return self.model.contexts  # they are not-hot already
        codes, seen = distances.argmin(1), training_context(distances, self.config)
        rows = [seen[codes == k].mean(0) if bool((codes == k).any()) else seen.mean(0) for k in range(len(seen[0]))]
        contexts = torch.stack(rows)
        return contexts * (1 - torch.eye(len(contexts), device=contexts.device))

    # What an exact resume needs beside the model (see checkpoint.py)

    def modules(self) -> dict[str, nn.Module]:
        """Every module with weights."""
        return {"model": self.model, "decoder": self.decoder}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The one optimiser of everything."""
        return {"all": self.optimizer}

    def tensors(self) -> dict[str, Tensor]:
        """State that is no module's and no optimiser's."""
        return {"batch": self.batch, "used": self.used, "generator": self.generator.get_state()}

    def restore(self, tensors: dict[str, Tensor], taken: int) -> None:
        """Takes back what `tensors` gave, and the number of steps taken."""
        self.batch, self.used, self.taken = tensors["batch"], tensors["used"], taken
        self.generator.set_state(tensors["generator"])


def training_context(distances: Float[Tensor, "batch mode"], config: TalkConfig) -> Float[Tensor, "batch mode"]:
    """What the policy is given while training, by the config's choice of context."""
    match config.context:
        case "squared_distances":
            return distances
        case "distances":
            return (distances + 1e-12).sqrt()
        case "not_hot":
            # Straight-through: the value is not-hot, the gradient is the distances'.
            hard = torch.ones_like(distances).scatter(1, distances.argmin(1, keepdim=True), 0)
            return distances + (hard - distances).detach()
