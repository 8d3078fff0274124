"""Sites chosen by the spread of the Delta score: the rule, its images, and runs that keep the choice."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import suite
from backbones import create_model
from backbones.common.errors import UserError
from suite import cli
from suite.comparison import run_comparison
from suite.config.run_spec import SITE_RULES, RunSpec
from suite.data import open_dataset
from suite.plan import delta_spread
from suite.plan.delta_spread import flattest, quarters_of, spread_by_site
from suite.plan.notes import notes_on_sites
from suite.plan.prepare import prepare

Specs = Callable[..., RunSpec]
Out = pytest.CaptureFixture[str]


def test_the_flattest_site_of_each_quarter() -> None:
    values = (3.0, 1.0, 1.0, 0.1, 5.0, 6.0, 9.0, 8.0, 7.0, 2.0, 4.0)
    spread = dict(enumerate(values, start=1))
    assert [quarters_of(rule) for rule in SITE_RULES] == [1, 2, 3, 4]
    assert flattest(spread, 12, 1, "net") == (2,)  # the first of equals, of 1 to 3
    assert flattest(spread, 12, 4, "net") == (2, 4, 9, 10)
    with pytest.raises(UserError, match="net has no site in quarter 1 of its 3 blocks: name"):
        flattest({1: 1.0, 2: 1.0}, 3, 1, "net")


@pytest.mark.usefixtures("small")
def test_the_spread_is_that_of_a_loop() -> None:
    model = create_model("vim_mini", depth=5).double()
    data = open_dataset("blots")
    images = np.array([3, 5, 8])
    found = spread_by_site(model, data, images, 2)
    assert list(found) == [1, 2, 3, 4]
    for site, value in found.items():
        deviations = []
        for image in images:
            sample = torch.from_numpy(data.samples(np.array([image]), 40))
            with torch.inference_mode():
                tokens = model.run(model.embed(sample), 0, site, needs=frozenset({"delta"}))
            assert tokens.trace is not None
            assert tokens.trace.delta is not None
            forward, backward = tokens.trace.delta[:, 0].mean(-1).tolist()
            special = tokens.special[0].tolist()
            scores = [forward[j] + backward[j] for j in range(len(forward)) if j not in special]
            mean = sum(scores) / len(scores)
            deviations.append(math.sqrt(sum((s - mean) ** 2 for s in scores) / len(scores)))
        assert math.isclose(value, sum(deviations) / 3, rel_tol=1e-5)


def test_blocks_between_sites_show_no_trace() -> None:
    # In VMamba every second block is an MLP, and tokens are fewer in later stages.
    model = create_model("vmamba_nano", classes=10)
    found = spread_by_site(model, open_dataset("fashion-clutter", "dev"), np.array([0, 7]), 2)
    assert tuple(found) == model.sites
    assert min(found.values()) > 0


@pytest.mark.usefixtures("unmade")
def test_a_run_stores_its_sites_and_goes_on_with_them(
    small: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    spec = small(
        backbones=("vim_mini[depth=9]",),
        images=12,
        sites="delta-spread-2",
        budgets=(0.3,),
        methods=("mtr",),
        schedule="constant-ratio",
        baselines=False,
        gallery=0,
    )
    prepared = prepare(spec)
    (choice,) = prepared.sites.values()
    assert choice.sites[0] in (1, 2)
    assert choice.sites[1] in (3, 4)
    assert choice.images == 18
    for cell in prepared.main:
        if cell.plan is not None:
            assert set(cell.plan.removals) <= set(choice.sites)
    (note,) = notes_on_sites(prepared)
    assert note.startswith(f"sites on vim_mini[depth=9]: {choice.sites[0]}, {choice.sites[1]}, ")
    assert "chosen by delta-spread-2 on 18 test images, none of them evaluated (" in note
    folder = tmp_path / "run"
    first = run_comparison(spec, folder)
    assert note in capsys.readouterr().err
    assert cli.run(["report", str(folder)]) == 0
    shown = note.removeprefix("sites on ").replace("9]: ", "9] ")
    assert f"<dt>Sites</dt><dd>{shown}</dd>" in (folder / "report/index.html").read_text()
    stored = json.loads((folder / "sites.json").read_text())
    assert stored["vim_mini[depth=9]"]["sites"] == list(choice.sites)

    def forbidden(*_: Any) -> Any:
        raise AssertionError("chosen again")

    monkeypatch.setattr(delta_spread, "spread_by_site", forbidden)
    again = run_comparison(spec, folder, quiet=True)
    assert [record.key for record in again.records] == [record.key for record in first.records]


def test_what_cannot_be_chosen_is_one_line(small: Specs, capsys: Out) -> None:
    with pytest.raises(UserError, match="reads Delta, which deit_mini does not have: name blocks"):
        prepare(small(backbones=("deit_mini",), images=12, sites="delta-spread"))
    with pytest.raises(UserError, match="sites: must be numbers of blocks, or one of delta-spread"):
        small(sites="delta")
    for text in ("delta-spread-9", "deltaspread"):
        assert cli.run(["plan", "--sites", text]) == 2
        assert capsys.readouterr().err.strip().endswith("delta-spread-3, delta-spread-4")
    assert cli.run(["tune", "--sites", "delta-spread"]) == 2
    assert "--sites takes numbers" in capsys.readouterr().err
    with pytest.raises(UserError, match="sites cannot be 'delta-spread': give numbers"):
        suite.reduce("vim_nano", "mtr", 0.4, sites="delta-spread")  # type: ignore[arg-type]


@pytest.mark.usefixtures("small")
def test_plan_says_it_and_python_takes_the_name(tmp_path: Path, capsys: Out) -> None:
    shared = {"backbones": "vim_mini", "data": "blots", "images": 12, "checkpoint": "random"}
    words = [f"--{name}={value}" for name, value in shared.items()]
    plan = ["plan", *words, "--methods=mtr", "--budgets=0.1", "--sites=delta-spread"]
    assert cli.run(plan) == 0
    assert "sites on vim_mini: 1, chosen by delta-spread on 18" in capsys.readouterr().out
    assert cli.run([*plan, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sites"]["vim_mini"]["sites"] == [1]
    settings = {"methods": "mtr", "budgets": 0.1, "sites": "delta-spread", "baselines": False}
    run = suite.compare(**shared, **settings, runs=tmp_path, report=False)
    assert run.spec["sites"] == "delta-spread"
    assert (run.folder / "sites.json").exists()
