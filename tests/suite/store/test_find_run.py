"""Where a run is looked for, and what is said where there is none."""

import os
from pathlib import Path

import pytest

from backbones.common.errors import UserError
from suite.store.find_run import run_spec


def make(folder: Path, time: int) -> Path:
    folder.mkdir(parents=True)
    path = folder / "spec.yaml"
    path.write_text("schema: 4")
    os.utime(path, (time, time))
    return path


def said(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        run_spec(folder)
    return str(caught.value)


def test_the_runs_that_are_there_are_named_the_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert said(Path("nope")) == "no run folder at 'nope': make one with python -m suite compare"
    old = make(Path("runs/old"), 1)
    assert run_spec(Path("runs/old")) == old
    make(Path("runs/new"), 2)
    Path("runs/empty").mkdir()
    for place in ("nope", "runs/nope", "../nope"):
        assert said(Path(place)).endswith(": give one that is there, such as runs/new, runs/old")
    assert said(Path("runs/empty")).startswith(
        "'runs/empty' is not a run folder (it has no spec.yaml): give one"
    )
    make(Path("beside"), 3)
    make(Path("runs/newest"), 4)
    assert said(Path("nope")).endswith("such as runs/newest, beside, runs/new (4 in all)")


def test_what_lies_inside_a_run_is_told_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("runs/one"), 1)
    page = Path("runs/one/report/index.html")
    page.parent.mkdir()
    page.touch()
    assert said(page).endswith(
        ": give one that is there, such as runs/one"
    )  # no analyses, so perhaps no run of ours
    Path("runs/one/analyses").mkdir()
    assert said(page) == f"no run folder at '{page}': it lies inside a run, give runs/one"
    assert said(page.parent).startswith(f"'{page.parent}' is not a run folder")
    assert said(page.absolute()).endswith(f"give {tmp_path}/runs/one")
    monkeypatch.chdir(page.parent)
    for place in (".", "index.html"):
        assert said(Path(place)).endswith(f"give {tmp_path}/runs/one")
