"""Verdicts from tables of tries, against the rule computed from their stored bits alone."""

import json
from collections.abc import Collection, Iterator
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from methods.base import SCHEDULES
from methods.spec import parse
from suite.analysis.schedule_answers import MethodAnswers, tried_answers
from suite.analysis.schedules import order_of_pair
from suite.stats.hits import Hits
from suite.stats.metric import TOP1
from suite.tries.bundled import TABLES, tables
from suite.tries.files import read_tries, write_tries
from suite.tries.settings import Setting, default_setting
from suite.tries.table import Origin, Tries, Try

PAIRS = 20  # at least as many are compared in each table
SEVEN = ("mtr", "utr", "tome", "delta", "mame", "evit", "random")  # of 21 pairs


def invented(folder: Path) -> Path:
    """A table of seven methods on 400 images, whose leads change with the schedule in some pairs."""
    rng = np.random.default_rng(3)
    names = ("mtr", "tome", "utr", "delta", "stm", "random", "pool")
    easy, rows = rng.random(400), []
    for name in names:
        general, swing = rng.normal(0.6, 0.02), rng.choice([0.005, 0.06])
        for schedule in SCHEDULES:
            setting = Setting(schedule, default_setting(parse(name).method).cls_window)
            if (name, schedule) == ("utr", "falling"):
                rows.append(Try(name, setting, 0.4, reason="cannot remove so much"))
                continue
            right = easy + rng.normal(0, 0.1, 400) < general + rng.normal(0, swing)
            hits = Hits(name, right[None], np.arange(400))
            rows.append(Try(name, setting, 0.4, 0.4, 10, hits))
    origin = Origin(
        "vim_mini", None, "blots", "dev", "0" * 16, tuple(range(400)), (0.4,), 0, None, "flops",
        "fp32", "cpu",
    )  # fmt: skip
    write_tries(Tries(origin, tuple(rows), {}), folder / "invented.parquet")
    return folder / "invented.parquet"


def judged(path: Path, names: Collection[str] = ()) -> Iterator[tuple[float, str, str, str]]:
    """The verdict of the suite on every pair, or those of `names`, in the order of their names."""
    tries = read_tries(path)
    blank = {}
    for name in names or tries.methods:
        window = default_setting(parse(name).method).cls_window
        blank[parse(name)] = MethodAnswers(name, True, False, False, window, None)
    for budget in tries.origin.budgets:
        answered = tried_answers(blank, tries, budget)
        for first, second in combinations(sorted(answered, key=lambda each: each.label), 2):
            order = order_of_pair(first, second)
            turned = " turned" if order.method != first.label else ""
            yield budget, first.label, second.label, f"{order.verdict}{turned}"


def computed(path: Path, names: Collection[str] = ()) -> Iterator[tuple[float, str, str, str]]:
    """The same by the rule, from the file alone."""
    table = pq.read_table(path)
    images = len(json.loads(table.schema.metadata[b"suite.tries"])["images"])
    bits: dict[tuple[str, str, float], tuple[int, float]] = {}
    for row in table.to_pylist():
        if names and row["method"] not in names:
            continue
        window = default_setting(parse(row["method"]).method).cls_window
        if row["cls_window"] == window and row["correct"] is not None:
            # as one whole number, an image a bit
            whole = int.from_bytes(row["correct"], "big") >> (-images % 8)
            bits[row["method"], row["schedule"], row["budget"]] = whole, row["removed"]
    budgets = sorted({budget for _, _, budget in bits})
    for budget in budgets:
        known = sorted({name for name, _, at in bits if at == budget})
        for first, second in combinations(known, 2):
            tested = []
            for schedule in SCHEDULES:
                one, two = (bits.get((name, schedule, budget)) for name in (first, second))
                if one and two and abs(one[1] - two[1]) <= 0.005:
                    wins = (one[0] & ~two[0]).bit_count()
                    losses = (two[0] & ~one[0]).bit_count()
                    tested.append((mcnemar(wins, losses), wins > losses))
            yield budget, first, second, rule(tested)


def mcnemar(wins: int, losses: int) -> float:
    """The exact two-sided p of a fair coin."""
    tosses, few = wins + losses, min(wins, losses)
    return min(1.0, 2 * sum(comb(tosses, k) for k in range(few + 1)) / 2**tosses)


def rule(tested: list[tuple[float, bool]]) -> str:
    """Holm's step-down over the schedules, then whether leads of both kinds are left."""
    leads = set()
    for rank, (p, ahead) in enumerate(sorted(tested)):
        if p * (len(tested) - rank) >= 0.05:
            break
        leads.add(ahead)
    return {
        (): "open",
        (True,): "holds",
        (False,): "holds turned",
        (False, True): "depends",
    }[tuple(sorted(leads))]


def check(path: Path, names: Collection[str] = ()) -> set[str]:
    """Compare both on all pairs of a table, or those of `names`; the verdicts that occur."""
    suite, own = sorted(judged(path, names)), sorted(computed(path, names))
    assert len({row[1:3] for row in own}) >= PAIRS
    assert suite == own
    return {verdict.split()[0] for *_, verdict in own}


def test_verdicts_from_stored_answers_are_those_of_the_rule(tmp_path: Path) -> None:
    assert check(invented(tmp_path)) == {"holds", "depends", "open"}


def test_verdicts_from_the_bundled_table_are_those_of_the_rule() -> None:
    assert check(TABLES / "vim_nano.parquet", SEVEN) == {"holds", "depends", "open"}


@pytest.mark.slow
def test_all_verdicts_from_all_bundled_tables_are_those_of_the_rule() -> None:
    # Of a mean IoU the rule needs the resampled pixels.
    of_bits = [path for path in tables() if read_tries(path).metric == TOP1]
    found = {path.stem: check(path) for path in of_bits}
    assert len(found) >= 4
    assert set().union(*found.values()) == {"holds", "depends", "open"}
