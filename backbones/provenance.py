"""The record of where a model's weights came from.

`backbones.checkpoints` writes it, models carry it, and run folders store it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


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
    ``taken``       which weights were taken and how their names were changed, in words
    ``adapted``     changes made to fit the model, in words
    ``made_up``     parts of the model that the file does not have, and what they are instead
    """

    source: str
    path: str
    sha256: str
    format: str
    branch: str
    keys: int
    key_digest: str
    taken: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    made_up: tuple[str, ...] = ()

    def told(self) -> str:
        """All that was chosen, changed and made up, in one line; empty if nothing was."""
        made_up = [f"made up, not trained: {', '.join(self.made_up)}"] if self.made_up else []
        return "; ".join([*self.taken, *self.adapted, *made_up])


def key_digest(state: Mapping[str, Tensor]) -> str:
    """Sha256 over the sorted names and shapes of a state dict."""
    # Names and shapes alone: two trainings of one model have the same digest.
    lines = sorted(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
