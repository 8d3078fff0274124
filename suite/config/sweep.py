"""Sweeps: alternatives of any settings of a comparison, every combination of which is a run of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, create_model

from backbones.common.errors import UserError
from backbones.common.naming import split
from suite.config.run_spec import RunSpec, build, read_values

FIELDS = {name: field for name, field in RunSpec.model_fields.items() if name != "version"}
LISTS = {name for name, field in FIELDS.items() if get_origin(field.annotation) is tuple}


def _alternatives(name: str) -> Any:
    field = FIELDS[name]
    kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    kind = kind | get_args(field.annotation)[0] if name in LISTS else kind
    return tuple[kind, ...], Field(default=(), description=f"Alternatives of `{name}`.")  # type: ignore[valid-type]


Sweep: type[BaseModel] = create_model(
    "Sweep", __config__=ConfigDict(extra="forbid"), **{name: _alternatives(name) for name in FIELDS}
)


class Experiment(RunSpec):
    """The form of a configuration file: a comparison, and what of it is swept over."""

    sweep: Annotated[
        Sweep | None,  # type: ignore[valid-type]
        Field(description="Every combination of these is a run of its own."),
    ] = None


def sweep_of(texts: Sequence[str], config: Path | None) -> dict[str, list[Any]]:
    """Alternatives by field: those in the file `config` under ``sweep``; ``FIELD=ONE,OTHER`` of `texts` counts before.

    Of a field that is a list, an alternative that is no list is a list of one. UserError names what
    is wrong.
    """
    found: dict[str, Any] = {}
    if config:
        found = read_values(config, RunSpec).get("sweep") or {}
        if not isinstance(found, dict):
            raise UserError(
                f"{config}: sweep: must be a mapping of settings to lists of alternatives"
            )
    given = dict(_from_text(text) for text in texts)
    where = f"{config}: " if found else ""
    values = {str(name): _lists(str(name), value) for name, value in (found | given).items()}
    for name, value in values.items():
        if not isinstance(value, list) or not value:
            raise UserError(
                f"{where}sweep.{name}: must be a list of alternatives (given: {value!r})"
            )
    try:
        build(Sweep, values)
    except UserError as error:
        raise UserError(f"{where}sweep: {error}") from None
    return values


def _from_text(text: str) -> tuple[str, list[Any]]:
    name, equals, alternatives = text.partition("=")
    if not equals:
        raise UserError(f"--sweep takes FIELD=ONE,OTHER, not '{text}'")
    try:
        return name.strip(), [
            yaml.safe_load(part) for part in split(alternatives)
        ] if name not in LISTS else [_scalar(part) for part in split(alternatives)]
    except yaml.YAMLError:
        raise UserError(f"--sweep {name}: '{alternatives}' is not a list of values") from None


def _scalar(text: str) -> Any:
    """A method's text keeps its brackets, which YAML would read as a list."""
    return text if "[" in text else yaml.safe_load(text)


def _lists(name: str, alternatives: Any) -> Any:
    if name not in LISTS or not isinstance(alternatives, list):
        return alternatives
    return [value if isinstance(value, list) else [value] for value in alternatives]


def combinations(base: RunSpec, sweep: Mapping[str, Sequence[Any]]) -> list[tuple[str, RunSpec]]:
    """Every combination of the alternatives, the last field fastest, and what it is in words; each is a whole spec."""
    found: dict[RunSpec, str] = {}
    plain = base.model_dump(by_alias=False, exclude={"version"})
    for chosen in product(*sweep.values()):
        changed = dict(zip(sweep, chosen, strict=True))
        words = " ".join(f"{name}={_shown(value)}" for name, value in changed.items())
        try:
            found.setdefault(build(RunSpec, plain | changed), words)
        except UserError as error:
            raise UserError(f"sweep ({words}): {error}") from None
    return [(words, spec) for spec, words in found.items()]


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
