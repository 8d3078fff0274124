"""`masks:PATH`: pictures, and beside each a mask whose values are the classes of its pixels.

A picture is PATH/images/NAME.jpg, or of another kind of image; its mask is PATH/masks/NAME.png, one
grey value a pixel, 255 where a pixel belongs to no class. With splits both folders have one folder
for each. ``PATH/classes.txt`` names the classes, one a line, from value 0 on.

The short side of a picture is resized to that of the model (bilinear), its mask likewise (nearest
pixel), and the centre is cut out of both. Or all of the resized picture is shown, at once or in
sliding windows, and its mask is left as it is (`shown_as`).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from backbones.common.errors import UserError, printable
from backbones.dense.windows import Layout, usual_stride
from backbones.preprocessing import Inference, Preprocessing
from suite.data.base import (
    IGNORED,
    IntArray,
    Manifest,
    Request,
    Samples,
    Seen,
    TaskName,
    Truth,
    digest,
    one_line,
)
from suite.data.images.imagefolder import (
    existing_folder,
    list_files,
    listed,
    listing_digest,
    split_folder,
)
from suite.data.loading.decode import (
    FORMATS,
    MAX_ASPECT,
    check_size,
    decode,
    glance,
    hash_file,
    read_bytes,
)
from suite.data.loading.pixels import normalise
from suite.data.loading.preprocess import PhotographFiles, overrides_in

IMAGES, MASKS, CLASSES = "images", "masks", "classes.txt"
MAX_CLASSES = IGNORED  # values 0 to 254
FIRST_MASKS = 8  # of which it is seen how masks are numbered
BLACK_AND_WHITE = (
    f"the first masks have the values 0 and {IGNORED} alone, and {IGNORED} is of no class: if it "
    "is meant as the second class, write 1 in its place"
)
# No picture has more: windows are at least half of one apart, and longer pictures are refused.
MAX_WINDOWS = 2 * MAX_ASPECT
MAX_LONG = 4  # 2048 beside 512 in the releases


@dataclass(frozen=True)
class Values:
    """How the values of a mask are numbered: `first` is class 0, and `ignored` are of no class."""

    first: int
    ignored: tuple[int, ...]

    def truth(self, mask: NDArray[np.integer], classes: int, name: str) -> Truth:
        """The classes of a mask's pixels; UserError that calls it `name` if a value is neither."""
        outside = np.isin(mask, self.ignored)
        number = mask.astype(np.int64) - self.first
        strange = ~outside & ((number < 0) | (number >= classes))
        if strange.any():
            value, last = int(mask[strange][0]), self.first + classes - 1
            raise UserError(
                f"{name} has the value {value}, which is no class: its {classes} classes are the "
                f"values {self.first} to {last}, and {' and '.join(map(str, self.ignored))} is of "
                "none"
            )
        return np.where(outside, IGNORED, number).astype(np.uint8)


class MaskedPictures(PhotographFiles):
    """Pictures below `root`, each with the mask of the same place in `masks`.

    `values` says how masks are numbered, `overrides` are the user's settings of the preprocessing.
    """

    task: TaskName = "segmentation"
    multiple = 1  # what the sides of a whole picture are multiples of
    # A mask lies on the pixels as they are stored; one of a turned picture has another size.
    upright = False

    def __init__(
        self,
        name: str,
        split: str,
        root: Path,
        masks: Path,
        classes: Sequence[str],
        values: Values,
        overrides: dict[str, Any],
    ) -> None:
        self.name, self.split, self.root, self.classes = name, split, root, tuple(classes)
        self.values = values
        self.prepare(Preprocessing(), overrides)
        passed: Counter[str] = Counter()
        self.paths = list_files(root, root, passed)
        if not self.paths:
            raise UserError(f"{root} has no images: give a folder whose {IMAGES} hold some")
        self.masks = [masks_of(path, root, masks) for path in self.paths]
        # No image is of one class: all are drawn alike.
        self.labels = np.zeros(len(self.paths), np.int64)
        if passed:
            kinds = [f"{count:,} {kind}" for kind, count in passed.most_common()]
            self.notes = (printable(f"passed over as no images: {listed(kinds)}"),)

    def prepare(self, preprocessing: Preprocessing, overrides: dict[str, Any]) -> None:
        """Set the preprocessing: of a backbone's only the normalisation is taken.

        A crop would cut away what is to be segmented, and segmenters are trained on pictures that
        were resized bilinearly.
        """
        usual = replace(preprocessing, crop=1.0, interpolation="bilinear")
        super().prepare(usual, overrides)

    def known(self, index: int, content: str, stamp: str) -> Seen:
        """Join the mask to the hash and the stamp of a picture."""
        mask, mask_stamp = hash_file(self.masks[index])
        both = f"{stamp}-{mask_stamp}" if stamp and mask_stamp else ""
        return super().known(index, f"{content}-{mask}", both)

    def glance(self, index: int) -> None:
        """UserError if a picture is damaged, or its mask does not fit it."""
        glance(self.paths[index])
        self.whole_truth(index)

    def whole_truth(self, index: int) -> Truth:
        """The classes of all pixels of a picture, (H, W); UserError if its mask does not fit.

        Likewise if no pixel has a class.
        """
        path, picture = self.masks[index], self.paths[index]
        mask = decode_mask(read_bytes(path), str(path))
        width, height = picture_size(picture)
        if mask.shape != (height, width):
            raise UserError(
                f"{path} has {mask.shape[1]}x{mask.shape[0]} pixels and its image "
                f"{width}x{height}: make both one size"
            )
        truth = self.values.truth(mask, len(self.classes), str(path))
        if (truth == IGNORED).all():
            raise UserError(f"{path} has no pixel of a class: take it and its image out")
        return truth

    def truth(self, index: int, image_size: int) -> Truth:
        """The classes of the pixels that `sample` shows, (image_size, image_size)."""
        truth = self.preprocess.cut(self.whole_truth(self.check_index(index)), image_size)
        if (truth == IGNORED).all():
            raise UserError(
                f"{self.masks[index]} has no pixel of a class where a model looks: take it and its "
                "image out"
            )
        return truth

    def shown_as(self, inference: Inference, multiple: int = 1) -> Self:
        """The same pictures, of each the centre, sliding windows or all at once."""
        other = copy.copy(self)
        other.inference, other.multiple = inference, multiple
        other.views = MAX_WINDOWS if inference == "slide" else 1
        return other

    def once(self) -> Self:
        """The same pictures, of each the centre."""
        return self.shown_as("centre")

    def layout(self, index: int, image_size: int) -> Layout | None:
        """The windows of a picture that is resized to the model's size."""
        if self.inference == "centre":
            return None
        width, height = picture_size(self.paths[index])
        if self.inference == "whole":
            return whole(height, width, image_size, self.multiple)
        return laid_out(height, width, image_size)

    def layouts(self, indices: IntArray, image_size: int) -> list[Layout]:
        """The layouts of those pictures that can be read; none of their centres."""
        if self.inference == "centre":
            return []
        layouts = []
        for index in indices.tolist():
            with suppress(UserError):  # said when it is decoded
                layout = self.layout(index, image_size)
                assert layout is not None
                layouts.append(layout)
        return layouts

    def mean_views(self, indices: IntArray, image_size: int) -> float:
        """Windows of a picture, mean over those of `indices` that can be read."""
        layouts = self.layouts(indices, image_size)
        return float(np.mean([layout.count for layout in layouts])) if layouts else 1.0

    def sample(self, index: int, image_size: int) -> Samples:
        """The centre of a picture, (3, S, S), or all its windows, (windows, 3, S, S)."""
        layout = self.layout(index, image_size)
        if layout is None:
            return super().sample(index, image_size)
        resized = self.preprocess.resized(self.image(index), (layout.width, layout.height))
        (pixels,) = normalise(resized[None], self.mean, self.std)
        windows = []
        for top, left in layout.places:
            windows.append(pixels[:, top : top + layout.rows, left : left + layout.columns])
        return np.stack(windows)

    def samples(self, indices: IntArray, image_size: int) -> Samples:
        """The centres of several pictures, or all their windows, (B, 3, S, S)."""
        if self.inference == "centre":
            return super().samples(indices, image_size)
        return np.concatenate([self.sample(int(index), image_size) for index in indices])

    def listing(self) -> str:
        """Hash of the names and sizes of pictures and masks."""
        sizes = [path.stat().st_size for path in self.paths]
        pictures = listing_digest(self.names, sizes, self.labels)
        return digest([pictures, [path.stat().st_size for path in self.masks]])

    def settings(self) -> Manifest:
        """The preprocessing, how masks are numbered, and the task."""
        values = [self.values.first, list(self.values.ignored)]
        looks: Manifest = {}
        if self.inference != "centre":
            looks = {"inference": self.inference, "multiple": self.multiple}
        return {**super().settings(), "values": values, **looks, **self.task_rule()}

    def reordered(self, order: IntArray) -> Self:
        """The same pictures and masks under other numbers."""
        other = copy.copy(super().reordered(order))
        other.masks = [self.masks[place] for place in order]
        return other


def laid_out(height: int, width: int, window: int) -> Layout:
    """The windows over a picture of this size, resized so that its short side is one `window`.

    Sides are rounded as OpenMMLab rounds them. Its bound of the long side, four windows, is left
    out: windows would be no squares, which the released models cannot take.
    """
    scale = window / min(height, width)
    sides = [max(window, int(side * scale + 0.5)) for side in (height, width)]
    return Layout(sides[0], sides[1], window, window, usual_stride(window))


def whole(height: int, width: int, size: int, multiple: int) -> Layout:
    """A picture of this size as one window: resized, its sides rounded up to multiples.

    The short side becomes `size`, the long one at most `MAX_LONG` times as much.
    """
    short, long = min(height, width), max(height, width)
    scale = min(size / short, MAX_LONG * size / long)
    sides = [int(side * scale + 0.5) for side in (height, width)]
    high, wide = (max(1, -(-side // multiple)) * multiple for side in sides)
    return Layout.whole(high, wide)


def masks_of(picture: Path, root: Path, masks: Path) -> Path:
    """The mask of a picture below `root`; UserError if there is none in `masks`."""
    mask = masks / picture.relative_to(root).with_suffix(".png")
    if not mask.is_file():
        raise UserError(f"{picture} has no mask {mask}: put it there, or take the image out")
    return mask


def decode_mask(content: bytes, name: str) -> NDArray[np.integer]:
    """The values (H, W) of a mask; UserError naming `name` unless a pixel is one number."""
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as picture:
            check_size(picture.width, picture.height, name)
            mode = picture.mode
            values = np.asarray(picture)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        # It names the object in memory.
        raise UserError(f"{name} is no PNG: write the mask again") from error
    except Exception as error:  # as in `suite.data.loading.decode.decode`
        raise UserError(
            f"{name} is no sound PNG ({one_line(error)}): write the mask again"
        ) from error
    if mode == "P":
        raise UserError(
            f"{name} has a palette, so that its values may stand for colours: save it in grey "
            "(PIL: mode L), with the class of a pixel as its value"
        )
    if values.ndim != 2:
        raise UserError(
            f"{name} has colours (mode {mode}): save it in grey, with the class of a pixel as its "
            "value"
        )
    return values.astype(np.uint8) if mode == "1" else values


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture; UserError if it is damaged."""
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as picture:
            return picture.size
    except Exception as error:
        # It says what is wrong, if anything.
        decode(read_bytes(path), str(path))
        raise UserError(f"{path} cannot be read ({one_line(error)}): fetch it again") from error


def read_classes(path: Path) -> list[str]:
    """The names in a file, one a line; UserError if there is none, or too many."""
    try:
        names = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(
            f"{path} cannot be read ({reason}): write the name of each class on a line of "
            "its own, that of value 0 first"
        ) from error
    named = [name.strip() for name in names if name.strip()]
    if not 2 <= len(named) <= MAX_CLASSES:
        raise UserError(f"{path} names {len(named)} classes: name 2 to {MAX_CLASSES}")
    return named


def open_masks(request: Request) -> MaskedPictures:
    """Open ``masks:PATH``; a split must be chosen if PATH has several."""
    root = existing_folder(request.path, "masks")
    for folder in (IMAGES, MASKS):
        if not (root / folder).is_dir():
            raise UserError(f"{root} has no folder '{folder}': put images and masks into two")
    images, split = split_folder(root / IMAGES, request.split)
    masks = root / MASKS / images.relative_to(root / IMAGES)
    classes = read_classes(root / CLASSES)
    values = Values(0, (IGNORED,))
    data = MaskedPictures("masks", split, images, masks, classes, values, overrides_in(request))
    if black_and_white(data):
        data.notes += (BLACK_AND_WHITE,)
    return data


def black_and_white(data: MaskedPictures) -> bool:
    """Whether the first masks have values 0 and 255 alone, which people mean as two classes."""
    found: set[int] = set()
    for index in range(min(FIRST_MASKS, len(data.masks))):
        try:
            found |= set(np.unique(data.whole_truth(index)).tolist())
        except UserError:  # said when the images are checked
            continue
    return found == {0, IGNORED}
