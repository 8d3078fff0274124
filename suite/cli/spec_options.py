"""The options that say what a run is, once for every command that takes them."""

from __future__ import annotations

import functools
import inspect
import re
import shlex
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from backbones.common.errors import UserError
from backbones.common.naming import split
from methods import METHODS
from methods.spec import parse
from suite.config.run_spec import SHOWN, SPEC, RunSpec, SettingError, Spec, build_spec, with_file
from suite.config.sweep import combinations, sweep_of
from suite.plan.ablation_axes import AXES, EVERY, axes_of, known

DEFAULTS = RunSpec()


def _text(value: Any) -> str:
    return ",".join(str(item) for item in value) if isinstance(value, tuple) else str(value)


def option(
    name: str,
    kind: type,
    help_text: str,
    default: Any = None,
    *flags: str,
    defaults: BaseModel = DEFAULTS,
) -> inspect.Parameter:
    """An option of this name; its default is that of `defaults` where it has such a field, else `default`."""
    value = getattr(defaults, name, default)
    shown = _text(value) if isinstance(value, tuple) else value
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=shown,
        annotation=Annotated[kind, typer.Option(*flags, help=help_text, show_default=True)],
    )


RUN_OPTIONS = [
    option(
        "methods",
        str,
        "Methods, comma-separated: 'mtr,tome[order=appended]', 'mtr@falling', 'all', file.py:NAME. Differences are "
        "taken to the first.",
        None,
        "--methods",
        "--method",
    ),
    option(
        "axes",
        str,
        f"What to vary around each method, comma-separated: {', '.join(AXES)}, or all.",
        "",
        "--axis",
    ),
    option(
        "backbones",
        str,
        "Backbones, comma-separated, settings in brackets: 'vim_nano,videomamba_tiny[image_size=448]'.",
        None,
        "--backbones",
        "--backbone",
    ),
    option(
        "checkpoint",
        str,
        "Weights: 'bundled', 'official', a path, hf://owner/repo/file, or 'random'.",
    ),
    option("data", str, "Data set: a name or KIND:PATH (python -m suite list datasets)."),
    option("split", str, "Split of the data: choices are made on dev, test is read once."),
    option(
        "source",
        str,
        "Folder of the full Fashion-MNIST, 'full' to look for it, or where a list's clips lie; empty: in the box.",
        "",
        "--data-dir",
    ),
    option("views", str, "Of each video CLIPSxCROPS; their answers are averaged; empty: 4x3.", ""),
    option("images", str, "Number of images, stratified by class, or 'all'."),
    option(
        "budgets",
        str,
        "Fractions of the backbone's FLOPs to remove, comma-separated.",
        None,
        "--budgets",
        "--budget",
    ),
    option(
        "protocol",
        str,
        "matched: same FLOPs for all; tokens: same token counts; paper: each method as published.",
    ),
    option(
        "sites",
        str,
        "Blocks before which tokens go, comma-separated; empty: before every (depth/12)-th block.",
        "",
    ),
    option(
        "schedule",
        str,
        "Shape over the sites: constant-ratio, constant-count, one-shot, staged, rising, falling, every-K.",
    ),
    option("convention", str, "How FLOPs are counted for the budget: flops, macs or paper."),
    option("baselines", bool, "Run random, stride, pool and downsample beside the methods."),
    option("seeds", int, "Seeds of every stochastic method."),
    option("batch", int, "Images a batch."),
    option("shard", int, "Images a shard: what is done again at most after an interruption."),
    option(
        "gallery",
        str,
        "Images whose tokens the report draws: how many, or their numbers, comma-separated.",
    ),
    option("device", str, "auto, cpu or cuda."),
    option("precision", str, "fp32, fp64 or bf16."),
    option("kernel", str, "Selective scan: auto, reference, cpu, mamba_ssm or triton."),
    option("threads", int, "CPU threads, 0: all cores."),
]


FLAGS = {"source": "--data-dir", "axes": "--axis"}  # those that are not called like their setting


@contextmanager
def typed(texts: Mapping[str, Any], flags: Mapping[str, str] = FLAGS) -> Iterator[None]:
    """Say of a setting that cannot be had which option it is and what was typed there; `texts` are by setting."""
    try:
        yield
    except SettingError as error:
        name, *place = error.place
        text = str(texts[name])
        text = split(text)[int(place[0])] if place else text
        shown = shlex.quote(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
        raise UserError(f"{flags.get(name, f'--{name}')} {shown}: {error.asked}") from None


def expand(methods: Sequence[str]) -> tuple[str, ...]:
    """The methods asked for, `all` replaced by every registered one but `none`, `permute` and the oracle."""
    everything = [name for name in METHODS if name not in ("none", "oracle", "permute")]
    return tuple(name for text in methods for name in (everything if text == "all" else [text]))


def _axes(asked: Sequence[str], methods: Sequence[str]) -> tuple[str, ...]:
    """The axes asked for, `all` replaced by those on which every one of `methods` can be varied."""
    asked = [name if name == EVERY else known(name) for name in asked]
    everything = axes_of([parse(text) for text in methods]) if EVERY in asked else []
    return tuple(
        dict.fromkeys(name for text in asked for name in (everything if text == EVERY else [text]))
    )


def shared(defaults: BaseModel, *names: str) -> list[inspect.Parameter]:
    """The options of `RUN_OPTIONS` called so, with the defaults of another specification."""
    known = {option.name: option for option in RUN_OPTIONS}
    values = {name: getattr(defaults, name) for name in names}
    return [
        known[name].replace(default="" if value is None else value)
        for name, value in values.items()
    ]


def images_asked(text: Any) -> int | str:
    """A number of images, or what else was asked for."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", str(text)) else str(text)


def _numbers(name: str, text: str, kind: type) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in split(text))
    except ValueError:
        such = "0.2,0.4" if kind is float else "2,4"
        raise UserError(
            f"--{name} takes numbers separated by commas, not '{text}': write such as {such}"
        ) from None


def spec_from_options(values: dict[str, Any]) -> RunSpec:
    """The RunSpec that the options of `RUN_OPTIONS` ask for."""
    texts, values = values, dict(values)
    values["methods"] = expand(split(values["methods"]))
    values["backbones"] = split(values["backbones"])
    values["axes"] = _axes(split(values["axes"]), values["methods"])
    values["budgets"] = _numbers("budgets", values["budgets"], float)
    values["sites"] = _numbers("sites", values["sites"] or "", int) or None
    values["source"] = values["source"] or None
    values["views"] = values["views"] or None
    gallery = str(values["gallery"])
    pictures = _numbers("gallery", gallery, int)
    values["gallery"] = pictures if "," in gallery else next(iter(pictures), 0)
    values["images"] = images_asked(values["images"])
    with typed(texts):
        return build_spec(**values)


CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
CONFIG = option(
    "config",
    Path,
    f"Settings from a YAML file, such as a run's {SPEC}; options given here count before it.",
)


SWEEP = option(
    "sweep",
    list[str],
    "Alternatives of a setting, FIELD=ONE,OTHER; may be given again: every combination is a run of its own.",
)


def with_run_options(
    command: Callable[..., Any], /, *, without: Sequence[str] = (), **defaults: Any
) -> Callable[..., Any]:
    """Give `command(spec, ...)` the options of `RUN_OPTIONS` in place of its first parameter.

    Those in `without` are left out, at their defaults; `defaults` are the command's own.
    """
    options = [
        option.replace(default=defaults.get(option.name, option.default))
        for option in RUN_OPTIONS
        if option.name not in without
    ]
    left_out = {option.name: option.default for option in RUN_OPTIONS if option.name in without}

    def settled(mixed: RunSpec) -> RunSpec:
        methods = expand(mixed.methods)
        return mixed.model_copy(update={"methods": methods, "axes": _axes(mixed.axes, methods)})

    def several(
        spec: RunSpec, texts: Sequence[str], config: Path | None
    ) -> list[tuple[str, RunSpec]]:
        sweep = sweep_of(texts, config)
        return (
            [(words, settled(each)) for words, each in combinations(spec, sweep)] if sweep else []
        )

    return with_options(
        command, options, lambda values: spec_from_options(left_out | values), settled, several
    )


def with_options(
    command: Callable[..., Any],
    options: Sequence[inspect.Parameter],
    build: Callable[[dict[str, Any]], Spec],
    settled: Callable[[Spec], Spec],
    several: Callable[[Any, Sequence[str], Path | None], list[tuple[str, Any]]] | None = None,
) -> Callable[..., Any]:
    """Give `command(spec, ...)` these options, and `--config`, in place of its first parameter.

    `build` makes the specification of their values, `settled` replaces words such as ``all`` that a
    file may hold. `several` gives the specifications of a sweep, and with it there is the option
    `--sweep`.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
        for parameter in list(inspect.signature(command).parameters.values())[1:]
    ]
    names = {option.name for option in options}

    @functools.wraps(command)
    def wrapper(**values: Any) -> Any:
        context, config = values.pop(CONTEXT.name), values.pop(CONFIG.name)
        texts = values.pop(SWEEP.name, None) or []
        spec = build({name: value for name, value in values.items() if name in names})
        if config:
            given = [
                name for name in names if context.get_parameter_source(name).name == "COMMANDLINE"
            ]
            spec = settled(with_file(spec, config, given))
        rest = {name: value for name, value in values.items() if name not in names}
        if several and (specs := several(spec, texts, config)):
            from suite.cli.sweep import run_all

            return run_all(command, specs, rest)
        return command(spec, **rest)

    parameters = [CONTEXT, CONFIG, *([SWEEP] if several else []), *options, *own]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del wrapper.__wrapped__  # typer would read the inner signature
    return wrapper
