"""A fit from a mapped store keeps its anonymous memory, however many steps it has: nothing is as long as the data."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from unbraid.demos.episodes import Demos
from unbraid.demos.writing import new_store

FEW, MANY, EPISODE = 100_000, 1_000_000, 250
A_NUMBER_A_STEP = 8 * (MANY - FEW)

PROGRAM = """
import json, sys, threading
from pathlib import Path

import numpy as np

from unbraid.demos.selection import Selection
from unbraid.demos.loading import load_demos
from unbraid.demos import far_values
from unbraid.modes import changes, search, stretches
from unbraid.training import calibrated, joint, networks, steps, talk as talk_learner
from unbraid.training.config import TalkConfig, UnbraidConfig
from unbraid.training.fit import fit
from unbraid.training.loop import LoopOptions

# What is as large for any data is made small, so that what is not stands out
stretches._TOLD_STEPS = 0
networks._PART_STEPS = joint.MOST_READ_STEPS = calibrated.MOST_READ_STEPS = 10_000
search.MOST_STEPS = changes.MOST_STEPS = talk_learner._MOST_SCALED = 10_000
far_values._SAMPLE_ROWS = 10_000
steps._BLOCK = joint._BLOCK = talk_learner._BLOCK = 10_000


def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def peak_of(work):
    peak, done = [anonymous()], threading.Event()

    def watch():
        while not done.wait(0.002):
            peak.append(anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    work()
    done.set()
    thread.join()
    return max(peak)


def fitted(folder):
    demos = load_demos(folder)
    some = Selection(demos, np.arange(1, demos.n_episodes))
    model = fit(some, config, LoopOptions(device="cpu"))
    model.score(demos)
    model.predict(demos)


method, few, many = sys.argv[1:]
small = {"n_modes": 2, "n_steps": 3, "policy_hidden": (16,)}
talk = TalkConfig(**small, decoder_hidden=(16,))
config = talk if method == "talk" else UnbraidConfig(**small, encoder_width=16, search_steps=5, style="on")
fitted(few)  # what is made once
# the least of two peaks: an array as long as the data is in both, scraps that malloc keeps are not
few_peak, many_peak = (min(peak_of(lambda: fitted(folder)) for _ in range(2)) for folder in (few, many))
now = anonymous()
held = np.ones(900_000)
seen = anonymous() - now
print(json.dumps({"grown": many_peak - few_peak, "seen_of_a_number_a_step": seen}))
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same two experts for 100,000 and for 1,000,000 steps, of three numbers each."""
    folder = tmp_path_factory.mktemp("stores")
    for n_steps in (FEW, MANY):
        generator = np.random.default_rng(0)
        with new_store(folder / str(n_steps)) as writer:
            for _ in range(0, n_steps, FEW):
                n_episodes = FEW // EPISODE
                states = generator.normal(size=(n_episodes, EPISODE + 1, 2)).astype(np.float32)
                signs = np.where(np.arange(n_episodes) % 2, 1, -1)[:, None, None]
                actions = signs * states[:, :-1, :1] + 0.3 * generator.normal(size=(n_episodes, EPISODE, 1))
                writer.append(
                    Demos(
                        observations=states.reshape(-1, 2),
                        actions=actions.reshape(-1, 1).astype(np.float32),
                        lengths=np.full(n_episodes, EPISODE),
                        terminated=np.zeros(n_episodes, bool),
                    )
                )
    return folder


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux, which says what memory is anonymous")
@pytest.mark.parametrize("method", ["unbraid", "talk"])
def test_ten_times_the_steps_take_no_more_memory(stores, method):
    """Less than half a number of 8 bytes a step more: an array as long as the data would show."""
    program = [sys.executable, "-c", PROGRAM, method, str(stores / str(FEW)), str(stores / str(MANY))]
    # so that memory which is let go of goes at once, and peaks are of what is held
    malloc = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "16384"}
    done = subprocess.run(program, env=os.environ | malloc, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["seen_of_a_number_a_step"] > 0.9 * A_NUMBER_A_STEP  # such an array would be seen
    assert found["grown"] < 0.5 * A_NUMBER_A_STEP
