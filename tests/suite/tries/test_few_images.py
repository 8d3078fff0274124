"""Tries on few images are called so, with the uncertainty of one of them."""

from pathlib import Path

import numpy as np
import pytest

from suite.stats.hits import Hits
from suite.stats.metric import MIOU, TOP1
from suite.stats.single import wilson
from suite.tries.bundled import tables
from suite.tries.few_images import FEW, few_images
from suite.tries.files import read_tries
from suite.tries.table import Tries

DRAWS = 30


def test_few_images_are_named_with_their_uncertainty() -> None:
    low, high = wilson(20, 40)
    told = few_images(40, "images", TOP1)
    assert told.startswith("40 images, few to pick settings by")
    assert f"±{100 * (high - low) / 2:.1f} points (95 %)" in told
    assert f"{FEW} or more" in told
    assert few_images(1, "videos", TOP1).startswith("1 video, few")
    assert few_images(FEW - 1, "images", TOP1)
    assert few_images(FEW, "images", TOP1) == ""
    # How uncertain a mean IoU is depends on the images.
    assert few_images(40, "images", MIOU) == (
        f"40 images, few to pick settings by; {FEW} or more would do"
    )


def lost(table: Tries, count: int, draws: np.random.Generator) -> tuple[float, float]:
    """Points that picks on so many images lose on the others: their mean, and one time in ten."""
    rows: dict[str, dict[object, list[np.ndarray]]] = {}
    for row in table.rows:
        if isinstance(row.outcomes, Hits):
            correct = row.outcomes.correct[0]
            rows.setdefault(row.method, {}).setdefault(row.setting, []).append(correct)
    losses = []
    for settings in rows.values():
        whole = [each for each in settings.values() if len(each) == len(table.origin.budgets)]
        if len(whole) < 2:
            continue
        right = np.mean(whole, axis=1)
        for _ in range(DRAWS):
            order = draws.permutation(right.shape[1])
            picked = right[:, order[:count]].sum(axis=1).argmax()
            others = right[:, order[count:]].mean(axis=1)
            losses.append(100 * (others.max() - others[picked]))
    return float(np.mean(losses)), float(np.quantile(losses, 0.9))


def answering(table: Tries) -> set[str]:
    """The methods whose right answers are known."""
    return {row.method for row in table.rows if isinstance(row.outcomes, Hits)}


# Where tokens must fill a rectangle three methods run: too few for a mean over methods.
OF_MANY = [path for path in tables() if len(answering(read_tries(path))) > 3]


@pytest.mark.parametrize("path", OF_MANY, ids=lambda path: path.stem)
def test_what_few_images_cost_is_what_the_bundled_tries_say(path: Path) -> None:
    table, draws = read_tries(path), np.random.default_rng(0)
    enough, _ = lost(table, FEW, draws)
    mean, worst = lost(table, 40, draws)
    # The figures in docs/commands.md, with room for the draws.
    assert 0.1 < enough < 0.8
    assert 0.6 < mean < 1.5
    assert 1.5 < worst < 4.6
