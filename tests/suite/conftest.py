"""A small backbone and a data set that counts, for runs that take a moment."""

import errno
import io
import os
import pwd
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from backbones import BACKBONES
from backbones.dense.heads import LinearHead
from backbones.dense.segmenter import Segmenter
from backbones.models.sizes import MambaConfig, ViTConfig
from backbones.models.vim import Vim
from backbones.models.vit import ViT
from methods.base import SCHEDULES
from suite.cli.listing import ROWS, Kind
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.config.spec_file import build_spec
from suite.data import DATASETS, open_dataset
from suite.data.base import IGNORED, Dataset, Grid, Manifest, Request
from suite.stats.hits import Hits
from suite.store.results import Results, cut_shards
from suite.store.run_folder import Store
from suite.tries.files import file_name, write_tries
from suite.tries.settings import Setting
from suite.tries.table import Origin, Tries, Try
from tests.suite.made_up_ade20k import write_ade20k

SIDE = 40
SHARD = 20  # images, of 30: two shards of unequal sizes, each one batch


@pytest.fixture(autouse=True)
def _estimates_at_a_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.plan.run_time.ENOUGH", 0.0)


class Blots(Dataset):
    """Thirty images of noise in three classes; the object covers the top left cells, more of them by index.

    For segmentation as many rows as its number are of an image's class, the others of the first; one is ignored.
    """

    name = "blots"
    classes = ("one", "two", "three")
    mean = std = (128 / 255,) * 3
    decoded: ClassVar[Counter[int]] = Counter()

    def __init__(self, request: Request) -> None:
        self.split, self.task = request.split or "test", request.task
        self.labels = np.arange(30, dtype=np.int64) % 3

    def image(self, index: int) -> NDArray[np.uint8]:
        return np.random.default_rng(index).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)

    def sample(self, index: int, image_size: int) -> NDArray[np.float32]:
        assert image_size == SIDE
        self.decoded[index] += 1
        return (self.image(index).transpose(2, 0, 1) / np.float32(128) - 1).astype(np.float32)

    def foreground(self, index: int, grid: Grid) -> NDArray[np.bool_] | None:
        return np.arange(grid[0] * grid[1]).reshape(grid) <= index

    def truth(self, index: int, image_size: int) -> NDArray[np.uint8]:
        truth = np.zeros((image_size, image_size), np.uint8)
        truth[:index] = self.labels[index]
        truth[-1] = IGNORED
        return truth

    def identity(self) -> Manifest:
        return {"drawn": 1}


def vim_mini(**overrides: Any) -> Vim:
    """Four blocks over 10 x 10 patches."""
    settings = {
        "dim": 16,
        "depth": 4,
        "states": 4,
        "image_size": SIDE,
        "patch": 4,
        "stride": 4,
        "classes": 3,
    }
    return Vim("vim_mini", MambaConfig(**(settings | overrides)))


def vim_mini_linear(**overrides: Any) -> Segmenter:
    """A linear head on the tokens of `vim_mini`."""
    body = vim_mini(**overrides)
    shape = body.describe()
    return Segmenter("vim_mini_linear", body, (4,), LinearHead((shape.dim,), shape.classes))


def deit_mini(**overrides: Any) -> ViT:
    """Three layers of attention and MLP over 10 x 10 patches."""
    settings = {"dim": 16, "heads": 2, "layers": 3, "image_size": SIDE, "patch": 4, "classes": 3}
    return ViT("deit_mini", ViTConfig(**(settings | overrides)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products are done sooner by one thread than by several that wait for each other on shared cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def register(patch: pytest.MonkeyPatch) -> None:
    """Make `vim_mini`, `vim_mini_linear`, `deit_mini` and `blots` known for as long as `patch` lasts."""
    patch.setitem(BACKBONES._added, "vim_mini", vim_mini)
    patch.setitem(BACKBONES._added, "vim_mini_linear", vim_mini_linear)
    patch.setitem(BACKBONES._added, "deit_mini", deit_mini)
    patch.setitem(DATASETS._added, "blots", Blots)


def small_spec(**changed: Any) -> RunSpec:
    """A comparison on `vim_mini` and `blots`."""
    values: dict[str, Any] = {
        "backbones": ("vim_mini",),
        "checkpoint": "random",
        "data": "blots",
        "images": "all",
        "methods": ("mtr", "tome"),
        "budgets": (0.3, 0.5),
        "across_schedules": False,
        "seeds": 2,
        "batch_size": SHARD,
        "shard_size": SHARD,
        "gallery": 2,
        "device": "cpu",
        "threads": 1,
    }
    return build_spec(**(values | changed))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RunSpec]]:
    """A maker of specs on `vim_mini` and `blots`, registered for the test beside `deit_mini`."""
    register(monkeypatch)
    Blots.decoded.clear()
    yield small_spec
    Blots.decoded.clear()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A maker of finished runs of `small_spec`, each made once under its name; not to be written to."""
    runs: dict[tuple[str, str], Path] = {}

    def make(name: str, **changed: Any) -> Path:
        # Two tests may give one name to runs of other settings.
        key = name, repr(sorted(changed.items()))
        if key not in runs:
            folder = tmp_path_factory.mktemp("runs") / name
            with pytest.MonkeyPatch.context() as patch:
                register(patch)
                run_comparison(small_spec(**changed), folder, quiet=True)
            runs[key] = folder
        return runs[key]

    return make


def hand_made(
    picks: Mapping[str, Setting],
    backbone: str = "vim_mini",
    images: Sequence[int] = tuple(range(12)),
    budgets: Sequence[float] = (0.3, 0.5),
    without_pick: Sequence[str] = (),
    **changed: Any,
) -> Tries:
    """Tries that pick these settings, and know each of the methods under every schedule.

    Methods `without_pick` were tried under them, and have none.
    """
    chosen = np.array(images, np.int64)
    values: dict[str, Any] = {
        "backbone": backbone,
        "weights": None,
        "data": "blots",
        "split": "dev",
        "content": open_dataset("blots", "dev").content(chosen),
        "images": tuple(images),
        "budgets": tuple(budgets),
        "seed": 0,
        "sites": None,
        "flops_convention": "flops",
        "precision": "fp32",
        "device": "cpu",
    }
    right = np.ones((1, len(images)), bool)
    rows = []
    for method, pick in picks.items():
        for setting in dict.fromkeys([*(Setting(name, 0) for name in SCHEDULES), pick]):
            for budget in budgets:
                hits = Hits(method, right, chosen)
                rows.append(Try(method, setting, budget, budget, 9, hits))
    picked = {name: pick for name, pick in picks.items() if name not in without_pick}
    return Tries(Origin(**(values | changed)), tuple(rows), picked)


@pytest.fixture
def tables(tmp_path: Path) -> Callable[..., Path]:
    """A maker of a folder with one table of tries (see `hand_made`)."""

    def make(picks: Mapping[str, Setting], **changed: Any) -> Path:
        folder = tmp_path / f"tries-{len(list(tmp_path.iterdir()))}"
        tries = hand_made(picks, **changed)
        write_tries(tries, folder / file_name(tries.backbone))
        return folder

    return make


HOMES = (
    *("none", "missing", "file", "folder", "foreign letters", "cache is a file"),
    *("read-only", "full"),
)


def place(draw: random.Random, patch: pytest.MonkeyPatch, folder: Path) -> str:
    """Draw states of the home folder and of TMPDIR, as `HOMES`; returns them in words."""
    home, temporary = draw.choice(HOMES), draw.choice(["", "/no/such/folder", "/dev/null"])
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "TMPDIR", "HOME"):
        patch.delenv(name, raising=False)
    if home == "none":
        patch.setattr(pwd, "getpwuid", {}.__getitem__)
    else:
        place = folder / ("дом 猫" if home == "foreign letters" else home)
        if home == "read-only":
            place = Path("/proc/self")  # for the superuser, too
        elif home == "file":
            place.touch()
        elif home != "missing":
            place.mkdir(exist_ok=True)
        if home == "cache is a file":
            (place / ".cache").touch()
        if home == "full":
            fill(patch, place)
        patch.setenv("HOME", str(place))
    if temporary:
        patch.setenv("TMPDIR", temporary)
    return f"home: {home}, TMPDIR: {temporary}"


def fill(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let nothing more be written below `folder`, as on a full disk."""

    def refusing(plain: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def opening(path: Any, *others: Any, **named: Any) -> Any:
            below = isinstance(path, str | Path) and Path(path).is_relative_to(folder)
            if below and writes(*others, **named):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return plain(path, *others, **named)

        return opening

    def by_mode(mode: Any = "r", *_: Any, **__: Any) -> bool:
        return str(mode)[0] in "wax"

    def by_flags(flags: int = 0, *_: Any, **__: Any) -> bool:
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    patch.setattr("builtins.open", refusing(open, by_mode))
    patch.setattr(io, "open", refusing(io.open, by_mode))
    patch.setattr(os, "open", refusing(os.open, by_flags))
    patch.setattr(os, "mkdir", refusing(os.mkdir, lambda *_, **__: True))


@pytest.fixture
def placed() -> Callable[[random.Random, pytest.MonkeyPatch, Path], str]:
    """What draws states of the home folder and of TMPDIR."""
    return place


@pytest.fixture
def decoded() -> Counter[int]:
    """How often each image of `blots` was decoded."""
    return Blots.decoded


@pytest.fixture
def content() -> Callable[[Path], dict[str, bytes]]:
    """What the files of a folder hold."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            str(file.relative_to(folder)): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }

    return read


ROWS_OF: dict[Kind, list[dict[str, Any]]] = {}


@pytest.fixture
def listed_once(monkeypatch: pytest.MonkeyPatch) -> dict[Kind, list[dict[str, Any]]]:
    """The rows of each list, made once for all tests of how they are printed."""

    def once(kind: Kind, rows: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        if kind not in ROWS_OF:
            ROWS_OF[kind] = rows()
        return ROWS_OF[kind]

    for kind, rows in list(ROWS.items()):
        monkeypatch.setitem(ROWS, kind, partial(once, kind, rows))
    return ROWS_OF


Film = NDArray[np.uint8]


def film(seed: int, count: int = 12, height: int = 32, width: int = 48) -> Film:
    """Frames (N, H, W, 3) of smooth colours, each unlike the others."""
    row, column = np.mgrid[0:height, 0:width]
    shades = [
        [row * 2 + seed * 17, column * 2 + i * 20, np.full_like(row, i * 20)] for i in range(count)
    ]
    return (np.array(shades) % 256).astype(np.uint8).transpose(0, 2, 3, 1)


def store_film(
    path: Path, frames: Film, codec: str = "ffv1", pixels: str = "bgr0", **options: str
) -> Path:
    """Encode `frames` at `path`; the default codec loses nothing."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def store_frames(folder: Path, frames: Film) -> Path:
    """Put `frames` into `folder` as frame_1.png and so on, not padded with zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(folder / f"frame_{number}.png")
    return folder


@pytest.fixture(scope="session")
def make_film() -> Callable[..., Film]:
    """`film`."""
    return film


@pytest.fixture(scope="session")
def put_film() -> Callable[..., Path]:
    """`store_film`."""
    return store_film


@pytest.fixture(scope="session")
def put_frames() -> Callable[..., Path]:
    """`store_frames`."""
    return store_frames


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `video` and `frames`, each two classes of three clips with the same pixels."""
    root = tmp_path_factory.mktemp("films")
    for number, (name, clip) in enumerate(
        (name, clip) for name in ("jump", "run") for clip in ("a", "b", "c")
    ):
        frames = film(number, count=9 + number)
        store_film(root / "video" / name / f"{clip}.mkv", frames)
        store_frames(root / "frames" / name / clip, frames)
    return root


@pytest.fixture
def as_tries() -> Callable[[Path, Path], Path]:
    """A maker of the table of tries that has the answers of a run across schedules on `blots`."""

    def make(folder: Path, path: Path) -> Path:
        rows = []
        results = Results(Store(folder), cut_shards(np.arange(30), SHARD))
        for row in pd.read_parquet(folder / "analyses" / "schedule_accuracy.parquet").itertuples():
            setting = Setting(row.schedule, int(row.window))
            if row.reason:
                rows.append(Try(row.label, setting, row.budget, reason=row.reason))
            else:
                images, right = results.hits(row.keys)
                hits = Hits(row.label, right[None], images)
                rows.append(Try(row.label, setting, row.budget, row.removed, 5, hits))
        hits = Hits("mtr", np.ones((1, 30), bool), np.arange(30))
        rows.append(Try("mtr", Setting("rising", 4), 0.4, 0.4, 5, hits))
        content = str(DATASETS["blots"](Request("test")).content(np.arange(30)))
        origin = Origin(
            "vim_mini", None, "blots", "test", content, tuple(range(30)), (0.4,), 0, None,
            "flops", "fp32", "cpu",
        )  # fmt: skip
        write_tries(Tries(origin, tuple(rows), {"mtr": Setting("rising", 4)}), path)
        return path

    return make


@pytest.fixture
def ade20k(tmp_path: Path) -> Path:
    """A made-up ADE20K of 20 images."""
    return write_ade20k(tmp_path / "ADEChallengeData2016")
