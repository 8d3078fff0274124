"""Values to try of each option a method declares: all choices, or a few numbers that differ in what they do."""

from collections.abc import Mapping
from typing import Any

from methods import METHODS
from methods.base import Method, Option


def keeps_rectangle(name: str) -> bool:
    """Whether the method takes rows and columns, not a number of tokens."""
    composition = METHODS[name].compose()
    return composition is not None and composition.keeps_rectangle


SEQUENCE = [name for name in METHODS if METHODS[name].kind == "sequence"]
BY_COUNT = [name for name in SEQUENCE if not keeps_rectangle(name)]
ON_GRID = [name for name in SEQUENCE if keeps_rectangle(name)]

NUMBERS: dict[str, tuple[Any, ...]] = {
    "window": (5, 0, 1, 2),
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
