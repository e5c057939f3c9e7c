"""What an evaluation leaves in a run's folder, and the seeds that it must not use again."""

import csv
import json

import numpy as np
import pytest

from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.evaluate import evaluate
from unbraid.pipeline.measured import across_entry, collected_seeds, evaluation_entry, save_episodes, seeds_entry
from unbraid.worlds.controllers import from_function

ENV = "Pendulum-v1"


@pytest.fixture(scope="module")
def found():
    def pushing(torque):
        return from_function(lambda observations: np.full((len(observations), 1), torque))

    forces = {"a": 0.0, "b": 2.0}
    return {name: evaluate(pushing(torque), ENV, seeds=[3, 1], max_steps=4) for name, torque in forces.items()}


def test_the_entry_is_a_summary_of_everybody(found):
    entry = json.loads(json.dumps(evaluation_entry(found), allow_nan=False))
    assert (entry["env_id"], entry["n_episodes"], entry["max_steps"]) == (ENV, 2, 4)
    assert [actor["name"] for actor in entry["actors"]] == ["a", "b"]
    assert entry["actors"][1]["summary"]["energy"]["mean"]["value"] == 16.0
    assert entry["units"]["energy"] == "squared action"


def test_every_episode_is_kept_twice_and_older_ones_are_replaced(found, tmp_path):
    (tmp_path / "evaluation.csv").write_text("older")
    entry = evaluation_entry(found)
    save_episodes(tmp_path, found, entry)
    with (tmp_path / "evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["actor"], row["seed"]) for row in rows] == [("a", "3"), ("a", "1"), ("b", "3"), ("b", "1")]
    assert float(rows[3]["return"]) == found["b"].values["return"][1]
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert (content["format"], content["version"]) == ("unbraid-evaluation", 1)
    assert content["actors"][1] == {**entry["actors"][1], "episodes": found["b"].table}


def test_the_mode_of_an_expert_in_every_run(found):
    modes = [[found["a"], found["b"]], [found["b"], found["a"]], [found["a"]]]
    matchings = [np.array([0, 1]), np.array([1, 0]), np.array([0])]
    first, second = across_entry(modes, matchings, ["still", "pushing"])
    assert (first["expert"], first["modes"]) == ("still", [0, 1, 0])
    assert first["metrics"]["energy"] == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 3, "unit_of_n": "training seeds"}
    assert second == {"expert": "pushing", "modes": [1, 0, None], "metrics": {}}


def test_the_seeds_of_the_demonstrations_are_kept_and_found_again(tmp_path):
    def pile(*seeds):
        return Demos.from_episodes(
            [Episode(observations=np.zeros((2, 1)), actions=np.zeros((1, 1)), seed=seed) for seed in seeds]
        )

    assert seeds_entry(pile(7, 3), None, pile(5)) == {"seeds": [3, 5, 7]}
    assert seeds_entry(pile(None), None) == {}
    for name, data in (("one", seeds_entry(pile(7, 3))), ("two", {"seeds": [9]}), ("old", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(
            json.dumps({"format": "unbraid-results", "version": 1, "data": data})
        )
    assert collected_seeds(tmp_path / "one", tmp_path / "two", tmp_path / "old", tmp_path / "none") == [3, 7, 9]
