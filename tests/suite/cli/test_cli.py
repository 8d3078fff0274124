"""The command line: what it answers, on one line when the user can mend it, and what it loads."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from backbones.checkpoints.published import published_files
from methods import METHODS
from reports import first_screen
from reports.figures.canvas import WIDTH
from reports.page import read
from suite.cli import COMMANDS, run
from suite.cli.bench import BENCHES, with_subcommand
from suite.cli.exit_codes import exit_code_of
from suite.config.run_spec import RunSpec
from suite.evaluation.tree import Failure
from suite.plan.cells import Cell
from suite.store.locks import file_lock
from suite.system.version import __version__

Specs = Callable[..., RunSpec]
Out = pytest.CaptureFixture[str]
MINI = [
    *("--backbones", "vim_mini", "--checkpoint", "random", "--data", "blots", "--images", "all"),
    *("--gallery", "1", "--threads", "1", "--no-across-schedules"),
]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("command", ["compare", "plan", "train --recipe vim_nano"])
def test_an_absent_cuda_device_is_named(command: str, capsys: Out) -> None:
    assert run([*command.split(), "--device", "cuda"]) == 2
    assert "there is no CUDA device here" in capsys.readouterr().err


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: Out) -> None:
    assert run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"{command} [OPTIONS]" in shown
    assert "Options" in shown


def test_the_version_is_told(capsys: Out) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"mamba-token-suite {__version__}\n"


def test_help_says_which_method_is_the_reference(capsys: Out) -> None:
    run(["compare", "--help"])
    assert "Differences are taken to the first." in " ".join(capsys.readouterr().out.split())


def test_every_option_of_compare_has_help_and_default(capsys: Out) -> None:
    run(["compare", "--help"])
    shown = " ".join(capsys.readouterr().out.split()).replace(
        "- ", "-"
    )  # a line may end at a hyphen
    for default in (
        "mtr,tome",
        "vim_nano",
        "fashion-clutter",
        "0.2,0.4,0.6",
        "500",
        "matched",
        "fp32",
    ):
        assert f"[default: {default}]" in shown


def test_nothing_asked_is_the_overview(capsys: Out) -> None:
    assert run([]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


@pytest.mark.usefixtures("listed_once")
@pytest.mark.parametrize("kind", ["methods", "backbones", "checkpoints", "datasets", "recipes"])
def test_everything_can_be_listed(kind: str, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["list", kind]) == 0
    table = capsys.readouterr().out
    assert run(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows
    assert all(row["name"] in table for row in rows)
    if kind == "methods":
        assert [row["name"] for row in rows] == list(METHODS)
        code = {row["name"]: (row["released code"], row["licence"]) for row in rows}
        assert code["tome"] == ("facebookresearch/ToMe", "CC-BY-NC-4.0")
        assert code["mtr"] == ("none found", "")
        assert code["random"] == ("", "")
    if kind == "backbones":
        found = {row["name"]: row for row in rows}
        assert found["vim_tiny"]["parameters"] == "7,148,008"
        assert (
            found["vim_tiny"]["checkpoint"]
            == "hf://hustvl/Vim-tiny-midclstok/vim_t_midclstok_76p1acc.pth"
        )
        columns = ("G macs", "G printed", "counted as", "G so counted")
        counts = [found["videomamba_tiny"][column] for column in columns]
        assert counts == ["1.823", "1.1", "fvcore", "1.1"]
        assert (found["mambareg_base"]["top-1"], found["mambareg_base"]["preprocessing"]) == (
            "83.0",
            "crop 1 bicubic",
        )
        licences = ("released code", "code licence", "weights licence")
        shown = {name: [found[name][column] for column in licences] for name in found}
        assert shown["vim_tiny"] == ["hustvl/Vim", "Apache-2.0", "Apache-2.0"]
        assert shown["adventurer_tiny"] == ["wangf3014/Adventurer", "none stated", "none stated"]
        # its weights come with the suite
        assert shown["adventurer_nano"][2] == "Apache-2.0"
    if kind == "checkpoints":
        assert {row["licence"] for row in rows} == {
            "Apache-2.0",
            "MIT",
            "none stated",
            "could not be read",
        }


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_shows_its_card(name: str, capsys: Out) -> None:
    assert run(["list", "--long", name]) == 0
    assert f"(`{name}`)" in capsys.readouterr().out


def test_a_plan_is_json_and_runs_nothing(
    small: Specs, capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["plan", *MINI, "--methods", "mtr", "--budgets", "0.3,0.9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 30
    assert found["seconds"] > 0
    planned = {(cell["method"], cell["budget"]): cell for cell in found["cells"]}
    assert planned["mtr", 0.3]["removed"]["flops"] == pytest.approx(0.3, abs=0.002)
    assert planned["stride", 0.9]["status"] == "skipped"
    drawn = [
        cell["seed"]
        for cell in found["cells"]
        if (cell["method"], cell["budget"]) == ("random", 0.3)
    ]
    assert drawn == [0, 1, 2]
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["plan", *MINI, "--methods", "mtr", "--budgets", "0.3,0.9"]) == 0
    shown = capsys.readouterr().out
    assert len(re.findall(r"random *│ 30 %", shown)) == 1
    skipped = sum(cell["status"] == "skipped" for cell in found["cells"])
    assert f"{len(found['cells']) - skipped} cells to run, {skipped} skipped, on 30 images" in shown
    assert re.search(r"about \d+ (s|minutes?) on this machine", shown)
    assert not list(tmp_path.iterdir())


def test_a_plan_says_which_cells_are_done(
    small: Specs, capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    line = [*MINI, "--methods", "stride,random", "--no-baselines", "--budgets", "0.3"]

    def planned(*more: str) -> str:
        assert run(["plan", *line, *more]) == 0
        return capsys.readouterr().out

    count = len(json.loads(planned("--json"))["cells"])
    further = len(json.loads(planned("--json"))["further_cells"])
    assert f"\n{count + further} cells to run, 0 skipped, on 30 images: about" in planned()
    assert run(["compare", *line, "--no-report", "--json"]) == 0
    folder = Path(json.loads(capsys.readouterr().out)["run"])
    told = f"{count + further} done in {folder}, 0 skipped, on 30 images: the same command with"
    assert f"\nno cells to run, {told}" in planned()
    document = json.loads(planned("--json"))
    assert (document["done"], document["seconds"]) == (count + further, 0)
    assert " done in " not in planned("--seeds", "1")  # another run
    records = sorted((folder / "cells").iterdir())
    records[0].unlink()
    assert f"\n1 cells to run, {count + further - 1} done in {folder}, 0 sk" in planned()
    records[1].write_text("{")
    assert " done in " not in planned()


@pytest.mark.usefixtures("unmade")
def test_compare_writes_a_run_and_its_report(
    small: Specs, capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [
        "compare",
        *MINI,
        "--methods",
        "mtr[order=appended],stride",
        "--no-baselines",
        "--budgets",
        "0.3",
    ]
    assert run([*line, "--json"]) == 0
    printed, said = capsys.readouterr()
    assert "cells on" not in said
    found = json.loads(printed)
    assert Path(found["report"]).stat().st_size > 1000
    assert {cell["status"] for cell in found["cells"]} == {"ok"}
    (mark,) = found["against_blind"]
    assert (mark["baseline"], mark["not_shown_better"]) == ("stride", ["mtr[order=appended]"])
    (answer,) = found["headline"]["answers"]
    # The page names methods by their titles, and gives the same answer.
    rows = first_screen.budgets(read(Path(found["run"])))
    assert [row["best"] for row in rows] == [answer["leader"]]
    assert " at 30 % fewer FLOPs" in answer["sentence"]
    monkeypatch.setenv("COLUMNS", "400")
    assert run([*line, "--no-report"]) == 0
    shown, said = capsys.readouterr()
    assert shown.splitlines()[0] == answer["sentence"]
    brief = found["headline"]["brief"]
    assert 0 < len(brief) <= 3
    assert shown.rpartition("\n\n")[2].splitlines()[-len(brief) - 1 : -1] == brief
    assert "Blind baselines at their best" not in shown
    assert run([*line, "--no-report", "-v"]) == 0
    shown, said = capsys.readouterr()
    shown = " ".join(shown.split())
    assert f"{found['run']}: 4 cells on 30 images, all 120 outcomes are there already\n" in said
    assert (
        "Blind baselines at their best, vim_mini, 30 test images: beaten at -30 % FLOPs by none "
        "(best: stride, constant-ratio: " in shown
    )
    assert "mtr[order=appended]" in shown
    assert "results: runs" in shown
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert run(["report", found["run"]]) == 0
    again = capsys.readouterr().out
    assert again.splitlines()[0] == answer["sentence"]
    assert "report: " in again
    assert run([*line, "--name", Path(found["run"]).name, "--seeds", "7"]) == 2
    assert "other settings" in capsys.readouterr().err


def of_sections(report: Any, found: Any) -> Iterator[tuple[str, Figure]]:
    """The figures of sections alone, without those that every run has."""
    for section in found:
        for drawing in section.figures:
            yield drawing.name, drawing.draw(WIDTH)


def test_ablate_ends_in_a_figure_and_a_sentence(
    small: Specs, capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reports.page.static_figures.drawn", of_sections)
    line = ["ablate", *MINI, "--axes", "direction", "--split", "test", "--gallery", "0"]
    assert run([*line, "-v"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    told = "direction on vim_mini, 40 % of FLOPs removed (constant-ratio), 30 test images: mtr"
    assert told in shown
    figure = re.search(r"figure: (\S*ablation-direction.png)", shown)
    assert figure
    assert Path(figure[1]).stat().st_size > 1000
    assert "mtr is at constant-ratio, not tuned, on 30 test images." in shown
    assert "direction=backward" in shown
    assert run([*line, "--json", "--no-report"]) == 0
    assert "runs/ablate-direction-vim_mini" in json.loads(capsys.readouterr().out)["run"]


def test_bench_reduction_takes_all_methods_that_reduce(small: Specs, capsys: Out) -> None:
    line = (
        "bench reduction --backbone vim_mini --methods all --budget 0.3 --batch-size 1 --rounds 1"
    )
    assert run([*line.split(), "--threads", "1", "--json"]) == 0
    out, progress = capsys.readouterr()
    rows = json.loads(out)
    # on so small a grid no number of patches comes near the budget of a window
    left_out = {"none", "oracle", "permute", "downsample", "crop-shrink"}
    # methods that come to the same composition are timed once, under all their names
    timed = {name for row in rows for name in row["method"].split(" = ")}
    assert timed == set(METHODS) - left_out
    assert all(row["reduction_ms"] > 0 for row in rows)
    assert "left out: downsample reduces no tokens" in progress
    assert "crop-shrink" in progress


def test_bench_reduction_times_the_look_of_a_view(capsys: Out) -> None:
    line = "bench reduction --backbone vim_nano --methods crop-shrink --budget 0.4 --batch-size 2"
    line += " --precision fp32,fp64 --rounds 1 --threads 1 --json"
    assert run(line.split()) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["precision"] for row in rows] == ["fp32", "fp64"]
    assert all(0 < row["reduction_ms"] < row["reduced_ms"] for row in rows)


@pytest.mark.parametrize(
    ("line", "subcommand"),
    [
        ("", "speed"),
        ("--batch 1", "speed --batch 1"),
        ("speed --batch 1", "speed --batch 1"),
        ("--help", "--help"),
        ("--kernels --device cpu", "kernels --device cpu"),
        ("--batch 1 --reduction --rounds 2", "reduction --batch 1 --rounds 2"),
        ("--models", "models"),
        ("--sweep", "tiles"),
        ("--run runs/x --batch 1", "run runs/x --batch 1"),
        ("--batch 1 --run=runs/x", "run --batch 1 runs/x"),
    ],
)
def test_the_old_flags_of_bench_are_subcommands(line: str, subcommand: str) -> None:
    assert with_subcommand(line.split()) == subcommand.split()


@pytest.mark.parametrize("name", list(BENCHES))
def test_every_measurement_explains_itself(name: str, capsys: Out) -> None:
    assert run(["bench", name, "--help"]) == 0
    assert f"bench {name} [OPTIONS]" in capsys.readouterr().out


@pytest.mark.usefixtures("undrawn")
def test_bench_measures_and_draws(
    small: Specs, capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("suite.bench.timing.LEAST_SECONDS", 0.0)
    line = [
        "bench",
        "--backbone",
        "vim_mini",
        "--methods",
        "mtr",
        "--budget",
        "0.3",
        "--batch-size",
        "2",
        "--rounds",
        "2",
    ]
    line += ["--lengths", "", "--threads", "1"]
    assert run(line) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("mtr runs ")
    assert "With 30." not in shown
    page = re.search(r"report: (\S+)", shown)
    assert page
    assert (Path(page[1]).parent / "figures" / "bench-speedup.png").is_file()
    assert run([*line, "-v"]) == 0
    assert "With 30." in capsys.readouterr().out
    assert run([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["label"] for row in found["rows"]] == ["none", "mtr"]
    assert len(list((Path(found["run"]) / "timing").iterdir())) == 2


def test_a_configuration_says_what_to_run_and_the_command_line_counts_before_it(
    small: Specs, capsys: Out, tmp_path: Path
) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(
        "methods: [mtr, stride]\nbudgets: [0.3, 0.4]\nimages: 10\nbaselines: false\n"
        "backbones: [vim_mini]\ncheckpoint: random\ndata: blots\nacross_schedules: false\n"
    )
    assert run(["plan", "--config", str(path), "--budgets", "0.2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 10
    assert [(cell["spec"], cell["budget"]) for cell in found["cells"]] == [
        ("none", None),
        ("mtr", 0.2),
        ("stride", 0.2),
    ]


def test_the_schema_knows_every_setting(capsys: Out) -> None:
    assert run(["schema"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["properties"]) == {"schema", "sweep", *RunSpec.model_fields} - {"version"}
    assert found["additionalProperties"] is False


def test_all_axes_are_those_of_every_method(small: Specs, capsys: Out) -> None:
    assert (
        run(
            [
                "plan",
                "--axes",
                "all",
                "--methods",
                "delta",
                "--no-baselines",
                "--json",
                *MINI,
            ]
        )
        == 0
    )
    texts = {cell["spec"] for cell in json.loads(capsys.readouterr().out)["cells"]}
    wanted = {
        "delta[cls_window=4]",
        "delta[order=reversed]",
        "permute",
        "delta[direction=forward]",
        "delta@falling",
    }
    assert wanted <= texts


def test_a_failed_cell_is_exit_code_1(
    small: Specs, capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(cell: Cell) -> dict[int, Any]:
        return {2: lambda _: None} if cell.method.name == "stride" else {}

    from suite.evaluation.tree import evaluate

    def ill(model: Any, tokens: Any, jobs: Any, observe: Any) -> Any:
        sound = [job for job in jobs if not job.reducers]
        yield from evaluate(model, tokens, sound, observe)
        yield from ((job, Failure("it broke")) for job in jobs if job.reducers)

    monkeypatch.setattr(Cell, "reducers", failing)
    monkeypatch.setattr("suite.evaluation.runner.evaluate", ill)
    monkeypatch.chdir(tmp_path)
    line = [
        "compare",
        *MINI,
        "--methods",
        "mtr,stride",
        "--no-baselines",
        "--budgets",
        "0.3",
        "--no-report",
    ]
    assert run([*line, "--gallery", "0", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {cell["method"]: (cell["status"], cell["reason"]) for cell in found["cells"]} == {
        "none": ("ok", None),
        "mtr": ("ok", None),
        "stride": ("failed", "it broke"),
    }


def test_an_interruption_is_code_130_and_says_how_to_go_on(
    small: Specs, capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("suite.execution.local.complete", stopped)
    monkeypatch.chdir(tmp_path)
    assert run(["compare", *MINI, "--json"]) == 130
    assert "interrupted: rerun the command to resume" in capsys.readouterr().err


def test_a_second_process_does_not_train_in_the_same_folder(
    capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.training.images.training_images", lambda *_: None)
    with file_lock(tmp_path / "train.lock", wait=False):
        assert run(["train", "--recipe", "vim_nano", "--out", str(tmp_path)]) == 2
    assert f"another process trains in {tmp_path}" in capsys.readouterr().err


def test_a_run_that_is_there_is_refused_where_a_new_one_is_wanted(
    small: Specs, capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [
        "compare",
        *MINI,
        "--methods",
        "none",
        "--no-baselines",
        "--gallery",
        "0",
        "--no-report",
        "--name",
        "one",
    ]
    assert run([*line, "--no-resume"]) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for extra, told in (
        (["--no-resume"], "holds this run already"),
        (["--batch-size", "9"], "(its batch_size is"),
    ):
        assert run([*line, *extra]) == 2
        assert told in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


LOADED = """
import sys
from suite.cli import run
code = run(sys.argv[1:])
heavy = {"torch", "numba", "numpy", "pandas", "scipy", "matplotlib", "plotly", "reports"}
print("LOADED", code, sorted(heavy & set(sys.modules)))
"""


LIGHT = {
    "--help": 0,
    "compare --help": 0,
    "list methods --help": 0,
    "train --help": 0,
    "compair": 2,
    "ablate --axes ordr": 2,
    "ablate --axes all,ordr": 2,
}


SIMILAR = {"compare --help", "list methods --help", "ablate --axes all,ordr"}  # to another one


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, marks=pytest.mark.slow if line in SIMILAR else ()) for line in LIGHT],
)
def test_help_and_misspelt_words_load_nothing_heavy(line: str) -> None:
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *line.split()],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == f"LOADED {LIGHT[line]} []"


def test_python_dash_m_suite_leaves_with_the_code() -> None:
    root = Path(__file__).parents[3]
    line = [sys.executable, "-m", "suite", "list", "planets"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=root, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_reader_that_went_away_is_no_error_to_speak_of() -> None:
    root = Path(__file__).parents[3]
    line = [sys.executable, "-m", "suite", "list", "methods", "--long", "mtr"]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_another_pipe_that_breaks_is_an_error(capsys: Out) -> None:
    def tracked() -> int:
        raise BrokenPipeError(32, "Broken pipe")

    assert exit_code_of(tracked) == 2
    assert capsys.readouterr().err.startswith("error: Broken pipe: ")


@pytest.mark.parametrize(
    "line",
    [
        ["compare", "--methods", "mtr", "--methods", "tome"],
        ["compare", "--method=mtr", "--methods", "tome"],
        ["plan", "--budgets", "0.2", "--budgets", "0.4"],
    ],
)
def test_a_list_given_twice_is_refused_rather_than_half_lost(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line) == 2
    assert (
        "is given twice: give it once, several values separated by commas"
        in capsys.readouterr().err
    )


SPELLINGS = {
    "compare": ("--methods", "--backbones", "--budgets"),
    "ablate": ("--methods", "--axes", "--backbones", "--budgets"),
    "plan": ("--methods", "--backbones", "--budgets"),
    "tune": ("--methods", "--backbones", "--budgets"),
    "bench speed": ("--methods", "--backbones", "--budgets"),
    "sensitivity": ("--methods", "--backbone"),
    "verify": ("--method",),
}


@pytest.mark.parametrize(
    ("command", "primary"), [(name, flag) for name, flags in SPELLINGS.items() for flag in flags]
)
def test_one_and_several_are_the_same_option(command: str, primary: str, capsys: Out) -> None:
    other = primary.removesuffix("s") if primary.endswith("s") else f"{primary}s"
    other = "--axis" if primary == "--axes" else other
    assert run([*command.split(), "--help"]) == 0
    assert re.search(rf"^ +{primary}, *{other}\b", capsys.readouterr().out, re.MULTILINE)
    assert run([*command.split(), primary, "a", other, "b"]) == 2
    assert "is given twice" in capsys.readouterr().err


def test_a_plan_takes_either_spelling(small: Specs, capsys: Out) -> None:
    line = ["plan", "--no-baselines", "--json", *MINI[2:]]
    found = []
    for flags in (
        ("--method", "--backbone", "--budget"),
        ("--methods", "--backbones", "--budgets"),
    ):
        assert (
            run(
                [
                    *line,
                    *(
                        part
                        for pair in zip(flags, ("tome", "vim_mini", "0.3"), strict=True)
                        for part in pair
                    ),
                ]
            )
            == 0
        )
        found.append(json.loads(capsys.readouterr().out)["cells"])
    assert found[0] == found[1]
    assert [(cell["spec"], cell["backbone"], cell["budget"]) for cell in found[0]] == [
        ("none", "vim_mini", None),
        ("tome", "vim_mini", 0.3),
    ]


def test_old_spellings_work_and_are_not_shown(small: Specs, capsys: Out) -> None:
    line = ["plan", *MINI, "--no-baselines", "--json"]
    old = ["--batch", "3", "--shard=5", "--convention", "macs"]
    new = ["--batch-size", "3", "--shard-size", "5", "--flops-convention", "macs"]
    cells = []
    for flags in (old, new):
        assert run([*line, *flags]) == 0
        cells.append(json.loads(capsys.readouterr().out)["cells"])
    assert cells[0] == cells[1]
    assert cells[0][-1]["flops_convention"] == "macs"
    assert run(["plan", "--data-dir", "nowhere"]) == 2
    assert "--source, or run python -m suite fetch" in capsys.readouterr().err
    for command, hidden in (
        ("compare", "batch|shard|convention|data-dir"),
        ("sensitivity", "batch|data-dir|out"),
        ("train", "data-dir"),
    ):
        assert run([command, "--help"]) == 0
        assert not re.search(rf"--({hidden})[ ,]", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("line", "mend"),
    [
        ("verify mtr", "(mtr), write --method mtr: see python -m suite verify --help"),
        ("compare mtr tome[order=appended]", "write --methods 'mtr,tome[order=appended]': see"),
        ("compare --budgets 0.2 0.4", "(0.4), write --budgets 0.2,0.4: see"),
        (
            "compare --backbone vim_nano deit_nano",
            "(deit_nano), write --backbone vim_nano,deit_nano: see",
        ),
        (
            "compare --methods mtr, tome",
            "(tome), write --methods mtr,tome: see",
        ),  # a blank after the comma
        ("doctor mtr", "(mtr): see"),
    ],
)
def test_methods_without_their_option_are_told_it(line: str, mend: str, capsys: Out) -> None:
    assert run(line.split()) == 2
    assert mend in capsys.readouterr().err


def test_a_file_of_weights_is_listed_once_with_all_that_it_scored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["list", "checkpoints", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    files = [(row["name"], row["checkpoint"]) for row in rows]
    assert len(set(files)) == len(files)
    assert set(files) == {(row.backbone, row.source) for row in published_files()}
    mine = next(row for row in rows if row["name"] == "vim_nano")
    scores = [row for row in published_files() if row.backbone == "vim_nano"]
    assert len(scores) > 1
    assert mine["top-1"] == " / ".join(f"{row.top1:.1f}" for row in scores)
    assert mine["on"] == " / ".join(f"{row.data} {row.split}" for row in scores)


def test_cards_are_those_of_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "backbones", "--long", "vim_nano"]) == 2
    assert "--long prints the cards of methods, not of backbones" in capsys.readouterr().err
