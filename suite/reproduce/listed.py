"""Find a published table by its name or its file, and read it strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backbones.common.documents import read_yaml
from backbones.common.errors import UserError
from backbones.common.paths import local_path
from backbones.common.registry import nearest
from suite.config.spec_file import build
from suite.reproduce.table import PublishedTable, Value, check

TABLES = Path(__file__).parent / "tables"
SUFFIXES = (".yaml", ".yml")


def names() -> list[str]:
    """Names of the tables that come with the suite."""
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


def find_table(name: str) -> PublishedTable:
    """The table of that name, or of a file if `name` is the path of one; UserError without one."""
    if name in names():
        return read_table(TABLES / f"{name}.yaml")
    if name.endswith(SUFFIXES):
        return read_table(local_path(name))
    raise UserError(f"unknown table '{name}': {nearest(name, names())} (or a file my.yaml)")


def read_table(path: Path) -> PublishedTable:
    """Read a table; UserError names the file and its first mistake in one line."""
    try:
        values = read_yaml(path)
    except ValueError as error:
        raise UserError(f"{path} cannot be read as a published table ({error}): fix it") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path} is no published table: it must be a mapping (docs/reproduce.md)")
    try:
        table = _built(values, path.stem)
        check(table)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return table


def _built(values: dict[str, Any], name: str) -> PublishedTable:
    if "name" in values:
        raise UserError("a table is named by its file: leave 'name' out")
    rows = values.get("published")
    if not isinstance(rows, list):
        return build(PublishedTable, values | {"name": name})
    published = []
    # One by one, so that a message tells which of them is wrong.
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"published {number}: it must be a mapping, such as {{method: mtr}}")
        try:
            published.append(build(Value, row))
        except UserError as error:
            raise UserError(f"published {number}, {error}") from None
    return build(PublishedTable, values | {"name": name, "published": published})
