"""The tables ``ahead`` and ``ahead_of_each`` of a run: which methods are rivals, and which not."""

from pathlib import Path

import pytest

from methods.spec import parse_all
from suite.analysis.ahead import ahead_tables
from suite.analysis.statistics import compute_statistics, requested_methods
from suite.config.spec_file import build_spec
from suite.store.schema import TABLES
from tests.suite.analysis.test_statistics import Fabricated, correct_on

METHODS = ("crop-shrink", "crop-shrink[zoom=1]", "mtr", "tome", "utr", "delta", "downsample")


def made(folder: Path, methods: tuple[str, ...] = METHODS) -> Fabricated:
    spec = build_spec(backbones=("b",), methods=methods, budgets=(0.3,))
    run = Fabricated(folder, spec)
    run.add("none", None, correct_on(0))
    families = {"utr": "hybrid", "delta": "baseline", "downsample": "baseline"}
    wrong = {"crop-shrink": 2, "crop-shrink[zoom=1]": 1, "mtr": 30, "tome": 20, "utr": 25}
    wrong |= {"delta": 0, "downsample": 3}
    for label in methods:
        removed = 0.28 if label == "downsample" else 0.3
        right = correct_on(*range(wrong[label]))
        run.add(label, 0.3, right, removed, family=families.get(label, "merging"))
    return run


def tables(run: Fabricated, protocol: str = "matched") -> dict[str, list[dict[str, object]]]:
    requested = requested_methods(parse_all(run.spec.methods))
    statistics = compute_statistics(run.records, run.results, run.spec, requested)
    frames = ahead_tables(statistics, protocol)
    for name, frame in frames.items():
        assert list(frame.columns) == list(TABLES[name].columns)
    return {name: frame.to_dict("records") for name, frame in frames.items()}


def test_rivals_are_other_methods_that_are_no_baseline(tmp_path: Path) -> None:
    found = tables(made(tmp_path))
    # Neither its own setting, nor a blind or simple baseline, is a rival; a smaller image is shown.
    leads = {row["reference"]: row["difference"] for row in found["ahead"]}
    assert leads == pytest.approx(
        {"tome": 18 / 40, "utr": 23 / 40, "mtr": 28 / 40, "downsample": 1 / 40}
    )
    (claim,) = found["ahead_of_each"]
    assert (claim["label"], claim["reference"], claim["methods"]) == ("crop-shrink", "tome", 3)
    assert (claim["significant"], claim["comparisons"]) == (True, 1)
    assert claim["p"] == pytest.approx(2 * 0.5**18)


def test_few_rivals_or_published_schedules_have_no_claim(tmp_path: Path) -> None:
    assert tables(made(tmp_path / "few", ("crop-shrink", "mtr", "tome"))) == {}
    assert tables(made(tmp_path / "paper"), "paper") == {}
