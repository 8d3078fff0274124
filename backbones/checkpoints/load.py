"""Load trained weights, fit them to a model, and record what was loaded.

Files in the published layouts are bare state dicts, or contain one as ``model`` (DeepSpeed:
``module``, OpenMMLab: ``state_dict``), often averaged weights as ``model_ema``, and training state
beside them. What a family adapts in a state dict (other positions, an image model for a video
model) is in `Backbone.fitted`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from backbones.checkpoints.published import files_of, resolve
from backbones.checkpoints.read import read, sha256
from backbones.checkpoints.source import locate
from backbones.common.errors import UserError
from backbones.common.naming import with_settings
from backbones.provenance import NEW_HEAD, Provenance, key_digest

if TYPE_CHECKING:
    from backbones.base import Backbone

PLAIN, AVERAGED = ("model", "module", "state_dict"), "model_ema"
HEAD = ("head.weight", "head.bias")
LISTED = 3  # names in a message
SHARED = 4  # tensors may share their numbers, such as tied weights, but not without end
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LoadedWeights:
    """A state dict on the CPU and where it came from."""

    state: dict[str, Tensor]
    provenance: Provenance

    @property
    def num_classes(self) -> int | None:
        """Number of classes of the weights' head; None without a head."""
        for name in ("head.weight", "head.fc.weight"):
            if name in self.state:
                head = self.state[name]
                return head.shape[0] if head.ndim else None
        return None


def load(spec: str, *, model_name: str, ema: bool | None = None) -> LoadedWeights:
    """Load the weights that `spec` names for `model_name`.

    `spec` is a path, ``hf://owner/repo/file`` (``hf://owner/repo@revision/file`` pins a revision),
    ``official`` (the file published for `model_name`) or ``bundled``. `ema` selects the averaged
    weights (True) or the plain ones (False); None takes those whose accuracy was published. Only an
    ``hf://`` spec whose file is not in the hub's cache may use the network. UserError for anything
    that cannot be used.
    """
    spec = resolve(spec, model_name)
    path = locate(spec, model_name)
    content, file_format = read(path)
    averaged = _publishes_ema(model_name) if ema is None else ema
    tensors, branch = _choose_branch(content, spec, averaged, explicit=ema is not None)
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
    changed: frozenset[str] = NOTHING,
) -> tuple[str, ...]:
    """Copy all of `weights` into `model`, in the model's own dtype and on its device.

    `num_classes` is the caller's choice, if any, and `changed` are the settings that the caller
    changed: only for them are weights adapted, which the returned notes say. Weights without a head
    leave the model's own head if `num_classes` is set. UserError, with the model untouched, for
    missing or surplus keys, a head of another size, a position embedding of another grid, other
    shapes, or other kinds of numbers.
    """
    # All checks come before the first copy, so that an error leaves the model untouched.
    own = model.state_dict()
    source = weights.provenance.source
    fitted, notes = model.fitted(weights.state, changed)
    headless = fitted.keys().isdisjoint(HEAD) and own.keys() >= set(HEAD)
    if headless and num_classes is not None:
        fitted |= {name: own[name] for name in HEAD}
        notes = [*notes, NEW_HEAD]
    # If more than the head is missing, these are weights of something else: `_check_names` says so.
    elif headless and own.keys() - set(HEAD) <= fitted.keys():
        raise UserError(
            f"checkpoint {source} has no head for this model: give weights with one, "
            f"or ask for a new one, {_how_to_set_classes(model, 'N')}"
        )
    _check_names(own.keys(), fitted.keys(), source)
    _check_head(model, own, fitted, source, num_classes)
    _check_shapes(own, fitted, source)
    _check_kinds(own, fitted, source)
    model.load_state_dict(fitted)
    return tuple(notes)


def _publishes_ema(model_name: str) -> bool:
    """Whether the published accuracy of the model is that of averaged weights."""
    published = files_of(model_name)
    return bool(published) and published[0].layout == AVERAGED


def _choose_branch(
    content: Any, spec: str, ema: bool, *, explicit: bool
) -> tuple[Mapping[str, Any], str]:
    if not isinstance(content, Mapping):
        raise UserError(
            f"checkpoint {spec} holds a {type(content).__name__}, not weights: give a state dict"
        )
    branches = [name for name in (*PLAIN, AVERAGED) if isinstance(content.get(name), Mapping)]
    if not branches:
        # Averaged weights by default are a guess about the file, by request a condition.
        if ema and explicit:
            raise UserError(
                f"checkpoint {spec} is a bare state dict, without EMA weights: "
                "drop the request for EMA"
            )
        return content, "bare"
    # the first of the names that a framework uses for plain weights
    branch = AVERAGED if ema else next((name for name in branches if name in PLAIN), "model")
    if branch not in branches:
        fix = "ask for the plain ones (ema=False)" if ema else "ask for EMA weights (ema=True)"
        raise UserError(f"checkpoint {spec} has no '{branch}' (it has: {_some(content)}): {fix}")
    return content[branch], branch


def _checked(tensors: Mapping[str, Any], spec: str, size: int) -> dict[str, Tensor]:
    """The state dict, copied; UserError unless it consists of plain, finite tensors."""
    foreign = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if foreign or not tensors:
        reason = f"'{foreign[0]}' is no tensor" if foreign else "it is empty"
        raise UserError(
            f"checkpoint {spec} is not a state dict ({reason}): "
            "give a state dict, or one under 'model' or 'model_ema'"
        )
    _check_plain(tensors, spec, size)
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        # A copy, so that a mapped file may be replaced or removed while the model lives.
        copied = tensor.detach().clone()
        # DistributedDataParallel puts the prefix before every name.
        state[str(name).removeprefix("module.")] = copied
    for name, tensor in state.items():
        # a training that diverged; its logits would be NaN without an error
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(
                f"checkpoint {spec} has NaN or infinite values in '{name}': "
                "take an earlier checkpoint"
            )
    return state


def _check_plain(tensors: Mapping[str, Tensor], spec: str, size: int) -> None:
    """UserError unless all tensors are dense numbers on the CPU that fit a file of `size` bytes."""
    total = 0
    for name, tensor in tensors.items():
        dense = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_nested
        if not dense or tensor.device.type != "cpu":
            raise UserError(
                f"checkpoint {spec} has no plain tensor in '{name}' "
                "(it is sparse, quantised, nested or without data): "
                "give dense, unquantised weights"
            )
        if tensor.is_floating_point() and tensor.element_size() < 2:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"checkpoint {spec} has '{name}' in {kind}: "
                "give weights in fp16, bf16, fp32 or fp64"
            )
        total += tensor.numel() * tensor.element_size()
    # A few bytes can describe a tensor of any size: one that repeats a value, or is not filled.
    if total > SHARED * size:
        raise UserError(
            f"checkpoint {spec} asks for {total:,} bytes of weights and holds {size:,}: "
            "save its tensors in full"
        )


def _check_names(own: Collection[str], fitted: Collection[str], source: str) -> None:
    missing = sorted(set(own) - set(fitted))
    surplus = sorted(set(fitted) - set(own))
    if not missing and not surplus:
        return
    parts: list[str] = []
    if missing:
        parts.append(f"{len(missing)} keys missing ({_some(missing)})")
    if surplus:
        parts.append(f"{len(surplus)} keys surplus ({_some(surplus)})")
    # A renamed key shows which other model the file belongs to.
    close = difflib.get_close_matches(missing[0], surplus, n=1) if missing else []
    meant = close[0] if close else "another model"
    raise UserError(
        f"checkpoint {source} does not fit the model: {', '.join(parts)}; did you mean {meant}?"
    )


def _how_to_set_classes(model: Backbone, classes: int | str) -> str:
    name = with_settings(model.name, classes=classes)
    return f"--backbones '{name}' (in Python: num_classes={classes})"


def _check_head(
    model: Backbone,
    own: Mapping[str, Tensor],
    fitted: Mapping[str, Tensor],
    source: str,
    num_classes: int | None,
) -> None:
    if "head.weight" not in own or not fitted["head.weight"].ndim:
        return
    have, need = fitted["head.weight"].shape[0], own["head.weight"].shape[0]
    if have != need:
        expected = f"the model's {need} classes"
        if num_classes is not None:
            expected = f"the {need} classes asked for"
        raise UserError(
            f"checkpoint {source} has a head for {have} classes, which does not fit {expected}: "
            f"ask for theirs, {_how_to_set_classes(model, have)}, or train a head for {need}"
        )


def _check_shapes(own: Mapping[str, Tensor], fitted: Mapping[str, Tensor], source: str) -> None:
    different = [name for name, tensor in own.items() if fitted[name].shape != tensor.shape]
    if not different:
        return
    name = different[0]
    theirs, ours = fitted[name], own[name]
    # Positions alone: the right model for another image size.
    if different == ["pos_embed"] and theirs.shape[-1] == ours.shape[-1]:
        raise UserError(
            f"checkpoint {source} has positions for {theirs.shape[1]} tokens, the model for "
            f"{ours.shape[1]}: create the model with the image size and stride that the weights "
            "were trained with, or ask for image_size"
        )
    raise UserError(
        f"checkpoint {source} has {len(different)} tensors of another shape ({name} is "
        f"{tuple(theirs.shape)}, the model's is {tuple(ours.shape)}): "
        "choose the model that these weights belong to"
    )


def _check_kinds(own: Mapping[str, Tensor], fitted: Mapping[str, Tensor], source: str) -> None:
    # PyTorch would convert whole numbers to floats without a word.
    for name, tensor in own.items():
        if tensor.is_floating_point() != fitted[name].is_floating_point():
            raise UserError(
                f"checkpoint {source} has {fitted[name].dtype} values in '{name}', "
                f"the model {tensor.dtype}: give unquantised weights"
            )


def _some(names: Iterable[object]) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:LISTED]) + (", ..." if len(listed) > LISTED else "")
