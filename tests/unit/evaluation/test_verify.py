"""A certificate that is true is verified; one that was edited is not, and the message says what differs."""

import json
import re

import gymnasium
import numpy as np
import pytest
import torch

from unbraid.core.errors import ConfigError, DataError, RunError
from unbraid.evaluation.certificates import Terms, load_certificate, sha256_of
from unbraid.evaluation.certify import certify
from unbraid.evaluation.claims import EquivalenceClaim, MeanClaim, ProbabilityClaim
from unbraid.evaluation.verify import verify
from unbraid.steering.schedules import by_episode, in_turn
from unbraid.steering.steered import steer
from unbraid.training.config import UnbraidConfig
from unbraid.training.model import ModeModel
from unbraid.worlds.controllers import from_function
from unbraid.worlds.experts import make_expert

ENV = "unbraid/PointGoal1-v0"
MODEL = ModeModel(UnbraidConfig(n_modes=2), observation_size=60, action_size=2).eval()
CLAIMS = [
    ProbabilityClaim("distance", above=10, at_most=0.4, mode=0),
    EquivalenceClaim("distance", "forward", within=1.0, mode=1, n=12),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("certificates") / "certificate.json"
    certify(MODEL, ENV, CLAIMS, Terms(max_episodes=40, batch_episodes=12, max_steps=5)).save(path)
    return path


def _with_new_digests(content):
    """As a careful forger would."""
    parts = {name: content[name] for name in ("terms", "claims", "policy", "environment", "results")}
    parts |= {f"outcomes of {entry['actor']}": entry for entry in content["outcomes"]}
    content["sha256"] = {name: sha256_of(part) for name, part in parts.items()}


def test_a_certificate_is_verified_from_its_file_alone_with_its_policy_and_by_replay(path):
    for options, n_checked in (({}, 2), ({"policy": MODEL}, 3), ({"policy": MODEL, "replay": True}, 4)):
        found = verify(path, **options)
        assert found.differences == ()
        assert found.ok
        assert len(found.checked) == n_checked
    assert found.remarks == ()
    assert [result.answer for result in found.certificate.results] == ["holds", "holds"]
    assert json.loads(json.dumps(found.to_json()))["verified"] is True


class Pricey(gymnasium.Wrapper):
    """Mentions a cost in the episodes of some seeds alone."""

    def reset(self, *, seed=None, options=None):
        self.costs = seed % 7 == 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        *found, info = super().step(action)
        return *found, {**info, "cost": 1.0} if self.costs and action[0] > 0 else info


def test_costs_that_some_batches_lack_are_certified_and_replayed(tmp_path):
    """Also of whoever never has one, where another has."""
    world = "Pricey-v0"
    gymnasium.register(world, lambda: Pricey(gymnasium.make("Pendulum-v1")), max_episode_steps=3)
    idle, pushing = (from_function(lambda rows, at=at: np.full((len(rows), 1), at)) for at in (-1.0, 1.0))
    claims = [
        MeanClaim("cost", (0, 4), at_most=0.2),
        EquivalenceClaim("cost", "pushing", within=3, n=40),
    ]
    try:
        found = certify(idle, world, claims, Terms(max_episodes=60, batch_episodes=2), experts={"pushing": pushing})
        costs = {entry.actor: entry.values["cost"] for entry in found.outcomes}
        assert set(costs["the policy"]) == {0.0}
        assert set(costs["expert pushing"]) == {0.0, 3.0}
        assert (costs["expert pushing"][:2] == 0).all()
        assert (costs["expert pushing"] > 0).sum() == sum(seed % 7 == 0 for seed in found.outcomes[1].seeds)
        found.save(tmp_path / "pricey.json")
        again = verify(tmp_path / "pricey.json", policy=idle, experts={"pushing": pushing}, replay=True)
        assert again.differences == ()
    finally:
        del gymnasium.registry[world]


def test_what_is_read_is_what_was_written(path, tmp_path):
    again = load_certificate(path)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    with pytest.raises(RunError, match="must not exist yet"):
        again.save(path)
    content = json.loads(path.read_text())
    assert [claim["kind"] for claim in content["claims"]] == ["probability", "equivalence"]
    for result in content["results"]:
        assert {"claim", "answer", "method", "alpha", "n"} <= set(result)
    assert len(content["policy"]["weights_sha256"]) == 64


def _edit_outcome(content):
    content["outcomes"][0]["values"]["distance"][3] = 11.0


def _edit_outcome_of_no_consequence(content):
    content["outcomes"][0]["values"]["distance"][3] += 1e-9


def _edit_alpha(content):
    content["terms"]["alpha"] = 0.2


def _edit_answer(content):
    content["results"][0]["answer"] = "refuted"


def _edit_p_value(content):
    content["results"][1]["p_false"]["adjusted"] = 1e-6


def _loosen_claim(content):
    content["claims"][0]["at_most"] = 0.5


def _edit_seed(content):
    content["outcomes"][0]["seeds"][0] += 1


def _drop_an_episode(content):
    entry = content["outcomes"][1]
    entry["seeds"].pop()
    entry["values"]["distance"].pop()


def _add_an_episode(content):
    entry = content["outcomes"][0]
    entry["seeds"].append(7)
    entry["values"]["distance"].append(1.0)


def _drop_a_claim(content):
    content["claims"].pop()


def _edit_pair(content):
    content["outcomes"][1]["values"]["distance"][3] += 0.1


FORGERIES = [
    (
        _edit_outcome,
        "outcomes of mode 0",
        "mode 0 must have at least 24 episodes, as its claims are not decided before",
    ),
    (_edit_pair, "outcomes of mode 1", r"Claim 2, p_false alone: [\d.e-]+ in the certificate, recomputed [\d.e-]+\."),
    (_edit_alpha, "terms", r"Claim 1, alpha: 0.025 in the certificate, recomputed 0.1\."),
    (_edit_answer, "results", 'Claim 1, answer: "refuted" in the certificate, recomputed "holds".'),
    (_edit_p_value, "results", r"Claim 2, p_false adjusted: 1e-06 in the certificate, recomputed"),
    (_loosen_claim, "claims", r"Claim 1, claim: .*<= 0\.4\" in the certificate, recomputed .*<= 0\.5\""),
    (_edit_seed, "outcomes of mode 0", "The seeds of mode 0 must be those that the terms give"),
    (_drop_an_episode, "outcomes of mode 1", "mode 1 must have at least 12 episodes, .*; there are 11"),
    (_add_an_episode, "outcomes of mode 0", r"The outcomes of mode 0: \d+ episodes in the certificate, \d+ are what"),
    (_drop_a_claim, "claims", "Claim 2: a result without a claim in the certificate"),
]


@pytest.mark.parametrize(("forge", "part", "said"), FORGERIES, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("careful", [False, True])
def test_an_edit_is_found_and_named(path, tmp_path, forge, part, said, careful):
    content = json.loads(path.read_text())
    forge(content)
    if careful:
        _with_new_digests(content)
    (tmp_path / "forged.json").write_text(json.dumps(content))
    found = verify(tmp_path / "forged.json")
    assert not found.ok
    told = "\n".join(found.differences)
    assert re.search(said, told), told
    assert (f"The {part}: edited since" in told) is not careful


def test_an_edit_that_changes_no_answer_is_found_by_its_digest_or_by_replay(path, tmp_path):
    content = json.loads(path.read_text())
    _edit_outcome_of_no_consequence(content)
    (tmp_path / "edited.json").write_text(json.dumps(content))
    assert verify(tmp_path / "edited.json").differences == (
        "The outcomes of mode 0: edited since, as their SHA-256 says.",
    )
    _with_new_digests(content)
    (tmp_path / "forged.json").write_text(json.dumps(content))
    assert verify(tmp_path / "forged.json").ok
    (said,) = verify(tmp_path / "forged.json", policy=MODEL, replay=True).differences
    seed = content["outcomes"][0]["seeds"][3]
    assert said.startswith(f"The outcomes of mode 0: distance of episode 3 (seed {seed}) is ")
    assert said.endswith(f"; 1 of {len(content['outcomes'][0]['seeds'])} differ.")


def test_another_policy_is_found_by_its_weights_its_settings_or_its_style(path):
    other = ModeModel(UnbraidConfig(n_modes=2, seed=1), observation_size=60, action_size=2).eval()
    said = verify(path, policy=other).differences
    assert any(line.startswith("The policy's config_sha256: ") for line in said)
    said = verify(path, policy=steer(MODEL).blend({0: 0.5, 1: 0.5})).differences
    blend = "[] in the certificate, this policy has [[0, 0.5], [1, 0.5]]"
    assert said == (f"The policy's instruction blend: {blend}.",)


def test_other_weights_are_named(path):
    torch.manual_seed(1)
    other = ModeModel(UnbraidConfig(n_modes=2), observation_size=60, action_size=2).eval()
    (said,) = verify(path, policy=other).differences
    assert said.startswith("The policy's weights_sha256: \"")


ON_ITS_OWN = [MeanClaim("length", (0, 10), at_least=4)]
NOT_COMPARED = "The policy could not be compared with the one that acted"


def _certified(policy, path, terms=None):
    certify(policy, ENV, ON_ITS_OWN, terms or Terms(max_episodes=3, batch_episodes=3, max_steps=5)).save(path)
    return path


def _other_model():
    torch.manual_seed(1)
    return ModeModel(UnbraidConfig(n_modes=2), observation_size=60, action_size=2).eval()


def test_a_schedule_is_known_by_its_parts_and_by_when_they_act(tmp_path):
    def turns(model, second=1, at=3):
        return in_turn({0: steer(model).toward(0), at: steer(model).toward(second)})

    path = _certified(turns(MODEL), tmp_path / "turns.json")
    found = verify(path, policy=turns(MODEL))
    assert (found.ok, found.remarks) == (True, ())
    assert found.checked[-1] == "whether the policy is the one that acted"
    assert load_certificate(path).policy["weights_sha256"] == MODEL.fingerprint()
    for other, said in (
        (turns(_other_model()), "weights_sha256"),
        (turns(MODEL, second=0), "parts"),
        (turns(MODEL, at=4), "rule first_steps"),
        (steer(MODEL).toward(0), "kind"),
    ):
        assert any(f"The policy's {said}" in line for line in verify(path, policy=other).differences), said
    shares = {steer(MODEL).toward(0): 0.7, steer(MODEL).toward(1): 0.3}
    path = _certified(by_episode(shares), tmp_path / "shares.json")
    assert verify(path, policy=by_episode(shares)).ok
    others = by_episode(dict(zip(shares, (0.3, 0.7), strict=True)))
    assert "rule shares" in verify(path, policy=others).differences[0]


def test_of_a_schedule_of_two_models_both_are_known(tmp_path):
    other = _other_model()
    path = _certified(in_turn({0: steer(MODEL).toward(0), 3: steer(other).toward(1)}), tmp_path / "two.json")
    assert verify(path, policy=in_turn({0: steer(MODEL).toward(0), 3: steer(other).toward(1)})).ok
    swapped = in_turn({0: steer(other).toward(0), 3: steer(MODEL).toward(1)})
    assert "weights_sha256" in verify(path, policy=swapped).differences[0]


def test_a_policy_without_a_fingerprint_is_not_said_to_be_the_one_that_acted(tmp_path):
    for name, policy, other in (
        ("expert", make_expert("forward"), make_expert("circling")),
        ("function", lambda o: o[:, :2] * 0, lambda o: o[:, :2] * 0 + 1),
    ):
        path = _certified(policy if name == "expert" else from_function(policy), tmp_path / f"{name}.json")
        asked = other if name == "expert" else from_function(other)
        found = verify(path, policy=asked)
        assert found.ok
        assert len(found.checked) == 2
        (remark,) = found.remarks
        assert remark.startswith(NOT_COMPARED)
    (said,) = verify(path, policy=steer(MODEL).toward(0)).differences[:1]
    assert said.startswith("The policy's kind: ")


def test_a_certificate_of_a_schedule_from_before_it_had_a_fingerprint(tmp_path):
    schedule = in_turn({0: steer(MODEL).toward(0), 3: steer(MODEL).toward(1)})
    content = json.loads(_certified(schedule, tmp_path / "new.json").read_text())
    content["policy"] = {"kind": "Schedule", "weights_sha256": None, "config_sha256": None}
    _with_new_digests(content)
    (tmp_path / "old.json").write_text(json.dumps(content))
    found = verify(tmp_path / "old.json", policy=schedule)
    assert (found.ok, len(found.checked)) == (True, 2)
    assert found.remarks[0].startswith(NOT_COMPARED)


def test_a_certificate_of_a_model_must_have_its_fingerprint(path, tmp_path):
    content = json.loads(path.read_text())
    content["policy"]["weights_sha256"] = None
    _with_new_digests(content)
    (tmp_path / "without.json").write_text(json.dumps(content))
    (said,) = verify(tmp_path / "without.json", policy=MODEL).differences
    assert said.startswith("The policy's weights_sha256: null in the certificate")


def test_other_versions_are_a_remark(path, tmp_path):
    content = json.loads(path.read_text())
    content["environment"]["packages"]["mujoco"] = "1.0"
    _with_new_digests(content)
    (tmp_path / "older.json").write_text(json.dumps(content))
    found = verify(tmp_path / "older.json", policy=MODEL, replay=True)
    assert found.ok
    assert found.remarks[0].startswith('The version of mujoco: "1.0" in the certificate, now it is ')


def test_a_replay_needs_the_policy(path):
    with pytest.raises(ConfigError, match="A replay must have the policy"):
        verify(path, replay=True)


def _say_other_outcomes_first(content):
    """Of which a person reads the first, and the digests are of the last."""
    first = content["outcomes"][0]
    values = {name: [9.0] * len(found) for name, found in first["values"].items()}
    content["outcomes"].insert(0, {**first, "values": values})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.update(format="other"), "must say format 'unbraid-certificate'"),
        (lambda content: content.update(version=2), "must have version 1; it has 2"),
        (lambda content: content.pop("terms"), "must be a whole certificate; it lacks 'terms'"),
        (lambda content: content["terms"].update(alpha=7.0), "must be a whole certificate; `alpha` must lie in"),
        (
            lambda content: content["claims"][0].update(kind="median"),
            r"must be a whole certificate; A claim's kind must be .* of them\. Give",
        ),
        (lambda content: content["results"][0].update(answer="maybe"), "'maybe' is not an answer"),
        (_say_other_outcomes_first, "it has the outcomes of mode 0 twice"),
        (lambda content: content.update(approved_by="us"), "it has 'approved_by', of which no SHA-256 is kept"),
        (lambda content: content["outcomes"][0]["values"]["distance"].pop(), "are not one finite number per seed"),
    ],
)
def test_a_file_that_is_no_certificate_is_refused(path, tmp_path, change, said):
    content = json.loads(path.read_text())
    change(content)
    (tmp_path / "damaged.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        verify(tmp_path / "damaged.json")
    with pytest.raises(DataError, match="must exist"):
        verify(tmp_path / "none.json")
