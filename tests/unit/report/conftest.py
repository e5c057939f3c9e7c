"""A run's folder with made-up numbers: every one is drawn from a generator and measures nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXPERTS = ["goal_seeking", "forward"]
METRICS = ["goals", "return", "cost", "distance", "displacement"]
UNITS = {"goals": "per episode", "return": "per episode", "cost": "per episode", "distance": "m", "displacement": "m"}


def made_up(
    value: float | None, half: float | None, n: int = 32, unit: str = "episodes"
) -> dict[str, float | int | str | None]:
    if value is None or half is None:
        return {"value": value, "low": None, "high": None, "n": n, "unit_of_n": unit}
    return {"value": value, "low": value - half, "high": value + half, "n": n, "unit_of_n": unit}


def _talk_table(generator: np.random.Generator, delta_steps: int, n_modes: int) -> dict[str, Any]:
    shares = generator.dirichlet(np.full(n_modes, 2.0))
    percent = 100.0 * np.stack([shares, 0.9 * shares + 0.1 * generator.dirichlet(np.full(n_modes, 1.0))])
    counts = np.rint(percent * 90).astype(int)
    return {
        "delta_steps": delta_steps,
        "n_modes": n_modes,
        "counts": counts.tolist(),
        "percent": (100.0 * counts / counts.sum(axis=1, keepdims=True)).tolist(),
        "nmi": made_up(0.021 + 0.01 * n_modes + 0.003 * delta_steps, 0.0112, 20),
        "purity": made_up(0.53 + 0.01 * n_modes, 0.017, 20),
        "episode_nmi": made_up(0.04, None, 20),
        "gradient_steps": 1500,
        "published_gradient_steps": 50_000,
        "seconds": 6.25,
    }


def _published_sizes(generator: np.random.Generator) -> dict[str, Any]:
    runs = []
    for delta_steps in (1, 5):
        for seed in (0, 1):
            table = _talk_table(generator, delta_steps, 4)
            steps = np.linspace(0, 50_000, 11).astype(int).tolist()
            curve = [{"step": step, "nmi": 0.11 * step / 50_000 + 0.02 * seed} for step in steps]
            scores = {"seed": seed, "nmi": 0.1137, "purity": 0.6123, "gradient_steps": 50_000, "seconds": 2700.0}
            runs.append({**table, **scores, "curve": curve})
    verdict = "a made-up verdict on whether more training changes the picture."
    return {"gradient_steps": 50_000, "n_modes": 4, "runs": runs, "verdict": verdict}


def _actor(scale: float, half: float = 0.7) -> dict[str, Any]:
    values = {"goals": 12.4, "return": 24.6, "cost": 52.3, "distance": 28.1, "displacement": 1.37}
    return {name: made_up(value * scale, half) for name, value in values.items()}


def _behaviour() -> dict[str, Any]:
    scales = {"goal_seeking": 1.0, "forward": 0.41}
    modes = [
        {
            "mode": mode,
            "expert": expert,
            "metrics": _actor(scales[expert] * 1.013),
            "difference": {metric: made_up(0.113 * (1 + mode), 0.37) for metric in METRICS},
            "as_good": dict.fromkeys(METRICS, True),
            "margin": dict.fromkeys(METRICS, 1.23),
        }
        for mode, expert in [(0, "forward"), (1, "goal_seeking")]
    ]
    return {
        "env_id": "unbraid/PointGoal1-v0",
        "n_seeds": 32,
        "metrics": METRICS,
        "units": UNITS,
        "experts": [{"name": name, "metrics": _actor(scales[name])} for name in EXPERTS],
        "modes": modes,
        "talk_modes": [{"mode": mode, "stage": "end", "metrics": _actor(0.1 * (mode + 1))} for mode in range(4)],
    }


def _count(n_modes: int, gain: float, step: float | None, error: float | None, *, supported: bool) -> dict[str, Any]:
    said = {"n_modes": n_modes, "gain_nats": gain, "step_nats": step, "step_error": error, "supported": supported}
    return {**said, "stability": None if n_modes == 1 else 1.07 - 0.09 * n_modes}


def made_up_search() -> dict[str, Any]:
    """What a search may say of 100 episodes, asked for two modes."""
    return {
        "n_modes": 2,
        "n_supported": 2,
        "verdict": "The evidence supports 2 modes (the last of them by 17.4 standard errors, on 100 spans).",
        "sureness_standard_errors": 17.43,
        "n_spans": 100,
        "counts": [
            _count(1, 0.0, None, None, supported=True),
            _count(2, 412.7, 412.7, 23.68, supported=True),
            _count(3, 409.1, -3.64, 2.17, supported=False),
        ],
        "gain_of_kind_nats": {
            "actions": 301.2,
            "transitions over 100 steps": 95.4,
            "transitions over 1 steps": -0.4,
            "transitions to the end": 16.1,
        },
        "shares": [0.53, 0.47],
        "perplexity": 1.9964,
        "stability": 0.8912,
        "silhouette": 0.4127,
        "origin": "EM",
    }


def made_up_results() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    windows = [(1, 0.7312), (10, 0.9457), (25, 0.9871), (50, 0.9993)]
    return {
        "format": "unbraid-results",
        "version": 1,
        "experts": EXPERTS,
        "data": {
            "n_episodes": 100,
            "n_steps": 100_000,
            "held_out_episodes": 20,
            "env_id": "unbraid/PointGoal1-v0",
            "collect_seconds": 4.5,
        },
        "talk": {
            "objective": "log_ratio",
            "preset": "small: 2 x 64 units, batch 500",
            "tables": [_talk_table(generator, delta, n_modes) for delta in (1, 5) for n_modes in (2, 3, 4, 5)],
            "published_sizes": _published_sizes(generator),
            "rollouts": "see npz",
        },
        "unbraid": {
            "tables": [
                {
                    "window_steps": steps,
                    "percent": [
                        [100 * (1 - nmi) / 4, 100 - 100 * (1 - nmi) / 4],
                        [100 - 20 * (1 - nmi), 20 * (1 - nmi)],
                    ],
                    "nmi": made_up(nmi, 0.0006, 20),
                    "purity": made_up(nmi + 0.0004, 0.0003, 20),
                    "percent_estimates": [
                        [made_up(100 * (1 - nmi) / 4, 3.3, 10), made_up(100 - 100 * (1 - nmi) / 4, 3.3, 10)],
                        [made_up(100 - 20 * (1 - nmi), 4.4, 10), made_up(20 * (1 - nmi), 4.4, 10)],
                    ],
                }
                for steps, nmi in windows
            ],
            "agreement": [
                {
                    "level": "window",
                    "window_steps": 25,
                    "evidence": evidence,
                    "nmi": made_up(nmi, 0.0042, 20),
                    "ari": made_up(nmi - 0.001, 0.0051, 20),
                    "accuracy": made_up(nmi + 0.002, 0.0031, 20),
                }
                for evidence, nmi in [("combined", 0.9871), ("encoder", 0.9316)]
            ]
            + [
                {
                    "level": "episode",
                    "evidence": "combined",
                    "nmi": made_up(1.0, 0.0, 20),
                    "ari": made_up(1.0, 0.0, 20),
                    "accuracy": made_up(1.0, None, 20),
                }
            ],
            "n_modes": 2,
            "gradient_steps": 1500,
            "fit_seconds": 17.4,
            "search": made_up_search(),
        },
        "behaviour": _behaviour(),
        "verdicts": [
            {"text": "Window NMI at 25 steps is at least 0.98.", "holds": True},
            {"text": "A made-up claim that fails.", "holds": False},
        ],
    }


def made_up_paths() -> dict[str, np.ndarray]:
    layout = np.random.default_rng(5)
    hazards, vases = layout.uniform(-1.5, 1.5, (8, 2)), layout.uniform(-1.5, 1.5, (1, 2))
    goals = layout.uniform(-1.4, 1.4, (40, 2))
    panels = {"expert/goal_seeking": 1.0, "expert/forward": None, "mode/0": None, "mode/1": 0.93}
    stages = {"first_epoch": 0.0, "midway": 0.35, "end": 0.55}
    panels |= {f"talk/{stage}/{mode}": speed * (mode != 3) for stage, speed in stages.items() for mode in range(4)}
    arrays: dict[str, np.ndarray] = {}
    for number, (panel, speed) in enumerate(panels.items()):
        walked = _walk(np.random.default_rng([9, number]), goals, speed)
        names = ("robot_xy", "goal_xy", "goal_reached")
        arrays |= {f"{panel}/{name}": array for name, array in zip(names, walked, strict=True)}
        arrays |= {f"{panel}/hazards_xy": hazards, f"{panel}/vases_xy": vases}
    return arrays


def _walk(
    generator: np.random.Generator, goals: np.ndarray, speed: float | None, n_steps: int = 600
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A point that drifts towards each goal in turn at `speed`, or straight away from the start where None."""
    place, heading, at = np.zeros(2), generator.uniform(0, 2 * np.pi), 0
    robot, goal, reached = [place], [goals[0]], []
    for _ in range(n_steps):
        aim = goals[at] - place
        wanted = heading if speed is None else np.arctan2(aim[1], aim[0])
        turn = np.angle(np.exp(1j * (wanted - heading)))
        heading += 0.12 * turn + generator.normal(0, 0.05 if speed is None else 0.12)
        place = place + (0.028 if speed is None else 0.002 + 0.024 * speed) * np.array(
            [np.cos(heading), np.sin(heading)]
        )
        reached.append(bool(np.hypot(*aim) < 0.3))
        at += reached[-1]
        robot.append(place)
        goal.append(goals[at])
    return np.array(robot), np.array(goal), np.array(reached)


def _moments(generator: np.random.Generator, names: dict[str, float], n_modes: int, n: int) -> list[dict[str, Any]]:
    moments = []
    for index in range(n):
        fade = np.exp(-4.0 * index / n)
        terms = {
            name: float(size * (0.1 + fade if size > 0 else 1.0 - fade) + 0.02 * size * generator.normal())
            for name, size in names.items()
        }
        usage = generator.dirichlet(np.linspace(2 + 8 * (1 - fade), 2, n_modes) * 20)
        moment = {"step": max(1500 * index // max(n - 1, 1), 1), "terms": terms, "code_usage": usage.tolist()}
        moments.append({**moment, "loss": sum(terms.values())})
    return moments


def _write_lines(path: Path, moments: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(moment) + "\n" for moment in moments))


def write_run(run: Path, results: dict[str, Any], *, bare: bool = False) -> Path:
    """Writes a run's folder; `bare` leaves out everything but `run.json` and `results.json`."""
    run.mkdir(parents=True)
    asked = {
        "format": "unbraid-run",
        "version": 1,
        "command": "demo",
        "config": {"collect": {"n_episodes": 50, "noise": 0.1}, "fit": {"n_modes": 2, "windows": [10, 25, 50]}},
        "provenance": {
            "seed": 7,
            "data_fingerprint": "5f0c3a-made-up",
            "python": "3.11.7",
            "machine": "x86_64",
            "versions": {"unbraid": "0.1.0", "numpy": "2.4.6"},
        },
    }
    (run / "run.json").write_text(json.dumps(asked))
    (run / "results.json").write_text(json.dumps(results))
    if bare:
        return run
    generator = np.random.default_rng(3)
    own = _moments(generator, {"policy": -1.5, "encoder": 0.6, "commitment": 0.2}, 2, 60)
    own = [{"phase": "fit", "method": "unbraid", "samples_per_s": 91_234.0, **moment} for moment in own]
    _write_lines(run / "metrics.jsonl", own)
    sizes = {"reconstruction": 1.0, "codebook": 0.3, "commitment": 0.3, "policy": 1.8}
    talk = [
        {"method": "talk", "n_modes": n_modes, "delta_steps": delta, **moment}
        for delta in (1, 5)
        for n_modes in (2, 3, 4, 5)
        for moment in _moments(generator, sizes, n_modes, 30)
    ]
    _write_lines(run / "metrics_talk.jsonl", talk)
    np.savez_compressed(run / "paths.npz", **made_up_paths())
    return run


@pytest.fixture
def results() -> dict[str, Any]:
    return made_up_results()


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole made-up run of `unbraid demo`; tests must not change it."""
    return write_run(tmp_path_factory.mktemp("runs") / "demo", made_up_results())


@pytest.fixture(scope="session")
def demo_page(demo_run: Path) -> str:
    from unbraid.report import write_report

    return write_report(demo_run).read_text(encoding="utf-8")


@pytest.fixture
def make_run(tmp_path: Path) -> Any:
    """Writes a bare run from a `results.json`'s content."""

    def make(results: dict[str, Any], *, bare: bool = True) -> Path:
        return write_run(tmp_path / "run", results, bare=bare)

    return make
