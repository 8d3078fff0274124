"""Pictures with masks: a made-up ADE20K of 20 images, masks of one's own, and what is wrong with them."""

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.common.errors import UserError
from backbones.preprocessing import Preprocessing
from suite.data import check_labels, open_dataset
from suite.data.base import IGNORED, Dataset
from suite.data.images.masks import MaskedPictures, Values
from suite.data.loading.loader import batches
from tests.suite.made_up_ade20k import SIZES, masked_picture


def own(root: Path, classes: int = 3) -> Path:
    """Five pictures with masks of three classes, in PNG, so that pixels are exact."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(f"class {n}" for n in range(classes)) + "\n")
    for number in range(5):
        picture, mask = masked_picture(number)
        classes_of = np.where(mask == 0, 255, mask % 3).astype(np.uint8)
        Image.fromarray(picture).save(root / "images" / f"{number}.png")
        Image.fromarray(classes_of).save(root / "masks" / f"{number}.png")
    return root


def segmented(spec: str, split: str | None = None) -> Dataset:
    return open_dataset(spec, split, task="segmentation")


def test_ade20k_has_its_official_form(ade20k: Path) -> None:
    data = segmented(f"ade20k:{ade20k}", "test")
    assert (len(data), data.split, data.task) == (4, "validation", "segmentation")
    assert len(segmented(f"ade20k:{ade20k}", "train")) == 16
    assert data.classes == tuple(str(value) for value in range(1, 151))
    check_labels(data, 150)
    with pytest.raises(UserError, match="150 classes but the model's head has 21"):
        check_labels(data, 21)
    truth = data.truth(0, 36)
    assert (truth.shape, truth.dtype) == ((36, 36), np.uint8)
    # number 16, 36 x 50: nothing is resized, 7 rows are cut off above and below
    mask = masked_picture(16)[1][7:43]
    assert np.array_equal(truth, np.where(mask == 0, IGNORED, mask.astype(int) - 1))


def test_names_come_from_the_official_file(ade20k: Path) -> None:
    rows = [f"{n}\t0.1\t9\t9\tthing {n}, synonym" for n in range(1, 151)]
    text = "\n".join(["Idx\tRatio\tTrain\tVal\tName", *rows, ""])
    (ade20k / "objectInfo150.txt").write_text(text)
    data = segmented(f"ade20k:{ade20k}")
    assert (data.classes[0], data.classes[149]) == ("thing 1", "thing 150")
    for damaged in ("", "no header\n", text.replace("Name", "Nmae"), text[:500]):
        (ade20k / "objectInfo150.txt").write_text(damaged)
        assert segmented(f"ade20k:{ade20k}").classes[0] == "1"


@pytest.mark.parametrize("size", [24, 36, 53, 72])
def test_truth_lies_on_the_pixels_of_the_sample(tmp_path: Path, size: int) -> None:
    """The red of a picture is its mask, so that a resize to nearest pixels must give the truth."""
    data = segmented(f"masks:{own(tmp_path)}")
    for number in range(3):
        picture, _ = masked_picture(number)
        width, height = SIZES[number]
        scale = size / min(width, height)
        shape = (int(width * scale + 1e-9), int(height * scale + 1e-9))
        left, top = round((shape[0] - size) / 2), round((shape[1] - size) / 2)
        red = np.empty((size, size), np.uint8)
        for y in range(size):
            for x in range(size):
                # The pixel that the centre falls into.
                row = Fraction(2 * (top + y) + 1, 2) * height / shape[1]
                column = Fraction(2 * (left + x) + 1, 2) * width / shape[0]
                red[y, x] = picture[math.floor(row), math.floor(column), 0]
        expected = np.where(red == 0, IGNORED, red % 3)
        assert np.array_equal(data.truth(number, size), expected)
        # Bilinear filtering mixes at the edges of blocks alone.
        sample = data.view(number, size)[..., 0]
        if size >= 36:
            exact = size == min(width, height)
            assert (sample == red).mean() > (0.99 if exact else 0.35)


def test_a_backbone_gives_the_normalisation_alone(tmp_path: Path) -> None:
    usual = segmented(f"masks:{own(tmp_path)}")
    assert isinstance(usual, MaskedPictures)
    published = Preprocessing(crop=0.875, interpolation="bicubic", mean=(0.5,) * 3)
    prepared = usual.prepared_as(published)
    assert (prepared.preprocess.crop, prepared.preprocess.interpolation) == (1.0, "bilinear")
    assert prepared.mean == (0.5,) * 3
    cropped = open_dataset(f"masks:{tmp_path}", crop=0.5, task="segmentation")
    assert not np.array_equal(cropped.truth(0, 20), usual.truth(0, 20))


def test_batches_carry_truth_and_what_was_read(ade20k: Path) -> None:
    data = segmented(f"ade20k:{ade20k}")
    (batch,) = batches(data, np.arange(4), 4, 36)
    assert batch.truth is not None
    assert [truth.shape for truth in batch.truth] == [(36, 36)] * 4
    assert batch.layouts is None
    assert sorted(batch.seen) == [0, 1, 2, 3]


def test_another_mask_is_another_image(tmp_path: Path) -> None:
    root = own(tmp_path)
    before = segmented(f"masks:{root}")
    assert isinstance(before, MaskedPictures)
    rows = np.arange(5)
    content, seen = before.content(rows), before.identify(2)
    assert before.content(rows) == segmented(f"masks:{root}").content(rows)
    assert before.manifest()["task"] == "segmentation"
    mask = np.asarray(Image.open(root / "masks" / "2.png")).copy()
    mask[0, 0] = 2 if mask[0, 0] != 2 else 1
    Image.fromarray(mask).save(root / "masks" / "2.png")
    after = segmented(f"masks:{root}")
    assert isinstance(after, MaskedPictures)
    assert after.content(rows) != content
    assert after.identify(2).content != seen.content
    assert not after.unchanged(2, seen)
    turned = after.reordered(np.array([4, 3, 2, 1, 0]))
    assert np.array_equal(turned.truth(0, 36), after.truth(4, 36))


def test_splits_are_folders_of_both(tmp_path: Path) -> None:
    for split in ("train", "val"):
        own(tmp_path / split)
    root = tmp_path / "both"
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / split / kind).rename(root / kind / split)
    (tmp_path / "val" / "classes.txt").rename(root / "classes.txt")
    data = segmented(f"masks:{root}", "val")
    assert (len(data), data.split, data.classes[2]) == (5, "val", "class 2")
    with pytest.raises(UserError, match="choose train or val with --split"):
        segmented(f"masks:{root}")


def palette(mask: Path) -> None:
    picture = Image.open(mask).convert("P")
    picture.putpalette([9, 8, 7] * 256)
    picture.save(mask)


def in_colours(mask: Path) -> None:
    Image.open(mask).convert("RGB").save(mask)


def smaller(mask: Path) -> None:
    Image.open(mask).resize((20, 30)).save(mask)


def out_of_range(mask: Path) -> None:
    values = np.asarray(Image.open(mask)).copy()
    values[3, 3] = 3
    Image.fromarray(values).save(mask)


def torn(mask: Path) -> None:
    mask.write_bytes(mask.read_bytes()[:60])


def of_no_class(mask: Path) -> None:
    Image.fromarray(np.full((40, 40), 255, np.uint8)).save(mask)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (palette, "has a palette, so that its values may stand for colours: save it in grey"),
        (in_colours, r"has colours \(mode RGB\): save it in grey"),
        (smaller, "has 20x30 pixels and its image 40x40: make both one size"),
        (out_of_range, "has the value 3, which is no class: its 3 classes are the values 0 to 2"),
        (torn, "is no sound PNG"),
        (lambda path: path.write_bytes(b"GIF89a"), "is no PNG: write the mask again$"),
    ],
)
def test_a_mask_that_does_not_fit_is_one_line(
    tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    root = own(tmp_path)
    harm(root / "masks" / "2.png")
    data = segmented(f"masks:{root}")
    assert isinstance(data, MaskedPictures)
    data.glance(1)
    # Before a run begins, and in it.
    with pytest.raises(UserError, match=f"2.png {message}"):
        data.glance(2)
    (batch,) = batches(data, np.arange(5), 5, 36)
    assert batch.indices.tolist() == [0, 1, 3, 4]
    assert list(batch.damaged) == [2]
    assert "\n" not in batch.damaged[2]


def test_a_mask_without_a_class_where_a_model_looks_is_one_line(tmp_path: Path) -> None:
    root = own(tmp_path)
    of_no_class(root / "masks" / "2.png")
    with pytest.raises(UserError, match=r"2.png has no pixel of a class: take it and its image"):
        segmented(f"masks:{root}").truth(2, 36)
    # of 50 rows the first 7 are cut off
    mask = np.full((50, 36), IGNORED, np.uint8)
    mask[6] = 0
    Image.fromarray(mask).save(root / "masks" / "1.png")
    with pytest.raises(UserError, match=r"1.png has no pixel of a class where a model looks"):
        segmented(f"masks:{root}").truth(1, 36)


def test_files_that_are_missing_are_one_line(tmp_path: Path, ade20k: Path) -> None:
    root = own(tmp_path / "own")
    (root / "masks" / "1.png").unlink()
    with pytest.raises(UserError, match=r"1.png has no mask .*1.png: put it there, or take the im"):
        segmented(f"masks:{root}")
    (root / "classes.txt").write_text("one\n")
    with pytest.raises(UserError, match="names 1 classes: name 2 to 255"):
        segmented(f"masks:{root}")
    (root / "classes.txt").unlink()
    with pytest.raises(
        UserError,
        match=r"classes.txt cannot be read \(No such file or directory\): write the name of each",
    ):
        segmented(f"masks:{root}")
    (root / "masks").rename(root / "labels")
    with pytest.raises(UserError, match="has no folder 'masks'"):
        segmented(f"masks:{root}")
    with pytest.raises(UserError, match="masks needs a folder: write masks:PATH"):
        segmented("masks")
    with pytest.raises(UserError, match=r"training.* is not there: give the folder ADEChallengeDa"):
        segmented(f"ade20k:{ade20k.parent}", "train")
    with pytest.raises(UserError, match="no split 'vall'"):
        segmented(f"ade20k:{ade20k}", "vall")
    for file in (ade20k / "images" / "validation").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="validation has no images"):
        segmented(f"ade20k:{ade20k}")


def test_masks_are_for_segmentation_alone(ade20k: Path) -> None:
    with pytest.raises(
        UserError, match="'ade20k' has classes of pixels, not of images: add --task"
    ):
        open_dataset(f"ade20k:{ade20k}")


def test_values_are_numbered_as_they_are_said_to_be() -> None:
    mask = np.array([[0, 1, 2]])
    assert Values(1, (0,)).truth(mask, 2, "m").tolist() == [[IGNORED, 0, 1]]
    assert Values(0, (255,)).truth(mask, 3, "m").tolist() == [[0, 1, 2]]
    with pytest.raises(UserError, match="m has the value 2, which is no class: its 2 classes are"):
        Values(0, (255,)).truth(mask, 2, "m")
    with pytest.raises(UserError, match="value 70000"):
        Values(0, (255,)).truth(np.array([[70000]]), 2, "m")


def test_black_and_white_masks_are_remarked_on(tmp_path: Path) -> None:
    root = own(tmp_path / "own")
    assert segmented(f"masks:{root}").notes == ()
    for file in (root / "masks").iterdir():
        white = np.asarray(Image.open(file)) == 255
        Image.fromarray(np.where(white, 255, 0).astype(np.uint8)).save(file)
    (note,) = segmented(f"masks:{root}").notes
    assert "255 is of no class" in note
    assert "write 1" in note
