"""Command-line options made from the fields of a specification."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shlex
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from backbones.common.errors import UserError
from backbones.common.naming import split
from methods import METHODS
from methods.spec import parse
from suite.cli.run_options import RunOptions
from suite.config.run_spec import RunSpec
from suite.config.spec_file import MAX_SHOWN, SPEC, SettingError, Spec, build, with_file
from suite.config.sweep import combinations, sweep_of
from suite.plan.ablation_axes import EVERY, axes_of, known

# The same option, whether it names one or several.
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
# Options that list what the setting calls by its plural.
FLAGS = {
    "batches": "--batch-size",
    "precisions": "--precision",
}


def flag_of(name: str) -> str:
    """The option of the setting `name`."""
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


def spellings(flag: str) -> tuple[str, ...]:
    """An option, and the same in the singular or the plural."""
    other = SINGULAR.get(flag) or PLURAL.get(flag)
    return (flag, other) if other else (flag,)


def options_of(defaults: BaseModel) -> list[inspect.Parameter]:
    """One option for each described setting of a specification, with its value in `defaults`."""
    options = []
    for name, field in type(defaults).model_fields.items():
        # A setting that a comparison has too is described there.
        description = field.description or getattr(
            RunSpec.model_fields.get(name), "description", None
        )
        if not description:
            continue  # the version and the kind of the file
        value = getattr(defaults, name)
        kind: Any = field.annotation if field.annotation in (bool, int) else str
        if isinstance(value, tuple):
            value = ",".join(map(str, value))
        elif kind is str:
            value = "" if value is None else str(value)
        # Typer makes --x/--no-x of a yes or no itself, unless it is told the name.
        flags = () if kind is bool else spellings(flag_of(name))
        annotation = Annotated[kind, typer.Option(*flags, help=description)]
        options.append(_parameter(name, annotation, value))
    return options


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


@contextmanager
def typed(texts: Mapping[str, Any], flags: Mapping[str, str] | None = None) -> Iterator[None]:
    """Let the error of a setting name its option and quote its text; `texts` are by setting."""
    try:
        yield
    except SettingError as error:
        name, *index = error.path
        text = str(texts[name])
        text = split(text)[int(index[0])] if index else text
        shown = shlex.quote(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")
        flag = (flags or {}).get(name, flag_of(name))
        raise UserError(f"{flag} {shown}: {error.requirement}") from None


def spec_from_options(kind: type[Spec], texts: Mapping[str, Any]) -> Spec:
    """The specification that options ask for; UserError names the first wrong one."""
    fields = kind.model_fields
    with typed(texts):
        values = {name: _value(name, fields[name], text) for name, text in texts.items()}
        return settled(build(kind, values))


def _value(name: str, field: FieldInfo, text: Any) -> Any:
    """The value that the text of one option stands for; numbers and words are left to pydantic."""
    if not isinstance(text, str):
        return text
    if not text and type(None) in typing.get_args(field.annotation):
        return None
    if name == "images":
        return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text
    if name in NUMBERS:
        numbers = _numbers(name, text, NUMBERS[name])
        # One number is the size of the gallery; `7,` is the image with the index 7.
        return next(iter(numbers), 0) if name == "gallery" and "," not in text else numbers
    return tuple(split(text)) if typing.get_origin(field.annotation) is tuple else text


def _numbers(name: str, text: str, kind: type) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in split(text))
    except ValueError:
        such = "0.2,0.4" if kind is float else "2,4"
        raise UserError(
            f"{flag_of(name)} takes numbers separated by commas, not '{text}': write such as {such}"
        ) from None


def settled(spec: Spec) -> Spec:
    """Replace the word `all` among the methods and the axes of a specification."""
    methods = expand(getattr(spec, "methods", ()))
    changed = {"methods": methods}
    if isinstance(spec, RunSpec):
        # Before `all` is replaced, which imports the methods: a wrong word is refused at once.
        checked = [name if name == EVERY else known(name) for name in spec.axes]
        axes: list[str] = []
        for name in checked:
            axes += axes_of([parse(text) for text in methods]) if name == EVERY else [name]
        changed["axes"] = tuple(dict.fromkeys(axes))
    return spec.model_copy(update=changed)


def expand(methods: Sequence[str]) -> tuple[str, ...]:
    """Replace `all` by every registered method but `none`, `permute` and the oracle."""
    expanded: list[str] = []
    for text in methods:
        if text == "all":
            # Those left out are controls: they remove nothing, or search with the labels.
            expanded += [name for name in METHODS if name not in ("none", "oracle", "permute")]
        else:
            expanded.append(text)
    return tuple(dict.fromkeys(expanded))


CONFIG = _parameter(
    "config",
    Annotated[
        Path | None,
        typer.Option(
            help=f"YAML file of settings, such as a run's {SPEC}; options on the command line "
            "override it."
        ),
    ],
    None,
)
SWEEP = _parameter(
    "sweep",
    Annotated[
        list[str] | None,
        typer.Option(
            help="Alternatives of a setting, FIELD=ONE,OTHER; repeatable; every combination is a "
            "run of its own."
        ),
    ],
    None,
)
CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)


def with_options(
    defaults: Spec, without: Collection[str] = ()
) -> Callable[[Callable[[Spec, RunOptions], int]], Callable[..., int]]:
    """Decorate ``command(spec, options)``: its options are the fields of `defaults` and RunOptions.

    Those named in `without` are left out and keep their defaults. ``--config`` reads settings from
    a file, and ``--sweep`` runs a comparison for every combination of alternatives.
    """
    settings = [option for option in options_of(defaults) if option.name not in without]
    names = [option.name for option in settings]
    hints = typing.get_type_hints(RunOptions, include_extras=True)
    own = [
        _parameter(field.name, hints[field.name], field.default)
        for field in dataclasses.fields(RunOptions)
        if field.name not in without
    ]
    sweeps = isinstance(defaults, RunSpec)

    def decorate(command: Callable[[Spec, RunOptions], int]) -> Callable[..., int]:
        def wrapper(context: typer.Context, config: Path | None, **values: Any) -> int:
            alternatives = values.pop(SWEEP.name, None) or []
            texts = {name: values.pop(name) for name in names}
            options = RunOptions(**values)
            spec = spec_from_options(type(defaults), texts)
            if config:
                typed_names = [
                    name
                    for name in names
                    if (source := context.get_parameter_source(name))
                    and source.name == "COMMANDLINE"
                ]
                spec = settled(with_file(spec, config, typed_names))
            if isinstance(spec, RunSpec) and (sweep := sweep_of(alternatives, config)):
                # Late, since it is rarely needed and imports rich.
                from suite.cli.sweep import run_all

                runs = [(label, settled(each)) for label, each in combinations(spec, sweep)]
                return run_all(command, runs, options, "runs" not in without)
            return command(spec, options)

        parameters = [CONTEXT, CONFIG, *([SWEEP] if sweeps else []), *settings, *own]
        # Typer reads the options of a command from its signature and its annotations.
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        wrapper.__doc__ = command.__doc__
        return wrapper

    return decorate
