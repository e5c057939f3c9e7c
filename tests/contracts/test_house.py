"""The rules of the house, as far as a machine can see them."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "unbraid"
MODULES = sorted(SOURCE.rglob("*.py"))
IDS = [str(path.relative_to(SOURCE)) for path in MODULES]

_PACKAGES_WITH_ARRAYS = {"demos", "modes", "policy", "training", "steering", "evaluation", "switching", "worlds"}


def _public(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def _given_on(body: list[ast.stmt]) -> set[str]:
    """Names that a module imports from another of ours, which it may list as its own."""
    ours = [n for n in body if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("unbraid")]
    return {alias.asname or alias.name for node in ours for alias in node.names}


def _all_of(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return ast.literal_eval(node.value)
    return None


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_every_module_lists_exactly_its_public_names(path):
    if path.name in ("__init__.py", "__main__.py"):
        pytest.skip("a package lists what it gives on, which its own tests look at")
    tree = ast.parse(path.read_text())
    public = {name for name in _public(tree.body) if not name.startswith("_")}
    listed = _all_of(tree)
    assert listed is not None, "no __all__"
    assert sorted(listed) == sorted(set(listed))
    assert public - set(listed) == set(), "public, but not listed"
    assert set(listed) - public - _given_on(tree.body) == set(), "listed, but not there"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_every_module_and_public_name_says_what_it_is(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "no docstring"
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_a_module_fits_in_the_head(path):
    assert len(path.read_text().splitlines()) < 450
    assert path.stem not in {"utils", "common", "helpers", "base", "manager", "factory"}


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_a_function_takes_at_most_seven_arguments(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len([n for n in names if n not in ("self", "cls")]) <= 7, f"{node.name} in line {node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_nothing_is_unpickled_or_evaluated(path):
    tree = ast.parse(path.read_text())
    imported = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not imported & {"pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        of = ast.unparse(node.func)
        assert of not in {"eval", "exec", "torch.save", "torch.load"}, f"{of} in line {node.lineno}"
        if name == "load" and of.startswith(("np.", "numpy.")):
            assert any(k.arg == "allow_pickle" and ast.unparse(k.value) == "False" for k in node.keywords)


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_nothing_is_left_for_later(path):
    with tokenize.open(path) as file:
        comments = [t.string for t in tokenize.generate_tokens(file.readline) if t.type == tokenize.COMMENT]
    assert not [c for c in comments if re.search(r"TODO|FIXME|XXX|HACK", c)]


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_shapes_are_seen_by_the_check(path):
    """Postponed annotations, or imports for the type checker alone, would hide every shape from the check."""
    tree = ast.parse(path.read_text())
    postponed = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    assert not postponed
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            assert "jaxtyping" not in ast.unparse(node)


@pytest.mark.parametrize("package", sorted(_PACKAGES_WITH_ARRAYS))
def test_every_room_shows_that_a_wrong_shape_raises(package):
    tests = [p.read_text() for p in (ROOT / "tests" / "unit" / package).rglob("test_*.py")]
    if not tests:
        pytest.skip(f"{package} has no tests yet")
    assert any("TypeCheckError" in text for text in tests)


def test_imports_flow_one_way(monkeypatch):
    from importlinter.cli import lint_imports

    monkeypatch.chdir(ROOT)
    said = io.StringIO()
    with redirect_stdout(said):
        status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == 0, said.getvalue()
