"""A retraining that was cut goes on with the same batches to the same loss, on a GPU as on a CPU."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from suite.retrain.prepare import prepare_retraining
from suite.retrain.spec import RetrainSpec
from suite.retrain.train import train_all
from suite.training.distributed import ProcessGroup
from suite.training.loop import Trainer

ALONE = ProcessGroup()
# Sums on a GPU may be added in another order, which turns a near choice of tokens round, more often
# in bf16; on a CPU the very same numbers are expected.
CLOSE = {("cpu", "fp32"): 0.0, ("cuda", "fp32"): 1e-3, ("cuda", "bf16"): 1e-2}
CUTS = (("tome", 3), ("tome", 7), ("random", 7), ("crop-shrink", 7))
QUICK = (CUTS[0], CUTS[-1])  # of a CPU: the control, and the method, are cut


def cases() -> Iterator[Any]:
    """Method, step at which it is cut, device and precision."""
    for cut, place in product(CUTS, CLOSE):
        marks = [pytest.mark.gpu] if place[0] == "cuda" else []
        if place[0] == "cpu" and cut not in QUICK:
            marks = [pytest.mark.slow]
        yield pytest.param(*cut, *place, marks=marks)


class Cut(Exception):
    """A process that ends here."""


def ignore(text: str) -> None:
    """Say it to nobody."""


class Watched:
    """What the steps of all trainings saw, and their losses; ends the process at step `cut`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cut: int = -1) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.losses: list[float] = []
        plain = Trainer._step

        def step(trainer: Trainer, images: Tensor, labels: Tensor) -> Tensor:
            if len(self.seen) == cut:
                raise Cut
            self.seen.append((images.cpu(), labels.cpu()))
            figures = plain(trainer, images, labels)
            self.losses.append(float(figures[0]))
            return figures

        monkeypatch.setattr(Trainer, "_step", step)


@pytest.mark.parametrize(("method", "cut", "device", "precision"), list(cases()))
def test_the_same_batches_and_loss(
    method: str,
    cut: int,
    device: str,
    precision: str,
    retrain_spec: Callable[..., RetrainSpec],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = retrain_spec(
        methods=(method,),
        budgets=(0.4,),
        augment="light",
        distill=0.5,
        device=device,
        precision=precision,
    )
    close = CLOSE[device, precision]

    # Two epochs of two steps each, of the control and then of the method.
    with monkeypatch.context() as patch:
        whole = Watched(patch)
        expected = train_all(prepare_retraining(spec), tmp_path / "whole", ALONE, ignore)
    assert len(whole.seen) == 8

    # Cut at the last step of a training, which goes on with its second epoch.
    with monkeypatch.context() as patch:
        Watched(patch, cut)
        with pytest.raises(Cut):
            train_all(prepare_retraining(spec), tmp_path / "cut", ALONE, ignore)
    with monkeypatch.context() as patch:
        later = Watched(patch)
        found = train_all(prepare_retraining(spec), tmp_path / "cut", ALONE, ignore)

    again = cut - 1
    assert len(later.seen) == len(whole.seen) - again
    for one, other in zip(later.seen, whole.seen[again:], strict=True):
        assert torch.equal(one[1], other[1])
        # Pixels are normalised on the device.
        torch.testing.assert_close(one[0], other[0], rtol=0, atol=min(close, 1e-5))
    assert later.losses == pytest.approx(whole.losses[again:], rel=close, abs=0)
    for name, record in expected.items():
        losses = [[loss for loss, _ in one.curve] for one in (found[name], record)]
        assert losses[0] == pytest.approx(losses[1], rel=close, abs=0)
