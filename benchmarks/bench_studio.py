"""Twenty clients steering at once: how many pictures a second does each get, and how soon does a change show?

    python benchmarks/bench_studio.py [RUN] [--clients 20] [--seconds 10] [--out FILE]

Without a run, an untrained model of the usual size acts. The server has a process of its own; all clients share this
one. The limit beside it is the 30 pictures a second at which the server paces itself. What a picture costs the server
is said in milliseconds of processor time, too: on a busy machine that number is steadier than pictures a second.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from websockets.asyncio.client import connect

from machine import load_per_core
from unbraid.core.runs import write_json

RESULT = Path(__file__).parent / "results" / "bench_studio.json"
ENV = "unbraid/PointGoal1-v0"


async def client(address: str, number: int, seconds: float) -> tuple[float, list[float]]:
    """(pictures a second, seconds from each change of a slider to the next picture)."""
    async with connect(address, max_size=None) as socket:
        await socket.send(json.dumps({"do": "start", "env": ENV, "seed": number}))
        await socket.send(json.dumps({"do": "play"}))
        begun = time.perf_counter()
        n_pictures, asked, waits, steered = 0, None, [], begun
        while (now := time.perf_counter()) - begun < seconds:
            message = json.loads(await socket.recv())
            if "agents" in message:
                n_pictures += 1
                if message["agents"][0]["over"]:
                    await socket.send(json.dumps({"do": "reset", "seed": number}))
                    await socket.send(json.dumps({"do": "play"}))
            if "asked" in message and asked is not None:
                waits.append(now - asked)
                asked = None
            if now - steered > 0.5:
                steered = asked = now
                await socket.send(json.dumps({"do": "steer", "sliders": [number % 3 - 1.0, 1.0]}))
        return n_pictures / seconds, waits


async def all_clients(address: str, n_clients: int, seconds: float) -> list[tuple[float, list[float]]]:
    return await asyncio.gather(*(client(address, number, seconds) for number in range(n_clients)))


def processor_s(process: int) -> float:
    """How much processor time a process had so far, all its threads together; NaN where the system does not say."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def untrained_run(place: Path) -> Path:
    from unbraid.core.runs import create_run
    from unbraid.training.config import UnbraidConfig
    from unbraid.training.model import ModeModel

    run = create_run(place / "untrained", {"command": "fit"})
    ModeModel(UnbraidConfig(n_modes=2), observation_size=60, action_size=2).save_pretrained(run / "model")
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run = asked.run or untrained_run(Path(place))
        command = [sys.executable, "-m", "unbraid", "studio", str(run), "--port", "0", "--no-browser", "--json"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
            try:
                assert server.stdout is not None
                page = json.loads(server.stdout.readline())["page"]
                address = page.replace("http://", "ws://") + "api/live"
                alone = asyncio.run(all_clients(address, 1, min(asked.seconds, 3.0)))
                before = processor_s(server.pid)
                found = asyncio.run(all_clients(address, asked.clients, asked.seconds))
                spent = processor_s(server.pid) - before
            finally:
                server.terminate()
    rates = sorted(rate for rate, _ in found)
    waits = sorted(wait for _, waits in found for wait in waits) or [float("nan")]
    result = {
        "clients": asked.clients,
        "pictures_per_s": {"median": statistics.median(rates), "slowest": rates[0], "alone": alone[0][0], "limit": 30},
        "server_ms_per_picture": round(1000 * spent / (asked.seconds * sum(rates)), 3),
        "change_to_answer_s": {"median": statistics.median(waits), "p95": waits[int(0.95 * (len(waits) - 1))]},
    }
    result["machine"] = {"n_cores": os.cpu_count(), "load_per_core": round(load_per_core(), 2)}
    print(json.dumps(result, indent=2))
    write_json(asked.out, result)


if __name__ == "__main__":
    main()
