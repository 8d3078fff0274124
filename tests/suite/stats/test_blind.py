"""Which methods a baseline that never looks at the image does as well as."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from suite.stats.blind import Lead, Mark, marks, unbeaten


def _cells(accuracies: dict[str, list[np.ndarray]]) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    rows, correct = [], {}
    for label, seeds in accuracies.items():
        for seed, right in enumerate(seeds):
            key = f"{label}-{seed}"
            rows.append({"key": key, "status": "ok", "backbone": "b", "budget": 0.4, "label": label, "method": label,
                         "seed": seed, "top1": right.mean()})  # fmt: skip
            correct[key] = pd.Series(right, index=range(len(right)))
    return pd.DataFrame(rows), correct


def test_the_interval_is_that_of_the_paired_differences() -> None:
    rng = np.random.default_rng(0)
    stride = rng.random(400) < 0.5
    for gain in np.linspace(0.0, 0.2, 21):
        method = np.where(rng.random(400) < gain, True, stride)
        mark = marks(*_cells({"stride": [stride], "mtr": [method]}))["b", 0.4]
        gap = method.astype(float) - stride
        low = gap.mean() + stats.norm.ppf(0.025) * gap.std(ddof=1) / 20
        (lead,) = mark.leads
        np.testing.assert_allclose((lead.difference, lead.low), (gap.mean(), low), rtol=1e-6, atol=1e-12)
        assert lead.high - lead.difference == pytest.approx(lead.difference - lead.low)
        assert mark.equals == (() if low > 0 else ("mtr",))
        assert mark.everywhere == (low <= 0)


@pytest.mark.parametrize("other", ["stride", "pool"])
def test_the_best_blind_baseline_is_the_mean_of_its_seeds(other: str) -> None:
    half, most, all_ = np.arange(100) < 50, np.arange(100) < 70, np.arange(100) < 100
    best = marks(*_cells({"random": [half, half], other: [most], "mtr": [most]}))["b", 0.4]
    assert (best.baseline, best.equals) == (other, ("mtr",))
    mark = marks(*_cells({"random": [half, most], other: [half], "mtr": [all_], "tome": [most]}))
    found = mark["b", 0.4]
    assert (found.baseline, len(found.leads)) == ("random", 2)
    assert found.top1 == pytest.approx(0.6)
    assert found.equals == ()
    assert not found.everywhere


def test_a_baseline_that_looks_at_the_image_may_beat_a_blind_choice() -> None:
    half, most = np.arange(100) < 50, np.arange(100) < 70
    told = {"stride": [half], "mtr": [half], "delta": [most], "downsample": [most], "oracle": [most], "none": [most]}
    mark = marks(*_cells(told))["b", 0.4]
    assert (mark.equals, len(mark.leads)) == (("mtr",), 2)
    assert unbeaten([mark]) == []


def test_without_outcomes_the_means_decide_and_without_a_blind_baseline_nothing_does() -> None:
    half, most = np.arange(10) < 5, np.arange(10) < 6
    cells, _ = _cells({"stride": [half], "mtr": [most], "tome": [half]})
    mark = marks(cells, {})["b", 0.4]
    assert mark.equals == ("tome",)
    assert mark.record()["leads"][0] == {"label": "mtr", "difference": pytest.approx(0.1), "low": None, "high": None}
    assert marks(cells[cells["label"] != "stride"], {}) == {}
    assert marks(cells[cells["label"] == "stride"], {}) == {}


def test_a_sentence_a_backbone_names_the_budgets_at_which_no_method_was_shown_to_do_better() -> None:
    behind = [Lead(label, 0.1, -0.1, 0.3) for label in ("mtr", "tome")]
    ahead = [Lead(label, 0.1, 0.05, 0.15) for label in ("mtr", "tome")]
    found = [
        Mark("b", 0.2, "stride", 0.756, tuple(behind)),
        Mark("b", 0.3, "random", 0.5, (ahead[0], behind[1])),
        Mark("b", 0.55, "random", 0.25, tuple(behind)),
        Mark("c", 0.2, "stride", 0.5, tuple(ahead)),
    ]
    (sentence,) = unbeaten(found)
    assert "on b at -20 % FLOPs (stride, 75.6 %) or at -55 % FLOPs (random, 25.0 %):" in sentence
    assert unbeaten(found[1:2] + found[3:]) == []
    rows = [mark.record() for mark in found]
    assert [row["none_shown_better"] for row in rows] == [True, False, True, False]
    assert rows[1]["not_shown_better"] == ["tome"]
