"""What backbones and data sets are called in tables and figures; no code of theirs is run."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from pathlib import PurePath

from backbones.common.errors import UserError
from backbones.common.naming import parts, with_settings
from backbones.common.user_files import in_file, told_apart

DATA_IN_FILE = re.compile(r"(?P<name>[^:]+\.py:[^:]*)(:(?P<path>.*))?")


def labelled(texts: Iterable[str], registered: Container[str]) -> dict[str, str]:
    """The `texts` of backbones by what each is called: the user's name, else its own with settings.

    A backbone of a file is called as its variable is; if another one, or a `registered` one, has
    that name, it names its file too. A file of weights is called without its folder, unless two
    would have one name. Two spellings of one file are one. UserError if the user gives
    one name twice, or that of a `registered` backbone.
    """
    unique = {text: parts(text) for text in texts}
    short = {text: _without_folder(text) for text in unique}
    named = [one.name for one in unique.values() if not one.alias]
    called: dict[str, str] = {}
    for text, (alias, name, _) in unique.items():
        shared = [other for other in short if short[other] == short[text]]
        label = alias or (short[text] if len(shared) == 1 else text)
        if not alias and (own := in_file(name)):
            rivals = [other for other in named if other != name]
            rivals = [other for other in rivals if _variable(other) == own.variable]
            # A registered one of that name may not pass for it, even where it does not run.
            file = told_apart(name, rivals) if rivals or own.variable in registered else ""
            label = label.replace(name, f"{own.variable} ({file})" if file else own.variable, 1)
        taken = label in called and (alias or parts(called[label]).alias)
        if taken or (alias and alias in registered):
            raise UserError(f"two backbones are called '{label}': give each a name of its own")
        called.setdefault(label, text)
    return called


def _without_folder(text: str) -> str:
    """A backbone with its file of weights, if it has one, called without the folder."""
    weights = parts(text).settings.get("weights")
    if not isinstance(weights, str):
        return text
    return with_settings(text, weights=PurePath(weights).name)


def _variable(name: str) -> str:
    named = in_file(name)
    return named.variable if named else ""


def data_parts(text: str) -> tuple[str, str, str]:
    """Split ``NAME:PATH`` or ``FILE.py:NAME:PATH`` into the data set, a colon if any, and PATH."""
    if match := DATA_IN_FILE.fullmatch(text):
        path = match["path"]
        return match["name"], "" if path is None else ":", path or ""
    name, colon, path = text.partition(":")
    return name, colon, path


def data_label(text: str) -> str:
    """A data set without the folder of the file that it is from, but with its own path."""
    name, colon, path = data_parts(text)
    return f"{_variable(name) or name}{colon}{path}"


def data_name(text: str) -> str:
    """A data set without any path."""
    return data_label(data_parts(text)[0])
