"""`video:PATH` and `frames:PATH`: videos as files or as folders of frames, by class folder or by a list.

PATH is a folder of classes, PATH/CLASS/**/CLIP or PATH/SPLIT/CLASS/**/CLIP, or a list file (see
`suite.data.videos.lists`) whose clips lie in its own folder, or in that of ``--source``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from backbones.preprocessing import CLIPS
from suite.data.base import Manifest, Request, check_index, digest
from suite.data.images.imagefolder import existing_folder, list_files, split_folder
from suite.data.loading.pixels import normalise
from suite.data.loading.preprocess import Photographs, Preprocess, asked_of
from suite.data.videos.frame_folder import frame_names, list_clips, read_frames
from suite.data.videos.lists import Find, Listing, from_folders, from_list
from suite.data.videos.sampling import SAMPLING_VERSION, Choose, Keep, Views, cropped, frame_indices
from suite.data.videos.video_file import SUFFIXES, import_av, read_video

LISTS = (".csv", ".txt", ".list")


@dataclass(frozen=True)
class Form:
    """A form in which videos are stored.

    ``find``  (folder, root) -> every clip at or below a folder
    ``whole`` whether a path is a clip
    ``size``  a number that changes with the clip's content: bytes, or frames
    ``read``  (path, root, choose, keep) -> what is kept of the chosen frames
    """

    name: str
    noun: str
    find: Find
    whole: Callable[[Path], bool]
    size: Callable[[Path], int]
    read: Callable[[Path, Path, Choose, Keep], list[NDArray[np.uint8]]]


def _find_files(folder: Path, root: Path) -> list[Path]:
    return list_files(folder, root, SUFFIXES)


def _bytes(path: Path) -> int:
    return path.stat().st_size


def _read_file(path: Path, root: Path, choose: Choose, keep: Keep) -> list[NDArray[np.uint8]]:
    return read_video(path, choose, keep)


def _frames(folder: Path) -> int:
    return len(frame_names(folder))


# of named functions, so that a data set can be sent to another process
FILES = Form("video", "video files", _find_files, Path.is_file, _bytes, _read_file)
FOLDERS = Form("frames", "folders of frames", list_clips, Path.is_dir, _frames, read_frames)


class Videos(Photographs):
    """Labelled videos; an item is a video, its sample all its views as clips (views, 3, frames, S, S), crops innermost.

    How many frames a clip has is the model's to say: `in_frames`.
    """

    kind: ClassVar[Literal["images", "videos"]] = "videos"

    def __init__(
        self,
        form: Form,
        listing: Listing,
        looks: Views | None = None,
        asked: dict[str, Any] | None = None,
    ) -> None:
        self.form, self.listing = form, listing
        self.name, self.split = form.name, listing.split
        self.labels, self.classes = listing.labels, listing.classes
        self.prepare(CLIPS, asked or {})
        self.looks = looks or Views()
        self.views = self.looks.count
        self.frames = 8

    def in_frames(self, frames: int) -> Self:
        """The same videos in clips of `frames` frames."""
        return self._with(frames=frames)

    def once(self) -> Self:
        """The same videos with one view each, the middle one."""
        return self._with(looks=Views(1, 1), views=1)

    def _with(self, **changed: Any) -> Self:
        other = copy.copy(self)
        vars(other).update(changed)
        return other

    def image(self, index: int) -> NDArray[np.uint8]:
        """The frame in the middle of the video."""
        return self._read(index, lambda count: np.array([count // 2]), lambda frame: frame)[0]

    def sample(self, index: int, image_size: int) -> NDArray[np.float32]:
        """Every view of one video, (views, 3, frames, S, S)."""
        clips, crops = self.looks.clips, self.looks.crops
        keep = _Resizer(self.preprocess, image_size)
        kept = np.stack(
            self._read(index, lambda count: frame_indices(count, self.frames, clips).ravel(), keep)
        )
        normalised = [
            normalise(crop, self.mean, self.std) for crop in cropped(kept, image_size, crops)
        ]
        views = np.stack(normalised).reshape(crops, clips, self.frames, 3, image_size, image_size)
        return np.ascontiguousarray(views.transpose(1, 0, 3, 2, 4, 5)).reshape(
            -1, *self._shape(image_size)
        )

    def samples(self, indices: NDArray[np.int64], image_size: int) -> NDArray[np.float32]:
        """All views of several videos, video by video, (B x views, 3, frames, S, S)."""
        return np.concatenate([self.sample(int(index), image_size) for index in indices])

    def view(self, index: int, image_size: int) -> NDArray[np.uint8]:
        """The frames of the middle view side by side as the model sees them, (S, frames x S, 3)."""
        clip = self.once().sample(index, image_size)[0]
        return self.pixels(
            clip.transpose(2, 1, 3, 0).reshape(image_size, self.frames * image_size, 3)
        )

    def identity(self) -> Manifest:
        """Names and sizes of the clips with their labels (not their bytes), the views, and the preprocessing."""
        return {
            "files": self._digest,
            "views": str(self.looks),
            "sampling": SAMPLING_VERSION,
            "preprocess": self.preprocess.identity(),
        }

    @cached_property
    def _digest(self) -> str:
        root, size = self.listing.root, self.form.size
        clips = zip(self.listing.paths, self.labels, strict=True)
        return digest(
            [[path.relative_to(root).as_posix(), size(path), int(label)] for path, label in clips]
        )

    def _shape(self, image_size: int) -> tuple[int, int, int, int]:
        return (3, self.frames, image_size, image_size)

    def _read(self, index: int, choose: Choose, keep: Keep) -> list[NDArray[np.uint8]]:
        path = self.listing.paths[check_index(index, len(self))]
        return self.form.read(path, self.listing.root, choose, keep)


class _Resizer:
    """Resizes all frames of one video to one size: what the first one's short side asks for."""

    def __init__(self, preprocess: Preprocess, image_size: int) -> None:
        self.preprocess = preprocess
        self.image_size = image_size
        self.size: tuple[int, int] | None = None

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = frame.shape[:2]
        self.size = self.size or self.preprocess.resized_size(height, width, self.image_size)
        return self.preprocess.resized(frame, self.size)


def listed(request: Request, form: Form) -> Listing:
    """What `request` asks for: the clips of a list file, or those in class folders."""
    path = Path(request.path or "").expanduser()
    if request.path and path.is_file():
        if path.suffix.lower() not in LISTS:
            raise UserError(
                f"{path} is neither a folder nor a list ({', '.join(LISTS)}): check the path after the colon"
            )
        root = Path(request.source).expanduser() if request.source else path.parent
        if not root.is_dir():
            raise UserError(
                f"{root} is not a folder: check --source, where the clips of {path} lie"
            )
        return from_list(path.absolute(), root.absolute(), request.split, form.find, form.whole)
    root, split = split_folder(existing_folder(request.path, form.name), request.split)
    listing = from_folders(root, split, form.find)
    if not listing.paths:
        other = FOLDERS if form is FILES else FILES
        raise UserError(
            f"{root} has no {form.noun} in class folders: sort them into one folder a class, "
            f"or use {other.name}: for {other.noun}"
        )
    return listing


def open_videos(request: Request, form: Form) -> Videos:
    """The videos that `request` asks for, tested as VideoMamba is on Kinetics unless it says otherwise."""
    looks = Views.parse(request.views) if request.views else Views()
    return Videos(form, listed(request, form), looks, asked_of(request))


def open_video(request: Request) -> Videos:
    """Open ``video:PATH``."""
    videos = open_videos(request, FILES)
    # before a model is loaded, but after the path: a mistyped one is not mended by a package
    import_av()
    return videos


def open_frames(request: Request) -> Videos:
    """Open ``frames:PATH``."""
    return open_videos(request, FOLDERS)
