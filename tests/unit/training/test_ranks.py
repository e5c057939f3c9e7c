"""Several processes take the steps that one would."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unbraid.core.errors import ConfigError, RunError
from unbraid.core.processes import Place
from unbraid.training.fit import learner_for
from unbraid.training.ranks import ONE_RANK, Ranks, ranks_of_torchrun

FOLDER = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def place_of(rank, size):
    return Ranks(Place(rank, size), in_group=False)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes found, the first one's first."""
    folder = tmp_path_factory.mktemp("ranks")
    done = subprocess.run([*TORCHRUN, FOLDER / "ranks_program.py", folder], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "run" / "metrics.jsonl").exists()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize(("n_rows", "size"), [(8, 2), (7, 3), (5, 5), (1, 1)])
def test_parts_are_all_rows_once_and_nearly_equal(n_rows, size):
    parts = [list(range(n_rows))[place_of(rank, size).part(n_rows)] for rank in range(size)]
    assert [row for part in parts for row in part] == list(range(n_rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert sum(place_of(rank, size).share(n_rows) for rank in range(size)) == pytest.approx(1)


def test_a_batch_has_a_row_for_each_process():
    with pytest.raises(ConfigError, match=r"must hold a row for each process.*got 2 rows for 3 processes"):
        place_of(0, 3).part(2)


def test_one_process_exchanges_nothing():
    values = torch.arange(4.0)
    assert float(ONE_RANK.mean(values)) == 1.5
    assert ONE_RANK.total([], values) == (values,)
    assert ONE_RANK.shared(b"its own") == b"its own"
    with ranks_of_torchrun() as ranks:
        assert ranks is ONE_RANK


def test_each_process_knows_its_place(found):
    assert [of["place"] for of in found] == [[0, 2], [1, 2]]


def test_the_group_ends_with_the_block(found):
    """A group that stays has threads, one of which may abort the process while Python ends."""
    assert not any(of["group stays"] for of in found)


def test_means_and_gradients_are_those_of_the_whole_batch(found):
    mean_of_squares = (1 + 4 + 9 + 16 + 25) / 5  # of w x at w = 1/2: a quarter; its derivative: 2 w times
    for of in found:
        loss, gradient, counts, kind = of["mean"]
        assert loss == pytest.approx(mean_of_squares / 4)
        assert gradient == pytest.approx(mean_of_squares)
        assert (counts, kind) == ([2, 1], "torch.int64")


def test_all_get_what_the_first_has(found):
    assert [of["shared"] for of in found] == [["first", ""]] * 2


def test_other_data_is_refused_where_it_is(found):
    assert found[0]["refusal"] is None
    assert "All processes must fit with the same data; process 1 has another" in found[1]["refusal"]


@pytest.mark.parametrize(
    "case", ["unbraid", "calibrated", "style", "free codes", "lstm", "talk", "ratio", "product", "windows"]
)
def test_two_processes_learn_what_one_does(found, case):
    of_losses, of_weights, of_used_codes = found[0]["cases"][case]
    assert of_losses < 1e-4
    assert of_weights < 1e-3
    assert of_used_codes == 0


def test_all_begin_where_the_first_does(found):
    assert [of["after another start"] for of in found] == [0, 0]


def test_the_first_alone_logs_and_all_get_the_whole_model(found):
    assert found[0]["logged"] > 0
    assert found[1]["logged"] == 0
    assert found[1]["search"]


def test_processes_that_torchrun_starts_again_meet_one_another_and_not_those_before(tmp_path):
    command = [*TORCHRUN, "--max-restarts", "3", FOLDER / "ranks_restarted.py", tmp_path]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_text() for path in tmp_path.glob("got_*")} == {"got_1_0": "1", "got_1_1": "1"}


def started_by_torchrun(monkeypatch, rank):
    said = {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank, "MASTER_ADDR": "x", "MASTER_PORT": "1"}
    for name, value in said.items():
        monkeypatch.setenv(name, value)


class StoreOfOne(dict):
    """A store that nobody else writes to; Ctrl-C comes at the third look into it."""

    n_looks = 0

    def check(self, keys):
        self.n_looks += 1
        if self.n_looks == 3:
            raise KeyboardInterrupt
        return all(key in self for key in keys)

    def get(self, key):
        assert key in self, "it would wait there for half an hour, deaf to Ctrl-C"
        return self[key].encode()

    def set(self, key, value):
        self[key] = value


@pytest.mark.parametrize("rank", ["0", "1"])
def test_ctrl_c_stops_a_process_that_waits_for_the_others(monkeypatch, rank):
    started_by_torchrun(monkeypatch, rank)
    monkeypatch.setattr("torch.distributed.rendezvous", lambda *args, **settings: iter([(StoreOfOne(), 0, 2)]))
    with pytest.raises(KeyboardInterrupt), ranks_of_torchrun("cpu"):
        pass


def test_processes_that_cannot_meet_say_so(monkeypatch):
    def refuse(*args, **settings):
        raise ValueError("nobody there")

    monkeypatch.setattr("torch.distributed.rendezvous", refuse)
    started_by_torchrun(monkeypatch, rank="1")
    with (
        pytest.raises(RunError, match=r"must reach one another.*nobody there.*--master-addr"),
        ranks_of_torchrun("cpu"),
    ):
        pass


@pytest.mark.parametrize(("device", "n_gpus"), [("cuda", 1), ("cuda:0", 4)])
def test_each_process_needs_a_gpu_of_its_own(demos, tiny, monkeypatch, device, n_gpus):
    monkeypatch.setattr("torch.cuda.device_count", lambda: n_gpus)
    ranks = Ranks(Place(1, 2, 1), in_group=True)
    with pytest.raises(ConfigError, match=rf"a GPU of its own.*--device {device}, {n_gpus} GPUs.*number 1 here"):
        learner_for(demos, tiny("talk"), device, ranks=ranks)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_adds_up_by_nccl(demos, tiny, tmp_path):
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    try:
        ranks = Ranks(Place(0, 1, 0), in_group=True)
        for method in ("unbraid", "talk"):
            together, alone = (learner_for(demos, tiny(method), "auto", ranks=of) for of in (ranks, ONE_RANK))
            for _ in range(5):
                one, two = together.step(), alone.step()
            assert {name: float(value) for name, value in one.items()} == pytest.approx(
                {name: float(value) for name, value in two.items()}, rel=1e-4, abs=1e-5
            )
    finally:
        torch.distributed.destroy_process_group()
