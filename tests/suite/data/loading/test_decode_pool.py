"""Worker processes: what they decode is what a thread decodes, and nothing of them is left."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from backbones.common.errors import UserError
from suite.data import open_dataset
from suite.data.base import Dataset
from suite.data.loading import decode_pool as crews
from suite.data.loading.decode_pool import Crew, workers_for
from suite.data.loading.loader import batches

COUNT, SIDE = 40, 24


def pixels(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (30, 34, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for index in range(COUNT):
        path = root / "ab"[index % 2] / f"{index:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels(index)).save(path)
    return root


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def png(index: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels(index)).save(buffer, "PNG")
        return buffer.getvalue()

    path = tmp_path_factory.mktemp("table") / "all.parquet"
    table = pa.table(
        {
            "image": [png(index) for index in range(COUNT)],
            "label": [index % 2 for index in range(COUNT)],
        }
    )
    pq.write_table(table, path, row_group_size=16)
    return path


def damaged(folder: Path, target: Path) -> Dataset:
    """The first pictures of `folder`, one of them no picture."""
    for name in ("a/000.png", "a/002.png", "b/001.png"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes((folder / name).read_bytes())
    (target / "a/002.png").write_bytes(b"no picture")
    return open_dataset(f"imagefolder:{target}")


@pytest.mark.parametrize("kind", ["imagefolder", "parquet"])
def test_processes_give_what_a_thread_gives(kind: str, folder: Path, parquet: Path) -> None:
    data = open_dataset(f"{kind}:{folder if kind == 'imagefolder' else parquet}")
    wanted = list(batches(data, np.arange(COUNT), 7, SIDE, workers=0))
    crew = Crew(data, 2)
    try:
        assert crew.wait_until_started()
        for batch in wanted:
            samples, foreground = crew.submit(batch.indices.numpy(), SIDE, (2, 2)).result()
            assert torch.equal(torch.from_numpy(samples), batch.images)
            assert foreground is None
        found = list(batches(data, np.arange(COUNT), 7, SIDE, workers=1))
    finally:
        crew.leave()
    for one, other in zip(found, wanted, strict=True):
        assert all(
            torch.equal(getattr(one, name), getattr(other, name))
            for name in ("indices", "images", "labels")
        )


def test_an_image_that_is_none_is_the_same_one_line_from_a_process(
    folder: Path, tmp_path: Path
) -> None:
    data = damaged(folder, tmp_path)
    crew = Crew(data, 1)
    try:
        assert crew.wait_until_started()
        with pytest.raises(UserError, match="is not an image of a known kind") as found:
            crew.submit(np.arange(3), SIDE, None).result()
        assert "\n" not in str(found.value)
        assert crew.submit(np.array([0, 2]), SIDE, None).result()[0].shape == (2, 3, SIDE, SIDE)
    finally:
        crew.leave()


def test_when_a_process_dies_the_thread_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = open_dataset(f"imagefolder:{folder}")
    crew = Crew(data, 1)
    try:
        assert crew.wait_until_started()
        assert crew._processes is not None
        (process,) = crew._processes._processes.values()
        os.kill(process.pid, signal.SIGKILL)
        wanted = data.samples(np.arange(6), SIDE)
        for _ in range(2):
            assert np.array_equal(crew.submit(np.arange(6), SIDE, None).result()[0], wanted)
        assert capsys.readouterr().err.count("a process that decodes images died") == 1
    finally:
        crew.leave()


class Local(Dataset):
    """A data set that cannot be sent to another process."""

    name, split, classes, stored = "local", "all", ("a",), True

    def __init__(self) -> None:
        self.labels = np.zeros(9, np.int64)
        self.fill = lambda index: float(index)

    def image(self, index: int) -> np.ndarray:
        raise NotImplementedError

    def sample(self, index: int, image_size: int) -> np.ndarray:
        return np.full((3, image_size, image_size), self.fill(index), np.float32)

    def identity(self) -> dict[str, object]:
        return {}


def test_a_data_set_that_cannot_be_sent_is_decoded_by_the_thread() -> None:
    crew = Crew(Local(), 1)
    try:
        assert not crew.wait_until_started()
        assert crew.submit(np.arange(3), 2, None).result()[0][:, 0, 0, 0].tolist() == [0, 1, 2]
    finally:
        crew.leave()


def test_processes_are_for_many_images_that_must_be_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, drawn = open_dataset(f"imagefolder:{folder}"), open_dataset("fashion-clutter")
    assert workers_for(pictures, crews.MANY - 1) == workers_for(drawn, 10**6) == 0
    for cores, wanted in ((1, 1), (2, 1), (8, 4), (64, crews.MOST)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert workers_for(pictures, crews.MANY) == wanted
    script = ModuleType("__main__")
    for file, spec, wanted in (
        ("/a/mine.py", None, 0),
        ("/bin/mamba-token-suite", None, crews.MOST),
        (None, None, 8),
    ):
        script.__file__, script.__spec__ = file, spec  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, "__main__", script)
        assert workers_for(pictures, crews.MANY) == wanted


HANGING = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins without
import numpy as np
from suite.data import open_dataset
from suite.data.loading.decode_pool import Crew
crew = Crew(open_dataset("imagefolder:" + sys.argv[1]), 1)
assert crew.wait_until_started()
print("ready", *crew._processes._processes, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_parent(how: signal.Signals, folder: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", HANGING, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    word, *numbers = parent.stdout.readline().split()
    assert word == "ready"
    workers = [psutil.Process(int(number)) for number in numbers]
    parent.send_signal(how)
    parent.wait(60)
    deadline = time.monotonic() + 60
    while any(
        worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
