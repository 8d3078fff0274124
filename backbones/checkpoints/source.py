"""From the argument of ``--checkpoint`` to a file on this disk."""

from __future__ import annotations

import os
import re
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

from backbones.checkpoints.published import WEIGHTS
from backbones.checkpoints.read import sha256
from backbones.common.errors import UserError
from backbones.common.naming import bracketed
from backbones.common.paths import cache_home, local_path
from backbones.common.user_files import in_file

HUB_SPEC = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.+)")
SHA256 = re.compile(r"[0-9a-f]{64}")
HUB_CACHES = ("HF_HOME", "HF_HUB_CACHE")  # variables that name the hub's cache
RELEASES = "https://github.com/"
PATIENCE = 5.0  # seconds to wait for the hub


def bundled() -> list[str]:
    """Names of the models whose weights come with the suite."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def locate(spec: str, model_name: str) -> Path:
    """The file on disk that `spec` names; a hub file that is not in the cache is downloaded."""
    if spec == "bundled":
        name = bracketed(model_name)[0]
        if named := in_file(name):
            path = named.path.with_name(f"{named.variable}.safetensors")
            if not path.is_file():
                raise UserError(
                    f"no weights of {named.variable} are beside its file: put them at {path}, give "
                    "a file or hf:// instead, or 'random' where only cost counts"
                )
            return path
        path = WEIGHTS / f"{name}.safetensors"
        if not path.is_file():
            names = ", ".join(bundled()) or "none"
            raise UserError(
                f"no weights of {model_name} are bundled (bundled: {names}): give a file or hf:// "
                "instead, or 'random' where only cost counts"
            )
        return path
    if spec.startswith("hf://"):
        return _fetch(spec)
    if spec.startswith(RELEASES):
        return _fetch_release(spec)
    return local_path(spec)


def beside(spec: str, path: Path, file: str) -> Path:
    """The file called `file` in the folder of the one that `spec` names, which is at `path`."""
    if spec.startswith("hf://"):
        return _fetch(f"{spec.rpartition('/')[0]}/{file}")
    return path.with_name(file)


def _fetch(spec: str) -> Path:
    """The hub's file in its cache, downloaded if necessary and checked."""
    parts = HUB_SPEC.fullmatch(spec)
    if parts is None:
        raise UserError(
            f"'{spec}' is not a hub file: "
            "write hf://owner/repo/file or hf://owner/repo@revision/file"
        )
    if not any(map(os.environ.get, HUB_CACHES)) and cache_home() is None:
        raise UserError(
            f"{spec}: there is no home folder to keep it in: set HF_HOME, or give a file's path"
        )
    from huggingface_hub import try_to_load_from_cache

    # A cached file is used without asking the hub, so that runs work offline.
    cached = try_to_load_from_cache(parts["repo"], parts["file"], revision=parts["revision"])
    path = Path(cached) if isinstance(cached, str) else _download(spec, parts)
    _check_content(spec, path)
    return path


def _download(spec: str, parts: re.Match[str]) -> Path:
    from huggingface_hub import constants, errors, hf_hub_download, hf_hub_url

    repo, file, revision = parts["repo"], parts["file"], parts["revision"]
    url = hf_hub_url(repo, file, revision=revision)
    offline = UserError(
        f"{spec} is not in the hub's cache and the network cannot be used: "
        f"fetch {url} elsewhere, give its path"
    )
    # Without a network the hub's client would retry for half a minute.
    if constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT):
        raise offline
    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        raise offline from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{spec}: there is no public repository {repo}: fix its name, or log in"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{spec}: {repo} has no revision {revision}: fix or drop it") from error
    except errors.EntryNotFoundError as error:
        raise UserError(f"{spec}: {repo} has no file {file}: fix its name") from error
    # The hub's client raises its transport's exceptions, which change with its versions.
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise UserError(
            f"{spec} cannot be fetched ({reason}): download it elsewhere and give its path"
        ) from error


def _fetch_release(spec: str) -> Path:
    """The file of a release on GitHub, in the folder where torch keeps weights."""
    import torch.hub
    from huggingface_hub import constants

    path = Path(torch.hub.get_dir()) / "checkpoints" / spec.rpartition("/")[2]
    if path.is_file():
        return path
    advice = f"fetch it elsewhere, put it at {path} or give its path"
    if constants.HF_HUB_OFFLINE or not _answers(RELEASES):
        raise UserError(f"{spec} is not on this disk and the network cannot be used: {advice}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # to a temporary file first, so that what is cut off leaves nothing under the name
        torch.hub.download_url_to_file(spec, str(path), progress=False)
    except OSError as error:
        raise UserError(f"{spec} cannot be fetched ({error}): {advice}") from error
    return path


def _answers(endpoint: str) -> bool:
    """Whether the server at `endpoint` responds within `PATIENCE`, by the proxy if one is set."""
    request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 - the hub's own address
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE):  # noqa: S310
            return True
    except HTTPError:  # an error status is a response, too
        return True
    except OSError:
        return False


def _check_content(spec: str, path: Path) -> None:
    """UserError if a large file in the cache is damaged."""
    # The cache stores large files under the SHA-256 that the hub stated.
    name = Path(os.path.realpath(path)).name
    if SHA256.fullmatch(name) and sha256(path) != name:
        raise UserError(
            f"{spec} is damaged in the hub's cache (its SHA-256 is not {name[:12]}...): "
            f"delete {path}"
        )
