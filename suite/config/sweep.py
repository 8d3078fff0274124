"""Sweeps: lists of alternatives for settings of a comparison; each combination is its own run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, create_model

from backbones.common.errors import UserError
from backbones.common.naming import split
from suite.config.run_spec import RunSpec
from suite.config.spec_file import build, current_names, read_values

FIELDS = {name: field for name, field in RunSpec.model_fields.items() if name != "version"}
LISTS = {name for name, field in FIELDS.items() if get_origin(field.annotation) is tuple}


def _alternatives(name: str) -> Any:
    """Type and default of a sweep's field: alternatives of the setting `name`."""
    field = FIELDS[name]
    kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    if name in LISTS:
        # `methods: [mtr, tome]` in a sweep are two alternatives of one method each.
        kind = kind | get_args(field.annotation)[0]
    return tuple[kind, ...], Field(default=(), description=f"Alternatives of `{name}`.")  # type: ignore[valid-type]


Sweep: type[BaseModel] = create_model(
    "Sweep", __config__=ConfigDict(extra="forbid"), **{name: _alternatives(name) for name in FIELDS}
)


class Experiment(RunSpec):
    """The form of a configuration file: a comparison, and what of it is swept over."""

    # Its own field is described below, and reading the class's source would take 10 ms.
    model_config = ConfigDict(use_attribute_docstrings=False)

    sweep: Sweep | None = Field(  # type: ignore[valid-type]
        default=None, description="Every combination of these is a run of its own."
    )


def sweep_of(texts: Sequence[str], config: Path | None) -> dict[str, list[Any]]:
    """Alternatives by setting, from ``FIELD=ONE,OTHER`` `texts` and a file's section ``sweep``.

    The texts replace what the file says of the same setting. An alternative of a setting that is a
    list becomes a list of one if it is none. UserError names what is wrong.
    """
    stored: Any = {}
    if config:
        stored = read_values(config, RunSpec).get("sweep") or {}
        if not isinstance(stored, dict):
            raise UserError(
                f"{config}: sweep: must be a mapping of settings to lists of alternatives"
            )
        stored = current_names(stored, f"{config}: sweep")
    typed = current_names(dict(map(_from_text, texts)), "--sweep")
    where = f"{config}: " if stored else ""
    sweep = {}
    for name, alternatives in (stored | typed).items():
        if not isinstance(alternatives, list) or not alternatives:
            raise UserError(
                f"{where}sweep.{name}: must be a list of alternatives (given: {alternatives!r})"
            )
        if name in LISTS:
            alternatives = [value if isinstance(value, list) else [value] for value in alternatives]
        sweep[str(name)] = alternatives
    try:
        build(Sweep, sweep)
    except UserError as error:
        raise UserError(f"{where}sweep: {error}") from None
    return sweep


def _from_text(text: str) -> tuple[str, list[Any]]:
    """The setting and its alternatives in ``FIELD=ONE,OTHER``."""
    name, equals, alternatives = text.partition("=")
    name = name.strip()
    if not equals:
        raise UserError(f"--sweep takes FIELD=ONE,OTHER, not '{text}'")
    try:
        return name, [_scalar(name, part) for part in split(alternatives)]
    except yaml.YAMLError:
        raise UserError(f"--sweep {name}: '{alternatives}' is not a list of values") from None


def _scalar(name: str, text: str) -> Any:
    # YAML would read the brackets of a method's settings as a list.
    return text if name in LISTS and "[" in text else yaml.safe_load(text)


def combinations(base: RunSpec, sweep: Mapping[str, Sequence[Any]]) -> list[tuple[str, RunSpec]]:
    """Every combination of the alternatives as a label and a specification, last setting fastest.

    Combinations with equal settings are one. UserError names the combination that cannot be.
    """
    labels: dict[RunSpec, str] = {}
    # What nobody set may depend on what is swept: the usual backbone is one of the task.
    settings = base.model_dump(by_alias=False, exclude={"version"}, exclude_unset=True)
    for chosen in product(*sweep.values()):
        changed = dict(zip(sweep, chosen, strict=True))
        label = " ".join(f"{name}={_shown(value)}" for name, value in changed.items())
        try:
            labels.setdefault(build(RunSpec, settings | changed), label)
        except UserError as error:
            raise UserError(f"sweep ({label}): {error}") from None
    return [(label, spec) for spec, label in labels.items()]


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
