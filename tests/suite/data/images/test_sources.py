import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.common.errors import UserError
from suite.data.images.bundle import atlas, main, write_bundle
from suite.data.images.clutter import FashionClutter, render
from suite.data.images.fashion import FashionMnist
from suite.data.images.fashion_mnist_files import DEBIAN, load_full
from suite.data.images.sources import (
    ASSETS,
    CLASSES,
    UNBUNDLED,
    Garments,
    Sizes,
    bundled,
    from_arrays,
    split_rows,
    without_bundled,
)

SMALL = Sizes(held_out=40, dev=10, test=20)


def fabricated(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.resize(
        np.arange(10, dtype=np.uint8), count
    )


def test_bundled_garments_are_what_the_package_promises() -> None:
    for split, count in (("dev", 1000), ("test", 2000)):
        garments = bundled(split)
        assert garments.images.shape == (count, 28, 28)
        assert np.bincount(garments.labels).tolist() == [count // 10] * 10
        assert len(set(garments.source.tolist())) == count
        assert garments.pool.tolist() == list(range(count))
    assert len(CLASSES) == 10
    checksums = [bundled(split).checksum() for split in ("dev", "test")]
    assert hashlib.sha256("".join(checksums).encode()).hexdigest() == GOLDEN


GOLDEN = "725df8b2b30846a583cd2f77a96bdbc1a8982908f7e039331c36264c57205752"


def test_bundle_is_small_and_licensed() -> None:
    folder = Path(str(ASSETS))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_500_000
    assert "MIT License" in (folder / "LICENSE").read_text()


def test_splits_are_disjoint_complete_and_stratified() -> None:
    labels = fabricated(200, 0)[1].astype(np.int64)
    train, dev = (split_rows(labels, split, SMALL) for split in ("train", "dev"))
    assert sorted([*train, *dev]) == list(range(200))
    assert np.bincount(labels[dev]).tolist() == [4] * 10
    assert np.bincount(labels[dev[:10]]).tolist() == [1] * 10
    assert sorted(split_rows(labels, "test", SMALL)) == list(range(200))


def test_full_source_draws_the_same_images_as_the_bundle() -> None:
    """A full split begins with the bundled garments, and cuts its distractors from them alone."""
    images, labels = fabricated(200, 1)
    whole = from_arrays(images, labels, "dev", SMALL)
    assert len(whole.labels) == 40
    part = Garments("dev", whole.images[:10], whole.labels[:10], whole.source[:10], np.arange(10))
    assert np.array_equal(render(whole, np.arange(10))[0], render(part, np.arange(10))[0])
    assert np.array_equal(images[whole.source], whole.images)
    rows = np.array([1, 4, 9])
    assert FashionClutter(whole).content(rows) == FashionClutter(part).content(rows)
    assert FashionMnist(whole).content(rows) == FashionMnist(part).content(rows)


def test_unbundled_garments_are_the_rest_of_test_and_show_the_same_images() -> None:
    images, labels = fabricated(200, 1)
    whole = from_arrays(images, labels, "test", SMALL)
    rest = without_bundled(whole, SMALL)
    assert len(rest.labels) == 200 - SMALL.test
    beyond = np.arange(SMALL.test, 200)
    assert np.array_equal(render(whole, beyond)[0], render(rest, beyond - SMALL.test)[0])
    assert np.array_equal(rest.labels, whole.labels[beyond])
    named = FashionClutter(rest, split=UNBUNDLED)
    assert (named.split, len(named)) == (UNBUNDLED, len(rest.labels))
    with pytest.raises(UserError, match="unbundled split is not bundled"):
        bundled(UNBUNDLED)


def test_the_content_of_images_follows_all_that_they_show() -> None:
    garments = from_arrays(*fabricated(200, 1), "dev", SMALL)
    rows = np.array([1, 4, 9])
    known = {FashionClutter(garments).content(rows), FashionMnist(garments).content(rows)}
    known.add(FashionClutter(garments, variant=1).content(rows))
    known.add(FashionClutter(garments).content(rows[:2]))
    other_split = replace(garments, split="test")
    known.add(FashionClutter(other_split).content(rows))
    # a garment, a label, and another garment that distractors are cut from
    for name, row in (("images", 4), ("labels", 4), ("images", 2)):
        changed = getattr(garments, name).copy()
        changed[row] += 1
        known.add(FashionClutter(replace(garments, **{name: changed})).content(rows))
    assert len(known) == 8
    beyond = garments.images.copy()
    beyond[30] += 1
    same = FashionClutter(replace(garments, images=beyond)).content(rows)
    assert same == FashionClutter(garments).content(rows)


def test_train_cuts_distractors_from_all_its_garments() -> None:
    images, labels = fabricated(200, 2)
    assert len(from_arrays(images, labels, "train", SMALL).pool) == 160


def test_bundle_round_trip(tmp_path: Path) -> None:
    images, labels = fabricated(200, 3)
    splits = [from_arrays(images, labels, split, SMALL) for split in ("dev", "test")]
    write_bundle(tmp_path, splits)
    with (tmp_path / "sources.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [row["split"] for row in rows] == ["dev"] * 10 + ["test"] * 20
    for row, garments in ((0, splits[0]), (10, splits[1])):
        assert int(rows[row]["source"]) == garments.source[0]
        assert int(rows[row]["label"]) == garments.labels[0]
    with Image.open(tmp_path / "dev.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (28, 40 * 28)
    assert np.array_equal(pixels[:, 3 * 28 : 4 * 28], splits[0].images[3])
    assert not pixels[:, 10 * 28 :].any()


def test_atlas_fills_rows_of_forty() -> None:
    images = fabricated(41, 4)[0]
    picture = atlas(images)
    assert picture.shape == (56, 1120)
    assert np.array_equal(picture[28:, :28], images[40])


def test_what_cannot_be_bundled_or_named() -> None:
    with pytest.raises(UserError, match="not bundled: install Debian's dataset-fashion-mnist"):
        bundled("train")
    with pytest.raises(UserError, match="did you mean test"):
        bundled("tests")


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_bundle_is_what_the_originals_give(tmp_path: Path) -> None:
    main(str(DEBIAN), str(tmp_path))
    for name in ("dev.png", "test.png"):
        with Image.open(tmp_path / name) as built, Image.open(Path(str(ASSETS)) / name) as shipped:
            assert np.array_equal(np.asarray(built), np.asarray(shipped))
    assert (tmp_path / "sources.csv").read_bytes() == (
        Path(str(ASSETS)) / "sources.csv"
    ).read_bytes()
    for split, count in (("dev", 5000), ("test", 10_000)):
        whole, part = load_full(split, DEBIAN), bundled(split)
        assert len(whole.labels) == count
        assert np.array_equal(whole.source[: len(part.source)], part.source)
        assert np.array_equal(whole.images[: len(part.images)], part.images)
