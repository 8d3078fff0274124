"""The section of published beside measured values."""

from types import SimpleNamespace
from typing import Any

import pandas as pd

from reports.sections.reproduced import section
from suite.store.schema import TABLES

COMMON = {"name": "mine", "paper": "A paper", "backbone": "vim", "images": 500, "reason": None}
REPORT: Any = SimpleNamespace(run=SimpleNamespace(kind="images"))


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    made = pd.DataFrame([COMMON | row for row in rows], columns=list(TABLES["reproduced"].columns))
    made["incomparable"] = made["incomparable"].fillna("")
    made["place"] = made["place"].fillna("")
    return made.astype({"within": "boolean"})


def reproduced(*rows: dict[str, Any]) -> Any:
    return section(REPORT, {"reproduced": frame(*rows)})


DENSE = {"method": "none", "quantity": "top-1", "published": 0.81, "measured": 0.8}
MTR = {
    "method": "mtr",
    "budget": 0.4,
    "quantity": "drop",
    "published": 0.016,
    "measured": 0.02,
    "deviation": 0.004,
    "deviation_low": -0.01,
    "deviation_high": 0.018,
    "within": True,
    "incomparable": "sites not stated",
    "place": "abstract",
}


def test_values_stand_side_by_side() -> None:
    made = reproduced(DENSE, MTR)
    assert made.sentence == (
        "1 of 1 published values lie in the 95 % interval measured on 500 images; why 1 of them "
        "cannot be compared stands beside them."
    )
    (table,) = made.tables
    row = table.frame.iloc[1]
    assert (row["Cell"], row["Quantity"]) == ("mtr at 40 %", "drop")
    assert row["Published, %"] == 1.6
    assert row["Measured, %"] == 2.0
    assert (row["Not comparable because"], row["Published in"]) == ("sites not stated", "abstract")
    assert "dense 80.0 %" in table.caption
    assert "Table mine: A paper." in made.notes


def test_what_nobody_has_read_and_what_has_no_result_is_said() -> None:
    unread = {"method": "utr", "budget": 0.4, "quantity": "top-1", "measured": 0.7}
    skipped = MTR | {"method": "hsa", "measured": None, "deviation": None, "reason": "needs a scan"}
    made = reproduced(DENSE, unread, skipped)
    assert made.sentence == "No published value could be compared."
    assert "utr at 40 %: nobody has read the published value." in made.notes
    assert "hsa at 40 % has no result: needs a scan." in made.notes
