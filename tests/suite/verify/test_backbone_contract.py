"""Every registered backbone holds, and each way to break the contract is caught by its check."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backbones import BACKBONES
from backbones.base import Backbone
from backbones.sequence import TokenSequence
from suite.verify import backbone_contract as backbones
from suite.verify.backbone_contract import Subject, backbone_lines, first_problem, small

KINDS = (
    "vim_tiny_stride8",
    "videomamba_nano",
    "videomamba_tiny_video",
    "mambareg_base",
    "plainmamba_l1",
    "adventurer_nano",
    "vmamba_nano",
    "deit_nano",
)


@pytest.mark.parametrize("name", KINDS)
def test_one_of_each_kind_holds(name: str) -> None:
    assert first_problem(name) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in KINDS])
def test_every_other_registered_backbone_holds(name: str) -> None:
    assert first_problem(name) == ""


def test_a_small_one_has_few_patches_that_overlap_as_before() -> None:
    subject = small("vim_small_stride8")
    shape = subject.model.describe()
    assert (shape.patches, shape.dim, shape.depth) == (25, 32, 3)
    assert shape.patch[1] == 8
    assert small("mambareg_large").model.describe().neck == 4
    assert tuple(small("videomamba_tiny_video").images.shape) == (3, 3, 2, 20, 20)


class Broken:
    """A small Vim of which one thing is wrong."""

    def __init__(self, **changes: Callable[..., Any]) -> None:
        self.changes = changes

    def __call__(self, name: str) -> Subject:
        subject = small("vim_nano")
        for method, change in self.changes.items():
            own = getattr(subject.model, method)
            object.__setattr__(
                subject.model,
                method,
                lambda *given, own=own, change=change, **more: change(own, *given, **more),
            )
        return subject


def longer(own: Callable[..., Any]) -> Any:
    return replace(own(), depth=4)


def drifting(
    own: Callable[..., TokenSequence],
    tokens: TokenSequence,
    start: int = 0,
    *given: Any,
    **more: Any,
) -> Any:
    """Each call of `run` adds a little, so that stopping in between shows."""
    return replace(found := own(tokens, start, *given, **more), branch=found.branch + 0.01)


def traced(
    own: Callable[..., TokenSequence], *given: Any, needs: frozenset[str] = frozenset(), **more: Any
) -> Any:
    found = own(*given, needs=needs, **more)
    return replace(found, branch=found.branch * 1.01) if "delta" in needs else found


def of_the_batch(own: Callable[..., Tensor], tokens: TokenSequence) -> Tensor:
    return own(tokens) + tokens.branch.mean()


def at_its_old_place(own: Callable[..., Tensor], tokens: TokenSequence) -> Tensor:
    return own(replace(tokens, special=torch.full_like(tokens.special, min(12, tokens.length - 1))))


def as_it_was(own: Callable[..., Backbone], size: int) -> Backbone:
    return small("vim_nano").model


MUTANTS: dict[str, tuple[Broken, str]] = {
    "sizes": (Broken(describe=longer), "what it says of its sizes"),
    "pieces": (Broken(run=drifting), "run block by block"),
    "trace": (Broken(run=traced), "it shows every trace field"),
    "batch": (Broken(readout=of_the_batch), "what becomes of an image"),
    "head": (Broken(readout=at_its_old_place), "its head finds"),
    "resized": (Broken(resized=as_it_was), "it takes images of another size"),
    "flops": (Broken(describe=lambda own: replace(own(), dim=31)), "the closed form"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_way_to_break_the_contract_is_caught(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, title = MUTANTS[mutant]
    monkeypatch.setattr(backbones, "small", made)
    assert title in first_problem("vim_nano").lower()


def test_what_cannot_be_made_or_run_is_a_failure_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(name: str) -> Subject:
        raise RuntimeError("no\nluck")

    monkeypatch.setattr(backbones, "small", failing)
    monkeypatch.setattr(backbones, "BACKBONES", ["mine"])
    (line,) = backbone_lines()
    assert (line.state, line.name) == ("fails", "mine")
    assert "cannot be made: RuntimeError: no luck" in line.text
    assert "\n" not in line.text
