import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from backbones.common.errors import UserError
from suite.data import DATASETS, Dataset, Request, check_labels, open_dataset
from suite.data.base import Manifest, digest


@dataclass
class Fake(Dataset):
    labels: np.ndarray
    classes: tuple[str, ...] = ("a", "b", "c")
    name: str = "fake"
    split: str = "all"
    version: int = 1
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def image(self, index: int) -> np.ndarray:
        return np.full((2, 3, 3), index, np.uint8)

    def sample(self, index: int, image_size: int) -> np.ndarray:
        return np.full((3, image_size, image_size), index, np.float32)

    def identity(self) -> Manifest:
        return {"version": self.version}


def test_labels_that_fit() -> None:
    check_labels(Fake(np.array([0, 2])), 3)
    with pytest.raises(UserError, match="3 classes but the model's head has 1000"):
        check_labels(Fake(np.array([0, 1])), 1000)


def test_labels_that_do_not_fit_name_the_fix() -> None:
    with pytest.raises(
        UserError, match=r"3 classes but the model's head has 2: choose a checkpoint"
    ):
        check_labels(Fake(np.array([0, 1])), 2)
    with pytest.raises(UserError, match="8 classes but the model's head has 3"):
        check_labels(Fake(np.array([0, 7])), 3)
    with pytest.raises(UserError, match="image 1 of 'fake' has label -1, so it is unlabelled"):
        check_labels(Fake(np.array([0, -1])), 3)
    with pytest.raises(UserError, match="no images"):
        check_labels(Fake(np.array([], np.int64)), 3)


def test_manifest_hash_covers_all_of_it() -> None:
    base = Fake(np.array([0, 1]))
    others = [
        Fake(np.array([0])),
        Fake(np.array([0, 1]), classes=("a", "b")),
        Fake(np.array([0, 1]), split="dev"),
        Fake(np.array([0, 1]), version=2),
    ]
    hashes = {data.manifest()["hash"] for data in (base, *others)}
    assert len(hashes) == 5
    assert base.manifest() == json.loads(json.dumps(base.manifest()))
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})


def test_names_are_listed_without_torch_or_numba() -> None:
    code = (
        "import sys, suite.data as d; print(*d.DATASETS); "
        "sys.exit(bool({'torch', 'numba', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fashion-clutter" in done.stdout.split()


def test_samples_stack_single_ones() -> None:
    stacked = Fake(np.zeros(9, np.int64)).samples(np.array([4, 2]), 5)
    assert stacked.shape == (2, 3, 5, 5)
    assert stacked[:, 0, 0, 0].tolist() == [4, 2]
    assert Fake(np.zeros(9, np.int64)).foreground(0, (2, 2)) is None


def test_a_data_set_without_truth_of_the_task_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DATASETS, "_added", {"mine": lambda request: Fake(np.array([0]))})
    with pytest.raises(UserError, match=r"'mine' has no class for each pixel.*--data fashion-clut"):
        open_dataset("mine", task="segmentation")
    with pytest.raises(UserError, match="'fashion-mnist' has no class for each pixel"):
        open_dataset("fashion-mnist", "dev", task="segmentation")
    segmented = Fake(np.array([0]))
    segmented.task = "segmentation"
    monkeypatch.setattr(DATASETS, "_added", {"mine": lambda request: segmented})
    with pytest.raises(UserError, match="classes of pixels, not of images: add --task segmentat"):
        open_dataset("mine")


def test_spec_and_options_reach_the_opener(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Request] = []

    def opener(request: Request) -> Dataset:
        seen.append(request)
        return Fake(np.array([0]))

    monkeypatch.setattr(DATASETS, "_added", {"mine": opener})
    open_dataset("mine:a:b", "dev", source="s", crop=0.9, interpolation="bilinear")
    assert seen == [Request("a:b", "dev", "s", 0.9, "bilinear")]
