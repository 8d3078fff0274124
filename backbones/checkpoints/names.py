"""Names in a file brought to those of a model: prefixes of wrappers go, heads get their name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from backbones.checkpoints.branch import COUNTER, some
from backbones.common.errors import UserError

# Components that a wrapper puts before a module's names, wherever the module is: data parallel
# training, torch.compile, Lightning Fabric, FSDP, and its activation checkpoints.
WRAPPERS = (
    "module",
    "_orig_mod",
    "_forward_module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
)
HEAD = ("head.weight", "head.bias")
NESTED_HEAD = ("classifier.head.weight", "classifier.head.bias")  # VMamba's
HEADS = ("head", "heads", "fc", "classifier", "cls_head", "last_linear", "linear")
State = Mapping[str, Tensor]


def renamed(state: State, own: Collection[str], source: str) -> tuple[dict[str, Tensor], list[str]]:
    """`state` under the names `own` of the model as far as they can be told, and notes in words.

    UserError if two tensors come to one name, or the model is there twice.
    """
    result, notes = _unwrapped(state, own, source)
    _refuse_twice(result, own, source)
    body = set(own) - set(head_of(own))
    # as long as less than half of the model's names are there as they are
    while len(body & result.keys()) * 2 < len(body):
        inner = _inside(result, body, source)
        if inner is None:
            break
        result, more = inner
        notes += more
    head = _head_of(result)
    if head and "head.weight" in own and "head.weight" not in result:
        notes.append(f"the head is called '{head}' there")
        for name in HEAD:
            theirs = name.replace("head", head)
            if theirs in result:
                result[name] = result.pop(theirs)
    return result, notes


def head_of(names: Collection[str]) -> tuple[str, str]:
    """Weight and bias of the head of a model whose tensors are called `names`."""
    return NESTED_HEAD if NESTED_HEAD[0] in names else HEAD


def _unwrapped(
    state: State, own: Collection[str], source: str
) -> tuple[dict[str, Tensor], list[str]]:
    """`state` without what wrappers add: parts of names, and the number of averaged weights."""
    known = {part for name in own for part in name.split(".")}
    foreign = [part for part in WRAPPERS if part not in known]
    result: dict[str, Tensor] = {}
    before: dict[str, str] = {}
    removed: dict[str, None] = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[-1] == COUNTER:
            continue
        removed |= dict.fromkeys(part for part in parts if part in foreign)
        short = ".".join(part for part in parts if part not in foreign)
        if short in result:
            raise _twice(source, before[short], name)
        result[short], before[short] = tensor, name
    return result, [_taken_off(part) for part in removed]


def _refuse_twice(state: State, own: Collection[str], source: str) -> None:
    """UserError if a name is there with a prefix and without."""
    firsts = {name.partition(".")[0] for name in own}
    plain = state.keys() & set(own)
    for name in state:
        if name.partition(".")[0] not in firsts:
            for short in _suffixes(name):
                if short in plain:
                    raise _twice(source, short, name)


def _inside(
    state: State, body: Collection[str], source: str
) -> tuple[dict[str, Tensor], list[str]] | None:
    """`state` without the prefix under which most names of `body` are; None if there is no such.

    What is beside them is left out, but for a head. UserError if there are two such prefixes.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        first, dot, rest = name.partition(".")
        if dot and first not in HEADS:
            groups.setdefault(first, {})[rest] = tensor
    holding = []
    for first, inside in groups.items():
        found = {short for name in inside for short in (name, *_suffixes(name))}
        if len(found & set(body)) * 2 >= len(body):
            holding.append(first)
    if not holding:
        return None
    if len(holding) > 1:
        raise UserError(
            f"checkpoint {source} has the model under '{holding[0]}.' and under '{holding[1]}.': "
            "save one of them alone"
        )
    first = holding[0]
    result, left = dict(groups[first]), []
    for name, tensor in state.items():
        top = name.partition(".")[0]
        if top in HEADS:
            if name in result:
                raise _twice(source, f"{first}.{name}", name)
            result[name] = tensor
        elif top != first:
            left.append(name)
    notes = [_taken_off(first)]
    if left:
        notes.append(f"left out: {some(left)}")
    return result, notes


def _head_of(state: State) -> str:
    """The prefix of the only linear layer among the heads; empty if there is none, or more."""
    layers = {name.rpartition(".")[0] for name in state if name.partition(".")[0] in HEADS}
    return layers.pop() if len(layers) == 1 else ""


def _suffixes(name: str) -> list[str]:
    """What is left of `name` without its first parts."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(1, len(parts))]


def _taken_off(part: str) -> str:
    return f"'{part}.' taken off the names"


def _twice(source: str, one: str, other: str) -> UserError:
    return UserError(f"checkpoint {source} has both '{one}' and '{other}': keep one of them")
