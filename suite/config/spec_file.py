"""Specifications in YAML files, and their errors as one line that a user can act on."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from backbones.common.documents import read_yaml
from backbones.common.errors import UserError
from backbones.common.registry import nearest
from suite.config.run_spec import EARLIER, SCHEMA, RunSpec

Spec = TypeVar("Spec", bound=BaseModel)
SPEC = "spec.yaml"  # in every run folder, whatever command made it
MAX_SHOWN = 80  # characters of a wrong value in a message
# Pydantic's own words for these would be of no use to someone who writes YAML.
MESSAGES = {
    "tuple_type": "must be a list, such as [a, b]",
    "string_type": "must be a text",
    "too_short": "name at least one",
}
# Settings that once had another name, which files and options may still use.
RENAMED = {"batch": "batch_size", "shard": "shard_size", "convention": "flops_convention"}
BUDGET_RANGE = "a budget is a share of the FLOPs between 0 and 1; write 0.4 for 40 %"


class SettingError(UserError):
    """A setting with a wrong value: its `path` in the specification, and the `requirement`."""

    def __init__(self, path: Sequence[str], requirement: str, value: str) -> None:
        """`value` is the wrong one, as JSON."""
        self.path, self.requirement = path, requirement
        super().__init__(f"{'.'.join(path)}: {requirement} (given: {value})")


def build_spec(**values: Any) -> RunSpec:
    """Make a RunSpec; UserError names the first wrong setting in one line."""
    return build(RunSpec, values)


def build(kind: type[Spec], values: Mapping[str, Any]) -> Spec:
    """Make a specification of this kind; UserError names the first wrong setting in one line."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise _explained(error.errors(include_url=False)[0], kind) from None


def _explained(first: Any, kind: type[BaseModel]) -> UserError:
    """The error of one setting: where it is, what is required, and the value that was given."""
    fields = {field.alias or name for name, field in kind.model_fields.items()}
    location = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        name = location[0][:MAX_SHOWN]
        return UserError(f"unknown setting '{name}': {nearest(name, fields)}")
    # Pydantic also puts the members of a union in the path, which mean nothing to the user.
    path = [part for part in location if part in fields or part.isdigit()]
    value = json.dumps(first.get("input"), default=str)
    if len(value) > MAX_SHOWN:
        value = f"{value[:MAX_SHOWN]}..."
    requirement = MESSAGES.get(first["type"]) or plain(first["msg"]).lower()
    is_budget = path[0].endswith(("budget", "budgets"))
    if is_budget and first["type"] in ("greater_than", "less_than"):
        requirement = BUDGET_RANGE
    return SettingError(path, requirement, value)


def plain(message: str) -> str:
    """A message of pydantic, which typer passes on too, without pydantic's own vocabulary."""
    return message.replace("Value error, ", "").replace("Input should be", "must be")


def to_yaml(spec: BaseModel) -> str:
    """The specification as YAML, in the order of its fields."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False)


def current_names(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings by their current names; UserError begins with `where` if one has two names."""
    current: dict[str, Any] = {}
    for name, value in values.items():
        new = RENAMED.get(name, name)
        if new in current:
            raise UserError(f"{where}: '{new}' is given under its old name too: keep one of them")
        current[new] = value
    return current


def read_values(path: Path, kind: type[BaseModel]) -> dict[str, Any]:
    """Read the settings in a file without checking them.

    UserError if the file has no settings, or those of another `kind` of specification.
    """
    try:
        values = read_yaml(path)
    except ValueError as error:
        raise UserError(
            f"{path} cannot be read as a run's specification ({error}): fix it, or give another"
        ) from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path} is not a run's specification: it must be a mapping of settings")
    # Every specification has the setting `kind`, but that of a comparison.
    if "kind" in values.keys() ^ kind.model_fields.keys():
        raise UserError(
            f"{path} is the specification of another command's run: choose another folder"
        )
    return current_names(values, str(path))


def read_spec(path: Path, kind: type[Spec]) -> Spec:
    """Read the specification of this kind in a run folder; UserError if it is not one."""
    values = read_values(path, kind)
    check_schema(path.parent, values.get("schema", SCHEMA))
    return build(kind, values)


def check_schema(folder: Path, schema: object) -> None:
    """UserError unless the run in `folder` was written in this version's schema."""
    if schema != SCHEMA:
        written = " ".join(str(schema).split())[:MAX_SHOWN]
        raise UserError(
            f"'{folder}' was written by another version (run schema {written}, this one reads "
            f"{SCHEMA}): repeat its command into a new folder"
        )


def with_file(base: Spec, path: Path, keep: Collection[str]) -> Spec:
    """Replace settings of `base`, except those named in `keep`, by the settings in a file.

    UserError names the file and its wrong setting, also if that setting is not used. The section
    ``sweep`` of a comparison's file is left to `suite.config.sweep`.
    """
    values = read_values(path, type(base))
    if isinstance(base, RunSpec):
        values.pop("sweep", None)
    if values.get("schema") in EARLIER:
        # Only stored results differ between the versions: the same settings still ask the same.
        values["schema"] = SCHEMA
    try:
        stored = build(type(base), values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    # Also the backbone that the file's task brings, where the file names none.
    names = stored.model_fields_set - set(keep)
    return base.model_copy(update={name: getattr(stored, name) for name in names})
