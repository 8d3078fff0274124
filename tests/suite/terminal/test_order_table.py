"""The table of orders over schedules, as it is printed."""

import pytest

from suite.stats.schedules import OrderOverSchedules, ScheduleVerdicts, UnderSchedule
from suite.terminal.order_table import order_table
from suite.terminal.tables import print_table


def test_each_pair_has_its_verdict_and_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    under = (
        UnderSchedule("staged", "ahead"),
        UnderSchedule("rising", "ahead"),
        UnderSchedule("falling", "behind"),
        UnderSchedule("one-shot", "left out"),
    )
    orders = (
        OrderOverSchedules("mtr", "utr", under),
        OrderOverSchedules("tome", "mtr[score=b]", under[:2]),
        OrderOverSchedules("mtr", "random", under, "random"),
    )
    monkeypatch.setenv("COLUMNS", "80")
    print_table(order_table(ScheduleVerdicts("vim_nano", 0.4, "run", "dev", 500, orders)))
    out = capsys.readouterr().out
    title = "order under equal schedules, vim_nano at -40 % FLOPs, 500 dev images"
    assert title in " ".join(out.split())
    head = ["method", "other", "order", "ahead", "behind", "open"]
    rows = [line.split() for line in out.splitlines()]
    assert rows[rows.index(head) + 2 :] == [
        ["mtr", "utr", "depends", "2", "1", "0"],
        ["tome", "mtr[score=b]", "holds", "2", "0", "0"],
    ], "blind baselines are left to the sentences"
