"""The scripts install once, again only when something changed, and again after an install that failed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for sh")

_FAKE_PYTHON = """#!/bin/sh
case "$*" in
    "-m pip install "*) echo "$*" >> "$(dirname "$0")/calls"; test ! -f "$(dirname "$0")/full" ;;
    "-m pytest "*) for last; do :; done; echo "pytest in $(pwd) with $last" ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """A clone, in a folder with a space in its name, whose .venv/bin/python only writes down how it was called."""
    project = tmp_path / "a clone"
    shutil.copytree(ROOT / "scripts", project / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, project)
    fake = project / ".venv" / "bin" / "python"
    fake.parent.mkdir(parents=True)
    fake.write_text(_FAKE_PYTHON)
    fake.chmod(0o755)
    return project


def _run(project: Path, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(project / "scripts" / script), *arguments]
    return subprocess.run(
        command,
        cwd=project.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _installs(project: Path) -> list[str]:
    calls = project / ".venv" / "bin" / "calls"
    return calls.read_text().splitlines() if calls.exists() else []


def test_it_installs_once_and_again_when_something_changed(project):
    first = _run(project, "install")
    assert first.returncode == 0
    assert "Installing unbraid" in first.stderr
    assert first.stdout == ""
    assert "--constraint constraints.txt --editable ." in _installs(project)[0]
    second = _run(project, "install")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(_installs(project)) == 1
    with open(project / "constraints.txt", "a") as file:
        file.write("another==1\n")
    _run(project, "install")
    assert len(_installs(project)) == 2


def test_the_tests_need_more_than_the_demo_and_have_all_that_it_needs(project):
    _run(project, "install")
    _run(project, "install", "test")
    assert _installs(project)[1].endswith("--editable .[test]")
    _run(project, "install")
    _run(project, "install", "test")
    assert len(_installs(project)) == 2


def test_an_install_that_failed_is_done_again(project):
    (project / ".venv" / "bin" / "full").touch()
    failed = _run(project, "test")
    assert failed.returncode == 1
    assert "Run the same command again" in failed.stderr
    assert "pytest" not in failed.stdout
    (project / ".venv" / "bin" / "full").unlink()
    done = _run(project, "test", "tests/unit")
    assert done.stdout == f"pytest in {project} with tests/unit\n"
    assert len(_installs(project)) == 2


def test_a_python_that_will_not_do_says_so(project):
    shutil.rmtree(project / ".venv")
    refused = _run(project, "demo", UNBRAID_PYTHON="no-such-python")
    assert refused.returncode == 2
    assert "must have Python 3.11 or later, with venv; no-such-python will not do" in refused.stderr
    assert not (project / ".venv").exists()


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "scripts").iterdir()))
def test_every_script_can_be_run_and_parsed(name):
    script = ROOT / "scripts" / name
    assert os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    assert "set -eu" in script.read_text()


def test_a_benchmark_must_be_named(project):
    asked = _run(project, "bench", "nothing")
    assert asked.returncode == 2
    assert "A benchmark must be named" in asked.stderr


def test_a_peer_must_be_named(project):
    asked = _run(project, "bench-peers", "nothing")
    assert asked.returncode == 2
    assert "A peer must be named" in asked.stderr
