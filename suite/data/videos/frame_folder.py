"""Clips stored as folders of frames, one image file each."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from backbones.common.errors import UserError
from suite.data.base import Pixels
from suite.data.images.imagefolder import check_link, is_nobodys, list_files, natural
from suite.data.loading.decode import decode, is_picture, read_bytes
from suite.data.videos.sampling import Choose, Keep


def frame_names(folder: Path) -> list[str]:
    """Names of the visible image files in `folder`, in the order of their numbers."""
    try:
        entries = os.listdir(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}): fetch it again or take it out"
        ) from error
    visible = [name for name in entries if not is_nobodys(name)]
    names = [name for name in visible if is_picture(folder / name)]
    # By name where numbers are equal, as of frame_1 and frame_01: the order of a folder is none.
    return sorted(names, key=lambda name: (natural(name), name))


def some_frames(folder: Path) -> list[str]:
    """`frame_names`, of which there is at least one; UserError otherwise."""
    names = frame_names(folder)
    if not names:
        raise UserError(f"{folder} has no frames: fetch it again or take it out")
    return names


def list_clips(folder: Path, root: Path, passed: Counter[str] | None = None) -> list[Path]:
    """Sorted folders below `folder` that contain images; links are treated as in `list_files`."""
    return sorted({path.parent for path in list_files(folder, root, passed)} - {folder})


def read_frames(folder: Path, root: Path, choose: Choose, keep: Keep) -> list[Pixels]:
    """`keep` of the RGB frames (H, W, 3) that `choose` selects from those in `folder`.

    UserError for a link out of `root` and for a file that cannot be decoded.
    """
    names = some_frames(folder)
    chosen = choose(len(names)).tolist()
    # A short clip repeats frames, each of which is decoded once.
    kept: dict[int, Pixels] = {}
    for number in dict.fromkeys(chosen):
        path = folder / names[number]
        if path.is_symlink():
            check_link(path, root)
        kept[number] = keep(decode(read_bytes(path), str(path)))
    return [kept[number] for number in chosen]
