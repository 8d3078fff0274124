"""Segmentation as a run: from the settings to tables, merged reports, and a page."""

import io
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

import reports
import suite
from backbones import create_model
from backbones.common.errors import UserError
from reports import export
from reports.aggregate import audit
from reports.figures.canvas import WIDTH
from reports.figures.segmentation import segmented_figure
from reports.report_data import ReportData
from reports.run import load
from reports.sections import needed, sections
from reports.tables import cells_csv, results_csv
from suite.cli import run as run_cli
from suite.config.run_spec import NOT_TRAINED, RunSpec
from suite.data import check_labels, open_dataset
from suite.data.base import IGNORED
from suite.merge.merge import merge
from suite.plan.loading import check_task
from suite.plan.prepare import prepare
from suite.training.first_weights import first_model
from suite.training.own_images import of_images_alone

Finished = Callable[..., Path]
Specs = Callable[..., RunSpec]
Out = pytest.CaptureFixture[str]
CLASSES = 3
SETTINGS: dict[str, Any] = {
    "task": "segmentation",
    "backbones": ("vim_mini_linear",),
    "methods": ("mtr", "delta", "delta[undo=zeros]"),
    "budgets": (0.4,),
    "baselines": False,
    "seeds": 1,
}


@pytest.fixture(scope="module")
def folder(finished: Finished) -> Path:
    return finished("segmented", **SETTINGS)


def cells(folder: Path) -> list[dict[str, Any]]:
    """Those of the tables; others run by equal counts of tokens."""
    found = [json.loads(path.read_text()) for path in sorted((folder / "cells").glob("*.json"))]
    return [cell for cell in found if cell["role"] == "asked"]


def confusion(folder: Path, key: str) -> NDArray[np.int64]:
    """The matrix of a cell, pair by pair."""
    matrix = np.zeros((CLASSES, CLASSES), np.int64)
    for path in (folder / "shards" / key).glob("*.parquet"):
        for row in pd.read_parquet(path).itertuples():
            for code, count in zip(row.confusion, row.pixels, strict=True):
                matrix[code // CLASSES, code % CLASSES] += count
    return matrix


def ious(matrix: NDArray[np.int64]) -> list[float]:
    found = []
    for number in range(CLASSES):
        either = matrix[number].sum() + matrix[:, number].sum() - matrix[number, number]
        found.append(matrix[number, number] / either if either else np.nan)
    return found


def test_every_figure_of_accuracy_follows_from_the_confusions(folder: Path) -> None:
    statistics = pd.read_parquet(folder / "analyses" / "statistics.parquet")
    table = pd.read_parquet(folder / "analyses" / "class_ious.parquet")
    assert len(cells(folder)) == len(statistics) == 4
    for cell in cells(folder):
        assert cell["task"] == "segmentation"
        found = ious(confusion(folder, cell["key"]))
        assert cell["metrics"]["miou"] == pytest.approx(np.nanmean(found))
        row = statistics[statistics.label == cell["label"]].iloc[0]
        assert row.top1 == pytest.approx(np.nanmean(found))
        assert row.top1_low <= row.top1 <= row.top1_high
        own = table[table.label == cell["label"]].sort_values("class_number")
        assert own.class_iou.tolist() == pytest.approx(found, nan_ok=True)


def test_from_python_a_comparison_is_the_run_s_own(folder: Path) -> None:
    found = suite.load(folder)
    statistics = found.statistics.set_index("label").loc["delta"]
    row = found.compare("delta", "mtr")
    assert (row.accuracy, row.difference) == (statistics.miou, statistics.difference)
    assert row.p == pytest.approx(statistics.p)
    assert {"confusion", "pixels"} <= set(found.outcomes("delta"))


def test_no_table_that_leaves_a_run_calls_a_mean_iou_top1(folder: Path) -> None:
    run, report = suite.load(folder), ReportData.of(load(folder))
    assert {"miou", "miou_low", "miou_high"} < set(run.statistics.columns)
    exported = {}
    for form in ("csv", "json", "parquet"):
        stream = io.BytesIO()
        export.write([folder], form, images=False, stream=stream)
        exported[form] = stream.getvalue()
    table = pd.read_csv(io.BytesIO(exported["csv"]))
    stored = pd.read_parquet(folder / "analyses" / "statistics.parquet").set_index("label")
    for row in table[table.role == "asked"].itertuples():
        of_cell = stored.loc[row.label, ["top1", "top1_low", "top1_high"]]
        assert [row.miou_mean, row.miou_low, row.miou_high] == pytest.approx(of_cell.tolist())
    assert set(json.loads(exported["json"])[0]) == set(table.columns)
    frames = [run.statistics, run.cells, table, pd.read_parquet(io.BytesIO(exported["parquet"]))]
    texts = results_csv(report.frame), cells_csv(report.run.every_cell, report.run.metric)
    frames += [pd.read_csv(io.StringIO(text)) for text in texts]
    assert all("miou" in frame or "miou_mean" in frame for frame in frames)
    for frame in frames:
        named = [name for name in frame if "top1" in name]
        # Columns of the other task's metrics are there, and empty.
        assert frame[named].isna().all(axis=None), named


def test_a_trace_of_pixels_is_drawn_without_classes(small: Specs) -> None:
    model = prepare(small(**SETTINGS)).models["vim_mini_linear"]
    reduced = suite.reduce(model, "delta[undo=zeros]", budget=0.4)
    trace = reduced.trace(torch.zeros(2, 3, model.image_size, model.image_size))
    assert {axes.get_title() for axes in trace.show().axes} == {""}


@pytest.mark.usefixtures("small")
def test_undo_is_refused_of_classes_of_images_and_logits_of_pixels_reach_their_labels() -> None:
    with pytest.raises(suite.UserError, match="undo is of pixels: give a segmenter, or leave"):
        suite.reduce(create_model("vim_mini"), "delta[undo=zeros]", budget=0.4)
    # as docs/python.md has it
    segmenter = suite.reduce(create_model("vim_mini_linear"), "delta[undo=bilinear]", budget=0.4)
    images, labels, _ = suite.images(segmenter, 4, data="blots")
    logits = segmenter(images)
    assert logits.shape[-2:] != labels.shape[-2:]
    logits = torch.nn.functional.interpolate(logits, labels.shape[-2:], mode="bilinear")
    assert (logits.argmax(1) == labels).shape == labels.shape


@pytest.mark.usefixtures("small")
def test_that_nothing_is_trained_on_pixels_is_said_wherever_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in ("images", "masks"):
        (tmp_path / "own" / kind).mkdir(parents=True)
        Image.new("L", (40, 40), 1).save(tmp_path / "own" / kind / "a.png")
    (tmp_path / "own" / "classes.txt").write_text("a\nb\n")
    for line in (
        "train --backbone vim_mini --from-scratch --data masks:own",
        "retrain --backbones vim_mini --checkpoint random --data masks:own --methods mtr",
        "retrain --task segmentation",
    ):
        assert run_cli(line.split()) == 2
        (said,) = capsys.readouterr().err.strip().splitlines()
        assert NOT_TRAINED in said, line
        assert "add --task" not in said, line
    with pytest.raises(suite.UserError, match="weights trained on this data elsewhere"):
        check_labels(open_dataset("masks:own", task="segmentation"), 3)
    with pytest.raises(suite.UserError, match="segmenters are not trained"), of_images_alone():
        check_task(create_model("vim_mini_linear"), open_dataset("blots"))
    with pytest.raises(suite.UserError, match="segmenters are not trained"):
        first_model("vim_mini_linear", ("a", "b"), scratch=True)


def decoded(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_pictures_have_the_truth_and_what_the_models_name(folder: Path, small: Specs) -> None:
    table = pd.read_parquet(folder / "analyses" / "segmented.parquet")
    data = open_dataset("blots", "test", task="segmentation")
    model = prepare(small(**SETTINGS)).models["vim_mini_linear"]
    for image, rows in table.groupby("image"):
        number = int(str(image))
        by_label = {row.label: row for row in rows.itertuples()}
        assert set(by_label) == {"truth", "none", "mtr", "delta", "delta[undo=zeros]"}
        truth = data.truth(number, model.image_size)
        assert np.array_equal(decoded(by_label["truth"].png), truth)
        sample = torch.from_numpy(data.samples(np.array([number]), model.image_size))
        with torch.inference_mode():
            logits = functional.interpolate(model(sample), truth.shape, mode="bilinear")
        named = logits[0].argmax(0).numpy()
        dense = decoded(by_label["none"].png)
        assert np.array_equal(dense, named)
        ratios = []
        for one in np.unique([*truth[truth != IGNORED], *named[truth != IGNORED]]):
            mine, theirs = (truth == one), (named == one) & (truth != IGNORED)
            ratios.append((mine & theirs).sum() / (mine | theirs).sum())
        assert by_label["none"].image_miou == pytest.approx(np.mean(ratios))


def test_a_fill_is_a_cell_of_its_own_and_the_choice_of_tokens_is_not_its(folder: Path) -> None:
    by_label = {cell["label"]: cell for cell in cells(folder)}
    one, other = by_label["delta"], by_label["delta[undo=zeros]"]
    assert one["key"] != other["key"]
    assert one["removals"] == other["removals"]
    assert (confusion(folder, one["key"]) != confusion(folder, other["key"])).any()
    tokens = [
        pd.concat(map(pd.read_parquet, sorted((folder / "tokens" / cell["key"]).glob("*"))))
        for cell in (one, other)
    ]
    pd.testing.assert_frame_equal(*tokens)


def test_merging_a_method_that_drops_nothing_has_no_fill(small: Specs) -> None:
    settings = SETTINGS | {"methods": ("tome", "tome[undo=zeros]")}
    plan = prepare(small(**settings))
    assert [cell.label for cell in plan.main] == ["none", "tome = tome[undo=zeros]"]


def test_runs_of_one_task_are_merged(folder: Path, finished: Finished, tmp_path: Path) -> None:
    other = finished("others", **SETTINGS | {"methods": ("tome",)})
    merged, _ = merge([folder, other], tmp_path / "merged")
    table = pd.read_parquet(merged / "analyses" / "statistics.parquet")
    alone = pd.read_parquet(folder / "analyses" / "statistics.parquet")
    both = table.merge(alone, on="label", suffixes=("", "_alone"))
    assert len(table) == 5
    assert both.top1.tolist() == both.top1_alone.tolist()
    assert set(table[table.label == "tome"].reference) == {"mtr"}
    assert load(merged).metric.name == "mIoU"
    images = finished("images", methods=("mtr",), budgets=(0.4,), baselines=False, seeds=1)
    with pytest.raises(UserError, match="the task is segmentation in the first"):
        merge([folder, images], tmp_path / "mixed")


def test_the_heads_of_pictures_do_not_run_into_each_other() -> None:
    named = np.zeros((4, 4), np.uint8)
    fills = ("bilinear", "nearest", "frozen")
    methods = [f"{name}[undo={fill}]" for name in ("ToMe", "MTR") for fill in fills]
    titles = ["truth", "dense", *methods, "Smaller image"]
    columns = {title: title for title in titles}
    maps = {(0, title): (named, 0.5) for title in titles}
    picture = np.zeros((4, 4, 3), np.uint8)
    figure = segmented_figure(maps, {0: picture}, columns, ["background", "coat"], WIDTH)
    figure.draw_without_rendering()
    boxes = []
    for axes in figure.axes:
        head = axes.get_title(loc="left")
        (text,) = (each for each in axes.findobj(Text) if head and each.get_text() == head)
        boxes.append(text.get_window_extent())
    assert len(boxes) == 10
    for left, right in pairwise(boxes):
        assert left.x1 < right.x0


def image_mious(folder: Path, key: str) -> dict[int, float]:
    """The mean IoU of each image by itself, from its pairs of classes."""
    found = {}
    for path in (folder / "shards" / key).glob("*.parquet"):
        for row in pd.read_parquet(path).itertuples():
            matrix = np.zeros(CLASSES * CLASSES, np.int64)
            matrix[row.confusion] = row.pixels
            found[row.image] = float(np.nanmean(ious(matrix.reshape(CLASSES, CLASSES))))
    return found


def test_images_stand_in_for_right_and_wrong(folder: Path) -> None:
    by_label = {cell["label"]: cell for cell in cells(folder)}
    mious = {label: image_mious(folder, cell["key"]) for label, cell in by_label.items()}
    alike = pd.read_parquet(folder / "analyses" / "method_similarity.parquet")
    pair = alike[(alike.one == "mtr") & (alike.other == "delta")].iloc[0]
    one, other = (
        np.array([mious[name][image] for image in range(30)]) for name in ("mtr", "delta")
    )
    assert pair.agree == pytest.approx(1 - np.abs(one - other).mean())
    covariance = ((one - one.mean()) * (other - other.mean())).mean()
    spread = one.var() + other.var() + (one.mean() - other.mean()) ** 2
    assert pair.kappa == pytest.approx(2 * covariance / spread)
    errors = pd.read_parquet(folder / "analyses" / "first_errors.parquet")
    for label in ("mtr", "delta"):
        falls = {image: mious["none"][image] - mious[label][image] for image in range(30)}
        worst = sorted((image for image in falls if falls[image] > 0), key=lambda i: -falls[i])
        rows = errors[errors.label == label]
        # Equal falls may come in either order.
        expected = [falls[image] for image in worst[: len(rows)]]
        assert [falls[image] for image in rows.image] == pytest.approx(expected)
        assert set(rows.budget) == {0.4}


@pytest.mark.slow
def test_the_page_speaks_of_pixels(folder: Path, tmp_path: Path) -> None:
    page = reports.build(folder, tmp_path / "report")
    text = page.read_text()
    for words in (
        "Which pixels change",
        "mIoU, %",
        "mIoU of all 7 finished cells",
        "At borders",
        "Concordance",
        "the share of pixels that keep their class",
        "Agreement is the share of pixels whose class is the dense model's",
    ):
        assert words in text
    # no picture is right or wrong
    for words in (
        "keep their prediction",
        "on which the prediction",
        "Wrong under",
        ">right under",
    ):
        assert words not in text, words
    assert "op-1" not in text.partition("<script")[0].partition("<footer")[0]
    figures = {path.stem for path in (page.parent / "figures").glob("*.svg")}
    assert {"segmented", "class-loss"} <= figures
    for path in (page.parent / "tables").glob("*.csv"):
        assert not pd.read_csv(path).filter(like="top1").notna().any(axis=None), path.name


def test_the_report_has_the_pictures_the_classes_and_the_borders(folder: Path) -> None:
    report = ReportData.of(load(folder, needed()))
    answers = {report.run.answer(row).name for row in report.run.gallery.to_dict("records")}
    assert answers == {"mIoU"}
    assert audit(report.run, report.recomputed) == (7, [])
    (section,) = (each for each in sections(report) if each.key == "segmentation")
    pictures, losses = section.figures
    panels = pictures.draw(WIDTH).axes
    # a row an image: the picture, its truth, the dense model, and a panel a method
    assert [axes.get_title(loc="left") for axes in panels[:3]] == ["picture", "truth", "dense"]
    # two that were drawn, and the one that loses most under each method, in a row each
    assert len(panels) == len(set(report.run.images["image"])) * 6 > 2 * 6
    values = np.ma.getdata(losses.draw(WIDTH).axes[0].images[0].get_array())
    by_label = {cell["label"]: ious(confusion(folder, cell["key"])) for cell in cells(folder)}
    expected = 100 * (np.array(by_label["mtr"]) - np.array(by_label["none"]))
    assert values[0] == pytest.approx(expected)
    (table,) = section.tables
    assert {"mIoU, %", "At borders, %", *report.run.dataset["classes"]} <= set(table.frame)
    assert len(table.frame) == 4
    dense_row = table.frame[table.frame["Method"] == "dense"].iloc[0]
    assert dense_row["mIoU, %"] == pytest.approx(100 * np.nanmean(by_label["none"]))


BAD: dict[str, tuple[Sequence[str], str]] = {
    "a backbone that names images": (
        ("--task", "segmentation", "--backbones", "vim_mini"),
        "vim_mini names the class of an image, and segmentation is of pixels",
    ),
    "a backbone that names pixels": (
        ("--backbones", "vim_mini_linear"),
        "vim_mini_linear names the classes of pixels: add --task segmentation",
    ),
    "a fill of pixels where images are named": (
        ("--methods", "delta[undo=nearest]", "--backbones", "vim_mini"),
        "delta[undo=nearest]: undo is of pixels: add --task segmentation, or leave it out",
    ),
    "an unknown task": (("--task", "detection"), "--task detection: "),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str, tmp_path: Path, capsys: Out) -> None:
    more, problem = BAD[case]
    where = ("--data", "blots", "--checkpoint", "random", "--images", "3", "--device", "cpu")
    assert run_cli(["compare", *where, *more, "--runs", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert problem in line


@pytest.mark.parametrize(
    "command",
    [
        "ablate --axes undo",
        "ablate --task segmentation --axes undo",
        "retrain --task segmentation",
    ],
)
def test_what_is_of_the_other_task_is_refused(command: str, capsys: Out) -> None:
    assert run_cli([*command.split(), "--images", "3"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "segmentation" in line or "--method delta" in line
