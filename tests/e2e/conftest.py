"""The command line as the tests call it, a small pile of demonstrations, and a small fit of it."""

import contextlib
import importlib
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from unbraid.cli import main

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@dataclass(frozen=True)
class Said:
    """What a call of the command line answered."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def small_search() -> Iterator[None]:
    """A third of the width and a sixth of the batch: piles are tiny here, and every fit searches for modes first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unbraid.modes.latents.WIDTH", 16)
        patch.setattr("unbraid.modes.latents.BATCH", 128)
        yield


@pytest.fixture(scope="module", autouse=True)
def _small_search() -> Iterator[None]:
    """For the tests of this folder, and for no others."""
    with small_search():
        yield


@pytest.fixture(scope="session")
def unbraid() -> Callable[..., Said]:
    """Calls `unbraid ARGUMENTS` in this process."""

    def call(*arguments: object) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as stopped:  # how tyro ends --help and refuses what it can't parse
                code = int(stopped.code or 0)
        return Said(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def pile(unbraid, tmp_path_factory) -> Path:
    """Three episodes of each of two experts, 60 steps long."""
    pile = tmp_path_factory.mktemp("demonstrations") / "pile"
    said = unbraid("collect", pile, "--episodes", 3, "--max-steps", 60)
    assert said.code == 0, said.err
    return pile


@pytest.fixture(scope="session")
def fitted(unbraid, pile, tmp_path_factory) -> Path:
    """A run of unbraid's own method, 20 gradient steps. Look at it, don't change it."""
    run = tmp_path_factory.mktemp("runs") / "fitted"
    with small_search():
        said = unbraid("fit", pile, "--out", run, "--n-steps", 20, "--held-out", 0.4)
    assert said.code == 0, said.err
    return run


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file and folder below a path: to see that nothing changed."""

    def read(folder: Path) -> dict[str, bytes]:
        found = sorted(folder.rglob("*"))
        return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"/" for path in found}

    return read


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Writes a page without drawing it: the page has tests of its own, and pictures take seconds."""

    def write_page(run: Path) -> Path:
        from unbraid.core.runs import write_text

        write_text(run / "report" / "index.html", "<p>not drawn</p>")
        return run / "report" / "index.html"

    monkeypatch.setattr("unbraid.pipeline.stages.write_report", write_page)


@pytest.fixture(scope="module")
def module() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the benchmarks' folder, where they import each other by plain name; none stays imported."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module
    for name in (set(sys.modules) - before) & {path.stem for path in BENCHMARKS.glob("*.py")}:
        del sys.modules[name]
