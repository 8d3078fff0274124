"""What is kept of an image, against its formulas in numpy and scipy."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import entropy
from torch import Tensor

from suite.evaluation.outcomes import COLUMNS, accuracy, among_largest, metrics, outcomes


def one_cell(
    logits: Tensor, dense: Tensor, labels: Tensor, image: Tensor, tau: Tensor
) -> pd.DataFrame:
    columns = outcomes(logits[None], dense, labels, image, tau[None])
    return pd.DataFrame({name: values[0] for name, values in columns.items()})


def one_by_one(logits: Tensor, dense: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Of one cell and one image, by PyTorch's own functions."""
    log_q, log_p = dense.double().log_softmax(1), logits.double().log_softmax(1)
    best = logits.double().scatter(1, label[:, None], -torch.inf).amax(1)
    return {
        "prediction": logits.argmax(1),
        "top5": (logits.double().topk(min(5, logits.shape[1])).indices == label[:, None]).any(1),
        "loss": torch.nn.functional.nll_loss(log_p, label, reduction="none"),
        "margin": logits.double().gather(1, label[:, None])[:, 0] - best,
        "agree": logits.argmax(1) == dense.argmax(1),
        "kl": (log_q.exp() * (log_q - log_p)).sum(1).clamp(min=0),
    }


@pytest.mark.parametrize(
    ("cells", "batch", "classes"), [(3, 5, 2), (41, 32, 10), (7, 3, 1000), (2, 70, 1000)]
)
def test_all_cells_at_once_are_each_alone_to_the_bit(cells: int, batch: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    logits = 4 * torch.randn(cells, batch, classes, generator=generator)
    dense, labels = logits[0] + 0.1, torch.randint(classes, (batch,), generator=generator)
    tau = torch.rand(cells, batch, generator=generator, dtype=torch.float64)
    columns = outcomes(logits, dense, labels, torch.arange(batch), tau)
    for cell in range(cells):
        for row in range(0, batch, 4):
            alone = one_by_one(
                logits[cell, row : row + 1], dense[row : row + 1], labels[row : row + 1]
            )
            for name, value in alone.items():
                assert columns[name][cell, row] == value.numpy().astype(COLUMNS[name])[0], name
    assert (columns["tau"] == tau.numpy().astype(np.float32)).all()
    assert (columns["label_true"] == labels.numpy()).all()


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 12))
def test_rows_are_the_formulas(seed: int, count: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    logits, dense = 3 * rng.standard_normal((2, count, classes))
    labels = rng.integers(0, classes, count)
    image = torch.arange(count) + 50
    frame = one_cell(
        torch.tensor(logits),
        torch.tensor(dense),
        torch.tensor(labels),
        image,
        torch.linspace(-1, 1, count),
    )
    assert frame.dtypes.to_dict() == {name: np.dtype(kind) for name, kind in COLUMNS.items()}
    for row, outcome in enumerate(frame.itertuples()):
        log_p = log_softmax(logits[row])
        true = labels[row]
        assert (outcome.image, outcome.label_true) == (50 + row, true)
        assert outcome.prediction == logits[row].argmax()
        assert outcome.top5 == (true in np.argsort(-logits[row])[:5])
        assert outcome.loss == pytest.approx(-log_p[true], abs=1e-5)
        assert outcome.margin == pytest.approx(
            logits[row][true] - np.delete(logits[row], true).max(), abs=1e-5
        )
        assert outcome.agree == (logits[row].argmax() == dense[row].argmax())
        p, q = np.exp(log_p), np.exp(log_softmax(dense[row]))
        assert outcome.kl == pytest.approx(entropy(q, p), rel=1e-4, abs=1e-6)
        assert outcome.tau == pytest.approx(np.linspace(-1, 1, count)[row])


def test_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(3.0)]])
    dense = torch.zeros(2, 2)
    frame = one_cell(
        logits, dense, torch.tensor([0, 0]), torch.tensor([8, 3]), torch.tensor([1.0, 0.5])
    )
    assert frame.prediction.tolist() == [0, 1]
    assert frame.loss.tolist() == pytest.approx([math.log(4 / 3), math.log(4)])
    assert frame.margin.tolist() == pytest.approx([math.log(3), -math.log(3)])
    assert frame.agree.tolist() == [True, False]
    assert frame.kl.tolist() == pytest.approx(
        [math.log(0.5 / 0.75) / 2 + math.log(0.5 / 0.25) / 2] * 2
    )
    means = metrics(frame, 0.75)
    assert means.top1 == accuracy(frame) == 0.5
    assert means.top5 == 1
    assert means.loss == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    assert means.margin == pytest.approx(0, abs=1e-7)
    assert (means.agreement, means.dense_top1, means.tau) == (0.5, 0.75, 0.75)


def test_the_same_logits_diverge_by_nothing() -> None:
    logits = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    frame = one_cell(
        logits, logits, torch.zeros(9, dtype=torch.long), torch.arange(9), torch.ones(9)
    )
    assert frame.kl.tolist() == [0] * 9
    assert frame.agree.all()


@pytest.mark.parametrize("values", [2, 4, 1000])
@pytest.mark.parametrize("classes", [2, 5, 6, 40])
def test_the_largest_are_those_of_topk_among_equal_ones_too(values: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(values)
    logits = torch.randint(0, values, (3, 50, classes), generator=generator).double()
    labels = torch.randint(0, classes, (50,), generator=generator).expand(3, -1)
    largest = logits.topk(min(5, classes), dim=2).indices
    expected = (largest == labels[:, :, None]).any(2)
    assert torch.equal(among_largest(logits, labels, 5), expected)
