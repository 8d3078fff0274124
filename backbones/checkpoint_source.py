"""From what a user writes after ``--checkpoint`` to a file on this disk."""

from __future__ import annotations

import re
from pathlib import Path

from backbones.errors import UserError

WEIGHTS = Path(__file__).parent / "weights"
HUB_SPEC = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.+)")


def bundled() -> list[str]:
    """Names of the models whose weights come with the suite."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def locate(spec: str, model_name: str) -> Path:
    """The file on disk that `spec` names, fetched first if it is on the hub and not in its cache."""
    if spec == "bundled":
        path = WEIGHTS / f"{model_name}.safetensors"
        if not path.is_file():
            known = ", ".join(bundled()) or "none"
            raise UserError(f"no weights of {model_name} are bundled (bundled: {known}): give a file or hf:// instead")
        return path
    if spec.startswith("hf://"):
        return _fetch(spec)
    return Path(spec).expanduser()


def _fetch(spec: str) -> Path:
    parts = HUB_SPEC.fullmatch(spec)
    if parts is None:
        raise UserError(f"'{spec}' is not a hub file: write hf://owner/repo/file or hf://owner/repo@revision/file")
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(parts["repo"], parts["file"], revision=parts["revision"]))
    except errors.LocalEntryNotFoundError as error:
        raise UserError(
            f"{spec} is not in the hub's cache and the network cannot be used: download it elsewhere and give its path"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"{spec}: there is no public repository {parts['repo']}: mend its name, or log in") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{spec}: {parts['repo']} has no revision {parts['revision']}: mend or drop it") from error
    except errors.EntryNotFoundError as error:
        raise UserError(f"{spec}: {parts['repo']} has no file {parts['file']}: mend its name") from error
    except Exception as error:  # the hub's client raises its transport's exceptions, which change with its versions
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{spec} cannot be fetched ({reason}): download it elsewhere and give its path") from error
