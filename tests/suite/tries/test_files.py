"""A table of tries survives the way to disk and back, and answers for its images alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.stats.hits import Hits
from suite.stats.metric import TOP1
from suite.stats.overlap import Overlaps
from suite.tries import bundled as bundles
from suite.tries.files import file_name, open_tries, read_tries, write_tries
from suite.tries.settings import Setting
from suite.tries.table import Origin, Tries, Try

STAGED, RATIO = Setting("staged", 4), Setting("constant-ratio", 0)
IMAGES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31)
RIGHT = np.array([True, False] * 5 + [True])


def hits(right: NDArray[np.bool_]) -> Hits:
    return Hits("mtr", right[None], np.array(IMAGES))


def tries(**changed: Any) -> Tries:
    values: dict[str, Any] = {
        "backbone": "vim_mini",
        "weights": "ab" * 32,
        "data": "blots",
        "split": "dev",
        "content": "cd",
        "images": IMAGES,
        "budgets": (0.2, 0.4),
        "seed": 0,
        "sites": None,
        "flops_convention": "flops",
        "precision": "fp32",
        "device": "cpu",
    }
    rows = (
        Try("mtr", RATIO, 0.2, 0.2001, 14, hits(RIGHT)),
        Try("mtr", RATIO, 0.4, reason="cannot remove 40 % of the work"),
        Try("mtr", STAGED, 0.2, 0.1999, 15, hits(~RIGHT)),
        Try("mtr", STAGED, 0.4, 0.4, 31, hits(np.zeros(11, bool))),
    )
    return Tries(Origin(**(values | changed)), rows, {"mtr": STAGED})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tries.parquet"
    write_tries(tries(), path)
    read = read_tries(path)
    assert read.origin == tries().origin
    assert read.rows == tries().rows
    assert read.images.tolist() == list(IMAGES)
    assert (read.split, read.weights, read.data) == ("dev", "ab" * 32, "blots")
    assert read.methods == ("mtr",)
    assert read.pick("mtr") == STAGED
    assert read.pick("tome") is None
    staged = read.outcomes(read.find("mtr", STAGED, 0.2), "mtr")
    assert staged is not None
    assert staged.removed == 0.1999
    right = read.outcomes(read.find("mtr", RATIO, 0.2), "mtr")
    assert isinstance(right, Hits)
    assert right.correct.tolist() == [RIGHT.tolist()]
    assert right.images.tolist() == list(IMAGES)
    assert read.outcomes(read.find("mtr", RATIO, 0.4), "mtr") is None
    assert read.outcomes(read.find("mtr", RATIO, 0.3), "mtr") is None
    unmet = read.find("mtr", RATIO, 0.4)
    assert unmet is not None
    assert (unmet.accuracy, unmet.reason) == (None, "cannot remove 40 % of the work")
    write_tries(read, tmp_path / "again.parquet")
    assert path.read_bytes() == (tmp_path / "again.parquet").read_bytes()


def test_other_programs_read_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "tries.parquet"
    write_tries(tries(), path)
    frame = pd.read_parquet(path)
    assert frame.schedule.tolist() == ["constant-ratio"] * 2 + ["staged"] * 2
    assert frame.picked.tolist() == [False, False, True, True]
    assert frame.top1.tolist()[::2] == pytest.approx([6 / 11, 5 / 11])
    # eleven images in two bytes, the first one in the highest bit
    assert frame.correct[0] == bytes([0b10101010, 0b10100000])


def test_pixels_of_a_segmenter_are_kept_image_by_image(tmp_path: Path) -> None:
    # More pixels of a class than two bytes can count.
    pixels = np.random.default_rng(0).integers(0, 90_000, (1, len(IMAGES), 2, 3))
    pixels[..., 1, :] += pixels[..., 0, :]
    overlaps = Overlaps("mtr", pixels, np.array(IMAGES))
    rows = (
        Try("mtr", RATIO, 0.2, reason="no"),
        Try("mtr", STAGED, 0.2, 0.1999, 15, overlaps),
    )
    path = tmp_path / "tries.parquet"
    write_tries(Tries(tries().origin, rows, {"mtr": STAGED}), path)
    frame = pd.read_parquet(path)
    assert "top1" not in frame
    # Of each class the ratio of the sums, and their mean.
    both, either = pixels[0].sum(axis=0)
    assert frame.miou[1] == pytest.approx(
        np.mean([b / e for b, e in zip(both, either, strict=True)])
    )
    read = read_tries(path)
    assert read.rows == rows
    found = read.outcomes(read.find("mtr", STAGED, 0.2), "MTR")
    assert isinstance(found, Overlaps)
    assert found.pixels.tolist() == pixels.tolist()
    assert (found.label, found.removed) == ("MTR", 0.1999)


def test_a_folder_has_a_file_a_backbone(tmp_path: Path) -> None:
    for backbone in ("vim_mini", "vim_mini[image_size=80,patch=8]"):
        write_tries(tries(backbone=backbone), tmp_path / file_name(backbone))
    assert {file.name for file in tmp_path.iterdir()} == {
        "tries-vim_mini.parquet",
        "tries-vim_mini_image_size_80_patch_8.parquet",
    }
    backbones = {table.backbone for table in open_tries(tmp_path)}
    assert backbones == {"vim_mini", "vim_mini[image_size=80,patch=8]"}
    assert len(open_tries(tmp_path / "tries-vim_mini.parquet")) == 1


def spoil(path: Path, how: str) -> None:
    whole = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "text":
        path.write_text("method,top1\n")
    elif how == "another table":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    elif how == "columns":
        pq.write_table(pq.read_table(path).drop_columns(["top1"]), path)
    elif how == "images":
        write_tries(tries(images=IMAGES[:5]), path)
        metadata = pq.read_schema(path).metadata
        write_tries(tries(), path)
        pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)


@pytest.mark.parametrize("how", ["missing", "cut", "text", "another table", "columns", "images"])
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, how: str) -> None:
    path = tmp_path / "tries.parquet"
    write_tries(tries(), path)
    spoil(path, how)
    with pytest.raises(UserError, match="python -m suite tune") as refused:
        open_tries(path)
    assert str(path) in str(refused.value)


def test_a_folder_without_tables_and_another_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no table of tries"):
        open_tries(tmp_path)
    write_tries(tries(protocol=99), tmp_path / "tries.parquet")
    with pytest.raises(UserError, match=r"another version \(protocol 99"):
        open_tries(tmp_path / "tries.parquet")


@pytest.mark.parametrize(
    "changed",
    [
        {"backbone": "vim_mini[image_size=80]"},
        {"weights": None},
        {"weights": "ef" * 32},
        {"data": "fashion-mnist"},
        {"content": "another"},
    ],
)
def test_bundled_tries_answer_for_their_weights_and_images_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    monkeypatch.setattr(bundles, "TABLES", tmp_path)
    write_tries(tries(**changed), tmp_path / "first.parquet")
    asked = []

    def content(split: str, images: Any) -> str:
        asked.append((split, images.tolist()))
        return "cd"

    def found() -> Tries | None:
        return bundles.bundled("vim_mini", "ab" * 32, "blots", content)

    assert found() is None
    assert len(asked) == ("content" in changed)  # images are read only where all else fits
    write_tries(tries(), tmp_path / "second.parquet")
    table = found()
    assert table is not None
    assert table.pick("mtr") == STAGED
    assert asked[-1] == ("dev", list(IMAGES))


def test_where_the_images_are_not_there_the_name_of_the_data_must_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "TABLES", tmp_path)
    write_tries(tries(), tmp_path / "only.parquet")
    weights = "ab" * 32
    assert bundles.bundled("vim_mini", weights, "blots", lambda split, images: None) is not None
    assert bundles.bundled("vim_mini", weights, "blots", lambda split, images: "") is None
    assert bundles.bundled("vim_mini", weights, "others", lambda split, images: None) is None


def test_the_bundled_tables_are_of_this_version() -> None:
    for path in bundles.tables():
        table = read_tries(path)
        assert table.pick("grid-pool" if table.metric == TOP1 else "tome") is not None
