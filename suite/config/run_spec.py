"""What a run is asked to do: the one place of the engine's defaults, and the form of ``spec.yaml``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from backbones.common.documents import read_yaml
from backbones.common.errors import UserError
from backbones.common.registry import nearest

Spec = TypeVar("Spec", bound=BaseModel)
SPEC = "spec.yaml"  # in the folder of a run, whatever command made it
# Version of what a run folder holds; readers refuse any other, so raise it with every change of a
# stored name. Specifications of version 1 are still read as settings (`with_file`).
SCHEMA: Literal[2] = 2
PICTURES = 64
SHOWN = 80  # characters of a wrong value
WORDS = {"tuple_type": "must be a list, such as [a, b]", "string_type": "must be a text",
         "too_short": "name at least one"}  # fmt: skip
BOUNDED = {"greater_than", "less_than"}
BOUNDS = {"budgets": "a budget is a share of the FLOPs between 0 and 1; write 0.4 for 40 %"}
Budget = Annotated[float, Field(gt=0, lt=1)]


class SettingError(UserError):
    """A setting that cannot be as it was given: `place` in the specification, and what is `asked` of it."""

    def __init__(self, place: Sequence[str], asked: str, given: str) -> None:
        """`given` is the wrong value as JSON."""
        self.place, self.asked = place, asked
        super().__init__(f"{'.'.join(place)}: {asked} (given: {given})")


class RunSpec(BaseModel):
    """A comparison: backbones x methods x budgets x seeds on one data set. Enough to repeat the run.

    With `axes` every method is varied along them, one setting at a time (see
    `suite.plan.ablation_axes`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    version: Literal[2] = Field(default=SCHEMA, alias="schema")
    backbones: tuple[str, ...] = ("vim_nano",)
    checkpoint: str = "bundled"
    data: str = "fashion-clutter"
    split: str = "test"
    source: str | None = None
    views: str | None = None
    images: int | Literal["all"] = 500
    methods: tuple[str, ...] = ("mtr", "tome")
    axes: tuple[str, ...] = ()
    baselines: bool = True
    budgets: tuple[Budget, ...] = (0.2, 0.3, 0.4, 0.5, 0.6)
    protocol: Literal["matched", "tokens", "paper"] = "matched"
    sites: tuple[int, ...] | None = None
    schedule: str = "constant-ratio"
    convention: Literal["flops", "macs", "paper"] = "flops"
    seeds: Annotated[int, Field(ge=1, le=100)] = 3
    batch: Annotated[int, Field(ge=1)] = 32
    shard: Annotated[int, Field(ge=1)] = 256
    gallery: int | tuple[int, ...] = 8
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "fp64", "bf16"] = "fp32"
    kernel: Literal["auto", "reference", "cpu", "mamba_ssm", "triton"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0

    @field_validator("images", mode="before")
    @classmethod
    def _some_images(cls, value: Any) -> Any:
        if value != "all" and not (isinstance(value, int) and value >= 1):
            raise ValueError("must be a whole number from 1 on, or 'all'")
        return value

    @field_validator("gallery")
    @classmethod
    def _few_pictures(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if not 0 <= (value if isinstance(value, int) else len(value)) <= PICTURES:
            raise ValueError(f"at most {PICTURES} images, by their count or by their numbers")
        return value

    @field_validator("backbones", "methods", "budgets")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("name at least one")
        return tuple(dict.fromkeys(value))

    @field_validator("axes")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value))

    def digest(self) -> str:
        """Short hash of everything that is asked, for the default name of the run."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]

    def default_name(self) -> str:
        """Folder name that says what was run; the same question always goes to the same folder."""
        data = self.data.partition(":")[0]
        backbones = (
            re.sub(r"[\[\],= ]+", "_", "+".join(self.backbones)).replace("_+", "+").rstrip("_")
        )
        asked = f"ablate-{'+'.join(self.axes)}-" if self.axes else ""
        return f"{asked}{backbones}-{data}-{self.split}-{self.images}-{self.digest()}"


def build_spec(**values: Any) -> RunSpec:
    """A RunSpec, with the first thing that is wrong named in one line."""
    return build(RunSpec, values)


def build(kind: type[Spec], values: dict[str, Any]) -> Spec:
    """A specification of this kind, with the first thing that is wrong named in one line."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise _told(error.errors(include_url=False)[0], kind) from None


def _told(first: Any, kind: type[BaseModel]) -> UserError:
    """What is wrong in one line: where, what is asked for, what was given."""
    fields = {field.alias or name for name, field in kind.model_fields.items()}
    parts = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return UserError(
            f"unknown setting '{parts[0][:SHOWN]}': {nearest(parts[0][:SHOWN], fields)}"
        )
    place = [
        part for part in parts if part in fields or part.isdigit()
    ]  # not which kind of a union it was
    given = json.dumps(first.get("input"), default=str)
    given = given if len(given) <= SHOWN else f"{given[:SHOWN]}..."
    bounds = BOUNDS.get(place[0]) if first["type"] in BOUNDED else None
    return SettingError(
        place, bounds or WORDS.get(first["type"]) or plain(first["msg"]).lower(), given
    )


def plain(message: str) -> str:
    """What pydantic says of a value, without its own word for a validator's complaint; typer asks it too."""
    return message.replace("Value error, ", "").replace("Input should be", "must be")


def to_yaml(spec: BaseModel) -> str:
    """The spec as YAML, in the order of its fields."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False)


def read_values(path: Path, kind: type[BaseModel]) -> dict[str, Any]:
    """The settings in the file `path`, not checked yet; UserError if it holds none, or those of another `kind`."""
    try:
        values = read_yaml(path)
    except ValueError as error:
        raise UserError(
            f"{path} cannot be read as a run's specification ({error}): mend it, or give another"
        ) from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path} is not a run's specification: it must be a mapping of settings")
    if "kind" in values.keys() ^ kind.model_fields.keys():
        raise UserError(
            f"{path} is the specification of another command's run: choose another folder"
        )
    return values


def read_spec(path: Path, kind: type[Spec]) -> Spec:
    """The spec of this kind stored at `path` in a run folder; UserError if it is not one."""
    values = read_values(path, kind)
    check_schema(path.parent, values.get("schema", SCHEMA))
    return build(kind, values)


def check_schema(folder: Path, schema: object) -> None:
    """UserError unless the run in `folder` was written in this version's schema."""
    if schema != SCHEMA:
        written = " ".join(str(schema).split())[:SHOWN]
        raise UserError(
            f"'{folder}' was written by another version (run schema {written}, this one reads "
            f"{SCHEMA}): repeat its command into a new folder"
        )


def with_file(base: Spec, path: Path, given: Iterable[str]) -> Spec:
    """`base` with the settings of the file `path` in place of its own, but for those named in `given`.

    UserError names the file and the key that is wrong, whether or not it is replaced. What a
    comparison's file says under ``sweep`` is `suite.config.sweep`'s to read.
    """
    values = read_values(path, type(base))
    if isinstance(base, RunSpec):
        values.pop("sweep", None)
    if values.get("schema") == 1:
        # Only stored results differ between the versions: the same settings still ask the same.
        values["schema"] = SCHEMA
    try:
        asked = build(type(base), values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    names = {"version" if name == "schema" else name for name in values} - set(given)
    return base.model_copy(update={name: getattr(asked, name) for name in names})
