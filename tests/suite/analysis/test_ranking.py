"""The table ``ranking``: rows by what methods keep, and who has no place in it."""

from pathlib import Path

import pandas as pd
import pytest

from methods.spec import parse_all
from suite.analysis.ranking import ranking_table
from suite.analysis.statistics import compute_statistics, requested_methods
from suite.config.spec_file import build_spec
from suite.stats.schedules import OrderOverSchedules, ScheduleVerdicts, UnderSchedule
from suite.store.schema import TABLES
from tests.suite.analysis.test_statistics import Fabricated, correct_on


@pytest.fixture
def run(tmp_path: Path) -> Fabricated:
    spec = build_spec(backbones=("b",), methods=("none", "mtr", "tome"), budgets=(0.3,))
    made = Fabricated(tmp_path, spec)
    made.add("none", None, correct_on(0, 1))
    made.add("mtr", 0.3, correct_on(*range(1, 13)), 0.3)
    made.add("tome", 0.3, correct_on(0, 1, 2, 3), 0.301)
    made.add("stride", 0.3, correct_on(*range(20)), 0.29)
    made.add("oracle", 0.3, correct_on(), 0.3)
    return made


def test_cells_of_other_work_and_the_oracle_have_no_place(run: Fabricated) -> None:
    statistics = compute_statistics(
        run.records, run.results, run.spec, requested_methods(parse_all(run.spec.methods))
    )
    table = ranking_table(statistics, [])
    assert list(table.columns) == list(TABLES["ranking"].columns)
    assert [(row.label, row.group, row.top1) for row in table.itertuples()] == [
        ("tome", 1, 0.9),
        ("mtr", 2, 0.7),
    ]
    first, second = table.to_dict("records")
    assert pd.isna(first["reference"])
    assert (second["reference"], second["significant"], second["unsettled"]) == (
        "tome",
        True,
        False,
    )
    assert second["difference"] == pytest.approx(-0.2)


def test_a_lead_that_another_schedule_turns_round_is_unsettled(run: Fabricated) -> None:
    statistics = compute_statistics(
        run.records, run.results, run.spec, requested_methods(parse_all(run.spec.methods))
    )
    under = (UnderSchedule("rising", "ahead"), UnderSchedule("falling", "behind"))
    order = OrderOverSchedules("tome", "mtr", under)
    verdict = ScheduleVerdicts("b", 0.3, "run", "test", 40, (order,))
    assert ranking_table(statistics, [verdict])["unsettled"].tolist()[1] is True
