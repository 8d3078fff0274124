"""From a folder of frames, one image file each, to the frames of a clip."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.data.images.imagefolder import check_link, list_files
from suite.data.loading.decode import SUFFIXES, decode, read_bytes
from suite.data.videos.sampling import Choose, Keep


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key by which frame_10 comes after frame_9."""
    return tuple(
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    )


def frame_names(folder: Path) -> list[str]:
    """Names of the image files in `folder` in the order of their numbers, hidden ones passed over."""
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}): fetch it again or take it out"
        ) from error
    return sorted(
        (name for name in names if name.lower().endswith(SUFFIXES)),
        key=lambda name: (natural(name), name),
    )


def list_clips(folder: Path, root: Path) -> list[Path]:
    """All folders below `folder` that hold images themselves, sorted; links are treated as in `list_files`."""
    return sorted({path.parent for path in list_files(folder, root)} - {folder})


def read_frames(folder: Path, root: Path, choose: Choose, keep: Keep) -> list[NDArray[np.uint8]]:
    """`keep` of the RGB frames (H, W, 3) that `choose` names, given how many images `folder` holds.

    A frame that is a link must lead to a file at or below `root`.
    """
    names = frame_names(folder)
    if not names:
        raise UserError(f"{folder} has no frames: fetch it again or take it out")
    kept: dict[int, NDArray[np.uint8]] = {}
    wanted = [int(place) for place in choose(len(names))]
    for place in wanted:
        if place not in kept:
            path = folder / names[place]
            if path.is_symlink():
                check_link(path, root)
            kept[place] = keep(decode(read_bytes(path), str(path)))
    return [kept[place] for place in wanted]
