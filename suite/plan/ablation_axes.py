"""The axes of an ablation: which settings of a method are varied, one at a time, around its own.

An axis is a list of options and the values each takes; a method has those of them that it offers.
What comes out is the text of a method, so that an ablation is a list of ordinary cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from methods.base import NATIVE, Value, shown
from methods.spec import MethodSpec, parse
from suite.plan.schedule import SCHEDULES

EVERY = "all"
UNCHANGED = "as it is"


@dataclass(frozen=True)
class Vary:
    """One option and its `values` (None: all its choices); `given` are options that it needs to make a difference."""

    option: str
    values: tuple[Value, ...] | None = None
    given: Mapping[str, Value] = field(default_factory=dict)


AXES: dict[str, tuple[Vary, ...]] = {
    "order": (
        Vary("order", ("restored", "score", "appended", "odd-even", "reversed")),
        Vary("shuffle", (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0), {"order": "shuffled"}),
    ),
    "score": (Vary("score"), Vary("window", (1, 3, 5)), Vary("sensitivity", (0.0, 1.0, 4.0, 16.0))),
    "combine": (
        Vary("weights"),
        Vary("hybrid", (0.0, 0.25, 0.5, 0.75, 1.0)),
        Vary("hybrid_residual", (0.0, 0.5, 1.0)),
    ),
    "match": (
        Vary("matching"),
        Vary("sources"),
        Vary("targets", (0.25, 0.5, 1.0, 2.0, 4.0)),
        Vary("pruned", (0.0, 0.25, 0.5, 0.75)),
        Vary("fused"),
        Vary("neighbours"),
    ),
    "schedule": (),
    "class-token": (Vary("protect", (0, 1, 2, 4, 8, 16)), Vary("special")),
    "direction": (Vary("direction"),),
    "similarity": (Vary("feature"), Vary("best", (1, 2, 4, 16))),
    "size": (Vary("weights", ("mean", "size")), Vary("attention")),
}


@dataclass(frozen=True)
class Setting:
    """One point of an axis: in words what is set, the method so set, and why it cannot be (empty: it can)."""

    words: str
    method: MethodSpec
    refused: str = ""


def settings(method: MethodSpec, axis: str) -> list[Setting]:
    """The settings of `axis` around `method`, the method itself first; UserError if it has nothing to vary there."""
    found: dict[str, list[Setting]] = {method.text: []}
    for setting in _varied(method, axis):
        found.setdefault(setting.method.text, []).append(setting)
    if len(found) == 1:
        offered = ", ".join(axes_of([method])) or "none"
        raise UserError(f"{method} has nothing to vary on the axis {axis}: its axes are {offered}")
    own = ", ".join(setting.words for setting in found.pop(method.text)) or UNCHANGED
    return [Setting(own, method), *(alike[0] for alike in found.values())]


def permutations() -> list[Setting]:
    """The settings of the axis order with nothing removed."""
    return [
        setting
        for setting in _varied(parse("permute"), "order")
        if setting.words != "order=restored"
    ]


def ablated(methods: Sequence[MethodSpec], axes: Sequence[str]) -> list[MethodSpec]:
    """Every method that the `axes` around `methods` name, once each; `methods` themselves without axes."""
    found = dict.fromkeys(methods)
    for axis in axes:
        for method in methods:
            found |= dict.fromkeys(
                setting.method for setting in settings(method, axis) if not setting.refused
            )
        if axis == "order":
            found |= dict.fromkeys(setting.method for setting in permutations())
    return list(found)


def axes_of(methods: Sequence[MethodSpec]) -> list[str]:
    """The axes on which every one of `methods` can be varied."""
    return [
        axis
        for axis in AXES
        if all(
            any(setting.method != method for setting in _varied(method, axis)) for method in methods
        )
    ]


def known(axis: str) -> str:
    """`axis` if there is one of this name, else a UserError; no method is looked at, which would take PyTorch."""
    if axis not in AXES:
        raise UserError(f"unknown axis '{axis}': {nearest(axis, AXES)}")
    return axis


def _varied(method: MethodSpec, axis: str) -> Iterator[Setting]:
    if axis == "schedule" and method.method.kind == "sequence":
        for name in (*SCHEDULES, "every-2"):
            yield Setting(f"schedule={name}", MethodSpec(method.name, method.options, name))
    for vary in AXES[known(axis)]:
        option = method.method.options.get(vary.option)
        if option is None:
            continue
        for value in vary.values or option.choices or (True, False):
            if value != NATIVE and (not option.choices or value in option.choices):
                yield _changed(method, {**vary.given, vary.option: value})


def _changed(method: MethodSpec, changes: Mapping[str, Value]) -> Setting:
    """`method` with other options; refused if they do not go together."""
    options = method.method.settings({**method.options, **changes})
    spec = MethodSpec(method.name, options, method.schedule)
    words = ", ".join(f"{name}={shown(value)}" for name, value in list(changes.items())[-1:])
    try:
        spec.composition()
    except UserError as error:
        return Setting(words, spec, str(error))
    return Setting(words, spec)
