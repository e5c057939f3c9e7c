"""The Hugging Face Hub: what the card of every model says, and a model's folder on its way there and back.

Only named files travel: JSON, safetensors and the card. The network is used where somebody asks for it, and never else.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbraid.core.errors import ConfigError, ModelError, StorageError
from unbraid.training.networks import ModeNetworks

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

__all__ = ["CARD", "HUB_FILES", "card_around", "fetch", "hub", "is_hub_id", "push"]

CARD = "README.md"
"""What the Hub calls a model's card."""
HUB_FILES = ("config.json", "model.safetensors", "search.json", "calibration.json")
"""What a model's folder holds, as far as it has them."""
_ID = re.compile(r"[\w.-]+/[\w.-]+")
_TAGS = ["unbraid", "imitation-learning", "steerable-policy"]
_METHODS = {"unbraid": "unbraid's own", "talk": "that of the talk (Eloundou 2021)"}
_NOT_EVALUATED = """## Not evaluated

No results came with this model: what its modes do, and how well, was not measured."""


def hub() -> Any:
    """The package huggingface_hub.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise ConfigError(
            "The Hub needs the package huggingface_hub; it is not installed. Run `pip install 'unbraid[hub]'`."
        ) from None
    return huggingface_hub


def is_hub_id(text: str | Path) -> bool:
    """Whether a text may name a model of the Hub, as owner/name; a `Path` is always a place on the disk."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def fetch(repo_id: str, *, revision: str | None, download: bool) -> Path:
    """The folder of a model of the Hub, in huggingface_hub's own cache.

    Args:
        repo_id: owner/name.
        revision: a branch, tag or commit; None takes the newest.
        download: fetch what is missing; otherwise only the cache is looked at.

    Raises:
        ConfigError: huggingface_hub is not installed.
        ModelError: there is no such model, or no way to it.
    """
    snapshot = hub().snapshot_download
    try:
        return Path(snapshot(repo_id, revision=revision, allow_patterns=list(HUB_FILES), local_files_only=not download))
    except Exception as error:  # which are the client's, its HTTP library's or the system's, by version
        if not download:
            raise ModelError(
                f"{repo_id} must be a folder with a model, or a model that was fetched from the Hub before; it is "
                "neither. Pass download=True to fetch it; `unbraid fit --out RUN` makes one."
            ) from error
        raise ModelError(
            f"{repo_id} must be a model that the Hub gives you; {_said(error)}. Look at its name, your connection, and "
            "`hf auth whoami` where it is private."
        ) from error


def push(folder: Path, repo_id: str, *, message: str, private: bool | None, token: str | None) -> str:
    """Sends a model's folder and its card to the Hub, into a repository that is made where there is none.

    Returns:
        the address of the commit.

    Raises:
        ConfigError: huggingface_hub is not installed, or the name is none.
        StorageError: the Hub refused.
    """
    if not is_hub_id(repo_id):
        raise ConfigError(f"A model's name on the Hub must be owner/name; got {repo_id!r}. Put your user name first.")
    api = hub().HfApi(token=token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        sent = api.upload_folder(
            repo_id=repo_id, folder_path=folder, commit_message=message, allow_patterns=[*HUB_FILES, CARD]
        )
    except Exception as error:  # as in `fetch`
        raise StorageError(
            f"The Hub must take {repo_id}; {_said(error)}. Log in with `hf auth login`, and look at the name."
        ) from error
    return str(sent.commit_url)


def _said(error: Exception) -> str:
    return f"it said: {' '.join(str(error).split())[:300].rstrip('.') or type(error).__name__}"


def card_around(
    model: ModeNetworks,
    sections: Sequence[str] = (),
    *,
    evaluations: Sequence["EvalResult"] = (),
    repo_id: str | None = None,
    env_id: str | None = None,
) -> str:
    """A model card for the Hub: front matter, what the model is, the sections about its results, and how to load it.

    Args:
        model: whose card it is.
        sections: Markdown about what was measured; without any the card says that nothing was.
        evaluations: the same numbers for the front matter.
        repo_id: owner/name, where it is known.
        env_id: the environment of the demonstrations, where it is known.

    Raises:
        ConfigError: huggingface_hub is not installed.
    """
    front = hub().ModelCardData(
        library_name="unbraid",
        pipeline_tag="robotics",
        tags=_TAGS,
        metrics=list(dict.fromkeys(result.metric_type for result in evaluations)) or None,
        model_name=(repo_id or "unbraid").rpartition("/")[2] if evaluations else None,
        eval_results=list(evaluations) or None,
    )
    modes = f"{model.n_modes} modes" if model.n_modes > 1 else "1 mode"
    what = (
        f"# A policy with {modes}\n\n"
        "One policy, learned from one pile of demonstrations by several experts, without labels of who did what. A "
        f"person steers it between the modes that were found: {', '.join(map(str, range(model.n_modes)))}. It takes "
        f"{model.observation_size} numbers as an observation and gives {model.action_size} as an action; the method is "
        f"{_METHODS[model.config.method]}."
    )
    if model.style_reader is not None:
        what += " Beside the mode it takes a style, from 0 to 1: 0.5 is a mode's typical demonstration."
    return (
        "\n\n".join(
            [
                f"---\n{front.to_yaml().strip()}\n---",
                what,
                *(sections or [_NOT_EVALUATED]),
                _limits(),
                _loading(model, repo_id, env_id),
            ]
        )
        + "\n"
    )


def _limits() -> str:
    return (
        "## Limits\n\n"
        "The policy imitates its demonstrations, their faults included, and knows nothing of states that they did not "
        "visit. A mode is a number; what it stands for is for a person to see. Nothing here makes it safe to run on a "
        "machine that can hurt somebody."
    )


def _loading(model: ModeNetworks, repo_id: str | None, env_id: str | None) -> str:
    where = '"path/of/this/folder"' if repo_id is None else f'"{repo_id}", download=True'
    package = "unbraid" if repo_id is None else "'unbraid[hub]'"
    if env_id is None:
        seen, imports = f"numpy.zeros({model.observation_size})  # what the robot sees", "numpy"
    else:
        seen, imports = f"gymnasium.make({json.dumps(env_id)}).reset(seed=0)[0]", "gymnasium"
    return (
        f"## How to load it\n\n`pip install {package}`, then:\n\n"
        "```python\n"
        f"import {imports}, unbraid\n"
        f"model = unbraid.ModeModel.from_pretrained({where})\n"
        "policy = unbraid.steer(model).toward(0)  # one of its modes\n"
        f"observation = {seen}\n"
        "action, _ = policy.predict(observation)\n"
        "```"
    )
