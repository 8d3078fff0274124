"""Worker processes: what they decode is what a thread decodes, and nothing of them is left."""

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from suite.data import open_dataset
from suite.data.base import Dataset, Grid
from suite.data.loading import loader
from suite.data.loading.loader import Reader, batches, workers_for

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


@pytest.fixture
def reader() -> Iterator[Callable[[Dataset, int], Reader]]:
    """Makes readers, and closes them at the end of a test."""
    readers: list[Reader] = []

    def make(data: Dataset, workers: int) -> Reader:
        readers.append(Reader(data, workers))
        return readers[-1]

    yield make
    for each in readers:
        each.close()


def started(reader: Reader) -> bool:
    """Wait for the workers of `reader`; whether they decode from now on."""
    reader.starting.join()
    return reader._loader is not None


def read(
    reader: Reader, indices: Sequence[int] | np.ndarray, size: int = SIDE, grid: Grid | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    reader.follow([(np.asarray(indices, np.int64), size, grid)])
    decoded = reader.next()
    return decoded.samples, decoded.foreground


@pytest.mark.parametrize("kind", ["imagefolder", "parquet"])
def test_processes_give_what_a_thread_gives(
    kind: str, folder: Path, parquet: Path, reader: Callable[[Dataset, int], Reader]
) -> None:
    data = open_dataset(f"{kind}:{folder if kind == 'imagefolder' else parquet}")
    expected = list(batches(data, np.arange(COUNT), 7, SIDE, workers=0))
    pair = reader(data, 2)
    assert started(pair)
    for batch in expected:
        samples, foreground = read(pair, batch.indices.numpy(), grid=(2, 2))
        assert torch.equal(torch.from_numpy(samples), batch.images)
        assert foreground is None
    single = list(batches(data, np.arange(COUNT), 7, SIDE, workers=1))
    for one, other in zip(single, expected, strict=True):
        for name in ("indices", "images", "labels"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_an_image_that_is_none_is_the_same_one_line_from_a_process(
    folder: Path, tmp_path: Path, reader: Callable[[Dataset, int], Reader]
) -> None:
    worker = reader(damaged(folder, tmp_path), 1)
    assert started(worker)
    worker.follow([((0, 1, 2), SIDE, None)])
    decoded = worker.next()
    ((image, problem),) = decoded.damaged.items()
    assert (image, decoded.indices.tolist(), sorted(decoded.seen)) == (1, [0, 2], [0, 2])
    assert "is not an image of a known kind" in problem
    assert "\n" not in problem
    assert read(worker, [0, 2])[0].shape == (2, 3, SIDE, SIDE)


def test_when_a_process_dies_the_thread_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str], reader: Callable[[Dataset, int], Reader]
) -> None:
    data = open_dataset(f"imagefolder:{folder}")
    before = {process.pid for process in multiprocessing.active_children()}
    worker = reader(data, 1)
    assert started(worker)
    (pid,) = {process.pid for process in multiprocessing.active_children()} - before
    assert pid is not None
    expected = data.samples(np.arange(6), SIDE)
    os.kill(pid, signal.SIGINT)  # as by Ctrl-C, which is for the parent alone
    assert np.array_equal(read(worker, range(6))[0], expected)
    assert not capsys.readouterr().err
    os.kill(pid, signal.SIGKILL)
    for _ in range(2):
        assert np.array_equal(read(worker, range(6))[0], expected)
    assert capsys.readouterr().err.count("a process that decodes images died") == 1


def test_workers_stay_for_the_next_slices(folder: Path) -> None:
    data = open_dataset(f"imagefolder:{folder}")
    order = np.arange(COUNT)
    seen: list[int] = []
    workers: set[int | None] = set()
    for start in range(0, COUNT, 10):
        part, rest = order[start : start + 10], order[start + 10 :]
        for batch in batches(data, part, 4, SIDE, following=rest, workers=1):
            seen += batch.indices.tolist()
            assert loader._waiting is None
            if (process := multiprocessing.active_children()) and len(seen) > 10:
                workers |= {each.pid for each in process}
        assert (loader._waiting is None) == (not len(rest))
        if loader._waiting is not None:
            assert started(loader._waiting)
    assert seen == order.tolist()
    assert len(workers) == 1
    assert not multiprocessing.active_children()


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


@pytest.mark.filterwarnings("ignore:Got pickle error")
def test_a_data_set_that_cannot_be_sent_is_decoded_by_the_thread(
    reader: Callable[[Dataset, int], Reader],
) -> None:
    worker = reader(Local(), 1)
    assert not started(worker)
    assert read(worker, range(3), 2)[0][:, 0, 0, 0].tolist() == [0, 1, 2]


def test_processes_are_for_many_images_that_must_be_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, drawn = open_dataset(f"imagefolder:{folder}"), open_dataset("fashion-clutter")
    assert workers_for(pictures, loader.MIN_IMAGES - 1) == workers_for(drawn, 10**6) == 0
    for cores, number in ((1, 1), (2, 1), (8, 4), (64, loader.MAX_WORKERS)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert workers_for(pictures, loader.MIN_IMAGES) == number
    script = ModuleType("__main__")
    for file, spec, number in (
        ("/a/mine.py", None, 0),
        ("/bin/mamba-token-suite", None, loader.MAX_WORKERS),
        (None, None, 8),
    ):
        script.__file__, script.__spec__ = file, spec  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, "__main__", script)
        assert workers_for(pictures, loader.MIN_IMAGES) == number


HANGING = """
import multiprocessing, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins without
import numpy as np
from suite.data import open_dataset
from suite.data.loading.loader import Reader
reader = Reader(open_dataset("imagefolder:" + sys.argv[1]), 1)
reader.starting.join()
assert reader._loader is not None
print("ready", *(process.pid for process in multiprocessing.active_children()), flush=True)
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
