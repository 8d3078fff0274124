"""From what a user writes after ``--checkpoint`` to a file on this disk."""

from __future__ import annotations

import os
import re
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

from backbones.checkpoints.published import WEIGHTS, official_of
from backbones.checkpoints.read import sha256
from backbones.common.errors import UserError
from backbones.common.naming import bracketed

HUB_SPEC = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.+)")
SHA256 = re.compile(r"[0-9a-f]{64}")
PATIENCE = 5.0


def bundled() -> list[str]:
    """Names of the models whose weights come with the suite."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def resolve(spec: str, model_name: str, data: str | None = None) -> str:
    """`spec`, with ``official`` replaced by the place of the file published for `model_name` (and `data`)."""
    return official_of(model_name, data).place if spec == "official" else spec


def locate(spec: str, model_name: str) -> Path:
    """The file on disk that `spec` names, fetched first if it is on the hub and not in its cache."""
    if spec == "bundled":
        path = WEIGHTS / f"{bracketed(model_name)[0]}.safetensors"
        if not path.is_file():
            known = ", ".join(bundled()) or "none"
            raise UserError(
                f"no weights of {model_name} are bundled (bundled: {known}): give a file or hf:// instead, or 'random' "
                f"where only cost counts"
            )
        return path
    if spec.startswith("hf://"):
        return _fetch(spec)
    return Path(spec).expanduser()


def _fetch(spec: str) -> Path:
    """The hub's file in its cache, used as it is if it is there; its content is what its name says, or a UserError."""
    parts = HUB_SPEC.fullmatch(spec)
    if parts is None:
        raise UserError(
            f"'{spec}' is not a hub file: write hf://owner/repo/file or hf://owner/repo@revision/file"
        )
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(parts["repo"], parts["file"], revision=parts["revision"])
    path = Path(cached) if isinstance(cached, str) else _download(spec, parts)
    _check_content(spec, path)
    return path


def _download(spec: str, parts: re.Match[str]) -> Path:
    from huggingface_hub import constants, errors, hf_hub_download, hf_hub_url

    url = hf_hub_url(parts["repo"], parts["file"], revision=parts["revision"])
    absent = f"{spec} is not in the hub's cache and the network cannot be used: fetch {url} elsewhere, give its path"
    if constants.HF_HUB_OFFLINE or not _answers(
        constants.ENDPOINT
    ):  # the hub's client would try for half a minute
        raise UserError(absent)
    try:
        return Path(hf_hub_download(parts["repo"], parts["file"], revision=parts["revision"]))
    except errors.LocalEntryNotFoundError as error:
        raise UserError(absent) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{spec}: there is no public repository {parts['repo']}: mend its name, or log in"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"{spec}: {parts['repo']} has no revision {parts['revision']}: mend or drop it"
        ) from error
    except errors.EntryNotFoundError as error:
        raise UserError(
            f"{spec}: {parts['repo']} has no file {parts['file']}: mend its name"
        ) from error
    # the hub's client raises its transport's exceptions, which change with its versions
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{spec} cannot be fetched ({reason}): download it elsewhere and give its path"
        ) from error


def _answers(endpoint: str) -> bool:
    """Whether the server at `endpoint` says anything within a few seconds, by whatever proxy is set."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(endpoint, method="HEAD"), timeout=PATIENCE
        ):  # noqa: S310
            return True
    except HTTPError:
        return True
    except OSError:
        return False


def _check_content(spec: str, path: Path) -> None:
    """UserError unless a large file in the cache has the SHA-256 that the hub gave, by which the cache names it."""
    name = Path(os.path.realpath(path)).name
    if SHA256.fullmatch(name) and sha256(path) != name:
        raise UserError(
            f"{spec} is damaged in the hub's cache (its SHA-256 is not {name[:12]}...): delete {path}"
        )
