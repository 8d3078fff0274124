"""What `verify` prints, and its exit code; kernels and FLOPs."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from backbones.common.errors import UserError
from suite.cli import run
from suite.flops.published import Printed
from suite.verify import backbone_contract as backbones
from suite.verify import flops, kernels, methods
from suite.verify.flops import flops_lines
from suite.verify.kernels import kernel_lines
from suite.verify.line import Line

Out = pytest.CaptureFixture[str]
SOME = {"vim_tiny", "vim_small", "videomamba_tiny", "videomamba_middle[image_size=576]"}


def test_kernels_that_are_here_hold_and_the_others_say_why() -> None:
    lines = {line.name: line for line in kernel_lines()}
    for name in ("cpu, cpu, float32", "Mamba-2 cpu, cpu, float32", "Mamba-2 chunked, cpu, float32"):
        assert lines[name].state == "holds"
    if not torch.cuda.is_available():
        for name in ("triton, cuda, float32", "Mamba-2 chunked, cuda, float32"):
            assert lines[name].state == "absent"
            assert "CUDA" in lines[name].detail


def test_a_kernel_that_is_wrong_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*given: object) -> None:
        raise UserError("scan kernel 'cpu' is wrong on this machine")

    for scans in kernels.SCANS.values():
        monkeypatch.setattr(scans, "prove_gradients", wrong)
    assert {line.state for line in kernel_lines()} <= {"fails", "absent"}


def test_flops_stand_beside_the_true_figure_and_a_wrong_one_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = [row for row in flops.printed() if row.backbone in SOME]
    monkeypatch.setattr(flops, "printed", lambda: some)
    lines = {line.name: line for line in flops_lines()}
    assert {line.state for line in lines.values()} == {"holds", "doubted"}
    assert "1.45 G printed" in lines["vim_tiny"].detail
    assert "1.1 G by the same count ('fvcore')" in lines["videomamba_tiny"].detail
    assert "3.116 GFLOPs true" in lines["vim_tiny"].detail
    figures = list(flops.printed())
    monkeypatch.setattr(flops, "printed", lambda: [replace(figures[0], giga="1.46"), *figures[1:2]])
    assert [line.state for line in flops_lines()] == ["fails", "holds"]


@pytest.mark.slow
def test_every_printed_figure_holds_or_is_doubted() -> None:
    assert {line.state for line in flops_lines()} == {"holds", "doubted"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thing of each part."""
    monkeypatch.setattr(kernels, "SCANS", {})
    monkeypatch.setattr(backbones, "BACKBONES", ["vim_nano"])
    monkeypatch.setattr(methods, "METHODS", ["stride", "downsample"])
    monkeypatch.setattr(flops, "printed", lambda: list(printed_once()))


def printed_once() -> Iterator[Printed]:
    yield Printed("vim_tiny", "1.45", "one direction", "R-MeeTo")


@pytest.mark.usefixtures("quick")
def test_everything_is_a_line_each_and_the_exit_code_says_whether_it_holds(
    capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["verify"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["backbones", "holds", "vim_nano:"],
        ["methods", "holds", "stride:"],
        ["FLOPs", "holds", "vim_tiny:"],
    ]
    assert last == "3 hold, 0 fail"
    monkeypatch.setattr(backbones, "first_problem", lambda name: "no\nluck")
    assert run(["verify", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in found] == ["fails", "holds", "holds"]


def test_of_methods_named_every_check_is_a_line(capsys: Out) -> None:
    assert run(["verify", "--method", "stride"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert all(line.startswith("methods     holds   stride: ") for line in lines)
    assert last == f"{len(lines)} hold, 0 fail"


def test_a_line_is_one_line() -> None:
    assert (
        Line("kernels", "cpu", "fails", "off\nby far").text == "kernels     fails   cpu: off by far"
    )
