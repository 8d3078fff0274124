"""Command-line options made from the fields of a specification and of RunOptions."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shlex
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from backbones.common.errors import UserError
from backbones.common.naming import split
from methods import METHODS
from methods.spec import parse
from suite.cli.run_options import RunOptions
from suite.config.command_line import flag_of
from suite.config.run_spec import RunSpec
from suite.config.spec_file import MAX_SHOWN, SettingError, Spec, build, with_file
from suite.config.sweep import combinations, sweep_of
from suite.plan.ablation_axes import DENSE_AXIS, EVERY, axes_of, check_axis
from suite.retrain.spec import RetrainSpec
from suite.tune.spec import TuneSpec

# Either names the same option, for one or for several.
SINGULAR = {
    "--methods": "--method",
    "--axes": "--axis",
    "--backbones": "--backbone",
    "--budgets": "--budget",
}
PLURAL = {one: several for several, one in SINGULAR.items()}
NUMBERS: dict[str, type] = {
    "budgets": float,
    "sites": int,
    "gallery": int,
    "batches": int,
    "lengths": int,
}
CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)


def options_of(defaults: BaseModel) -> list[inspect.Parameter]:
    """One option for each described setting of a specification, with its value in `defaults`."""
    options = []
    for name, field in type(defaults).model_fields.items():
        # A setting that a comparison has too is described there.
        described = field if field.description else RunSpec.model_fields.get(name)
        if not described or not described.description:
            continue  # the version and the kind of the file
        help_text = " ".join(described.description.split())
        # Words, numbers with a fraction, and lists are texts, and checked with the specification.
        kind: Any = field.annotation if field.annotation in (bool, int) else str
        value = getattr(defaults, name)
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        elif kind is str:
            value = "" if value is None else str(value)
        flag = flag_of(name)
        flags = [flag, *filter(None, [SINGULAR.get(flag) or PLURAL.get(flag)])]
        # Typer makes --x/--no-x of a yes or no by itself, unless it is told the name.
        option = typer.Option(*([] if kind is bool else flags), help=help_text)
        options.append(parameter(name, Annotated[kind, option], value))
    return options


def parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """An option of that name."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def spec_from_options(kind: type[Spec], texts: Mapping[str, Any]) -> Spec:
    """The specification given by the texts of options; UserError names the first wrong one."""
    fields = kind.model_fields
    try:
        values = {name: _value(name, fields[name], text) for name, text in texts.items()}
        return settled(build(kind, values))
    except SettingError as error:
        # It names a setting, and the user typed an option.
        name, *index = error.path
        text = str(texts[name])
        text = split(text)[int(index[0])] if index else text
        shown = shlex.quote(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")
        raise UserError(f"{flag_of(name)} {shown}: {error.requirement}") from None


def _value(name: str, field: FieldInfo, text: Any) -> Any:
    """The value that the text of one option stands for; numbers and words are left to pydantic."""
    if not isinstance(text, str):
        return text
    if not text and type(None) in typing.get_args(field.annotation):
        return None
    # More digits than any data set has images are left to pydantic, which quotes them shortened.
    if name in ("images", "train_images"):
        return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text
    if name not in NUMBERS:
        return tuple(split(text)) if typing.get_origin(field.annotation) is tuple else text
    # A rule by which sites are chosen, where the specification knows any.
    takes_rule = name == "sites" and str in typing.get_args(field.annotation)
    if takes_rule and text.startswith("delta"):
        return text
    kind = NUMBERS[name]
    try:
        numbers = tuple(kind(part) for part in split(text))
    except ValueError:
        example = "0.2,0.4" if kind is float else "2,4"
        example += ", or delta-spread" if takes_rule else ""
        raise UserError(
            f"{flag_of(name)} takes numbers separated by commas, not '{text}': "
            f"write such as {example}"
        ) from None
    # A single number is the size of the gallery; `7,` is the image with the index 7.
    return next(iter(numbers), 0) if name == "gallery" and "," not in text else numbers


def settled(spec: Spec) -> Spec:
    """Replace the word `all` among the methods and the axes of a specification."""
    reducing = isinstance(spec, TuneSpec | RetrainSpec)
    methods = expand(getattr(spec, "methods", ()), reducing)
    changed = {"methods": methods}
    if isinstance(spec, RunSpec):
        # Before `all` is replaced, which imports the methods: a wrong word is refused at once.
        checked = [name if name == EVERY else check_axis(name) for name in spec.axes]
        dense = spec.task == "segmentation"
        if DENSE_AXIS in checked and not dense:
            raise UserError(
                f"the axis {DENSE_AXIS} is of pixels: add --task segmentation, or leave it out"
            )
        axes: list[str] = []
        for name in checked:
            offered = [name]
            if name == EVERY:
                offered = axes_of([parse(text) for text in methods])
            axes += [axis for axis in offered if dense or axis != DENSE_AXIS]
        changed["axes"] = tuple(dict.fromkeys(axes))
    return spec.model_copy(update=changed)


def expand(methods: Sequence[str], reducing: bool = False) -> tuple[str, ...]:
    """Replace `all` by every registered method but `none`, `permute` and the oracle.

    With `reducing` only by those that remove tokens from a sequence: a smaller image does not.
    """
    expanded: list[str] = []
    for text in methods:
        if text == "all":
            # Those left out are controls: they remove nothing, or search with the labels.
            for name, method in METHODS.usable():
                control = name in ("none", "oracle", "permute")
                if not control and (method.kind == "sequence" or not reducing):
                    expanded.append(name)
        else:
            expanded.append(text)
    return tuple(dict.fromkeys(expanded))


def with_options(
    defaults: Spec, without: Collection[str] = ()
) -> Callable[[Callable[[Spec, RunOptions], int]], Callable[..., int]]:
    """Decorate ``command(spec, options)``: its options are the fields of `defaults` and RunOptions.

    Those named in `without` are left out and keep their defaults. ``--config`` reads settings from
    a file, and ``--sweep`` runs a comparison for every combination of alternatives.
    """
    hints = typing.get_type_hints(RunOptions, include_extras=True)
    settings = [option for option in options_of(defaults) if option.name not in without]
    others = [
        parameter(field.name, hints[field.name], field.default)
        for field in dataclasses.fields(RunOptions)
        if field.name not in without
    ]
    names = [option.name for option in settings]

    def decorate(command: Callable[[Spec, RunOptions], int]) -> Callable[..., int]:
        def wrapper(context: typer.Context, **values: Any) -> int:
            texts = {name: values.pop(name) for name in names}
            options = RunOptions(**values)
            typed = set()
            for name in names:
                source = context.get_parameter_source(name)
                if source and source.name == "COMMANDLINE":
                    typed.add(name)
            # The default of a backbone depends on the task: it is left to the specification.
            stated = typed | defaults.model_fields_set
            given = {name: text for name, text in texts.items() if name in stated}
            # Checked also where a file replaces them, so that a wrong option is never silent.
            spec = spec_from_options(type(defaults), given)
            if options.config:
                spec = settled(with_file(spec, options.config, typed))
            if not isinstance(spec, RunSpec):
                return command(spec, options)
            sweep = sweep_of(options.sweep or (), options.config)
            if not sweep:
                return command(spec, options)
            # Late, since it is rarely needed and imports rich.
            from suite.cli.sweep import run_all

            runs = [(label, settled(each)) for label, each in combinations(spec, sweep)]
            return run_all(command, runs, options, writes="runs" not in without)

        return declared(wrapper, [CONTEXT, *settings, *others], command.__doc__)

    return decorate


def declared(
    function: Callable[..., int], parameters: Iterable[inspect.Parameter], doc: str | None
) -> Callable[..., int]:
    """Give a function the parameters and the text from which Typer makes options and help."""
    function.__signature__ = inspect.Signature([*parameters])  # type: ignore[attr-defined]
    function.__annotations__ = {part.name: part.annotation for part in parameters}
    function.__doc__ = doc
    return function
