"""A payload has all that a worker needs, and workers unlike the driver are refused."""

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from backbones.common import user_files
from backbones.common.errors import UserError
from methods.spec import find
from suite.config.run_spec import RunSpec
from suite.data import open_dataset
from suite.data.loading import loader
from suite.execution.ray_payload import (
    check_data,
    check_versions,
    files_of,
    opened,
    packed,
    run_files,
    versions,
)
from suite.plan.prepare import prepare

Specs = Callable[..., RunSpec]
README = """
from methods.base import Method, composed

MINE = Method(
    name="mine",
    title="Mine",
    family="merging",
    about="x",
    build=lambda: composed(matching="spaced"),
)
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A working folder that is left again, and methods that are not yet run."""
    before, most = Path.cwd(), loader._worker_limit
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)
    user_files._LENT.clear()
    user_files._ORIGINAL.clear()
    loader.limit_workers(most)


def test_a_run_opens_where_the_file_of_its_method_is_not(small: Specs, elsewhere: Path) -> None:
    (elsewhere / "mine.py").write_text(README)
    smaller = ("vim_mini[dim=8]",)
    prepared = prepare(small(methods=("mine.py:MINE", "mtr"), threads=1, smaller=smaller))
    files, sent = files_of(prepared), pickle.dumps(packed(prepared))
    (elsewhere / "mine.py").unlink()
    sys.modules.pop(user_files.module_name(elsewhere / "mine.py"))
    with pytest.raises(UserError, match="there is no file"):
        find("mine.py:MINE")
    torch.set_num_threads(2)
    run_files("/no/such/folder", files)
    run = opened(pickle.loads(sent))
    assert torch.get_num_threads() == 1
    assert loader._worker_limit == 0
    assert [cell.key for cell in run.cells] == [cell.key for cell in prepared.cells]
    assert [cell.reducers().keys() for cell in run.cells] == [
        cell.reducers().keys() for cell in prepared.cells
    ]
    assert run.indices.tolist() == prepared.indices.tolist()
    assert list(run.models) == ["vim_mini", *smaller]
    for name, model in prepared.models.items():
        state = run.models[name].state_dict()
        assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())


OWN = """
import numpy as np
from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim
from suite.data.base import Dataset

class Net(Vim):
    pass

def net(dim=16):
    return Net("", MambaConfig(dim, 3, 4, 40, 4, 4, 3))

class Grey(Dataset):
    name, split, classes = "grey", "all", ("a", "b", "c")
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, request):
        self.labels = np.arange(6) % 3

    def image(self, index):
        return np.full((40, 40, 3), 20 * index, np.uint8)

    def sample(self, index, image_size):
        return np.full((3, image_size, image_size), index, np.float32)

    def identity(self):
        return {}
"""


def test_objects_of_classes_in_files_open_where_the_file_is_not(
    small: Specs, elsewhere: Path
) -> None:
    (elsewhere / "own.py").write_text(OWN)
    spec = small(backbones=("own.py:net[dim=8]",), data="own.py:Grey", methods=("norm",))
    prepared = prepare(spec)
    files, sent = files_of(prepared), pickle.dumps(packed(prepared))
    (elsewhere / "own.py").unlink()
    sys.modules.pop(user_files.module_name(elsewhere / "own.py"))
    run_files("/no/such/folder", files)
    run = opened(pickle.loads(sent))
    assert [type(model).__name__ for model in run.models.values()] == ["Net"]
    assert list(run.models) == ["net[dim=8]"]
    assert run.dataset.samples(np.array([2]), 40).max() == 2


def test_another_version_is_named() -> None:
    check_versions(versions())
    with pytest.raises(
        UserError, match=r"a worker has another torch \(.*, not 1.0\): install the same packages"
    ):
        check_versions((*versions(), ("torch", "1.0")))
    with pytest.raises(UserError, match="another code of the suite"):
        check_versions((*versions(), ("code of the suite", "0")))


@pytest.mark.parametrize(
    "form", ["imagefolder:images", "parquet:images.parquet", "fashion-clutter", "fashion-mnist"]
)
def test_data_sets_are_the_same_after_a_journey(form: str, elsewhere: Path) -> None:
    rows = []
    for label, name in enumerate(("one", "two")):
        (elsewhere / "images" / name).mkdir(parents=True)
        path = elsewhere / "images" / name / "a.png"
        Image.fromarray(
            np.random.default_rng(label).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        ).save(path)
        rows.append({"image": {"bytes": path.read_bytes(), "path": None}, "label": label})
    pd.DataFrame(rows).to_parquet("images.parquet")
    dataset = open_dataset(form)
    again = pickle.loads(pickle.dumps(dataset))
    assert again.manifest() == dataset.manifest()
    chosen = np.array([0, 1])
    assert np.array_equal(again.samples(chosen, 56), dataset.samples(chosen, 56))
    check_data(again, dataset.manifest()["hash"])


def test_other_files_at_the_same_path_are_noticed(elsewhere: Path) -> None:
    for name in ("one", "two"):
        (elsewhere / "images" / name).mkdir(parents=True)
        (elsewhere / "images" / name / "a.png").write_bytes(b"0" * 10)
    dataset = open_dataset("imagefolder:images")
    expected = dataset.manifest()["hash"]
    (elsewhere / "images" / "one" / "a.png").write_bytes(b"0" * 11)
    with pytest.raises(UserError, match="a worker has other files in 'imagefolder'"):
        check_data(dataset, expected)
    (elsewhere / "images" / "one" / "a.png").unlink()
    with pytest.raises(
        UserError, match=r"a worker cannot read .*images/one/a.png .*same path on every node"
    ):
        check_data(dataset, expected)
