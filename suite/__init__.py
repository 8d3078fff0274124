"""A benchmark suite for token reduction on vision Mamba: plan, run, store, analyse, report.

From Python (docs/python.md): `reduce` a model, draw `images`, `load` a run or `compare` methods.
Nothing heavy is imported before one of these is used.

The command line (`suite.cli`) runs on top of everything; `suite.comparison` is the path of a
comparison on one page, and the packages below it are one step each.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbones.common.errors import UserError
    from suite.api.exported import export
    from suite.api.reduce import Reduced, reduce
    from suite.api.runs import Run, compare, load
    from suite.api.samples import Samples, images
    from suite.api.trace import TokenTrace

# The module of each public name.
_HOMES = {
    "__version__": "suite.system.version",
    "Reduced": "suite.api.reduce",
    "Run": "suite.api.runs",
    "Samples": "suite.api.samples",
    "TokenTrace": "suite.api.trace",
    "UserError": "backbones.common.errors",
    "compare": "suite.api.runs",
    "export": "suite.api.exported",
    "images": "suite.api.samples",
    "load": "suite.api.runs",
    "reduce": "suite.api.reduce",
}

__all__ = [
    "Reduced",
    "Run",
    "Samples",
    "TokenTrace",
    "UserError",
    "compare",
    "export",
    "images",
    "load",
    "reduce",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'suite' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted({*globals(), *__all__})
