"""The evaluation preprocessing of image classifiers: resize, centre crop, normalise."""

from __future__ import annotations

import copy
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from PIL import Image

from backbones.common.errors import UserError, printable
from backbones.common.registry import nearest
from backbones.preprocessing import Preprocessing
from suite.data.base import (
    Dataset,
    IntArray,
    Manifest,
    Pixels,
    Request,
    Samples,
    Seen,
    Truth,
    digest,
)
from suite.data.loading.decode import decode, fingerprint, read_stamped, stamp
from suite.data.loading.pixels import normalise

READERS = 16  # at once: a network file system takes longer to answer than to deliver
FILTERS = ("bicubic", "bilinear", "lanczos")


@dataclass(frozen=True)
class Preprocess(Preprocessing):
    """A `Preprocessing` that is applied to images; the defaults are Vim's evaluation.

    The short side becomes int(size / crop), of which the centre size x size is kept: 224 of 256 at
    the default. UserError for a crop or an interpolation that does not exist.
    """

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise UserError(f"crop {self.crop} is not a share: choose more than 0 and at most 1")
        if self.interpolation not in FILTERS:
            hint = nearest(self.interpolation, FILTERS)
            raise UserError(f"unknown interpolation '{self.interpolation}': {hint}")

    def __call__(self, pixels: Pixels, image_size: int) -> Samples:
        """`pixels` (H, W, 3) to (3, image_size, image_size)."""
        height, width = pixels.shape[:2]
        size, left, top = self.centre(height, width, image_size)
        resized = self.resized(pixels, size)
        centre = resized[top : top + image_size, left : left + image_size]
        result: Samples = normalise(centre[None], self.mean, self.std)[0]
        return result

    def cut(self, classes: Truth, image_size: int) -> Truth:
        """Of each pixel of the sample the class in `classes` (H, W), that of the nearest pixel."""
        height, width = classes.shape
        size, left, top = self.centre(height, width, image_size)
        # in half pixels of the resized picture
        across = 2 * np.arange(left, left + image_size) + 1
        down = 2 * np.arange(top, top + image_size) + 1
        rows, columns = down * height // (2 * size[1]), across * width // (2 * size[0])
        cut: Truth = classes[rows[:, None], columns]
        return cut

    def centre(self, height: int, width: int, image_size: int) -> tuple[tuple[int, int], int, int]:
        """(width, height) after the resize, and left and top of what is kept of it."""
        size = self.resized_size(height, width, image_size)
        return size, round((size[0] - image_size) / 2), round((size[1] - image_size) / 2)

    def resized_size(self, height: int, width: int, image_size: int) -> tuple[int, int]:
        """(width, height) after the resize."""
        # Rounded down as torchvision does, else pixels would differ from the published evaluation.
        short = int(image_size / self.crop)
        if width <= height:
            return short, int(short * height / width)
        return int(short * width / height), short

    def resized(self, pixels: Pixels, size: tuple[int, int]) -> Pixels:
        """`pixels` (H, W, 3) at `size` (width, height)."""
        resample = Image.Resampling[self.interpolation.upper()]
        return np.asarray(Image.fromarray(pixels).resize(size, resample))

    def identity(self) -> Manifest:
        """The settings, for a manifest."""
        return asdict(self)


def overrides_in(request: Request) -> dict[str, Any]:
    """Settings of the preprocessing that `request` fixes for every backbone."""
    settings = {"crop": request.crop, "interpolation": request.interpolation}
    return {name: value for name, value in settings.items() if value is not None}


class Photographs(Dataset):
    """Pictures of any size in files, preprocessed as each backbone was published.

    Subclasses define `folder`, `fetch`, `stamp`, `listing` and `reordered`. A picture is known by
    its bytes: outcomes are kept with a hash of them, so that they answer for these bytes alone,
    wherever their file lies.

    ``named``    whether pictures have names, by which one is found again; rows of a table have none
    ``upright``  whether EXIF orientations are applied
    """

    stored: ClassVar[bool] = True
    named: ClassVar[bool] = False
    upright: bool = True
    preprocess: Preprocess
    overrides: dict[str, Any]

    def prepare(self, preprocessing: Preprocessing, overrides: dict[str, Any]) -> None:
        """Set the preprocessing; `overrides` are the user's own settings of it."""
        self.overrides = overrides
        self.preprocess = Preprocess(**asdict(preprocessing) | overrides)
        self.mean, self.std = self.preprocess.mean, self.preprocess.std

    def prepared_as(self, preprocessing: Preprocessing) -> Self:
        """The same pictures under another `preprocessing` and the same overrides."""
        other = copy.copy(self)
        other.prepare(preprocessing, self.overrides)
        return other

    def fetch(self, index: int) -> tuple[bytes, str, str]:
        """The bytes of a picture, what messages call it, and the stamp of its file."""
        raise NotImplementedError

    def stamp(self, index: int) -> str:
        """The present stamp of its file (see `suite.data.loading.decode.stamp`)."""
        raise NotImplementedError

    def listing(self) -> str:
        """Hash of names, sizes and labels of the files, which are not read."""
        raise NotImplementedError

    @property
    def folder(self) -> Path:
        """The folder that all files lie below."""
        raise NotImplementedError

    def below(self, text: str) -> str:
        """`text` with the paths in it as they are below `folder`."""
        return text.replace(printable(f"{self.folder}{os.sep}"), "")

    @property
    def names(self) -> list[str]:
        """What every picture is called, wherever the data lie; of rows their numbers."""
        return [str(index) for index in range(len(self))]

    def reordered(self, order: IntArray) -> Self:
        """The same pictures under other numbers."""
        raise NotImplementedError

    def glance(self, index: int) -> None:
        """UserError if a picture is damaged, as far as a glance at its file tells."""

    def image(self, index: int) -> Pixels:
        """The pixels of one picture, (H, W, 3); UserError naming it if it cannot be decoded."""
        content, name, stamp = self.fetch(self.check_index(index))
        self.seen[index] = self.known(index, fingerprint(content), stamp)
        return decode(content, name, self.upright)

    def sample(self, index: int, image_size: int) -> Samples:
        """The picture resized, cropped and normalised."""
        return self.preprocess(self.image(index), image_size)

    def identify(self, index: int) -> Seen:
        """Read a picture to learn what it is, without decoding it."""
        content, _, stamp = self.fetch(index)
        return self.known(index, fingerprint(content), stamp)

    def known(self, index: int, content: str, stamp: str) -> Seen:
        """Join the label of a picture to the hash and the stamp of its bytes."""
        label = int(self.labels[index])
        return Seen(f"{content}-{label}", stamp and f"{stamp}-{label}")

    def unchanged(self, index: int, seen: Seen) -> bool:
        """Whether the file of a picture looks as it did when it was `seen`."""
        return bool(seen.stamp) and seen.stamp == self.known(index, "", self.stamp(index)).stamp

    def settings(self) -> Manifest:
        """All that determines pixels, beside the files."""
        return {"preprocess": self.preprocess.identity()}

    def rules(self) -> Manifest:
        """Name, split, classes and settings."""
        named = {"name": self.name, "split": self.split, "classes": list(self.classes)}
        return named | self.settings()

    def content(self, indices: IntArray) -> str:
        """Hash of the bytes and labels of these pictures, which are read, and of `rules`."""
        with ThreadPoolExecutor(READERS) as pool:
            seen = pool.map(self.identify, indices.tolist())
            return digest([self.rules(), [of_image.content for of_image in seen]])

    def identity(self) -> Manifest:
        """Names, sizes and labels of the files, not their bytes, and the settings."""
        return {"files": self.listing(), **self.settings()}


class PhotographFiles(Photographs):
    """Photographs or clips that are files or folders below one folder.

    ``root``   the folder of all
    ``paths``  of each, by number
    """

    named: ClassVar[bool] = True
    root: Path
    paths: list[Path]

    @property
    def folder(self) -> Path:
        """The root."""
        return self.root

    @property
    def names(self) -> list[str]:
        """The paths below `root`, so that a data set is the same wherever it lies."""
        return [path.relative_to(self.root).as_posix() for path in self.paths]

    def fetch(self, index: int) -> tuple[bytes, str, str]:
        """The bytes of a file, its path, and its stamp; UserError if it cannot be read."""
        path = self.paths[index]
        content, seen = read_stamped(path)
        return content, str(path), seen

    def stamp(self, index: int) -> str:
        """The present stamp of a file."""
        return stamp(self.paths[index].stat())

    def reordered(self, order: IntArray) -> Self:
        """The same files under other numbers."""
        other = copy.copy(self)
        other.paths = [self.paths[place] for place in order]
        other.labels = self.labels[order]
        return other
