"""Starts: K groups by several roads, merges that lose nobody, splits that add one."""

import numpy as np
import pytest
import torch

from unbraid.modes.starts import described, merges, proposals, splits


@pytest.fixture
def blobs():
    """(latents, descriptions, label): three groups in the latents, another three in the descriptions."""
    generator = np.random.default_rng(0)
    labels = np.arange(30) % 3
    latents = 10 * np.eye(3)[labels] + generator.normal(size=(30, 3))
    descriptions = 10 * np.eye(4)[np.arange(30) // 10] + generator.normal(size=(30, 4))
    return latents, descriptions, labels


SEVERAL = (
    ["random"] * 2
    + ["k-means of latents"] * 3
    + ["Gaussian mixture of latents"] * 3
    + ["Ward's tree of latents", "k-means of descriptions"]
)


@pytest.mark.parametrize("n_modes", [2, 3, 5])
def test_proposals_are_responsibilities_of_so_many_groups(blobs, n_modes):
    latents, descriptions, _ = blobs
    found = proposals(latents, descriptions, n_modes, np.random.default_rng(0))
    assert [name for name, _, _ in found] == SEVERAL
    for name, responsibilities, beta in found:
        assert responsibilities.shape == (30, n_modes)
        torch.testing.assert_close(responsibilities.sum(1), torch.ones(30))
        assert len(responsibilities.argmax(1).unique()) == n_modes
        assert beta == (0.02 if name == "random" else 1.0)
        if name != "random":
            assert float(responsibilities.max(1).values.min()) == pytest.approx(0.98 + 0.02 / n_modes)


def test_each_road_reads_what_it_says(blobs, tells_apart):
    latents, descriptions, labels = blobs
    for name, responsibilities, _ in proposals(latents, descriptions, 3, np.random.default_rng(0)):
        modes = responsibilities.argmax(1)
        assert tells_apart(modes, labels) == ("of latents" in name), name
        assert tells_apart(modes, np.arange(30) // 10) == ("of descriptions" in name), name


def test_random_alone_is_as_many(blobs):
    latents, descriptions, _ = blobs
    found = proposals(latents, descriptions, 3, np.random.default_rng(0), random_only=True)
    assert [(name, beta) for name, _, beta in found] == [("random", 0.02)] * 8
    assert len({tuple(r.flatten().tolist()) for _, r, _ in found}) == 8
    for _, responsibilities, _ in found:
        torch.testing.assert_close(responsibilities.sum(1), torch.ones(30))


@pytest.mark.parametrize("n_modes", [1, 31])
def test_where_there_is_nothing_to_group_starts_are_random(blobs, n_modes):
    latents, descriptions, _ = blobs
    found = proposals(latents, descriptions, n_modes, np.random.default_rng(0))
    assert {name for name, _, _ in found} == {"random"}
    assert found[0][1].shape == (30, n_modes)


def test_spans_that_are_all_alike_raise_no_warning():
    found = proposals(np.zeros((12, 3)), np.zeros((12, 4)), 3, np.random.default_rng(0))
    assert len(found) == len(SEVERAL)
    assert splits(torch.ones(12, 1), np.zeros((12, 3)), np.random.default_rng(0))[0][1].shape == (12, 2)


def test_the_seed_suffices_and_matters(blobs):
    first, again, other = (proposals(*blobs[:2], 3, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for (_, a, _), (_, b, _) in zip(first, again, strict=True))
    assert not torch.equal(first[0][1], other[0][1])


@pytest.mark.parametrize("n_modes", [2, 3, 5])
def test_every_pair_is_merged_once_and_nobody_is_lost(n_modes):
    drawn = np.random.default_rng(0).dirichlet(np.ones(n_modes), 20)
    before = torch.from_numpy(drawn.astype(np.float32))
    copy = before.clone()
    found = merges(before)
    assert torch.equal(before, copy)
    assert found.shape == (n_modes * (n_modes - 1) // 2, 20, n_modes - 1)
    torch.testing.assert_close(found.sum(-1), torch.ones(len(found), 20))
    sums = {(i, j): before[:, i] + before[:, j] for i in range(n_modes) for j in range(i + 1, n_modes)}
    for pair, merged in zip(sums, found, strict=True):
        wanted = [sums[pair], *(before[:, k] for k in range(n_modes) if k not in pair)]
        totals = sorted(round(float(column.sum()), 4) for column in wanted)
        assert sorted(round(float(column.sum()), 4) for column in merged.T) == pytest.approx(totals, abs=1e-3)
        assert any(torch.allclose(column, sums[pair]) for column in merged.T)


def test_each_mode_is_split_in_turn(blobs, tells_apart):
    latents, _, labels = blobs
    modes = torch.as_tensor(np.minimum(labels, 1))  # modes 1 and 2 are taken for one
    given = torch.nn.functional.one_hot(modes, 2).float()
    found = splits(given, latents, np.random.default_rng(0))
    assert [name for name, _, _ in found] == ["a mode split"] * 2
    for split, (_, responsibilities, beta) in enumerate(found):
        assert responsibilities.shape == (30, 3)
        assert beta == 1
        torch.testing.assert_close(responsibilities.sum(1), torch.ones(30))
        groups = responsibilities.argmax(1)
        untouched = modes != split
        assert torch.equal(groups[untouched], modes[untouched])
        assert set(groups[~untouched].tolist()) == {split, 2}
    assert tells_apart(found[1][1].argmax(1), labels)


def test_a_mode_of_two_spans_is_not_split(blobs):
    modes = torch.zeros(30, dtype=torch.long)
    modes[:2] = 1
    found = splits(torch.nn.functional.one_hot(modes, 3).float(), blobs[0], np.random.default_rng(0))
    assert len(found) == 1  # neither the pair, nor the mode that nobody is in
    assert found[0][1].shape == (30, 4)


def test_a_description_says_means_deviations_and_what_changed(recorded_of):
    generator = np.random.default_rng(0)
    observations = [generator.normal(size=(n + 1, 2)) for n in (5, 9, 7)]
    actions = [generator.normal(size=(n, 1)) for n in (5, 9, 7)]
    found = described(recorded_of(observations, actions))
    rows = []
    for seen, done in zip(observations, actions, strict=True):
        both = np.concatenate([seen[:-1], done], axis=1)
        rows.append(np.concatenate([both.mean(0), both.std(0), seen[-1] - seen[0]]))
    table = np.array(rows)
    np.testing.assert_allclose(found, (table - table.mean(0)) / table.std(0), atol=1e-4)
