"""Load trained weights, fit them to a model, and record what was loaded.

`branch` chooses among the weights of a file, `names` brings their names to those of the model. What
a family adapts in a state dict (other positions, an image model for a video model) is in
`Backbone.fitted`.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from backbones.checkpoints.body import with_body
from backbones.checkpoints.branch import AVERAGED, choose, some
from backbones.checkpoints.names import head_of, renamed
from backbones.checkpoints.published import files_of, resolve
from backbones.checkpoints.read import INDEX, read, sha256, shards
from backbones.checkpoints.source import beside, locate
from backbones.common.errors import UserError
from backbones.common.naming import bracketed, with_settings
from backbones.provenance import Provenance, key_digest

if TYPE_CHECKING:
    from backbones.base import Backbone

SHARD = re.compile(r"-\d+-of-(\d+)\.\w+$")
COUNT = "num_batches_tracked"  # of batch norms, which no evaluation reads
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
        head = self.state.get(head_of(self.state)[0])
        return head.shape[0] if head is not None and head.ndim else None


def load(
    spec: str, *, model_name: str, ema: bool | None = None, names: Collection[str] = ()
) -> LoadedWeights:
    """Load the weights that `spec` names for `model_name`, whose tensors are called `names`.

    `spec` is a path, ``hf://owner/repo/file`` (``hf://owner/repo@revision/file`` pins a revision),
    ``official`` (the file published for `model_name`) or ``bundled``; the file may be the index of
    sharded weights. `ema` selects the averaged weights (True) or the plain ones (False); None takes
    those whose accuracy was published. Only an ``hf://`` spec whose file is not in the hub's cache
    may use the network. UserError for anything that cannot be used.
    """
    spec = resolve(spec, model_name)
    path = locate(spec, model_name)
    content, file_format, digest, size = _read(spec, path)
    if file_format == "safetensors" and not path.name.endswith(INDEX):
        content, of_body = with_body(content, path, names)
        size += of_body
    branch = choose(content, spec, model_name, ema, _publishes_ema(model_name))
    state, notes = renamed(_checked(branch.tensors, spec, size), names, spec)
    provenance = Provenance(
        source=spec,
        path=str(path),
        sha256=digest,
        format=file_format,
        branch=branch.name,
        keys=len(state),
        key_digest=key_digest(state),
        taken=tuple(note for note in (branch.said, *notes) if note),
    )
    return LoadedWeights(state, provenance)


def apply(
    model: Backbone,
    weights: LoadedWeights,
    num_classes: int | None = None,
    changed: frozenset[str] = NOTHING,
    name: str = "",
) -> Provenance:
    """Copy all of `weights` into `model`, in the model's own dtype and on its device.

    `num_classes` is the caller's choice, if any, and `changed` are the settings that the caller
    changed: only for them are weights adapted, which the returned provenance says. Weights without
    a head leave the model's own head if `num_classes` is set. `name` is the model's with its
    settings, for messages. UserError, with the model untouched, for missing or surplus keys, a head
    of another size, a position embedding of another grid, other shapes, or other kinds of numbers.
    """
    # All checks come before the first copy, so that an error leaves the model untouched.
    own = model.state_dict()
    source, name = weights.provenance.source, name or model.name
    fitted, notes = model.fitted(weights.state, changed)
    made_up = [key for key in fitted if key not in weights.state]
    fitted = {key: own[key] for key in own if key.endswith(COUNT)} | fitted
    head = head_of(own)
    headless = fitted.keys().isdisjoint(head) and own.keys() >= set(head)
    if headless and num_classes is not None:
        fitted |= {key: own[key] for key in head}
        made_up += head
    # If more than the head is missing, these are weights of something else: `_check_names` says so.
    elif headless and own.keys() - set(head) <= fitted.keys():
        raise UserError(
            f"checkpoint {source} has no head for this model: give weights with one, "
            f"or ask for a new one, untrained, {_how_to_set_classes(name, 'N')}"
        )
    _check_names(own.keys(), fitted.keys(), source)
    _check_head(name, own, fitted, source, num_classes)
    _check_shapes(own, fitted, source)
    _check_kinds(own, fitted, source)
    model.load_state_dict(fitted)
    random: dict[str, bool] = {}
    for key in made_up:
        part = key.partition(".")[0]
        random[part] = random.get(part, False) or bool(fitted[key].any())
    parts = tuple(f"{part} ({'random' if drawn else 'zeros'})" for part, drawn in random.items())
    return replace(weights.provenance, adapted=tuple(notes), made_up=parts)


def _read(spec: str, path: Path) -> tuple[Any, str, str, int]:
    """Content, format, hash and bytes of the file at `path`, or of the shards that it lists."""
    if path.name.endswith(INDEX):
        return _joined(spec, path)
    part = SHARD.search(path.name)
    if part and int(part[1]) > 1:
        raise UserError(
            f"checkpoint {spec} is one of {int(part[1])} shards: give the index beside it, "
            f"{SHARD.sub(path.suffix, path.name)}{INDEX}"
        )
    content, file_format = read(path)
    return content, file_format, sha256(path), path.stat().st_size


def _joined(spec: str, index: Path) -> tuple[dict[str, Any], str, str, int]:
    """The tensors of all shards that `index` lists."""
    joined: dict[str, Any] = {}
    file_format, size, hashes = "", 0, [sha256(index)]
    for file, names in sorted(shards(index).items()):
        path = beside(spec, index, file)
        content, file_format = read(path)
        if not isinstance(content, Mapping):
            content = {}
        if lacking := [name for name in names if name not in content]:
            raise UserError(
                f"shard {path} lacks {some(lacking)}, which {index.name} says are in it: "
                "download both again"
            )
        joined |= {name: content[name] for name in names}
        size += path.stat().st_size
        hashes.append(sha256(path))
    return joined, file_format, hashlib.sha256("\n".join(hashes).encode()).hexdigest(), size


def _publishes_ema(model_name: str) -> bool:
    """Whether the published accuracy of the model is that of averaged weights."""
    # whatever its settings, such as another number of classes
    published = files_of(bracketed(model_name)[0])
    return bool(published) and published[0].layout in AVERAGED


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
        state[str(name)] = tensor.detach().clone()
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
        parts.append(f"{len(missing)} keys missing ({some(missing)})")
    if surplus:
        parts.append(f"{len(surplus)} keys surplus ({some(surplus)})")
    # A renamed key shows which other model the file belongs to.
    close = difflib.get_close_matches(missing[0], surplus, n=1) if missing else []
    mend = "choose the backbone that these weights belong to"
    if close:
        mend = f"did you mean {close[0]}?"
    elif not missing:
        mend = "leave them out of the file, or choose the backbone that has them"
    raise UserError(f"checkpoint {source} does not fit the model, {', '.join(parts)}: {mend}")


def _how_to_set_classes(name: str, classes: int | str) -> str:
    return (
        f"--backbones '{with_settings(name, classes=classes)}' (in Python: num_classes={classes})"
    )


def _check_head(
    name: str,
    own: Mapping[str, Tensor],
    fitted: Mapping[str, Tensor],
    source: str,
    num_classes: int | None,
) -> None:
    weight, _ = head_of(own)
    if weight not in own or not fitted[weight].ndim:
        return
    have, need = fitted[weight].shape[0], own[weight].shape[0]
    if have != need:
        expected = f"the model's {need} classes"
        if num_classes is not None:
            expected = f"the {need} classes asked for"
        raise UserError(
            f"checkpoint {source} has a head for {have} classes, which does not fit {expected}: "
            f"ask for theirs, {_how_to_set_classes(name, have)}, or train a head for {need}"
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
