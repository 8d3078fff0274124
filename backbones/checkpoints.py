"""Loading and applying trained weights, and a record of what was loaded.

Files in the published layout hold ``model``, often ``model_ema`` (averaged weights), and training state beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backbones import checkpoint_io
from backbones.checkpoint_source import locate
from backbones.errors import UserError
from backbones.registry import nearest

# Vim-B's published 81.9 % is that of its averaged weights; the other sizes are published as trained.
EMA_BY_DEFAULT = frozenset({"vim_base"})
NAMED = 3


@dataclass(frozen=True)
class Provenance:
    """Where weights came from, enough to recognise them again.

    ``source``      what was asked for: a path, ``hf://owner/repo[@revision]/file`` or ``bundled``
    ``path``        the file on disk
    ``sha256``      of that file
    ``format``      ``torch`` or ``safetensors``
    ``branch``      ``model``, ``model_ema``, or ``bare`` (a state dict with nothing around it)
    ``keys``        number of tensors
    ``key_digest``  sha256 over the sorted names and shapes
    """

    source: str
    path: str
    sha256: str
    format: str
    branch: str
    keys: int
    key_digest: str


@dataclass(frozen=True)
class LoadedWeights:
    """A state dict on the CPU and where it came from."""

    state: dict[str, Tensor]
    provenance: Provenance

    @property
    def num_classes(self) -> int | None:
        """Classes the weights' head tells apart; None if they have no head."""
        head = self.state.get("head.weight")
        return None if head is None else head.shape[0]


def load(spec: str, *, model_name: str, ema: bool | None = None) -> LoadedWeights:
    """The weights that `spec` names for `model_name`.

    `spec` is a path, ``hf://owner/repo/file`` (``hf://owner/repo@revision/file`` pins a revision) or ``bundled``.
    `ema` asks for the averaged weights (True) or the plain ones (False); None takes those whose accuracy was
    published. Only an ``hf://`` spec may use the network. Raises UserError for anything that cannot be used.
    """
    path = locate(spec, model_name)
    content, file_format = checkpoint_io.read(path)
    tensors, branch = _choose_branch(content, spec, _wants_ema(model_name, ema), explicit=ema is not None)
    state = _checked(tensors, spec)
    provenance = Provenance(
        source=spec,
        path=str(path),
        sha256=checkpoint_io.sha256(path),
        format=file_format,
        branch=branch,
        keys=len(state),
        key_digest=key_digest(state),
    )
    return LoadedWeights(state, provenance)


def apply(model: nn.Module, weights: LoadedWeights, num_classes: int | None = None) -> None:
    """Copy `weights` into `model`, all of them and nothing else, in the model's own dtype and device.

    `num_classes` is what the caller asked for, if anything. Raises UserError, with the model untouched, for missing
    or surplus keys, a head of another size, a position embedding of another grid, other shapes, or other kinds.
    """
    wanted = model.state_dict()
    source = weights.provenance.source
    _check_names(wanted.keys(), weights.state.keys(), source)
    _check_head(wanted, weights.state, source, num_classes)
    _check_shapes(wanted, weights.state, source)
    _check_kinds(wanted, weights.state, source)
    model.load_state_dict(weights.state)


def key_digest(state: Mapping[str, Tensor]) -> str:
    """sha256 over the sorted names and shapes of a state dict."""
    lines = sorted(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _wants_ema(model_name: str, ema: bool | None) -> bool:
    return model_name in EMA_BY_DEFAULT if ema is None else ema


def _choose_branch(content: Any, spec: str, ema: bool, *, explicit: bool) -> tuple[Mapping[str, Any], str]:
    if not isinstance(content, Mapping):
        raise UserError(f"checkpoint {spec} holds a {type(content).__name__}, not weights: give a state dict")
    wrapped = isinstance(content.get("model"), Mapping) or isinstance(content.get("model_ema"), Mapping)
    if not wrapped:
        if ema and explicit:
            raise UserError(f"checkpoint {spec} is a bare state dict, without EMA weights: drop the request for EMA")
        return content, "bare"
    branch = "model_ema" if ema else "model"
    if not isinstance(content.get(branch), Mapping):
        other = "ask for EMA weights (ema=True)" if branch == "model" else "ask for the plain ones (ema=False)"
        raise UserError(f"checkpoint {spec} has no '{branch}' (it has: {_some(content)}): {other}")
    return content[branch], branch


def _checked(tensors: Mapping[str, Any], spec: str) -> dict[str, Tensor]:
    strangers = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if strangers or not tensors:
        found = f"'{strangers[0]}' is no tensor" if strangers else "it is empty"
        raise UserError(
            f"checkpoint {spec} is not a state dict ({found}): give a state dict, or one under 'model' or 'model_ema'"
        )
    # A copy, so that a mapped file may be replaced or removed while the model lives.
    state = {str(name).removeprefix("module."): tensor.detach().clone() for name, tensor in tensors.items()}
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(f"checkpoint {spec} has NaN or infinite values in '{name}': take an earlier checkpoint")
    return state


def _check_names(wanted: Any, given: Any, source: str) -> None:
    missing, surplus = sorted(wanted - given), sorted(given - wanted)
    if not missing and not surplus:
        return
    parts = [
        f"{len(names)} keys {what} ({_some(names)})"
        for what, names in (("missing", missing), ("surplus", surplus))
        if names
    ]
    hint = nearest(missing[0], surplus) if missing and surplus else "did you mean another model?"
    raise UserError(f"checkpoint {source} does not fit the model: {', '.join(parts)}; {hint}")


def _check_head(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str, num_classes: int | None
) -> None:
    if "head.weight" not in wanted:
        return
    have, need = given["head.weight"].shape[0], wanted["head.weight"].shape[0]
    if have != need:
        asked = f"num_classes={num_classes}" if num_classes is not None else f"the model's {need} classes"
        raise UserError(
            f"checkpoint {source} has a head for {have} classes, which does not fit {asked}: "
            f"pass num_classes={have}, or train a head for {need}"
        )


def _check_shapes(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> None:
    other = [name for name, tensor in wanted.items() if given[name].shape != tensor.shape]
    if not other:
        return
    if other == ["pos_embed"] and given["pos_embed"].shape[-1] == wanted["pos_embed"].shape[-1]:
        have, need = given["pos_embed"].shape[1], wanted["pos_embed"].shape[1]
        raise UserError(
            f"checkpoint {source} has positions for {have} tokens, the model for {need}: "
            "create the model with the image size and stride that the weights were trained with"
        )
    name = other[0]
    raise UserError(
        f"checkpoint {source} has {len(other)} tensors of another shape ({name} is {tuple(given[name].shape)}, "
        f"the model's is {tuple(wanted[name].shape)}): choose the model that these weights belong to"
    )


def _check_kinds(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> None:
    for name, tensor in wanted.items():
        if tensor.is_floating_point() != given[name].is_floating_point():
            raise UserError(
                f"checkpoint {source} has {given[name].dtype} values in '{name}', the model {tensor.dtype}: "
                "give unquantised weights"
            )


def _some(names: Any) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:NAMED]) + (", ..." if len(listed) > NAMED else "")
