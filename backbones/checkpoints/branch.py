"""Which weights of a file are taken: the plain ones, or their average over the training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from backbones.common.errors import UserError
from backbones.common.naming import with_settings

# Under these names Vim and DeiT, DeepSpeed, OpenMMLab and timm save weights.
PLAIN = ("model", "module", "state_dict")
AVERAGED = ("model_ema", "state_dict_ema", "ema", "ema_state_dict")
BARE = "bare"
# A buffer of PyTorch's AveragedModel, which averages by SWA or EMA.
COUNTER = "n_averaged"
# OpenMMLab's hook keeps the raw weights in such buffers and the averages under the plain names.
RAW = "ema_"
LISTED = 3  # names in a message


class Branch(NamedTuple):
    """One set of weights in a file.

    ``name``  its entry in the file, or ``bare`` (the file is the state dict itself)
    ``said``  what was taken and what was left, in words; empty if there was no choice
    """

    tensors: Mapping[Any, Any]
    name: str
    said: str = ""


def choose(content: Any, source: str, model_name: str, ema: bool | None, usual: bool) -> Branch:
    """The averaged weights of `content` if `ema`, the plain ones if not.

    None takes what is `usual` for the model, or else what there is. UserError without weights, or
    without those that `ema` asks for.
    """
    if not isinstance(content, Mapping):
        raise UserError(
            f"checkpoint {source} holds a {type(content).__name__}, not weights: give a state dict"
        )
    found = _branches(content)
    wanted = ema
    if wanted is None:
        # OpenMMLab evaluates the averages, which it saves under the plain names.
        in_one = len({branch.name for branch in found.values()}) < len(found)
        wanted = usual or in_one
    taken, other = found.get(wanted), found.get(not wanted)
    if taken is None and ema is not None:
        raise UserError(
            f"checkpoint {source} has no {_kind(ema)} weights (it has: {some(content)}): "
            f"leave out ema={str(ema).lower()}"
        )
    if taken is not None:
        said = f"the {_called(wanted, taken)} are taken"
        if other:
            name = with_settings(model_name, ema=not wanted)
            said += f", not the {_called(not wanted, other)}, which '{name}' takes"
        elif taken.name == BARE and not wanted:
            said = ""
        return taken._replace(said=said)
    assert other is not None
    said = f"the {_called(not wanted, other)} are taken, the file has no {_kind(wanted)} ones"
    if other.name == BARE and wanted:
        said = "the file does not say whether its weights are averaged, as the published ones are"
    return other._replace(said=said)


def some(names: Iterable[object]) -> str:
    """The first few of `names`, for a message."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:LISTED]) + (", ..." if len(listed) > LISTED else "")


def _branches(content: Mapping[Any, Any]) -> dict[bool, Branch]:
    """The sets of weights in a file, by whether they are averages."""
    found: dict[bool, Branch] = {}
    for averaged, names in ((False, PLAIN), (True, AVERAGED)):
        for name in names:
            if isinstance(content.get(name), Mapping):
                found.setdefault(averaged, Branch(content[name], name))
    if True in found:
        return found
    plain = found.get(False, Branch(content, BARE))
    tensors = {str(name): tensor for name, tensor in plain.tensors.items()}
    if any(name.rpartition(".")[2] == COUNTER for name in tensors):
        return {True: plain}
    # a buffer's name cannot contain dots
    buffers = {RAW + name.replace(".", "_"): name for name in tensors}
    raw = {buffers[name]: tensor for name, tensor in tensors.items() if name in buffers}
    if not raw:
        return {False: plain}
    averages = {name: tensor for name, tensor in tensors.items() if name not in buffers}
    return {
        True: Branch(averages, plain.name),
        False: Branch(averages | raw, plain.name),
    }


def _called(averaged: bool, branch: Branch) -> str:
    entry = "" if branch.name == BARE else f" ('{branch.name}')"
    return f"{_kind(averaged)} weights{entry}"


def _kind(averaged: bool) -> str:
    return "averaged" if averaged else "plain"
