"""`video:PATH` and `frames:PATH`: videos as files, or as folders of frames.

PATH is a folder of classes, PATH/CLASS/**/CLIP or PATH/SPLIT/CLASS/**/CLIP, or a list file (see
`suite.data.videos.lists`) of clips in its own folder, or in that of ``--source``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from backbones.common.errors import UserError
from backbones.common.paths import local_path
from backbones.preprocessing import CLIPS
from suite.data.base import IntArray, Manifest, Pixels, Request, Samples, Seen
from suite.data.images.imagefolder import (
    FindFiles,
    existing_folder,
    list_classes,
    list_files,
    listing_digest,
    split_folder,
)
from suite.data.loading.decode import fingerprint, glance, hash_file, stamp
from suite.data.loading.pixels import normalise
from suite.data.loading.preprocess import PhotographFiles, overrides_in
from suite.data.videos.frame_folder import frame_names, list_clips, read_frames, some_frames
from suite.data.videos.lists import Listing, from_list
from suite.data.videos.sampling import SAMPLING_VERSION, Choose, Keep, Views, cropped, frame_indices
from suite.data.videos.video_file import SUFFIXES, count_frames, import_av, read_video

LIST_SUFFIXES = (".csv", ".txt", ".list")


@dataclass(frozen=True)
class Storage:
    """A form in which videos are stored.

    ``find_clips``  (folder, root, passed) -> the clips at or below a folder
    ``is_clip``     whether a path is a clip
    """

    name: str
    noun: str
    find_clips: FindFiles
    is_clip: Callable[[Path], bool]


# Without lambdas, which could not be sent to a worker process with their data set.
FILES = Storage("video", "video files", partial(list_files, suffixes=SUFFIXES), Path.is_file)
FOLDERS = Storage("frames", "folders of frames", list_clips, Path.is_dir)


class Videos(PhotographFiles):
    """Labelled videos; the sample of one is all its views as clips (views, 3, frames, S, S).

    Crops vary fastest among the views. The model decides how many frames a clip has: `in_frames`.
    """

    kind: ClassVar[Literal["images", "videos"]] = "videos"

    def __init__(
        self, storage: Storage, listing: Listing, looks: Views, overrides: dict[str, Any]
    ) -> None:
        self.looks = looks
        self.name, self.split = storage.name, listing.split
        self.root, self.paths = listing.root, list(listing.paths)
        self.labels, self.classes = listing.labels, listing.classes
        self.notes = listing.notes
        self.prepare(CLIPS, overrides)
        self.views = looks.count
        self.frames = 8

    def in_frames(self, frames: int) -> Self:
        """The same videos in clips of `frames` frames."""
        other = copy.copy(self)
        other.frames = frames
        return other

    def once(self) -> Self:
        """The same videos with one view each, the middle one."""
        other = copy.copy(self)
        other.looks, other.views = Views(1, 1), 1
        return other

    def image(self, index: int) -> Pixels:
        """The frame in the middle of the video."""
        return self._read(index, lambda count: np.array([count // 2]), lambda frame: frame)[0]

    def sample(self, index: int, image_size: int) -> Samples:
        """Every view of one video, (views, 3, frames, S, S)."""
        clips, crops = self.looks.clips, self.looks.crops

        # Frames of one video may differ in size, but a clip is one array: the first decides.
        sizes: list[tuple[int, int]] = []

        def resize(frame: Pixels) -> Pixels:
            if not sizes:
                height, width = frame.shape[:2]
                sizes.append(self.preprocess.resized_size(height, width, image_size))
            return self.preprocess.resized(frame, sizes[0])

        # Resized as they are decoded: the original frames of a long video would fill memory.
        frames = np.stack(self._read(index, self._chosen, resize))
        squares = np.stack(cropped(frames, image_size, crops))
        pixels = normalise(squares.reshape(-1, image_size, image_size, 3), self.mean, self.std)
        by_crop = pixels.reshape(crops, clips, self.frames, 3, image_size, image_size)
        by_clip = np.ascontiguousarray(by_crop.transpose(1, 0, 3, 2, 4, 5))
        return by_clip.reshape(-1, 3, self.frames, image_size, image_size)

    def samples(self, indices: IntArray, image_size: int) -> Samples:
        """All views of several videos, video by video, (B x views, 3, frames, S, S)."""
        return np.concatenate([self.sample(int(index), image_size) for index in indices])

    def view(self, index: int, image_size: int) -> Pixels:
        """The frames of the middle view side by side, as the model sees them."""
        clip = self.once().sample(index, image_size)[0]
        strip = clip.transpose(2, 1, 3, 0).reshape(image_size, self.frames * image_size, 3)
        return self.pixels(strip)

    def settings(self) -> Manifest:
        """The views, how they are sampled, and the preprocessing."""
        views = {"views": str(self.looks), "sampling": SAMPLING_VERSION}
        return {**super().settings(), **views}

    def listing(self) -> str:
        """Hash of names, labels and sizes of the clips, in bytes or in frames."""
        if self.name == FOLDERS.name:
            sizes = [len(frame_names(path)) for path in self.paths]
        else:
            sizes = [path.stat().st_size for path in self.paths]
        return listing_digest(self.names, sizes, self.labels)

    def stamp(self, index: int) -> str:
        """The present stamps of a file, or of all frames in a folder."""
        return fingerprint(*[stamp(file.stat()).encode() for file in self._files(index)])

    def identify(self, index: int) -> Seen:
        """Read a clip to learn what it is: of a folder all frames, also those that no view has."""
        parts, stamps = [], []
        for file in self._files(index):
            content, seen = hash_file(file)
            parts.append(content.encode())
            stamps.append(seen)
        together = fingerprint(*[seen.encode() for seen in stamps]) if all(stamps) else ""
        return self.known(index, fingerprint(*parts), together)

    def glance(self, index: int) -> None:
        """UserError if a video is cut off, or a frame that the clips take is damaged."""
        path = self.paths[index]
        if self.name == FILES.name:
            count_frames(path)
            return
        names = some_frames(path)
        for number in dict.fromkeys(self._chosen(len(names)).tolist()):
            glance(path / names[number])

    def _files(self, index: int) -> list[Path]:
        path = self.paths[index]
        if self.name == FILES.name:
            return [path]
        return [path / name for name in frame_names(path)]

    def _chosen(self, count: int) -> IntArray:
        """Numbers of the frames, of `count`, that the clips take, one clip after the other."""
        return frame_indices(count, self.frames, self.looks.clips).ravel()

    def _read(self, index: int, choose: Choose, keep: Keep) -> list[Pixels]:
        path = self.paths[self.check_index(index)]
        self.seen[index] = self.identify(index)
        if self.name == FOLDERS.name:
            return read_frames(path, self.root, choose, keep)
        return read_video(path, choose, keep)


def list_videos(request: Request, storage: Storage) -> Listing:
    """The clips of the list file that `request` names, or those in its class folders."""
    path = local_path(request.path or "")
    if request.path and path.is_file():
        if path.suffix.lower() not in LIST_SUFFIXES:
            raise UserError(
                f"{path} is neither a folder nor a list ({', '.join(LIST_SUFFIXES)}): "
                f"check the path after the colon"
            )
        root = local_path(request.source) if request.source else path.parent
        if not root.is_dir():
            raise UserError(
                f"{root} is not a folder: check --source, where the clips of {path} lie"
            )
        return from_list(path, root, request.split, storage.find_clips, storage.is_clip)
    root, split = split_folder(existing_folder(request.path, storage.name), request.split)
    listing = Listing(root, split, *list_classes(root, storage.find_clips, request.order))
    if not listing.paths:
        other = FOLDERS if storage is FILES else FILES
        raise UserError(
            f"{root} has no {storage.noun} in class folders: sort them into one folder a class, "
            f"or use {other.name}: for {other.noun}"
        )
    return listing


def open_videos(request: Request, storage: Storage) -> Videos:
    """Open videos; by default they are tested as VideoMamba is on Kinetics."""
    looks = Views.parse(request.views) if request.views else Views()
    return Videos(storage, list_videos(request, storage), looks, overrides_in(request))


def open_video(request: Request) -> Videos:
    """Open ``video:PATH``."""
    videos = open_videos(request, FILES)
    # Before a model is loaded, but after the path: a package is no fix for a mistyped one.
    import_av()
    return videos


def open_frames(request: Request) -> Videos:
    """Open ``frames:PATH``."""
    return open_videos(request, FOLDERS)
