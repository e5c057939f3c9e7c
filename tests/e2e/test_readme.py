"""Everything in the README runs, and every number in it is one that was measured."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from unbraid.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_there_are_blocks_of_both_kinds():
    assert {kind for kind, _ in BLOCKS} == {"python", "sh"}


def test_every_block_runs_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for kind, block in BLOCKS:
        if kind == "python":
            exec(compile(block, "README.md", "exec"), names)
            continue
        for line in block.strip().splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            if words[0] == "unbraid":
                assert main(words[1:]) == 0, line
            else:
                assert os.access(ROOT / words[0], os.X_OK), line


def test_the_results_are_those_that_were_measured():
    check = [sys.executable, str(ROOT / "benchmarks" / "readme_tables.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_tells_the_same_long_run_as_the_benchmark():
    shipped = ROOT / "src" / "unbraid" / "pipeline" / "data" / "bench_talk.json"
    assert json.loads(shipped.read_text()) == json.loads(
        (ROOT / "benchmarks" / "results" / "bench_talk.json").read_text()
    )


@pytest.mark.parametrize("name", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(name):
    assert (ROOT / name).exists()
