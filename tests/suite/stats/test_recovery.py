"""Fieller's interval of a share won back, against every share tried out, and against its promise."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from suite.stats.recovery import won_back
from suite.stats.recovery_words import control_words, recovery_answer

Bits = NDArray[np.bool_]


def drawn(seed: int, images: int = 400, seeds: int = 1) -> tuple[Bits, Bits, Bits]:
    """Hits of a whole model of 90 %, and of a reduced one of about 60 and 75 %, on the same images."""
    rng = np.random.default_rng(seed)
    ease = rng.random((1, images))
    noise = rng.normal(0, 0.1, (3, seeds, images))
    dense = (ease + noise[0] < 0.9)[0]
    return dense, ease + noise[1] < 0.6, ease + noise[2] < 0.75


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_interval_holds_every_share_that_a_test_does_not_reject(seeds: int) -> None:
    dense, before, after = drawn(1, seeds=seeds)
    found = won_back(dense, before, after)
    assert found is not None
    share, spread = found
    losses = dense - before.mean(0)
    gains = after.mean(0) - before.mean(0)
    assert share == pytest.approx(gains.mean() / losses.mean())
    kept = []
    for candidate in np.linspace(-1, 2, 3001):
        rest = gains - candidate * losses
        error = rest.std(ddof=1) / np.sqrt(len(rest))
        if abs(rest.mean()) <= norm.ppf(0.975) * error:
            kept.append(candidate)
    assert spread.low == pytest.approx(min(kept), abs=2e-3)
    assert spread.high == pytest.approx(max(kept), abs=2e-3)


def test_nineteen_intervals_of_twenty_hold_the_truth() -> None:
    dense, before, after = drawn(0, images=400_000)
    truth = (after.mean() - before.mean()) / (dense.mean() - before.mean())
    held = 0
    for seed in range(1, 401):
        found = won_back(*drawn(seed))
        assert found is not None
        held += found[1].low <= truth <= found[1].high
    # Four standard deviations round 95 %.
    assert 0.906 * 400 <= held <= 0.994 * 400


def test_no_share_of_a_loss_that_is_not_shown() -> None:
    dense, before, after = drawn(2)
    assert won_back(dense, dense[None], after) is None
    assert won_back(before[0], dense[None], after) is None
    few = slice(0, 6)
    assert won_back(dense[few], before[:, few], after[:, few]) is None
    assert won_back(dense[:1], before[:, :1], after[:, :1]) is None


def test_all_or_nothing_has_an_interval_of_a_width() -> None:
    dense, before, _ = drawn(3)
    for after, share in ((dense[None], 1.0), (before, 0.0)):
        found = won_back(dense, before, after)
        assert found is not None
        assert found[0] == share
        assert found[1].low < share < found[1].high
        # One image in 400 that no draw shows, as a share of a loss of about 30 %.
        assert 0.01 < found[1].high - found[1].low < 0.1


BEHIND = "it ends 5.0 points [2.0, 8.0] behind the whole model trained alike"


@pytest.mark.parametrize(
    ("behind", "low", "high", "words"),
    [
        (0.05, 0.02, 0.08, BEHIND),
        (
            -0.01,
            -0.02,
            -0.005,
            "it ends 1.0 points [0.5, 2.0] ahead of the whole model trained alike",
        ),
        (
            0.01,
            -0.02,
            0.04,
            "it is not told apart from the whole model trained alike (-4.0 to +2.0 points)",
        ),
    ],
)
def test_a_method_is_set_beside_the_control(
    behind: float, low: float, high: float, words: str
) -> None:
    assert control_words({"behind": behind, "behind_low": low, "behind_high": high}) == words


def test_the_answer_names_the_most_and_claims_no_gain_that_is_not_shown() -> None:
    control = {"backbone": "net", "label": "none", "budget": None, "won_back": None}
    row = {"backbone": "net", "label": "a", "budget": 0.4, "won_back": 0.25}
    row |= {"won_back_low": 0.1, "won_back_high": 0.4, "trained_budgets": "0.4"}
    row |= {"behind": 0.05, "behind_low": 0.02, "behind_high": 0.08}
    more = row | {"label": "b", "won_back": 0.5, "won_back_low": 0.3, "won_back_high": 0.8}
    where = "on net at -40 % FLOPs"
    assert recovery_answer([control, row, more], str.upper) == (
        f"Retraining wins back most for B {where}: 50 % [30, 80] of its loss; {BEHIND}."
    )
    open_ended = more | {"won_back_low": -0.1}
    assert recovery_answer([control, row, open_ended]) == (
        f"No gain by retraining is shown: most for b {where}, 50 % [-10, 80] of its loss; {BEHIND}."
    )
    elsewhere = more | {"trained_budgets": "0.2, 0.6"}
    assert recovery_answer([control, row, elsewhere]) == (
        f"Retraining wins back most for b {where}, trained at -20, -60 %: 50 % [30, 80] of its "
        f"loss; {BEHIND}."
    )
    nothing = row | {"won_back": float("nan")}
    assert recovery_answer([control, nothing]).startswith("No method loses so much")
