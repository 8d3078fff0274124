"""Lists of videos: which clips there are, and of which class, from class folders or from the field's list files.

Understood are the official Kinetics annotations (a CSV with the columns label, youtube_id,
time_start, time_end and split) and the lists that VideoMamba, UniFormer and mmaction2 read: a path
and a class number a line, separated by a space or a comma, for folders of frames also with the
number of frames between them.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.data.base import numbered
from suite.data.images.imagefolder import check_link, class_folders

Find = Callable[[Path, Path], list[Path]]
COLUMNS = ("label", "youtube_id", "time_start", "time_end")
MOST_BYTES = 1 << 28
CLASS_NAMES = "classes.txt"


@dataclass(frozen=True)
class Listing:
    """Clips at or below `root`: ``paths`` with their ``labels`` (N,), and the names of all ``classes``."""

    root: Path
    split: str
    paths: Sequence[Path]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def from_folders(root: Path, split: str, find: Find) -> Listing:
    """The clips that `find` sees in each class folder of `root`; labels count the folders in order of their names."""
    folders = class_folders(root)
    found = [find(folder, root) for folder in folders]
    labels = np.repeat(np.arange(len(folders)), [len(paths) for paths in found])
    names = tuple(folder.name for folder in folders)
    return Listing(root, split, [path for paths in found for path in paths], labels, names)


def from_list(
    file: Path, root: Path, split: str | None, find: Find, whole: Callable[[Path], bool]
) -> Listing:
    """The clips that the list `file` names, all of them at or below `root`; UserError if one is missing.

    `find` sees all clips there are, for lists that give no paths; `whole` says whether a path is
    one.
    """
    lines = _lines(file)
    if set(COLUMNS) <= set(_fields(lines[0])):
        return _kinetics(file, lines, root, split, find)
    texts, numbers = zip(
        *(_split(line, f"{file} line {number}") for number, line in enumerate(lines, 1)),
        strict=True,
    )
    counted = [found[0] for text in texts if (found := _number_off(text))]
    if len(counted) == len(
        texts
    ):  # mmaction2's lists of frame folders: path, number of frames, class
        texts = tuple(counted)
    paths = [inside(root, text, f"{file} line {number}") for number, text in enumerate(texts, 1)]
    _check_all_there(paths, [whole(path) for path in paths], file, root)
    labels = np.array(numbers, np.int64)
    return Listing(root, file.stem, paths, labels, _class_names(file, labels))


def _number_off(line: str) -> tuple[str, int] | None:
    """`line` without the whole number it ends in after a space or a comma, and that number; None if there is none."""
    head = line.rstrip("0123456789")
    digits = line[len(head) :]
    text = head.rstrip().removesuffix(",").rstrip()
    return (text, int(digits)) if text and text != head and 0 < len(digits) < 10 else None


def _split(line: str, where: str) -> tuple[str, int]:
    """Path and class number of one line."""
    found = _number_off(line)
    if found is None:
        raise UserError(
            f"{where} is not a path and a class number: write 'PATH LABEL', or give Kinetics' CSV with its columns "
            f"{', '.join(COLUMNS)}"
        )
    return found


def inside(root: Path, text: str, where: str) -> Path:
    """The path `text` below `root`; UserError if it leads out of it, by itself or by a link."""
    path = root / text
    outside = f"{where} leads out of {root}: give the folder that holds all clips with --source"
    if "\0" in text or ".." in path.parts or not path.is_relative_to(root):
        raise UserError(outside)
    if path.is_symlink():
        check_link(path, root)
    elif not path.parent.resolve().is_relative_to(root.resolve()):
        raise UserError(outside)
    return path


def _lines(file: Path) -> list[str]:
    """The lines of a list that are not blank."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UserError(
                f"{file} has more than {MOST_BYTES >> 20} MB, so it is no list: check the path"
            )
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file} is not a text in UTF-8: give a list of clips, or a folder"
        ) from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{file} is empty: give a list of clips, a line each")
    return lines


def _fields(line: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader([line]))]
    except csv.Error:
        return []


def _kinetics(file: Path, lines: list[str], root: Path, split: str | None, find: Find) -> Listing:
    """The clips of the official annotations, found under `root` by their names."""
    header = _fields(lines[0])
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        fields = _fields(line)
        if len(fields) != len(header):
            raise UserError(
                f"{file} line {number} has {len(fields)} columns, not {len(header)}: fetch it again"
            )
        rows.append(dict(zip(header, fields, strict=True)))
    if not rows:
        raise UserError(f"{file} has no clips below its header: fetch it again")
    splits = sorted({row.get("split", "") for row in rows})
    if len(splits) > 1:
        if split not in splits:
            raise UserError(f"{file} has several splits: choose {' or '.join(splits)} with --split")
        rows = [row for row in rows if row["split"] == split]
        splits = [split]
    by_stem: dict[str, list[Path]] = {}
    for path in find(root, root):
        by_stem.setdefault(path.stem, []).append(path)
    names = tuple(sorted({row["label"] for row in rows}))
    number_of = {name: number for number, name in enumerate(names)}
    found = [_clip(row, by_stem, file) for row in rows]
    wanted = [
        root / path.name if path else root / row["youtube_id"]
        for path, row in zip(found, rows, strict=True)
    ]
    _check_all_there(wanted, [path is not None for path in found], file, root)
    labels = np.array([number_of[row["label"]] for row in rows], np.int64)
    return Listing(root, splits[0] or file.stem, [path for path in found if path], labels, names)


def _clip(row: dict[str, str], by_stem: dict[str, list[Path]], file: Path) -> Path | None:
    """The clip of one row of Kinetics: ID_START_END, seconds in six digits, else ID; among equals that of its class."""
    try:
        seconds = [int(float(row[name])) for name in ("time_start", "time_end")]
    except (ValueError, OverflowError):
        raise UserError(
            f"{file} has the clip {row['youtube_id']} without times: fetch the list again"
        ) from None
    stem = "_".join([row["youtube_id"], *(f"{second:06d}" for second in seconds)])
    candidates = by_stem.get(stem) or by_stem.get(row["youtube_id"]) or []
    folder = row["label"].replace(" ", "_")
    own = [path for path in candidates if path.parent.name.replace(" ", "_") == folder]
    return next(iter(own or candidates), None)


def _check_all_there(paths: Sequence[Path], there: Sequence[bool], file: Path, root: Path) -> None:
    """UserError unless every clip of the list exists."""
    missing = [path for path, found in zip(paths, there, strict=True) if not found]
    if missing:
        raise UserError(
            f"{len(missing):,} of the {len(paths):,} clips in {file} are not under {root} (the first: "
            f"{missing[0].name}): fetch them or take their lines out, or give their folder with --source"
        )


def _class_names(file: Path, labels: NDArray[np.int64]) -> tuple[str, ...]:
    """The lines of classes.txt beside the list, else the numbers up to the largest label."""
    names = file.with_name(CLASS_NAMES)
    if not names.is_file():
        return numbered(labels, str(file))
    lines = tuple(_lines(names))
    if labels.max() >= len(lines):
        raise UserError(
            f"{names} has {len(lines)} names but {file} the label {labels.max()}: add the names missing"
        )
    return lines
