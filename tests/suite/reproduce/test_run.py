"""Every listed table runs to published beside measured, on made-up weights and images."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from published_layouts import transformer

from suite.cli import run
from suite.reproduce.listed import find_table, names, read_table
from suite.reproduce.table import PublishedTable

Out = pytest.CaptureFixture[str]
Make = Callable[..., Path]
# why a cell of a listed table cannot run, and what its table says of it
BEYOND = {
    "leaves no rectangle of tokens": "folded into a smaller square",
    "hands decay on along one scan each way": "its alignment over four scans is not stated",
}
QUICK = ("--device", "cpu", "--threads", "1", "--batch-size", "4", "--seeds", "1")


def reproduce(*arguments: str | Path) -> int:
    return run(["reproduce", *map(str, arguments), *QUICK])


def check_side_by_side(document: dict[str, Any], table: PublishedTable) -> None:
    """Every value of the table is there, with what was measured of it."""
    rows = document["reproduced"]
    assert [(row["method"], row["budget"]) for row in rows] == [
        (value.method, value.budget) for value in table.cells
    ]
    for row, value in zip(rows, table.cells, strict=True):
        assert row["place"] == (value.place or "")
        if row["status"] == "skipped":
            # what cannot run stands there with the reason, and with what was published
            (said,) = (text for reason, text in BEYOND.items() if reason in row["reason"])
            assert row["published"] == pytest.approx((value.top1 or 0) / 100)
            assert said in row["incomparable"]
            continue
        assert row["status"] == "ok"
        assert row["images"] == 2
        assert row["measured_low"] <= row["measured"] <= row["measured_high"]
        known = value.top1 if value.top1 is not None else value.drop
        assert row["quantity"] == ("drop" if value.drop is not None else "top-1")
        if known is None:
            assert row["published"] is None
            assert row["deviation"] is None
            continue
        assert row["published"] == pytest.approx(known / 100)
        assert row["deviation"] == pytest.approx(row["measured"] - known / 100)
        width = row["deviation_high"] - row["deviation_low"]
        assert width == pytest.approx(row["measured_high"] - row["measured_low"])


# by kind: reductions of a sequence, retrained, of a map in stages, of attention; what the
# others say is read in test_listed
ONE_OF_EACH = {"mtr-vim-base", "rmeeto-vim-tiny", "storm-vmamba-base", "tome-vit-base"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ONE_OF_EACH else pytest.mark.slow) for name in names()],
)
def test_a_listed_table_runs_narrow(
    name: str, narrowed: Make, imagenet: Path, tmp_path: Path, capsys: Out
) -> None:
    table = narrowed(name)
    runs = ("--data", f"imagenet:{imagenet}", "--runs", tmp_path / "runs", "--no-report", "--json")
    assert reproduce(table, *runs) == 0
    document = json.loads(capsys.readouterr().out)
    check_side_by_side(document, read_table(table))
    # of a narrow model no FLOPs are those printed
    printed = find_table(name).dense
    assert printed is not None
    narrow = [row["incomparable"] for row in document["reproduced"]]
    assert all("other FLOPs convention" in text for text in narrow) == bool(printed.giga)
    assert not any("other weights" in text for text in narrow)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_a_listed_table_runs_as_published(
    name: str, official: Make, imagenet: Path, tmp_path: Path, capsys: Out
) -> None:
    weights = official(name)
    runs = ("--data", f"imagenet:{imagenet}", "--runs", tmp_path / "runs", "--no-report", "--json")
    assert reproduce(name, "--checkpoint", weights, *runs) == 0
    document = json.loads(capsys.readouterr().out)
    check_side_by_side(document, find_table(name))
    texts = [row["incomparable"] for row in document["reproduced"]]
    assert not any("other weights" in text or "other FLOPs" in text for text in texts)


def test_the_terminal_shows_it_and_the_run_keeps_it(
    narrowed: Make, imagenet: Path, tmp_path: Path, capsys: Out
) -> None:
    where = ("--data", f"imagenet:{imagenet}", "--runs", tmp_path, "--name", "vit", "--no-report")
    assert reproduce(narrowed("tome-vit-small"), *where) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(r"tome 41\.\d % 79\.3 \d+\.\d \[\d+\.\d, \d+\.\d\] [-+]\d+\.\d \[", out)
    assert "published in: README of facebookresearch/ToMe, Using timm models, r = 13 (tome)" in out
    stored = pd.read_parquet(tmp_path / "vit" / "analyses" / "reproduced.parquet")
    assert list(stored.method) == ["none", "tome"]
    assert (tmp_path / "vit" / "spec.yaml").is_file()


def test_other_weights_and_unread_values_are_said(
    changed: Make, narrowed: Make, imagenet: Path, tmp_path: Path, capsys: Out
) -> None:
    weights = narrowed("tome-vit-small").with_name("model.safetensors")
    other = weights.rename(weights.with_name("own.safetensors"))
    table = changed(
        "tome-vit-small",
        backbone="vit_small[dim=64,heads=2]",
        checkpoint=str(weights),
        published=[{"method": "tome", "place": "not in the abstract"}],
    )
    where = ("--data", f"imagenet:{imagenet}", "--runs", tmp_path / "runs", "--no-report")
    assert reproduce(table, "--checkpoint", other, "--images", 1, *where) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(r"tome \d+\.\d % not read", out)
    assert f"not comparable because other weights: own.safetensors instead of {weights}" in out
    assert "nobody has read a value of the dense model" in out
    assert "published in: not in the abstract (tome)" in out
    assert "No published value could be compared." in out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nothing"], "unknown table 'nothing': known: .*or a file my.yaml"),
        (["nowhere.yaml"], "nowhere.yaml cannot be read as a published table .no such file.: fix"),
        (["mtr-vim-base"], "mtr-vim-base is on imagenet: give its place, --data imagenet:PATH"),
        (["mtr-vim-base", "--data", "imagenet:nowhere"], "nowhere is not a folder"),
        (
            ["mtr-vim-base", "--images", "0", "--plan"],
            "--images 0: must be a whole number from 1 on",
        ),
    ],
)
def test_wrong_commands_are_one_line(given: list[str], message: str, capsys: Out) -> None:
    assert reproduce(*given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"error: .*{message}", line)


def test_wrong_weights_classes_and_resolutions_are_one_line(
    narrowed: Make, imagenet: Path, tmp_path: Path, capsys: Out
) -> None:
    table = narrowed("tome-vit-small")
    shallow, larger = tmp_path / "shallow.pth", tmp_path / "larger.pth"
    torch.save({name: torch.ones(shape) for name, shape in transformer(64, 2).items()}, shallow)
    large = transformer(64, 12) | {"pos_embed": (1, 577, 64)}
    torch.save({name: torch.ones(shape) for name, shape in large.items()}, larger)
    (tmp_path / "few" / "val" / "n00000000").mkdir(parents=True)
    data = f"imagenet:{imagenet}"
    for arguments, message in (
        ((data, "--checkpoint", shallow), r"shallow.pth does not fit the model, \d+ keys missing"),
        ((data, "--checkpoint", larger), "larger.pth has positions for 577 tokens, the model for"),
        ((f"imagenet:{tmp_path / 'few'}",), "has 1 of ImageNet's 1000 synset folders"),
    ):
        assert reproduce(table, "--data", *arguments, "--runs", tmp_path / "runs") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert re.match(f"error: .*{message}", line)
    assert not (tmp_path / "runs").exists()
