"""Settings of a backbone, changed by name, from Python or on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

from backbones.common.errors import UserError
from backbones.common.registry import nearest


class Settings(Protocol):
    """Any data class."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Config = TypeVar("Config", bound=Settings)
# Far beyond any published model: it bounds what a typing error can ask for.
MOST = 20_000
KINDS = {int: "a whole number", bool: "true or false"}


def with_overrides(default: Config, name: str, overrides: Mapping[str, Any]) -> Config:
    """`default`, the configuration of the backbone `name`, with `overrides`.

    UserError for a setting that does not exist, is of another kind, or is a number below 1 or above
    `MOST`.
    """
    names = {field.name for field in fields(default)}
    for setting, value in overrides.items():
        if setting not in names:
            raise UserError(f"{name} has no setting '{setting}': {nearest(setting, names)}")
        kind = type(getattr(default, setting))
        # Compared exactly: True is an int to isinstance.
        if type(value) is not kind:
            raise UserError(f"{name} cannot take {setting}={value}: give {KINDS[kind]}")
        if kind is int and not 1 <= value <= MOST:
            raise UserError(
                f"{name} cannot have {setting} {value}: use at least 1 and at most {MOST:,}"
            )
    return replace(default, **overrides)
