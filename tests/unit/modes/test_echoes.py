"""Echoes: columns that feel the last action are found, the world's state is not taken for one."""

import numpy as np
import torch

from unbraid.modes.echoes import echoing_columns


def recorded(n_episodes=10, n_steps=200, seed=0):
    """Columns: a copy of a[t-1] with noise; a smooth state; a slow integral of the action; noise; a constant."""
    generator = np.random.default_rng(seed)
    states, actions = [], []
    for _ in range(n_episodes):
        a = generator.normal(size=(n_steps, 1))
        before = np.concatenate([generator.normal(size=(1, 1)), a[:-1]])
        smooth = np.sin(np.arange(n_steps)[:, None] / 9 + generator.uniform(0, 6)) + 0.05 * generator.normal(
            size=(n_steps, 1)
        )
        position = np.cumsum(0.002 * before + 0.05 * generator.normal(size=(n_steps, 1)), axis=0)
        noise = generator.normal(size=(n_steps, 1))
        echo = before + 0.3 * generator.normal(size=(n_steps, 1))
        states.append(np.concatenate([echo, smooth, position, noise, np.zeros((n_steps, 1))], axis=1))
        actions.append(a)
    of_step = torch.arange(n_episodes).repeat_interleave(n_steps)
    return (torch.from_numpy(np.concatenate(x).astype(np.float32)) for x in (states, actions)), of_step


def test_a_column_that_copies_the_last_action_is_an_echo_and_no_other_is():
    (states, actions), of_step = recorded()
    assert echoing_columns(states, actions, of_step).tolist() == [True, False, False, False, False]


def test_a_column_that_copies_the_present_action_is_no_echo():
    (states, actions), of_step = recorded()
    states[:, 3:4] = actions
    assert not echoing_columns(states[:, 1:], actions, of_step).any()


def test_the_share_decides():
    (states, actions), of_step = recorded()
    assert not echoing_columns(states, actions, of_step, share=0.99).any()


def test_no_pair_crosses_two_episodes():
    """Of episodes of one step there is no pair, whatever their order suggests."""
    actions = torch.randn(300, 1)
    states = torch.cat([torch.zeros(1, 1), actions[:-1]])  # an echo, if neighbours were of one episode
    assert not echoing_columns(states, actions, torch.arange(300)).any()
    assert echoing_columns(states, actions, torch.zeros(300, dtype=torch.long)).all()


def test_a_long_recording_is_read_all_along():
    """Only 20,000 pairs are looked at; the echo of the second half is still seen."""
    n = 60_000
    actions = torch.randn(n, 1, generator=torch.Generator().manual_seed(0))
    states = torch.randn(n, 2, generator=torch.Generator().manual_seed(1))
    states[n // 2 + 1 :, :1] = actions[n // 2 : -1]
    assert echoing_columns(states, actions, torch.zeros(n, dtype=torch.long)).tolist() == [True, False]
