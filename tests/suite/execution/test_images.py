"""An outcome belongs to the bytes of its image: what was changed, mended, moved or taken out."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from backbones.common.errors import UserError
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.merge import merge

Specs = Callable[..., RunSpec]
CLASSES = ("a", "b", "c")
pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def spec(small: Specs, tmp_path: Path) -> Specs:
    """A maker of quick specs on the folder `data`."""

    def make(**changed: Any) -> RunSpec:
        values = {"data": f"imagefolder:{tmp_path / 'data'}", "shard_size": 5, "gallery": 0}
        quick = {"methods": ("random",), "budgets": (0.3,), "baselines": False, "seeds": 1}
        return small(**(values | quick | changed))

    return make


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three classes of four uncompressed pictures, all files of one size, some hours old."""
    folder = tmp_path / "data"
    for number in range(12):
        path = folder / CLASSES[number // 4] / f"{number:02}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (44, 44, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the images that cells were evaluated on, in order."""
    from suite.execution import shards

    numbers: list[int] = []
    plain = shards.evaluate_shard

    def counting(prepared: Any, backbone: str, images: Any, *others: Any) -> Any:
        numbers.extend(images.tolist())
        return plain(prepared, backbone, images, *others)

    monkeypatch.setattr(shards, "evaluate_shard", counting)
    return numbers


@pytest.fixture(autouse=True)
def _old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times tell files apart at once, not only after the two seconds of the coarsest system."""
    monkeypatch.setattr("suite.data.loading.decode.RESOLUTION", 0)


def run(spec: RunSpec, folder: Path, **options: Any) -> pd.DataFrame:
    """The outcomes of all cells after a run in `folder`."""
    result = run_comparison(spec, folder, quiet=True, **options)
    assert not result.failures
    frames = []
    for record in result.records:
        for path in sorted((folder / "shards" / record.key).iterdir()):
            frames.append(pd.read_parquet(path).assign(method=record.method))
    return pd.concat(frames, ignore_index=True)


def exchange(one: Path, other: Path) -> None:
    """Exchange the content of two files, which keep their names and times of change."""
    times = [(path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in (one, other)]
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])
    os.utime(one, ns=times[0])
    os.utime(other, ns=times[1])


def test_a_finished_run_never_answers_for_exchanged_files(
    spec: Specs, data: Path, tmp_path: Path
) -> None:
    run(spec(), tmp_path / "run")
    exchange(data / "a" / "00.bmp", data / "c" / "11.bmp")
    again = run(spec(), tmp_path / "run")
    pd.testing.assert_frame_equal(again, run(spec(), tmp_path / "fresh"))
    exchange(data / "a" / "00.bmp", data / "c" / "11.bmp")
    run(spec(), tmp_path / "run")
    with pytest.raises(UserError, match=r"2 of 12 images, such as number 0, were another file"):
        merge([tmp_path / "run", tmp_path / "fresh"])


def other_pixel(data: Path) -> None:
    content = bytearray((data / "b" / "05.bmp").read_bytes())
    content[-1] ^= 1
    (data / "b" / "05.bmp").write_bytes(content)


def other_class(data: Path) -> None:
    (data / "a" / "02.bmp").rename(data / "b" / "02.bmp")


def one_more(data: Path) -> None:
    shutil.copy(data / "a" / "02.bmp", data / "b" / "02.bmp")


def one_less(data: Path) -> None:
    (data / "a" / "02.bmp").unlink()


def other_names(data: Path) -> None:
    for path in list(data.glob("*/*.bmp")):
        path.rename(path.with_stem(f"new{path.stem}"))


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (other_pixel, 5),
        pytest.param(one_more, 1, marks=pytest.mark.slow),
        (other_names, 0),
        pytest.param(other_class, 4 + 1, marks=pytest.mark.slow),
        pytest.param(one_less, 4, marks=pytest.mark.slow),
    ],
)
def test_what_changed_is_evaluated_again_and_answers_right(
    spec: Specs,
    data: Path,
    tmp_path: Path,
    evaluated: list[int],
    change: Callable[[Path], None],
    again: int,
) -> None:
    """By class and content, a picture has the outcomes of a fresh run; of dense cells to the bit."""
    run(spec(), tmp_path / "run")
    change(data)
    evaluated.clear()
    outcomes = run(spec(), tmp_path / "run")
    # A shard that holds something that is no longer there is evaluated anew.
    assert len(evaluated) == again
    fresh = run(spec(), tmp_path / "fresh")
    columns = ["label_true", "loss", "margin", "prediction"]
    dense = [part[part.method == "none"][columns] for part in (outcomes, fresh)]
    one, two = (part.sort_values(columns, ignore_index=True) for part in dense)
    pd.testing.assert_frame_equal(one, two)


def test_a_copy_elsewhere_answers_and_merges(
    spec: Specs, data: Path, tmp_path: Path, evaluated: list[int]
) -> None:
    run(spec(), tmp_path / "run")
    shutil.copytree(data, tmp_path / "copy", copy_function=shutil.copyfile)
    run(spec(data=f"imagefolder:{tmp_path / 'copy'}", methods=("stride",)), tmp_path / "other")
    shutil.rmtree(data)
    (tmp_path / "copy").rename(data)
    evaluated.clear()
    run(spec(), tmp_path / "run")
    assert evaluated == []
    _, notes = merge([tmp_path / "run", tmp_path / "other"])
    assert notes == []


def test_a_copy_elsewhere_answers_under_its_own_path(
    spec: Specs, data: Path, tmp_path: Path, evaluated: list[int]
) -> None:
    copy = tmp_path / "copy"
    first = run(spec(), tmp_path / "run")
    shutil.copytree(data, copy, copy_function=shutil.copyfile)
    evaluated.clear()
    elsewhere = spec(data=f"imagefolder:{copy}")
    pd.testing.assert_frame_equal(run(elsewhere, tmp_path / "run"), first)
    assert evaluated == []
    exchange(copy / "a" / "00.bmp", copy / "c" / "11.bmp")
    changes = [elsewhere, spec(data=f"imagefolder:{copy}[order=natural]")]
    for other, words in zip(changes, ("holds other images", "other settings"), strict=True):
        with pytest.raises(UserError, match=words):
            run(other, tmp_path / "run")
    (copy / "a" / "00.bmp").unlink()
    with pytest.raises(UserError, match="holds other images"):
        run(elsewhere, tmp_path / "run")
    assert evaluated == []
    pd.testing.assert_frame_equal(run(spec(), tmp_path / "run"), first)


def write_rows(path: Path, data: Path, order: list[int]) -> None:
    """Write the pictures of `data` as rows of a Parquet file, two rows a group."""
    files = sorted(data.glob("*/*.bmp"))
    contents = [{"bytes": files[place].read_bytes(), "path": None} for place in order]
    labels = [CLASSES.index(files[place].parent.name) for place in order]
    table = pa.table({"image": contents, "label": labels})
    pq.write_table(table, path, row_group_size=2)


@pytest.mark.parametrize(
    ("order", "again"),
    [
        pytest.param(list(range(12)), 0, marks=pytest.mark.slow),  # written anew
        pytest.param([11, *range(1, 11), 0], 0, marks=pytest.mark.slow),  # two rows exchanged
        ([0, 1, *range(3, 12)], 4),  # one taken out: the others of its shard
        pytest.param(
            [0, 1, 3, *range(3, 12)], 5, marks=pytest.mark.slow
        ),  # one replaced: its shard
        pytest.param([5, *range(12)], 1, marks=pytest.mark.slow),  # one more, before the others
    ],
)
def test_rows_of_a_table_are_known_by_what_they_hold(
    spec: Specs, data: Path, tmp_path: Path, evaluated: list[int], order: list[int], again: int
) -> None:
    path = tmp_path / "rows.parquet"
    write_rows(path, data, list(range(12)))
    rows = spec(data=f"parquet:{path}")
    run(rows, tmp_path / "run")
    write_rows(path, data, order)
    evaluated.clear()
    outcomes = run(rows, tmp_path / "run")
    assert len(evaluated) == again
    evaluated.clear()
    assert len(run(rows, tmp_path / "run")) == len(outcomes)
    assert evaluated == []
    fresh = run(rows, tmp_path / "fresh")
    columns = ["label_true", "loss", "margin", "prediction"]
    dense = [part[part.method == "none"][columns] for part in (outcomes, fresh)]
    one, two = (part.sort_values(columns, ignore_index=True) for part in dense)
    pd.testing.assert_frame_equal(one, two)


def test_unchanged_files_are_not_read_again(
    spec: Specs, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "a" / "about.txt").write_text("no image")
    first = run(spec(), tmp_path / "run")
    note = "passed over as no images of a class: 1 (1 .txt)"
    for name in ("dataset.json", "analyses/headline.json"):
        assert note in (tmp_path / "run" / name).read_text()

    def refuse(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr("suite.data.loading.preprocess.read_stamped", refuse)
    monkeypatch.setattr("suite.data.images.imagefolder.glance", refuse)
    pd.testing.assert_frame_equal(run(spec(), tmp_path / "run"), first)


def test_damaged_files_cost_only_themselves(
    spec: Specs, data: Path, tmp_path: Path, evaluated: list[int]
) -> None:
    whole = run(spec(), tmp_path / "whole")
    contents = {name: (data / name).read_bytes() for name in ("a/01.bmp", "b/06.bmp", "c/10.bmp")}
    (data / "a/01.bmp").write_bytes(b"")
    (data / "b/06.bmp").write_bytes(contents["b/06.bmp"][:3000])
    (data / "c/10.bmp").write_bytes(b"no picture")
    with pytest.raises(
        UserError, match=r"3 of 12 images are damaged, go on .* --skip-damaged"
    ) as error:
        run(spec(), tmp_path / "run")
    assert all(name in str(error.value) for name in contents)
    assert not (tmp_path / "run").exists()
    skipped = run(spec(), tmp_path / "run", skip_damaged=True)
    assert sorted(set(range(12)) - set(skipped.image)) == [1, 6, 10]
    # What a report shows names the files below the folder of the data, and no user's folders.
    headline = json.loads((tmp_path / "run" / "analyses" / "headline.json").read_text())
    note = next(text for text in headline["paragraphs"] if "left out of 12 images" in text)
    left_out = json.loads((tmp_path / "run" / "dataset.json").read_text())["left_out"]
    assert [text.split()[0] for text in left_out] == sorted(contents)
    assert all(text in note for text in left_out)
    assert str(data) not in note
    for name in ("a/01.bmp", "b/06.bmp"):
        (data / name).write_bytes(contents[name])
    (data / "c/10.bmp").unlink()  # taken out, so that the numbers of those behind would shift
    evaluated.clear()
    mended = run(spec(), tmp_path / "run")
    assert evaluated == [1, 6]
    expected = whole[whole.image != 10].reset_index(drop=True)
    pd.testing.assert_frame_equal(mended, expected)


def test_damage_that_only_decoding_shows_is_listed_whole(
    spec: Specs, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.data.images.imagefolder.glance", lambda path: None)
    good = (data / "a/01.bmp").read_bytes()
    for name in ("a/01.bmp", "c/09.bmp", "c/11.bmp"):
        (data / name).write_bytes(good[:2000])
    with pytest.raises(UserError, match=r"3 of 12 .*01\.bmp.*09\.bmp.*11\.bmp"):
        run(spec(), tmp_path / "run")
    assert len(run(spec(), tmp_path / "run", skip_damaged=True)) == 2 * 9
