"""A backbone beside a timm ViT of nearest FLOPs: the choice, the ratio, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones import create_model
from suite.bench import beside_vit
from suite.bench.beside_vit import GRAPH, LAUNCHED, answers, deit, flops, nearest_vit, rows, table
from suite.bench.spec import BenchSpec
from suite.cli import run as run_cli

pytestmark = pytest.mark.usefixtures("undrawn")
Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass a timing."""
    monkeypatch.setattr("suite.bench.timing.LEAST_SECONDS", 0.0)


def test_beside_deit_itself_stands_deit() -> None:
    with torch.device("meta"):
        model = create_model("deit_tiny")
        counted = flops(model, 224, "deit_tiny")
    found = nearest_vit(model, counted)
    assert found.name == "ViT-192x12/16"
    assert flops(beside_vit.on_meta(found.build), found.size, "it") == counted
    ends, layer = beside_vit.deit_flops(14, 16, 192)
    assert counted == ends + 12 * layer


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.6])
def test_flops_come_near_at_a_depth_near_deits(factor: float) -> None:
    model = create_model("deit_tiny[layers=1]")
    wanted = round(2.5e9 * factor)
    found = nearest_vit(model, wanted)
    counted = flops(beside_vit.on_meta(found.build), found.size, "it")
    assert counted == pytest.approx(wanted, rel=0.06)
    layers = int(found.name.partition("x")[2].partition("/")[0])
    assert 8 <= layers <= 16


def test_the_ratio_is_of_images_a_second_in_the_same_round() -> None:
    times = {
        ("net", LAUNCHED): [0.2, 0.4, 0.2],
        ("vit", LAUNCHED): [0.1, 0.1, 0.3],
    }
    own, other = rows(times, {"net": 3_000_000_000, "vit": 1_500_000_000}, "fp32", 8, "cpu")
    assert (own.ratio, own.ratio_low, own.ratio_high) == pytest.approx((0.5, 0.25, 1.5))
    assert (own.ms, own.images_per_second) == (200, 40)
    assert (other.ms, other.images_per_second, other.ratio) == (100, 80, 1)
    assert answers([own, other]) == [
        "net does 0.50 [0.25, 1.50] times the images a second of vit (0.50 times its FLOPs; fp32, "
        "batch 8)."
    ]
    # graphs are compared with graphs alone
    times["net", GRAPH] = [0.01, 0.01, 0.01]
    assert rows(times, {"net": 1, "vit": 1}, "fp32", 8, "cuda")[0].ms == 200
    times["vit", GRAPH] = [0.02, 0.02, 0.02]
    own, _ = rows(times, {"net": 1, "vit": 1}, "fp32", 8, "cuda")
    assert (own.ratio, own.ms, own.launched) == (2, 10, 40)
    machine = {"machine": "a GPU", "threads": 2}
    assert table([own], machine).title == "a GPU, fp32, batch 8, 3 rounds"
    several = table([own, own._replace(batch=4)], machine)
    assert several.title == "a GPU, fp32, 3 rounds"
    assert [str(column.header) for column in several.columns][:2] == ["model", "batch"]


@pytest.mark.usefixtures("small")
def test_the_command_prints_both_and_writes_a_row_each(tmp_path: Path, capsys: Out) -> None:
    line = [
        *("bench", "vit", "--backbones", "vim_mini", "--batch-size", "1,2", "--rounds", "1"),
        *("--device", "cpu", "--threads", "1"),
    ]
    assert run_cli([*line, "--save", str(tmp_path / "vit.json")]) == 0
    out = capsys.readouterr().out
    assert out.count("times the images a second of ViT-64x1/") == 2
    assert "of width W, with L layers" in out
    found: list[dict[str, Any]] = json.loads((tmp_path / "vit.json").read_text())
    assert [row["batch"] for row in found] == [1, 1, 2, 2]
    assert {row["backbone"] for row in found} == {"vim_mini"}
    for row in found:
        assert row["images_per_second"] == pytest.approx(1e3 * row["batch"] / row["ms"])


@pytest.mark.usefixtures("small")
def test_a_model_of_timm_may_be_named(capsys: Out) -> None:
    spec = BenchSpec(backbones=("vim_mini",), batches=(1,), rounds=1, device="cpu")
    found = list(beside_vit.measure_beside_vit(spec, "cpu", "test_vit", lambda line: None))
    assert [row.model for row in found] == ["vim_mini", "test_vit"]
    line = ["bench", "vit", "--backbones", "vim_mini", "--timm", "no_such_vit", "--device", "cpu"]
    assert run_cli(line) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert "timm makes no such model" in error
    assert "deit_small_patch16_224" in error


def test_clips_are_refused(capsys: Out) -> None:
    line = ["bench", "vit", "--backbones", "videomamba_tiny_video", "--device", "cpu"]
    assert run_cli(line) == 2
    assert "takes clips, and timm's models take images" in capsys.readouterr().err


def test_a_vit_is_made_as_deit_is() -> None:
    with torch.device("meta"):
        made = deit(32, 16, 2, 3)
    assert (made.embed_dim, len(made.blocks), made.num_prefix_tokens) == (128, 3, 1)
    assert made.blocks[0].attn.num_heads == 2
