"""Statistics and headline of a run, from outcomes written by hand."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from backbones.checkpoints.published import PublishedFile
from methods.spec import parse, parse_all
from suite.analysis.brief import IGNORANT, Brief, blind_words, brief
from suite.analysis.headline import make_headline, run_warnings
from suite.analysis.ranking import ranking_table
from suite.analysis.statistics import (
    compute_statistics,
    outcomes_at,
    reference_of,
    requested_methods,
    statistics_tables,
)
from suite.config.run_spec import RunSpec
from suite.config.spec_file import build_spec
from suite.stats.blind_baselines import BlindComparison, LeadOverBaseline, read_blind_table
from suite.store.results import Results
from suite.store.run_folder import Store
from suite.store.schema import CellRecord, ClassificationMetrics
from suite.terminal.results_table import results_tables
from suite.terminal.tables import left_out, off_budget, plan_table

COUNT = 40
LABELS = np.arange(COUNT) % 4


def correct_on(*wrong: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return ~np.isin(np.arange(COUNT), wrong)


def record(**fields: Any) -> CellRecord:
    """A record with these fields, the others as of a small run."""
    common: dict[str, Any] = {
        "key": "0" * 16,
        "status": "planned",
        "backbone": "b",
        "checkpoint": "random",
        "weights": None,
        "dataset": "fashion-clutter",
        "split": "test",
        "images": COUNT,
        "method": "mtr",
        "label": "mtr",
        "spec": "mtr",
        "title": "MTR",
        "family": "merging",
        "stochastic": False,
        "options": {},
        "composition": None,
        "protocol": "matched",
        "flops_convention": "flops",
        "precision": "fp32",
        "image_size": 8,
        "budget": None,
        "seed": 0,
    }
    return CellRecord(**common | fields)


def metrics(top1: float) -> ClassificationMetrics:
    return ClassificationMetrics(
        top1=top1, top5=1.0, loss=0.5, margin=1.0, agreement=0.5, kl=0.1, tau=1.0, dense_top1=1.0
    )


class Fabricated:
    """Records and shards of a run that never was: two shards a cell."""

    def __init__(self, folder: Path, spec: RunSpec) -> None:
        self.spec, self.store, self.records = spec, Store.open(folder, spec), list[CellRecord]()
        images = np.arange(COUNT) * 3
        self.results = Results(self.store, [images[:25], images[25:]])

    def add(
        self,
        label: str,
        budget: float | None,
        correct: np.ndarray[Any, Any] | None,
        removed: float = 0.0,
        **more: Any,
    ) -> None:
        key = f"{len(self.records):016x}"
        if correct is not None:
            prediction = np.where(correct, LABELS, LABELS + 1)
            frame = pd.DataFrame(
                {"image": np.arange(COUNT) * 3, "label_true": LABELS, "prediction": prediction}
            )
            for index, part in enumerate((frame[:25], frame[25:])):
                counts = pd.DataFrame({"block": [], "position": []})
                self.store.write_shards(index, part.image.to_numpy(), {key: (part, counts)})
        text = label.split(" = ")[0]
        composition = parse(text).composition()
        self.records.append(
            record(
                key=key,
                status="skipped" if correct is None else "ok",
                label=label,
                spec=text,
                method=text.split("[")[0],
                budget=budget,
                composition=composition.canonical() if composition else None,
                blind=bool(composition and composition.blind),
                chooses=bool(composition and composition.chooses),
                removed={"flops": removed},
                metrics=None if correct is None else metrics(float(correct.mean())),
                **more,
            )
        )

    def summarise(self, **published: PublishedFile) -> tuple[dict[str, Any], pd.DataFrame]:
        requested = requested_methods(parse_all(self.spec.methods))
        statistics = compute_statistics(self.records, self.results, self.spec, requested)
        warnings = run_warnings(statistics, self.spec, 10, published)
        headline = make_headline(statistics, self.spec, requested, warnings)
        frames = {}
        for name, table in statistics_tables(statistics).items():
            self.store.write_table(name, table)
            path = self.store.folder / "analyses" / f"{name}.parquet"
            frames[name] = pd.read_parquet(path) if path.exists() else table
        blind = frames["blind_comparison"]
        expected = [at.blind for part in statistics for at in part.budgets if at.blind]
        assert list(read_blind_table(blind, set(blind.label)).values()) == expected
        return headline.record(), frames["statistics"]


@pytest.fixture
def run(tmp_path: Path) -> Fabricated:
    spec = build_spec(
        backbones=("b",), methods=("none", "mtr[order=restored]", "tome"), budgets=(0.3, 0.5)
    )
    made = Fabricated(tmp_path, spec)
    made.add("none", None, correct_on(0, 1))
    made.add("mtr", 0.3, correct_on(0, 1, 2, 3), 0.3)
    made.add("tome", 0.3, correct_on(*range(1, 13)), 0.301)
    made.add("random", 0.3, correct_on(*range(20)), 0.3)
    made.add("random", 0.3, correct_on(*range(10, 32)), 0.3)
    made.add("stride", 0.3, correct_on(*range(8)), 0.29)
    made.add("mtr", 0.5, None)
    made.add("tome", 0.5, correct_on(*range(30)), 0.5)
    return made


def test_each_method_is_set_beside_the_first_one(run: Fabricated) -> None:
    _, frame = run.summarise()
    rows = {(row.label, row.budget): row for row in frame.fillna({"budget": 0}).itertuples()}
    assert rows["none", 0].top1 == 38 / 40
    assert rows["mtr", 0.3].reference == "mtr"
    assert pd.isna(rows["mtr", 0.3].difference)
    tome = rows["tome", 0.3]
    assert tome.reference == "mtr"
    assert tome.difference == pytest.approx(28 / 40 - 36 / 40)
    assert (tome.only_method_correct, tome.only_reference_correct) == (1, 9)
    assert tome.p == pytest.approx(binomtest(1, 10).pvalue)
    assert tome.difference_low < tome.difference < tome.difference_high
    random = rows["random", 0.3]
    assert (random.seeds, random.images) == (2, 40)
    assert random.top1 == pytest.approx((20 + 18) / 80)
    low, high = binomtest(19, 40).proportion_ci(method="wilson")
    assert (random.top1_low, random.top1_high) == pytest.approx((low, high))
    tested = sorted(row.p for row in (tome, random))
    assert [tome.p_holm, random.p_holm] == pytest.approx(
        [
            min(1, 2 * tested[0]) if row.p == tested[0] else max(tested[1], min(1, 2 * tested[0]))
            for row in (tome, random)
        ]
    )
    assert tome.significant is True
    assert [rows[key].significant for key in (("mtr", 0.3), ("stride", 0.3), ("none", 0))] == [
        None
    ] * 3  # not tested
    assert {type(row.significant) for row in rows.values()} == {bool, type(None)}
    assert pd.isna(rows["stride", 0.3].p)  # a point less work is another comparison
    assert rows["stride", 0.3].difference == pytest.approx(-0.1)


def test_where_the_first_method_is_missing_the_others_stand_alone(run: Fabricated) -> None:
    found, frame = run.summarise()
    row = frame[frame.budget == 0.5].iloc[0]
    assert (row.label, row.top1) == ("tome", 0.25)
    assert pd.isna(row.reference)
    assert "0.5" not in found["headline"]
    assert [entry["budget"] for entry in found["resolution"]] == [0.3, 0.5]


def test_the_headline_is_a_difference_with_its_interval(run: Fabricated) -> None:
    found, _ = run.summarise()
    assert (
        "On 40 test images of fashion-clutter (b) with 30 % of FLOPs removed, mtr keeps 20.0 points"
        in found["headline"]
    )
    assert "90.0 % against 70.0 %; dense 95.0 %" in found["headline"]
    assert found["paragraphs"] == []
    judged = found["resolution"][0]
    assert judged["sentence"].startswith("At 30 % of FLOPs removed this data can")


def test_a_blind_method_under_another_name_still_tells_what_can_be_seen(tmp_path: Path) -> None:
    made = Fabricated(
        tmp_path,
        build_spec(backbones=("b",), methods=("mtr[score=random,weights=drop]",), budgets=(0.3,)),
    )
    made.add("none", None, correct_on(0))
    made.add("mtr[score=random,weights=drop] = random", 0.3, correct_on(1), 0.3)
    found, _ = made.summarise()
    assert found["resolution"][0]["can_rank"] is False
    assert "cannot rank the methods" in found["resolution"][0]["sentence"]


def test_a_blind_method_by_equal_counts_of_tokens_is_no_rival_of_equal_work(
    tmp_path: Path,
) -> None:
    methods = ("mtr", "grid-pool")
    made = Fabricated(
        tmp_path, build_spec(backbones=("b",), methods=methods, budgets=(0.3,), baselines=False)
    )
    made.add("none", None, correct_on(0))
    made.add("mtr", 0.3, correct_on(1), 0.3)
    made.add("grid-pool", 0.3, correct_on(*range(1, 20)), 0.3)
    # it keeps more, at other work
    made.add("grid-pool", 0.3, correct_on(2, 3), 0.2, role="tokens")
    found, _ = made.summarise()
    assert found["blind"][0].startswith("Blind baselines at their best, b, ")
    assert "by mtr" in found["blind"][0]
    assert not any("rectangle" in sentence for sentence in found["blind"])


def test_baselines_of_the_grid_are_explained_where_they_stand_in(tmp_path: Path) -> None:
    made = Fabricated(tmp_path, build_spec(backbones=("b",), methods=("storm",), budgets=(0.3,)))
    made.add("none", None, correct_on(0))
    made.add("storm", 0.3, correct_on(1), 0.3)
    made.add("grid-pool", 0.3, correct_on(1, 2), 0.3, role="baseline")
    found, _ = made.summarise()
    assert found["blind"][1] == (
        "The tokens of b have to fill a rectangle, and random, stride and pool leave none: "
        "grid-pool and grid-resize are the blind baselines there."
    )


def test_a_method_that_is_skipped_elsewhere_under_its_own_name_is_still_the_reference(
    tmp_path: Path,
) -> None:
    made = Fabricated(
        tmp_path, build_spec(backbones=("b",), methods=("mtr", "tome"), budgets=(0.3, 0.9))
    )
    made.add("none", None, correct_on())
    made.add("mtr = mtr[targets=2]", 0.3, correct_on(1, 2), 0.3)
    made.add("tome", 0.3, correct_on(1), 0.3)
    made.add("mtr", 0.9, None)
    found, frame = made.summarise()
    assert frame[frame.label == "tome"].reference.tolist() == ["mtr = mtr[targets=2]"]
    assert "mtr = mtr[targets=2]" in found["headline"]


def test_the_middle_budget_speaks_and_the_others_follow(tmp_path: Path) -> None:
    made = Fabricated(
        tmp_path, build_spec(backbones=("b",), methods=("mtr", "tome"), budgets=(0.2, 0.4, 0.6))
    )
    made.add("none", None, correct_on())
    for budget in (0.2, 0.4, 0.6):
        made.add("mtr", budget, correct_on(1), budget)
        made.add("tome", budget, correct_on(2, 3), budget)
    found, _ = made.summarise()
    assert "40 % of FLOPs" in found["headline"]
    assert [("20 %" in text, "60 %" in text) for text in found["paragraphs"]] == [
        (True, False),
        (False, True),
    ]


def test_beside_the_headline_stand_the_named_methods_and_the_other_backbones(
    tmp_path: Path,
) -> None:
    spec = build_spec(
        backbones=("b", "c"), methods=("mtr", "tome", "evit"), budgets=(0.2, 0.4), split="train"
    )
    made = Fabricated(tmp_path, spec)
    for backbone in ("b", "c"):
        made.add("none", None, correct_on(), backbone=backbone)
        for budget in (0.2, 0.4):
            made.add("mtr", budget, correct_on(*range(10)), budget, backbone=backbone)
            made.add("tome", budget, correct_on(*range(20)), budget, backbone=backbone)
            made.add("evit", budget, correct_on(*range(30)), budget, backbone=backbone)
    found, _ = made.summarise()
    assert (
        "(b) with 40 % of FLOPs removed, mtr keeps 25.0 points of top-1 more than the best of the others, tome"
        in (found["headline"])
    )
    named, other, named_there = found["beside"]
    assert named.startswith(
        "On b, 40 test images, with 40 % removed, mtr keeps 50.0 points of top-1 more than evit (95 "
    )
    assert "(c) with 40 % of FLOPs removed" in other
    assert named_there.startswith("On c, 40 test images, with 40 % removed, mtr keeps 50.0 ")
    warning, *paragraphs = found["paragraphs"]
    assert "split `train`" in warning
    assert paragraphs[:3] == found["beside"]
    assert ["20 %" in text for text in paragraphs[3:]] == [True, True]


def test_where_the_first_method_cannot_run_on_a_backbone_the_next_speaks_there(
    tmp_path: Path,
) -> None:
    spec = build_spec(backbones=("b", "c"), methods=("mtr", "evit"), budgets=(0.2, 0.4))
    made = Fabricated(tmp_path, spec)
    for backbone, budget in (("b", 0.4), ("c", 0.2)):
        made.add("none", None, correct_on(), backbone=backbone)
        made.add(
            "mtr",
            budget,
            correct_on(*range(10)) if backbone == "b" else None,
            budget,
            backbone=backbone,
        )
        made.add("evit", budget, correct_on(*range(20)), budget, backbone=backbone)
        made.add("stride", budget, correct_on(*range(30)), budget, backbone=backbone)
    found, frame = made.summarise()
    assert "(b) with 40 % of FLOPs removed, mtr keeps 25.0 points" in found["headline"]
    (other,) = found["beside"]
    assert "(c) with 20 % of FLOPs removed, evit keeps 25.0 points" in other
    assert set(frame.reference[frame.backbone == "c"]) == {"none", "evit"}


def test_a_backbone_on_which_nothing_that_was_asked_for_runs_is_named(tmp_path: Path) -> None:
    made = Fabricated(tmp_path, build_spec(backbones=("b", "c"), methods=("mtr",), budgets=(0.4,)))
    for backbone in ("b", "c"):
        made.add("none", None, correct_on(), backbone=backbone)
        made.add(
            "mtr", 0.4, correct_on(*range(10)) if backbone == "b" else None, 0.4, backbone=backbone
        )
        made.add("stride", 0.4, correct_on(*range(30)), 0.4, backbone=backbone)
    found, _ = made.summarise()
    assert found["beside"] == [
        "On c no method that was asked for ran, so none is compared with another."
    ]


def test_of_many_named_methods_only_the_best_has_a_sentence(tmp_path: Path) -> None:
    names = ("mtr", "tome", "evit", "utr", "stm", "mame")
    made = Fabricated(tmp_path, build_spec(backbones=("b",), methods=names, budgets=(0.4,)))
    made.add("none", None, correct_on())
    for place, name in enumerate(names):
        made.add(name, 0.4, correct_on(*range(3 * place + 1)), 0.4)
    assert made.summarise()[0]["beside"] == []


def test_the_terminal_says_why_a_cell_is_missing() -> None:
    cell = record(label="mtr", status="skipped", reason="at most 72 %")
    done = record(label="tome", status="ok")
    failed = record(label="evit", status="failed", reason="NaN")
    assert left_out([cell, done, cell, failed]) == [
        "skipped: mtr on b: at most 72 %",
        "failed: evit on b: NaN",
    ]


def test_a_smaller_image_stands_beside_the_best_method_of_the_nearest_budget(
    tmp_path: Path,
) -> None:
    made = Fabricated(
        tmp_path, build_spec(backbones=("b",), methods=("mtr", "tome"), budgets=(0.3, 0.5))
    )
    made.add("none", None, correct_on())
    for budget in (0.3, 0.5):
        made.add("mtr", budget, correct_on(*range(10)), budget)
        made.add("tome", budget, correct_on(*range(8)), budget)
    made.add("downsample", 0.3, correct_on(*range(3)), 0.2, image_size=8)
    made.add("downsample", 0.5, correct_on(*range(6)), 0.45, image_size=6)
    found, _ = made.summarise()
    for told in (
        "a smaller image keeps 92.5 % at -20 % FLOPs (best token reduction: tome, 80.0 % at -30 %)",
        "85.0 % at -45 % FLOPs (tome, 80.0 % at -50 %)",
    ):
        assert told in found["paragraphs"][0]


def test_a_smaller_model_stands_beside_the_smaller_image(tmp_path: Path) -> None:
    made = Fabricated(tmp_path, build_spec(backbones=("b",), methods=("mtr",), budgets=(0.3, 0.5)))
    made.add("none", None, correct_on())
    for budget, wrong in ((0.3, 4), (0.5, 10)):
        made.add("mtr", budget, correct_on(*range(wrong)), budget)
    made.add("downsample", 0.3, correct_on(*range(3)), 0.2, image_size=8)
    made.add("none", None, correct_on(1, 2), backbone="s", role="smaller", beside={"b": 0.46})
    found, table = made.summarise()
    # 38 of 40 right; 46 % is nearer to 50 than to 30.
    assert (
        "On b, 40 test images, a smaller image keeps 92.5 % at -20 % FLOPs (best token reduction: "
        "mtr, 90.0 % at -30 %); a smaller model, s, keeps 95.0 % at -46 % FLOPs (mtr, 75.0 % at -50 "
        "%)."
    ) in found["paragraphs"]
    (row,) = table[table.label == "s"].to_dict("records")
    assert (row["backbone"], row["top1"], row["images"]) == ("b", 0.95, COUNT)
    assert set(table.backbone) == {"b"}


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    made = Fabricated(tmp_path, build_spec(backbones=("b",), methods=("none",), budgets=(0.3,)))
    made.add("none", None, correct_on(0))
    found, frame = made.summarise()
    assert found["headline"].startswith("No method was compared with another")
    assert frame.label.tolist() == ["none"]


def test_a_dense_model_that_is_not_what_was_published_is_said_first(tmp_path: Path) -> None:
    made = Fabricated(
        tmp_path, build_spec(backbones=("b",), methods=("mtr", "tome"), budgets=(0.3,))
    )
    made.add("none", None, correct_on(*range(20)))
    made.add("mtr", 0.3, correct_on(1), 0.3)
    made.add("tome", 0.3, correct_on(2), 0.3)
    found, _ = made.summarise(b=PublishedFile("b", "hf://o/r/b.pth", "bare", 90.0, data="seen"))
    assert found["warnings"] == found["paragraphs"][:1]
    assert (
        "right on 50.0 % of 40 images, but 90.0 % was published of it on seen, b.pth"
        in found["warnings"][0]
    )
    agreeing, _ = made.summarise(b=PublishedFile("b", "hf://o/r/b.pth", "bare", 60.0, data="seen"))
    assert agreeing["warnings"] == []


def test_seeds_are_read_together_in_the_order_of_the_images(run: Fabricated) -> None:
    ok = [record for record in run.records if record.status == "ok"]
    found = {cell.label: cell for cell in outcomes_at(ok, run.results, 0.3)}
    assert found["random"].correct.shape == (2, COUNT)
    assert found["random"].correct[1].tolist() == correct_on(*range(10, 32)).tolist()
    assert found["mtr"].images.tolist() == [3 * image for image in range(COUNT)]
    reference = reference_of(
        list(found.values()), ok, requested_methods(parse_all(run.spec.methods)), run.spec.protocol
    )
    assert reference is found["mtr"]


def test_under_protocol_paper_the_published_method_of_a_budget_is_the_reference(
    tmp_path: Path,
) -> None:
    spec = build_spec(backbones=("b",), methods=("mtr", "tome", "utr"), protocol="paper")
    made = Fabricated(tmp_path, spec)
    made.add("none", None, correct_on(), protocol="paper")
    made.add("tome", 0.1, correct_on(1), 0.1, protocol="paper")
    made.add("utr", 0.3, correct_on(2), 0.3, protocol="paper")
    for budget in (0.1, 0.3):
        made.add("mtr", budget, correct_on(3), budget, protocol="matched")
    _, table = made.summarise()
    assert table.groupby("budget").reference.unique().map(list).to_dict() == {
        0.1: ["tome"],
        0.3: ["utr"],
    }


def rows_of(table: Any) -> list[list[str]]:
    return [list(row) for row in zip(*(column.cells for column in table.columns), strict=True)]


def test_the_terminal_shows_accuracy_by_method_and_budget(run: Fabricated) -> None:
    run.add("evit", 0.3, None)
    run.records[-1] = run.records[-1].model_copy(update={"status": "failed"})
    (table,) = results_tables(run.records)
    assert table.title == "top-1 (%) on b, 40 test images, dense 95.0, by FLOPs removed"
    heads = ["method", "setting", "-30 %", "-50 %"]
    assert [column.header for column in table.columns] == heads
    assert rows_of(table) == [
        ["mtr", "", "90.0", "skipped"],
        ["tome", "", "70.0", "25.0"],
        ["random", "", "47.5 ±2.5", "same as above"],
        ["stride", "", "80.0 †", "same as above"],
        ["evit", "", "failed", "same as above"],
    ]


def test_what_another_share_was_removed_from_is_told(run: Fabricated) -> None:
    run.add("downsample", 0.3, correct_on(1), 0.2)
    run.add("downsample", 0.5, correct_on(1), 0.504)
    assert [line.partition(",")[0] for line in off_budget(run.records)] == [
        "† stride: 29.0 % fewer FLOPs",
        "† downsample: 20.0 % fewer FLOPs",
    ]


def test_a_plan_shows_what_goes_and_what_is_left() -> None:
    done: dict[str, Any] = {
        "token_ratio": 0.25,
        "total": {"flops": 1250000000},
        "removed": {"flops": 0.2004},
    }
    skipped: dict[str, Any] = {"status": "skipped", "reason": "at most 5 %"}
    drawn: dict[str, Any] = {"label": "random", "stochastic": True}
    cells = [
        record(label="mtr[order=score]", budget=0.2, **done),
        record(label="mtr[order=score]", budget=0.5, **skipped),
        *(record(budget=0.2, seed=seed, **drawn, **done) for seed in range(3)),
        record(budget=0.5, **drawn, **skipped),
    ]
    table = plan_table(cells, "flops")
    assert [column.header for column in table.columns][3] == "seeds"
    assert rows_of(table) == [
        ["b", "mtr[order=score]", "20 %", "", "25.0 %", "1.25", "20.04 %", ""],
        ["b", "mtr[order=score]", "50 %", "", "", "", "", "at most 5 %"],
        ["b", "random", "20 %", "3", "25.0 %", "1.25", "20.04 %", ""],
        ["b", "random", "50 %", "", "", "", "", "at most 5 %"],
    ]


def in_brief(made: Fabricated) -> Brief:
    requested = requested_methods(parse_all(made.spec.methods))
    statistics = compute_statistics(made.records, made.results, made.spec, requested)
    return brief(statistics, ranking_table(statistics, []), [])


def test_the_answer_in_brief_is_that_of_the_ranking(tmp_path: Path) -> None:
    spec = build_spec(backbones=("b",), methods=("mtr", "tome"), budgets=(0.2, 0.4))
    made = Fabricated(tmp_path, spec)
    made.add("none", None, correct_on())
    for budget in (0.2, 0.4):
        made.add("mtr", budget, correct_on(*range(4)), budget)
        made.add("tome", budget, correct_on(*range(22)), budget)
        made.add("stride", budget, correct_on(*range(30)), budget)
    made.add("downsample", 0.4, correct_on(1), 0.38)
    found = in_brief(made)
    (answer,) = found.answers
    assert answer == {
        "backbone": "b",
        "budget": 0.4,
        "leader": "mtr",
        "level": ["mtr"],
        "sentence": "mtr leads with 90.0 %, 45.0 points above tome, at 40 % fewer FLOPs; a smaller "
        "image keeps 97.5 % at 38 %.",
    }
    first, power = found.sentences
    assert first == (
        "At 40 % fewer FLOPs, mtr and tome keep more than every baseline that ignores the image."
    )
    assert re.fullmatch(
        r"With 40 images, a difference below \d+\.\d points is easily missed.", power
    )
    assert found.doubts == []


@pytest.mark.parametrize(
    ("shown", "missed", "words"),
    [
        (1, 3, f"of 4 methods m0 keeps more than {IGNORANT}, the others are not shown to"),
        (2, 2, f"of 4 methods m0 and m1 keep more than {IGNORANT}, the others are not shown to"),
        (4, 1, f"4 of 5 methods keep more than {IGNORANT}; m4 is not shown to"),
        (4, 4, f"4 of 8 methods keep more than {IGNORANT}"),
    ],
)
def test_few_of_many_methods_are_named(shown: int, missed: int, words: str) -> None:
    leads = tuple(
        LeadOverBaseline(f"m{i}", 0.1, 0.0, 0.2, 0.5, i < shown) for i in range(shown + missed)
    )
    assert blind_words(BlindComparison("b", 0.4, "stride", 0.5, leads)) == words


def test_a_baseline_that_is_level_and_beaten_is_told_with_the_reason(tmp_path: Path) -> None:
    methods = ("mtr", "tome", "evit", "norm")
    spec = build_spec(backbones=("b",), methods=methods, budgets=(0.4,))
    made = Fabricated(tmp_path, spec)
    made.add("none", None, correct_on())
    # Six images alone tell mtr and stride apart: enough by itself, not for four comparisons.
    made.add("mtr", 0.4, correct_on(), 0.4)
    for method in ("tome", "evit", "norm"):
        made.add(method, 0.4, correct_on(1, 2), 0.4)
    made.add("stride", 0.4, correct_on(*range(6)), 0.4)
    found = in_brief(made)
    (answer,) = found.answers
    assert answer["leader"] == "mtr"
    assert "stride" in answer["level"]
    assert found.sentences[0] == (
        "At 40 % fewer FLOPs, tested by itself, mtr keeps more than every baseline that ignores "
        "the image; corrected for all 4 comparisons stride is not told apart from it."
    )
    assert len(found.doubts) == 1
    assert found.doubts[0].startswith(
        "40 images cannot rank methods at 40 %: stride, which ignores"
    )


def test_several_backbones_have_an_answer_each_and_share_the_sentences(tmp_path: Path) -> None:
    spec = build_spec(backbones=("b", "c"), methods=("mtr", "tome"), budgets=(0.4,))
    made = Fabricated(tmp_path, spec)
    for backbone in ("b", "c"):
        made.add("none", None, correct_on(), backbone=backbone)
        made.add("mtr", 0.4, correct_on(*range(4)), 0.4, backbone=backbone)
        made.add("tome", 0.4, correct_on(*range(22)), 0.4, backbone=backbone)
        made.add("stride", 0.4, correct_on(*range(30)), 0.4, backbone=backbone)
    found = in_brief(made)
    assert [row["sentence"][:12] for row in found.answers] == ["b: mtr leads", "c: mtr leads"]
    assert found.sentences[0] == (
        "At 40 % fewer FLOPs, on b and c, mtr and tome keep more than every baseline that ignores "
        "the image."
    )
    assert len(found.sentences) <= 3
