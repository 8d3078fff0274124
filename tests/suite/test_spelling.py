"""However the settings of a comparison are spelled, it is one comparison: no number and no sentence differs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from methods.base import SCHEDULES
from suite.cli import run
from suite.config.run_spec import RunSpec
from suite.plan.loading import Opened
from suite.plan.prepare import prepare
from suite.plan.settings import one_spelling
from suite.tries.settings import Setting

Specs = Callable[..., RunSpec]
Tables = Callable[..., Path]
Content = Callable[[Path], dict[str, bytes]]
Out = pytest.CaptureFixture[str]
METHODS = ("mtr", "tome", "delta", "random", "pool", "downsample")
OPTIONS = {
    "mtr": ("score=b", "order=appended", "weights=size"),
    "tome": ("order=appended", "weights=mean", "cls_window=3"),
    "delta": ("cls_window=4", "order=score"),
    "random": ("cls_window=2",),
}
SCHEDULE_NAMES = (*SCHEDULES, "every-2", "tuned")
# Where the small backbone, data and run are; what is not one of these is spelled in each test.
WHERE = ["--backbones", "vim_mini", "--checkpoint", "random", "--data", "blots", "--images", "12"]
WHERE += ["--budgets", "0.3", "--seeds", "1", "--device", "cpu", "--threads", "1"]
WHERE += ["--gallery", "0"]
PICKS = {
    "mtr": Setting("falling", 0),
    "tome": Setting("rising", 4),
    "random": Setting("one-shot", 0),
    "stride": Setting("staged", 0),
    "pool": Setting("falling", 0),
}


@st.composite
def meant(draw: st.DrawFn) -> list[tuple[str, list[str], str]]:
    """Methods with their options and schedules."""
    names = draw(st.lists(st.sampled_from(METHODS), min_size=1, max_size=3, unique=True))
    if names == ["downsample"]:
        names.append("mtr")  # alone it has no schedule, and the run's is the baselines'
    common = draw(st.sampled_from(SCHEDULE_NAMES))
    found = []
    for name in names:
        options = draw(st.lists(st.sampled_from(OPTIONS.get(name, ("",))), unique=True))
        schedule = draw(st.sampled_from((common, *SCHEDULE_NAMES)))
        found.append((name, [option for option in options if option], schedule))
    return found


def spelled(
    draw: Callable[[st.SearchStrategy[Any]], Any], methods: list[tuple[str, list[str], str]]
) -> dict[str, Any]:
    """One of the spellings of these methods: the settings of a specification."""
    for_all = draw(st.sampled_from(SCHEDULE_NAMES))
    texts = []
    for name, options, schedule in methods:
        ordered = draw(st.permutations(options))
        text = f"{name}[{','.join(ordered)}]" if ordered else name
        # A method of the run's schedule may say so, all others must.
        # What removes no tokens at sites has none to say.
        says = name != "downsample" and (schedule != for_all or draw(st.booleans()))
        texts.append(f"{text}@{schedule}" if says else text)
    return {"methods": tuple(texts), "schedule": for_all}


@given(meant(), st.data())
@settings(max_examples=60, deadline=None)
def test_all_spellings_are_one_specification(
    methods: list[tuple[str, list[str], str]], data: st.DataObject
) -> None:
    one, other = (RunSpec(**spelled(data.draw, methods)) for _ in range(2))
    assert one_spelling(one) == one_spelling(other)


@given(meant(), st.data())
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_all_spellings_have_the_same_cells_under_the_same_names(
    small: Specs, tables: Tables, methods: list[tuple[str, list[str], str]], data: st.DataObject
) -> None:
    fixed = {"tries": str(tables(PICKS)), "budgets": (0.3,)}
    opened = Opened()
    one, other = (prepare(small(**fixed, **spelled(data.draw, methods)), opened) for _ in range(2))
    assert one.records == other.records
    assert one.spec == other.spec


def printed(capsys: Out, *line: str) -> dict[str, Any]:
    assert run(["compare", *WHERE, *line, "--no-report", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    del document["run"]
    return dict(document)


@pytest.mark.slow  # by default: their specifications and cells are the same, and the words of two
@pytest.mark.parametrize("tuned", [False, True])
def test_three_spellings_end_in_the_same_files_and_the_same_words(
    small: Specs, tables: Tables, content: Content, tmp_path: Path, capsys: Out, tuned: bool
) -> None:
    asked = ["mtr@falling", "tome[order=appended,cls_window=3]@falling"]
    file = {"methods": ["mtr", "tome[cls_window=3,order=appended]"], "schedule": "falling"}
    if tuned:  # the settings of one are picked for it, the other's are named
        asked[0], file = (
            "mtr",
            {"methods": ["mtr@tuned", file["methods"][1]], "schedule": "falling"},
        )
    config = tmp_path / "experiment.yaml"
    config.write_text(yaml.safe_dump(file))
    table = ["--tries", str(tables(PICKS))]
    lines = [
        ["--methods", ",".join(asked)],
        ["--config", str(config)],
        ["--methods", ",".join(file["methods"]), "--schedule", "falling"],
    ]
    documents, files = [], []
    for number, line in enumerate(lines):
        name = str(number)
        documents.append(
            printed(capsys, *line, *table, "--runs", str(tmp_path / "runs"), "--name", name)
        )
        found = content(tmp_path / "runs" / name)
        files.append({path: file for path, file in found.items() if path != "environment.json"})
    assert documents[0] == documents[1] == documents[2]
    assert files[0] == files[1] == files[2]
    assert documents[0]["against_blind"]


def test_a_cell_is_no_better_for_being_spelled_out(
    small: Specs, tables: Tables, tmp_path: Path, capsys: Out
) -> None:
    """As the setting it was tuned to or as the same by name: against the blind baselines it stands alike."""
    table = ["--tries", str(tables(PICKS)), "--runs", str(tmp_path), "--methods"]
    found = []
    for number, methods in enumerate(("mtr", "mtr@falling")):
        document = printed(capsys, *table, methods, "--name", str(number))
        leads = {}
        for at in document["against_blind"]:
            (lead,) = at["leads"]
            leads[at["budget"]] = at["baseline"], at["setting"], at["top1"], lead
        found.append(leads)
    assert found[0] == found[1]
    assert found[0]
