"""The built wheel holds what it needs, and works away from the checkout."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if importlib.util.find_spec("pip") is None or importlib.util.find_spec("setuptools") is None:
        pytest.skip("pip and setuptools are not installed here, so that no wheel can be built without a network")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(folder / "dist"), str(folder)], check=True, capture_output=True)
    (built,) = (folder / "dist").glob("unbraid-*.whl")
    return built


def test_it_holds_the_data_that_the_package_reads(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("py.typed", "memo_confusion.json", "bench_talk.json", "page.html", "page.css"):
        assert any(name.endswith(wanted) for name in names), wanted


def test_it_runs_away_from_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    script = """
import sys, unbraid
from pathlib import Path
from unbraid.pipeline import config
assert Path(unbraid.__file__).is_relative_to(sys.argv[1]), unbraid.__file__
config.DemoConfig.sizes = property(lambda self: config.DemoSizes(3, 2, 60, 50, 20, 2, 1))
from unbraid.cli import main
sys.exit(main(["demo", "--out", "run"]))
"""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", script, str(site)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report" / "index.html").exists()
