"""The axes of an ablation: settings of a method that are varied one at a time, around its own.

An axis lists options and the values that each takes; a method is varied in those that it offers.
Every setting is a method spec, so that an ablation is a list of ordinary cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from methods.base import NATIVE, Value, shown
from methods.spec import MethodSpec, parse
from suite.plan.schedule import SCHEDULES

EVERY = "all"
UNCHANGED = "as it is"
DENSE_AXIS = "undo"  # of segmentation alone


@dataclass(frozen=True)
class Vary:
    """One option and its `values`, None: all its choices.

    `requires` are other options without which it makes no difference, where a method has them.
    """

    option: str
    values: tuple[Value, ...] | None = None
    requires: Mapping[str, Value] = field(default_factory=dict)


AXES: dict[str, tuple[Vary, ...]] = {
    "order": (
        Vary("order", ("restored", "score", "appended", "odd-even", "reversed")),
        Vary("shuffle", (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0), {"order": "shuffled"}),
    ),
    "score": (
        Vary("score"),
        Vary("reading", requires={"score": "activation"}),
        Vary("decay", requires={"score": "hidden-attention"}),
        Vary("window", (1, 3, 5)),
        Vary("sensitivity", (0.0, 1.0, 4.0, 16.0)),
    ),
    "combine": (
        Vary("weights"),
        Vary("drop_ratio", (0.0, 0.25, 0.5, 0.75, 1.0)),
        Vary("residual_drop_ratio", (0.0, 0.5, 1.0)),
    ),
    "match": (
        Vary("matching"),
        Vary("sources"),
        Vary("targets", (0.25, 0.5, 1.0, 2.0, 4.0)),
        Vary("prune_ratio", (0.0, 0.25, 0.5, 0.75)),
        Vary("fused"),
        Vary("path"),
    ),
    "schedule": (),
    "class-token": (Vary("cls_window", (0, 1, 2, 4, 8, 16)), Vary("cls_placement")),
    "direction": (Vary("direction"),),
    "similarity": (Vary("feature"), Vary("neighbour_rank", (1, 2, 4, 16))),
    "size": (Vary("weights", ("mean", "size")), Vary("attention")),
    DENSE_AXIS: (Vary("undo"),),
}


@dataclass(frozen=True)
class Setting:
    """One point of an axis: what is set, in `words`, and the method with it.

    `refused` says why the method cannot be set so; empty if it can.
    """

    words: str
    method: MethodSpec
    refused: str = ""


def settings(method: MethodSpec, axis: str) -> list[Setting]:
    """List the settings of `axis` around `method`, the method itself first.

    UserError if it has nothing to vary there.
    """
    # The method itself first, under whatever words of the axis name it, too.
    own_text = _without_alias(method).text
    by_spec: dict[str, list[Setting]] = {own_text: []}
    for setting in _varied(method, axis):
        by_spec.setdefault(setting.method.text, []).append(setting)
    if len(by_spec) == 1:
        # Computed only for the message, since it tries every axis.
        offered = axes_of([method])
        mend = f"its axes are {', '.join(offered)}" if offered else "name another method"
        if axis == DENSE_AXIS:
            mend = "it drops no token; name a method that does, such as --method delta"
        raise UserError(f"{method} has nothing to vary on the axis {axis}: {mend}")
    own = ", ".join(setting.words for setting in by_spec.pop(own_text)) or UNCHANGED
    # Of settings that come to the same method the first stands for all.
    return [Setting(own, method), *(alike[0] for alike in by_spec.values())]


def permutations() -> list[Setting]:
    """List the settings of the axis order with nothing removed."""
    varied = _varied(parse("permute"), "order")
    return [setting for setting in varied if setting.words != "order=restored"]


def ablated(methods: Sequence[MethodSpec], axes: Sequence[str]) -> list[MethodSpec]:
    """List `methods`, and every method that the `axes` around them make, once each."""
    # Axes overlap, and a cell that is named twice would be paired with itself.
    unique = dict.fromkeys(methods)
    for axis in axes:
        for method in methods:
            for setting in settings(method, axis):
                if not setting.refused:
                    unique[setting.method] = None
        if axis == "order":
            unique |= dict.fromkeys(setting.method for setting in permutations())
    return list(unique)


def axes_of(methods: Sequence[MethodSpec]) -> list[str]:
    """List the axes on which every one of `methods` can be varied."""

    def can_vary(method: MethodSpec, axis: str) -> bool:
        own = _without_alias(method)
        return any(setting.method != own for setting in _varied(method, axis))

    return [axis for axis in AXES if all(can_vary(method, axis) for method in methods)]


def check_axis(axis: str) -> str:
    """Return `axis` if there is one of this name, else a UserError.

    Looks at no method: the command line refuses a misspelt axis before PyTorch is loaded.
    """
    if axis not in AXES:
        raise UserError(f"unknown axis '{axis}': {nearest(axis, AXES)}")
    return axis


def _without_alias(method: MethodSpec) -> MethodSpec:
    """A method under its own name: a name of the user's hides the options that are varied."""
    return replace(method, alias="")


def _varied(method: MethodSpec, axis: str) -> Iterator[Setting]:
    method = _without_alias(method)
    # Only what removes tokens has a schedule.
    if axis == "schedule" and method.method.kind == "sequence":
        for name in (*SCHEDULES, "every-2"):
            yield Setting(f"schedule={name}", replace(method, schedule=name))
    # Where every token that leaves lives on in another, nothing has to be filled in.
    if axis == DENSE_AXIS and not drops(method):
        return
    for vary in AXES[check_axis(axis)]:
        option = method.method.options.get(vary.option)
        if option is None:
            continue
        for value in vary.values or option.choices or (True, False):
            # NATIVE follows the backbone: it is one of the other values under another name.
            if value != NATIVE and (not option.choices or value in option.choices):
                yield _changed(method, vary, value)


def drops(method: MethodSpec) -> bool:
    """Whether tokens leave without a target, whatever the backbone."""
    composition = method.composition()
    return composition is not None and composition.drops


def _changed(method: MethodSpec, vary: Vary, value: Value) -> Setting:
    """Set one option of `method`; refused if it does not go with the others."""
    # What the option requires comes with it, or it would change nothing.
    required = {
        name: needed for name, needed in vary.requires.items() if name in method.method.options
    }
    options = {**method.options, **required, vary.option: value}
    spec = replace(method, options=method.method.settings(options))
    words = f"{vary.option}={shown(value)}"
    try:
        spec.composition()
    except UserError as error:
        return Setting(words, spec, str(error))
    return Setting(words, spec)
