"""How fast PointGoal worlds step, against MuJoCo alone on the same work in the same run.

For 1, 64 and 1024 worlds of one level, robots that chase their goals are played once and recorded: every call's models,
states and controls. Then, round by round, the same episodes are stepped by the vector environment, and MuJoCo does the
recorded work bare, in two ways and on as many threads:

- `mj_step`: 10 `mj_step` and one `mj_forward` per world and control step, from Python threads;
- `rollout`: `mujoco.rollout` with the eleventh substep that reads the sensors.

A ratio is the environment's rate over the faster bare one's, in the same round. Medians and quartiles are over rounds;
the ninth decile of a rate is the nearest to an idle machine's. Beside it stands the ratio of processor time, which a
busy machine disturbs less: what share of the environment's processor time is MuJoCo's work. The load of the machine is
noted, as runnable processes per core.

    python benchmarks/bench_worlds.py [--rounds 9] [--level 1] [--out benchmarks/results/bench_worlds.json]
"""

import argparse
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import mujoco.rollout
import numpy as np

from machine import load_per_core
from unbraid.core.runs import provenance, write_json
from unbraid.worlds.point_goal_vector import PointGoalVectorEnv

STEPS = {1: 600, 64: 120, 1024: 16}
WARM_UP_STEPS = 12  # the vases settle
TARGET_RATIO = {1: None, 64: 0.65, 1024: 0.80}
TARGET_RATE = {1: None, 64: 40_000.0, 1024: None}
FULL = int(mujoco.mjtState.mjSTATE_FULLPHYSICS.value)


@dataclass(frozen=True)
class Work:
    """What MuJoCo did in every step: models, states and controls; and the actions that led to it."""

    warm_up: list[np.ndarray]
    actions: list[np.ndarray]
    models: list[list[Any]]
    states: list[np.ndarray]
    controls: list[np.ndarray]
    n_threads: int
    chunk_size: int
    free_share: float


def record(env: PointGoalVectorEnv, n_steps: int) -> Work:
    """Plays robots that chase their goals with some noise, and notes what MuJoCo is given."""
    physics = env._physics
    rng = np.random.default_rng(0)
    calls: list[tuple[list[Any], np.ndarray, np.ndarray]] = []
    roll = physics._roll

    def noting(models: list[Any], state: Any, control: Any, *out: Any) -> None:
        calls.append((models, state.copy(), control.copy()))
        roll(models, state, control, *out)

    _, info = env.reset(seed=0)
    physics._roll = noting
    actions = []
    for _ in range(WARM_UP_STEPS + n_steps):
        offsets = info["goal_xy"] - info["robot_xy"]
        bearing = np.arctan2(offsets[:, 1], offsets[:, 0]) - info["robot_heading_rad"]
        bearing = np.arctan2(np.sin(bearing), np.cos(bearing))
        action = np.stack([0.04 * np.cos(bearing) ** 3, 2.0 * bearing], axis=1)
        actions.append(action + rng.normal(0.0, 0.02, action.shape))
        *_, info = env.step(actions[-1])
    physics._roll = roll
    models, states, controls = (list(part) for part in zip(*calls[WARM_UP_STEPS:], strict=True))
    free = sum(model is physics._models.free for row in models for model in row)
    return Work(
        warm_up=actions[:WARM_UP_STEPS],
        actions=actions[WARM_UP_STEPS:],
        models=models,
        states=states,
        controls=controls,
        n_threads=physics.n_threads,
        chunk_size=physics._chunk_size,
        free_share=free / (n_steps * env.num_envs),
    )


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """Wall time and processor time (of all threads) of some work."""
    start, start_processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - start_processor


def step_all(env: PointGoalVectorEnv, actions: list[np.ndarray]) -> None:
    for action in actions:
        env.step(action)


def bare_steps(work: Work, pool: ThreadPoolExecutor, data: list[Any]) -> None:
    """10 mj_step and mj_forward for every world and step, the worlds shared among threads."""

    def part(worker: int, models: list[Any], states: np.ndarray, controls: np.ndarray) -> None:
        mine = data[worker]
        for row in range(worker, len(models), work.n_threads):
            model = models[row]
            mujoco.mj_setState(model, mine, states[row], FULL)
            mine.ctrl[:] = controls[row, 0]
            mine.qacc_warmstart[:] = 0.0
            mujoco.mj_step(model, mine, 10)
            mujoco.mj_forward(model, mine)

    for step in zip(work.models, work.states, work.controls, strict=True):
        if work.n_threads == 1:
            part(0, *step)
        else:
            for job in [pool.submit(part, worker, *step) for worker in range(work.n_threads)]:
                job.result()


def bare_rollout(work: Work, rollout: Any, data: list[Any], out: tuple[np.ndarray, np.ndarray]) -> None:
    """One `mujoco.rollout` of 11 substeps for every step."""
    for models, states, controls in zip(work.models, work.states, work.controls, strict=True):
        rollout.rollout(
            models,
            data,
            states,
            controls,
            skip_checks=True,
            nstep=11,
            state=out[0],
            sensordata=out[1],
            chunk_size=work.chunk_size,
        )


def measure(n_envs: int, level: int, n_rounds: int) -> dict[str, Any]:
    """Rates and ratios for so many worlds."""
    env = PointGoalVectorEnv(n_envs, level, max_episode_steps=None)
    work = record(env, STEPS[n_envs])
    model = work.models[0][0]
    data = [mujoco.MjData(model) for _ in range(work.n_threads)]
    rollout = mujoco.rollout.Rollout(nthread=work.n_threads if work.n_threads > 1 else 0)
    out = np.empty((n_envs, 11, work.states[0].shape[1])), np.empty((n_envs, 11, model.nsensordata))
    times: list[tuple[tuple[float, float], ...]] = []
    with ThreadPoolExecutor(work.n_threads) as pool:
        for _ in range(n_rounds):
            env.reset(seed=0)
            for action in work.warm_up:
                env.step(action)
            ours = seconds(functools.partial(step_all, env, work.actions))
            stepped = seconds(functools.partial(bare_steps, work, pool, data))
            rolled = seconds(functools.partial(bare_rollout, work, rollout, data, out))
            times.append((ours, stepped, rolled))
    rollout.close()
    env.close()
    walls, processors = np.moveaxis(np.array(times), 2, 0)
    rates = n_envs * STEPS[n_envs] / walls
    ratio = rates[:, 0] / rates[:, 1:].max(axis=1)
    return {
        "n_envs": n_envs,
        "n_threads": work.n_threads,
        "n_rounds": n_rounds,
        "steps_per_round": STEPS[n_envs],
        "share_of_steps_with_free_vases": round(work.free_share, 4),
        "control_steps_per_s": spread(rates[:, 0]),
        "bare_mj_step_per_s": spread(rates[:, 1]),
        "bare_rollout_per_s": spread(rates[:, 2]),
        "ratio_to_faster_bare": spread(ratio),
        "ratio_of_processor_time": spread(processors[:, 1:].min(axis=1) / processors[:, 0]),
        "ratio_to_mj_step": spread(rates[:, 0] / rates[:, 1]),
        "target_ratio": TARGET_RATIO[n_envs] if level == 1 else None,
        "target_control_steps_per_s": TARGET_RATE[n_envs] if level == 1 else None,
    }


def measure_reset(level: int) -> dict[str, Any]:
    """Milliseconds of one world's reset."""
    env = PointGoalVectorEnv(1, level)
    times = []
    for seed in range(200):
        start = time.perf_counter()
        env.reset(seed=seed)
        times.append(1e3 * (time.perf_counter() - start))
    env.close()
    return {"n": len(times), **spread(np.array(times)), "target_ms": 1.0}


def spread(values: np.ndarray) -> dict[str, float]:
    names = {"median": 0.5, "quartile_1": 0.25, "quartile_3": 0.75, "decile_9": 0.9}
    return {name: float(np.quantile(values, share)) for name, share in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--level", type=int, default=1, choices=(0, 1, 2))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "bench_worlds.json")
    arguments = parser.parse_args()
    rows = [measure(n_envs, arguments.level, arguments.rounds) for n_envs in STEPS]
    reset = measure_reset(arguments.level)
    print(f"PointGoal{arguments.level}: control steps per second, median (ninth decile) of paired rounds")
    print("worlds  threads         environment        bare mj_step        bare rollout  ratio  processor  target")
    for row in rows:
        rates = "  ".join(
            f"{row[name]['median']:9,.0f} ({row[name]['decile_9']:7,.0f})"
            for name in ("control_steps_per_s", "bare_mj_step_per_s", "bare_rollout_per_s")
        )
        print(
            f"{row['n_envs']:6d}  {row['n_threads']:7d}  {rates}  {row['ratio_to_faster_bare']['median']:.3f}  "
            f"{row['ratio_of_processor_time']['median']:9.3f}  {row['target_ratio'] or '-'}"
        )
    print(f"reset: {reset['median']:.3f} ms (target: under 1 ms)")
    load = load_per_core()
    print(f"load of the machine: {load:.1f} processes per core")
    result = {"benchmark": "worlds", "level": arguments.level, "load_per_core": load, "worlds": rows, "reset_ms": reset}
    write_json(arguments.out, {**result, "provenance": provenance(seed=0)})


if __name__ == "__main__":
    main()
