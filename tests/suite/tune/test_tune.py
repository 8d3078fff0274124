"""Every method has the same tries, and the setting that is right most often is picked."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backbones.common.errors import UserError
from methods import METHODS
from methods.spec import parse
from suite.cli import run
from suite.cli.spec_options import settled
from suite.comparison import run_comparison
from suite.config.spec_file import build
from suite.data import content_of, stratified
from suite.execution.local import execute
from suite.plan.prepare import prepare
from suite.plan.schedule import SCHEDULES
from suite.stats.hits import Hits
from suite.stats.metric import TOP1
from suite.store.results import Results
from suite.store.run_folder import Store
from suite.store.schema import SegmentationMetrics
from suite.tries.few_images import few_images
from suite.tries.files import open_tries
from suite.tries.settings import Setting, default_setting
from suite.tries.table import Try
from suite.tune.collect import pick
from suite.tune.prepare import prepare_tuning
from suite.tune.run import run_tuning
from suite.tune.spec import TuneSpec

Specs = Callable[..., Any]
Out = pytest.CaptureFixture[str]
TWO = ("random", "stm")
ADDED = ("stride", "pool")  # to these, since they are blind baselines


def tune_spec(**changed: Any) -> TuneSpec:
    values: dict[str, Any] = {
        "methods": TWO,
        "backbones": ("vim_mini",),
        "checkpoint": "random",
        "data": "blots",
        "images": 12,
        "budgets": (0.3, 0.5),
        "batch_size": 16,
        "shard_size": 12,
        "device": "cpu",
        "threads": 1,
    }
    return settled(build(TuneSpec, values | changed))


@pytest.fixture
def few_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four settings a method instead of 18, where only what becomes of them is looked at."""
    monkeypatch.setattr("suite.tries.settings.SCHEDULES", ("constant-ratio", "staged"))
    monkeypatch.setattr("suite.tries.settings.WINDOWS", (0, 4))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the tests of this file share."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def tuned(small: Specs, runs: Path) -> Path:
    """A finished tuning of `TWO`, run once; not to be written to."""
    if not (runs / "tuned").exists():
        run_tuning(tune_spec(), runs / "tuned", quiet=True)
    return runs / "tuned"


def test_all_methods_have_equally_many_tries(small: Specs) -> None:
    tuning = prepare_tuning(tune_spec(methods=("all",), budgets=(0.3,)))
    tries = tuning.tries["vim_mini"]
    counts = Counter(each.method.text for each in tries)
    assert set(counts) == {name for name in METHODS if METHODS[name].kind == "sequence"}
    assert len(counts) == 19
    # Methods that keep a rectangle have no window: their schedules alone are tried.
    on_grid = {name for name in counts if METHODS[name].on_grid}
    assert {counts[name] for name in on_grid} == {6}
    assert {counts[name] for name in counts if name not in on_grid} == {18}
    for name in set(counts) - on_grid:
        windows = {each.setting.cls_window for each in tries if each.method.text == name}
        assert windows == ({0, 2, 8} if name == "stm" else {0, 4, 8})
        own = Counter(each.setting.schedule for each in tries if each.method.text == name)
        assert own == dict.fromkeys(SCHEDULES, 3)
    # Methods that come to the same composition share cells, and none is evaluated twice.
    cells = {each.cell.key for each in tries}
    assert len(cells) < len(tries)
    assert cells | {tuning.prepared.dense["vim_mini"].key} == {
        cell.key for cell in tuning.prepared.cells
    }


@pytest.mark.parametrize(
    ("methods", "added"),
    [
        (("mtr",), ("random", "stride", "pool")),
        (("pool", "stm"), ("random", "stride")),
        (("Gate=stride", "random", "pool"), ()),
        (("random[weights=mean]",), ("random", "stride", "pool")),
    ],
)
def test_blind_baselines_have_the_tries_of_the_methods_that_were_named(
    small: Specs, methods: tuple[str, ...], added: tuple[str, ...]
) -> None:
    tuning = prepare_tuning(tune_spec(methods=methods, budgets=(0.3,)))
    assert [method.text for method in tuning.added] == list(added)
    counts = Counter(each.method.name for each in tuning.tries["vim_mini"])
    assert {"random", "stride", "pool"} <= counts.keys()
    said = [note for note in tuning.notes if note.startswith("added: ")]
    assert said == (
        [f"added: {', '.join(added)}, which every comparison runs beside the methods"]
        if added
        else []
    )


def test_a_comparison_by_the_tries_of_one_method_has_no_baseline_untuned(
    small: Specs, tuned: Path
) -> None:
    prepared = prepare(small(methods=("stm",), tries=str(tuned), across_schedules=True))
    shown = {cell.label: cell.tuned for cell in prepared.main if cell.setting}
    assert shown == dict.fromkeys(("stm", "random", "stride", "pool"), True)
    assert prepared.across == []


def test_the_pick_is_right_most_often_over_all_budgets(tuned: Path) -> None:
    (table,) = open_tries(tuned)
    frame = pd.read_parquet(tuned / "tries-vim_mini.parquet")
    assert len(frame) == 4 * 18 * 2
    for name in (*TWO, *ADDED):
        mine = frame[frame.method == name]
        means = mine.groupby(["schedule", "cls_window"], sort=False).top1.mean()
        # A mean of equal sums may differ in its last digit; counts of 12 images cannot.
        means = (24 * means).round()
        best = list(means.index[means == means.max()])
        default = default_setting(METHODS[name])
        expected = (default.schedule, default.cls_window)
        if expected not in best:
            expected = best[0]
        assert table.pick(name) == Setting(*expected)
        assert set(mine[mine.picked].schedule) == {expected[0]}


def test_a_try_is_the_cell_that_a_comparison_evaluates(
    tuned: Path, small: Specs, tmp_path: Path
) -> None:
    (table,) = open_tries(tuned)
    texts = ("random[cls_window=4]@staged", "stm[cls_window=8]@falling")
    spec = small(methods=texts, split="dev", images=12, budgets=(0.3,), seeds=1)
    spec = spec.model_copy(update={"baselines": False})
    result = run_comparison(spec, tmp_path, quiet=True)
    results = Results(Store(tmp_path), [table.images])
    records = {record.spec: record for record in result.records}
    for text in texts:
        method, record = parse(text), records[text]
        setting = Setting(method.schedule, int(method.options["cls_window"]))
        images, right = results.hits(record.key)
        row = table.find(method.name, setting, 0.3)
        assert row is not None
        assert isinstance(row.outcomes, Hits)
        assert row.outcomes.correct.tolist() == [right.tolist()]
        assert table.images.tolist() == images.tolist()
        assert row.removed == record.removed["flops"]
        assert row.tokens_removed == sum(each.tokens for each in record.removals.values())


def test_the_table_says_what_it_depends_on(tuned: Path) -> None:
    (table,) = open_tries(tuned)
    origin = table.origin
    assert (origin.backbone, origin.weights, origin.data) == ("vim_mini", None, "blots")
    assert (origin.split, origin.budgets, origin.seed) == ("dev", (0.3, 0.5), 0)
    assert origin.images == tuple(stratified(np.arange(30) % 3, 12))
    assert origin.content == content_of("blots", "dev", None, None, table.images)


@pytest.mark.usefixtures("small", "few_settings")
def test_an_interrupted_tuning_ends_with_the_same_bytes(tmp_path: Path) -> None:
    spec, folder, whole = (
        tune_spec(budgets=(0.3,), shard_size=5),
        tmp_path / "run",
        tmp_path / "whole",
    )
    run_tuning(spec, whole, quiet=True)

    def interrupted(prepared: Any, store: Store, progress: Any, fail_fast: bool = False) -> Any:
        def stop(count: int) -> None:
            nonlocal left
            left -= count
            if left < 0:
                raise KeyboardInterrupt

        left = 5 * len(prepared.keys)
        return execute(prepared, store, stop, fail_fast)

    with pytest.raises(KeyboardInterrupt):
        run_tuning(spec, folder, quiet=True, executor=interrupted)
    assert not list(folder.glob("tries-*"))
    assert {path.name for path in (folder / "shards").rglob("*.parquet")} == {"00000.parquet"}
    before = {path: path.stat().st_mtime_ns for path in (folder / "shards").rglob("*.parquet")}
    run_tuning(spec, folder, quiet=True)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    name = "tries-vim_mini.parquet"
    assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_the_seed_is_that_of_all_tries(small: Specs) -> None:
    seeds = {}
    for seed in (0, 5):
        cells = prepare_tuning(tune_spec(budgets=(0.3,), seed=seed)).prepared.cells
        seeds[seed] = {(cell.method.name, cell.seed) for cell in cells}
    others = {(name, 0) for name in ("none", "stm", *ADDED)}
    assert seeds == {0: others | {("random", 0)}, 5: others | {("random", 5)}}


@pytest.mark.usefixtures("small", "few_settings")
def test_a_setting_that_cannot_meet_a_budget_is_kept_with_its_reason(tmp_path: Path) -> None:
    # A matching in pairs halves the tokens at most, twice: 60 % of the work cannot go.
    spec = tune_spec(methods=("tome", "stride"), budgets=(0.2, 0.6), images=3, sites=(1, 2))
    result = run_tuning(spec, tmp_path, quiet=True)
    (table,) = result.tables
    assert table.pick("tome") is None
    assert table.pick("stride") is not None
    of_tome = [row for row in table.rows if row.method == "tome"]
    assert len(of_tome) == 2 * 4
    for row in of_tome:
        if row.budget == 0.6:
            assert row.outcomes is None
            assert "cannot remove 60 % of the work" in str(row.reason)
    assert any(row.outcomes is not None for row in of_tome)
    assert not result.failures


def answers(setting: Setting, budget: float, right: int | None) -> Try:
    if right is None:
        return Try("m", setting, budget, reason="no")
    hits = Hits("m", np.arange(8)[None] < right, np.arange(8))
    return Try("m", setting, budget, outcomes=hits)


def test_the_mean_over_budgets_counts_and_a_gap_excludes() -> None:
    one, two, three = Setting("staged", 0), Setting("rising", 0), Setting("falling", 4)
    rows = [
        *(answers(one, 0.2, 8), answers(one, 0.4, 2)),
        *(answers(two, 0.2, 5), answers(two, 0.4, 6)),
        *(answers(three, 0.2, 8), answers(three, 0.4, None)),
    ]
    assert pick(rows, one) == two
    rows[3] = answers(two, 0.4, 5)
    assert pick(rows, two) == two
    assert pick(rows, one) == one
    assert pick(rows, three) == one
    assert pick(rows[4:], three) is None


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("downsample", "downsample removes no token from a sequence"),
        ("none", "none removes no token"),
        ("mtr@staged", "mtr@staged has a setting of its own, .* write mtr$"),
        ("mtr[cls_window=0,score=b]", r"write mtr\[score=b\]$"),
        ("mrt", "did you mean mtr"),
    ],
)
def test_what_cannot_be_tuned_is_said_in_one_line(small: Specs, method: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        prepare_tuning(tune_spec(methods=(method,)))


def test_a_method_in_a_file_is_tuned_and_two_names_of_one_method_are_one(
    small: Specs, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from methods.base import Method, composed\n"
        "MINE = Method('mine', 'Mine', 'pruning', 'Drops what is short.',\n"
        "              lambda: composed(matching='lowest', score='norm'))\n"
    )
    names = (f"Own={file}:MINE", f"{file}:MINE", "Gate=stride", "stride")
    tuning = prepare_tuning(tune_spec(methods=names, budgets=(0.3,)))
    counts = Counter(each.method.text for each in tuning.tries["vim_mini"])
    # A method without a window has its six schedules, and that is said.
    assert counts == {f"{file}:MINE": 6, "stride": 18, "random": 18, "pool": 18}
    assert [note for note in tuning.notes if "tries" in note] == [
        "mine has 6 tries at each budget, others 18: without an option cls_window "
        "(methods/options.py) only its schedule is tried"
    ]


LINE = [
    *("tune", "--backbones", "vim_mini", "--checkpoint", "random", "--data", "blots"),
    *("--images", "6", "--budgets", "0.3,0.5", "--methods", "stride,mtr", "--device", "cpu"),
    *("--threads", "1"),
]


@pytest.mark.usefixtures("small", "few_settings")
def test_the_command_prints_picks_that_fit_and_how_to_use_them(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    line = [*LINE, "--runs", str(tmp_path), "--name", "t"]
    assert run(line) == 0
    shown = capsys.readouterr()
    table = [text for text in shown.out.splitlines() if text.startswith(("│", "┃"))]
    assert len(table) == 5
    assert max(map(len, table)) <= 80
    assert shown.out.splitlines()[-1] == (
        "use the tries: python -m suite compare --methods stride,mtr --backbones vim_mini --checkpoint "
        f"random --data blots --budgets 0.3,0.5 --tries {tmp_path / 't'}"
    )
    assert "cells on 6 images" in shown.err
    added = "added: random, pool, which every comparison runs beside the methods"
    few = f"WARNING: Settings will be picked on {few_images(6, 'images', TOP1)}."
    assert shown.err.splitlines()[0] == few
    assert shown.out.startswith(("stride", "mtr", "random", "pool"))
    assert added not in shown.err
    said = " ".join((shown.err + shown.out).split())
    assert said.count("few to pick settings by") == 1
    assert "Settings were picked on few images: 6 images." in said
    assert run([*line, "-v"]) == 0
    shown = capsys.readouterr()
    assert shown.err.splitlines()[:2] == [added, few]
    assert run([*line, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (tries,) = document["tries"]
    assert document["failures"] == {}
    assert Path(tries["file"]) == tmp_path / "t" / "tries-vim_mini.parquet"
    assert document["notes"] == [added, few]
    assert [row["method"] for row in tries["picks"]] == ["stride", "mtr", "random", "pool"]
    (table_of_tries,) = open_tries(tmp_path / "t")
    for row in tries["picks"]:
        pick_of_it = table_of_tries.pick(row["method"])
        assert pick_of_it is not None
        assert Setting(**row["pick"]) == pick_of_it
        known = [table_of_tries.find(row["method"], pick_of_it, budget) for budget in (0.3, 0.5)]
        assert row["top1"] == [each.accuracy for each in known if each]
    assert run(["report", str(tmp_path / "t")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "has no report" in error
    assert "--tries" in error
    assert run([*line, "--seed", "1"]) == 2
    assert "holds a run with other settings" in capsys.readouterr().err


def test_a_segmenter_is_tuned_by_its_mean_iou_and_the_tries_answer(
    small: Specs, tmp_path: Path
) -> None:
    spec = tune_spec(
        task="segmentation", backbones=("vim_mini_linear",), methods=("mtr",), budgets=(0.3,)
    )
    (table,) = run_tuning(spec, tmp_path / "t", quiet=True).tables
    segmented = {"task": "segmentation", "backbones": ("vim_mini_linear",), "split": "dev"}
    settings = [("staged", 0), ("constant-ratio", 4)]
    texts = tuple(f"mtr[cls_window={window}]@{schedule}" for schedule, window in settings)
    run = small(**segmented, methods=texts, images=12, budgets=(0.3,), seeds=1)
    result = run_comparison(
        run.model_copy(update={"baselines": False}), tmp_path / "run", quiet=True
    )
    records = {record.spec: record for record in result.records}
    names = {"mtr[cls_window=0]@staged": "mtr@staged"}
    for text, setting in zip(texts, settings, strict=True):
        row = table.find("mtr", Setting(*setting), 0.3)
        assert row is not None
        metrics = records[names.get(text, text)].metrics
        assert isinstance(metrics, SegmentationMetrics)
        assert row.accuracy == metrics.miou
    best = max(row.accuracy or 0.0 for row in table.rows if row.method == "mtr")
    pick_of_it = table.pick("mtr")
    assert pick_of_it is not None
    picked = table.find("mtr", pick_of_it, 0.3)
    assert picked is not None
    assert picked.accuracy == best
    # No cell runs for what the tries know.
    for tries, across in ((str(tmp_path / "t"), False), (None, True)):
        asked = {**segmented, "split": "test", "methods": ("mtr",), "budgets": (0.3,)}
        prepared = prepare(small(**asked, tries=tries, across_schedules=True))
        assert bool(prepared.across) == across
