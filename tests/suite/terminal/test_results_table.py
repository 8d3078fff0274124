"""The tables of a comparison, one a backbone; of protocol `paper` a row a published method, others beside it."""

from typing import Any

import pytest

from suite.store.schema import CellRecord, ClassificationMetrics
from suite.store.unstated import UNSTATED
from suite.terminal.results_table import results_tables
from suite.terminal.tables import left_out, plan_table, print_table, smaller_models


def record(label: str, protocol: str, budget: float | None, top1: float | None, **more: Any) -> Any:
    removed = 0.0 if budget is None else more.pop("removed", budget)
    metrics = None
    if top1 is not None:
        scores = dict.fromkeys(ClassificationMetrics.model_fields, 0.0) | {"top1": top1}
        metrics = ClassificationMetrics(**scores)
    done = {"removed": {"flops": removed}, "token_ratio": 0.14, "total": {"flops": 10}}
    fields: dict[str, Any] = {
        "key": "0" * 16,
        "status": "skipped" if top1 is None else "ok",
        "backbone": "b",
        "checkpoint": "random",
        "weights": None,
        "dataset": "d",
        "split": "test",
        "images": 10,
        "method": label,
        "label": label,
        "spec": label,
        "title": label,
        "family": "merging",
        "stochastic": False,
        "options": {},
        "composition": None,
        "protocol": protocol,
        "flops_convention": "flops",
        "precision": "fp32",
        "image_size": 8,
        "budget": budget,
        "seed": 0,
        "metrics": metrics,
        **({} if top1 is None else done),
        **more,
    }
    return CellRecord(**fields)


CELLS = [
    record("none", "paper", None, 0.94),
    record("tome", "paper", 0.085, 0.86),
    record("utr", "paper", 0.26, 0.89),
    record("evit", "paper", 0.262, 0.1),
    record("stm", "paper", None, None, reason=UNSTATED),
    record("mtr", "matched", 0.085, 0.95),
    # The same tokens leave for 26 and for 26.2 %: one cell.
    record("mtr", "matched", 0.26, 0.72),
    record("random", "matched", 0.085, 0.9),
    record("random", "matched", 0.085, 0.92, seed=1),
    record("random", "matched", 0.26, 0.6),
    record("random", "matched", 0.262, 0.5),
    record("downsample", "matched", 0.085, None, reason="no smaller image comes closer"),
    record("downsample", "matched", 0.26, 0.8, removed=0.28),
]


def rows_of(table: Any) -> list[list[str]]:
    return [list(row) for row in zip(*(column.cells for column in table.columns), strict=True)]


def test_each_published_method_has_a_row_with_what_is_matched_to_it() -> None:
    (table,) = results_tables(CELLS)
    heads = ["FLOPs removed", "tokens removed", "as published", "mtr", "random", "downsample"]
    assert [column.header for column in table.columns] == ["method", *heads]
    assert table.title == (
        "top-1 (%) on b, 10 test images, dense 94.0; mtr, random, downsample matched to the FLOPs of "
        "the row"
    )
    assert rows_of(table) == [
        ["tome", "8.5 %", "14.0 %", "86.0", "95.0", "91.0 ±1.0", "skipped"],
        ["utr", "26.0 %", "14.0 %", "89.0", "72.0", "60.0", "80.0 †"],
        ["evit", "26.2 %", "14.0 %", "10.0", "72.0", "50.0", "80.0 †"],
    ]


def test_without_baselines_only_the_published_methods_are_there() -> None:
    (table,) = results_tables(CELLS[:3])
    assert rows_of(table)[0] == ["tome", "8.5 %", "14.0 %", "86.0"]


def test_a_method_without_a_published_schedule_is_named_once() -> None:
    twice = [*CELLS, record("stm", "paper", None, None, reason=UNSTATED, backbone="c")]
    assert left_out(twice) == [
        "skipped: downsample on b: no smaller image comes closer",
        "Not in the table: stm. No sites and counts are published of them: use --protocol matched.",
    ]
    assert "stm" not in [row[1] for row in rows_of(plan_table(twice, "flops"))]


def test_a_smaller_model_stands_below_the_table_of_the_backbone_it_is_beside() -> None:
    more = {"backbone": "small", "role": "smaller", "beside": {"b": 0.37, "smallest": -0.2}}
    cells = [*CELLS, record("none", "matched", None, 0.95, **more)]
    assert smaller_models(cells) == ["small, a model smaller than b: 95.0 at 37.0 % fewer FLOPs."]


def test_every_backbone_has_a_table_whose_title_has_the_dense_model() -> None:
    cells = []
    for backbone, top1, dense in (("b", 0.9, 0.94), ("c", 0.8, None)):
        failed = {"status": "failed", "reason": "NaN"} if dense is None else {}
        cells.append(record("none", "matched", None, dense, backbone=backbone, **failed))
        cells.append(record("mtr", "matched", 0.125, top1, backbone=backbone, schedule="falling"))
    tables = results_tables(cells)
    assert [table.title for table in tables] == [
        "top-1 (%) on b, 10 test images, dense 94.0, by FLOPs removed",
        "top-1 (%) on c, 10 test images, dense failed, by FLOPs removed",
    ]
    assert [rows_of(table) for table in tables] == [
        [["mtr", "falling", "90.0"]],
        [["mtr", "falling", "80.0"]],
    ]
    assert [column.header for column in tables[0].columns] == ["method", "setting", "-12.5 %"]


def test_three_budgets_with_settings_and_seeds_are_one_part_at_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    where = {"backbone": "videomamba_nano", "schedule": "one-shot", "cls_window": 8}
    cells = [record("none", "matched", None, 0.94, backbone="videomamba_nano", images=500)]
    for budget in (0.2, 0.4, 0.6):
        for label in ("mtr", "random", "downsample"):
            cells += [
                record(label, "matched", budget, 0.8 + 0.1 * s, seed=s, **where) for s in (0, 1)
            ]
    (table,) = results_tables(cells)
    print_table(table)
    out = capsys.readouterr().out
    assert out.count(" method ") == 1
    assert len(out.splitlines()) == 3 + 3, "no row and no title is folded"
