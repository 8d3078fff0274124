"""Reading small files of settings and results, which may come from anyone: bounded, and nothing in them is run."""

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
    """Plain values only, each written out once: an alias could stand for a billion others, a key given twice hides."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML does it, but for aliases."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "an alias, write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As PyYAML does it, but for a key that is given twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for place, key in enumerate(keys) if key in keys[:place]]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"'{twice[0]}' given twice, keep one", node.start_mark
            )
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The value of the YAML file at `path`; ValueError, one line that says why, if it has none that is plain."""
    try:
        return yaml.load(read_text(path, MOST_YAML), _Plain)  # noqa: S506 - a SafeLoader that takes less
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = _line(error.problem or error.context).replace(
            NO_TAG, "no plain value, leave out the tag"
        )
        raise ValueError(f"{where}{problem}") from error
    except Exception as error:  # a tag on what it is not for: PyYAML raises whatever it meets
        raise ValueError(_reason(error)) from error


def read_json(path: Path) -> Any:
    """The value of the JSON file at `path`; ValueError, one line that says why, if it has none."""
    try:
        return json.loads(read_text(path, MOST_JSON))
    except (ValueError, RecursionError) as error:
        raise ValueError(_reason(error)) from error


def read_text(path: Path, most: int) -> str:
    """The text of a regular file of at most `most` bytes; ValueError, one line that says why, if it is none."""
    try:
        if not path.is_file():  # a pipe would wait, a device has no end
            raise ValueError("a folder or a device" if path.exists() else "no such file")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if len(content) > most:
        raise ValueError(f"more than {most >> 10} kB")
    return content.decode("utf-8")


def inside(path: Path, folder: Path) -> Path:
    """`path`, which lies at or below `folder`; UserError if a link leads it elsewhere."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"'{path}' is a link that leads out of '{folder}': put the file itself there, or delete it"
        )
    return path


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    return "a number of too many digits" if "int_max_str_digits" in str(error) else _line(error)


def _line(error: object) -> str:
    return " ".join(str(error).split())[:120]
