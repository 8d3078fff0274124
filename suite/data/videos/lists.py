"""The clips of a video data set and their classes, from class folders or from a list file.

Understood are the official Kinetics annotations (a CSV with the columns label, youtube_id,
time_start, time_end and split) and the lists that VideoMamba, UniFormer and mmaction2 read: a path
and a class number a line, separated by a space or a comma, for folders of frames also with the
number of frames between them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backbones.common.errors import UserError
from suite.data.base import IntArray, numbered_classes
from suite.data.images.imagefolder import FindFiles, check_link

COLUMNS = ("label", "youtube_id", "time_start", "time_end")
MAX_BYTES = 1 << 28
CLASS_NAMES = "classes.txt"
# A text and the number after it. Nine digits fit into a label; a longer number is no class.
_TEXT_AND_NUMBER = re.compile(r"(.*?\S)(?:\s*,\s*|\s+)([0-9]{1,9})")


@dataclass(frozen=True)
class Listing:
    """Clips at or below `root`: ``paths`` with ``labels`` (N,), and the names of all classes."""

    root: Path
    split: str
    paths: Sequence[Path]
    labels: IntArray
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def from_list(
    file: Path,
    root: Path,
    split: str | None,
    find_clips: FindFiles,
    is_clip: Callable[[Path], bool],
) -> Listing:
    """The clips that the list `file` names, at or below `root`; UserError if one is missing.

    `find_clips` serves lists without paths, which Kinetics' are.
    """
    lines = _lines(file)
    if set(COLUMNS) <= set(_fields(lines[0])):
        return _kinetics(file, lines, root, split, find_clips)
    texts: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(lines, 1):
        match = _TEXT_AND_NUMBER.fullmatch(line)
        if not match:
            raise UserError(
                f"{file} line {number} is not a path and a class number: write 'PATH LABEL', "
                f"or give Kinetics' CSV with its columns {', '.join(COLUMNS)}"
            )
        texts.append(match[1])
        labels.append(int(match[2]))
    # mmaction2's lists of frame folders have the number of frames between path and class. A path
    # may end in a number too, so all lines must have one.
    counted = [_TEXT_AND_NUMBER.fullmatch(text) for text in texts]
    if all(counted):
        texts = [match[1] for match in counted if match]
    paths = [inside(root, text, f"{file} line {number}") for number, text in enumerate(texts, 1)]
    missing = [path.name for path in paths if not is_clip(path)]
    _check_complete(missing, len(paths), file, root)
    label_array = np.array(labels, np.int64)
    return Listing(root, file.stem, paths, label_array, _class_names(file, label_array))


def inside(root: Path, text: str, where: str) -> Path:
    """The path `text` below `root`; UserError if it leads out of it, by itself or by a link."""
    path = root / text
    outside = f"{where} leads out of {root}: give the folder that holds all clips with --source"
    if "\0" in text or ".." in path.parts or not path.is_relative_to(root):
        raise UserError(outside)
    if path.is_symlink():
        check_link(path, root)
    # A folder on the way may be a link, too.
    elif not path.parent.resolve().is_relative_to(root.resolve()):
        raise UserError(outside)
    return path


def _lines(file: Path) -> list[str]:
    """The lines of a list that are not blank; UserError if there are none."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UserError(
                f"{file} has more than {MAX_BYTES >> 20} MB, so it is no list: check the path"
            )
        # Spreadsheets begin a text with a byte order mark, which is not part of the first path.
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
    """The fields of a line of CSV; empty if it is none."""
    try:
        return [field.strip() for field in next(csv.reader([line]))]
    except csv.Error:
        return []


def _kinetics(
    file: Path, lines: list[str], root: Path, split: str | None, find_clips: FindFiles
) -> Listing:
    """The clips of the official annotations, found under `root` by their names."""
    rows = _kinetics_rows(file, lines)
    splits = sorted({row.get("split", "") for row in rows})
    if len(splits) > 1:
        if split not in splits:
            raise UserError(f"{file} has several splits: choose {' or '.join(splits)} with --split")
        rows = [row for row in rows if row["split"] == split]
        splits = [split]
    by_stem: dict[str, list[Path]] = {}
    for path in find_clips(root, root):
        by_stem.setdefault(path.stem, []).append(path)
    paths: list[Path] = []
    missing: list[str] = []
    for row in rows:
        path_or_none = _find_clip(row, by_stem, file)
        if path_or_none:
            paths.append(path_or_none)
        else:
            # A made-up annotation could name another folder's file: the message shows no path.
            missing.append(Path(row["youtube_id"]).name)
    _check_complete(missing, len(rows), file, root)
    classes = tuple(sorted({row["label"] for row in rows}))
    label_of = {name: label for label, name in enumerate(classes)}
    labels = np.array([label_of[row["label"]] for row in rows], np.int64)
    return Listing(root, splits[0] or file.stem, paths, labels, classes)


def _kinetics_rows(file: Path, lines: list[str]) -> list[dict[str, str]]:
    """The annotations by column; UserError if there are none or a line has other columns."""
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
    return rows


def _find_clip(row: dict[str, str], by_stem: dict[str, list[Path]], file: Path) -> Path | None:
    """The clip of an annotation: ID_START_END, seconds in six digits, else ID; None if missing."""
    try:
        start, end = int(float(row["time_start"])), int(float(row["time_end"]))
    except (ValueError, OverflowError):
        raise UserError(
            f"{file} has the clip {row['youtube_id']} without times: fetch the list again"
        ) from None
    stem = f"{row['youtube_id']}_{start:06d}_{end:06d}"
    candidates = by_stem.get(stem) or by_stem.get(row["youtube_id"]) or []
    # A clip may be stored once for each of its classes: the one in the class's folder is meant.
    folder = row["label"].replace(" ", "_")
    own = [path for path in candidates if path.parent.name.replace(" ", "_") == folder]
    return next(iter(own or candidates), None)


def _check_complete(missing: Sequence[str], total: int, file: Path, root: Path) -> None:
    """UserError if clips of the list are `missing`."""
    if missing:
        raise UserError(
            f"{len(missing):,} of the {total:,} clips in {file} are not under {root} (the first: "
            f"{missing[0]}): fetch them or take their lines out, "
            f"or give their folder with --source"
        )


def _class_names(file: Path, labels: IntArray) -> tuple[str, ...]:
    """The lines of classes.txt beside the list, else the numbers up to the largest label."""
    names_file = file.with_name(CLASS_NAMES)
    if not names_file.is_file():
        return numbered_classes(labels, str(file))
    names = tuple(_lines(names_file))
    if labels.max() >= len(names):
        raise UserError(
            f"{names_file} has {len(names)} names but {file} the label {labels.max()}: "
            f"add the names missing"
        )
    return names
