"""Tiny-ImageNet's splits and its quarter, on fabricated files of the official layout."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backbones import create_model
from backbones.common.errors import UserError
from suite.data import open_dataset
from suite.data.images.tiny_imagenet import split_rows


def png(label: int, number: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), (label, number, 255 - label)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, labels: list[int]) -> None:
    cells = [
        {"bytes": png(label, number), "path": f"{number}.png"}
        for number, label in enumerate(labels)
    ]
    pq.write_table(pa.table({"image": cells, "label": labels}), path, row_group_size=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of 20 training images a class, shuffled, and one validation image a class."""
    place = tmp_path_factory.mktemp("tiny")
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(200), 20)).tolist()
    write(place / "train-0-of-2.parquet", labels[:1500])
    write(place / "train-1-of-2.parquet", labels[1500:])
    write(place / "valid.parquet", list(range(199, -1, -1)))
    return place


def test_dev_is_held_out_of_train_class_by_class(folder: Path) -> None:
    train, dev = (open_dataset(f"tiny-imagenet:{folder}", split) for split in ("train", "dev"))
    assert np.bincount(train.labels).tolist() == [19] * 200
    assert np.bincount(dev.labels).tolist() == [1] * 200
    rows = [*train.rows, *dev.rows]  # type: ignore[attr-defined]
    assert sorted(rows) == list(range(4000))


@pytest.mark.parametrize("split", ["valid", "val", "test", None])
def test_the_usual_split_is_valid(folder: Path, split: str | None) -> None:
    data = open_dataset(f"tiny-imagenet:{folder}", split)
    assert (data.split, len(data), data.labels[0], len(data.classes)) == ("valid", 200, 199, 200)


@pytest.mark.parametrize("split", ["train", "dev", "valid"])
def test_the_quarter_has_every_fourth_class_of_each_split(folder: Path, split: str) -> None:
    whole, quarter = (
        open_dataset(f"{name}:{folder}", split) for name in ("tiny-imagenet", "tiny-imagenet-50")
    )
    kept = np.flatnonzero(whole.labels % 4 == 0)
    assert quarter.labels.tolist() == (whole.labels[kept] // 4).tolist()
    assert quarter.classes == tuple(str(label) for label in range(0, 200, 4))
    for index in (0, len(quarter) // 2, len(quarter) - 1):
        assert np.array_equal(quarter.image(index), whole.image(int(kept[index])))
        assert int(quarter.image(index)[0, 0, 0]) == 4 * quarter.labels[index]
    assert quarter.manifest()["hash"] != whole.manifest()["hash"]


def test_a_picture_is_taken_whole(folder: Path) -> None:
    data = open_dataset(f"tiny-imagenet:{folder}")
    mean, std = np.array(data.mean), np.array(data.std)
    expected = (data.image(3) / 255.0 - mean) / std
    assert np.allclose(data.sample(3, 64).transpose(1, 2, 0), expected, atol=1e-5)
    assert data.sample(3, 32).shape == (3, 32, 32)
    plain = open_dataset(f"parquet:{folder}", "valid").prepared_as(
        create_model("vim_tiny_64", depth=1).preprocessing
    )
    assert np.array_equal(plain.sample(3, 64), data.sample(3, 64))


@pytest.mark.parametrize(
    ("make", "split", "says"),
    [
        (lambda place: "tiny-imagenet", None, "write tiny-imagenet:PATH"),
        (lambda place: f"tiny-imagenet-50:{place}", "dav", "no split 'dav': did you mean dev"),
        (lambda place: f"tiny-imagenet:{place / 'absent'}", None, "does not exist"),
        (
            lambda place: f"tiny-imagenet:{place / 'few'}",
            None,
            "has 3 classes, not Tiny-ImageNet's 200: use parquet:",
        ),
        (
            lambda place: f"tiny-imagenet:{place / 'few'}",
            "dev",
            "has no split 'train': choose valid",
        ),
    ],
)
def test_what_is_refused(
    folder: Path, make: Callable[[Path], str], split: str | None, says: str
) -> None:
    few = folder / "few"
    few.mkdir(exist_ok=True)
    write(few / "valid.parquet", [0, 1, 2])
    with pytest.raises(UserError, match=says):
        open_dataset(make(folder), split)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=300))
def test_train_and_dev_share_nothing_and_leave_nothing_out(drawn: list[int]) -> None:
    labels = np.array(drawn, np.int64)
    train, dev = split_rows(labels, "train"), split_rows(labels, "dev")
    assert sorted([*train, *dev]) == list(range(len(labels)))
    assert len(dev) == max(1, round(0.05 * len(labels)))
