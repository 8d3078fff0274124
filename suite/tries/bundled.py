"""The tables of tries that come with the suite, found by weights and data."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from suite.tries.files import read_origin, read_tries
from suite.tries.table import Content, Origin, Tries

TABLES = Path(__file__).parent / "tables"


def bundled(backbone: str, weights: str | None, data: str, content: Content) -> Tries | None:
    """The bundled tries of a backbone's weights on a data set; None if there are none.

    `content` tells what images of a split hold (see `Tries.fits`).
    """
    for path in tables():
        origin = _origin(path)
        if origin.fits(backbone, weights, data, content):
            return _table(path)
    return None


def of_weights(backbone: str, weights: str | None) -> Tries | None:
    """The bundled tries of a backbone's weights, whatever the data; None if there are none."""
    for path in tables():
        if _origin(path).of_weights(backbone, weights):
            return _table(path)
    return None


def tables() -> list[Path]:
    """The files of all bundled tables."""
    return sorted(TABLES.glob("*.parquet"))


# Read once: a plan asks for every backbone, a sweep for every plan.
@cache
def _origin(path: Path) -> Origin:
    return read_origin(path)


@cache
def _table(path: Path) -> Tries:
    return read_tries(path)
