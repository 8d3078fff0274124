from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.common.errors import UserError
from suite.data import check_labels, open_dataset
from suite.data.images.imagefolder import ImageFolder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for synset in range(1000):
        (tmp_path / "val" / f"n{synset:08d}").mkdir(parents=True)
    for synset in (0, 999):
        Image.new("RGB", (40, 30), (synset % 256,) * 3).save(
            tmp_path / "val" / f"n{synset:08d}" / "x.JPEG"
        )
    return tmp_path


def test_labels_are_the_rank_of_the_synset(root: Path) -> None:
    for spec, split in ((root, None), (root, "test"), (root, "val"), (root / "val", None)):
        data = open_dataset(f"imagenet:{spec}", split)
        assert isinstance(data, ImageFolder)
        assert data.labels.tolist() == [0, 999]
        assert len(data.classes) == 1000
        assert not data.upright
        check_labels(data, 1000)
    assert open_dataset(f"imagenet:{root}").manifest()["preprocess"]["crop"] == 0.875


def test_flat_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(UserError, match=r"is flat.*sort its images into synset folders"):
        open_dataset(f"imagenet:{tmp_path}")


def test_missing_and_strange_classes_are_named(root: Path) -> None:
    (root / "val" / "n00000500").rmdir()
    with pytest.raises(UserError, match="999 of ImageNet's 1000"):
        open_dataset(f"imagenet:{root}")
    (root / "val" / "tench").mkdir()
    with pytest.raises(UserError, match="'tench', which is no synset"):
        open_dataset(f"imagenet:{root}")


def test_train_split_and_no_val(root: Path) -> None:
    (root / "train").mkdir()
    with pytest.raises(UserError, match="is flat"):
        open_dataset(f"imagenet:{root}", "train")
    assert np.array_equal(open_dataset(f"imagenet:{root}").labels, [0, 999])
