"""Loading and applying trained weights, and a record of what was loaded.

Files in the published layouts are bare state dicts, or hold one as ``model`` (DeepSpeed: ``module``, OpenMMLab:
``state_dict``), often averaged weights as ``model_ema``, and training state beside them. What a family knows to mend
of a state dict (other positions, an image model for a video model) it mends in `Backbone.fitted`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from backbones.checkpoints.published import files_of
from backbones.checkpoints.read import read, sha256
from backbones.checkpoints.source import locate, resolve
from backbones.common.errors import UserError
from backbones.common.naming import with_settings
from backbones.provenance import NEW_HEAD, Provenance, key_digest

if TYPE_CHECKING:
    from backbones.base import Backbone

PLAIN, AVERAGED = ("model", "module", "state_dict"), "model_ema"
HEAD = ("head.weight", "head.bias")
NAMED = 3
SHARED = 4  # tensors may share their numbers, such as tied weights, but not without end
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LoadedWeights:
    """A state dict on the CPU and where it came from."""

    state: dict[str, Tensor]
    provenance: Provenance

    @property
    def num_classes(self) -> int | None:
        """Classes the weights' head tells apart; None if they have no head."""
        head = next(
            (self.state[name] for name in ("head.weight", "head.fc.weight") if name in self.state),
            None,
        )
        return None if head is None or not head.ndim else head.shape[0]


def load(spec: str, *, model_name: str, ema: bool | None = None) -> LoadedWeights:
    """The weights that `spec` names for `model_name`.

    `spec` is a path, ``hf://owner/repo/file`` (``hf://owner/repo@revision/file`` pins a revision),
    ``official`` (the file published for `model_name`) or ``bundled``. `ema` asks for the averaged
    weights (True) or the plain ones (False); None takes those whose accuracy was published. Only an
    ``hf://`` spec whose file is not in the hub's cache may use the network. Raises UserError for
    anything that cannot be used.
    """
    spec = resolve(spec, model_name)
    path = locate(spec, model_name)
    content, file_format = read(path)
    tensors, branch = _choose_branch(
        content, spec, _wants_ema(model_name, ema), explicit=ema is not None
    )
    state = _checked(tensors, spec, path.stat().st_size)
    provenance = Provenance(
        source=spec,
        path=str(path),
        sha256=sha256(path),
        format=file_format,
        branch=branch,
        keys=len(state),
        key_digest=key_digest(state),
    )
    return LoadedWeights(state, provenance)


def apply(
    model: Backbone,
    weights: LoadedWeights,
    num_classes: int | None = None,
    asked: frozenset[str] = NOTHING,
) -> tuple[str, ...]:
    """Copy `weights` into `model`, all of them and nothing else, in the model's own dtype and device.

    `num_classes` is what the caller asked for, if anything, and `asked` are the settings that the
    caller changed: only for them are weights adapted, which is told in the words returned. Weights
    without a head for the task leave the model's own, if `num_classes` was asked. Raises UserError,
    with the model untouched, for missing or surplus keys, a head of another size, a position
    embedding of another grid, other shapes, or other kinds.
    """
    wanted = model.state_dict()
    source = weights.provenance.source
    given, notes = model.fitted(weights.state, asked)
    headless = given.keys().isdisjoint(HEAD) and wanted.keys() >= set(HEAD)
    if headless and num_classes is not None:
        given |= {name: wanted[name] for name in HEAD}
        notes = [*notes, NEW_HEAD]
    elif (
        headless and wanted.keys() - set(HEAD) <= given.keys()
    ):  # not where it is the weights of something else
        raise UserError(
            f"checkpoint {source} has no head for this model: give weights with one, or ask for a new one, "
            + _asking(model, "N")
        )
    _check_names(wanted.keys(), given.keys(), source)
    _check_head(model, wanted, given, source, num_classes)
    _check_shapes(wanted, given, source)
    _check_kinds(wanted, given, source)
    model.load_state_dict(given)
    return tuple(notes)


def _wants_ema(model_name: str, ema: bool | None) -> bool:
    """Averaged weights, if nothing else is said, where the published accuracy is theirs."""
    published = files_of(model_name)
    return bool(published) and published[0].layout == AVERAGED if ema is None else ema


def _choose_branch(
    content: Any, spec: str, ema: bool, *, explicit: bool
) -> tuple[Mapping[str, Any], str]:
    if not isinstance(content, Mapping):
        raise UserError(
            f"checkpoint {spec} holds a {type(content).__name__}, not weights: give a state dict"
        )
    held = [name for name in (*PLAIN, AVERAGED) if isinstance(content.get(name), Mapping)]
    if not held:
        if ema and explicit:
            raise UserError(
                f"checkpoint {spec} is a bare state dict, without EMA weights: drop the request for EMA"
            )
        return content, "bare"
    branch = AVERAGED if ema else next((name for name in held if name in PLAIN), "model")
    if branch not in held:
        other = "ask for the plain ones (ema=False)" if ema else "ask for EMA weights (ema=True)"
        raise UserError(f"checkpoint {spec} has no '{branch}' (it has: {_some(content)}): {other}")
    return content[branch], branch


def _check_plain(tensors: Mapping[str, Tensor], spec: str, size: int) -> None:
    """UserError unless all tensors are dense numbers on the CPU that a file of `size` bytes can hold.

    A few bytes can ask for a tensor of any size: one that repeats a value, or one that is not
    filled.
    """
    total = 0
    for name, tensor in tensors.items():
        if (
            tensor.layout != torch.strided
            or tensor.is_quantized
            or tensor.is_nested
            or tensor.device.type != "cpu"
        ):
            raise UserError(
                f"checkpoint {spec} has no plain tensor in '{name}' (it is sparse, quantised, nested or without data): "
                "give dense, unquantised weights"
            )
        if tensor.is_floating_point() and tensor.element_size() < 2:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"checkpoint {spec} has '{name}' in {kind}: give weights in fp16, bf16, fp32 or fp64"
            )
        total += tensor.numel() * tensor.element_size()
    if total > SHARED * size:
        raise UserError(
            f"checkpoint {spec} asks for {total:,} bytes of weights and holds {size:,}: save its tensors in full"
        )


def _checked(tensors: Mapping[str, Any], spec: str, size: int) -> dict[str, Tensor]:
    strangers = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if strangers or not tensors:
        found = f"'{strangers[0]}' is no tensor" if strangers else "it is empty"
        raise UserError(
            f"checkpoint {spec} is not a state dict ({found}): give a state dict, or one under 'model' or 'model_ema'"
        )
    _check_plain(tensors, spec, size)
    # A copy, so that a mapped file may be replaced or removed while the model lives.
    state = {
        str(name).removeprefix("module."): tensor.detach().clone()
        for name, tensor in tensors.items()
    }
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(
                f"checkpoint {spec} has NaN or infinite values in '{name}': take an earlier checkpoint"
            )
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
    close = difflib.get_close_matches(missing[0], surplus, n=1) if missing else []
    meant = close[0] if close else "another model"
    raise UserError(
        f"checkpoint {source} does not fit the model: {', '.join(parts)}; did you mean {meant}?"
    )


def _asking(model: Backbone, classes: int | str) -> str:
    """How a head of so many classes is asked for, on the command line and in Python."""
    return f"--backbones '{with_settings(model.name, classes=classes)}' (in Python: num_classes={classes})"


def _check_head(
    model: Backbone,
    wanted: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    source: str,
    num_classes: int | None,
) -> None:
    if "head.weight" not in wanted or not given["head.weight"].ndim:
        return
    have, need = given["head.weight"].shape[0], wanted["head.weight"].shape[0]
    if have != need:
        asked = (
            f"the {need} classes asked for"
            if num_classes is not None
            else f"the model's {need} classes"
        )
        raise UserError(
            f"checkpoint {source} has a head for {have} classes, which does not fit {asked}: "
            f"ask for theirs, {_asking(model, have)}, or train a head for {need}"
        )


def _check_shapes(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> None:
    other = [name for name, tensor in wanted.items() if given[name].shape != tensor.shape]
    if not other:
        return
    if other == ["pos_embed"] and given["pos_embed"].shape[-1] == wanted["pos_embed"].shape[-1]:
        have, need = given["pos_embed"].shape[1], wanted["pos_embed"].shape[1]
        raise UserError(
            f"checkpoint {source} has positions for {have} tokens, the model for {need}: "
            "create the model with the image size and stride that the weights were trained with, or ask for image_size"
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
