"""Values to try of each option a method declares: all choices, or a few numbers that differ in what they do."""

from collections.abc import Mapping
from typing import Any

from methods.base import Method, Option

NUMBERS: dict[str, tuple[Any, ...]] = {
    "targets": (1.0, 0.0, 0.5, 3.0),
    "shuffle": (1.0, 0.0, 0.5),
    "cls_window": (0, 1, 2),
    "neighbour_rank": (1, 2, 9),
    "sensitivity": (0.0, 0.5, 8.0),
    "prune_ratio": (0.5, 0.0, 0.3, 1.0),
    "drop_ratio": (0.5, 0.0, 0.2, 1.0),
    "residual_drop_ratio": (0.0, 0.4, 1.0),
}


def values(name: str, option: Option) -> tuple[Any, ...]:
    """What to try of the option `name`."""
    if option.choices:
        return option.choices
    return (True, False) if isinstance(option.default, bool) else NUMBERS[name]


def every(method: Method) -> Mapping[str, tuple[Any, ...]]:
    """What to try of each option of `method`."""
    return {name: values(name, option) for name, option in method.options.items()}
