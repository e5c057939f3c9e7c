"""A run's folder, and the rule that nothing is ever half written.

A run's folder is ``runs/NAME/`` with ``run.json`` (what was asked; versions, seed, data fingerprint; no host, user
or path), ``model/``, ``metrics.jsonl``, ``pictures.jsonl``, ``checkpoints/``, ``results.json`` and ``report/``.
"""

import contextlib
import errno
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Generator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from unbraid.core.errors import ConfigError, RunError, StorageError, UnbraidError

__all__ = [
    "create_run",
    "differences",
    "kind_of_folder",
    "new_file",
    "new_folder",
    "open_run",
    "provenance",
    "read_json",
    "refuse_existing",
    "require_free",
    "saying_what_the_disk_refused",
    "taken_path",
    "write_bytes",
    "write_json",
    "write_text",
]

_MOST_SHOWN = 40
_VERSIONS_OF = ("unbraid", "torch", "numpy", "scipy", "scikit-learn", "gymnasium", "mujoco")


def taken_path(given: object) -> Path:
    """A path that somebody gave, as pathlib's.

    Raises:
        ConfigError: it is no path.
    """
    if isinstance(given, str | os.PathLike):
        return Path(given)
    raise ConfigError(f"A path must be a text or a pathlib.Path; got {given!r:.60}. Give one, such as 'runs/first'.")


@contextlib.contextmanager
def saying_what_the_disk_refused(path: Path) -> Generator[None]:
    """Turns an `OSError` while writing below `path` into a `StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "Free some space, or write elsewhere with --out. Nothing that existed before was changed."
        elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            remedy = "Choose a folder that you may write to, with --out."
        elif error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG):
            remedy = "Name another place."
        else:
            remedy = "Nothing that existed before was changed."
        said = error.strerror or str(error)
        raise StorageError(f"{path} must be writable; the system said: {said}. {remedy}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name beside it, then renames it: readers see the old or the new, whole.

    Raises:
        StorageError: the disk is full or read-only; the old file, if any, is untouched.
    """
    with saying_what_the_disk_refused(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def write_text(path: Path, content: str) -> None:
    """`write_bytes` for text, as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """`write_bytes` for a JSON value; NaN and infinities are refused, since JSON has no word for them."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(
    path: Path, *, error: type[UnbraidError] = RunError, remedy: str = "Restore it, or make the run again."
) -> Any:
    """The JSON value in a file.

    Args:
        path: the file.
        error: what to raise where it cannot be read.
        remedy: what to do then; the last sentence of the message.

    Raises:
        RunError: there is no such file, or it is not JSON (or `error`, where given).
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path} must exist; there is no such file. {remedy}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise error(f"{path} must be JSON; {problem}. {remedy}") from None
    except OSError as problem:
        raise error(f"{path} must be readable; the system said: {problem.strerror}. {remedy}") from problem


@contextlib.contextmanager
def new_folder(path: Path) -> Generator[Path]:
    """Gives a temporary folder beside `path`, renamed to `path` when the block ends well and removed when not.

    Raises:
        RunError: `path` exists already (it is never overwritten).
        StorageError: the disk refused.
    """
    refuse_existing(path)
    with saying_what_the_disk_refused(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        try:
            temporary.chmod(0o755)
            yield temporary
            refuse_existing(path)
            os.rename(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


@contextlib.contextmanager
def new_file(path: Path) -> Generator[Path]:
    """Gives a temporary path beside `path`, for writers that want a name: renamed when the block ends well,
    removed when not.

    Raises:
        RunError: `path` exists already (it is never overwritten).
        StorageError: the disk refused.
    """
    refuse_existing(path)
    with saying_what_the_disk_refused(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            refuse_existing(path)
            os.rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def refuse_existing(path: Path, *, resumed_by: str | None = None) -> None:
    """Raises `RunError` where something is at `path` already, be it a broken link.

    Args:
        path: where nothing must be.
        resumed_by: the file of a folder that --resume goes on from.
    """
    if resumed_by is not None and (path / resumed_by).is_file():
        raise RunError(
            f"{path} must not exist yet; it does. The same command with --resume goes on with it and keeps what is "
            "done; or name another one."
        )
    if path.exists() or path.is_symlink():
        raise RunError(f"{path} must not exist yet; it does. Name another one, or remove that one first.")


def differences(known: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What differs between the settings that a folder keeps and those asked for now: each by its name, old -> new.

    Of two methods the method alone: their settings are not the same ones.
    """
    told: list[str] = []
    names = ("method",) if known.get("method") != asked.get("method") else dict.fromkeys([*known, *asked])
    for name in names:
        old, new = (json.loads(json.dumps(of[name])) if name in of else None for of in (known, asked))
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            told.append(differences(old, new))
        else:
            told.append(f"{name} {_short(old)} -> {_short(new)}")
    return ", ".join(told)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "nothing" if value is None else json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def require_free(*paths: Path) -> None:
    """Sees, before the work and not after it, that files and folders can be made: nothing is touched.

    Raises:
        RunError: something is at a path already, or two of them are in each other's way.
        StorageError: no folder can be made above a path, or it may not be written to.
    """
    for i, path in enumerate(paths):
        with saying_what_the_disk_refused(path):
            refuse_existing(path)
            above = next(folder for folder in path.absolute().parents if folder.exists() or folder.is_symlink())
            if not above.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, f"{above} is not a folder")
            if not os.access(above, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        for other in paths[:i]:
            if path.absolute().is_relative_to(other.absolute()) or other.absolute().is_relative_to(path.absolute()):
                raise RunError(f"{path} must be a place of its own; {other} is asked for, too. Name another one.")


def provenance(*, seed: int, data_fingerprint: str | None = None) -> dict[str, Any]:
    """What a result depends on: versions, seed, data; nothing that says who or where."""
    versions = {name: metadata.version(name) for name in _VERSIONS_OF if _is_installed(name)}
    return {
        "seed": seed,
        "data_fingerprint": data_fingerprint,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": versions,
    }


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def create_run(path: Path, asked: Mapping[str, Any]) -> Path:
    """Makes a run's folder with its `run.json`, and returns it.

    Args:
        path: where; must not exist.
        asked: what was asked, with `provenance`.

    Raises:
        RunError: `path` exists already.
        StorageError: the disk refused.
    """
    with new_folder(path) as temporary:
        write_json(temporary / "run.json", {"format": "unbraid-run", "version": 1, **asked})
    return path


def kind_of_folder(path: Path, *, wanted: Literal["model", "demonstrations"]) -> str:
    """What a folder of ours is that is not what was wanted, and what to do then, for a message; "" of others."""
    run = "give the demonstrations that it was fitted on" if wanted == "demonstrations" else "repeat it with --resume"
    told = {
        "run.json": f"{path} is a run{'' if wanted == 'demonstrations' else ' whose fit is not finished'}: {run}.",
        "sweep.json": f"{path} is a sweep: its runs are the folders in {path / 'trials'}.",
        "demos.json": f"{path} is a data set: `unbraid fit {path} --out RUN` makes a run of it.",
    }
    return next((sentence for name, sentence in told.items() if (path / name).is_file()), "")


def open_run(path: Path) -> dict[str, Any]:
    """The `run.json` of a run's folder.

    Raises:
        RunError: this is not a run's folder, or one of a newer version.
    """
    if not path.is_dir():
        raise RunError(f"{path} must be a run's folder; there is none. `unbraid fit --out {path}` makes one.")
    remedy = kind_of_folder(path, wanted="model") or "Give a folder that `unbraid fit` or `unbraid demo` made."
    asked = read_json(path / "run.json", remedy=remedy)
    if not isinstance(asked, dict) or asked.get("format") != "unbraid-run":
        raise RunError(f"{path / 'run.json'} must be written by unbraid; it is not. Check the run's path.")
    if asked.get("version") != 1:
        raise RunError(
            f"{path / 'run.json'} must have version 1; it has {asked.get('version')}. "
            "Use the unbraid that wrote it, or a newer one."
        )
    return asked
