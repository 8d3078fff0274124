"""Weights of a head alone: a file that names the body they were trained on, by its hash."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import safe_open

from backbones.checkpoints.read import read, sha256
from backbones.checkpoints.source import locate
from backbones.common.errors import UserError

KEY = "mamba-token-suite body"  # in the metadata of a safetensors file
PREFIX = "backbone."  # of the body's names in a segmenter


def record_of(body: str, weights: Path) -> dict[str, str]:
    """The metadata of a file of a head on the backbone `body`, whose weights are at `weights`."""
    return {KEY: json.dumps({"name": body, "sha256": sha256(weights)})}


def with_body(
    content: dict[str, Any], path: Path, names: Collection[str]
) -> tuple[dict[str, Any], int]:
    """`content` of the file at `path` with the tensors of the body that it names, and their bytes.

    The body's are taken as far as they are among `names`. A file that names none is returned as it
    is. UserError unless the bundled weights of that body are those it was trained on.
    """
    with safe_open(path, framework="pt") as file:
        record = (file.metadata() or {}).get(KEY)
    if record is None:
        return content, 0
    try:
        named = json.loads(record)
        body, expected = str(named["name"]), str(named["sha256"])
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"checkpoint {path} has a damaged record of its body ('{KEY}'): download it again"
        ) from error
    weights = locate("bundled", body)
    if (found := sha256(weights)) != expected:
        raise UserError(
            f"checkpoint {path} is a head on weights of {body} with SHA-256 {expected[:12]}..., "
            f"and {weights} has {found[:12]}...: train the head again, or give a file with both"
        )
    tensors, _ = read(weights)
    joined = dict(content)
    for name, tensor in tensors.items():
        if PREFIX + name in names:
            joined[PREFIX + name] = tensor
    return joined, weights.stat().st_size
