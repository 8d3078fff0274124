"""A whole analysis on disk: its content, how it resumes, and what it refuses."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from backbones.common.errors import UserError
from reports.report_data import ReportData
from reports.run import load
from reports.sections import needed, sections
from suite.cli import run as command
from suite.plan.loading import load_model
from suite.sensitivity.analysis import image_tables, prepare_analysis, run_sensitivity
from suite.sensitivity.image_probes import ProbeStore
from suite.sensitivity.output import json_document
from suite.sensitivity.probe import ProbeTables, probe
from suite.sensitivity.spec import SensitivitySpec
from suite.store.run_folder import Store

Asking = Callable[..., SensitivitySpec]
Out = pytest.CaptureFixture[str]
LINE = (
    "sensitivity --backbone vim_mini --checkpoint random --data blots --images 2 --zeroed 1 "
    "--layers 2 --positions 5,7,40,41 --methods mtr --places 0 --batch-size 16 --threads 1 "
    "--device cpu --no-report"
)


def test_an_analysis_is_tables_that_its_spec_repeats(asking: Asking, tmp_path: Path) -> None:
    spec = asking(images=2, zeroed=1)
    analysis = run_sensitivity(spec, tmp_path / "a", quiet=True)
    assert not analysis.failures
    stored = {
        path.stem: pd.read_parquet(path) for path in (tmp_path / "a" / "analyses").glob("*.parquet")
    }
    assert set(stored) == {name for name, frame in analysis.frames.items() if len(frame)}
    assert all((frame.backbone == "vim_mini").all() for frame in stored.values())
    methods = stored["sensitivity_methods"]
    assert set(zip(methods.label, methods.block, strict=True)) == {("mtr", 3), ("random", 3)}
    assert set(methods.tokens_removed) == {40}
    kept = stored["sensitivity_kept"]
    assert kept.groupby("label").kept.sum().tolist() == pytest.approx([60, 60])
    assert (
        "rank correlation"
        in json.loads((tmp_path / "a" / "analyses" / "headline.json").read_text())["headline"]
    )
    assert yaml.safe_load((tmp_path / "a" / "spec.yaml").read_text())["kind"] == "sensitivity"


def test_finished_images_are_kept(
    asking: Asking,
    tmp_path: Path,
    content: Callable[[Path], dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = asking(layers="3", methods=("stride",), positions="every-40", zeroed=0, places=0)
    run_sensitivity(spec, tmp_path / "whole", quiet=True)
    left = [2]

    def stops(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return probe(*arguments)

    monkeypatch.setattr("suite.sensitivity.image_probes.probe", stops)
    with pytest.raises(KeyboardInterrupt):
        run_sensitivity(spec, tmp_path / "run", quiet=True)
    images = sorted((tmp_path / "run" / "images").iterdir())
    assert len(images) == 2
    (images[0] / "tokens.parquet").write_bytes(b"torn")  # as by a full disk: this one is done again
    left[0] = 2
    run_sensitivity(spec, tmp_path / "run", quiet=True)
    assert left[0] == 0
    stored = [content(tmp_path / name / "analyses") for name in ("whole", "run")]
    assert stored[0] == stored[1]


def test_another_question_takes_another_folder(asking: Asking, tmp_path: Path) -> None:
    run_sensitivity(asking(images=1, layers="0", methods=("stride",)), tmp_path, quiet=True)
    with pytest.raises(UserError, match="other settings: choose another folder"):
        run_sensitivity(asking(images=2, layers="0", methods=("stride",)), tmp_path, quiet=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": ("downsample",)}, "'downsample' cannot act before one block alone"),
        ({"methods": ("mtr@one-shot",)}, "no '@'"),
        ({"layers": "4"}, "--layers '4' is not .* these: 0, 1, 2, 3"),
        ({"positions": "100"}, "of these: 0 to 99"),
        ({"share": 0.999}, "leaves none of 100 patch tokens"),
        ({"share": 1.5}, "share"),
        ({"images": 31}, "31 images asked for"),
        ({"images": 0}, "images: must be a whole number from 1 on"),
        ({"backbone": "vim_min"}, "did you mean vim_mini"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    changed: dict[str, Any], message: str, asking: Asking, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        run_sensitivity(asking(**changed), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_method_that_does_not_fit_is_named_and_the_rest_runs(
    asking: Asking, tmp_path: Path
) -> None:
    few = {"images": 1, "zeroed": 0, "positions": "5", "places": 0}
    spec = asking(methods=("evit[score=cls-attention]", "tome"), share=0.6, **few)
    analysis = run_sensitivity(spec, tmp_path, quiet=True)
    reasons = analysis.frames["sensitivity_skipped"].set_index("label").reason
    assert "needs cls_attention" in reasons["evit[score=cls-attention]"]
    assert "cannot remove 60 of 100" in reasons["tome"]
    assert analysis.frames["sensitivity_methods"].empty


def test_without_a_class_token_nothing_is_placed(asking: Asking, tmp_path: Path) -> None:
    spec = asking(images=1, layers="0", methods=("stride",))
    prepared, settings = prepare_analysis(spec)
    assert settings.class_positions.tolist() == [0, 50, 100]
    _, more = prepare_analysis(asking(places=4))
    assert more.class_positions.tolist() == [0, 33, 50, 67, 100]
    run_sensitivity(spec, tmp_path, quiet=True)
    (index,) = (int(path.name) for path in (tmp_path / "images").iterdir())
    tables = ProbeStore(Store(tmp_path), "").read(index)
    bare = ProbeTables(tables.tokens, tables.groups, tables.placements.iloc[:0])
    model = load_model("vim_mini", "random", "auto", prepared.dataset, "cpu", torch.float32)
    assert image_tables("vim_mini", model, [bare])["sensitivity_placements"].empty


def test_the_command_prints_tables_or_json(
    asking: Asking, tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    assert command(LINE.split()) == 0
    shown, said = capsys.readouterr()
    assert re.search(r"^runs/sensitivity-\S+: \d+ cells on 2 images$", said, re.MULTILINE)
    assert "estimate and zeroing" in shown
    assert "hidden-attention" in shown
    assert "results: runs/sensitivity-vim_mini-blots-dev-2-" in "".join(shown.split("\n")).replace(
        "  ", ""
    )
    assert command([*LINE.split(), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["score"] for row in document["sensitivity_scores"]} >= {"delta", "bound", "place"}
    assert document["report"] is None
    assert document["headline"]["headline"].startswith("vim_mini, blots dev: ")
    assert "So few images tell little." in document["headline"]["headline"]
    assert (
        command(
            ["sensitivity", "--config", f"{document['run']}/spec.yaml", "--json", "--no-report"]
        )
        == 0
    )
    printed, said = capsys.readouterr()
    assert json.loads(printed)["run"] == document["run"]
    assert "cells on" not in said
    assert command(LINE.split()) == 0
    assert (
        "outcomes and all 2 images with tokens removed are there already" in capsys.readouterr().err
    )
    assert command([*LINE.split(), "--images", "3", "--out", document["run"]]) == 2
    assert "other settings" in capsys.readouterr().err


def test_of_a_segmenter_the_changed_pixels_are_found(asking: Asking, tmp_path: Path) -> None:
    spec = asking(task="segmentation", backbone="vim_mini_linear", images=2, zeroed=1)
    analysis = run_sensitivity(spec, tmp_path, quiet=True)
    assert not analysis.failures
    frames = analysis.frames
    offsets, reach = frames["sensitivity_pixels"], frames["sensitivity_reach"]
    # Of 10 x 10 patches every third is tried: the first and the last row, and column, among them.
    assert (offsets.down.min(), offsets.right.max()) == (-9, 9)
    of_maps = frames["sensitivity_map"].dropna(subset=["removal_flip"])
    for block in (0, 3):
        changed = reach[(reach.block == block) & (reach.quantity == "changed")]["mean"]
        flips = of_maps[of_maps.block == block].removal_flip
        assert changed.item() == pytest.approx(flips.mean(), rel=1e-5)
    # The head reads the patches: where the class token stands is not asked.
    assert frames["sensitivity_placements"].empty
    assert set(frames["sensitivity_distance"].nearness) == {"centre"}
    assert set(frames["sensitivity_profile"].axis) == {"row", "col", "centre"}
    report = ReportData.of(load(tmp_path, needed()))
    (section,) = (each for each in sections(report) if each.key == "sensitivity")
    assert list(section.tables[0].frame) == ["Block", "Near the centre"]
    assert not any("class token" in each.caption for each in section.figures)
    assert set(frames["sensitivity_methods"].quantity) == {"loss", "flip", "kl"}
    assert any("changes" in text and "pixels" in text for text in analysis.headline["brief"])
    written = json.loads(json.dumps(json_document(analysis)))
    assert {row["quantity"] for row in written["sensitivity_reach"]} >= {"changed"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--task segmentation --backbone vim_mini", "names the class of an image"),
        ("--backbone vim_mini_linear", "add --task segmentation"),
        ("--task segmentation --data fashion-mnist", "fashion-mnist"),
        ("--task detection", "--task detection: "),
    ],
)
def test_a_task_that_does_not_fit_is_refused_in_one_line(
    options: str, message: str, asking: Asking, tmp_path: Path, capsys: Out
) -> None:
    line = ["--checkpoint", "random", "--data", "blots", "--runs", str(tmp_path), "--threads", "1"]
    assert command(["sensitivity", *line, *options.split()]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert message in said
    assert not list(tmp_path.iterdir())
