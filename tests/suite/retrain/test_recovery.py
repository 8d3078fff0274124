"""The order of methods and pairs of settings before and after training, against plain loops."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from suite.retrain.contrasts import contrast_rows, only_choice
from suite.retrain.found import Found, control_of, mean_of_seeds
from suite.retrain.output import retrained_table
from suite.retrain.ranking import ranking_row
from suite.retrain.recovery import families
from suite.stats.hits import Hits
from suite.store.schema import CellRecord, Retrained

IMAGES = np.arange(300)


def trained(**changed: Any) -> Retrained:
    values = {"backbone": "net", "name": "net-a-0.4", "budgets": [0.4], "epochs": 1, "steps": 9}
    values |= {"images": 90, "batch": 10, "learning_rate": 1e-3, "distill": 0.0, "augment": "none"}
    return Retrained(**{**values, **changed})


def record(label: str, options: dict[str, Any], **changed: Any) -> CellRecord:
    values: dict[str, Any] = {"key": "0" * 8, "status": "ok", "backbone": "net[weights=a]"}
    values |= {"checkpoint": "a", "weights": "b", "dataset": "d", "split": "test", "images": 300}
    values |= {
        "method": label.partition("[")[0].partition("@")[0],
        "label": label,
        "spec": label,
        "title": label,
    }
    values |= {"family": "merging", "stochastic": False, "options": options, "composition": {}}
    values |= {"protocol": "matched", "flops_convention": "flops", "precision": "fp32"}
    values |= {"image_size": 32, "budget": 0.4, "seed": 0, "schedule": "rising", "cls_window": 0}
    values |= {"role": "retrained", "retrained": trained(), "removed": {"flops": 0.4}}
    return CellRecord(**{**values, **changed})


def hits(label: str, share: float, seed: int, seeds: int = 1) -> Hits:
    rng = np.random.default_rng(seed)
    ease = np.random.default_rng(99).random(300)
    return Hits(label, ease + rng.normal(0, 0.2, (seeds, 300)) < share, IMAGES)


def found(
    label: str, options: dict[str, Any], before: float, after: float, seed: int, **changed: Any
) -> Found:
    whole = hits("none", 0.9, 7)
    return Found(
        record(label, options, **changed),
        trained(),
        whole,
        hits(label, before, seed, 3),
        hits(label, after, seed + 100),
        whole,
        whole,
    )


def drawn_by_hand(outcomes: Sequence[Hits], draws: int) -> NDArray[np.float64]:
    """Top-1 of each in `draws` samples of the images."""
    rng = np.random.default_rng(5)
    table = np.empty((len(outcomes), draws))
    for draw in range(draws):
        chosen = rng.integers(0, 300, 300)
        for place, one in enumerate(outcomes):
            table[place, draw] = one.correct[:, chosen].mean()
    return table


def test_the_order_is_kendalls_with_a_bootstrap_over_images() -> None:
    shares = [(0.3, 0.7), (0.45, 0.55), (0.6, 0.8), (0.75, 0.9)]
    family = []
    for number, (before, after) in enumerate(shares):
        family.append(found(f"m{number}", {}, before, after, number))
    row = ranking_row(family)
    # One of six pairs turns round; of the 24 orders 1 + 3 agree as much or more.
    assert row["concordance"] == pytest.approx(4 / 6)
    assert row["p"] == pytest.approx(4 / 24)
    assert (row["methods"], row["budget"], row["images"]) == (4, 0.4, 300)
    sampled = drawn_by_hand([one.before for one in family] + [one.after for one in family], 600)
    taus = []
    for before, after in zip(sampled[:4].T, sampled[4:].T, strict=True):
        signs = [
            np.sign(before[i] - before[j]) * np.sign(after[i] - after[j])
            for i in range(4)
            for j in range(i)
        ]
        taus.append(sum(signs) / 6)
    low, high = np.quantile(taus, [0.025, 0.975])
    assert row["concordance_low"] == pytest.approx(low, abs=0.34)
    assert row["concordance_high"] == pytest.approx(high, abs=0.34)
    assert row["concordance_low"] < row["concordance"] <= row["concordance_high"]


def test_settings_that_differ_in_one_choice_are_paired() -> None:
    family = [
        found("tome", {}, 0.7, 0.8, 1),
        found("tome[weights=drop]", {"weights": "drop"}, 0.55, 0.78, 2),
        found(
            "tome[order=appended,weights=drop]",
            {"weights": "drop", "order": "appended"},
            0.5,
            0.7,
            3,
        ),
        found("mtr", {}, 0.7, 0.8, 4),
        found("tome@falling", {}, 0.7, 0.8, 5, schedule="falling"),
    ]
    rows = {(row["label"], row["reference"]): row for row in contrast_rows(family)}
    assert {pair: row["setting"] for pair, row in rows.items()} == {
        ("tome[weights=drop]", "tome"): "weights drop against as it is",
        (
            "tome[order=appended,weights=drop]",
            "tome[weights=drop]",
        ): "order appended against as it is",
        ("tome@falling", "tome"): "schedule falling against rising",
    }
    row = rows["tome[weights=drop]", "tome"]
    (merging, pruning) = family[:2]
    before = pruning.before.correct.mean() - merging.before.correct.mean()
    after = pruning.after.correct.mean() - merging.after.correct.mean()
    assert row["difference_before"] == pytest.approx(before)
    assert row["difference"] == pytest.approx(after)
    assert row["change"] == pytest.approx(after - before)
    assert row["comparisons"] == 3
    outcomes = [pruning.after, merging.after, pruning.before, merging.before]
    sampled = drawn_by_hand(outcomes, 1500)
    changes = sampled[0] - sampled[1] - sampled[2] + sampled[3]
    low, high = np.quantile(changes, [0.025, 0.975])
    assert row["change_low"] == pytest.approx(low, abs=0.01)
    assert row["change_high"] == pytest.approx(high, abs=0.01)
    assert only_choice(merging.record, family[3].record) == ""


def test_seeds_are_averaged_in_one_draw_of_images() -> None:
    one, other = hits("a", 0.6, 1, 3), hits("b", 0.7, 2)
    table = mean_of_seeds([one, other])
    each = Hits.drawn([*one.each_seed(), other])
    np.testing.assert_allclose(table, [each[:3].mean(axis=0), each[3]])


def test_only_what_was_trained_alike_is_compared() -> None:
    same = found("a", {}, 0.6, 0.7, 1)
    longer = Found(**{**vars(same), "trained": trained(images=180)})
    elsewhere = Found(**{**vars(same), "trained": trained(budgets=[0.2])})
    mixed = Found(**{**vars(same), "trained": trained(budgets=[0.2, 0.4])})
    assert families([same, longer, elsewhere, mixed, same]) == [[same, same], [longer], [mixed]]
    # A smaller image that lies off the budget has other work.
    smaller = found("downsample", {}, 0.6, 0.7, 1, removed={"flops": 0.38})
    assert families([same, smaller]) == [[same]]


def test_the_control_is_that_of_the_same_price() -> None:
    cells = {}
    for name, changes in (
        ("short", {"images": 45}),
        ("rate", {"learning_rate": 1e-4}),
        ("same", {}),
        ("method", {"budgets": [0.4]}),
    ):
        control = trained(**{"budgets": [], **changes})
        cells[name, "none", None] = [record("none", {}, retrained=control, budget=None)]
    assert control_of(trained(), cells) == ("same", "none", None)
    del cells["same", "none", None]
    assert control_of(trained(), cells) == ("rate", "none", None)
    del cells["rate", "none", None]
    assert control_of(trained(), cells) is None


@pytest.mark.parametrize(("backbone", "mark"), [("net", ""), ("other", " †")])
def test_a_method_is_marked_on_the_backbone_where_it_is_off_its_budget(
    backbone: str, mark: str
) -> None:
    records = [
        record("downsample", {}, role="asked", backbone=name, removed={"flops": removed})
        for name, removed in (("net", 0.4), ("other", 0.55))
    ]
    shares = ("dense_top1", "top1_before", "top1", "behind", "behind_low", "behind_high")
    shares = (*shares, "won_back", "won_back_low", "won_back_high")
    control: dict[str, Any] = {"backbone": backbone, "budget": None, "label": "none"}
    control |= {"images": 300, "trained_budgets": ""} | dict.fromkeys(shares, 0.5)
    row = control | {"budget": 0.4, "label": "downsample", "trained_budgets": "0.4"}
    table = retrained_table([control, row], records, "")
    assert list(table.columns[1].cells) == [f"-40 %{mark}"]
