"""The commands that tune, and that use the tries, run as printed on the data of the plan."""

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from suite.cli import run
from suite.config.run_spec import RunSpec
from suite.plan.prepare import prepare
from suite.plan.tuning_commands import SHARED, compare_command, tune_command
from suite.plan.tuning_notes import notes_on_settings
from suite.tune.spec import TuneSpec

Specs = Callable[..., RunSpec]
QUICK = ["--device", "cpu", "--threads", "1", "--images", "6"]


def test_shared_settings_have_the_same_defaults_in_both() -> None:
    for name in SHARED:
        assert TuneSpec.model_fields[name].default == RunSpec.model_fields[name].default
    assert TuneSpec.model_fields["split"].default == "dev"


def test_what_is_not_the_default_is_named_and_nothing_else(small: Specs) -> None:
    plan = prepare(small())
    tune = tune_command(plan.spec, plan.dataset, ["mtr", "tome"])
    assert tune == (
        "python -m suite tune --methods mtr,tome --backbones vim_mini --checkpoint random "
        "--data blots --budgets 0.3,0.5"
    )
    spec = small(sites=(1, 3), flops_convention="macs", precision="fp64")
    compare = compare_command(spec, plan.dataset, ["mtr"], Path("runs/a b"))
    assert compare == (
        "python -m suite compare --methods mtr --backbones vim_mini --checkpoint random --data "
        "blots --budgets 0.3,0.5 --sites 1,3 --flops-convention macs --precision fp64 --tries "
        "'runs/a b'"
    )


def folders(root: Path, *splits: str) -> str:
    """Three classes of four images in each of these splits."""
    draws = np.random.default_rng(0)
    for split in splits:
        for name in ("0-a", "1-b", "2-c"):
            (root / split / name).mkdir(parents=True)
            for index in range(4):
                pixels = draws.integers(0, 256, (40, 40, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return f"imagefolder:{root}"


@pytest.mark.parametrize(
    ("splits", "used", "tuned_on", "compared_on"),
    [
        (("dev", "test"), "test", None, None),
        (("train", "val"), "val", "val", "val"),
        (("dev", "val"), "val", None, "val"),
        (("",), "test", None, None),
    ],
)
def test_the_split_is_named_where_the_usual_one_is_not_there(
    small: Specs,
    tmp_path: Path,
    splits: tuple[str, ...],
    used: str,
    tuned_on: str | None,
    compared_on: str | None,
) -> None:
    data = folders(tmp_path / "data", *splits)
    spec = small(data=data, split=used, backbones=("vim_mini[classes=3]",), gallery=0)
    dataset = prepare(spec).dataset
    for line, split in (
        (tune_command(spec, dataset, ["mtr"]), tuned_on),
        (compare_command(spec, dataset, ["mtr"], tmp_path), compared_on),
    ):
        words = shlex.split(line)
        assert (words[words.index("--split") + 1] if "--split" in words else None) == split


def test_the_commands_of_the_notes_run_as_printed_and_leave_nothing_untuned(
    small: Specs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two of the 18 settings, so that it is quick.
    monkeypatch.setattr("suite.tries.settings.SCHEDULES", ("constant-ratio",))
    monkeypatch.setattr("suite.tries.settings.WINDOWS", (0, 4))
    monkeypatch.chdir(tmp_path)
    (note, tune) = notes_on_settings(prepare(small(methods=("stm", "mtr@staged"), gallery=0)))
    assert note.startswith("no tuned settings for any method on vim_mini")
    words = shlex.split(tune.split("`")[1])
    assert run([*words[3:], *QUICK]) == 0
    use = capsys.readouterr().out.splitlines()[-1]
    assert use.startswith("use the tries: python -m suite compare --methods stm ")
    line = [*shlex.split(use.partition(": ")[2])[3:], *QUICK, "--no-report", "-v"]
    line += ["--no-across-schedules", "--gallery", "0"]
    assert run(line) == 0
    told = "".join(capsys.readouterr())
    assert "tuned on vim_mini: stm" in told
    assert "no tuned settings" not in told
    assert "WARNING: The settings on vim_mini were picked on 6 images, few" in told
