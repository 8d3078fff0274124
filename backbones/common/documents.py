"""Bounded readers of small YAML and JSON files, which may come from anyone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from backbones.common.errors import UserError

MOST_YAML = 1 << 20  # bytes; a specification has some hundred, and YAML is read slowly
MOST_JSON = 1 << 26
NO_TAG = "could not determine a constructor for the tag"


class _Plain(yaml.SafeLoader):
    """A safe loader that also refuses aliases and duplicate keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML, but refuse aliases."""
        # Nested aliases expand exponentially: ten lines can stand for a billion values.
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "an alias, write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As PyYAML, but refuse duplicate keys."""
        keys: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            # PyYAML would take the last value silently. A list, since a key may be unhashable here.
            if key in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key}' given twice, keep one", node.start_mark
                )
            keys.append(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values; ValueError with a one-line reason if that is impossible."""
    try:
        return yaml.load(read_text(path, MOST_YAML), _Plain)  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = _one_line(error.problem or error.context)
        problem = problem.replace(NO_TAG, "no plain value, leave out the tag")
        raise ValueError(f"{where}{problem}") from error
    # With a tag on the wrong kind of value PyYAML raises whatever its constructor meets.
    except Exception as error:
        raise ValueError(_reason(error)) from error


def read_json(path: Path) -> Any:
    """Read a JSON file; ValueError with a one-line reason if that is impossible."""
    try:
        return json.loads(read_text(path, MOST_JSON))
    except (ValueError, RecursionError) as error:
        raise ValueError(_reason(error)) from error


def read_text(path: Path, most: int) -> str:
    """Read a regular file of at most `most` bytes; ValueError with a reason if it cannot be."""
    try:
        if not path.is_file():  # a pipe would block, and a device never ends
            raise ValueError("a folder or a device" if path.exists() else "no such file")
        # One byte more than allowed tells a file that is too long, without trusting its size.
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if len(content) > most:
        raise ValueError(f"more than {most >> 10} kB")
    return content.decode("utf-8")


def inside(path: Path, folder: Path) -> Path:
    """Return `path`, which is in `folder`; UserError if a link leads out of it."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"'{path}' is a link that leads out of '{folder}': "
            "put the file itself there, or delete it"
        )
    return path


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    # Python refuses to convert numbers of thousands of digits, whose time grows with the square.
    if "int_max_str_digits" in str(error):
        return "a number of too many digits"
    return _one_line(error)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:120]
