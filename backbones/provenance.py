"""The record of where a model's weights came from.

`backbones.checkpoints` writes it, models carry it, and run folders store it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

# the note in `adapted` for weights without a head
NEW_HEAD = "the head is new"


@dataclass(frozen=True)
class Provenance:
    """Where weights came from, in enough detail to recognise them again.

    ``source``      as named by the user: a path, ``hf://owner/repo[@revision]/file``, ``bundled``
    ``path``        the file on disk
    ``sha256``      of that file
    ``format``      ``torch`` or ``safetensors``
    ``branch``      ``model``, ``model_ema``, ..., or ``bare`` (the file is the state dict itself)
    ``keys``        number of tensors
    ``key_digest``  sha256 over the sorted names and shapes
    ``adapted``     changes made to fit the model, in words
    """

    source: str
    path: str
    sha256: str
    format: str
    branch: str
    keys: int
    key_digest: str
    adapted: tuple[str, ...] = ()


def key_digest(state: Mapping[str, Tensor]) -> str:
    """Sha256 over the sorted names and shapes of a state dict."""
    # Names and shapes alone: two trainings of one model have the same digest.
    lines = sorted(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
